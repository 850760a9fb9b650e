package c

import (
	"errors"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
)

// prepared is m in the form that is translated: what only moves elements moves bytes between quantizers, and normalizations that no convolution
// took in are arithmetic. It is m itself where there is nothing of the kind, else a copy.
func prepared(m *ir.Model) *ir.Model {
	if !slices.ContainsFunc(m.Main.NodeList(), func(n *ir.Node) bool { return isDequantize(n) || isBatchNorm(n) }) {
		return m
	}
	m = targets.Annotated(m)
	for _, n := range m.Main.NodeList() {
		if isBatchNorm(n) && m.Function(n.Op()) == nil {
			spellBatchNorm(n)
		}
	}
	sink(m)
	return m
}

func isBatchNorm(n *ir.Node) bool { return n.Is("BatchNormalization") && n.Op().Domain == "" }

// spellBatchNorm writes a BatchNormalization with constant parameters, as at inference, as a product and a sum by channels:
//
//	(x - mean) / sqrt(variance + epsilon) * scale + bias
//
// (Ioffe and Szegedy 2015). Others stay, and are refused.
func spellBatchNorm(n *ir.Node) {
	v := n.Result(0)
	if n.Int("training_mode", 0) != 0 || n.NumOperands() < 5 || v == nil || v.Type() == nil || len(v.Type().TensorShape()) < 2 || v.Type().DType() != ir.Float32 ||
		slices.ContainsFunc(n.Results()[1:], func(r *ir.Value) bool { return r != nil && r.NumUses() > 0 }) {
		return
	}
	var p [4][]float32
	for i := range p {
		c := n.Operand(i + 1).Const()
		if c == nil || c.DType() != ir.Float32 {
			return
		}
		var err error
		if p[i], err = ir.Elements[float32](c); err != nil || len(p[i]) != len(p[0]) {
			return
		}
	}
	scale, shift := make([]float32, len(p[0])), make([]float32, len(p[0]))
	for i := range scale {
		s := float64(p[0][i]) / math.Sqrt(float64(p[3][i])+float64(n.Float("epsilon", 1e-5)))
		scale[i], shift[i] = float32(s), float32(float64(p[1][i])-float64(p[2][i])*s)
	}
	shape := slices.Repeat([]int64{1}, len(v.Type().TensorShape())-1)
	shape[0] = int64(len(scale))
	g := n.Graph()
	x := n.Operand(0)
	for _, s := range []struct {
		op string
		by []float32
	}{{"Mul", scale}, {"Add", shift}} {
		r := g.New(n, ir.Op(s.op), []*ir.Value{x, g.Const(ir.TensorOf(s.by, shape...))})
		r.SetName(n.Name())
		r.SetOrigin(n.Origin())
		x = r.Result(0)
		x.SetType(v.Type())
		x.SetName(v.Name())
	}
	v.ReplaceUses(x)
	g.Erase(n)
}

// refuseBatchNorm is the lowering of what spellBatchNorm leaves.
func refuseBatchNorm(*builder, *ir.Node) error {
	return errors.New("parameters that are no float constants, or statistics of the batch")
}
