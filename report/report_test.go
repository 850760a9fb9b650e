package report_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/report"
)

func parse(t *testing.T, src string) *ir.Model {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}

const product = `<ir_version: 8, opset_import: ["" : 18]>
g (float[N,3,?] x) => (float[N,3,4] y)
<float[5,4] w = {0,1,2,3, -0,1,2,3, 4,5,6,7, 0,1,2,3, 1,1,1,1}>
{
   y = MatMul(x, w)
}`

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		sizes     map[string]int64
		macs      int64
		uncounted int64
	}{
		{nil, 0, 1},
		{map[string]int64{"x[2]": 5}, 1 * 3 * 4 * 5, 0},
		{map[string]int64{"x[2]": 5, "N": 7}, 7 * 3 * 4 * 5, 0},
		{map[string]int64{"x[2]": 5, "x[0]": 2}, 2 * 3 * 4 * 5, 0},
		{map[string]int64{"x[2]": 5, "N": 0}, 0, 0},
	} {
		s, err := report.Summarize(parse(t, product), report.Options{Sizes: c.sizes})
		require.NoError(t, err)
		require.Equal(t, c.macs, s.MACs, "%v", c.sizes)
		require.Equal(t, 2*c.macs, s.FLOPs)
		require.Equal(t, c.uncounted, s.Uncounted, "%v", c.sizes)
	}
	_, err := report.Summarize(parse(t, product), report.Options{Sizes: map[string]int64{"M": 1}})
	require.ErrorContains(t, err, `no input has an open dimension "M"`)
	_, err = report.Summarize(parse(t, product), report.Options{Sizes: map[string]int64{"x[1]": 1}})
	require.ErrorContains(t, err, `no input has an open dimension "x[1]"`)
}

func TestInspect(t *testing.T) {
	m := parse(t, product)
	r, err := report.Inspect(m, report.Options{})
	require.NoError(t, err)
	require.Equal(t, int64(20), r.Parameters)
	require.Equal(t, int64(80), r.Bytes)
	require.Equal(t, int64(3), r.Zeros, "−0 is a zero")
	require.InDelta(t, 0.15, r.Sparsity, 1e-12)
	require.Equal(t, []report.Opset{{Domain: "", Version: 18}}, r.Opsets)
	require.Equal(t, []report.Port{{Name: "x", Type: "float[N,3,?]"}}, r.Inputs)
	require.Equal(t, "float[N,3,?]", m.Main.Inputs()[0].Type().String(), "the model stays as it is")
}

// TestNodesAsInTheFile: Identity nodes that only name outputs are nodes of the file, Constant nodes are weights.
func TestNodesAsInTheFile(t *testing.T) {
	m := parse(t, `<ir_version: 8, opset_import: ["" : 18]>
g (float[2] x, bool c) => (float[2] y, float[2] z)
{
   k = Constant<value_floats: floats = [1.0, 2.0]>()
   a = Add(x, k)
   y = Identity(x)
   z = If(c) <then_branch: graph = a () => (float[2] p) { p = Neg(a) }, else_branch: graph = b () => (float[2] q) { q = Neg(x) }>
}`)
	s, err := report.Summarize(m, report.Options{})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"Add": 1, "Identity": 1, "If": 1, "Neg": 2}, s.Operators)
	require.Equal(t, 5, s.Nodes)
	require.Equal(t, 2, s.Subgraphs)
	require.Equal(t, int64(2), s.Parameters)
}

func TestOrigins(t *testing.T) {
	m := parse(t, product)
	n := m.Main.NodeList()[0]
	n.SetOrigin(ir.DerivedOrigin("pass/rule", n.Origin()))
	o := report.OriginsOf(m)
	require.Len(t, o.Nodes, 1)
	require.Equal(t, []string{"y"}, o.Nodes[0].Outputs)
	require.Equal(t, []string{"pass/rule"}, o.Nodes[0].Rules)
	require.Equal(t, []report.Source{{Graph: "", Pos: 0, Name: "", Op: "MatMul"}}, o.Nodes[0].Sources)
	report.KeepOrigin(m)
	rules, _ := n.Meta().Get("onnxopt.rules")
	require.Equal(t, "pass/rule", rules)
	sources, _ := n.Meta().Get("onnxopt.sources")
	require.Equal(t, ":0::MatMul", sources)
}
