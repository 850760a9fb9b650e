//go:build amd64 && !purego

package gemm

import "unsafe"

// Each function below does the whole of what its name without Fast does, and returns how many elements that were, or nothing
// without AVX2. The last elements go through a whole vector, so that a value does not depend on its place.

// overTail calls f for the whole vectors of dst, and then for one made of the rest, from which dst is then completed.
func overTail(dst, src []float32, f func(dst, src *float32, vectors int)) int {
	if !hasAVX2() {
		return 0
	}
	whole := len(dst) &^ 7
	if whole > 0 {
		f(&dst[0], &src[0], whole/8)
	}
	if rest := len(dst) - whole; rest > 0 {
		var x [8]float32
		copy(x[:rest], src[whole:])
		f(&x[0], &x[0], 1)
		copy(dst[whole:], x[:])
	}
	return len(dst)
}

func expFast(dst, src []float32) int     { return overWide(dst, src, expVectors, expVectors16) }
func sigmoidFast(dst, src []float32) int { return overWide(dst, src, sigmoidVectors, sigmoidVectors16) }
func tanhFast(dst, src []float32) int    { return overWide(dst, src, tanhVectors, tanhVectors16) }
func erfFast(dst, src []float32) int     { return overWide(dst, src, erfVectors, erfVectors16) }
func geluFast(dst, src []float32) int    { return overWide(dst, src, geluVectors, geluVectors16) }
func siluFast(dst, src []float32) int    { return overWide(dst, src, siluVectors, siluVectors16) }
func addScalarFast(dst, a []float32, b float32) int {
	return overTail(dst, a, func(d, s *float32, n int) { addScalarVectors(d, s, n, b) })
}

func subScalarFast(dst, a []float32, b float32) int {
	return overTail(dst, a, func(d, s *float32, n int) { subScalarVectors(d, s, n, b) })
}

func mulScalarFast(dst, a []float32, b float32) int {
	return overTail(dst, a, func(d, s *float32, n int) { mulScalarVectors(d, s, n, b) })
}

func divScalarFast(dst, a []float32, b float32) int {
	return overTail(dst, a, func(d, s *float32, n int) { divScalarVectors(d, s, n, b) })
}

func clipFast(dst, src []float32, p, q float32) int {
	return overTail(dst, src, func(d, s *float32, n int) { clipVectors(d, s, n, p, q) })
}

func standardizeFast(dst, src []float32, mean, factor, bias, lo, hi float32) int {
	return overTail(dst, src, func(d, s *float32, n int) { standardizeVectors(d, s, n, mean, factor, bias, lo, hi) })
}

func hardSigmoidFast(dst, src []float32, p, q float32) int {
	return overTail(dst, src, func(d, s *float32, n int) { hardSigmoidVectors(d, s, n, p, q) })
}

func hardSwishFast(dst, src []float32, p, q float32) int {
	return overTail(dst, src, func(d, s *float32, n int) { hardSwishVectors(d, s, n, p, q) })
}

// overWide is overTail with a function for vectors of 16, which computes the same values, for as much as those cover.
func overWide(dst, src []float32, narrow, wide func(dst, src *float32, vectors int)) int {
	n := 0
	if hasAVX512() && len(dst) >= 16 {
		n = len(dst) &^ 15
		wide(&dst[0], &src[0], n/16)
	}
	return n + overTail(dst[n:], src[n:], narrow)
}

// The elementary operations are the same in vectors and alone, so their tails are left to the caller.

func addFast(dst, a, b []float32) int {
	n := len(dst) / 8
	if !hasAVX2() || n == 0 {
		return 0
	}
	addVectors(&dst[0], &a[0], &b[0], n)
	return 8 * n
}

func subFast(dst, a, b []float32) int {
	n := len(dst) / 8
	if !hasAVX2() || n == 0 {
		return 0
	}
	subVectors(&dst[0], &a[0], &b[0], n)
	return 8 * n
}

func mulFast(dst, a, b []float32) int {
	n := len(dst) / 8
	if !hasAVX2() || n == 0 {
		return 0
	}
	mulVectors(&dst[0], &a[0], &b[0], n)
	return 8 * n
}

func divFast(dst, a, b []float32) int {
	n := len(dst) / 8
	if !hasAVX2() || n == 0 {
		return 0
	}
	divVectors(&dst[0], &a[0], &b[0], n)
	return 8 * n
}

func maximumFast(dst, a, b []float32) int {
	n := len(dst) / 8
	if !hasAVX2() || n == 0 {
		return 0
	}
	maximumVectors(&dst[0], &a[0], &b[0], n)
	return 8 * n
}

func maxFast(x []float32) (float32, int) {
	n := len(x) / 8
	if !hasAVX2() || n == 0 {
		return negativeInf, 0
	}
	return maximumReduce(&x[0], n), 8 * n
}

func sumFast(x []float32) (float32, int) {
	n := len(x) / 8
	if !hasAVX2() || n == 0 {
		return 0, 0
	}
	return sumReduce(&x[0], n), 8 * n
}

func squaresFast(x []float32, center float32) (float32, int) {
	n := len(x) / 8
	if !hasAVX2() || n == 0 {
		return 0, 0
	}
	return squaresReduce(&x[0], n, center), 8 * n
}

func expSumFast(dst, src []float32, shift float32) (sum float32, n int) {
	if !hasAVX2() {
		return 0, 0
	}
	all := len(dst)
	if hasAVX512() && all >= 16 {
		n = all &^ 15
		sum = expSumVectors16(&dst[0], &src[0], n/16, shift)
		dst, src = dst[n:], src[n:]
	}
	whole := len(dst) &^ 7
	if whole > 0 {
		sum += expSumVectors(&dst[0], &src[0], whole/8, shift)
	}
	if rest := len(dst) - whole; rest > 0 {
		var x [8]float32
		copy(x[:rest], src[whole:])
		for i := rest; i < 8; i++ {
			x[i] = negativeInf // adds zero
		}
		sum += expSumVectors(&x[0], &x[0], 1, shift)
		copy(dst[whole:], x[:])
	}
	return sum, all
}

func normalizeFast(dst, src, scale, bias []float32, mean, factor float32) int {
	if !hasAVX2() {
		return 0
	}
	whole := len(dst) &^ 7
	if whole > 0 {
		normalizeVectors(&dst[0], &src[0], &scale[0], &bias[0], whole/8, mean, factor)
	}
	if rest := len(dst) - whole; rest > 0 {
		var x, s, b [8]float32
		copy(x[:rest], src[whole:])
		copy(s[:rest], scale[whole:])
		copy(b[:rest], bias[whole:])
		normalizeVectors(&x[0], &x[0], &s[0], &b[0], 1, mean, factor)
		copy(dst[whole:], x[:])
	}
	return len(dst)
}

// transposeFast transposes whole blocks and returns the rows and columns of src that they cover.
func transposeFast(dst, src []float32, rows, cols, dstStride, srcStride int) (doneRows, doneCols int) {
	if !hasAVX2() || rows < 8 || cols < 8 {
		return 0, 0
	}
	for i := 0; i+8 <= rows; i += 8 {
		transposeBlocks(unsafe.Pointer(&dst[i]), unsafe.Pointer(&src[i*srcStride]), cols/8, 4*dstStride, 4*srcStride)
	}
	return rows &^ 7, cols &^ 7
}
