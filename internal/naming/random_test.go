package naming_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/stretchr/testify/require"
)

// Models whose values have few names, or none, nested in each other and returning whatever they see: written and read, they
// compute the same from the same inputs.
func TestRandomModels(t *testing.T) {
	for seed := range uint64(500) {
		m := randomModel(seed)
		require.NoError(t, ir.Verify(m), seed)
		want := meaning(m)
		again := parseWritten(t, m)
		require.Equal(t, want, meaning(again), "seed %d", seed)
		noneHides(t, again)

		var b bytes.Buffer
		_, err := onnxio.Write(&b, m, onnxio.WriteOptions{})
		require.NoError(t, err, seed)
		f, err := onnxio.Read(b.Bytes(), onnxio.Options{})
		require.NoError(t, err, seed)
		require.NoError(t, ir.Verify(f.Model), seed)
		require.Equal(t, want, meaning(f.Model), "seed %d as protobuf", seed)
		var c bytes.Buffer
		_, err = onnxio.Write(&c, f.Model, onnxio.WriteOptions{})
		require.NoError(t, err, seed)
		require.True(t, bytes.Equal(b.Bytes(), c.Bytes()), "seed %d: other names the second time", seed)
	}
}

// noneHides checks that no value has the name of one of an enclosing graph, which checkers refuse.
func noneHides(t *testing.T, m *ir.Model) {
	names := map[*ir.Graph]map[string]bool{}
	for _, g := range m.Graphs() {
		own := map[string]bool{}
		for _, s := range g.Inputs() {
			own[s.Name()] = true
		}
		for _, v := range g.Consts() {
			own[v.Name()] = true
		}
		for n := range g.Nodes() {
			own[n.Result(0).Name()] = true
		}
		for _, s := range g.Outputs() { // those of Identities
			own[s.Name()] = true
		}
		names[g] = own
		for o := g.Outer(); o != nil; o = o.Outer() {
			for name := range own {
				require.False(t, names[o][name], "%s hides %q", g.Path(), name)
			}
		}
	}
}

func parseWritten(t *testing.T, m *ir.Model) *ir.Model {
	t.Helper()
	header := "<ir_version: 10, opset_import: [\"\" : 21]>\n"
	again, err := textParse(header + written(t, m))
	require.NoError(t, err)
	return again
}

type generator struct {
	*rand.Rand
	m *ir.Model
	n int
}

func randomModel(seed uint64) *ir.Model {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), m: ir.NewModel(10, 21)}
	main := g.m.Main
	seen := []*ir.Value{main.AddInput("in1", ir.TensorType(ir.Float32, nil)), main.AddInput("in2", ir.TensorType(ir.Float32, nil))}
	seen = g.fill(main, seen, 0)
	for i := range 1 + g.IntN(4) {
		v := seen[g.IntN(len(seen))]
		main.AddOutput(fmt.Sprint("out", i), v, ir.TensorType(ir.Float32, nil))
	}
	if g.IntN(3) == 0 && seen[len(seen)-1].Node() != nil { // a slot of a name that inner values have, too
		main.AddOutput("a", seen[len(seen)-1], ir.TensorType(ir.Float32, nil))
	}
	return g.m
}

func (g *generator) hint() string { return []string{"", "a", "b", "c", "a_1"}[g.IntN(5)] }

// fill adds initializers and nodes to h, which sees the given values, and returns all that may be used behind them.
func (g *generator) fill(h *ir.Graph, seen []*ir.Value, depth int) []*ir.Value {
	seen = append([]*ir.Value{}, seen...)
	for range g.IntN(3) {
		g.n++
		seen = append(seen, h.NamedConst(g.hint(), ir.ScalarOf(float32(g.n))))
	}
	for range 1 + g.IntN(5) {
		g.n++
		op := ir.Op(fmt.Sprint("Op", g.n%7))
		if g.IntN(4) == 0 {
			op = ir.Op("Identity")
		}
		in := []*ir.Value{seen[g.IntN(len(seen))]}
		if op.Type != "Identity" {
			in = append(in, seen[g.IntN(len(seen))])
		}
		n := h.New(nil, op, in)
		n.Result(0).SetName(g.hint())
		if depth < 3 && op.Type != "Identity" && g.IntN(2) == 0 {
			s := h.NewSubgraph("sub")
			n.SetAttr(ir.GraphAttr("body", s))
			inner := append([]*ir.Value{}, seen...)
			if g.IntN(2) == 0 {
				inner = append(inner, s.AddInput(g.hint()+"i", nil))
			}
			inner = g.fill(s, inner, depth+1)
			for range 1 + g.IntN(3) {
				s.AddOutput(g.hint()+"o", inner[g.IntN(len(inner))], nil)
			}
		}
		seen = append(seen, n.Result(0))
	}
	return seen
}

// meaning spells what each output of the main graph is computed from. Identities and names have no part in it.
func meaning(m *ir.Model) string {
	ids := map[*ir.Value]string{}
	var b strings.Builder
	outputs(m.Main, ids, &b)
	return b.String()
}

func outputs(g *ir.Graph, ids map[*ir.Value]string, b *strings.Builder) {
	for i, s := range g.Inputs() {
		ids[s.Value()] = fmt.Sprintf("in%d.%d", g.Depth(), i)
	}
	for i, s := range g.Outputs() {
		fmt.Fprintf(b, "%d: ", i)
		if g.Outer() == nil {
			b.WriteString(s.Name() + " = ")
		}
		b.WriteString(expression(s.Value(), ids))
		b.WriteString("\n")
	}
}

// expression numbers expressions, so that shared ones are spelled once only.
func expression(v *ir.Value, ids map[*ir.Value]string) string {
	if s, ok := ids[v]; ok {
		return s
	}
	n := v.Node()
	if n == nil {
		f, _ := ir.Elements[float32](v.Const())
		ids[v] = fmt.Sprint("const ", f)
		return ids[v]
	}
	if n.Op().Type == "Identity" {
		ids[v] = expression(n.Operand(0), ids)
		return ids[v]
	}
	var b strings.Builder
	b.WriteString(n.Op().Type + "(")
	for _, o := range n.Operands() {
		b.WriteString(expression(o, ids) + ", ")
	}
	b.WriteString(")")
	for _, s := range n.Subgraphs() {
		b.WriteString("{")
		outputs(s, ids, &b)
		b.WriteString("}")
	}
	h := fnv64(b.String())
	ids[v] = fmt.Sprintf("#%x", h)
	return ids[v]
}
