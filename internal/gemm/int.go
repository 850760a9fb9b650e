package gemm

import (
	"fmt"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// Integer is an element of a quantized tensor.
type Integer interface{ int8 | uint8 }

// The integer kernels multiply signed A with unsigned B. Another type is mapped to these by adding or subtracting 128, which
// also shifts its zero point, so the difference of value and zero point stays. Sums wrap at 32 bits, like ONNX's, and are
// otherwise exact: nothing saturates.

// signed returns the bits to flip in an element of type T to make it signed, and the resulting zero point.
func signed[T Integer](zero T) (flip uint8, z int32) {
	if T(0)-1 > 0 {
		return 0x80, int32(zero) - 128
	}
	return 0, int32(zero)
}

// unsigned is signed for the unsigned operand.
func unsigned[T Integer](zero T) (flip uint8, z int32) {
	if T(0)-1 > 0 {
		return 0, int32(zero)
	}
	return 0x80, int32(zero) + 128
}

// A PackedIntB is a right operand of 8-bit integers arranged once for many products. It is immutable.
type PackedIntB struct {
	k      int // integers
	packed PackedB[int32]
	zero   []int32 // one, or one for each column, in the unsigned operand's terms
	sums   []int32 // of each column
}

// PackIntB arranges b for use as a right operand. Zero holds its zero points: none (zero), one, or one for each column.
func PackIntB[T Integer](b View[T], zero []T) *PackedIntB { return packIntB(intBest, b, zero) }

func packIntB[T Integer](kernel *microkernel, b View[T], zero []T) *PackedIntB {
	b.check("B")
	zero = checkZero(zero, b.Cols, "B")
	group, nr := kernel.group, kernel.nr()
	groups := (b.Rows + group - 1) / group
	p := &PackedIntB{k: b.Rows, sums: make([]int32, b.Cols), zero: make([]int32, len(zero))}
	p.packed = PackedB[int32]{k: groups, cols: b.Cols, kernel: kernel, data: make([]int32, groups*roundUp(b.Cols, nr))}
	var flip uint8
	for i, z := range zero {
		flip, p.zero[i] = unsigned(z)
	}
	for j := range b.Cols {
		first := j/nr*nr*groups + j%nr
		for q := range b.Rows {
			v := uint8(b.Data[q*b.RowStride+j*b.ColStride]) ^ flip
			p.sums[j] += int32(v)
			putInt(&p.packed.data[first+q/group*nr], group, q%group, int16(v))
		}
	}
	return p
}

// putInt sets integer i of a group of two 16-bit or four 8-bit ones.
func putInt(g *int32, group, i int, v int16) {
	if group == 2 {
		(*[2]int16)(unsafe.Pointer(g))[i] = v
	} else {
		(*[4]int8)(unsafe.Pointer(g))[i] = int8(v)
	}
}

func checkZero[T Integer](zero []T, n int, what string) []T {
	switch len(zero) {
	case 0:
		return make([]T, 1)
	case 1, n:
		return zero
	}
	panic(fmt.Sprintf("gemm: %d zero points of %s for %d", len(zero), what, n))
}

// IntScratch returns how many int32 elements [GemmInt] uses for a left operand of m by k and a right one of n columns.
func IntScratch(m, n, k int) int { return intScratch(intBest, m, n, k) }

func intScratch(kernel *microkernel, m, n, k int) int {
	groups := (k + kernel.group - 1) / kernel.group
	return (m+kernel.mr())*groups + roundUp(m, kernel.mr()) + roundUp(n, kernel.nr())
}

// GemmInt computes C = (A - zero of A) * (B - zero of B) + bias in wrapping 32-bit integers. AZero is empty (zero), has one
// element, or one for each row; rowBias is nil or has one element for each row. C's columns must be contiguous. Scratch is used
// if it is at least [IntScratch] long.
func GemmInt[T Integer](c View[int32], a View[T], aZero []T, b *PackedIntB, rowBias []int32, scratch []int32, pool *par.Pool) {
	a.check("A")
	kernel := b.packed.kernel
	m, n, k := a.Rows, b.packed.cols, a.Cols
	c.check("C")
	if c.Rows != m || c.Cols != n || b.k != k {
		panic(fmt.Sprintf("gemm: %dx%d times %dx%d into %dx%d", m, k, b.k, n, c.Rows, c.Cols))
	}
	aZero = checkZero(aZero, m, "A")
	if m == 0 || n == 0 {
		return
	}
	if need := intScratch(kernel, m, n, k); len(scratch) < need {
		scratch = make([]int32, need)
	}
	groups := b.packed.k
	coded, scratch := scratch[:m*groups], scratch[m*groups:]
	rows, scratch := scratch[:roundUp(m, kernel.mr())], scratch[roundUp(m, kernel.mr()):]
	cols, scratch := scratch[:roundUp(n, kernel.nr())], scratch[roundUp(n, kernel.nr()):]
	flip, _ := signed(aZero[0])
	zeroOf := func(i int) int32 {
		_, z := signed(aZero[i%len(aZero)])
		return z
	}
	// The sum of (a-za)(b-zb) is that of ab, less zb times the row's sum, less za times the column's sum, plus k za zb.
	oneZero := len(b.zero) == 1
	pool.For(m, 16, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			sum := encodeA(kernel, coded[i*groups:][:groups], a, i, flip)
			rows[i] = 0
			if rowBias != nil {
				rows[i] = rowBias[i]
			}
			if oneZero {
				rows[i] -= b.zero[0] * (sum - int32(k)*zeroOf(i))
			}
		}
	})
	clear(rows[m:])
	clear(cols)
	if len(aZero) == 1 {
		for j := range n {
			cols[j] = -zeroOf(0) * b.sums[j]
		}
	}
	product(kernel, c, operandA[int32]{view: View[int32]{coded, m, groups, groups, 1}}, operandB[int32]{packed: &b.packed},
		Options[int32]{RowBias: rows, ColBias: cols, Pool: pool, Scratch: scratch})
	if len(aZero) > 1 || !oneZero {
		correct(c, a, aZero, flip, b)
	}
}

// correct subtracts the terms of zero points that differ by row or column.
func correct[T Integer](c View[int32], a View[T], aZero []T, flip uint8, b *PackedIntB) {
	for i := range c.Rows {
		row := c.Data[i*c.RowStride:][:c.Cols]
		_, za := signed(aZero[i%len(aZero)])
		if len(aZero) > 1 {
			for j := range row {
				row[j] -= za * b.sums[j]
			}
		}
		if len(b.zero) > 1 {
			var sum int32
			for p := range a.Cols {
				sum += int32(int8(uint8(a.Data[i*a.RowStride+p*a.ColStride]) ^ flip))
			}
			sum -= int32(a.Cols) * za
			for j := range row {
				row[j] -= b.zero[j] * sum
			}
		}
	}
}

// encodeA sets dst to the groups of row i of a, and returns the sum of its elements as the signed operand.
func encodeA[T Integer](kernel *microkernel, dst []int32, a View[T], i int, flip uint8) int32 {
	group, k := kernel.group, a.Cols
	if k == 0 {
		return 0
	}
	dst[len(dst)-1] = 0
	src := a.Data[i*a.RowStride:]
	done, sum := 0, int32(0)
	if group == 4 && a.ColStride == 1 {
		done, sum = encodeFast(kernel, dst, unsafe.Pointer(&src[0]), k, flip)
	}
	for p := done; p < k; p++ {
		v := int8(uint8(src[p*a.ColStride]) ^ flip)
		sum += int32(v)
		putInt(&dst[p/group], group, p%group, int16(v))
	}
	return sum
}
