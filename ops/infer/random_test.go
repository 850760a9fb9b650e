package infer_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestAgainstRunsOfRandomModels makes models of operators that move data and compute shapes, node by node, each of which has to run, and holds
// what is inferred to runs with several sizes of their dimensions.
func TestAgainstRunsOfRandomModels(t *testing.T) {
	models := 1500
	if testing.Short() {
		models = 100
	}
	compared, nodes := 0, 0
	for seed := range uint64(models) {
		g := &shapeGen{rnd: rand.New(rand.NewPCG(seed, 7)), m: ir.NewModel(10, 18)}
		g.g = g.m.Main
		first := g.sizes()
		g.inputs(first)
		for range 14 {
			g.grow(first)
		}
		if len(g.taps) == 0 {
			continue
		}
		nodes += g.g.NumNodes()
		r := infer.Model(g.m)
		for round := range 4 {
			sizes := first
			if round > 0 {
				sizes = g.sizes()
			}
			values, err := g.run(sizes)
			if err != nil || g.copies(values) {
				continue // these sizes do not fit together
			}
			for i, v := range g.taps {
				if x, ok := values[i].(*ir.Tensor); ok {
					compared += holds(t, "", r, v, x, sizes)
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d, sizes %v:\n%s", seed, sizes, g.listing(r))
			}
		}
	}
	t.Logf("%d nodes, %d sizes and elements compared that are expressions", nodes, compared)
	require.Greater(t, compared, 20*models)
}

// shapeGen makes a model. Its inputs are x [A, B, 3], y [B, C] and n, a scalar; the values of the nodes that run are in taps.
type shapeGen struct {
	rnd  *rand.Rand
	m    *ir.Model
	g    *ir.Graph
	taps []*ir.Value
}

func (g *shapeGen) sizes() map[string]int64 {
	return map[string]int64{"A": g.upTo(4), "B": 1 + g.upTo(6), "C": g.upTo(6)}
}

func (g *shapeGen) upTo(n int) int64 { return int64(g.rnd.IntN(n)) }

func (g *shapeGen) inputs(sizes map[string]int64) {
	a, b, c := ir.Symbol("A"), ir.Symbol("B"), ir.Symbol("C")
	g.g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{a, b, ir.Static(3)}))
	g.g.AddInput("y", ir.TensorType(ir.Float32, ir.Shape{b, c}))
	g.g.AddInput("n", ir.TensorType(ir.Int64, ir.Shape{}))
}

func (g *shapeGen) run(sizes map[string]int64) ([]ir.Datum, error) {
	s, err := native.New().Load(context.Background(), g.m, engine.Options{Taps: g.taps, MaxMemory: 1 << 22})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	a, b, c := sizes["A"], sizes["B"], sizes["C"]
	_, values, err := s.RunTaps(context.Background(), map[string]ir.Datum{
		"x": ir.TensorOf(make([]float32, a*b*3), a, b, 3), "y": ir.TensorOf(make([]float32, b*c), b, c), "n": ir.ScalarOf(int64(2)),
	})
	return values, err
}

// copies reports whether a computed entry of a Reshape's shape is zero, which copies a dimension. Inference takes a size not to be zero there.
func (g *shapeGen) copies(values []ir.Datum) bool {
	for n := range g.g.Nodes() {
		if !n.Is("Reshape") {
			continue
		}
		if i := slices.Index(g.taps, n.Operand(1)); i >= 0 {
			if v, err := ir.Elements[int64](values[i].(*ir.Tensor)); err != nil || slices.Contains(v, 0) {
				return true
			}
		}
	}
	return false
}

// grow adds a node, and takes it away again if the model does not run with it.
func (g *shapeGen) grow(sizes map[string]int64) {
	n := g.node()
	if n == nil {
		return
	}
	before := len(g.taps)
	g.taps = append(g.taps, n.Results()...)
	if _, err := g.run(sizes); err != nil {
		g.taps = g.taps[:before]
		g.g.Erase(n)
	}
}

// pick is a value of one of the element types, nil if there is none.
func (g *shapeGen) pick(types ...ir.DType) *ir.Value {
	r := infer.Model(g.m)
	var all []*ir.Value
	for _, v := range append([]*ir.Value{g.g.Inputs()[0].Value(), g.g.Inputs()[1].Value(), g.g.Inputs()[2].Value()}, g.taps...) {
		for _, d := range types {
			if r.DType(v) == d {
				all = append(all, v)
			}
		}
	}
	switch {
	case len(all) == 0:
		return nil
	case g.upTo(3) > 0:
		return all[len(all)-1]
	}
	return all[g.upTo(len(all))]
}

func (g *shapeGen) floats() *ir.Value { return g.pick(ir.Float32) }

// ints is a value of integers: one that is there, a shape, or a constant.
func (g *shapeGen) ints(length int64) *ir.Value {
	if v := g.pick(ir.Int64); v != nil && g.upTo(3) > 0 {
		return v
	}
	k := make([]int64, length)
	for i := range k {
		k[i] = g.upTo(7) - 2
	}
	return g.g.Const(ir.TensorOf(k))
}

