package fuzz

import (
	"context"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// begin makes the model of the case a motif with a few edits, if it then still runs, and samples its values.
func (g *generator) begin(motif Motif) bool {
	if len(motif.Model.Training) > 0 || motif.Model.Opset("") < 7 { // before 7 kernels broadcast more than the standard allows
		return false
	}
	for range 3 {
		m := motif.Model.Clone()
		if edits := g.IntN(4); edits > 0 {
			for range edits {
				g.mutate(m)
			}
			forget(m)
		}
		if ir.Verify(m) == nil && ops.Verify(m) == nil && g.sample(m) {
			return true
		}
	}
	return false
}

// forget drops what is recorded of shapes that an edit may have changed.
func forget(m *ir.Model) {
	for _, g := range m.Graphs() {
		for _, s := range g.Outputs() {
			s.SetType(s.Type().WithoutShapes())
		}
		if g != m.Main {
			for _, s := range g.Inputs() {
				s.SetType(s.Type().WithoutShapes())
			}
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
		}
	}
}

// sample runs m on generated inputs of two sizes and makes it the model of the case.
func (g *generator) sample(m *ir.Model) bool {
	s, taps, ok := g.tapped(m)
	if !ok {
		return false
	}
	defer s.Close()
	limited, cancel := context.WithTimeout(g.ctx, runTime)
	defer cancel()
	src := compare.NewGenerator(m, compare.GenerateOptions{Seed: g.Uint64(), Memory: 1 << 20, Attempts: 12})
	var sets []map[string]ir.Datum
	var seen [][]ir.Datum
	for set, err := range src.Sets(limited) {
		if err != nil {
			return false
		}
		_, found, err := s.RunTaps(limited, set.Inputs)
		if err != nil {
			src.Refused(err)
			continue
		}
		sets, seen = append(sets, set.Inputs), append(seen, found)
		if len(sets) == bindings {
			break
		}
	}
	switch len(sets) {
	case 0:
		return false
	case 1:
		sets, seen = append(sets, sets[0]), append(seen, seen[0])
	}
	return g.begun(m, taps, sets, seen)
}

// sampleOn is sample for given inputs.
func (g *generator) sampleOn(m *ir.Model, sets []map[string]ir.Datum) bool {
	s, taps, ok := g.tapped(m)
	if !ok {
		return false
	}
	defer s.Close()
	var seen [][]ir.Datum
	for _, in := range sets {
		_, found, err := s.RunTaps(g.ctx, in)
		if err != nil {
			return false
		}
		seen = append(seen, found)
	}
	return g.begun(m, taps, sets, seen)
}

// tapped loads m so that runs tell all values of the main graph.
func (g *generator) tapped(m *ir.Model) (engine.Session, []*ir.Value, bool) {
	var taps []*ir.Value
	for n := range m.Nodes() {
		if kernel.Random(n.Op()) {
			return nil, nil, false
		}
	}
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				taps = append(taps, v)
			}
		}
	}
	s, err := native.New().Load(g.ctx, m, engine.Options{MaxMemory: 16 << 20, Taps: taps})
	return s, taps, err == nil
}

// begun makes m the model of the case: seen is what the runs on sets gave for taps.
func (g *generator) begun(m *ir.Model, taps []*ir.Value, sets []map[string]ir.Datum, seen [][]ir.Datum) bool {
	g.m, g.scope, g.sizes = m, &scope{g: m.Main}, map[string][bindings]int64{}
	for _, slot := range m.Main.Inputs() {
		v := slot.Value()
		if v.Default() != nil {
			g.add(v, [bindings]ir.Datum{v.Default(), v.Default()})
			continue
		}
		x := g.add(v, [bindings]ir.Datum{sets[0][slot.Name()], sets[1][slot.Name()]})
		g.bind(v.Type(), x)
	}
	for _, sym := range []string{"N", "M"} {
		if _, ok := g.sizes[sym]; !ok {
			g.sizes[sym] = [bindings]int64{2, 3}
		}
	}
	for _, v := range m.Main.Consts() {
		if small(v.Const()) {
			g.add(v, [bindings]ir.Datum{v.Const(), v.Const()})
		}
	}
	for i, v := range taps {
		x := [bindings]ir.Datum{seen[0][i], seen[1][i]}
		if idleLoop(v.Node(), x[0]) || idleLoop(v.Node(), x[1]) {
			return false
		}
		if small(x[0]) && small(x[1]) {
			g.add(v, x)
		}
	}
	return true
}

// idleLoop reports what no iteration of a Loop made: of it the standard states no shape.
func idleLoop(n *ir.Node, d ir.Datum) bool {
	t, ok := d.(*ir.Tensor)
	return ok && t != nil && n.Op() == ir.Op("Loop") && t.Rank() > 0 && t.Shape()[0] == 0
}

// bind notes the sizes of the symbols of t.
func (g *generator) bind(t *ir.Type, x *value) {
	for i, d := range t.TensorShape() {
		if d.Param == "" {
			continue
		}
		var size [bindings]int64
		for b, s := range x.s {
			if s, ok := s.(*ir.Tensor); ok && i < s.Rank() {
				size[b] = s.Shape()[i]
			}
		}
		g.sizes[d.Param] = size
	}
}
