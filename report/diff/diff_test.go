package diff_test

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/report"
	"github.com/onnxopt/onnxopt/report/diff"
)

const net = `<ir_version: 8, opset_import: ["" : 17]>
net (float[N,4] x, bool c) => (float[N,4] y, float[N,4] z)
<float[4,4] w = {1,2,3,4, 5,6,7,8, 9,10,11,12, 13,14,15,16}, float[4] b = {1,2,3,4}>
{
   m = MatMul (x, w)
   a = Add (m, b)
   r = Relu (a)
   s = Softmax <axis = 1> (r)
   t = Mul (s, r)
   y = Neg (t)
   z = If (c) <then_branch: graph = p () => (float[N,4] u) { u = Abs (t) }, else_branch: graph = q () => (float[N,4] v) { k = Exp (r) v = Neg (k) }>
}`

func parse(t *testing.T, src string) *ir.Model {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}

func compare(t *testing.T, a, b *ir.Model) *diff.Result {
	var r *diff.Result
	require.NoError(t, onnxio.Guard(func() (err error) {
		r, err = diff.Models(a, b, report.Options{})
		return err
	}))
	return r
}

// rename gives every inner value and node of m another name, and its nodes another order.
func rename(m *ir.Model, seed uint64) {
	i := 0
	for _, g := range m.Graphs() {
		for n := range g.Nodes() {
			i++
			n.SetName(fmt.Sprintf("node%d_%d", seed, i))
			for _, v := range n.Results() {
				if v != nil && !v.IsOutput() {
					v.SetName(fmt.Sprintf("value%d_%d", seed, i))
				}
			}
		}
		for _, v := range g.Consts() {
			i++
			v.SetName(fmt.Sprintf("weight%d_%d", seed, i))
		}
	}
	m.Shuffle(seed)
}

// models are a model with subgraphs, ours, and the real ones where they are.
func models(t *testing.T) map[string]func() *ir.Model {
	r := map[string]func() *ir.Model{"net": func() *ir.Model { return parse(t, net) }}
	files, _ := filepath.Glob("../../../shared/models/*.onnx")
	if len(files) == 0 {
		t.Log("left out: the models of ../shared are not there")
	}
	for _, f := range append(files, "../../testdata/digits/digits.onnx") {
		r[filepath.Base(f)] = func() *ir.Model {
			x, err := onnxio.Open(f, onnxio.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { x.Close() })
			return x.Model
		}
	}
	return r
}

// TestRenamed: names and the order of nodes are no difference.
func TestRenamed(t *testing.T) {
	for name, open := range models(t) {
		b := open()
		rename(b, 7)
		r := compare(t, open(), b)
		require.True(t, r.Same, "%s: %s: %v %v", name, r.Headline(), r.Changed, r.Weights)
		require.Positive(t, r.Renamed, name)
	}
}

// TestOneWeight: a weight that changed in a renamed model is the only difference.
func TestOneWeight(t *testing.T) {
	for name, open := range models(t) {
		b := open()
		var w *ir.Value
		for _, v := range b.Main.Consts() {
			if v.Const().DType() == ir.Float32 && v.NumUses() == 1 && v.Const().Len() > 8 {
				w = v
			}
		}
		if w == nil {
			continue
		}
		x, err := ir.Elements[float32](w.Const())
		require.NoError(t, err)
		y := append([]float32{}, x...)
		y[3] = 2*y[3] + 1
		w.ReplaceUses(b.Main.NamedConst("changed", ir.TensorOf(y, w.Const().Shape()...)))
		b.Main.EraseConst(w)
		rename(b, 3)
		r := compare(t, open(), b)
		require.Empty(t, r.Added, name)
		require.Empty(t, r.Removed, name)
		require.Len(t, r.Weights, 1, name)
		require.InDelta(t, math.Abs(float64(y[3]-x[3])), *r.Weights[0].Abs, 1e-6, name)
	}
}