func (g *shapeGen) list(n int64, low, high int64) []int64 {
	r := make([]int64, n)
	for i := range r {
		r[i] = low + g.upTo(int(high-low+1))
	}
	return r
}

// node makes a node of a random operator with random operands.
func (g *shapeGen) node() *ir.Node {
	op := func(typ string, results int, in []*ir.Value, attrs ...*ir.Attr) *ir.Node {
		return g.g.NewN(nil, ir.Op(typ), in, results, attrs...)
	}
	k := func(v ...int64) *ir.Value { return g.g.Const(ir.TensorOf(v)) }
	x, n := g.floats(), 1+g.upTo(3)
	axis := ir.IntAttr("axis", g.upTo(3)-1)
	one := []*ir.Value{x}
	switch g.upTo(30) {
	case 0, 1, 2:
		return op("Shape", 1, one)
	case 3:
		return op("Shape", 1, one, ir.IntAttr("start", g.upTo(4)-2))
	case 4:
		return op("Size", 1, one)
	case 5, 6:
		return op("Gather", 1, []*ir.Value{g.ints(n), [...]*ir.Value{k(0), k(g.upTo(3) - 1), g.g.Const(ir.ScalarOf(g.upTo(3) - 1))}[g.upTo(3)]})
	case 7, 8:
		return op([...]string{"Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"}[g.upTo(7)], 1, []*ir.Value{g.ints(1), g.ints(1)})
	case 9:
		return op("Concat", 1, []*ir.Value{g.ints(n), g.ints(1)}, ir.IntAttr("axis", 0))
	case 10:
		return op("Concat", 1, []*ir.Value{x, g.floats()}, axis)
	case 11, 12:
		return op("Reshape", 1, []*ir.Value{x, g.ints(n)})
	case 13:
		return op("Reshape", 1, []*ir.Value{x, k(g.list(n, -1, 3)...)})
	case 14:
		return op("Expand", 1, []*ir.Value{x, g.ints(n)})
	case 15:
		return op("Tile", 1, []*ir.Value{x, g.ints(n)})
	case 16:
		return op("ConstantOfShape", 1, []*ir.Value{g.ints(n)})
	case 17:
		s := func() *ir.Value { return g.g.Const(ir.ScalarOf(g.upTo(5) - 2)) }
		if v := g.pick(ir.Int64); v != nil {
			return op("Range", 1, []*ir.Value{s(), v, s()})
		}
		return op("Range", 1, []*ir.Value{s(), s(), s()})
	case 18, 19:
		in := []*ir.Value{x, k(g.list(1, -4, 4)...), g.ints(1), k(g.upTo(3) - 1)}
		if g.upTo(2) == 0 {
			in[1], in[2] = in[2], k([...]int64{-1, 3, 1 << 40, -1 << 40}[g.upTo(4)])
		}
		if g.upTo(2) == 0 {
			in = append(in, k([...]int64{2, -1, 3, -2}[g.upTo(4)]))
		}
		return op("Slice", 1, in)
	case 20:
		return op("Unsqueeze", 1, []*ir.Value{x, k(g.list(1, -2, 2)...)})
	case 21:
		return op("Squeeze", 1, []*ir.Value{g.ints(1)})
	case 22:
		return op("Flatten", 1, one, ir.IntAttr("axis", g.upTo(3)))
	case 23:
		return op("Split", 2, one, axis, ir.IntAttr("num_outputs", 2))
	case 24:
		return op("Where", 1, []*ir.Value{op("Equal", 1, []*ir.Value{g.ints(1), g.ints(1)}).Result(0), g.ints(1), g.ints(1)})
	case 25:
		return op("MaxPool", 1, one, ir.IntsAttr("kernel_shape", g.list(1, 2, 3)), ir.IntsAttr("strides", g.list(1, 1, 2)),
			ir.IntsAttr("pads", g.list(2, 0, 1)), ir.IntAttr("ceil_mode", g.upTo(2)))
	case 26:
		return op("Pad", 1, []*ir.Value{x, k(g.list(2*n, -1, 2)...)})
	case 27:
		return op("Add", 1, []*ir.Value{x, g.floats()})
	case 28:
		return op("NonZero", 1, one)
	}
	return op("Transpose", 1, one)
}

// listing is the model with what is inferred of it.
func (g *shapeGen) listing(r *infer.Result) (s string) {
	for n := range g.g.Nodes() {
		s += n.Op().Type + " ->"
		for _, v := range n.Results() {
			d, _ := r.Dims(v)
			e, _ := r.Ints(v)
			for _, x := range d {
				s += " " + x.String()
			}
			s += " {"
			for _, x := range e {
				s += " " + x.String()
			}
			s += " }"
		}
		s += "\n"
	}
	return s
}
