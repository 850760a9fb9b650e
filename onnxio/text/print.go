package text

import (
	"bytes"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
)

// Options says how a model is printed. The zero Options prints everything.
type Options struct {
	// MaxElements bounds how many elements of a constant are printed; "..." stands for the others. What is elided this way
	// is for reading and does not parse back. 0 means no bound.
	MaxElements int
	// Inline prints the elements of constants that stand in other files instead of the files' names.
	Inline bool
}

// Print writes m. Without MaxElements, Parse gives the same model back. An error of w, of reading a constant, or of naming
// the model's interface is returned; what has been written then is of no use.
func Print(w io.Writer, m *ir.Model, o Options) error {
	names, err := naming.Assign(m)
	if err != nil {
		return err
	}
	p := &printer{w: w, opts: o, names: names, indent: 3}
	p.model(m)
	p.flush()
	return p.err
}

// PrintGraph is the text of one graph, for messages: constants are cut short. Names are those that Print would give.
func PrintGraph(g *ir.Graph) string {
	names, _ := naming.Assign(g.Model()) // usable even if there is an error
	var b bytes.Buffer
	p := &printer{w: &b, opts: Options{MaxElements: shortElements}, names: names, indent: 3}
	p.graph(g)
	p.flush()
	return strings.TrimSpace(b.String())
}

// PrintNode is the text of one node on one line, for messages: constants are cut short, subgraphs are not shown, and values
// without a name are called by the operator that makes them. The cost does not depend on the size of the model.
func PrintNode(n *ir.Node) string {
	var b bytes.Buffer
	p := &printer{w: &b, opts: Options{MaxElements: shortElements}, names: hints{}, brief: true}
	p.node(n)
	p.flush()
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\n", " ")
}

const shortElements = 8

// namer says what values and slots are called.
type namer interface {
	Value(*ir.Value) string
	Slot(*ir.Slot) string
	Nodes(*ir.Graph) iter.Seq2[*ir.Node, *naming.Identity]
	Owned(g *ir.Graph, name string) bool
	Annotation(*ir.Value) []ir.Prop
}

// hints is the namer of PrintNode.
type hints struct{ *naming.Names }

func (hints) Slot(s *ir.Slot) string { return s.Name() }
func (hints) Value(v *ir.Value) string {
	switch {
	case v == nil:
		return ""
	case v.Name() != "":
		return v.Name()
	case v.Node() != nil:
		return "%" + v.Node().Op().Type
	}
	return "%const"
}

// printer writes the syntax. The first error sticks.
type printer struct {
	w      io.Writer
	opts   Options
	names  namer
	buf    []byte
	err    error
	indent int  // of the nodes of the current graph
	brief  bool // no notes and no subgraphs, everything on one line
}

func (p *printer) flush() {
	if p.err == nil && len(p.buf) > 0 {
		_, p.err = p.w.Write(p.buf)
	}
	p.buf = p.buf[:0]
}

func (p *printer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *printer) put(ss ...string) {
	for _, s := range ss {
		p.buf = append(p.buf, s...)
	}
	if len(p.buf) >= 1<<16 {
		p.flush()
	}
}

// line begins a new line at the current indentation.
func (p *printer) line() { p.put("\n", strings.Repeat(" ", p.indent)) }

func (p *printer) int(v int64) { p.put(strconv.FormatInt(v, 10)) }

// quote is quote; on one line a line end is spelled, too.
func (p *printer) quote(s string) string {
	if p.brief && strings.ContainsAny(s, "\n\t") {
		return "b" + strconv.Quote(s)
	}
	return quote(s)
}

// name is quoteName with the same exception.
func (p *printer) name(s string) string {
	if isIdent(s) {
		return quoteName(s)
	}
	return p.quote(s)
}

// list prints n items with commas between them.
func (p *printer) list(open, close string, n int, item func(i int)) {
	p.put(open)
	for i := range n {
		if i > 0 {
			p.put(", ")
		}
		item(i)
	}
	p.put(close)
}

func (p *printer) props(props []ir.Prop) {
	p.list("[", "]", len(props), func(i int) { p.put(p.quote(props[i].Key), ": ", p.quote(props[i].Value)) })
}

func (p *printer) opsets(o []ir.Opset) {
	p.list("[", "]", len(o), func(i int) { p.put(p.quote(o[i].Domain), " : "); p.int(o[i].Version) })
}

func (p *printer) model(m *ir.Model) {
	p.put("<\n   ir_version: ")
	p.int(m.IRVersion)
	p.put(",\n   opset_import: ")
	p.opsets(m.Opsets())
	key := func(key, v string) {
		if v != "" {
			p.put(",\n   ", key, ": ", p.quote(v))
		}
	}
	key("producer_name", m.ProducerName)
	key("producer_version", m.ProducerVersion)
	key("domain", m.DomainName)
	if m.Version != 0 {
		p.put(",\n   model_version: ")
		p.int(m.Version)
	}
	key("doc_string", m.Meta.DocString())
	if m.Meta != nil && len(m.Meta.Props) > 0 {
		p.put(",\n   metadata_props: ")
		p.props(m.Meta.Props)
	}
	p.put("\n>\n")
	p.topNotes(notesOf(m.Main.Meta))
	p.graphRest(m.Main)
	p.put("\n")
	for _, f := range m.Functions {
		p.function(f)
	}
	for _, t := range m.Training {
		p.training(t)
	}
}

