package native_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

// checkExact compares the node with the kernels to the bit, in all forms. Errors are the kernels'.
func (s single) checkExact(t *testing.T) {
	want, err := s.evaluate(t, native.Portable(), form{})
	for _, f := range []form{{}, {constants: true}, {computed: true}, {constants: true, computed: true}, {constants: true, threads: 3}, {constants: true, tap: true}} {
		got, gotErr := s.evaluate(t, native.New(), f)
		if err != nil {
			assert.EqualError(t, gotErr, err.Error(), "%v as %+v", s, f)
			continue
		}
		if assert.NoError(t, gotErr, "%v as %+v", s, f) && assert.Equal(t, want.Type().String(), got.Type().String(), "%v", s) {
			assert.Equal(t, bytesOf(t, want), bytesOf(t, got), "%v as %+v", s, f)
		}
	}
}

func manyExact(t *testing.T, n int, f func(r source) single) {
	if testing.Short() {
		n /= 4
	}
	r := newSource()
	for range n {
		f(r).checkExact(t)
	}
}

// bytes has elements of all values, of a type of 8 bits.
func (r source) bytes(signed bool, shape ...int64) *ir.Tensor {
	n := ir.NumElements(shape)
	if !signed {
		v := make([]uint8, n)
		for i := range v {
			v[i] = either(r, uint8(r.IntN(256)), 0, 255)
		}
		return ir.TensorOf(v, shape...)
	}
	v := make([]int8, n)
	for i := range v {
		v[i] = either(r, int8(r.IntN(256)-128), -128, 127)
	}
	return ir.TensorOf(v, shape...)
}

// scales are positive.
func (r source) scales(shape ...int64) *ir.Tensor {
	v := make([]float32, ir.NumElements(shape))
	for i := range v {
		v[i] = 0.001 + r.Float32()*0.03
	}
	return ir.TensorOf(v, shape...)
}

// maybe is x, or omitted.
func (r source) maybe(x *ir.Tensor) *ir.Tensor {
	if r.IntN(3) == 0 {
		return nil
	}
	return x
}

func TestQuantizeLinear(t *testing.T) {
	manyExact(t, 200, func(r source) single {
		shape := []int64{r.size(0, 3), r.size(1, 4), r.size(1, 300)}
		s := single{domain: either(r, "", "com.microsoft"), op: "QuantizeLinear", opset: 13,
			in: []*ir.Tensor{r.tensor(true, shape...), r.scales(), r.maybe(r.bytes(r.IntN(2) == 0))}}
		switch r.IntN(4) {
		case 0:
			s.in[1], s.in[2] = r.scales(shape[1]), r.maybe(r.bytes(r.IntN(2) == 0, shape[1]))
		case 1:
			axis := r.size(0, 2)
			s.attrs = append(s.attrs, ir.IntAttr("axis", either(r, axis, axis-3)))
			s.in[1], s.in[2] = r.scales(shape[axis]), r.maybe(r.bytes(r.IntN(2) == 0, shape[axis]))
		case 2:
			s.in[1] = ir.ScalarOf(either(r, 0, float32(math.Inf(1)), 1e-30, 0.5)) // ties with 0.5
			for i, v := range mustFloats(s.in[0]) {
				mustFloats(s.in[0])[i] = float32(math.Round(float64(v)*4) / 4)
			}
		}
		return s
	})
}

func mustFloats(x *ir.Tensor) []float32 {
	v, err := ir.Elements[float32](x)
	if err != nil {
		panic(err)
	}
	return v
}

func TestDequantizeLinear(t *testing.T) {
	manyExact(t, 200, func(r source) single {
		shape := []int64{r.size(0, 3), r.size(1, 4), r.size(1, 600)}
		signed := r.IntN(2) == 0
		s := single{domain: either(r, "", "com.microsoft"), op: "DequantizeLinear", opset: 13, in: []*ir.Tensor{r.bytes(signed, shape...), r.scales(), r.maybe(r.bytes(signed))}}
		if r.IntN(2) == 0 {
			axis := r.size(0, 2)
			s.attrs = append(s.attrs, ir.IntAttr("axis", either(r, axis, axis-3)))
			s.in[1], s.in[2] = r.scales(shape[axis]), r.maybe(r.bytes(signed, shape[axis]))
		}
		return s
	})
}

