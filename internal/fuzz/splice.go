package fuzz

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// narrow gives every float another width.
func (g *generator) narrow(m *ir.Model) {
	to := pick(g.random, []ir.DType{ir.Float16, ir.Float64, ir.BFloat16})
	convert := func(t *ir.Tensor) *ir.Tensor {
		f, err := ir.Elements[float32](t)
		if err != nil {
			return t
		}
		v := make([]float64, len(f))
		for i, x := range f {
			v[i] = float64(x)
		}
		return encode(g.random, to, t.Shape(), v, nil)
	}
	for _, gr := range m.Graphs() {
		for _, s := range gr.Inputs() {
			if v := s.Value(); s.Type().DType() == ir.Float32 {
				s.SetType(ir.TensorType(to, s.Type().TensorShape()))
				if t := v.Default(); t != nil {
					v.SetDefault(convert(t))
				}
			}
		}
		for _, s := range gr.Outputs() {
			if s.Type().DType() == ir.Float32 {
				s.SetType(ir.TensorType(to, s.Type().TensorShape()))
			}
		}
		for _, v := range slices.Clone(gr.Consts()) {
			if t := v.Const(); t.DType() == ir.Float32 {
				v.ReplaceUses(gr.NamedConst(v.Name(), convert(t)))
				gr.EraseConst(v)
			}
		}
		for n := range gr.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
			if a := n.Attr("to"); a != nil && a.Int() == int64(ir.Float32) {
				n.SetAttr(ir.IntAttr("to", int64(to)))
			}
			if a := n.Attr("value"); a != nil && a.Tensor() != nil && a.Tensor().DType() == ir.Float32 {
				n.SetAttr(ir.TensorAttr("value", convert(a.Tensor())))
			}
		}
	}
}

// splice copies the nodes of a motif into the graph, its inputs bound to values that are there or to new ones.
func (g *generator) splice() bool {
	if len(g.motifs) == 0 {
		return false
	}
	motif := pick(g.random, g.motifs).Model
	if motif.Opset("") != g.opset() || len(motif.Functions) > 0 {
		return false
	}
	have := map[*ir.Value]*value{}
	for _, s := range motif.Main.Inputs() {
		t := s.Type()
		if !t.IsTensor() {
			return false
		}
		want := make([]int64, len(t.TensorShape()))
		for i, d := range t.TensorShape() {
			if want[i] = d.Size; !d.IsStatic() {
				want[i] = -1
			}
		}
		x := g.any(func(x *value) bool { return x.dtype() == t.DType() && like(x.shape(), want) })
		if x == nil && g.depth == 0 {
			for i := range want {
				if want[i] < 0 {
					want[i] = g.between(1, 3)
				}
			}
			if ir.NumElements(want) > maxElements {
				return false
			}
			k := g.tensor(t.DType(), want, false)
			x = g.add(g.m.Main.AddInput(g.name("x"), k.Type()), [bindings]ir.Datum{k, k})
		}
		if x == nil {
			return false
		}
		have[s.Value()] = x
	}
	done := false
	for n := range motif.Main.Nodes() {
		if len(n.Subgraphs()) > 0 || kernel.Random(n.Op()) {
			return done
		}
		in := make([]*value, n.NumOperands())
		for i, v := range n.Operands() {
			if v == nil {
				continue
			}
			x := have[v]
			if t := v.Const(); x == nil && t != nil && v.Node() == nil {
				if !small(t) {
					return done
				}
				if g.odds(12) {
					t = g.altered(t)
				}
				x = g.constant(t)
				have[v] = x
			}
			if x == nil {
				return done
			}
			in[i] = x
		}
		if d := n.Op().Domain; d != "" && g.m.Opset(d) == 0 {
			if g.graph().Function() != nil || motif.Opset(d) == 0 {
				return done
			}
			g.m.SetOpset(d, motif.Opset(d))
		}
		out := g.node(n.Op(), in, n.NumResults(), n.Attrs()...)
		if out == nil {
			return done
		}
		done = true
		for i, v := range n.Results() {
			have[v] = out[i]
		}
	}
	return done
}

// like reports a shape that has the sizes that are not negative.
func like(shape, want []int64) bool {
	return slices.EqualFunc(shape, want, func(a, b int64) bool { return b < 0 || a == b })
}
