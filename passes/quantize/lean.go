package quantize

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Operators that stay float for the sake of the outputs do so for their activations: with a scale for each channel and rounding by the
// outputs of the layer, weights cost far less. So they are stored in integers all the same, behind a DequantizeLinear that runtimes fold or
// compute once a run.

// leanOverhead is about what a DequantizeLinear and its constants take in a file, in bytes.
const leanOverhead = 300

// storable reports whether a file gets smaller by n's weights in integers: nothing else needs them in float.
func storable(n *ir.Node, weight int) bool {
	v := n.Operand(weight)
	t := v.Const()
	return t != nil && t.DType() == ir.Float32 && v.NumUses() == 1 && 3*t.Len() > leanOverhead+8*t.Shape()[0]
}

// store finds the units of p.lean.
func (p *plan) store() {
	p.stored = nil
	for n := range p.m.Main.Nodes() {
		u := &unit{node: n, source: n, kind: weighted, weight: -1, bias: -1, out: n.Result(0)}
		if p.lean[n] && p.weighted(u) == "" && storable(n, u.weight) && p.c.Enabled("weight", n) {
			p.stored = append(p.stored, u)
		}
	}
}

// store keeps the weights of a unit that computes in float in integers. The mean error that this makes goes into the bias.
func (e *editor) store(u *unit) error {
	n := u.node
	w := n.Operand(u.weight)
	t := w.Const()
	axis := u.axis
	if !e.p.PerChannel {
		axis = -1
	}
	m, err := matrixOf(t, axis)
	if err != nil {
		return err
	}
	q := m.round(m.scales(e.p.WeightBits), e.p.WeightBits)
	var bias []float32
	if k := e.tuned[u.source]; k != nil {
		q = quantized{k.q, k.scales}
		if u.bias >= 0 {
			if bias, err = ir.Elements[float32](n.Operand(u.bias).Const()); err != nil {
				return err
			}
		} else if n.Is("Conv", "Gemm") && e.roomForBias(u) {
			bias, u.bias = make([]float32, len(k.own)), 2
		}
		if len(bias) != len(k.own) || !e.o.Correct {
			bias = nil
		}
		bias = slices.Clone(bias)
		for i := range bias {
			bias[i] += float32(k.own[i])
		}
	}
	e.rewrite("weight", n, nil, func() {
		n.SetOperand(u.weight, e.dequantizer(n, ir.TensorOf(q.q, t.Shape()...), q.scales, axis))
		e.drop(w)
		if bias != nil {
			e.setBias(u, e.m.Main.Const(ir.TensorOf(bias, int64(len(bias)))))
		}
	})
	return nil
}
