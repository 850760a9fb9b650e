package native_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

// qdq is a graph under construction whose activations are quantized.
type qdq struct {
	source
	*ir.Graph
	feeds map[string]ir.Datum
	taps  []*ir.Value // results between the quantizations
}

func newQDQ(r source) *qdq {
	q := &qdq{source: r, Graph: ir.NewModel(10, 20).Main, feeds: map[string]ir.Datum{}}
	q.Model().SetOpset("com.microsoft", 1)
	return q
}

func (q *qdq) node(op string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	return q.New(nil, ir.Op(op), in, attrs...).Result(0)
}

// zero is a zero point, now and then omitted where that means uint8.
func (q *qdq) zero(signed bool, shape ...int64) []*ir.Value {
	if !signed && q.IntN(4) == 0 {
		return nil
	}
	return []*ir.Value{q.Const(q.bytes(signed, shape...))}
}

// input is a quantized input of the graph, dequantized.
func (q *qdq) input(shape ...int64) *ir.Value {
	signed := q.IntN(2) == 0
	x := q.bytes(signed, shape...)
	name := fmt.Sprint("x", len(q.feeds))
	q.feeds[name] = x
	return q.dequantize(q.AddInput(name, x.Type()), q.zero(signed))
}

func (q *qdq) dequantize(x *ir.Value, zero []*ir.Value) *ir.Value {
	return q.quantizer("DequantizeLinear", append([]*ir.Value{x, q.Const(q.scales())}, zero...))
}

// quantizer is a node of the default domain, or of ONNX Runtime's.
func (q *qdq) quantizer(op string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	return q.New(nil, ir.OpID{Domain: either(q.source, "", "", "com.microsoft"), Type: op}, in, attrs...).Result(0)
}

// constant is a dequantized constant with one scale, or one for each index of the axis.
func (q *qdq) constant(axis int64, shape ...int64) *ir.Value {
	signed := q.IntN(2) == 0
	w := q.Const(q.bytes(signed, shape...))
	if q.IntN(2) == 0 {
		return q.dequantize(w, q.zero(signed))
	}
	n := shape[axis]
	return q.quantizer("DequantizeLinear", append([]*ir.Value{w, q.Const(q.scales(n))}, q.zero(signed, n)...), ir.IntAttr("axis", axis))
}

// bias is none, a float32 constant, or a dequantized int32 one.
func (q *qdq) bias(n int64) []*ir.Value {
	v, f := make([]int32, n), make([]float32, n)
	for i := range v {
		v[i] = int32(q.IntN(4000) - 2000)
		f[i] = q.Float32()*8 - 4
	}
	switch q.IntN(3) {
	case 0:
		return nil
	case 1:
		return []*ir.Value{q.Const(ir.TensorOf(f, n))}
	}
	return []*ir.Value{q.node("DequantizeLinear", []*ir.Value{q.Const(ir.TensorOf(v, n)), q.Const(q.scales(n))}, ir.IntAttr("axis", 0))}
}

// end limits v or not, and quantizes it, with a scale such that few elements saturate.
func (q *qdq) end(v *ir.Value, scale float32) {
	q.taps = append(q.taps, v)
	switch q.IntN(3) {
	case 0:
		v = q.node("Relu", []*ir.Value{v})
	case 1:
		v = q.node("Clip", []*ir.Value{v, q.Const(ir.ScalarOf(float32(-0.3))), q.Const(ir.ScalarOf(float32(6)))})
	}
	signed := q.IntN(2) == 0
	in := append([]*ir.Value{v, q.Const(ir.ScalarOf(scale * (0.5 + q.Float32())))}, q.zero(signed)...)
	q.AddOutput("y", q.quantizer("QuantizeLinear", in), nil)
}

func (q *qdq) run(t *testing.T, e engine.Engine, o engine.Options) ([]int, []ir.Datum, int) {
	s, err := e.Load(context.Background(), q.Model(), o)
	require.NoError(t, err)
	out, taps, err := s.RunTaps(context.Background(), q.feeds)
	require.NoError(t, err)
	return integers(t, out["y"].(*ir.Tensor)), taps, native.Chains(s)
}

// integers are the type, the shape and the elements of a result.
func integers(t *testing.T, y *ir.Tensor) []int {
	b, err := y.Bytes()
	require.NoError(t, err)
	v := []int{int(y.DType())}
	for _, d := range y.Shape() {
		v = append(v, int(d))
	}
	for _, e := range b {
		if y.DType() == ir.Int8 {
			v = append(v, int(int8(e)))
		} else {
			v = append(v, int(e))
		}
	}
	return v
}

