package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/liveness"
	"github.com/onnxopt/onnxopt/ir"
)

// Graph is a main graph as it is drawn.
type Graph struct {
	Title string   `json:"title"`
	Nodes []*Node  `json:"nodes"`
	Edges [][2]int `json:"edges"`
}

// Node is a box: a node, an input or an output.
type Node struct {
	Name    string   `json:"name"`
	Op      string   `json:"op"` // "input" and "output" for those
	X       int      `json:"x"`  // column
	Y       int      `json:"y"`  // row
	In      []string `json:"in"`
	Out     []string `json:"out"`
	Attrs   []string `json:"attrs,omitempty"`
	MACs    int64    `json:"macs,omitempty"`
	Bytes   int64    `json:"bytes,omitempty"` // of its constants
	Live    int64    `json:"live,omitempty"`  // bytes alive while it runs
	Micros  float64  `json:"micros,omitempty"`
	Drift   *float64 `json:"drift,omitempty"`
	Range   *Range   `json:"range,omitempty"` // of its first result, on data
	Weights []Weight `json:"weights,omitempty"`
	Origin  []string `json:"origin,omitempty"`
	Rules   []string `json:"rules,omitempty"`
	// State is "", "added", "removed" or "changed"; What says how it changed; Twin is the index of the node of the other graph.
	State string   `json:"state,omitempty"`
	What  []string `json:"what,omitempty"`
	Twin  *int     `json:"twin,omitempty"`

	node *ir.Node
}

