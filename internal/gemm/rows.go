package gemm

import "math"

// SoftmaxRow sets dst to exp(src) divided by its sum, computed from differences to the largest element. A row with NaN, with
// +Inf, or of -Inf only, becomes NaN as in the formula. Dst may be src.
func SoftmaxRow(dst, src []float32) {
	checkLen(len(dst), src)
	if len(dst) == 0 {
		return
	}
	src = src[:len(dst)]
	MulScalar(dst, dst, 1/expSum(dst, src, Max(src)))
}

// SoftmaxRows is [SoftmaxRow] for consecutive rows of n elements. Short rows share vectors.
func SoftmaxRows(dst, src []float32, n int) {
	checkLen(len(dst), src)
	const short = 16
	if n > short {
		for i := 0; i < len(dst); i += n {
			SoftmaxRow(dst[i:i+n], src[i:])
		}
		return
	}
	const most = 512
	each := most / n * n
	for at := 0; at < len(dst); at += each {
		var buffer [most]float32
		x := buffer[:min(each, len(dst)-at)]
		for i := 0; i < len(x); i += n {
			row := src[at+i:][:n]
			top := row[0]
			for _, v := range row[1:] {
				top = max(top, v)
			}
			for j, v := range row {
				x[i+j] = v - top
			}
		}
		Exp(x, x)
		for i := 0; i < len(x); i += n {
			var sum float32
			for _, v := range x[i : i+n] {
				sum += v
			}
			for j, v := range x[i : i+n] {
				dst[at+i+j] = v / sum
			}
		}
	}
}

// Max returns the largest element, -Inf of none. Elements that are NaN may or may not make the result NaN.
func Max(x []float32) float32 {
	m, i := maxFast(x)
	for _, v := range x[i:] {
		m = max(m, v)
	}
	return m
}

// Sum returns the sum. The order of additions depends on the length and the kernel set only.
func Sum(x []float32) float32 {
	s, i := sumFast(x)
	for _, v := range x[i:] {
		s += v
	}
	return s
}

// SumSquares returns the sum of (x-center) squared, in an order like that of [Sum].
func SumSquares(x []float32, center float32) float32 {
	s, i := squaresFast(x, center)
	for _, v := range x[i:] {
		s += float32((v - center) * (v - center))
	}
	return s
}

// expSum sets dst to exp(src-shift) and returns the sum.
func expSum(dst, src []float32, shift float32) float32 {
	s, i := expSumFast(dst, src, shift)
	for ; i < len(dst); i++ {
		dst[i] = plainExp(src[i] - shift)
		s += dst[i]
	}
	return s
}

// LayerNormRow sets dst to (src-mean)/sqrt(variance+epsilon)*scale + bias and returns mean and 1/sqrt(variance+epsilon). The
// variance is that of the row, computed from differences to the mean. Dst may be src.
func LayerNormRow(dst, src, scale, bias []float32, epsilon float32) (mean, invStdDev float32) {
	checkLen(len(dst), src, scale, bias)
	src = src[:len(dst)]
	n := float32(len(dst))
	mean = Sum(src) / n
	invStdDev = float32(1 / math.Sqrt(float64(SumSquares(src, mean)/n+epsilon)))
	Normalize(dst, src, scale, bias, mean, invStdDev)
	return mean, invStdDev
}

// RMSNormRow sets dst to src/sqrt(mean of squares+epsilon)*scale + bias, and returns 1/sqrt(mean of squares+epsilon). Dst may be
// src.
func RMSNormRow(dst, src, scale, bias []float32, epsilon float32) float32 {
	checkLen(len(dst), src, scale, bias)
	inv := float32(1 / math.Sqrt(float64(SumSquares(src[:len(dst)], 0)/float32(len(dst))+epsilon)))
	Normalize(dst, src, scale, bias, 0, inv)
	return inv
}

// Normalize sets dst to (src-mean)*factor*scale + bias.
func Normalize(dst, src, scale, bias []float32, mean, factor float32) {
	checkLen(len(dst), src, scale, bias)
	for i := normalizeFast(dst, src, scale, bias, mean, factor); i < len(dst); i++ {
		dst[i] = float32(float32((src[i]-mean)*factor)*scale[i]) + bias[i]
	}
}

// Transpose sets dst, cols by rows, to the transposed src, rows by cols; strides are the distances of rows.
func Transpose(dst, src []float32, rows, cols, dstStride, srcStride int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	_, _ = dst[(cols-1)*dstStride+rows-1], src[(rows-1)*srcStride+cols-1]
	if dstStride < rows || srcStride < cols {
		panic("gemm: rows overlap")
	}
	doneRows, doneCols := transposeFast(dst, src, rows, cols, dstStride, srcStride)
	for i := range rows {
		from := 0
		if i < doneRows {
			from = doneCols
		}
		for j := from; j < cols; j++ {
			dst[j*dstStride+i] = src[i*srcStride+j]
		}
	}
}
