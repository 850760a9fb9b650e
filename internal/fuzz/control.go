package fuzz

import (
	"github.com/onnxopt/onnxopt/ir"
)

// within builds the body of a subgraph in a scope of its own.
func (g *generator) within(s *ir.Graph, closed bool, build func() bool) bool {
	outer := g.scope
	g.scope = &scope{g: s, closed: closed}
	if !closed {
		g.scope.vals = append(g.scope.vals, outer.vals...)
	}
	g.depth++
	ok := build()
	g.depth--
	g.scope = outer
	return ok
}

// branch adds an If whose branches capture what they like.
func (g *generator) branch() bool {
	if g.depth > 1 {
		return false
	}
	cond := g.any(func(x *value) bool { return x.dtype() == ir.Bool && x.tensor().Len() == 1 && x.rank() == 0 })
	if cond == nil || g.odds(3) {
		cond = g.neutral(ir.Bool)
	}
	like := g.any(isTensor)
	if like == nil {
		return false
	}
	results := 1 + g.IntN(2)
	body := func(name string) *ir.Attr {
		s := g.graph().NewSubgraph(name)
		g.within(s, false, func() bool {
			g.nodes(g.IntN(4))
			for range results {
				x := g.any(func(x *value) bool { return x.dtype() == like.dtype() })
				if x == nil {
					x = like
				}
				s.AddOutput(g.name("b"), x.v, nil)
			}
			return true
		})
		return ir.GraphAttr(name, s)
	}
	return g.node(ir.Op("If"), []*value{cond}, results, body("then_branch"), body("else_branch")) != nil
}

// loop adds a Loop with one carried value and perhaps a scanned one.
func (g *generator) loop() bool {
	if g.depth > 1 {
		return false
	}
	init := g.any(isTensor)
	if init == nil {
		return false
	}
	trips := g.any(func(x *value) bool { return x.dtype() == ir.Int64 && x.rank() == 0 && x.tensor().Len() == 1 })
	if trips == nil || g.depth > 0 || g.odds(2) || !g.few(trips) { // inside, it may change from one iteration to the next
		trips = g.constant(ir.ScalarOf(g.between(0, 3)))
	}
	var cond *value
	if !g.odds(3) {
		cond = g.neutral(ir.Bool)
	}
	scanned := g.IntN(2)
	s := g.graph().NewSubgraph("body")
	g.within(s, false, func() bool {
		zero := ir.ScalarOf[int64](0)
		yes := ir.NewTensor(ir.Bool, []int64{}, []byte{1})
		g.add(s.AddInput("i", ir.TensorType(ir.Int64, ir.Shape{})), [bindings]ir.Datum{zero, zero})
		c := g.add(s.AddInput("c", ir.TensorType(ir.Bool, ir.Shape{})), [bindings]ir.Datum{yes, yes})
		g.add(s.AddInput("s", init.s[0].Type().WithoutShapes()), init.s)
		g.nodes(1 + g.IntN(3))
		if g.odds(3) {
			c = g.neutral(ir.Bool)
		}
		s.AddOutput(g.name("c"), c.v, nil)
		next := g.any(func(x *value) bool { return x.dtype() == init.dtype() && x.rank() == init.rank() })
		s.AddOutput(g.name("s"), next.v, nil)
		for range scanned {
			s.AddOutput(g.name("o"), g.any(isTensor).v, nil)
		}
		return true
	})
	return g.node(ir.Op("Loop"), []*value{trips, cond, init}, 1+scanned, ir.GraphAttr("body", s)) != nil
}

// few reports a number of trips that does not take long.
func (g *generator) few(x *value) bool {
	for _, d := range x.s {
		k, err := ir.Elements[int64](d.(*ir.Tensor))
		if err != nil || len(k) != 1 || k[0] > 4 {
			return false
		}
	}
	return true
}

// call adds a model-local function and a call of it, or another call.
func (g *generator) call() bool {
	if g.depth > 1 || g.m.IRVersion < 8 {
		return false
	}
	if n := len(g.m.Functions); n > 0 && g.odds(2) {
		f := g.m.Functions[g.IntN(n)]
		var in []*value
		for range f.Graph.Inputs() {
			x := g.any(isTensor)
			if x == nil {
				return false
			}
			in = append(in, x)
		}
		return len(f.Attrs) == 0 && f != g.graph().Function() && g.node(f.ID(), in, len(f.Graph.Outputs())) != nil
	}
	if g.depth > 0 {
		return false // calls of each other would be possible
	}
	var in []*value
	for range 1 + g.IntN(2) {
		if x := g.any(isTensor); x != nil {
			in = append(in, x)
		}
	}
	id := ir.OpID{Domain: "local", Type: g.name("F")}
	f := g.m.NewFunction(id, ir.Opset{Version: g.opset()})
	results := 1 + g.IntN(2)
	ok := g.within(f.Graph, true, func() bool {
		for _, x := range in {
			g.add(f.Graph.AddInput(g.name("p"), nil), x.s)
		}
		g.nodes(1 + g.IntN(4))
		for range results {
			x := g.any(isTensor)
			if x == nil {
				return false
			}
			f.Graph.AddOutput(g.name("r"), x.v, nil)
		}
		return true
	})
	imported := g.m.Opset(id.Domain)
	if imported == 0 {
		g.m.SetOpset(id.Domain, 1)
	}
	if !ok || g.node(id, in, results) == nil {
		g.m.RemoveFunction(f)
		if imported == 0 {
			g.m.SetOpset(id.Domain, 0)
		}
		return false
	}
	return true
}
