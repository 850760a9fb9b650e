package naming_test

import (
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, graph string) *ir.Model {
	t.Helper()
	m, err := text.ParseGraph([]byte(graph), ir.Opset{Version: 21})
	require.NoError(t, err)
	require.NoError(t, ir.Verify(m))
	return m
}

// written prints m and checks that the text parses to a model that prints the same.
func written(t *testing.T, m *ir.Model) string {
	t.Helper()
	print := func(m *ir.Model) string {
		var b strings.Builder
		require.NoError(t, text.Print(&b, m, text.Options{}))
		return b.String()
	}
	s := print(m)
	again, err := text.Parse([]byte(s))
	require.NoError(t, err, s)
	require.NoError(t, ir.Verify(again), s)
	require.Equal(t, s, print(again))
	_, body, _ := strings.Cut(s, "\n>\n")
	return body
}

func textParse(s string) (*ir.Model, error) { return text.Parse([]byte(s)) }

func fnv64(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// erase removes the nodes that keep picks; their uses move to operand 0.
func erase(m *ir.Model, pick func(n *ir.Node) bool) {
	for n := range m.Nodes() {
		if pick(n) {
			n.Result(0).ReplaceUses(n.Operand(0))
			n.Graph().Erase(n)
		}
	}
}

func named(name string) func(*ir.Node) bool {
	return func(n *ir.Node) bool { return n.Result(0).Name() == name }
}

func TestOutputTakesTheSlotsName(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] y) { a = Relu (x)  y = Identity (a) }`)
	require.Equal(t, 2, m.Main.NumNodes(), "a result can take the slot's name, so this Identity is none of ours")
	erase(m, named("y"))
	require.Equal(t, "g (float[N] x) => (float[N] y) {\n   y = Relu (x)\n}\n", written(t, m))
}

func TestInputReturnedUnderAnotherName(t *testing.T) {
	const g = "g (float[N] x) => (float[N] y) {\n   [glue] y = Identity (x)\n}\n"
	m := parse(t, g)
	require.Zero(t, m.Main.NumNodes(), "the Identity stands only for the name")
	require.Equal(t, g, written(t, m))

	m = parse(t, `g (float[N] x) => (float[N] y) { y = Dropout (x) }`)
	erase(m, named("y"))
	require.Equal(t, "g (float[N] x) => (float[N] y) {\n   y = Identity (x)\n}\n", written(t, m))
}

func TestInputReturnedUnderItsName(t *testing.T) {
	const g = "g (float[N] x) => (float[N] x) {\n}\n"
	require.Equal(t, g, written(t, parse(t, g)))
}

func TestOneValueForTwoOutputs(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] a, float[N] b) { a = Relu (x)  b = Relu (x) }`)
	n := m.Main.NodeList()
	n[1].Result(0).ReplaceUses(n[0].Result(0))
	m.Main.Erase(n[1])
	require.Equal(t, "g (float[N] x) => (float[N] a, float[N] b) {\n   a = Relu (x)\n   b = Identity (a)\n}\n", written(t, m))

	// The one whose name the value has stands for itself, wherever it is.
	m = parse(t, `g (float[N] x) => (float[N] a, float[N] b) { a = Relu (x)  b = Relu (x) }`)
	n = m.Main.NodeList()
	n[0].Result(0).ReplaceUses(n[1].Result(0))
	m.Main.Erase(n[0])
	require.Equal(t, "g (float[N] x) => (float[N] a, float[N] b) {\n   b = Relu (x)\n   a = Identity (b)\n}\n", written(t, m))
}

func TestTwoIdentitiesOfOneInputStay(t *testing.T) {
	const g = "g (float[N] x) => (float[N] a, float[N] b) {\n   b = Identity (x)\n   a = Identity (x)\n}\n"
	m := parse(t, g)
	require.Equal(t, 2, m.Main.NumNodes())
	require.Equal(t, g, written(t, m))
}

func TestAbsorbedIdentityKeepsItsPlace(t *testing.T) {
	const g = "g (float[N] x) => (float[N] y, float[N] z) {\n   a = Relu (x)\n   [n1] y = Identity (x)\n   z = Abs (a)\n}\n"
	m := parse(t, g)
	require.Equal(t, 2, m.Main.NumNodes())
	require.Equal(t, g, written(t, m))
}

