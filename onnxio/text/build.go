package text

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
)

// ReadOptions says how names of the outside world are resolved.
type ReadOptions struct {
	// External supplies the elements of a constant that the text places in another file. If it is nil, such a constant has
	// an *External as its payload, and reading its elements is an error.
	External func(dtype ir.DType, shape []int64, props []ir.Prop) (ir.Payload, error)
}

// Parse reads a model. Errors are *Error and name a place.
func Parse(src []byte) (*ir.Model, error) { return ParseWith(src, ReadOptions{}) }

// ParseWith is Parse with options.
func ParseWith(src []byte, o ReadOptions) (*ir.Model, error) {
	f, err := ParseFile(src)
	if err != nil {
		return nil, err
	}
	return f.Model(o)
}

// ParseGraph is Parse for a text whose header may be left out, as in fixtures: the model then has a recent IR version and the
// given operator sets.
func ParseGraph(src []byte, opsets ...ir.Opset) (*ir.Model, error) {
	f, err := ParseFile(src)
	if err != nil {
		return nil, err
	}
	if f.Header == nil {
		f.Header = &Header{IRVersion: fixtureIR, Opsets: opsets}
	}
	return f.Model(ReadOptions{})
}

// fixtureIR is the first IR version that has all of functions, overloads and metadata at every level.
const fixtureIR = 10

// builder turns a syntax tree into a model. Like the parser it keeps the first error and carries on harmlessly.
type builder struct {
	opts      ReadOptions
	m         *ir.Model
	functions map[ir.OpID]bool
	err       *Error
}

func (b *builder) fail(pos Pos, format string, args ...any) {
	if b.err == nil {
		b.err = errorAt(pos, format, args...)
	}
}

// Model builds the model that the tree describes.
func (f *File) Model(o ReadOptions) (*ir.Model, error) {
	b := &builder{opts: o, m: ir.NewModel(0, 1), functions: map[ir.OpID]bool{}}
	b.m.SetOpset("", 0)
	if h := f.Header; h != nil {
		b.header(h)
	}
	// Functions are known before the nodes: one may redefine a standard operator.
	bodies := make([]*ir.Function, len(f.Functions))
	for i, d := range f.Functions {
		bodies[i] = b.functionHead(d)
	}
	main := b.graph(b.m.Main, nil, "", f.Graph)
	for i, d := range f.Functions {
		b.function(bodies[i], d)
	}
	if c := b.m.CallCycle(); c != nil {
		b.fail(f.Functions[slices.Index(bodies, c[0])].Name.Pos, "function %s calls itself", clip(c[0].ID().String()))
	}
	for _, d := range f.Training {
		b.training(main, d)
	}
	if b.err != nil {
		return nil, b.err
	}
	return b.m, nil
}

func (b *builder) header(h *Header) {
	m := b.m
	m.IRVersion, m.ProducerName, m.ProducerVersion = h.IRVersion, h.ProducerName, h.ProducerVersion
	m.DomainName, m.Version = h.Domain, h.ModelVersion
	if h.Doc != "" || len(h.Props) > 0 {
		m.Meta = &ir.Meta{Doc: h.Doc, Props: h.Props}
	}
	for _, o := range h.Opsets {
		m.SetOpset(o.Domain, o.Version)
	}
	if len(h.Opsets) == 0 && 0 < h.IRVersion && h.IRVersion < 3 { // before there were imports
		m.SetOpset("", 1)
	}
}

// listsConstants reports whether every initializer is listed as an input, as IR versions below 4 require. It is a constant all
// the same; a graph that lists one has no such input in ir.
func listsConstants(m *ir.Model) bool { return m.IRVersion > 0 && m.IRVersion < 4 }

// scope holds the names of one graph.
type scope struct {
	g         *ir.Graph
	pos       Pos
	path      string // of ir.Source.Graph
	outer     *scope
	names     map[string]*ir.Value
	unsorted  bool // a node may use what a later one makes
	record    graphRecord
	annotated []*ir.Value // with a quantization_annotation
}

func (b *builder) define(s *scope, n Name, v *ir.Value) {
	if s.names[n.Text] != nil {
		b.fail(n.Pos, "%s is defined twice", quoteName(clip(n.Text)))
	}
	s.names[n.Text] = v
	for o := s.outer; o != nil; o = o.outer {
		if o.names[n.Text] != nil {
			if s.record.shadows == nil {
				s.record.shadows = map[string]bool{}
			}
			s.record.shadows[n.Text] = true
			break
		}
	}
}