// check holds the merging engine to the promise of one step, and requires that it found so many chains.
func (q *qdq) check(t *testing.T, chains, step int) {
	want, _, none := q.run(t, native.New(), engine.Options{})
	assert.Zero(t, none)
	got, _, n := q.run(t, native.Merging(), engine.Options{})
	require.Equal(t, chains, n)
	require.Len(t, got, len(want))
	for i := range want {
		require.InDelta(t, want[i], got[i], float64(step), "element %d", i)
	}
	threads, _, _ := q.run(t, native.Merging(), engine.Options{Threads: 3})
	assert.Equal(t, got, threads)
	same, taps, n := q.run(t, native.Merging(), engine.Options{Taps: q.taps})
	assert.Equal(t, 0, n, "a chain over a tap")
	assert.Equal(t, want, same)
	for _, d := range taps {
		assert.NotNil(t, d)
	}
}

// eachQDQ runs random cases.
func eachQDQ(t *testing.T, n int, f func(q *qdq)) {
	if testing.Short() {
		n /= 4
	}
	r := newSource()
	for range n {
		f(newQDQ(r))
	}
}

func TestQuantizedConv(t *testing.T) {
	eachQDQ(t, 150, func(q *qdq) {
		group := q.size(1, 3)
		in, out := group*q.size(1, 5), group*q.size(1, 6)
		if q.IntN(4) == 0 {
			group, out = in, in*q.size(1, 2)
		}
		x, w := []int64{q.size(1, 2), in}, []int64{out, in / group}
		var pads, strides []int64
		for range 1 + q.IntN(2) {
			n := q.size(1, 15)
			x, w = append(x, n), append(w, q.size(1, min(3, n)))
			pads, strides = append(pads, q.size(0, 1)), append(strides, q.size(1, 2))
		}
		operands := append([]*ir.Value{q.input(x...), q.constant(0, w...)}, q.bias(out)...)
		q.end(q.node("Conv", operands, ir.IntAttr("group", group), ir.IntsAttr("pads", append(pads, pads...)), ir.IntsAttr("strides", strides)), 0.2)
		q.check(t, 1, 1)
	})
}

func TestQuantizedProducts(t *testing.T) {
	eachQDQ(t, 150, func(q *qdq) {
		m, k, n := q.size(1, 20), q.size(1, 70), q.size(1, 40)
		if q.IntN(2) == 0 {
			x := q.input(either(q.source, []int64{m, k}, []int64{2, m, k})...)
			q.end(q.node("MatMul", []*ir.Value{x, q.constant(1, k, n)}), 0.2)
		} else {
			w, trans := []int64{k, n}, q.Int64N(2)
			if trans == 1 {
				w = []int64{n, k}
			}
			operands := append([]*ir.Value{q.input(m, k), q.constant(1-trans, w...)}, q.bias(n)...)
			q.end(q.node("Gemm", operands, ir.IntAttr("transB", trans)), 0.2)
		}
		q.check(t, 1, 1)
	})
}

// TestQuantizedAdd covers what gives the bits of the separate nodes.
func TestQuantizedAdd(t *testing.T) {
	eachQDQ(t, 60, func(q *qdq) {
		shape := []int64{q.size(0, 3), q.size(1, 90)}
		q.end(q.node("Add", []*ir.Value{q.input(shape...), q.input(shape...)}), 0.04)
		q.check(t, 1, 0)
	})
}

func TestQuantizedMoves(t *testing.T) {
	eachQDQ(t, 100, func(q *qdq) {
		a, b := q.size(0, 4), q.size(1, 40)
		x := q.input(a, b)
		switch q.IntN(3) {
		case 0:
			x = q.node("Reshape", []*ir.Value{x, q.Const(ir.TensorOf([]int64{1, b, a}, 3))}, ir.IntAttr("allowzero", 1))
		case 1:
			x = q.node("Transpose", []*ir.Value{x}, ir.IntsAttr("perm", []int64{1, 0}))
		default:
			x = q.node("Concat", []*ir.Value{x, q.input(a, 3), q.input(a, 1)}, ir.IntAttr("axis", -1))
		}
		q.end(x, 0.02)
		q.check(t, 1, 0)
	})
}