func TestDynamicQuantizeLinear(t *testing.T) {
	manyExact(t, 100, func(r source) single {
		return single{op: "DynamicQuantizeLinear", opset: 11, in: []*ir.Tensor{r.tensor(r.IntN(4) == 0, r.size(0, 3), r.size(1, 90))}, out: r.IntN(3)}
	})
}

func TestCast(t *testing.T) {
	manyExact(t, 60, func(r source) single {
		n := r.size(0, 70)
		big := make([]int64, n)
		for i := range big {
			big[i] = r.Int64() >> r.IntN(64)
		}
		small := make([]int32, n)
		for i := range small {
			small[i] = int32(big[i])
		}
		x := either(r, ir.TensorOf(big, n), ir.TensorOf(small, n), r.bytes(true, n), r.bytes(false, n), r.tensor(true, n))
		return single{op: "Cast", opset: 13, in: []*ir.Tensor{x}, attrs: []*ir.Attr{ir.IntAttr("to", int64(either(r, ir.Float32, ir.Float32, ir.Int32)))}}
	})
}

func TestIntProducts(t *testing.T) {
	manyExact(t, 200, func(r source) single {
		m, k, n := r.size(1, 20), r.size(1, 70), r.size(1, 40)
		a, b := r.IntN(2) == 0, r.IntN(2) == 0
		x := r.bytes(a, either(r, []int64{m, k}, []int64{2, m, k})...)
		if r.IntN(2) == 0 {
			return single{op: "MatMulInteger", opset: 10, in: []*ir.Tensor{x, r.bytes(b, k, n), r.maybe(r.bytes(a)),
				r.maybe(either(r, r.bytes(b), r.bytes(b, n)))}}
		}
		return single{op: "QLinearMatMul", opset: 10, in: []*ir.Tensor{x, r.scales(), r.bytes(a), r.bytes(b, k, n), r.scales(), r.bytes(b),
			r.scales(), r.bytes(r.IntN(2) == 0)}}
	})
}

func TestIntConvolutions(t *testing.T) {
	manyExact(t, 300, func(r source) single {
		group := r.size(1, 3)
		in, out := group*r.size(1, 5), group*r.size(1, 6)
		if r.IntN(4) == 0 {
			group, out = in, in*r.size(1, 2)
		}
		spatial := either(r, []int64{r.size(1, 9), r.size(1, 20)}, []int64{r.size(1, 30)})
		s := single{opset: 10, attrs: []*ir.Attr{ir.IntAttr("group", group)}}
		x, w := []int64{r.size(1, 2), in}, []int64{out, in / group}
		var pads, strides []int64
		for _, n := range spatial {
			x, w = append(x, n), append(w, r.size(1, min(3, n)))
			pads, strides = append(pads, r.size(0, 1)), append(strides, r.size(1, 2))
		}
		s.attrs = append(s.attrs, ir.IntsAttr("pads", append(pads, pads...)), ir.IntsAttr("strides", strides))
		a, b := r.IntN(2) == 0, r.IntN(2) == 0
		if r.IntN(2) == 0 {
			s.op = "ConvInteger"
			s.in = []*ir.Tensor{r.bytes(a, x...), r.bytes(b, w...), r.maybe(r.bytes(a)), r.maybe(either(r, r.bytes(b), r.bytes(b, out)))}
			return s
		}
		bias := make([]int32, out)
		for i := range bias {
			bias[i] = int32(r.IntN(20000) - 10000)
		}
		s.op = "QLinearConv"
		s.in = []*ir.Tensor{r.bytes(a, x...), r.scales(), r.bytes(a), r.bytes(b, w...), r.scales(), r.bytes(b), r.scales(),
			r.bytes(r.IntN(2) == 0), r.maybe(ir.TensorOf(bias, out))}
		if r.IntN(2) == 0 {
			s.in[4], s.in[5] = r.scales(out), r.bytes(b, out)
		}
		return s
	})
}
