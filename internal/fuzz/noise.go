package fuzz

import (
	"context"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// unsteady reports whether an output of m moves by a good part of the tolerance when every float on the way is off by about one
// rounding error: then a difference between two ways of computing it says nothing. It is Monte Carlo arithmetic (Parker, "Monte Carlo
// Arithmetic", 1997) with one random factor a value.
func (c *checker) unsteady(ctx context.Context, m *ir.Model, set compare.Set, output string, t compare.Tolerance) bool {
	s, err := c.eng.Load(ctx, m, engine.Options{})
	if err != nil {
		return false
	}
	defer s.Close()
	want, err := s.Run(ctx, set.Inputs)
	if err != nil {
		return false
	}
	part := compare.Tolerance{Rel: t.Rel / 8, Abs: t.Abs / 8}
	for seed := range uint64(6) {
		n, err := c.eng.Load(ctx, noisy(newRandom(seed, 7), m, seed%2 == 1), engine.Options{})
		if err != nil {
			return false
		}
		got, err := n.Run(ctx, set.Inputs)
		n.Close()
		if err != nil || part.Check(compare.Datum(want[output], got[output])) != nil {
			return true
		}
	}
	return false
}

// noisy is a copy of m in which each float that a node computes, an input brings or a constant holds is multiplied by a number
// within a few units in the last place of one. Where unsigned is set, zeros have no sign after that: which sign they have engines do not
// agree on.
func noisy(r random, m *ir.Model, unsigned bool) *ir.Model {
	m = m.Clone()
	types := infer.Model(m)
	perturb := func(g *ir.Graph, v *ir.Value, near *ir.Node) {
		d := types.DType(v)
		unit := map[ir.DType]float64{ir.Float32: 1 << 22, ir.Float64: 1 << 22, ir.Float16: 1 << 10, ir.BFloat16: 1 << 7}[d]
		if unit == 0 || v.NumUses() == 0 {
			return
		}
		factor := encode(r, d, []int64{}, []float64{1 + float64(r.between(-4, 4))/unit}, nil)
		n := g.New(near, ir.Op("Mul"), []*ir.Value{v, g.Const(factor)})
		w := n.Result(0)
		if unsigned {
			w = g.New(n, ir.Op("Add"), []*ir.Value{w, g.Const(encode(r, d, []int64{}, []float64{0}, nil))}).Result(0)
		}
		v.ReplaceUsesIf(w, func(u ir.Use) bool { return u.Node != n })
	}
	for _, g := range m.Graphs() {
		if g.Opset("") < 7 {
			continue
		}
		nodes := g.NodeList()
		consts := g.Consts()
		for _, n := range nodes {
			for _, v := range n.Results() {
				if v != nil && (v.Const() == nil || n.Op() == ir.Op("Constant")) {
					perturb(g, v, n)
				}
			}
		}
		for _, v := range consts {
			perturb(g, v, nil)
		}
		for _, s := range g.Inputs() {
			perturb(g, s.Value(), nil)
		}
	}
	return m
}
