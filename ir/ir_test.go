package ir_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func vals(v ...*ir.Value) []*ir.Value { return v }

// chain is x -> Relu -> ... -> Relu -> y.
func chain(n int) *ir.Model {
	m := ir.NewModel(10, 21)
	v := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(4)))
	for i := range n {
		r := m.Main.Append(ir.Op("Relu"), 1, 1)
		r.SetOperand(0, v)
		v = r.Result(0)
		v.SetName(fmt.Sprint("v", i))
	}
	m.Main.AddOutput("y", v, nil)
	return m
}

func ops(g *ir.Graph) (r []string) {
	for n := range g.Nodes() {
		r = append(r, n.Op().Type)
	}
	return r
}

func TestReplaceAndErase(t *testing.T) {
	m := chain(3)
	g := m.Main
	mid := g.NodeList()[1]
	mid.Result(0).ReplaceUses(mid.Operand(0))
	g.Erase(mid)
	require.NoError(t, ir.Verify(m))
	require.Equal(t, 2, g.NumNodes())
	require.True(t, mid.Dead())
	require.Panics(t, func() { g.Erase(mid) })
	require.Panics(t, func() { g.Erase(g.NodeList()[0]) }, "its result is used")
}

func TestRemoveResult(t *testing.T) {
	m := ir.NewModel(10, 21)
	x := m.Main.AddInput("x", nil)
	n := m.Main.NewN(nil, ir.Op("Split"), []*ir.Value{x}, 3)
	m.Main.AddOutput("y", n.Result(2), nil)
	first, last := n.Result(0), n.Result(2)
	n.RemoveResult(0)
	require.NoError(t, ir.Verify(m))
	require.True(t, first.Dead())
	require.Equal(t, 2, n.NumResults())
	require.Same(t, last, n.Result(1))
	def, i := last.Def()
	require.Same(t, n, def)
	require.Equal(t, 1, i)
	require.Panics(t, func() { n.RemoveResult(1) }, "it is used")
}

func TestOutputsAreUses(t *testing.T) {
	m := chain(1)
	relu := m.Main.NodeList()[0]
	require.True(t, relu.Result(0).IsOutput())
	relu.Result(0).ReplaceUses(m.Main.Inputs()[0].Value())
	m.Main.Erase(relu)
	require.Same(t, m.Main.Inputs()[0].Value(), m.Main.Outputs()[0].Value())
	require.Equal(t, "y", m.Main.Outputs()[0].Name())
	require.NoError(t, ir.Verify(m))
}

func TestNewNodesStandBesideTheirNeighbour(t *testing.T) {
	m := chain(3)
	g := m.Main
	ns := g.NodeList()
	neg := g.New(ns[0], ir.Op("Neg"), vals(ns[0].Result(0)))
	ns[1].SetOperand(0, neg.Result(0))
	abs := g.New(ns[2], ir.Op("Abs"), vals(ns[1].Result(0))) // before its neighbour, which uses it
	ns[2].SetOperand(0, abs.Result(0))
	require.Equal(t, []string{"Relu", "Neg", "Relu", "Abs", "Relu"}, ops(g))
	require.NoError(t, ir.Verify(m))
}

// captured builds If(c){ y = Add(x, k) } where k comes from the outer graph.
func captured(t *testing.T) (*ir.Model, *ir.Node, *ir.Graph) {
	m := ir.NewModel(10, 21)
	g := m.Main
	c := g.AddInput("c", ir.TensorType(ir.Bool, ir.StaticShape()))
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(2)))
	body := func(name string) *ir.Graph {
		s := g.NewSubgraph(name)
		n := s.New(nil, ir.Op("Neg"), vals(x))
		s.AddOutput("o", n.Result(0), nil)
		return s
	}
	then, other := body("then"), body("else")
	cond := g.New(nil, ir.Op("If"), vals(c), ir.GraphAttr("then_branch", then), ir.GraphAttr("else_branch", other))
	g.AddOutput("y", cond.Result(0), nil)
	require.NoError(t, ir.Verify(m))
	return m, cond, then
}

