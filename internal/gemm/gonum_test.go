package gemm

import (
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// TestAgainstGonum compares the float64 product with an implementation that shares nothing with ours.
func TestAgainstGonum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{1, 1, 1}, {7, 5, 3}, {64, 48, 33}, {130, 257, 65}, {3, 300, 129}} {
		m, n, k := s[0], s[1], s[2]
		a, b := fill(r, make([]float64, m*k)), fill(r, make([]float64, k*n))
		got, want := make([]float64, m*n), make([]float64, m*n)
		Gemm(RowMajor(got, m, n), RowMajor(a, m, k), RowMajor(b, k, n), Options[float64]{})
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1,
			blas64.General{Rows: m, Cols: k, Stride: k, Data: a}, blas64.General{Rows: k, Cols: n, Stride: n, Data: b},
			0, blas64.General{Rows: m, Cols: n, Stride: n, Data: want})
		for i := range want {
			if !near(got[i], want[i], k) {
				t.Fatalf("%dx%dx%d: element %d is %v, gonum has %v", m, n, k, i, got[i], want[i])
			}
		}
	}
}
