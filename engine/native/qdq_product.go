package native

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// rescaling takes sums of products to the integers of the result, by channel: sum*scale + offset.
type rescaling struct{ scale, offset []float32 }

// mostOffset bounds a bias in steps of the result. A result is at most 255 steps, so that the scaled sum is then as small, and rounding
// both to float32 moves the result by an eighth of a step at most.
const mostOffset = 1 << 20

// rescaling is that of sums with scales x and w and a bias, nil if it does not suit float32.
func (m *match) rescaling(x, w quantization, bias []float32, n int) *rescaling {
	r := &rescaling{make([]float32, n), make([]float32, n)}
	y := float64(m.result.scales[0])
	for i := range n {
		s := float64(x.scales[0]) * float64(w.scales[i%len(w.scales)]) / y
		r.scale[i] = float32(s)
		if bias != nil {
			r.offset[i] = float32(float64(bias[i]) / y)
		}
		if !(r.scale[i] > 1e-30 && s < 1e30 && math.Abs(float64(r.offset[i])) <= mostOffset) {
			return nil
		}
	}
	return r
}

// sumsFit reports whether sums of products of each channel's weights with 8-bit integers stay within int32.
func sumsFit[T gemm.Integer](w []T, zeros []T, channel func(i int) int, n int) bool {
	sums := make([]int64, n)
	for i, e := range w {
		c, z := channel(i), int64(0)
		if len(zeros) > 0 {
			z = int64(zeros[c%len(zeros)])
		}
		d := int64(e) - z
		sums[c] += max(d, -d)
	}
	return slices.Max(sums) < math.MaxInt32/math.MaxUint8
}

// zeros are the zero points of q, nil for none.
func zeros[T gemm.Integer](q quantization) []T {
	if q.zeros == nil {
		return nil
	}
	return elements[T](q.zeros)
}

// matchConv is a convolution with constant weights and bias over one or two spatial axes.
func matchConv(s *scope, m *match) executor {
	x, ok := m.activation(s, 0)
	w, wq, okW := m.weights(s, 1, 0)
	if !ok || !okW || w.Rank() < 3 || w.Rank() > 4 {
		return nil
	}
	maps := int(w.Shape()[0])
	bias, ok := m.bias(s, 2, maps)
	c := &intConv{conv: newConv(&site{Node: m.node, opset: m.opset}), weights: w}
	r := m.rescaling(x, wq, bias, maps)
	if w.DType() == ir.Int8 {
		c.pack = packChain[int8](w, wq)
	} else {
		c.pack = packChain[uint8](w, wq)
	}
	if !ok || r == nil || c.pack == nil {
		return nil
	}
	m.found.weights = true
	return func(t *task) (*ir.Tensor, bool) {
		in := t.tensor(0)
		if !x.fits(in) {
			return nil, false
		}
		p, f, ok := c.fit(in, w)
		if !ok {
			return nil, false
		}
		ready := c.prepared(p)
		if ready == nil {
			return nil, false
		}
		sums, ok := t.convolveInts(ready, in, x.zeros, f)
		if !ok {
			return nil, false
		}
		defer t.doneInts(sums)
		plane := len(sums) / maps / int(f.shape[0])
		if m.dtype == ir.Int8 {
			return rescalePlanes[int8](t, m, r, sums, f.shape, plane)
		}
		return rescalePlanes[uint8](t, m, r, sums, f.shape, plane)
	}
}

func packChain[T gemm.Integer](w *ir.Tensor, q quantization) func(gemm.ConvParams) (*gemm.IntConv, error) {
	v, z, each := elements[T](w), zeros[T](q), int(w.Len()/w.Shape()[0])
	if !sumsFit(v, z, func(i int) int { return i / each }, int(w.Shape()[0])) {
		return nil
	}
	return func(p gemm.ConvParams) (*gemm.IntConv, error) { return gemm.NewIntConv(p, v, z, nil) }
}

