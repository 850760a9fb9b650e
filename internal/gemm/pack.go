package gemm

import "unsafe"

// Packed operands consist of panels: of mr rows of A, or nr columns of B, with the mr or nr elements of each k side by side, and
// zeros where the last panel exceeds the matrix.

// A PackedA is a left operand arranged once for many products. It is immutable.
type PackedA[T element] struct {
	rows, k int
	kernel  *microkernel
	data    []T
}

// A PackedB is a right operand arranged once for many products. It is immutable.
type PackedB[T element] struct {
	k, cols int
	kernel  *microkernel
	data    []T
}

// PackA arranges a for use as a left operand.
func PackA[T float32 | float64](a View[T]) *PackedA[T] { return packA(bestKernel[T](), a) }

// PackB arranges b for use as a right operand.
func PackB[T float32 | float64](b View[T]) *PackedB[T] { return packB(bestKernel[T](), b) }

func packA[T element](kernel *microkernel, a View[T]) *PackedA[T] {
	a.check("A")
	p := &PackedA[T]{rows: a.Rows, k: a.Cols, kernel: kernel}
	mr := kernel.mr()
	p.data = make([]T, roundUp(a.Rows, mr)*a.Cols)
	for i := 0; i < a.Rows; i += mr {
		packPanelA(p.data[i*a.Cols:], mr, a, i)
	}
	return p
}

// packPanelA packs the rows of a from i on, at most mr, into dst, which is zero where they end before that.
func packPanelA[T element](dst []T, mr int, a View[T], i int) {
	for r := range min(mr, a.Rows-i) {
		for p := range a.Cols {
			dst[p*mr+r] = a.Data[(i+r)*a.RowStride+p*a.ColStride]
		}
	}
}

func packB[T element](kernel *microkernel, b View[T]) *PackedB[T] {
	b.check("B")
	p := &PackedB[T]{k: b.Rows, cols: b.Cols, kernel: kernel}
	p.data = make([]T, roundUp(b.Cols, kernel.nr())*b.Rows)
	packBlockB(p.data, kernel, b, 0, b.Rows, 0, b.Cols)
	return p
}

// packBlockB packs rows p0 to p1 and columns j0 to j1 of b into panels of nr columns.
func packBlockB[T element](dst []T, kernel *microkernel, b View[T], p0, p1, j0, j1 int) {
	nr, k := kernel.nr(), p1-p0
	if k == 0 || j1 == j0 {
		return
	}
	whole := (j1 - j0) / nr
	_ = b.Data[(p1-1)*b.RowStride+(j1-1)*b.ColStride]
	_ = dst[roundUp(j1-j0, nr)*k-1]
	switch {
	case whole == 0:
	case b.ColStride == 1 && packRowsFast(kernel, dst, b.Data[p0*b.RowStride+j0:], k, b.RowStride, whole):
	default:
		for q := range whole {
			packPanelB(dst[q*nr*k:], kernel, b, p0, p1, j0+q*nr, nr)
		}
	}
	if rest := j1 - j0 - whole*nr; rest > 0 {
		packPanelB(dst[whole*nr*k:], kernel, b, p0, p1, j1-rest, rest)
	}
}

// packPanelB packs one panel: columns by eights where they are contiguous, the rest element by element.
func packPanelB[T element](dst []T, kernel *microkernel, b View[T], p0, p1, j0, cols int) {
	done, nr := 0, kernel.nr()
	if b.RowStride == 1 && kernel.plain == nil && unsafe.Sizeof(*new(T)) == 4 {
		for ; done+8 <= cols; done += 8 {
			packColsFast(dst[done:], b.Data[p0+(j0+done)*b.ColStride:], p1-p0, nr, b.ColStride)
		}
	}
	for p := p0; p < p1 && done < nr; p++ {
		row := dst[(p-p0)*nr:][:nr]
		o := p*b.RowStride + j0*b.ColStride
		if b.ColStride == 1 {
			copy(row[done:], b.Data[o+done:][:cols-done])
		} else {
			for j := done; j < cols; j++ {
				row[j] = b.Data[o+j*b.ColStride]
			}
		}
		clear(row[cols:])
	}
}

// packColsFast packs eight contiguous columns of k elements, stride apart, into a panel of nr columns.
func packColsFast[T element](dst, src []T, k, nr, stride int) {
	_, _ = dst[(k-1)*nr+7], src[7*stride+k-1]
	if k >= 8 {
		transposeBlocks(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), k/8, 4*nr, 4*stride)
	}
	for p := k &^ 7; p < k; p++ {
		for r := range 8 {
			dst[p*nr+r] = src[r*stride+p]
		}
	}
}