// graph prints g. The cursor stands where its name goes.
func (p *printer) graph(g *ir.Graph) {
	p.noted(notesOf(g.Meta))
	p.graphRest(g)
}

// graphRest prints g without its notes.
func (p *printer) graphRest(g *ir.Graph) {
	p.put(p.graphName(g.Name()), " ")
	ins := p.inputs(g)
	p.list("(", ")", len(ins), func(i int) { p.decl(ins[i]) })
	p.put(" => ")
	outs := g.Outputs()
	p.list("(", ")", len(outs), func(i int) {
		p.decl(decl{name: p.names.Slot(outs[i]), typ: outs[i].Type(), meta: outs[i].Meta})
	})
	p.put(" ")
	if vs := p.values(g); len(vs) > 0 {
		p.line()
		p.list("<", ">\n", len(vs), func(i int) { p.decl(vs[i]) })
	}
	p.body(g)
}

// graphName spells a graph's name so that, as an attribute's value, it is taken for nothing else.
func (p *printer) graphName(s string) string {
	if specialFloat(s) {
		return quote(s)
	}
	return p.name(s)
}

func (p *printer) body(g *ir.Graph) {
	p.put("{\n")
	if g.IsBody() { // functions have no initializers
		for _, v := range g.Consts() {
			p.put(strings.Repeat(" ", p.indent), p.name(p.names.Value(v)), " = Constant")
			p.attrs([]*ir.Attr{ir.TensorAttr("value", v.Const())})
			p.put(" ()\n")
		}
	}
	for n, i := range p.names.Nodes(g) {
		if n == nil {
			p.identity(i)
		} else {
			p.node(n)
		}
	}
	p.put(strings.Repeat(" ", p.indent-3), "}")
}

func (p *printer) identity(i *naming.Identity) {
	var label string
	if k, ok := i.Slot.Extra.(keep.Identity); ok {
		var meta *ir.Meta
		label, meta, _, _ = k.Identity()
		p.noteLines(notesOf(meta))
	}
	p.put(strings.Repeat(" ", p.indent))
	if label != "" {
		p.put("[", p.name(label), "] ")
	}
	p.put(p.name(i.Name), " = Identity (", p.name(p.names.Value(i.Value)), ")\n")
}

// node prints a line, or several if attributes hold graphs or notes.
func (p *printer) node(n *ir.Node) {
	if !p.brief {
		p.noteLines(notesOf(n.Meta()))
	}
	p.put(strings.Repeat(" ", p.indent))
	if n.Name() != "" {
		p.put("[", p.name(n.Name()), "] ")
	}
	p.list("", "", n.NumResults(), func(i int) { p.put(p.name(p.names.Value(n.Result(i)))) })
	p.put(" = ", opString(n.Op()))
	late := len(n.Subgraphs()) > 0
	if !late {
		p.attrs(n.Attrs())
	}
	p.list(" (", ")", n.NumOperands(), func(i int) { p.put(p.name(p.names.Value(n.Operand(i)))) })
	if late {
		p.attrs(n.Attrs())
	}
	p.put("\n")
}

func (p *printer) function(f *ir.Function) {
	if f.Meta != nil {
		p.topNotes(notesOf(&ir.Meta{Props: f.Meta.Props}))
	}
	p.put("<\n  domain: ", p.quote(f.Domain))
	if f.Overload != "" {
		p.put(",\n  overload: ", p.quote(f.Overload))
	}
	p.put(",\n  opset_import: ")
	p.opsets(f.Opsets())
	if doc := f.Meta.DocString(); doc != "" {
		p.put(",\n  doc_string: ", p.quote(doc))
	}
	p.put("\n>\n", p.name(f.Name), " ")
	if n := len(f.Attrs); n+len(f.Defaults) > 0 {
		p.list("<", ">", n+len(f.Defaults), func(i int) {
			if i < n {
				p.put(p.name(f.Attrs[i]))
			} else {
				p.attr(f.Defaults[i-n])
			}
		})
	}
	ins, outs := p.inputs(f.Graph), f.Graph.Outputs()
	p.list("(", ")", len(ins), func(i int) {
		if d := ins[i]; d.typ == nil && d.meta == nil && d.q == nil {
			p.put(p.name(d.name))
		} else {
			p.decl(d)
		}
	})
	p.put(" => ")
	p.list("(", ")", len(outs), func(i int) { p.put(p.name(p.names.Slot(outs[i]))) })
	if vs := p.values(f.Graph); len(vs) > 0 {
		p.line()
		p.list("<", ">", len(vs), func(i int) { p.decl(vs[i]) })
	}
	p.put("\n")
	p.body(f.Graph)
	p.put("\n")
}

func (p *printer) training(t *ir.TrainingInfo) {
	p.put("@training ")
	bind := func(bs []ir.Binding) {
		props := make([]ir.Prop, len(bs))
		for i, b := range bs {
			props[i] = ir.Prop{Key: b.TargetName, Value: b.Output}
			if b.Target != nil {
				props[i].Key = p.names.Value(b.Target)
			}
		}
		p.props(props)
	}
	p.put("<initialization: ")
	bind(t.InitBinding)
	p.put(", update: ")
	bind(t.UpdateBinding)
	p.put(">\n")
	if t.Initialization != nil {
		p.put("initialization ")
		p.graph(t.Initialization)
		p.put("\n")
	}
	if t.Algorithm != nil {
		p.put("algorithm ")
		p.graph(t.Algorithm)
		p.put("\n")
	}
}