func TestCapturesOrderTheirNode(t *testing.T) {
	m, cond, then := captured(t)
	g := m.Main
	late := g.New(nil, ir.Op("Relu"), vals(g.Inputs()[1].Value())) // its place is after If
	then.NodeList()[0].SetOperand(0, late.Result(0))
	require.Equal(t, []*ir.Value{late.Result(0)}, then.Captures())
	require.Equal(t, []string{"Relu", "If"}, ops(g))
	cond.Result(0).ReplaceUses(g.Inputs()[1].Value())
	g.Erase(cond)
	require.Zero(t, late.Result(0).NumUses(), "uses inside an erased node's subgraphs go with it")
	require.NoError(t, ir.Verify(m))
}

func TestCycleThroughCapture(t *testing.T) {
	m, cond, then := captured(t)
	then.NodeList()[0].SetOperand(0, cond.Result(0))
	err := ir.Verify(m)
	require.ErrorContains(t, err, "cycle")
	require.Equal(t, 2, err.(*ir.VerifyError).Invariant)
}

func TestVerifyFinds(t *testing.T) {
	check := func(name string, inv int, edit func(m *ir.Model)) {
		t.Run(name, func(t *testing.T) {
			m, _, _ := captured(t)
			edit(m)
			err := ir.Verify(m)
			require.Error(t, err)
			require.Equal(t, inv, err.(*ir.VerifyError).Invariant, err.Error())
		})
	}
	check("operand from an inner graph", 1, func(m *ir.Model) {
		inner := m.Main.NodeList()[0].Subgraphs()[0].NodeList()[0].Result(0)
		m.Main.Outputs()[0].SetValue(inner)
	})
	check("output without a value", 1, func(m *ir.Model) { m.Main.Outputs()[0].SetValue(nil) })
	check("erased constant in use", 4, func(m *ir.Model) {
		c := m.Main.Const(ir.TensorOf([]float32{1}))
		m.Main.EraseConst(c)
		m.Main.Outputs()[0].SetValue(c)
	})
	check("repeated input name", 5, func(m *ir.Model) { m.Main.Inputs()[1].SetName("c") })
	check("one output name for two values", 5, func(m *ir.Model) {
		m.Main.AddOutput("y", m.Main.Inputs()[0].Value(), nil)
	})
	check("payload too short", 6, func(m *ir.Model) {
		m.Main.Const(ir.NewTensor(ir.Float32, []int64{3}, make([]byte, 8)))
	})
	check("domain not imported", 7, func(m *ir.Model) {
		m.Main.New(nil, ir.OpID{Domain: "com.example", Type: "F"}, nil)
	})
	check("function that calls itself", 9, func(m *ir.Model) {
		f := m.NewFunction(ir.OpID{Domain: "local", Type: "F"}, ir.Opset{Domain: "local", Version: 1})
		f.Graph.New(nil, f.ID(), nil)
	})
}

// TestCallCycle finds a circle of calls, also through a subgraph, and none where two functions call a third.
func TestCallCycle(t *testing.T) {
	m := ir.NewModel(10, 1)
	op := func(name string) ir.OpID { return ir.OpID{Domain: "local", Type: name} }
	f, g, h := m.NewFunction(op("F")), m.NewFunction(op("G")), m.NewFunction(op("H"))
	f.Graph.New(nil, g.ID(), nil)
	f.Graph.New(nil, h.ID(), nil)
	g.Graph.New(nil, h.ID(), nil)
	require.Nil(t, m.CallCycle())
	branch := h.Graph.NewSubgraph("then")
	branch.New(nil, g.ID(), nil)
	h.Graph.New(nil, ir.Op("If"), nil, ir.GraphAttr("then_branch", branch))
	require.Equal(t, []*ir.Function{g, h}, m.CallCycle())
}