// TestQuantizedPicks has nodes that pick elements, with operands that are known at run time only.
func TestQuantizedPicks(t *testing.T) {
	eachQDQ(t, 120, func(q *qdq) {
		a, b := q.size(1, 4), q.size(2, 30)
		x := q.input(1, a*4, 2, b)
		ints := func(name string, v ...int64) *ir.Value {
			d := ir.TensorOf(v, int64(len(v)))
			if q.IntN(2) == 0 {
				return q.Const(d)
			}
			q.feeds[name] = d
			return q.AddInput(name, d.Type())
		}
		switch q.IntN(7) {
		case 0:
			x = q.node("Slice", []*ir.Value{x, ints("starts", 1), ints("ends", 3), ints("axes", 1)})
		case 1:
			x = q.node("Gather", []*ir.Value{x, ints("i", q.size(0, 1), 1)}, ir.IntAttr("axis", 3))
		case 2:
			x = q.node("Expand", []*ir.Value{x, ints("shape", 2, 1, 1, 1)})
		case 3:
			x = q.node("Tile", []*ir.Value{x, ints("repeats", 1, 2, 1, 1)})
		case 4:
			x = q.node("DepthToSpace", []*ir.Value{x}, ir.IntAttr("blocksize", 2))
		case 5:
			scales := q.Const(ir.TensorOf([]float32{1, 1, 2, 0.5 + 2*q.Float32()}, 4))
			x = q.node("Resize", []*ir.Value{x, nil, scales}, ir.StringAttr("coordinate_transformation_mode", either(q.source, "asymmetric", "half_pixel", "align_corners")),
				ir.StringAttr("nearest_mode", either(q.source, "floor", "round_prefer_floor")))
		default:
			x = q.node("Resize", []*ir.Value{x, nil, nil, ints("sizes", 1, a*4, 3, b+2)})
		}
		q.end(x, 0.02)
		q.check(t, 1, 0)
	})
}

// TestQuantizedFunctions has functions of one tensor, which become tables.
func TestQuantizedFunctions(t *testing.T) {
	eachQDQ(t, 300, func(q *qdq) {
		shape := []int64{q.size(0, 3), q.size(1, 600)}
		x := q.input(shape...)
		number := func(v float32) *ir.Value {
			return q.Const(either(q.source, ir.ScalarOf(v), ir.TensorOf([]float32{v}, 1)))
		}
		var attrs []*ir.Attr
		op := either(q.source, "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Relu", "Clip", "Gelu", "Sqrt", "Erf", "Reciprocal", "Mish",
			"PRelu", "Add", "Mul", "Sub", "Div", "Pow", "Max")
		in := []*ir.Value{x}
		switch op {
		case "LeakyRelu":
			attrs = append(attrs, ir.FloatAttr("alpha", 0.2))
		case "Clip":
			in = append(in, q.Const(ir.ScalarOf(float32(-1))), nil)
		case "PRelu", "Max", "Pow":
			in = append(in, number(either(q.source, float32(0.3), 2)))
		case "Add", "Mul", "Sub", "Div":
			other := number(q.Float32()*4 - 2)
			if q.IntN(2) == 0 {
				other = q.dequantize(q.Const(q.bytes(true)), q.zero(true)) // a constant of its own quantization
			}
			in = append(in, other)
			if q.IntN(2) == 0 {
				in[0], in[1] = in[1], in[0]
			}
		}
		q.end(q.node(op, in, attrs...), 0.05)
		q.check(t, 1, 0)
	})
}

// TestQuantizedMul has factors of the same shape, of channels, and others, which are left to the separate nodes.
func TestQuantizedMul(t *testing.T) {
	eachQDQ(t, 120, func(q *qdq) {
		n, c, h, w := q.size(1, 2), q.size(1, 4), q.size(1, 30), q.size(1, 30)
		x := q.input(n, c, h, w)
		y := q.input(either(q.source, []int64{n, c, h, w}, []int64{n, c, 1, 1}, []int64{n, 1, 1, 1}, []int64{1, c, 1, 1}, []int64{w}, []int64{}, []int64{1})...)
		in := []*ir.Value{x, y}
		if q.IntN(2) == 0 {
			in[0], in[1] = y, x
		}
		q.end(q.node("Mul", in), 0.04)
		q.check(t, 1, 0)
	})
}

func TestQuantizedSoftmax(t *testing.T) {
	eachQDQ(t, 120, func(q *qdq) {
		x := q.input(q.size(1, 3), q.size(1, 5), q.size(1, 400))
		q.end(q.node("Softmax", []*ir.Value{x}, ir.IntAttr("axis", either(q.source, int64(-1), 2, 2, 1))), 0.003)
		q.check(t, 1, 1)
	})
}

