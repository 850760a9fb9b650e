package distill

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// quantizeWeights stores the weights of the layers of m in 4 bits, and their biases in 32; what the layers read is quantized to 8 bits.
func quantizeWeights(t *testing.T, m *ir.Model) {
	t.Helper()
	g, o := m.Main, &Options{Engine: native.New()}
	axis := ir.IntAttr("axis", 0)
	for _, n := range g.NodeList() {
		if !n.Is("Conv", "Gemm") {
			continue
		}
		w := n.Operand(1)
		v, err := ir.Elements[float32](w.Const())
		require.NoError(t, err)
		rows := int(w.Const().Shape()[0])
		scale := make([]float32, rows)
		for i := range scale {
			row := v[i*len(v)/rows:][:len(v)/rows]
			scale[i] = max(slices.Max(row), -slices.Min(row)) / 7
		}
		name := w.Name()
		zero := ir.NewTensor(ir.Int4, []int64{int64(rows)}, make([]byte, (rows+1)/2))
		like := g.New(n, ir.Op("QuantizeLinear"), []*ir.Value{w, g.Const(ir.TensorOf(scale))}, axis) // has the axis
		q, err := o.evaluateAs(context.Background(), "QuantizeLinear", 21, like, w.Const(), ir.TensorOf(scale), zero)
		require.NoError(t, err)
		g.Erase(like)
		ws := g.NamedConst(name+".scale", ir.TensorOf(scale))
		dq := g.New(n, ir.Op("DequantizeLinear"), []*ir.Value{g.NamedConst(name+".q", q), ws}, axis)
		n.SetOperand(1, dq.Result(0))
		// What it reads is positive, and below 4 here.
		s := g.NamedConst(name+".in", ir.ScalarOf(float32(4)/255))
		z := g.NamedConst(name+".zero", ir.ScalarOf(uint8(0)))
		in := g.New(n, ir.Op("QuantizeLinear"), []*ir.Value{n.Operand(0), s, z})
		n.SetOperand(0, g.New(n, ir.Op("DequantizeLinear"), []*ir.Value{in.Result(0), s, z}).Result(0))
		b, err := ir.Elements[float32](n.Operand(2).Const())
		require.NoError(t, err)
		bs, bq := make([]float32, rows), make([]int32, rows)
		for i := range bs {
			bs[i] = scale[i] * 4 / 255
			bq[i] = int32(b[i] / bs[i])
		}
		n.SetOperand(2, g.New(n, ir.Op("DequantizeLinear"), []*ir.Value{g.NamedConst(name+".bq", ir.TensorOf(bq)), g.NamedConst(name+".bs", ir.TensorOf(bs))}, axis).Result(0))
	}
	require.NoError(t, ops.Verify(m))
}

// TestQuantized: a student in integers learns behind its quantizers, agrees more with its teacher afterwards, and is still in integers, with
// biases that have the scale of the products of their layer.
func TestQuantized(t *testing.T) {
	teacher := network(t)
	o := options(t, teacher)
	o.Epochs, o.Limit = 2, 960
	train(t, o)
	m := teacher.Clone()
	quantizeWeights(t, m)
	before := right(t, m, teacher)
	loss := func() float64 { // of a step too small to change anything
		o := options(t, m.Clone())
		o.Teacher, o.CE, o.KD, o.Init, o.Rate, o.Epochs, o.Limit = teacher, 0, 1, false, 1e-20, 1, 640
		return train(t, o)[0].Loss
	}
	was := loss()
	o = options(t, m)
	o.Teacher, o.CE, o.KD, o.Init, o.Relative, o.Rate, o.Epochs, o.Limit = teacher, 0, 1, false, true, 0, 3, 640
	e := train(t, o)
	require.Equal(t, 8+16+10+3, e[0].Quantizers)
	require.NoError(t, ir.Verify(m))
	require.NoError(t, ops.Verify(m))
	after := right(t, m, teacher)
	require.Greater(t, after, before)
	is := loss()
	require.Less(t, is, was/2)
	t.Logf("agreement in %d of 400 before, in %d after, loss %.4f and %.4f", before, after, was, is)
	for _, n := range m.Main.NodeList() {
		if !n.Is("Conv", "Gemm") {
			continue
		}
		require.Equal(t, ir.Int4, n.Operand(1).Node().Operand(0).Const().DType())
		scale := func(i int) []float32 {
			s, err := ir.Elements[float32](n.Operand(i).Node().Operand(1).Const())
			require.NoError(t, err)
			return s
		}
		in, w, b := scale(0), scale(1), scale(2)
		for i := range b {
			require.Equal(t, in[0]*w[i], b[i])
		}
	}
}