// rescalePlanes has one channel after another, plane elements each.
func rescalePlanes[T gemm.Integer](t *task, m *match, r *rescaling, sums []int32, shape []int64, plane int) (*ir.Tensor, bool) {
	dst, ok := lendBytes[T](t, shape)
	if !ok {
		return nil, false
	}
	zero, lo, hi := zeroOf[T](m.result), T(m.lo), T(m.hi)
	t.pool.For(len(sums)/plane, max(1, grain/plane), func(_, from, to int) {
		for i := from; i < to; i++ {
			c := i % len(r.scale)
			gemm.RequantizeOffset(dst[i*plane:][:plane], sums[i*plane:][:plane], r.scale[c], r.offset[c], zero, lo, hi)
		}
	})
	return ir.NewTensor(m.dtype, shape, ir.AsBytes(dst)), true
}

// matchGemm is A*B' + C for constant B and C.
func matchGemm(s *scope, m *match) executor {
	n := m.node
	if n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.NumOperands() > 2 && n.Operand(2) != nil && n.Float("beta", 1) != 1 {
		return nil
	}
	return matchProduct(s, m, n.Int("transB", 0) != 0)
}

// matchMatMul is a product of any number of matrices with one constant matrix.
func matchMatMul(s *scope, m *match) executor { return matchProduct(s, m, false) }

func matchProduct(s *scope, m *match, transposed bool) executor {
	axis := int64(1)
	if transposed {
		axis = 0
	}
	x, ok := m.activation(s, 0)
	w, wq, okW := m.weights(s, 1, axis)
	if !ok || !okW || w.Rank() != 2 {
		return nil
	}
	k, n := int(w.Shape()[1-axis]), int(w.Shape()[axis])
	bias, ok := m.bias(s, 2, n)
	r := m.rescaling(x, wq, bias, n)
	var packed *gemm.PackedIntB
	if w.DType() == ir.Int8 {
		packed = packRightInts[int8](w, wq, transposed)
	} else {
		packed = packRightInts[uint8](w, wq, transposed)
	}
	if !ok || r == nil || packed == nil {
		return nil
	}
	m.found.weights = true
	flat := m.node.Op().Type == "Gemm"
	return func(t *task) (*ir.Tensor, bool) {
		in := t.tensor(0)
		if !x.fits(in) || in.Rank() < 2 || flat && in.Rank() != 2 || in.Shape()[in.Rank()-1] != int64(k) {
			return nil, false
		}
		shape := append(slices.Clone(in.Shape()[:in.Rank()-1]), int64(n))
		sums, ok := t.multiplyInts(packed, in, x.zeros, shape, k, n)
		if !ok {
			return nil, false
		}
		defer t.doneInts(sums)
		if m.dtype == ir.Int8 {
			return rescaleRows[int8](t, m, r, sums, shape)
		}
		return rescaleRows[uint8](t, m, r, sums, shape)
	}
}

func packRightInts[T gemm.Integer](w *ir.Tensor, q quantization, transposed bool) *gemm.PackedIntB {
	v, z, cols := elements[T](w), zeros[T](q), int(w.Shape()[1])
	b := gemm.RowMajor(v, int(w.Shape()[0]), cols)
	channel := func(i int) int { return i % cols }
	if transposed {
		b = b.T()
		channel = func(i int) int { return i / cols }
	}
	if !sumsFit(v, z, channel, b.Cols) {
		return nil
	}
	return gemm.PackIntB(b, z)
}

// rescaleRows has the channels side by side.
func rescaleRows[T gemm.Integer](t *task, m *match, r *rescaling, sums []int32, shape []int64) (*ir.Tensor, bool) {
	dst, ok := lendBytes[T](t, shape)
	if !ok {
		return nil, false
	}
	n := len(r.scale)
	zero, lo, hi := zeroOf[T](m.result), T(m.lo), T(m.hi)
	t.pool.For(len(sums)/n, max(1, grain/n), func(_, from, to int) {
		for i := from; i < to; i++ {
			gemm.RequantizeEach(dst[i*n:][:n], sums[i*n:][:n], r.scale, r.offset, zero, lo, hi)
		}
	})
	return ir.NewTensor(m.dtype, shape, ir.AsBytes(dst)), true
}

// fits reports whether x has the integers that q, which has one scale, is for.
func (q quantization) fits(x *ir.Tensor) bool {
	return is8(x) && x.Len() > 0 && (q.zeros == nil || q.zeros.DType() == x.DType())
}