// A result that takes a slot's name is captured by an inner graph that has a value of that name.
func TestSlotNameIsNotHidden(t *testing.T) {
	m := parse(t, `g (bool c, float[N] x) => (float[N] y) {
	   t = Relu (x)
	   r = If (c) <then_branch: graph = a () => (o) { y = Abs (t)  o = Neg (y) }, else_branch: graph = b () => (p) { p = Neg (t) }>
	   u = Add (t, r)
	   y = Identity (t)
	}`)
	erase(m, func(n *ir.Node) bool { return n.Op().Type == "Identity" })
	s := written(t, m)
	require.Contains(t, s, "y = Relu (x)")
	require.Contains(t, s, "y_1 = Abs (y)")
	require.Contains(t, s, "o = Neg (y_1)")
}

func TestShadowingOfTheFileStays(t *testing.T) {
	const g = `g (bool c, float[N] x) => (float[N] y) {
   t = Relu (x)
   y = If (c) <then_branch: graph = a () => (float[N] o) {
      t = Abs (x)
      o = Neg (t)
   }, else_branch: graph = b () => (float[N] p) {
      p = Neg (t)
   }>
}
`
	require.Equal(t, g, written(t, parse(t, g)))
}

func TestOuterValueAsSubgraphOutput(t *testing.T) {
	m := parse(t, `g (bool c, float[N] x) => (float[N] y) {
	   y = If (c) <then_branch: graph = a () => (o) { o = Identity (x) }, else_branch: graph = b () => (o) { o = Dropout (x) }>
	}`)
	erase(m, func(n *ir.Node) bool { return n.Op().Type == "Dropout" })
	require.Equal(t, 2, strings.Count(written(t, m), "o = Identity (x)"))
}

func TestClashingAndEmptyNames(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] y) { a = Relu (x)  a_1 = Abs (a)  y = Neg (a_1) }`)
	n := m.Main.NodeList()
	b := m.Main.New(n[1], ir.Op("Exp"), []*ir.Value{n[1].Result(0)})
	b.Result(0).SetName("a")
	c := m.Main.New(n[1], ir.Op("Exp"), []*ir.Value{b.Result(0)})
	n[2].SetOperand(0, c.Result(0))
	s := written(t, m)
	require.Contains(t, s, "   a = Relu (x)\n   a_1 = Abs (a)\n   a_2 = Exp (a_1)\n   Exp_1 = Exp (a_2)\n   y = Neg (Exp_1)\n")
}

func TestInterfaceThatCannotBeWritten(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] y) { y = Relu (x) }`)
	m.Main.Outputs()[0].SetName("x")
	_, err := naming.Assign(m)
	require.ErrorContains(t, err, `"x" is both an input and another value's output`)

	m = parse(t, `g (float[N] x) => (float[N] y, float[N] z) { y = Relu (x)  z = Abs (x) }`)
	m.Main.Outputs()[1].SetName("y")
	_, err = naming.Assign(m)
	require.ErrorContains(t, err, `two values are returned as output "y"`)
}

func TestConstants(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[1] w, float[1] v, float[1] u) <float[1] w = {1}, float[1] k = {2}> { v = Identity (k)  u = Relu (x) }`)
	require.Equal(t, 1, m.Main.NumNodes())
	n := m.Main.NodeList()[0]
	n.Result(0).ReplaceUses(m.Main.Const(ir.TensorOf([]float32{3})))
	m.Main.Erase(n)
	s := written(t, m)
	require.Contains(t, s, "float[1] u =  {3}", "a constant without a name takes the slot's")
	require.Contains(t, s, "v = Identity (k)")
	require.NotContains(t, s, "Identity (w)")
}

// Naming takes time in proportion to the model, new names and all.
func TestLinear(t *testing.T) {
	model := func(n int) *ir.Model {
		m := ir.NewModel(10, 21)
		v := m.Main.AddInput("x", nil)
		for range n {
			v = m.Main.New(nil, ir.Op("Relu"), []*ir.Value{v}).Result(0)
			v.SetName("same")
		}
		m.Main.AddOutput("y", v, nil)
		return m
	}
	took := func(n int) time.Duration {
		m := model(n)
		m.Main.NodeList()
		start := time.Now()
		names, err := naming.Assign(m)
		require.NoError(t, err)
		seen := map[string]bool{}
		for k := range m.Nodes() {
			name := names.Value(k.Result(0))
			require.False(t, seen[name], name)
			seen[name] = true
		}
		return time.Since(start)
	}
	small, large := took(2_000), took(100_000)
	require.Less(t, large, 500*small+time.Second, fmt.Sprint("50 times the nodes took ", large, " after ", small))
}
