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
	need := gemm.Scratch[float32](dst.Rows, dst.Cols, a.Cols, t.pool.Workers())
	scratch, ok := t.scratch(need)
	if ok {
		defer t.done(scratch)
	}
	r.product(dst, a, b, gemm.Options[float32]{Pool: t.pool, ColBias: bias, Scratch: scratch})
}

func (r right) product(dst, a, b gemm.View[float32], o gemm.Options[float32]) {
	packed := r.packed
	if packed == nil && a.Rows <= fewRows && a.Cols > deep {
		packed = gemm.PackB(b)
	}
	if packed != nil {
		gemm.GemmPackedB(dst, a, packed, o)
		return
	}
	gemm.Gemm(dst, a, b, o)
}

// batch multiplies pairs of matrices, m by k and k by n, that begin at so many elements of a and b, one after another into dst.
// Where there are enough, each worker takes whole products.
func (t *task) batch(dst, a, b []float32, pairs [][2]int, m, k, n int) {
	one := func(i int, o gemm.Options[float32]) {
		at := pairs[i]
		right{}.product(gemm.RowMajor(dst[i*m*n:][:m*n], m, n), gemm.RowMajor(a[at[0]:][:m*k], m, k), gemm.RowMajor(b[at[1]:][:k*n], k, n), o)
	}
	workers := t.pool.Workers()
	whole := workers > 1 && (len(pairs)%workers == 0 || len(pairs) > 4*workers)
	each := gemm.Scratch[float32](m, n, k, workers)
	if whole {
		each = gemm.Scratch[float32](m, n, k, 1)
	}
	scratch, lent := t.scratch(max(1, each*workers))
	if !lent {
		each = 0 // products allocate
	} else {
		defer t.done(scratch)
	}
	if !whole {
		for i := range pairs {
			one(i, gemm.Options[float32]{Pool: t.pool, Scratch: scratch})
		}
		return
	}
	t.pool.For(len(pairs), max(1, grain/(m*n+k*n)), func(worker, from, to int) {
		for i := from; i < to; i++ {
			one(i, gemm.Options[float32]{Scratch: scratch[worker*each:][:each]})
		}
	})
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
		pairs := make([][2]int, 0, ir.NumElements(batch))
		newLoops(batch, xs[:len(xs)-2], ys[:len(ys)-2]).rows(func(i, j, length, is, js int) {
			for q := range length {
				pairs = append(pairs, [2]int{(i + q*is) * m * k, (j + q*js) * k * n})
			}
		})
		t.batch(dst, xv, yv, pairs, m, k, n)
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
