package linalg

import (
	"math"
	"unsafe"

	"gonum.org/v1/gonum/mat"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
)

// Orthonormalize replaces the columns of y, of which there are at most as many as rows, with an orthonormal basis of a space that
// holds theirs. It is CholeskyQR2 (Fukaya, Nakatsukasa, Yanagisawa, Yamamoto, "CholeskyQR2", 2014) with the Gram matrix in
// float64 (Yamazaki, Tomov, Dongarra, "Mixed-Precision Cholesky QR Factorization", 2015), and Householder's method where the
// columns are dependent.
func Orthonormalize[T Float](y Matrix[T], pool *par.Pool) error {
	for range 2 {
		if _, err := orthonormalizeOnce(y, pool); err != nil {
			return err
		}
	}
	return nil
}

// orthonormalizeOnce is one pass of CholeskyQR: the columns span the same space, are well conditioned, and nearly orthonormal.
// It returns the triangular factor of their Gram matrix; nil where they were dependent.
func orthonormalizeOnce[T Float](y Matrix[T], pool *par.Pool) (*Cholesky, error) {
	if y.Cols == 0 {
		return nil, nil
	}
	return orthonormalizeWith(y, Gram(y, pool), dependence(y), pool)
}

// orthonormalizeRoughly is orthonormalizeOnce with the Gram matrix summed in the precision of y where that does: columns that are
// far from dependent.
func orthonormalizeRoughly[T Float](y Matrix[T], pool *par.Pool) (*Cholesky, error) {
	g := New[float64](y.Cols, y.Cols)
	part := New[T](y.Cols, y.Cols)
	for i := 0; i < y.Rows; i += gramRows {
		v := y.block(i, 0, min(gramRows, y.Rows-i), y.Cols)
		mulInto(part, v.T(), v, pool)
		for k, p := range part.Data {
			g.Data[k] += float64(p)
		}
	}
	if c, err := NewCholesky(g, pool); err != nil || dependent(c.L, 3e-3) {
		return orthonormalizeOnce(y, pool)
	}
	return orthonormalizeWith(y, g, 0, pool)
}

func orthonormalizeWith[T Float](y Matrix[T], g Matrix[float64], limit float64, pool *par.Pool) (*Cholesky, error) {
	if !Finite(g.Data) {
		return nil, ErrNotFinite
	}
	c, err := NewCholesky(g, pool)
	if err != nil || dependent(c.L, limit) {
		return nil, householder(y)
	}
	inv := New[float64](y.Cols, y.Cols)
	for i := range y.Cols {
		inv.Data[i*y.Cols+i] = 1
	}
	c.SolveLower(inv)
	var q Matrix[T]
	if w, ok := any(inv).(Matrix[T]); ok {
		q = Mul(y.View(), w.View().T(), pool)
	} else {
		q = Mul(y.View(), Convert[T](inv).View().T(), pool)
	}
	copy(y.Data, q.Data)
	return c, nil
}

// spread is how differently long the columns' new directions are, the longest over the shortest.
func (c *Cholesky) spread() float64 {
	if c == nil {
		return math.Inf(1)
	}
	low, high := math.Inf(1), 0.0
	for i := range c.L.Rows {
		d := c.L.Data[i*c.L.Cols+i]
		low, high = min(low, d), max(high, d)
	}
	return high / low
}

// smallest is about the smallest singular value of L, not below it: a few steps of inverse iteration.
func (c *Cholesky) smallest() float64 {
	v := New[float64](c.L.Rows, 1)
	for i := range v.Data {
		v.Data[i] = 1
	}
	norm := Norm(v.Data)
	for range 6 {
		for i := range v.Data {
			v.Data[i] /= norm
		}
		c.Solve(v)
		norm = Norm(v.Data)
	}
	return 1 / math.Sqrt(norm)
}

// dependence is the share of a column below which its new direction is lost in the rounding of T or of the Gram matrix.
func dependence[T Float](Matrix[T]) float64 {
	if unsafe.Sizeof(*new(T)) == 4 {
		return 1e-5
	}
	return 1e-6
}

// dependent reports whether what is left of some column behind those before it is less than limit times the column.
func dependent(l Matrix[float64], limit float64) bool {
	for i := range l.Rows {
		row := l.Row(i)
		if row[i] < limit*Norm(row[:i+1]) {
			return true
		}
	}
	return false
}

// householder is the orthonormal factor by gonum.
func householder[T Float](y Matrix[T]) error {
	w := Convert[float64](y)
	// Columns far below the largest are scaled up, so that none is lost: they are directions all the same.
	for j := range w.Cols {
		s := 0.0
		for i := range w.Rows {
			s = math.Hypot(s, w.Data[i*w.Cols+j])
		}
		if s > 0 {
			for i := range w.Rows {
				w.Data[i*w.Cols+j] /= s
			}
		}
	}
	var qr mat.QR
	qr.Factorize(mat.NewDense(w.Rows, w.Cols, w.Data))
	var q, r mat.Dense
	qr.QTo(&q)
	qr.RTo(&r)
	for i := range y.Rows {
		for j, v := range q.RawRowView(i)[:y.Cols] {
			if r.At(j, j) < 0 { // the sign that CholeskyQR gives
				v = -v
			}
			y.Data[i*y.Cols+j] = T(v)
		}
	}
	if !Finite(y.Data) {
		return ErrNotFinite
	}
	return nil
}

// QR is the factorization of a, with at least as many rows as columns: q has orthonormal columns, and r = qᵀa, which is upper
// triangular where the columns of a are independent.
func QR[T Float](a Matrix[T], pool *par.Pool) (q, r Matrix[T], err error) {
	q = a.Clone()
	if err := Orthonormalize(q, pool); err != nil {
		return q, r, err
	}
	return q, Mul(q.View().T(), a.View(), pool), nil
}

// SymEigen is the eigenvalues of a symmetric matrix, the largest first, and the orthonormal eigenvectors as columns in that order.
func SymEigen(a Matrix[float64]) (values []float64, vectors Matrix[float64], err error) {
	n := a.Rows
	if !Finite(a.Data) {
		return nil, vectors, ErrNotFinite
	}
	if n == 0 {
		return nil, vectors, nil
	}
	sym := mat.NewSymDense(n, append([]float64(nil), a.Data...))
	var e mat.EigenSym
	if !e.Factorize(sym, true) {
		return nil, vectors, ErrNotFinite
	}
	up := e.Values(nil)
	var v mat.Dense
	e.VectorsTo(&v)
	vectors, values = New[float64](n, n), make([]float64, n)
	for j := range n {
		values[j] = up[n-1-j]
	}
	for i := range n {
		row := v.RawRowView(i)
		out := vectors.Row(i)
		for j := range n {
			out[j] = row[n-1-j]
		}
	}
	return values, vectors, nil
}

// scaleColumns multiplies column j by f[j].
func scaleColumns[T Float](m Matrix[T], f []float64) {
	for i := range m.Rows {
		for j, v := range m.Row(i) {
			m.Data[i*m.Cols+j] = T(float64(v) * f[j])
		}
	}
}

// product into a matrix that is there.
func mulInto[T Float](c Matrix[T], a, b gemm.View[T], pool *par.Pool) {
	gemm.Gemm(c.View(), a, b, gemm.Options[T]{Pool: pool})
}
