package fuzz

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// bindings is how many sizes each free dimension has in the samples of a value.
const bindings = 2

// value is a value of the model and what it is where the free dimensions have one size, and the other.
type value struct {
	v *ir.Value
	s [bindings]ir.Datum
}

// tensor is the first sample, nil if the value is no tensor.
func (x *value) tensor() *ir.Tensor {
	t, _ := x.s[0].(*ir.Tensor)
	return t
}

func (x *value) dtype() ir.DType {
	if t := x.tensor(); t != nil {
		return t.DType()
	}
	return ir.Undefined
}

// shape is that of the first sample.
func (x *value) shape() []int64 {
	if t := x.tensor(); t != nil {
		return t.Shape()
	}
	return nil
}

func (x *value) rank() int { return len(x.shape()) }

// scope is a graph under construction and the values its nodes may use, captured ones included.
type scope struct {
	g      *ir.Graph
	vals   []*value
	closed bool // the body of a function: nothing can be captured
}

// generator makes one model.
type generator struct {
	random
	ctx    context.Context
	m      *ir.Model
	wild   bool
	sizes  map[string][bindings]int64
	motifs []Motif
	tables *tables
	scope  *scope
	depth  int // of scopes
	names  int
}

// limits of one evaluation.
const (
	maxElements = 1 << 11 // of a value
	evalMemory  = 1 << 20
	runTime     = time.Second / 2 // a Loop may want to run for ever
)

func (g *generator) graph() *ir.Graph { return g.scope.g }

func (g *generator) name(prefix string) string {
	g.names++
	return fmt.Sprint(prefix, g.names)
}

// any is a value of the scope that keep admits, a late one most of the time, so that chains come about; nil if there is none.
func (g *generator) any(keep func(*value) bool) *value {
	vals := g.scope.vals
	if n := len(vals); n > 0 && !g.odds(3) {
		for i := n - 1; i >= max(0, n-3); i-- {
			if keep(vals[i]) && !g.odds(3) {
				return vals[i]
			}
		}
	}
	at := 0
	if len(vals) > 0 {
		at = g.IntN(len(vals))
	}
	for i := range vals {
		if x := vals[(at+i)%len(vals)]; keep(x) {
			return x
		}
	}
	return nil
}

func isTensor(x *value) bool { return x.tensor() != nil }

// of admits tensors of an element type and at least a rank.
func of(d ir.DType, rank int) func(*value) bool {
	return func(x *value) bool { return x.dtype() == d && x.rank() >= rank }
}

// floats admits tensors of floats of at least a rank.
func floats(rank int) func(*value) bool {
	return func(x *value) bool { return x.dtype().IsFloat() && x.dtype().Bits() >= 16 && x.rank() >= rank }
}

func (g *generator) add(v *ir.Value, s [bindings]ir.Datum) *value {
	x := &value{v, s}
	g.scope.vals = append(g.scope.vals, x)
	return x
}

// constant makes t a constant in one of the forms that ONNX has.
func (g *generator) constant(t *ir.Tensor) *value {
	var v *ir.Value
	switch k, _ := ir.Elements[int64](t); {
	case g.depth == 0 && g.m.IRVersion >= 4 && g.odds(24):
		v = g.graph().AddInput(g.name("d"), t.Type())
		v.SetDefault(t)
	case g.scope.g.Function() != nil || g.odds(4):
		a := ir.TensorAttr("value", t)
		if t.DType() == ir.Int64 && t.Rank() == 1 && g.m.Opset("") >= 12 {
			a = ir.IntsAttr("value_ints", k)
		}
		v = g.graph().New(nil, ir.Op("Constant"), nil, a).Result(0)
	default:
		v = g.graph().NamedConst(g.name("k"), t)
	}
	x := &value{v, [bindings]ir.Datum{t, t}}
	if g.odds(2) { // others may share it
		g.scope.vals = append(g.scope.vals, x)
	}
	return x
}

func (g *generator) ints(k ...int64) *value {
	return g.constant(ir.TensorOf(k, int64(len(k))))
}

// weights is a constant of a random tensor.
func (g *generator) weights(d ir.DType, shape ...int64) *value {
	return g.constant(g.tensor(d, shape, g.wild && g.odds(3)))
}

