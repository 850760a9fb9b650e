package measured

import (
	"context"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// walker runs the main graph of a model piece by piece over samples, and keeps of each sample only the values that later pieces read:
// a whole walk costs one run of the model, whatever the number of pieces. Constants of nodes that were not run yet may change
// between pieces.
type walker struct {
	m        *ir.Model
	engine   engine.Engine
	relevant map[*ir.Node]bool // nodes that some later value needs
	done     map[*ir.Node]bool
	frontier []*ir.Value
	values   []map[*ir.Value]ir.Datum // of each sample
	kept     bool                     // all values are there and stay
}

// newWalker begins at the inputs; needed are all values that any piece will ask for.
func newWalker(m *ir.Model, e engine.Engine, needed []*ir.Value, samples []map[string]ir.Datum) *walker {
	w := &walker{m: m, engine: e, done: map[*ir.Node]bool{}, relevant: map[*ir.Node]bool{}}
	w.ancestors(needed, func(n *ir.Node) bool { return true }, w.relevant)
	for _, s := range m.Main.Inputs() {
		if slices.ContainsFunc(samples, func(in map[string]ir.Datum) bool { return in[s.Name()] != nil }) {
			w.frontier = append(w.frontier, s.Value())
		}
	}
	for _, in := range samples {
		v := map[*ir.Value]ir.Datum{}
		for _, f := range w.frontier {
			v[f] = in[f.Name()]
		}
		w.values = append(w.values, v)
	}
	return w
}

// ancestors adds to set the nodes of the main graph that compute the values, as far as visit says yes to them.
func (w *walker) ancestors(values []*ir.Value, visit func(*ir.Node) bool, set map[*ir.Node]bool) {
	todo := slices.Clone(values)
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if v == nil || v.Const() != nil {
			continue
		}
		n, _ := v.Def()
		if n == nil || set[n] || n.Graph() != w.m.Main || !visit(n) {
			continue
		}
		set[n] = true
		todo = append(todo, n.Operands()...)
		for _, g := range n.Subgraphs() {
			todo = append(todo, g.Captures()...)
		}
	}
}

// needs lists the nodes that were not run yet and that the values wait for.
func (w *walker) needs(values ...*ir.Value) map[*ir.Node]bool {
	set := map[*ir.Node]bool{}
	w.ancestors(values, func(n *ir.Node) bool { return !w.done[n] }, set)
	return set
}

// piece is a part of the model ready to run.
type piece struct {
	w       *walker
	session engine.Session // nil where nothing has to run
	in, out []*ir.Value
	names   []string // of the inputs, "" for those that the piece does not read
	drop    []*ir.Value
	want    []*ir.Value
}

// piece makes the part that computes the wanted values from the frontier.
func (w *walker) piece(ctx context.Context, want []*ir.Value) (*piece, error) {
	p := &piece{w: w, want: want}
	if w.kept {
		return p, nil
	}
	set := w.needs(want...)
	made := map[*ir.Value]bool{}
	for n := range set {
		w.done[n] = true
		for _, v := range n.Results() {
			if v != nil {
				made[v] = true
			}
		}
	}
	var keep []*ir.Value
	waits := func(v *ir.Value) bool {
		for u := range v.Uses() {
			n := w.top(u.Node)
			if n != nil && w.relevant[n] && !w.done[n] {
				return true
			}
		}
		return false
	}
	for _, f := range w.frontier {
		if waits(f) || slices.Contains(want, f) {
			keep = append(keep, f)
		} else {
			p.drop = append(p.drop, f)
		}
	}
	for n := range w.m.Main.Nodes() { // in order, for the names of outputs
		if !set[n] {
			continue
		}
		for _, v := range n.Results() {
			if v != nil && (waits(v) || slices.Contains(want, v)) {
				p.out = append(p.out, v)
			}
		}
	}
	p.in = w.frontier
	w.frontier = append(keep, p.out...)
	if len(set) == 0 {
		return p, nil
	}
	m := p.copy(set)
	if m == nil {
		m = p.cut()
	}
	var err error
	p.session, err = w.engine.Load(ctx, m, engine.Options{Threads: 1})
	return p, err
}

// top is the node of the main graph that n is or is nested in; nil for the pseudo-node of the outputs.
func (w *walker) top(n *ir.Node) *ir.Node {
	for n != nil && n.Graph() != w.m.Main {
		n = n.Graph().Owner()
	}
	if n == nil || n.IsReturn() {
		return nil
	}
	return n
}

