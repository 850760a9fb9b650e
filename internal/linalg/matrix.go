package linalg

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
)

// Float is an element of a matrix.
type Float interface{ float32 | float64 }

// A Matrix is a dense matrix in row-major order without gaps: element (i, j) is Data[i*Cols+j].
type Matrix[T Float] struct {
	Rows, Cols int
	Data       []T
}

// New returns a matrix of zeros.
func New[T Float](rows, cols int) Matrix[T] {
	return Matrix[T]{rows, cols, make([]T, rows*cols)}
}

// Of makes a matrix of data, which it shares.
func Of[T Float](rows, cols int, data []T) Matrix[T] {
	if len(data) != rows*cols {
		panic(fmt.Sprintf("linalg: %d elements for %dx%d", len(data), rows, cols))
	}
	return Matrix[T]{rows, cols, data}
}

// Row is row i, shared.
func (m Matrix[T]) Row(i int) []T { return m.Data[i*m.Cols : (i+1)*m.Cols : (i+1)*m.Cols] }

// View is the matrix as an operand of a product.
func (m Matrix[T]) View() gemm.View[T] { return gemm.RowMajor(m.Data, m.Rows, m.Cols) }

// T is the transposed matrix, copied.
func (m Matrix[T]) T() Matrix[T] {
	t := New[T](m.Cols, m.Rows)
	const b = 16 // a block of both fits the first cache
	for i0 := 0; i0 < m.Rows; i0 += b {
		for j0 := 0; j0 < m.Cols; j0 += b {
			for i := i0; i < min(i0+b, m.Rows); i++ {
				for j := j0; j < min(j0+b, m.Cols); j++ {
					t.Data[j*m.Rows+i] = m.Data[i*m.Cols+j]
				}
			}
		}
	}
	return t
}

// Clone is a copy.
func (m Matrix[T]) Clone() Matrix[T] {
	return Matrix[T]{m.Rows, m.Cols, append([]T(nil), m.Data...)}
}

// Head is a copy of the first k columns.
func (m Matrix[T]) Head(k int) Matrix[T] {
	r := New[T](m.Rows, k)
	for i := range m.Rows {
		copy(r.Row(i), m.Row(i))
	}
	return r
}

// block is the part of m that begins at (i, j).
func (m Matrix[T]) block(i, j, rows, cols int) gemm.View[T] {
	if rows == 0 || cols == 0 {
		return gemm.View[T]{Rows: rows, Cols: cols, RowStride: m.Cols, ColStride: 1}
	}
	return gemm.View[T]{Data: m.Data[i*m.Cols+j : (i+rows-1)*m.Cols+j+cols], Rows: rows, Cols: cols, RowStride: m.Cols, ColStride: 1}
}

// Mul is a*b.
func Mul[T Float](a, b gemm.View[T], pool *par.Pool) Matrix[T] {
	c := New[T](a.Rows, b.Cols)
	gemm.Gemm(c.View(), a, b, gemm.Options[T]{Pool: pool})
	return c
}

// Convert is m with another element type.
func Convert[T, S Float](m Matrix[S]) Matrix[T] {
	r := New[T](m.Rows, m.Cols)
	for i, v := range m.Data {
		r.Data[i] = T(v)
	}
	return r
}

// Finite reports whether no element is NaN or infinite.
func Finite[T Float](x []T) bool {
	var s T
	for _, v := range x {
		s += v - v // NaN where v is not finite, and stays
	}
	return s == 0
}

// Norm is the Frobenius norm.
func Norm[T Float](x []T) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

// Gaussian returns a matrix of independent standard normal numbers.
func Gaussian[T Float](r *rand.Rand, rows, cols int) Matrix[T] {
	m := New[T](rows, cols)
	for i := range m.Data {
		m.Data[i] = T(r.NormFloat64())
	}
	return m
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }

// gramRows bounds how many rows of a are widened to float64 at a time.
const gramRows = 1024

// Gram is the transposed a times a, summed in float64.
func Gram[T Float](a Matrix[T], pool *par.Pool) Matrix[float64] {
	g := New[float64](a.Cols, a.Cols)
	if d, ok := any(a).(Matrix[float64]); ok {
		addGram(g, d.View(), pool)
	} else {
		wide := New[float64](min(gramRows, a.Rows), a.Cols)
		for i := 0; i < a.Rows; i += gramRows {
			w := Of(min(gramRows, a.Rows-i), a.Cols, wide.Data[:min(gramRows, a.Rows-i)*a.Cols])
			for k, v := range a.Data[i*a.Cols:][:len(w.Data)] {
				w.Data[k] = float64(v)
			}
			addGram(g, w.View(), pool)
		}
	}
	mirror(g)
	return g
}

// OuterGram is a times the transposed a, summed in float64.
func OuterGram[T Float](a Matrix[T], pool *par.Pool) Matrix[float64] {
	w, ok := any(a).(Matrix[float64])
	if !ok {
		w = Convert[float64](a)
	}
	g := New[float64](a.Rows, a.Rows)
	for j := 0; j < a.Rows; j += panel {
		n := min(panel, a.Rows-j)
		gemm.Gemm(g.block(j, j, n, a.Rows-j), w.block(j, 0, n, a.Cols), w.block(j, 0, a.Rows-j, a.Cols).T(), gemm.Options[float64]{Pool: pool})
	}
	mirror(g)
	return g
}

// panel is the number of columns that symmetric products and factorizations take at a time.
const panel = 64

// addGram adds the upper triangle of the transposed x times x to g, and some of the lower.
func addGram(g Matrix[float64], x gemm.View[float64], pool *par.Pool) {
	for j := 0; j < g.Cols; j += 2 * panel {
		n := min(2*panel, g.Cols-j)
		gemm.Gemm(g.block(j, j, n, g.Cols-j), columns(x, j, n).T(), columns(x, j, g.Cols-j), gemm.Options[float64]{Accumulate: true, Pool: pool})
	}
}

// columns is the view of n columns of x from j on.
func columns[T Float](x gemm.View[T], j, n int) gemm.View[T] {
	x.Cols = n
	if x.Rows > 0 && n > 0 {
		x.Data = x.Data[j*x.ColStride:]
	}
	return x
}

// mirror makes the lower triangle that of the upper.
func mirror(g Matrix[float64]) {
	for i := range g.Rows {
		for j := range i {
			g.Data[i*g.Cols+j] = g.Data[j*g.Cols+i]
		}
	}
}