// graph fills g from its declaration.
func (b *builder) graph(g *ir.Graph, outer *scope, path string, d *GraphDecl) *scope {
	g.SetName(d.Name.Text)
	g.Meta = d.Notes.meta()
	s := &scope{g: g, pos: d.Name.Pos, path: path, outer: outer, names: map[string]*ir.Value{}}
	b.interfaceAndConsts(s, d)
	b.nodes(s, d.Nodes)
	b.outputs(s, d.Outputs)
	b.info(s, d.Values)
	b.finish(s)
	return s
}

// interfaceAndConsts makes the inputs and the initializers.
func (b *builder) interfaceAndConsts(s *scope, d *GraphDecl) {
	listed := map[string]*ValueDecl{} // the initializers that an input of the same name makes constants
	if listsConstants(b.m) {
		for _, v := range d.Values {
			if v.Init != nil {
				listed[v.Name.Text] = v
			}
		}
	}
	for _, v := range d.Inputs {
		c := listed[v.Name.Text]
		switch {
		case c != nil && v.Init == nil:
			b.initializer(s, c)
			b.listed(s, v)
		case listsConstants(b.m) && v.Init != nil:
			b.initializer(s, v)
		default:
			b.input(s, v)
		}
	}
	for _, v := range d.Values {
		done := listed[v.Name.Text] == v && s.names[v.Name.Text] != nil
		if v.Init != nil && !done {
			b.initializer(s, v)
		}
	}
}

func (b *builder) input(s *scope, d *ValueDecl) {
	v := s.g.AddInput(d.Name.Text, d.Type)
	b.define(s, d.Name, v)
	s.g.Inputs()[len(s.g.Inputs())-1].Meta = d.Notes.meta()
	s.quant(v, d.Notes)
	if d.Init != nil {
		v.SetDefault(b.tensor(d.Init))
	}
}

// initializer makes a constant, or the default of an input of that name.
func (b *builder) initializer(s *scope, d *ValueDecl) {
	lit := *d.Init
	if lit.Notes == nil {
		lit.Notes = d.Notes
	}
	t := b.tensor(&lit)
	if v := s.names[d.Name.Text]; v != nil && v.IsInput() && v.Default() == nil {
		v.SetDefault(t)
		return
	}
	v := s.g.NamedConst(d.Name.Text, t)
	b.define(s, d.Name, v)
	s.quant(v, d.Notes)
}

// listed records what an input says that only lists a constant.
func (b *builder) listed(s *scope, d *ValueDecl) {
	v := s.names[d.Name.Text]
	v.Meta = d.Notes.meta()
	s.quant(v, d.Notes)
	if b.err == nil && d.Type != nil && !sameType(d.Type, v.Type()) {
		v.SetType(d.Type)
	}
}

func (s *scope) quant(v *ir.Value, n *Notes) {
	if n == nil || len(n.Quant) == 0 {
		return
	}
	r := recordOf(v)
	r.quant = append(r.quant, n.Quant...)
	s.annotated = append(s.annotated, v)
}

// recordOf is the record of v, made if there is none.
func recordOf(v *ir.Value) *valueRecord {
	r, ok := v.Extra.(*valueRecord)
	if !ok {
		r = &valueRecord{name: v.Name()}
		v.Extra = r
	}
	return r
}

func recordedQuant(v *ir.Value) []ir.Prop {
	if r, ok := v.Extra.(*valueRecord); ok {
		return r.quant
	}
	return nil
}

// bind finds the values that annotations in s refer to, so that these follow them.
func (s *scope) bind() {
	for _, v := range s.annotated {
		r := recordOf(v)
		for _, q := range r.quant {
			for o := s; o != nil; o = o.outer {
				if w := o.names[q.Value]; w != nil {
					recordOf(w)
					if r.bound == nil {
						r.bound = map[string]bool{}
					}
					r.bound[q.Value] = true
					break
				}
			}
		}
	}
}

func (b *builder) outputs(s *scope, ds []*ValueDecl) {
	for _, d := range ds {
		v := b.resolve(s, d.Name)
		if v == nil {
			return
		}
		if s.g.IsBody() { // A function's outputs are names; a type they carry is the value's.
			s.g.AddOutput(d.Name.Text, v, nil)
			b.describe(s, v, d)
			continue
		}
		slot := s.g.AddOutput(d.Name.Text, v, d.Type)
		slot.Meta = d.Notes.meta()
		if v.Graph() != s.g {
			slot.Extra = &slotRecord{outer: true}
		}
		s.quant(v, d.Notes)
	}
}