// copy makes a model of the nodes of the piece; nil if one of them has a subgraph or calls a function.
func (p *piece) copy(set map[*ir.Node]bool) *ir.Model {
	from := p.w.m
	m := ir.NewModel(from.IRVersion, from.Opset(""))
	for _, o := range from.Opsets() {
		m.SetOpset(o.Domain, o.Version)
	}
	p.names = make([]string, len(p.in))
	at := map[*ir.Value]int{}
	for i, v := range p.in {
		at[v] = i
	}
	to := map[*ir.Value]*ir.Value{}
	copied := func(v *ir.Value) *ir.Value {
		if v == nil || to[v] != nil {
			return to[v]
		}
		i, given := at[v]
		switch {
		case given:
			p.names[i] = inputName(i)
			to[v] = m.Main.AddInput(p.names[i], p.typeOf(v))
		case v.Const() != nil:
			to[v] = m.Main.Const(v.Const())
		case v.Default() != nil:
			to[v] = m.Main.Const(v.Default())
		}
		return to[v]
	}
	for n := range from.Main.Nodes() {
		if !set[n] {
			continue
		}
		if len(n.Subgraphs()) > 0 || from.Function(n.Op()) != nil {
			return nil
		}
		in := make([]*ir.Value, n.NumOperands())
		for i, v := range n.Operands() {
			if in[i] = copied(v); v != nil && in[i] == nil {
				return nil // a value that nothing gives: the engine says so
			}
		}
		c := m.Main.NewN(nil, n.Op(), in, n.NumResults(), n.Attrs()...)
		for j, v := range n.Results() {
			if v == nil {
				c.OmitResult(j)
			} else {
				to[v] = c.Result(j)
			}
		}
	}
	for i, v := range p.out {
		m.Main.AddOutput(outputName(i), to[v], nil)
	}
	return m
}

// cut makes a model of the piece, whatever it holds, out of a copy of the whole.
func (p *piece) cut() *ir.Model {
	m, same := p.w.m.CloneMap()
	g := m.Main
	outs := make([]*ir.Value, len(p.out))
	for i, v := range p.out {
		outs[i] = same[v]
	}
	for i := len(g.Outputs()) - 1; i >= 0; i-- {
		g.RemoveOutput(i)
	}
	for i, v := range p.in {
		in := g.AddInput(inputName(i), p.typeOf(v))
		same[v].ReplaceUses(in)
	}
	for i, v := range outs {
		g.AddOutput(outputName(i), v, nil)
	}
	for n := range g.Backward() {
		if !n.Used() {
			g.Erase(n)
		}
	}
	for i := len(g.Inputs()) - 1; i >= 0; i-- {
		if v := g.Inputs()[i].Value(); v.NumUses() == 0 {
			g.RemoveInput(i)
		}
	}
	for _, v := range g.Consts() {
		if v.NumUses() == 0 {
			g.EraseConst(v)
		}
	}
	p.names = make([]string, len(p.in))
	for _, in := range g.Inputs() {
		for i := range p.in {
			if in.Name() == inputName(i) {
				p.names[i] = in.Name()
			}
		}
	}
	return m
}

func inputName(i int) string { return fmt.Sprintf("walk in %d", i) }

func outputName(i int) string { return fmt.Sprintf("walk out %d", i) }

// typeOf is the type of a value of the frontier over all samples.
func (p *piece) typeOf(v *ir.Value) *ir.Type {
	var t *ir.Type
	for _, s := range p.w.values {
		d := s[v]
		if d == nil {
			return v.Type()
		}
		u := d.Type()
		switch {
		case t == nil:
			t = u
		case !t.Equal(u):
			return t.WithoutShapes()
		}
	}
	return t
}

// run computes the wanted values of a sample and moves its frontier. It may be called for several samples at once.
func (p *piece) run(ctx context.Context, sample int) ([]ir.Datum, error) {
	have := p.w.values[sample]
	if p.session != nil {
		in := map[string]ir.Datum{}
		for i, v := range p.in {
			if p.names[i] != "" && have[v] != nil {
				in[p.names[i]] = have[v]
			}
		}
		got, err := p.session.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		for i, v := range p.out {
			have[v] = got[outputName(i)]
		}
	}
	r := make([]ir.Datum, len(p.want))
	for i, v := range p.want {
		r[i] = have[v]
		if c := v.Const(); c != nil {
			r[i] = c
		}
	}
	for _, v := range p.drop {
		delete(have, v)
	}
	return r, nil
}

func (p *piece) close() {
	if p.session != nil {
		p.session.Close()
	}
}

// bytes is what a sample's frontier takes.
func (w *walker) bytes(sample int) int64 {
	n := int64(0)
	for _, d := range w.values[sample] {
		if t, ok := d.(*ir.Tensor); ok {
			n += max(t.ByteLen(), 0)
		}
	}
	return n
}
