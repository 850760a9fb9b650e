package native

import (
	"math"
	"slices"
	"sync"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// scaling says which operands hold the scales of the factors and the scale and zero point of the result; the zero value is for
// the operators whose result are the sums.
type scaling struct{ a, b, y int }

// prepareMatMulInteger multiplies by a constant matrix with zero points for all or for each column.
func prepareMatMulInteger(s *site) executor {
	return prepareIntProduct(s, 1, 2, 3, scaling{})
}

func prepareQLinearMatMul(s *site) executor {
	return prepareIntProduct(s, 3, 2, 5, scaling{a: 1, b: 4, y: 6})
}

// prepareIntProduct packs the constant right operand b; za and zb are the operands with the zero points.
func prepareIntProduct(s *site, b, za, zb int, q scaling) executor {
	w := s.constantBytes(b)
	if w == nil || w.Rank() != 2 {
		return nil
	}
	var packed *gemm.PackedIntB
	if w.DType() == ir.Int8 {
		packed = packInts[int8](s, w, zb)
	} else {
		packed = packInts[uint8](s, w, zb)
	}
	if packed == nil {
		return nil
	}
	k, n := w.Shape()[0], int(w.Shape()[1])
	return func(t *task) (*ir.Tensor, bool) {
		x := t.tensor(0)
		if !is8(x) || x.Rank() < 2 || x.Len() == 0 || x.Shape()[x.Rank()-1] != k {
			return nil, false
		}
		shape := append(slices.Clone(x.Shape()[:x.Rank()-1]), int64(n))
		zero, ok := t.optional(za)
		if !ok {
			return nil, false
		}
		sums, ok := t.multiplyInts(packed, x, zero, shape, int(k), n)
		if !ok {
			return nil, false
		}
		return t.scaled(sums, shape, q, func(int) (int, int) { return 0, 1 })
	}
}

func packInts[T gemm.Integer](s *site, w *ir.Tensor, zb int) *gemm.PackedIntB {
	zero, ok := zeroPoints[T](s, zb, w.DType(), w.Shape()[1])
	v := elements[T](w)
	if !ok || v == nil {
		return nil
	}
	return gemm.PackIntB(gemm.RowMajor(v, int(w.Shape()[0]), int(w.Shape()[1])), zero)
}

// multiplyInts lends the sums of the products of x, less a zero point that may be nil, with n columns of k integers.
func (t *task) multiplyInts(packed *gemm.PackedIntB, x, zero *ir.Tensor, shape []int64, k, n int) ([]int32, bool) {
	sums, ok := t.lendInts(shape)
	if !ok {
		return nil, false
	}
	if x.DType() == ir.Int8 {
		ok = multiplyInts[int8](t, sums, x, zero, packed, k, n)
	} else {
		ok = multiplyInts[uint8](t, sums, x, zero, packed, k, n)
	}
	if !ok {
		t.doneInts(sums)
	}
	return sums, ok
}

func multiplyInts[T gemm.Integer](t *task, sums []int32, x, zero *ir.Tensor, packed *gemm.PackedIntB, k, n int) bool {
	v := elements[T](x)
	z, ok := zeroPoint[T](zero, x.DType())
	if v == nil || !ok {
		return false
	}
	m := len(v) / k
	scratch, ok := t.scratch(gemm.IntScratch(m, n, k))
	if !ok {
		return false
	}
	gemm.GemmInt(gemm.RowMajor(sums, m, n), gemm.RowMajor(v, m, k), []T{z}, packed, nil, viewAs[int32](scratch, len(scratch)), t.pool)
	t.done(scratch)
	return true
}

// intConv evaluates ConvInteger and QLinearConv with constant weights over one or two spatial axes.
type intConv struct {
	*conv
	weights *ir.Tensor
	pack    func(p gemm.ConvParams) (*gemm.IntConv, error)
	zero    int // operand with the input's zero point
	scaling scaling

	mu     sync.Mutex
	params gemm.ConvParams
	ready  *gemm.IntConv
}

func prepareConvInteger(s *site) executor { return prepareIntConv(s, 1, 2, 3, -1, scaling{}) }

func prepareQLinearConv(s *site) executor {
	return prepareIntConv(s, 3, 2, 5, 8, scaling{a: 1, b: 4, y: 6})
}

// prepareIntConv takes the numbers of the operands: weights, zero points of input and weights, bias (below zero: none).
func prepareIntConv(s *site, w, zx, zw, bias int, q scaling) executor {
	weights := s.constantBytes(w)
	if weights == nil || weights.Rank() < 3 {
		return nil
	}
	var b []int32
	if bias >= 0 && s.given(bias) {
		t := s.in[bias].tensor
		if t == nil || t.DType() != ir.Int32 || !slices.Equal(t.Shape(), weights.Shape()[:1]) {
			return nil
		}
		b = elements[int32](t)
	}
	c := &intConv{conv: newConv(s), weights: weights, zero: zx, scaling: q}
	if weights.DType() == ir.Int8 {
		c.pack = packIntConv[int8](s, weights, zw, b)
	} else {
		c.pack = packIntConv[uint8](s, weights, zw, b)
	}
	if c.pack == nil {
		return nil
	}
	return c.run
}

func packIntConv[T gemm.Integer](s *site, w *ir.Tensor, zw int, bias []int32) func(gemm.ConvParams) (*gemm.IntConv, error) {
	zero, ok := zeroPoints[T](s, zw, w.DType(), w.Shape()[0])
	v := elements[T](w)
	if !ok || v == nil {
		return nil
	}
	return func(p gemm.ConvParams) (*gemm.IntConv, error) { return gemm.NewIntConv(p, v, zero, bias) }
}

// prepared arranges the weights; the last arrangement is kept.
func (c *intConv) prepared(p gemm.ConvParams) *gemm.IntConv {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready == nil || c.params != p {
		ready, err := c.pack(p)
		if err != nil {
			return nil
		}
		c.params, c.ready = p, ready
	}
	return c.ready
}

func (c *intConv) run(t *task) (*ir.Tensor, bool) {
	x := t.tensor(0)
	if !is8(x) || x.Len() == 0 {
		return nil, false
	}
	p, f, ok := c.fit(x, c.weights)
	if !ok {
		return nil, false
	}
	ready := c.prepared(p)
	if ready == nil {
		return nil, false
	}
	zero, ok := t.optional(c.zero)
	if !ok {
		return nil, false
	}
	sums, ok := t.convolveInts(ready, x, zero, f)
	if !ok {
		return nil, false
	}
	maps := int(f.shape[1])
	return t.scaled(sums, f.shape, c.scaling, func(scales int) (int, int) { return len(sums) / int(f.shape[0]) / maps, maps })
}

// convolveInts lends the sums of the convolution of x less a zero point, which may be nil.
func (t *task) convolveInts(ready *gemm.IntConv, x, zero *ir.Tensor, f fitted) ([]int32, bool) {
	sums, ok := t.lendInts(f.shape)
	if !ok {
		return nil, false
	}
	if x.DType() == ir.Int8 {
		ok = convolveInts[int8](t, ready, sums, x, zero, f)
	} else {
		ok = convolveInts[uint8](t, ready, sums, x, zero, f)
	}
	if !ok {
		t.doneInts(sums)
	}
	return sums, ok
}

func convolveInts[T gemm.Integer](t *task, ready *gemm.IntConv, sums []int32, x, zero *ir.Tensor, f fitted) bool {
	v := elements[T](x)
	z, ok := zeroPoint[T](zero, x.DType())
	if v == nil || !ok {
		return false
	}
	scratch, ok := t.scratch(ready.Scratch(f.height, f.width, t.pool.Workers()))
	if !ok {
		return false
	}
	gemm.RunIntConv(ready, sums, v, z, int(f.shape[0]), f.height, f.width, viewAs[int32](scratch, len(scratch)), t.pool)
	t.done(scratch)
	return true
}

// scaled is the result made of sums: themselves, or scaled to the result's scale and zero point. Runs returns how many elements
// in a row share a scale of b, and how many scales there may be besides one.
func (t *task) scaled(sums []int32, shape []int64, q scaling, runs func(scales int) (int, int)) (*ir.Tensor, bool) {
	if q == (scaling{}) {
		return ir.TensorOf(sums, shape...), true
	}
	defer t.doneInts(sums)
	y := t.tensor(q.y + 1)
	switch {
	case !is8(y):
		return nil, false
	case y.DType() == ir.Int8:
		return requantize[int8](t, sums, shape, q, math.MinInt8, math.MaxInt8, runs)
	}
	return requantize[uint8](t, sums, shape, q, 0, math.MaxUint8, runs)
}

func requantize[T gemm.Integer](t *task, sums []int32, shape []int64, q scaling, lo, hi T, runs func(int) (int, int)) (*ir.Tensor, bool) {
	a, okA := t.scalarFloat(q.a)
	y, okY := t.scalarFloat(q.y)
	dtype := t.tensor(q.y + 1).DType()
	zero, okZ := zeroPoint[T](t.tensor(q.y+1), dtype)
	b := t.tensor(q.b)
	if !okA || !okY || !okZ || b == nil || b.DType() != ir.Float32 || b.Len() < 1 {
		return nil, false
	}
	scales := elements[float32](b)
	run := len(sums)
	if len(scales) > 1 {
		var most int
		if run, most = runs(len(scales)); len(scales) != most || run < 1 {
			return nil, false
		}
	}
	for _, s := range scales {
		if m := a * s / y; !(m > 0) || m > math.MaxFloat32 {
			return nil, false
		}
	}
	r, ok := lendBytes[T](t, shape)
	if !ok {
		return nil, false
	}
	t.pool.For(len(sums)/run, max(1, grain/run), func(_, from, to int) {
		for i := from; i < to; i++ {
			gemm.Requantize(r[i*run:][:run], sums[i*run:][:run], a*scales[i%len(scales)]/y, zero, lo, hi)
		}
	})
	return ir.NewTensor(dtype, shape, ir.AsBytes(r)), true
}