// TestQuantizedMemory runs chains with less and less memory: all of them, some, none. Each time the result is within the promise, or
// there is none because the separate nodes do not fit either. A chain that is left to them is a product whose scratch is larger than
// its result, and whose float32 operand is there anyway.
func TestQuantizedMemory(t *testing.T) {
	fell := 0
	eachQDQ(t, 8, func(q *qdq) {
		x := q.input(60, 128)
		q.AddOutput("x", x, nil)
		c := q.node("MatMul", []*ir.Value{x, q.constant(1, 128, 2)})
		y := q.node("QuantizeLinear", []*ir.Value{c, q.Const(ir.ScalarOf(float32(0.1))), q.Const(q.bytes(true))})
		z := q.node("DequantizeLinear", []*ir.Value{y, q.Const(ir.ScalarOf(float32(0.1))), q.Const(ir.ScalarOf(int8(3)))})
		q.end(q.node("Sigmoid", []*ir.Value{z}), 0.02)
		want, _, _ := q.run(t, native.New(), engine.Options{})
		succeeded, failed := 0, 0
		for limit := int64(1 << 16); limit > 1<<14; limit -= limit / 200 {
			s, err := native.Merging().Load(context.Background(), q.Model(), engine.Options{MaxMemory: limit})
			require.NoError(t, err)
			require.Equal(t, 2, native.Chains(s))
			ran, refused := native.CountChains(s)
			out, err := s.Run(context.Background(), q.feeds)
			if err != nil {
				require.ErrorIs(t, err, engine.ErrMemory)
				failed++
				continue
			}
			require.Equal(t, 2, *ran+*refused)
			require.Zero(t, failed, "with less memory it ran again")
			succeeded++
			fell += *refused
			got := integers(t, out["y"].(*ir.Tensor))
			for i := range want {
				require.InDelta(t, want[i], got[i], 1)
			}
		}
		require.Positive(t, succeeded)
		require.Positive(t, failed)
	})
	t.Logf("%d chains were left to the separate nodes", fell)
	require.Positive(t, fell)
}

func TestQuantizedPools(t *testing.T) {
	eachQDQ(t, 100, func(q *qdq) {
		x := q.input(q.size(1, 2), q.size(1, 4), q.size(3, 12), q.size(3, 12))
		k, p, s := q.size(1, 3), int64(0), q.size(1, 3)
		if k > 1 {
			p = q.size(0, 1)
		}
		attrs := []*ir.Attr{ir.IntsAttr("kernel_shape", []int64{k, 2}), ir.IntsAttr("strides", []int64{s, 1}), ir.IntsAttr("pads", []int64{p, 1, p, 0})}
		op := either(q.source, "MaxPool", "AveragePool", "GlobalAveragePool")
		step := 1
		switch op {
		case "MaxPool":
			step = 0
		case "AveragePool":
			attrs = append(attrs, ir.IntAttr("count_include_pad", q.Int64N(2)))
		default:
			attrs = nil
		}
		q.end(q.node(op, []*ir.Value{x}, attrs...), 0.02)
		q.check(t, 1, step)
	})
}

// TestQuantizedFallback has chains that do not apply at run time, because shapes broadcast.
func TestQuantizedFallback(t *testing.T) {
	eachQDQ(t, 20, func(q *qdq) {
		q.end(q.node("Add", []*ir.Value{q.input(3, 40), q.input(1, 40)}), 0.04)
		q.check(t, 1, 0)
	})
}

// TestQuantizedNearMisses has results between the quantizations that something else reads, or that is no constant.
func TestQuantizedNearMisses(t *testing.T) {
	eachQDQ(t, 10, func(q *qdq) {
		c := q.node("MatMul", []*ir.Value{q.input(4, 30), q.constant(1, 30, 8)})
		q.end(c, 0.2)
		q.AddOutput("seen", c, nil)
		q.check(t, 0, 0)
	})
	eachQDQ(t, 10, func(q *qdq) {
		q.end(q.node("MatMul", []*ir.Value{q.input(4, 30), q.input(30, 8)}), 0.2)
		q.check(t, 0, 0)
	})
	// A bias of so many steps leaves float32 no digits for one.
	eachQDQ(t, 10, func(q *qdq) {
		bias := q.Const(ir.TensorOf([]float32{1, 3e6}, 2))
		q.end(q.node("Gemm", []*ir.Value{q.input(4, 30), q.constant(1, 30, 2), bias}), 0.2)
		q.check(t, 0, 0)
	})
}

// TestQuantizedShared has a dequantized tensor that two chains and an output read.
func TestQuantizedShared(t *testing.T) {
	eachQDQ(t, 40, func(q *qdq) {
		x := q.input(1, 4, 8, 8)
		c := q.node("Conv", []*ir.Value{x, q.constant(0, 4, 4, 1, 1)})
		q.taps = append(q.taps, c)
		y := q.node("QuantizeLinear", append([]*ir.Value{c, q.Const(ir.ScalarOf(float32(0.1)))}, q.Const(q.bytes(true))))
		z := q.node("DequantizeLinear", []*ir.Value{y, q.Const(ir.ScalarOf(float32(0.1)))})
		if q.IntN(2) == 0 {
			q.AddOutput("x", x, nil)
		}
		// A step of y is a tenth, of the result at least so much.
		q.end(q.node("Add", []*ir.Value{x, z}), 0.4)
		q.check(t, 2, 1)
	})
}
