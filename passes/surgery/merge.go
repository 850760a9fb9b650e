package surgery

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/cut"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/meaning"
)

// Connection feeds an input of the second model from an output or input of the first.
type Connection struct{ From, To string }

// MergeOptions of Merge. The zero value is usable.
type MergeOptions struct {
	// Connect says what feeds what. Empty: each input of the second model that is called like an output of the first.
	Connect []Connection
	// Prefix goes before names of the second model that the first has, too; "second/" if empty.
	Prefix string
	// KeepOutputs leaves outputs of the first model that feed the second among the outputs.
	KeepOutputs bool
}

// Merged says what Merge made of the second model's interface.
type Merged struct {
	Inputs  map[string]string // by name in b: the value of a that feeds it, or the new input
	Outputs map[string]string // by name in b: the output
	Remarks []string          // what could not be taken over, a sentence each
}

// Merge puts b behind a, in a. b does not change; its payloads are shared. Types of what is connected have to agree. Operator sets
// may differ where every operator of the older one means the same in the newer one. Symbols of b are those of a where connections say so, and
// get other names where they are called alike by chance. Functions of one name and different bodies are renamed, too. After an error a
// must not be used.
func Merge(a, b *ir.Model, o MergeOptions) (*Merged, error) {
	if o.Prefix == "" {
		o.Prefix = "second/"
	}
	m := &merger{
		a: a, b: b, o: o, feeds: map[string]*ir.Value{}, from: map[string]bool{}, symbols: map[string]ir.Dim{}, functions: map[ir.OpID]ir.OpID{},
		done: &Merged{Inputs: map[string]string{}, Outputs: map[string]string{}},
	}
	if err := m.connect(); err != nil {
		return nil, err
	}
	if err := m.operators(); err != nil {
		return nil, err
	}
	if err := m.hidden(); err != nil {
		return nil, err
	}
	m.rename()
	m.takeFunctions()
	m.graph()
	m.metadata()
	return m.done, nil
}

type merger struct {
	a, b      *ir.Model
	o         MergeOptions
	feeds     map[string]*ir.Value // inputs of b
	from      map[string]bool      // outputs and inputs of a that feed
	symbols   map[string]ir.Dim    // what becomes of b's
	functions map[ir.OpID]ir.OpID  // what becomes of the names of b's
	taken     map[string]bool      // names in a
	done      *Merged
}

func slotNames(s []*ir.Slot) []string {
	var r []string
	for _, x := range s {
		r = append(r, x.Name())
	}
	return r
}

// connect finds what feeds the inputs of b.
func (m *merger) connect() error {
	list := m.o.Connect
	if len(list) == 0 {
		for _, s := range m.b.Main.Inputs() {
			if slices.Contains(slotNames(m.a.Main.Outputs()), s.Name()) {
				list = append(list, Connection{s.Name(), s.Name()})
			}
		}
		if len(list) == 0 {
			return fmt.Errorf("no output of the first model is called like an input of the second: %s and %s",
				strings.Join(slotNames(m.a.Main.Outputs()), ", "), strings.Join(slotNames(m.b.Main.Inputs()), ", "))
		}
	}
	types := infer.Model(m.a)
	for _, c := range list {
		from := slices.Concat(m.a.Main.Outputs(), m.a.Main.Inputs())
		i := slices.IndexFunc(from, func(s *ir.Slot) bool { return s.Name() == c.From })
		if i < 0 {
			return fmt.Errorf("the first model has no output %q%s", c.From, spell.Hint(c.From, slotNames(from)))
		}
		j := slices.IndexFunc(m.b.Main.Inputs(), func(s *ir.Slot) bool { return s.Name() == c.To })
		if j < 0 {
			return fmt.Errorf("the second model has no input %q%s", c.To, spell.Hint(c.To, slotNames(m.b.Main.Inputs())))
		}
		if m.feeds[c.To] != nil {
			return fmt.Errorf("input %q of the second model is connected twice", c.To)
		}
		v, to := from[i].Value(), m.b.Main.Inputs()[j]
		t := types.Type(v)
		if t == nil {
			t = from[i].Type()
		}
		if _, ok := t.Merge(to.Type()); !ok {
			return fmt.Errorf("output %q is %s and input %q takes %s", c.From, t, c.To, to.Type())
		}
		m.feeds[c.To] = v
		m.from[c.From] = true
		m.done.Inputs[c.To] = c.From
		m.unify(to.Type().TensorShape(), t.TensorShape())
	}
	return nil
}