// info records value_info.
func (b *builder) info(s *scope, ds []*ValueDecl) {
	for _, d := range ds {
		if d.Init != nil {
			continue
		}
		if v := s.names[d.Name.Text]; v != nil {
			b.describe(s, v, d)
			continue
		}
		i := keep.Info{Name: d.Name.Text, Type: d.Type, Meta: d.Notes.meta()}
		if d.Notes != nil {
			i.Quant = d.Notes.Quant
		}
		s.record.unbound = append(s.record.unbound, i)
	}
}

func (b *builder) describe(s *scope, v *ir.Value, d *ValueDecl) {
	if d.Type != nil && (!v.IsInput() || v.Type() == nil) { // an input's own type wins
		v.SetType(d.Type)
	}
	if m := d.Notes.meta(); m != nil {
		v.Meta = m
	}
	s.quant(v, d.Notes)
}

// finish checks the graph of s and takes in the Identity nodes that only name outputs. What the text says of their results stays as
// said of names nobody has.
func (b *builder) finish(s *scope) {
	b.acyclic(s)
	if b.err != nil {
		return
	}
	s.bind()
	naming.Absorb(s.g, func(o *ir.Slot, n *ir.Node) {
		o.Extra = &slotRecord{absorbed: true, name: n.Name(), meta: n.Meta(), pos: n.Pos()}
		v := n.Result(0)
		i := keep.Info{Name: v.Name(), Type: v.Type(), Quant: recordedQuant(v)}
		if i.Type != nil || i.Quant != nil {
			s.record.unbound = append(s.record.unbound, i)
		}
	})
	if s.record.unbound != nil || s.record.shadows != nil {
		r := s.record
		s.g.Extra = &r
	}
}

func (b *builder) functionHead(d *FuncDecl) *ir.Function {
	h := d.Header
	op := ir.OpID{Domain: h.Domain, Type: d.Name.Text, Overload: h.Overload}
	f := b.m.NewFunction(op)
	if b.functions[f.ID()] {
		b.fail(d.Name.Pos, "function %s is defined twice", clip(op.String()))
	}
	b.functions[f.ID()] = true
	for _, o := range h.Opsets {
		f.SetOpset(o.Domain, o.Version)
	}
	props := d.Notes.meta()
	if h.Doc != "" || props != nil {
		f.Meta = &ir.Meta{Doc: h.Doc}
	}
	if props != nil {
		f.Meta.Props = props.Props
	}
	return f
}

func (b *builder) function(f *ir.Function, d *FuncDecl) {
	s := &scope{g: f.Graph, pos: d.Name.Pos, path: "f:" + f.ID().String(), names: map[string]*ir.Value{}}
	for _, n := range d.Attrs {
		f.Attrs = append(f.Attrs, n.Text)
	}
	for _, a := range d.Defaults {
		f.Defaults = append(f.Defaults, b.attr(s, nil, a))
	}
	for _, v := range d.Inputs {
		b.input(s, v)
	}
	b.nodes(s, d.Nodes)
	b.outputs(s, d.Outputs)
	b.info(s, d.Values)
	b.finish(s)
}

func (b *builder) training(main *scope, d *TrainingDecl) {
	t := &ir.TrainingInfo{}
	state := main // the initializers that the bindings name are the main graph's or the algorithm's
	part := func(num int, g *GraphDecl) *ir.Graph {
		if g == nil {
			return nil
		}
		r := b.m.Main.NewSubgraph(g.Name.Text)
		state = b.graph(r, main, fmt.Sprintf("t:%d/%d", len(b.m.Training), num), g)
		return r
	}
	t.Initialization = part(1, d.Initialization)
	state = main
	t.Algorithm = part(2, d.Algorithm)
	bind := func(props []ir.Prop) (r []ir.Binding) {
		for _, p := range props {
			x := ir.Binding{Target: state.names[p.Key], Output: p.Value}
			if x.Target == nil {
				x.Target = main.names[p.Key]
			}
			if x.Target == nil {
				x.TargetName = p.Key
			}
			r = append(r, x)
		}
		return r
	}
	t.InitBinding, t.UpdateBinding = bind(d.InitBinding), bind(d.UpdateBinding)
	b.m.Training = append(b.m.Training, t)
}