// neutral is a constant of equal elements that takes part in many rules.
func (g *generator) neutral(d ir.DType, shape ...int64) *value {
	if d == ir.String {
		return g.weights(d, shape...)
	}
	f, k := make([]float64, 1), make([]int64, 1)
	k[0] = pick(g.random, []int64{0, 1, -1, 2, 1, 0})
	f[0] = float64(k[0])
	if g.wild && g.odds(6) {
		f[0] = pick(g.random, special)
	}
	n := int(ir.NumElements(shape))
	v, w := make([]float64, n), make([]int64, n)
	for i := range v {
		v[i], w[i] = f[0], k[0]
	}
	return g.constant(encode(g.random, d, shape, v, w))
}

// input adds a graph input with samples.
func (g *generator) input(d ir.DType, rank int) *value {
	shape := make(ir.Shape, rank)
	var dims [bindings][]int64
	for b := range dims {
		dims[b] = make([]int64, rank)
	}
	for i := range shape {
		n := g.between(1, 4)
		if g.odds(40) {
			n = 0
		}
		shape[i] = ir.Static(n)
		size := [bindings]int64{n, n}
		if g.odds(4) {
			sym := pick(g.random, []string{"N", "N", "M"})
			shape[i], size = ir.Symbol(sym), g.sizes[sym]
		} else if g.odds(16) {
			shape[i] = ir.UnknownDim()
			size[1] = g.between(1, 3)
		}
		for b := range dims {
			dims[b][i] = size[b]
		}
	}
	t := ir.TensorType(d, shape)
	if g.odds(24) {
		t = ir.TensorType(d, nil)
	}
	var s [bindings]ir.Datum
	for b := range s {
		s[b] = g.tensor(d, dims[b], false)
	}
	return g.add(g.m.Main.AddInput(g.name("x"), t), s)
}

// node adds a node if its kernel runs on the samples of its operands, and returns its results; else nil and nothing is added.
func (g *generator) node(op ir.OpID, in []*value, results int, attrs ...*ir.Attr) []*value {
	operands := make([]*ir.Value, len(in))
	for i, x := range in {
		if x != nil {
			operands[i] = x.v
		}
	}
	n := g.graph().NewN(nil, op, operands, results, attrs...)
	out := g.evaluate(n, in)
	if out == nil {
		g.graph().Erase(n)
		return nil
	}
	r := make([]*value, results)
	for i, v := range n.Results() {
		r[i] = g.add(v, [bindings]ir.Datum{out[0][i], out[1][i]})
	}
	return r
}

// evaluate is what n makes of the samples, by binding and result; nil if it does not run or makes something unwieldy.
func (g *generator) evaluate(n *ir.Node, in []*value) [][]ir.Datum {
	out := make([][]ir.Datum, bindings)
	for b := range out {
		data := make([]ir.Datum, len(in))
		for i, x := range in {
			if x != nil {
				data[i] = x.s[b]
			}
		}
		restore, ok := g.fix(n, b)
		if !ok {
			return nil
		}
		limited, cancel := context.WithTimeout(g.ctx, runTime)
		res, err := native.Eval(limited, n, data, engine.Options{MaxMemory: evalMemory})
		cancel()
		restore()
		if err != nil {
			return nil
		}
		for _, d := range res {
			if !small(d) || idleLoop(n, d) {
				return nil
			}
		}
		out[b] = res
	}
	return out
}

// fix makes what the subgraphs of n capture constant, as the samples of a binding have it, until restore is called.
func (g *generator) fix(n *ir.Node, b int) (restore func(), ok bool) {
	type move struct {
		use      ir.Use
		from, to *ir.Value
	}
	var moves []move
	inside := func(h *ir.Graph) bool {
		return slices.ContainsFunc(n.Subgraphs(), func(s *ir.Graph) bool { return s.Encloses(h) })
	}
	for _, s := range n.Subgraphs() {
		for _, v := range s.Captures() {
			if v.Const() != nil {
				continue
			}
			at := slices.IndexFunc(g.scope.vals, func(x *value) bool { return x.v == v })
			if at < 0 {
				return nil, false
			}
			t, _ := g.scope.vals[at].s[b].(*ir.Tensor)
			if t == nil {
				return nil, false
			}
			c := v.Graph().Const(t)
			for u := range v.Uses() {
				if inside(u.Node.Graph()) {
					moves = append(moves, move{u, v, c})
				}
			}
		}
	}
	for _, m := range moves {
		m.use.Node.SetOperand(m.use.Index, m.to)
	}
	return func() {
		for _, m := range moves {
			m.use.Node.SetOperand(m.use.Index, m.from)
		}
		for _, m := range moves {
			if !m.to.Dead() {
				m.to.Graph().EraseConst(m.to)
			}
		}
	}, true
}