// unify takes a's dimensions for the symbols of b that stand at the same places.
func (m *merger) unify(b, a ir.Shape) {
	for i, d := range b {
		if _, known := m.symbols[d.Param]; d.Param != "" && d.Param != "?" && !known && i < len(a) && (a[i].Param != "" || a[i].IsStatic()) {
			m.symbols[d.Param] = a[i]
		}
	}
}

// operators makes a import what b does.
func (m *merger) operators() error {
	m.a.IRVersion = max(m.a.IRVersion, m.b.IRVersion)
	for _, o := range m.b.Opsets() {
		have := m.a.Opset(o.Domain)
		var err error
		switch {
		case have == o.Version:
		case have == 0:
			m.a.SetOpset(o.Domain, o.Version)
		case have < o.Version:
			if err = same(m.a, "first", o.Domain, have, o.Version); err == nil {
				m.a.SetOpset(o.Domain, o.Version)
			}
		default:
			err = same(m.b, "second", o.Domain, o.Version, have)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// same says which operator of m would mean something else in another version of its domain. Bodies of functions have imports of their own.
func same(m *ir.Model, which, domain string, have, want int64) error {
	domain = ir.Domain(domain)
	for n := range m.Nodes() {
		if n.Op().Domain != domain || n.Graph().Function() != nil || m.Function(n.Op()) != nil {
			continue
		}
		if !meaning.Kept(n.Op(), have, want) {
			return fmt.Errorf("%s of the %s model may mean something else in operator set %d of the other one than in its own, %d; convert it first, with opset{to=%d}", n.Op(), which, want, have, want)
		}
	}
	return nil
}

// hidden reports a function of a whose name is that of an operator in b.
func (m *merger) hidden() error {
	for n := range m.b.Nodes() {
		if m.b.Function(n.Op()) == nil && m.a.Function(n.Op()) != nil {
			return fmt.Errorf("the first model has a function %s, which is an operator in the second: inline it first", n.Op())
		}
	}
	return nil
}

// operator reports whether a has a node of op that calls no function.
func (m *merger) operator(op ir.OpID) bool {
	if m.a.Function(op) == nil {
		for n := range m.a.Nodes() {
			if n.Op() == op {
				return true
			}
		}
	}
	return false
}

// rename finds names for b's symbols and functions, and what names a has.
func (m *merger) rename() {
	m.taken = map[string]bool{}
	symbols := map[string]bool{}
	for _, g := range m.a.Graphs() {
		for _, s := range slices.Concat(g.Inputs(), g.Outputs()) {
			m.taken[s.Name()] = true
			params(s.Type(), symbols)
		}
		for _, v := range g.Consts() {
			m.taken[v.Name()] = true
		}
		for n := range g.Nodes() {
			m.taken[n.Name()] = true
			for _, v := range n.Results() {
				if v != nil {
					m.taken[v.Name()] = true
					params(v.Type(), symbols)
				}
			}
		}
	}
	delete(m.taken, "")
	own := map[string]bool{}
	for _, g := range m.b.Graphs() {
		for _, s := range slices.Concat(g.Inputs(), g.Outputs()) {
			params(s.Type(), own)
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					params(v.Type(), own)
				}
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(own)) {
		if _, known := m.symbols[p]; known || !symbols[p] || p == "?" {
			continue
		}
		name := p
		for i := 2; symbols[name] || own[name]; i++ {
			name = fmt.Sprintf("%s_%d", p, i)
		}
		symbols[name] = true
		m.symbols[p] = ir.Symbol(name)
	}
}

// params collects the names of dimensions in t.
func params(t *ir.Type, to map[string]bool) {
	for ; t != nil; t = t.Of {
		for _, d := range t.Shape {
			if d.Param != "" {
				to[d.Param] = true
			}
		}
	}
}

// typ is a type of b as the merged model has it.
func (m *merger) typ(t *ir.Type) *ir.Type {
	if t == nil || len(m.symbols) == 0 {
		return t
	}
	u := *t
	u.Of = m.typ(t.Of)
	u.Shape = slices.Clone(t.Shape)
	for i, d := range u.Shape {
		if d.Param == "" {
			continue
		}
		if e, ok := m.symbols[d.Param]; ok {
			e.Denotation = d.Denotation
			u.Shape[i] = e
		} else if m.mentions(d.Param) {
			u.Shape[i] = ir.Dim{Size: -1, Denotation: d.Denotation}
		}
	}
	return &u
}

// mentions reports whether a dimension that is written as an expression holds a symbol that is renamed.
func (m *merger) mentions(expression string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(expression, func(c rune) bool { return strings.ContainsRune("+-*/%(), ", c) }), func(w string) bool {
		_, ok := m.symbols[w]
		return ok
	})
}

// free is name, or what it becomes where a has it already.
func (m *merger) free(name string) string {
	if name == "" {
		return ""
	}
	for m.taken[name] {
		name = m.o.Prefix + name
	}
	return name
}

// takeFunctions copies b's functions. Those that a has in the same words are one.
func (m *merger) takeFunctions() {
	var copied []*ir.Function
	for _, f := range m.b.Functions {
		id := f.ID()
		g := m.a.Function(id)
		if g != nil && spelled(f) == spelled(g) {
			continue
		}
		if g != nil || m.operator(id) {
			for i := 2; m.a.Function(id) != nil || m.b.Function(id) != nil; i++ {
				id.Type = fmt.Sprintf("%s_%d", f.Name, i)
			}
			m.functions[f.ID()] = id
		}
		g = m.a.NewFunction(id, slices.Clone(f.Opsets())...)
		g.Attrs, g.Defaults, g.Meta = f.Attrs, f.Defaults, f.Meta
		var in []*ir.Value
		for _, s := range f.Graph.Inputs() {
			v := g.Graph.AddInput(s.Name(), s.Type())
			v.Meta = s.Value().Meta
			in = append(in, v)
		}
		for i, v := range f.Graph.CopyInto(g.Graph, nil, in) {
			g.Graph.AddOutput(f.Graph.Outputs()[i].Name(), v, f.Graph.Outputs()[i].Type())
		}
		copied = append(copied, g)
	}
	for _, g := range copied {
		m.calls(g.Graph)
	}
}

// spelled is a function in words.
func spelled(f *ir.Function) string {
	var b bytes.Buffer
	for _, a := range f.Defaults {
		fmt.Fprintf(&b, "%s %v %v %v %v %v %v %v;", a.Name, a.Kind, a.Int(), a.Float(), a.Str(), a.Ints(), a.Floats(), a.Strs())
		if t := a.Tensor(); t != nil || len(a.Graphs()) > 0 {
			fmt.Fprintf(&b, "%p;", a) // not compared: never the same
		}
	}
	fmt.Fprintln(&b, f.Attrs, f.Opsets())
	b.WriteString(text.PrintGraph(f.Graph))
	return b.String()
}

// calls renames calls of functions in g and its subgraphs.
func (m *merger) calls(g *ir.Graph) {
	for n := range g.Nodes() {
		m.node(n)
	}
}

func (m *merger) node(n *ir.Node) {
	if id, ok := m.functions[n.Op()]; ok {
		n.SetOp(id)
	}
	for _, s := range n.Subgraphs() {
		m.calls(s)
	}
}

// graph copies b's main graph behind a's.
func (m *merger) graph() {
	g := m.a.Main
	var in []*ir.Value
	for _, s := range m.b.Main.Inputs() {
		if v := m.feeds[s.Name()]; v != nil {
			in = append(in, v)
			continue
		}
		name := m.free(s.Name())
		m.taken[name] = true
		m.done.Inputs[s.Name()] = name
		v := g.AddInput(name, m.typ(s.Type()))
		v.Meta = s.Value().Meta
		v.SetDefault(s.Value().Default())
		g.Inputs()[len(g.Inputs())-1].Meta = s.Meta
		in = append(in, v)
	}
	before := map[*ir.Value]bool{}
	for _, v := range g.Consts() {
		before[v] = true
	}
	var made []*ir.Node
	stop := m.a.Listen(&ir.Listener{Made: func(n *ir.Node) { made = append(made, n) }})
	outs := m.b.Main.CopyInto(g, nil, in)
	stop()
	for _, v := range g.Consts() {
		if !before[v] {
			v.SetName(m.free(v.Name()))
		}
	}
	for _, n := range made {
		m.label(n)
		m.node(n)
	}
	if !m.o.KeepOutputs {
		for i := len(g.Outputs()) - 1; i >= 0; i-- {
			if s := g.Outputs()[i]; m.from[s.Name()] {
				delete(m.taken, s.Name())
				g.RemoveOutput(i)
			}
		}
	}
	own := map[string]bool{} // b's outputs may have any name that no input or output has
	for _, s := range slices.Concat(g.Inputs(), g.Outputs()) {
		own[s.Name()] = true
	}
	for i, s := range m.b.Main.Outputs() {
		name := s.Name()
		for own[name] {
			name = m.o.Prefix + name
		}
		own[name] = true
		m.done.Outputs[s.Name()] = name
		g.AddOutput(name, outs[i], m.typ(s.Type())).Meta = s.Meta
	}
}

// label gives a copied node, its results and what is inside of it names and types of the merged model.
func (m *merger) label(n *ir.Node) {
	n.SetName(m.free(n.Name()))
	for _, v := range n.Results() {
		if v != nil {
			v.SetName(m.free(v.Name()))
			v.SetType(m.typ(v.Type()))
		}
	}
	for _, s := range n.Subgraphs() {
		for _, in := range s.Inputs() {
			in.SetName(m.free(in.Name()))
			in.SetType(m.typ(in.Type()))
		}
		for _, v := range s.Consts() {
			v.SetName(m.free(v.Name()))
		}
		for _, o := range s.Outputs() {
			o.SetType(m.typ(o.Type()))
		}
		for k := range s.Nodes() {
			m.label(k)
		}
	}
}

// metadata takes over what a does not say itself, and says what is lost.
func (m *merger) metadata() {
	if m.b.Meta != nil {
		for _, p := range m.b.Meta.Props {
			have, ok := m.a.Meta.Get(p.Key)
			switch {
			case !ok:
				m.a.Meta = m.a.Meta.With(p.Key, p.Value)
			case have != p.Value:
				m.done.Remarks = append(m.done.Remarks, fmt.Sprintf("metadata %q of the second model is left out: the first has another value", p.Key))
			}
		}
	}
	if len(m.a.Training) > 0 || len(m.b.Training) > 0 {
		cut.DropTraining(m.a)
		m.done.Remarks = append(m.done.Remarks, "training information is left out")
	}
}

// ParseConnection reads "out=in". The first '=' counts.
func ParseConnection(s string) (Connection, error) {
	from, to, ok := strings.Cut(s, "=")
	if !ok || from == "" || to == "" {
		return Connection{}, fmt.Errorf("%q is no connection, which is out=in", s)
	}
	return Connection{from, to}, nil
}