// TestEdits: each edit of a renamed model is told as what it is.
func TestEdits(t *testing.T) {
	node := func(m *ir.Model, op string) *ir.Node {
		for n := range m.Main.Nodes() {
			if n.Op() == ir.Op(op) {
				return n
			}
		}
		t.Fatal(op)
		return nil
	}
	for name, c := range map[string]struct {
		edit func(m *ir.Model)
		want []string // added, removed, changed, without names
	}{
		"inserted": {func(m *ir.Model) {
			n := node(m, "Add")
			v := n.Result(0)
			s := m.Main.New(n, ir.Op("Sigmoid"), []*ir.Value{v})
			v.ReplaceUsesIf(s.Result(0), func(u ir.Use) bool { return u.Node != s })
		}, []string{"+Sigmoid", "~Relu operand 0: was Add, is Sigmoid"}},
		"removed": {func(m *ir.Model) {
			n := node(m, "Softmax")
			n.Result(0).ReplaceUses(n.Operand(0))
			m.Main.Erase(n)
		}, []string{"-Softmax", "~Mul operand 0: was Softmax, is Relu"}},
		"attribute":   {func(m *ir.Model) { node(m, "Softmax").SetAttr(ir.IntAttr("axis", 0)) }, []string{"~Softmax attribute axis: 1 became 0"}},
		"operator":    {func(m *ir.Model) { node(m, "Relu").SetOp(ir.Op("Elu")) }, []string{"~Relu Relu became Elu"}},
		"rewired":     {func(m *ir.Model) { node(m, "Mul").SetOperand(0, node(m, "Relu").Result(0)) }, []string{"-Softmax", "~Mul operand 0: was Softmax, is Relu"}},
		"in a branch": {func(m *ir.Model) { node(m, "If").Subgraphs()[0].NodeList()[0].SetOp(ir.Op("Ceil")) }, []string{"-Abs", "+Ceil", "~If result 0 of then_branch: was Abs, is Ceil"}},
	} {
		b := parse(t, net)
		c.edit(b)
		if name == "rewired" {
			b.Main.Erase(node(b, "Softmax"))
		}
		rename(b, 5)
		r := compare(t, parse(t, net), b)
		var got []string
		for _, n := range r.Removed {
			got = append(got, "-"+n.Op)
		}
		for _, n := range r.Added {
			got = append(got, "+"+n.Op)
		}
		for _, x := range r.Changed {
			got = append(got, "~"+x.A.Op+" "+strings.Join(x.What, "; "))
		}
		for i := range got { // without names
			for strings.Contains(got[i], ` "`) {
				head, tail, _ := strings.Cut(got[i], ` "`)
				_, tail, _ = strings.Cut(tail, `"`)
				got[i] = head + tail
			}
		}
		require.Equal(t, c.want, got, name)
		require.False(t, r.Same, name)
	}
}

// TestInterface: what the outside sees.
func TestInterface(t *testing.T) {
	b := parse(t, net)
	b.Main.Inputs()[0].SetType(ir.TensorType(ir.Float32, ir.StaticShape(2, 4)))
	b.Main.Outputs()[1].SetName("zz")
	b.IRVersion = 9
	r := compare(t, parse(t, net), b)
	require.Equal(t, []string{"input x: float[N,4] became float[2,4]", "output z was removed: float[N,4]", "output zz was added: float[N,4]"}, r.Interface)
	require.Equal(t, []string{"IR version: 8 became 9"}, r.Model)
	require.Empty(t, r.Added)
}

// TestMarkdown: names cannot escape into Markdown or HTML.
func TestMarkdown(t *testing.T) {
	b := parse(t, net)
	n := b.Main.NodeList()[0]
	n.SetName("<script>*x*|y`")
	n.SetAttr(ir.IntAttr("a|b", 1))
	var out bytes.Buffer
	compare(t, parse(t, net), b).Markdown(&out, "a`b.onnx", "b.onnx")
	require.NotContains(t, out.String(), "<script>")
	require.Contains(t, out.String(), "### `a'b.onnx` → `b.onnx`")
	require.Contains(t, out.String(), "changed nodes (1)")
	require.Contains(t, out.String(), `a\|b`)
}
