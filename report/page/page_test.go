package page

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/infer"
)

func graph(t *testing.T, src string) *Graph {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	g, err := NewGraph("g", m, analysis.Options{Types: infer.Model(m).Type})
	require.NoError(t, err)
	return g
}

const diamond = `<ir_version: 8, opset_import: ["" : 17]>
g (float[2,2] x, bool c) => (float[2,2] y, float[2,2] z) <float[2,2] w = {0, 1, 2, 4}>
{
   a = MatMul (x, w)
   p = Abs (a)
   q = Neg (a)
   y = Add (p, q)
   z = If (c) <then_branch: graph = t () => (float[2,2] u) { u = Exp (q) }, else_branch: graph = e () => (float[2,2] v) { v = Exp (p) }>
}`

// TestLayout: edges go down, boxes do not overlap, and what subgraphs take is an edge.
func TestLayout(t *testing.T) {
	g := graph(t, diamond)
	place := map[[2]int]string{}
	byName := map[string]int{}
	for i, n := range g.Nodes {
		require.Empty(t, place[[2]int{n.X, n.Y}], n.Op)
		place[[2]int{n.X, n.Y}] = n.Op
		byName[n.Op] = i
	}
	for _, e := range g.Edges {
		require.Less(t, g.Nodes[e[0]].Y, g.Nodes[e[1]].Y)
	}
	require.Contains(t, g.Edges, [2]int{byName["Neg"], byName["If"]})
	require.Contains(t, g.Edges, [2]int{byName["Abs"], byName["If"]})
	m := g.Nodes[byName["MatMul"]]
	require.Equal(t, int64(8), m.MACs)
	require.Equal(t, int64(16), m.Bytes)
	require.Equal(t, Weight{Name: "w", Type: "float[2,2]", Min: 0, Max: 4, Mean: 1.75, Hist: m.Weights[0].Hist}, m.Weights[0])
	sum := 0
	for _, c := range m.Weights[0].Hist {
		sum += c
	}
	require.Equal(t, 4, sum)
}

// TestWrite: a page is whole, holds what it is given, and names cannot leave their element.
func TestWrite(t *testing.T) {
	g := graph(t, diamond)
	Pair(g, g, func(n *ir.Node) *ir.Node { return n })
	g.Nodes[2].Name = "</script><b>&"
	p := &Page{Title: "<i>t</i>", Graphs: []*Graph{g}, Plots: []Plot{{Title: "Cost", X: "node", Y: "MACs", Bars: true, Lines: []Line{{Name: "a", Values: []float64{1, 2}}, {Name: "b", Values: []float64{2, 1}}}}},
		Passes: []PassRow{{Path: "p", Seconds: 0.5}}, Remarks: []Remark{{Rule: "r", Why: "<u>"}}}
	var b bytes.Buffer
	require.NoError(t, p.Write(&b))
	s := b.String()
	require.NotContains(t, s, "</script><b>")
	require.NotContains(t, s, "<i>t</i>")
	require.NotContains(t, s, "because <u>")
	require.Contains(t, s, "500.00 ms")
	require.Equal(t, 1, strings.Count(s, "<svg"))
	_, data, _ := strings.Cut(s, `<script id="data" type="application/json">`)
	data, _, _ = strings.Cut(data, "</script>")
	var back Page
	require.NoError(t, json.Unmarshal([]byte(data), &back))
	require.Equal(t, "</script><b>&", back.Graphs[0].Nodes[2].Name)
	for _, format := range []string{"png", "svg", "pdf"} {
		for _, log := range []bool{false, true} {
			x, err := (&Plot{Title: "t", Log: log, Lines: []Line{{Name: "a", Values: []float64{0, 1e-7, 3}}, {Name: "b"}}}).Bytes(format)
			require.NoError(t, err)
			require.NotEmpty(t, x)
		}
	}
}

// TestRange: what is no number is left out.
func TestRange(t *testing.T) {
	r := &Range{}
	r.Add([]float64{math.NaN(), 2, math.Inf(1)})
	r.Add([]float64{-1, 5})
	require.Equal(t, []float64{-1, 5, 2, 2}, []float64{r.Min, r.Max, r.Mean, float64(r.Samples)})
}

// TestFront: a front in JSON becomes a table and a plot for each thing that was measured; what is no front is an error.
func TestFront(t *testing.T) {
	f, err := ReadFront([]byte(`{"metric": "top1", "best": 2, "more": 1, "front": [
		{"number": 1, "choices": "<as it is>", "loss": 0, "values": {"size": 100, "latency": 2.5}},
		{"number": 2, "choices": "int8", "loss": 0.5, "values": {"size": 30, "quality": 0.9}}]}`))
	require.NoError(t, err)
	require.Equal(t, []string{"latency", "size"}, f.Columns)
	require.Equal(t, []string{"", "30"}, f.Points[1].Cells())
	require.False(t, f.Points[0].Best)
	var b bytes.Buffer
	require.NoError(t, (&Page{Title: "f", Front: f}).Write(&b))
	s := b.String()
	require.Equal(t, 2, strings.Count(s, "<svg"))
	require.Contains(t, s, "* 2")
	require.Contains(t, s, "&lt;as it is&gt;")
	for _, bad := range []string{"", "[]", "{}", `{"front": [{"values": 3}]}`} {
		_, err := ReadFront([]byte(bad))
		require.ErrorContains(t, err, "no front in JSON", bad)
	}
}