// small reports a value worth going on with.
func small(d ir.Datum) bool {
	switch d := d.(type) {
	case *ir.Tensor:
		return d != nil && d.Len() <= maxElements && d.Rank() <= 6
	case *ir.Sequence:
		return d != nil && len(d.Items) <= 16
	case *ir.Optional:
		return d != nil
	case *ir.Map:
		return d != nil
	}
	return false
}

// tables are what is looked up of the standard, once for all models.
type tables struct {
	byOpset map[int64][]*schema.Schema
}

// operators are the schemas in force that have a kernel and no subgraphs.
func (t *tables) operators(opset int64) []*schema.Schema {
	if l := t.byOpset[opset]; l != nil {
		return l
	}
	var r []*schema.Schema
	all := schema.All()
	for i := range all {
		s := &all[i]
		version := opset
		if s.Op().Domain != "" {
			version = schema.Newest(s.Op().Domain)
		}
		if s != ops.Lookup(s.Op(), version) || s.Deprecated() || s.Has(schema.Control) || kernel.Random(s.Op()) || kernel.Lookup(s.Op(), version) == nil {
			continue
		}
		r = append(r, s)
	}
	t.byOpset[opset] = r
	return r
}

// opsets are the operator sets of models without a motif.
var opsets = []int64{7, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 17, 17, 18, 18, 19, 20, 21, 21, 22, 23}

// generate makes the model of a case; nil if nothing came of it.
func (g *generator) generate() *built {
	g.sizes = map[string][bindings]int64{"N": {2, 5}, "M": {3, 1}}
	if g.odds(16) {
		g.sizes["N"] = [bindings]int64{2, 0}
	}
	if len(g.motifs) == 0 || g.odds(3) || !g.begin(pick(g.random, g.motifs)) {
		ir8 := pick(g.random, []int64{3, 7, 8, 9, 10, 10})
		g.m = ir.NewModel(ir8, pick(g.random, opsets))
		g.scope = &scope{g: g.m.Main}
	}
	for range 1 + g.IntN(2) {
		if len(g.scope.vals) < 2 || g.odds(2) {
			g.input(pick(g.random, dtypes), g.IntN(5))
		}
	}
	if g.odds(4) {
		g.input(ir.Bool, 0)
	}
	g.nodes(g.IntN(14))
	return g.finish()
}

// nodes adds up to n steps.
func (g *generator) nodes(n int) {
	for range n {
		for range 6 { // attempts
			if g.step() {
				break
			}
		}
	}
}

// built is a model and sets of inputs on which every node runs.
type built struct {
	model *ir.Model
	sets  [bindings]map[string]ir.Datum
	vals  []*value // of the main graph, for what inference says of them
	sizes map[string][bindings]int64
}

// finish makes outputs.
func (g *generator) finish() *built {
	m := g.m
	if len(g.scope.vals) == 0 {
		return nil
	}
	want := 1 + g.IntN(3)
	if len(m.Main.Outputs()) > 0 {
		want = g.IntN(3)
	}
	var inferred *infer.Result
	for range want {
		x := g.any(func(x *value) bool { return g.odds(16) || x.v.Node() != nil && x.v.Const() == nil })
		if x == nil {
			x = pick(g.random, g.scope.vals)
		}
		t := x.s[0].Type().WithoutShapes()
		if g.odds(3) {
			if inferred == nil {
				inferred = infer.Model(m)
			}
			if known := inferred.Type(x.v); known.IsTensor() {
				t = known
			}
		}
		m.Main.AddOutput(g.name("y"), x.v, t)
	}
	b := &built{model: m, vals: g.scope.vals, sizes: g.sizes}
	for i := range b.sets {
		b.sets[i] = map[string]ir.Datum{}
		for _, s := range m.Main.Inputs() {
			if s.Value().Default() != nil {
				continue
			}
			at := slices.IndexFunc(g.scope.vals, func(x *value) bool { return x.v == s.Value() })
			if at < 0 {
				return nil
			}
			b.sets[i][s.Name()] = g.scope.vals[at].s[i]
		}
	}
	return b
}