func TestCloneIsDeep(t *testing.T) {
	m, cond, _ := captured(t)
	c, values := m.CloneMap()
	require.NoError(t, ir.Verify(c))
	require.NotSame(t, cond.Result(0), values[cond.Result(0)])
	n := c.Main.NodeList()[0]
	n.Result(0).ReplaceUses(c.Main.Inputs()[1].Value())
	c.Main.Erase(n)
	require.NoError(t, ir.Verify(c))
	require.NoError(t, ir.Verify(m))
	require.Equal(t, 1, m.Main.NumNodes())
	m.Assign(c)
	require.Equal(t, 0, m.Main.NumNodes())
	require.Same(t, m, m.Main.Model())
}

func TestCopyIntoInlines(t *testing.T) {
	m, cond, then := captured(t)
	out := then.CopyInto(m.Main, cond, nil)
	cond.Result(0).ReplaceUses(out[0])
	m.Main.Erase(cond)
	require.NoError(t, ir.Verify(m))
	require.Equal(t, []string{"Neg"}, ops(m.Main))
}

func TestOriginsOfALongChainStaySmall(t *testing.T) {
	o := ir.SourceOrigin(&ir.Source{Name: "a"})
	for i := range 100_000 {
		o = ir.DerivedOrigin(fmt.Sprint("r", i%3), o, o)
	}
	require.Len(t, o.Sources(), 1)
	require.Equal(t, []string{"r0", "r1", "r2"}, o.Rules())
}

// TestRandomEdits applies random edits and holds every state to the invariants, in plain and shuffled order.
func TestRandomEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := chain(rapid.IntRange(1, 8).Draw(t, "nodes"))
		g := m.Main
		pick := func() *ir.Node {
			ns := g.NodeList()
			return ns[rapid.IntRange(0, len(ns)-1).Draw(t, "node")]
		}
		for range rapid.IntRange(1, 30).Draw(t, "edits") {
			if g.NumNodes() == 0 {
				break
			}
			n := pick()
			switch rapid.IntRange(0, 4).Draw(t, "edit") {
			case 0: // bypass
				n.Result(0).ReplaceUses(n.Operand(0))
				g.Erase(n)
			case 1: // insert after
				v := n.Result(0)
				k := g.New(n, ir.Op("Add"), vals(v, g.Const(ir.TensorOf([]float32{1}))))
				v.ReplaceUsesIf(k.Result(0), func(u ir.Use) bool { return u.Node != k })
			case 2: // another output
				g.AddOutput(fmt.Sprint("o", len(g.Outputs())), n.Result(0), nil)
			case 3: // operands come and go
				n.AddOperand(g.Inputs()[0].Value())
				n.RemoveOperand(0)
			case 4:
				m.Shuffle(rapid.Uint64().Draw(t, "seed"))
			}
			if err := ir.Verify(m); err != nil {
				t.Fatal(err)
			}
			if c := m.Clone(); ir.Verify(c) != nil || !slices.Equal(ops(c.Main), ops(g)) {
				t.Fatal("the clone differs")
			}
		}
	})
}

func TestTensor(t *testing.T) {
	f := ir.TensorOf([]float32{1, 2, 3, 4}, 2, 2)
	v, err := ir.Elements[float32](f.Reshape([]int64{4}))
	require.NoError(t, err)
	require.Equal(t, []float32{1, 2, 3, 4}, v)
	_, err = ir.Elements[int64](f)
	require.Error(t, err)
	require.EqualValues(t, -1, ir.NumElements([]int64{1 << 40, 1 << 40}))
	require.EqualValues(t, 0, ir.NumElements([]int64{1 << 40, 1 << 40, 0}))
	require.EqualValues(t, 1, ir.NumElements(nil))
	require.EqualValues(t, 2, ir.Int4.ByteLen(3))
	misaligned := make([]byte, 13)
	u := ir.NewTensor(ir.Float32, []int64{3}, misaligned[1:])
	v, err = ir.Elements[float32](u)
	require.NoError(t, err)
	require.Len(t, v, 3)
	_, err = ir.NewTensor(ir.Float32, []int64{3}, misaligned).Bytes()
	require.ErrorContains(t, err, "needs 12 bytes and has 13")
}

