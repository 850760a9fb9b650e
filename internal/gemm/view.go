package gemm

import "fmt"

// A View is a matrix inside a slice: element (i, j) is Data[i*RowStride+j*ColStride].
type View[T any] struct {
	Data                 []T
	Rows, Cols           int
	RowStride, ColStride int
}

// RowMajor returns the view of a matrix whose rows lie one after another.
func RowMajor[T any](data []T, rows, cols int) View[T] {
	return View[T]{Data: data, Rows: rows, Cols: cols, RowStride: cols, ColStride: 1}
}

// T returns the transposed view.
func (v View[T]) T() View[T] {
	return View[T]{Data: v.Data, Rows: v.Cols, Cols: v.Rows, RowStride: v.ColStride, ColStride: v.RowStride}
}

// check panics unless every element lies in Data.
func (v View[T]) check(what string) {
	if v.Rows < 0 || v.Cols < 0 || v.RowStride < 0 || v.ColStride < 0 {
		panic(fmt.Sprintf("gemm: %s: negative size or stride in %dx%d, strides %d, %d", what, v.Rows, v.Cols, v.RowStride, v.ColStride))
	}
	if v.Rows == 0 || v.Cols == 0 {
		return
	}
	if last := (v.Rows-1)*v.RowStride + (v.Cols-1)*v.ColStride; last >= len(v.Data) {
		panic(fmt.Sprintf("gemm: %s: %dx%d, strides %d, %d, needs %d elements, has %d", what, v.Rows, v.Cols, v.RowStride, v.ColStride, last+1, len(v.Data)))
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