// Weight is a constant operand.
type Weight struct {
	Name string  `json:"name"`
	Type string  `json:"type"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
	Hist []int   `json:"hist,omitempty"` // counts of equal bins from Min to Max
}

// Range is what a value was on data.
type Range struct {
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Mean    float64 `json:"mean"`
	Samples int     `json:"samples"`

	sum   float64
	count int64
}

// Add takes the elements that a value had in one run. NaN and infinities are left out.
func (r *Range) Add(v []float64) {
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		if r.count == 0 {
			r.Min, r.Max = x, x
		}
		r.Min, r.Max = min(r.Min, x), max(r.Max, x)
		r.sum += x
		r.count++
	}
	r.Samples++
	if r.count > 0 {
		r.Mean = r.sum / float64(r.count)
	}
}

// maxHist bounds the elements of a constant that are read for its histogram; of larger ones every so manyth.
const maxHist = 1 << 16

// bins of a histogram.
const bins = 32

// NewGraph draws the main graph of m. o says what is known of its values. Weights are sampled; one that cannot be read is an error.
func NewGraph(title string, m *ir.Model, o analysis.Options) (*Graph, error) {
	g := &Graph{Title: title, Nodes: []*Node{}, Edges: [][2]int{}}
	macs := cost.Model(m, o).Nodes
	live := liveness.Graph(m.Main, o).Series
	at := map[*ir.Value]int{}
	for _, s := range m.Main.Inputs() {
		at[s.Value()] = len(g.Nodes)
		g.Nodes = append(g.Nodes, &Node{Name: s.Name(), Op: "input", In: []string{}, Out: []string{describe(s.Value(), o)}})
	}
	for i, n := range m.Main.NodeList() {
		if n.NumResults() == 1 && n.Result(0).Const() != nil {
			continue // a weight
		}
		x := &Node{Name: n.Name(), Op: n.Op().String(), In: []string{}, Out: []string{}, MACs: macs[n].MACs, node: n}
		if i < len(live) {
			x.Live = live[i]
		}
		if err := x.operands(n, o); err != nil {
			return nil, err
		}
		for _, v := range n.Results() {
			if v != nil {
				x.Out = append(x.Out, describe(v, o))
				at[v] = len(g.Nodes)
			}
		}
		for _, a := range n.Attrs() {
			x.Attrs = append(x.Attrs, spell(a))
		}
		for _, s := range n.Origin().Sources() {
			x.Origin = append(x.Origin, strings.TrimSpace(fmt.Sprintf("%s %s", s.Op, s.Name)))
		}
		x.Rules = n.Origin().Rules()
		g.connect(n, at)
		g.Nodes = append(g.Nodes, x)
	}
	for _, s := range m.Main.Outputs() {
		if i, ok := at[s.Value()]; ok {
			g.Edges = append(g.Edges, [2]int{i, len(g.Nodes)})
		}
		g.Nodes = append(g.Nodes, &Node{Name: s.Name(), Op: "output", In: []string{describe(s.Value(), o)}, Out: []string{}})
	}
	g.layout()
	return g, nil
}

// connect adds the edges into n, those into its subgraphs included.
func (g *Graph) connect(n *ir.Node, at map[*ir.Value]int) {
	seen := map[int]bool{}
	add := func(v *ir.Value) {
		if i, ok := at[v]; ok && !seen[i] {
			seen[i] = true
			g.Edges = append(g.Edges, [2]int{i, len(g.Nodes)})
		}
	}
	for _, v := range n.Operands() {
		add(v)
	}
	for _, s := range n.Subgraphs() {
		for _, v := range s.Captures() {
			add(v)
		}
	}
}

func (x *Node) operands(n *ir.Node, o analysis.Options) error {
	for _, v := range n.Operands() {
		if v == nil {
			x.In = append(x.In, "omitted")
			continue
		}
		x.In = append(x.In, describe(v, o))
		t := v.Const()
		if t == nil {
			continue
		}
		x.Bytes += max(t.ByteLen(), 0)
		w := Weight{Name: v.Name(), Type: t.Type().String()}
		if err := w.fill(t); err != nil {
			return err
		}
		x.Weights = append(x.Weights, w)
	}
	return nil
}

func describe(v *ir.Value, o analysis.Options) string {
	return strings.TrimSpace(fmt.Sprintf("%s: %s", v.Name(), o.Type(v)))
}

// fill computes the range and the histogram of a constant.
func (w *Weight) fill(t *ir.Tensor) error {
	v, err := sampled(t)
	if err != nil || len(v) == 0 {
		return err
	}
	w.Min, w.Max = math.Inf(1), math.Inf(-1)
	sum, n := 0.0, 0
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		w.Min, w.Max = min(w.Min, x), max(w.Max, x)
		sum += x
		n++
	}
	if n == 0 {
		w.Min, w.Max = 0, 0
		return nil
	}
	w.Mean = sum / float64(n)
	if n < 2 || w.Min == w.Max {
		return nil
	}
	w.Hist = make([]int, bins)
	for _, x := range v {
		if x >= w.Min && x <= w.Max {
			w.Hist[min(bins-1, int(float64(bins)*(x-w.Min)/(w.Max-w.Min)))]++
		}
	}
	return nil
}

// sampled are elements of a tensor of floats of 32 or 64 bits, or integers, at most maxHist; none of other types.
func sampled(t *ir.Tensor) ([]float64, error) {
	switch t.DType() {
	case ir.Float32:
		return every[float32](t)
	case ir.Float64:
		return every[float64](t)
	case ir.Int8:
		return every[int8](t)
	case ir.Uint8:
		return every[uint8](t)
	case ir.Int32:
		return every[int32](t)
	case ir.Int64:
		return every[int64](t)
	}
	return nil, nil
}

func every[T float32 | float64 | int8 | uint8 | int32 | int64](t *ir.Tensor) ([]float64, error) {
	v, err := ir.Elements[T](t)
	if err != nil {
		return nil, err
	}
	step := 1 + len(v)/maxHist
	r := make([]float64, 0, len(v)/step+1)
	for i := 0; i < len(v); i += step {
		r = append(r, float64(v[i]))
	}
	return r, nil
}

// layout gives each box a row, the longest way to it from an input, and a column: near the mean column of what feeds it. It is the layered
// method (Sugiyama and others, Methods for visual understanding of hierarchical system structures, 1981) with one sweep.
func (g *Graph) layout() {
	feeds := make([][]int, len(g.Nodes))
	for _, e := range g.Edges {
		feeds[e[1]] = append(feeds[e[1]], e[0])
	}
	rows := map[int][]int{}
	last := 0
	for i, n := range g.Nodes { // in topological order
		for _, f := range feeds[i] {
			n.Y = max(n.Y, g.Nodes[f].Y+1)
		}
		last = max(last, n.Y)
		rows[n.Y] = append(rows[n.Y], i)
	}
	for y := 0; y <= last; y++ {
		row := rows[y]
		mean := func(i int) float64 {
			if len(feeds[i]) == 0 {
				return float64(slices.Index(row, i))
			}
			s := 0.0
			for _, f := range feeds[i] {
				s += float64(g.Nodes[f].X)
			}
			return s / float64(len(feeds[i]))
		}
		wish := map[int]float64{}
		for _, i := range row {
			wish[i] = mean(i)
		}
		slices.SortStableFunc(row, func(a, b int) int { return cmp.Compare(wish[a], wish[b]) })
		next := math.MinInt
		for _, i := range row {
			g.Nodes[i].X = max(next, int(math.Round(wish[i])))
			next = g.Nodes[i].X + 1
		}
	}
}

// Find is the box of a node, nil if it has none.
func (g *Graph) Find(n *ir.Node) *Node {
	for _, x := range g.Nodes {
		if x.node == n {
			return x
		}
	}
	return nil
}

// Pair links the boxes of two graphs: of gives the node of b that stands for one of a.
func Pair(a, b *Graph, of func(*ir.Node) *ir.Node) {
	index := map[*ir.Node]int{}
	for i, x := range b.Nodes {
		if x.node != nil {
			index[x.node] = i
		}
	}
	taken := map[int]bool{}
	for i, x := range a.Nodes {
		if x.node == nil {
			continue
		}
		k, ok := index[of(x.node)]
		if !ok {
			x.State = "removed"
			continue
		}
		taken[k] = true
		mine, other := i, k
		x.Twin, b.Nodes[k].Twin = &other, &mine
	}
	for i, x := range b.Nodes {
		if x.node != nil && !taken[i] {
			x.State = "added"
		}
	}
}

// spell is an attribute in short.
func spell(a *ir.Attr) string {
	var v any
	switch a.Kind {
	case ir.AttrFloat:
		v = a.Float()
	case ir.AttrInt:
		v = a.Int()
	case ir.AttrString:
		v = fmt.Sprintf("%q", a.Str())
	case ir.AttrFloats:
		v = a.Floats()
	case ir.AttrInts:
		v = a.Ints()
	case ir.AttrStrings:
		v = fmt.Sprintf("%q", a.Strs())
	case ir.AttrTensor:
		v = a.Tensor().Type()
	default:
		v = a.Kind
	}
	s := fmt.Sprintf("%s = %v", a.Name, v)
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}
