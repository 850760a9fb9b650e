package liveness

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/onnxopt/onnxopt/ir"
)

func vec(n int64) *ir.Type { return ir.TensorType(ir.Float32, ir.StaticShape(n)) }

// node adds a node whose result has n elements of four bytes.
func node(g *ir.Graph, op string, n int64, in ...*ir.Value) *ir.Value {
	v := g.New(nil, ir.Op(op), in).Result(0)
	v.SetType(vec(n))
	return v
}

func TestChainNeedsTwoAtATime(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", vec(10))
	a := node(g, "Relu", 100, x)
	b := node(g, "Relu", 50, a, g.Const(ir.TensorOf(make([]float32, 1000))))
	c := node(g, "Relu", 10, b)
	g.AddOutput("y", c, nil)
	r := Graph(g, Options{})
	assert.EqualValues(t, 600, r.Peak)
	assert.Same(t, b.Node(), r.At)
	assert.Equal(t, []*ir.Value{a, b}, r.Live)

	g.AddOutput("z", a, nil) // to the end
	r = Graph(g, Options{})
	assert.EqualValues(t, 640, r.Peak)
	assert.Same(t, c.Node(), r.At)
}

func TestSharedMemory(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", vec(10))
	a := node(g, "Relu", 100, x)
	b := node(g, "Reshape", 100, a, g.Const(ir.TensorOf([]int64{-1})))
	c := node(g, "Identity", 100, b)
	g.AddOutput("y", node(g, "Relu", 1, c), nil)
	r := Graph(g, Options{})
	assert.EqualValues(t, 440, r.Peak)
	assert.Same(t, a.Node(), r.At)
}

func TestCapturesLiveAndSubgraphsAdd(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", vec(1))
	a := node(g, "Relu", 100, x)
	body := g.NewSubgraph("then")
	body.AddOutput("", node(body, "Relu", 10, node(body, "Relu", 20, a)), nil)
	other := g.NewSubgraph("else")
	other.AddOutput("", node(other, "Relu", 25, a), nil)
	cond := node(g, "Not", 1, x)
	i := g.New(nil, ir.Op("If"), []*ir.Value{cond}, ir.GraphAttr("then_branch", body), ir.GraphAttr("else_branch", other)).Result(0)
	i.SetType(vec(10))
	g.AddOutput("y", i, nil)
	r := Graph(g, Options{})
	assert.EqualValues(t, 4*(1+100+10+30), r.Peak) // cond, a, the result, and the then-branch inside
	assert.EqualValues(t, 120, r.Inside)
}

func TestUnknownSizes(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", ir.TensorType(ir.Float16, ir.Shape{ir.Symbol("N"), ir.Static(3)}))
	y := g.New(nil, ir.Op("Relu"), []*ir.Value{x}).Result(0)
	g.AddOutput("y", y, nil)
	r := Graph(g, Options{})
	assert.Equal(t, 2, r.Unknown)
	assert.Zero(t, r.Peak)
	r = Graph(g, Options{Sizes: map[string]int64{"N": 5}, Types: func(v *ir.Value) *ir.Type { return x.Type() }})
	assert.Zero(t, r.Unknown)
	assert.EqualValues(t, 60, r.Peak)
}

func TestFunctions(t *testing.T) {
	m := ir.NewModel(8, 17)
	f := m.NewFunction(ir.OpID{Domain: "l", Type: "F"})
	fx := f.Graph.AddInput("x", vec(10))
	f.Graph.AddOutput("y", node(f.Graph, "Relu", 5, fx), nil)
	x := m.Main.AddInput("x", vec(10))
	y := m.Main.New(nil, f.ID(), []*ir.Value{x}).Result(0)
	y.SetType(vec(5))
	m.Main.AddOutput("y", y, nil)
	assert.EqualValues(t, 60+60, Graph(m.Main, Options{}).Peak)
}
