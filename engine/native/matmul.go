package native

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// fewRows and deep say when a product reads its packed right operand in one go instead of block by block, which adds in
// another order. There the right operand is packed whether it is constant or not, so that the bits do not tell.
const fewRows, deep = 4, 256

// right is the right operand of a product: packed if it is constant.
type right struct {
	packed *gemm.PackedB[float32]
}

// multiply computes dst = a*b for matrices, with a bias for each column if there is one.
func (r right) multiply(t *task, dst, a, b gemm.View[float32], bias []float32) {
	o := gemm.Options[float32]{Pool: t.pool, ColBias: bias}
	packed := r.packed
	if packed == nil && a.Rows <= fewRows && a.Cols > deep {
		packed = gemm.PackB(b)
	}
	if packed != nil {
		gemm.GemmPackedB(dst, a, packed, o)
		return
	}
	scratch, ok := t.scratch(gemm.Scratch[float32](dst.Rows, dst.Cols, a.Cols, t.pool.Workers()))
	if ok {
		o.Scratch = scratch
		defer t.done(scratch)
	}
	gemm.Gemm(dst, a, b, o)
}

// packRight packs operand 1 if it is a constant matrix.
func packRight(s *site, transposed bool) (r right) {
	w := s.constant(1)
	if w == nil || w.Rank() != 2 || w.Len() == 0 {
		return r
	}
	v, err := ir.Elements[float32](w)
	if err != nil {
		return r
	}
	r.packed = s.arranged.right(w, transposed, func() *gemm.PackedB[float32] {
		b := gemm.RowMajor(v, int(w.Shape()[0]), int(w.Shape()[1]))
		if transposed {
			b = b.T()
		}
		return gemm.PackB(b)
	})
	return r
}

func prepareMatMul(s *site) executor {
	r := packRight(s, false)
	return func(t *task) (*ir.Tensor, bool) {
		x, xv, ok := t.float(0)
		y, yv, okY := t.float(1)
		if !ok || !okY || x.Rank() < 2 || y.Rank() < 2 || len(xv) == 0 || len(yv) == 0 {
			return nil, false
		}
		xs, ys := x.Shape(), y.Shape()
		m, k, n := int(xs[len(xs)-2]), int(xs[len(xs)-1]), int(ys[len(ys)-1])
		if ys[len(ys)-2] != int64(k) {
			return nil, false
		}
		if y.Rank() == 2 { // one product, however many matrices there are on the left
			shape := append(slices.Clone(xs[:len(xs)-1]), int64(n))
			dst, ok := t.alloc(shape)
			if !ok {
				return nil, false
			}
			rows := len(xv) / k
			r.multiply(t, gemm.RowMajor(dst, rows, n), gemm.RowMajor(xv, rows, k), gemm.RowMajor(yv, k, n), nil)
			return result(dst, shape)
		}
		batch, ok := broadcastShape(xs[:len(xs)-2], ys[:len(ys)-2])
		if !ok {
			return nil, false
		}
		shape := append(slices.Clone(batch), int64(m), int64(n))
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		out := 0
		newLoops(batch, xs[:len(xs)-2], ys[:len(ys)-2]).rows(func(i, j, length, is, js int) {
			for q := range length {
				a, b := xv[(i+q*is)*m*k:][:m*k], yv[(j+q*js)*k*n:][:k*n]
				right{}.multiply(t, gemm.RowMajor(dst[out:out+m*n], m, n), gemm.RowMajor(a, m, k), gemm.RowMajor(b, k, n), nil)
				out += m * n
			}
		})
		return result(dst, shape)
	}
}

// prepareGemm is alpha*A'*B' + beta*C for alpha and beta 1, or no C at all, and C a row.
func prepareGemm(s *site) executor {
	transA, transB := s.Int("transA", 0) != 0, s.Int("transB", 0) != 0
	if s.Float("alpha", 1) != 1 || s.given(2) && s.Float("beta", 1) != 1 {
		return nil
	}
	r := packRight(s, transB)
	return func(t *task) (*ir.Tensor, bool) {
		x, xv, ok := t.float(0)
		y, yv, okY := t.float(1)
		if !ok || !okY || x.Rank() != 2 || y.Rank() != 2 || len(xv) == 0 || len(yv) == 0 {
			return nil, false
		}
		a := gemm.RowMajor(xv, int(x.Shape()[0]), int(x.Shape()[1]))
		if transA {
			a = a.T()
		}
		b := gemm.RowMajor(yv, int(y.Shape()[0]), int(y.Shape()[1]))
		if transB {
			b = b.T()
		}
		if a.Cols != b.Rows {
			return nil, false
		}
		var bias []float32
		if len(t.in) > 2 && t.in[2] != nil {
			c, cv, ok := t.float(2)
			if !ok || len(cv) != b.Cols || c.Rank() > 2 || c.Rank() < 1 || c.Shape()[c.Rank()-1] != int64(b.Cols) {
				return nil, false
			}
			bias = cv
		}
		shape := []int64{int64(a.Rows), int64(b.Cols)}
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		r.multiply(t, gemm.RowMajor(dst, a.Rows, b.Cols), a, b, bias)
		return result(dst, shape)
	}
}