func TestTypeMerge(t *testing.T) {
	a := ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N"), ir.Static(3), ir.UnknownDim()})
	b := ir.TensorType(ir.Float32, ir.Shape{ir.Static(2), ir.UnknownDim(), ir.Symbol("W")})
	m, ok := a.Merge(b)
	require.True(t, ok)
	require.Equal(t, "float[2,3,W]", m.String())
	_, ok = a.Merge(ir.TensorType(ir.Float32, ir.StaticShape(1, 4, 4)))
	require.False(t, ok)
	_, ok = a.Merge(ir.TensorType(ir.Int64, nil))
	require.False(t, ok)
	same, _ := a.Merge(nil)
	require.Same(t, a, same)
}

func TestEpochsOfEnclosingGraphs(t *testing.T) {
	m, _, then := captured(t)
	before := m.Main.Epoch(ir.Structure)
	then.NodeList()[0].SetOperand(0, m.Main.Inputs()[1].Value())
	require.Equal(t, before, m.Main.Epoch(ir.Structure), "setting the same operand is no change")
	then.New(nil, ir.Op("Relu"), vals(m.Main.Inputs()[1].Value()))
	require.Greater(t, m.Main.Epoch(ir.Structure), before)
}

// BenchmarkScale shows the cost a node of building, ordering with every second node moved, verifying and cloning.
func BenchmarkScale(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				m := chain(n)
				g := m.Main
				for k := range g.Nodes() {
					if k.Pos()%2 == 0 {
						r := g.New(nil, ir.Op("Neg"), k.Operands())
						k.Result(0).ReplaceUses(r.Result(0))
						g.Erase(k)
					}
				}
				if err := ir.Verify(m.Clone()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/node")
		})
	}
}

// TestScalarShape: a tensor made like another one is a scalar if that is one, however its shape was given.
func TestScalarShape(t *testing.T) {
	for _, shape := range [][]int64{nil, {}} {
		s := ir.NewTensor(ir.Uint8, shape, []byte{1})
		require.Zero(t, ir.TensorOf([]float32{1}, s.Shape()...).Rank())
	}
}

// TestTablesByNumber: indices of values and kinds of nodes are those of the model that has them, after edits and in copies.
func TestTablesByNumber(t *testing.T) {
	m := ir.NewModel(10, 21)
	g := m.Main
	x := g.AddInput("x", nil)
	a := g.New(nil, ir.Op("Neg"), []*ir.Value{x})
	b := g.New(nil, ir.Op("Relu"), []*ir.Value{a.Result(0)})
	c := g.New(nil, ir.Op("Neg"), []*ir.Value{b.Result(0)})
	g.AddOutput("y", c.Result(0), nil)
	ofKind := func(g *ir.Graph, op string) (list []*ir.Node) {
		k, ok := g.Model().Kind(ir.Op(op))
		if !ok {
			return nil
		}
		for n := range g.NodesOf(func(kind int) bool { return kind == k }) {
			list = append(list, n)
		}
		return list
	}
	require.Equal(t, []*ir.Node{a, c}, ofKind(g, "Neg"))
	require.Equal(t, []*ir.Node{b}, ofKind(g, "Relu"))
	require.Nil(t, ofKind(g, "Abs"))
	c.SetOp(ir.Op("Abs"))
	require.Equal(t, []*ir.Node{a}, ofKind(g, "Neg"))
	require.Equal(t, []*ir.Node{c}, ofKind(g, "Abs"))
	d := g.New(a, ir.Op("Neg"), []*ir.Value{x})
	require.Len(t, ofKind(g, "Neg"), 2)
	a.Result(0).ReplaceUses(d.Result(0))
	g.Erase(a)
	require.Equal(t, []*ir.Node{d}, ofKind(g, "Neg"))

	for _, m := range []*ir.Model{m, m.Clone()} {
		seen := map[int]bool{}
		number := func(v *ir.Value) {
			require.False(t, seen[v.Index()])
			require.Less(t, v.Index(), m.NumValues())
			seen[v.Index()] = true
		}
		number(m.Main.Inputs()[0].Value())
		for n := range m.Nodes() {
			number(n.Result(0))
		}
		require.Len(t, seen, 4)
	}
}
