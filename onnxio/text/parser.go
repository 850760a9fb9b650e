package text

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// maxDepth bounds the nesting of graphs and of types.
const maxDepth = 100

// parser is a recursive-descent parser with one token of lookahead. The first error sticks: from then on every token is
// EOF, so that each loop ends and the callers need not ask.
type parser struct {
	lex   *Lexer
	tok   Token
	err   *Error
	depth int
}

func newParser(src []byte) *parser {
	p := &parser{lex: NewLexer(src)}
	p.next()
	return p
}

// ParseFile parses a model and keeps it as a syntax tree.
func ParseFile(src []byte) (*File, error) {
	p := newParser(src)
	f := p.file()
	return f, p.finish()
}

// ParseGraphDecl parses a single graph.
func ParseGraphDecl(src []byte) (*GraphDecl, error) {
	p := newParser(src)
	g := p.graph()
	return g, p.finish()
}

// ParseNodes parses nodes one after the other, as they stand between the braces of a graph.
func ParseNodes(src []byte) ([]*NodeDecl, error) {
	p := newParser(src)
	var r []*NodeDecl
	for p.tok.Kind != EOF {
		r = append(r, p.node())
	}
	return r, p.finish()
}

// finish expects the end of the text.
func (p *parser) finish() error {
	if p.err == nil && p.tok.Kind != EOF {
		p.expected("the end of the text")
	}
	if p.err == nil && len(p.tok.Notes) > 0 {
		p.fail(p.tok.Notes[0].pos, "nothing follows this note")
	}
	if p.err != nil {
		return p.err
	}
	return nil
}

func (p *parser) fail(pos Pos, format string, args ...any) {
	if p.err == nil {
		p.err = errorAt(pos, format, args...)
	}
	p.tok = Token{Kind: EOF, Pos: pos}
}

func (p *parser) expected(what string) {
	p.fail(p.tok.Pos, "expected %s, found %s", what, p.tok)
}

// next moves on. Notes that no element took are an error, so that none is lost.
func (p *parser) next() {
	if p.err != nil {
		return
	}
	if len(p.tok.Notes) > 0 {
		p.fail(p.tok.Notes[0].pos, "this note stands before %s, which cannot carry it", p.tok)
		return
	}
	p.tok = p.lex.next()
	if p.lex.err != nil {
		p.fail(p.lex.err.Pos, "%s", p.lex.err.Msg)
	}
}

// notes takes the notes before the current token.
func (p *parser) notes() *Notes {
	n, err := parseNotes(p.tok.Notes)
	if err != nil {
		p.fail(err.Pos, "%s", err.Msg)
	}
	p.tok.Notes = nil
	return n
}

// accept skips the punctuation s if it is next.
func (p *parser) accept(s string) bool {
	if !p.tok.Is(s) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.expected("'" + s + "'")
	}
}

// list parses items up to the closing punctuation; the opening one has been read. It may be empty.
func (p *parser) list(end string, item func()) {
	if p.accept(end) {
		return
	}
	for {
		item()
		if p.accept(end) {
			return
		}
		if !p.accept(",") {
			p.expected("',' or '" + end + "'")
			return
		}
	}
}

func (p *parser) string() string {
	if p.tok.Kind != String {
		p.expected("a string")
		return ""
	}
	s := strings.Clone(p.tok.Text)
	p.next()
	return s
}

// named reports whether a name is next.
func (p *parser) named() bool { return p.tok.Kind == Ident || p.tok.Kind == String }

// name parses an identifier or a quoted name.
func (p *parser) name(what string) Name {
	if !p.named() {
		p.expected(what)
		return Name{}
	}
	n := Name{p.tok.Pos, strings.Clone(p.tok.Text)}
	p.next()
	return n
}

// deeper counts a level of nesting; the caller returns it.
func (p *parser) deeper() (ok bool) {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.tok.Pos, "nested more than %d deep", maxDepth)
		return false
	}
	return true
}

func (p *parser) file() *File {
	f := &File{}
	if p.tok.Is("<") {
		f.Header = p.header("model")
	}
	f.Graph = p.graph()
	for p.tok.Kind != EOF && !p.tok.Is("@") {
		f.Functions = append(f.Functions, p.function())
	}
	for p.tok.Is("@") {
		f.Training = append(f.Training, p.training())
	}
	return f
}

// header parses '<' key ':' value ,+ '>' of a model or a function.
func (p *parser) header(of string) *Header {
	h := &Header{Pos: p.tok.Pos}
	seen := map[string]bool{}
	p.expect("<")
	p.list(">", func() {
		key := p.tok
		if key.Kind != Ident {
			p.expected("a key of the " + of + "'s header")
			return
		}
		p.next()
		p.expect(":")
		if seen[key.Text] && p.err == nil {
			p.fail(key.Pos, "%s is given twice", clip(key.Text))
		}
		seen[key.Text] = true
		switch {
		case p.headerKey(h, key.Text):
		case of == "model" && p.modelKey(h, key.Text):
		case of == "function" && key.Text == "overload":
			h.Overload = p.string()
		default:
			p.fail(key.Pos, "unknown key %s in the header of a %s", clip(key.Text), of)
		}
	})
	return h
}

func (p *parser) headerKey(h *Header, key string) bool {
	switch key {
	case "opset_import":
		h.Opsets = p.opsets()
	case "domain":
		h.Domain = p.string()
	case "doc_string":
		h.Doc = p.string()
	default:
		return false
	}
	return true
}

func (p *parser) modelKey(h *Header, key string) bool {
	switch key {
	case "ir_version":
		h.IRVersion = p.int()
	case "producer_name":
		h.ProducerName = p.string()
	case "producer_version":
		h.ProducerVersion = p.string()
	case "model_version":
		h.ModelVersion = p.int()
	case "metadata_props":
		h.Props = p.props()
	default:
		return false
	}
	return true
}

func (p *parser) opsets() []ir.Opset {
	var r []ir.Opset
	seen := map[string]int64{}
	p.expect("[")
	p.list("]", func() {
		pos := p.tok.Pos
		o := ir.Opset{Domain: p.string()}
		p.expect(":")
		o.Version = p.int()
		d := ir.Domain(o.Domain)
		switch {
		case p.err != nil:
		case o.Version < 1:
			p.fail(pos, "domain %q has version %d", clip(o.Domain), o.Version)
		case seen[d] != 0 && seen[d] != o.Version:
			p.fail(pos, "domain %q is imported in versions %d and %d", clip(o.Domain), seen[d], o.Version)
		}
		seen[d] = o.Version
		r = append(r, o)
	})
	return r
}

// props parses '[' string ':' string ,* ']'.
func (p *parser) props() []ir.Prop {
	var r []ir.Prop
	p.expect("[")
	p.list("]", func() {
		k := p.string()
		p.expect(":")
		r = append(r, ir.Prop{Key: k, Value: p.string()})
	})
	return r
}

func (p *parser) graph() *GraphDecl {
	notes := p.notes()
	return p.graphRest(notes, p.name("the name of a graph"))
}

// graphRest parses a graph whose name has been read.
func (p *parser) graphRest(notes *Notes, name Name) *GraphDecl {
	g := &GraphDecl{Notes: notes, Name: name}
	defer func() { p.depth-- }()
	if !p.deeper() {
		return g
	}
	if p.accept("(") {
		p.list(")", func() { g.Inputs = append(g.Inputs, p.value(true)) })
	}
	p.expect("=>")
	p.expect("(")
	p.list(")", func() { g.Outputs = append(g.Outputs, p.value(false)) })
	if p.accept("<") {
		p.list(">", func() { g.Values = append(g.Values, p.value(true)) })
	}
	g.Nodes = p.body()
	return g
}

func (p *parser) body() []*NodeDecl {
	var r []*NodeDecl
	p.expect("{")
	for p.err == nil && !p.accept("}") {
		r = append(r, p.node())
	}
	return r
}

func (p *parser) function() *FuncDecl {
	f := &FuncDecl{Notes: p.notes(), Header: &Header{Pos: p.tok.Pos}}
	if p.tok.Is("<") {
		f.Header = p.header("function")
	}
	f.Name = p.name("the name of a function")
	if p.accept("<") {
		p.list(">", func() {
			notes := p.notes()
			n := p.name("the name of an attribute")
			if p.tok.Is(":") || p.tok.Is("=") {
				f.Defaults = append(f.Defaults, p.attrRest(notes, n))
			} else {
				f.Attrs = append(f.Attrs, n)
			}
		})
	}
	p.expect("(")
	p.list(")", func() { f.Inputs = append(f.Inputs, p.value(false)) })
	p.expect("=>")
	p.expect("(")
	p.list(")", func() { f.Outputs = append(f.Outputs, p.value(false)) })
	if p.accept("<") {
		p.list(">", func() { f.Values = append(f.Values, p.value(false)) })
	}
	f.Nodes = p.body()
	return f
}

// training parses an entry of training_info.
func (p *parser) training() *TrainingDecl {
	t := &TrainingDecl{Pos: p.tok.Pos}
	p.expect("@")
	if !p.word("training") {
		p.expected("training")
	}
	if p.accept("<") {
		p.list(">", func() {
			switch {
			case p.word("initialization"):
				p.expect(":")
				t.InitBinding = p.props()
			case p.word("update"):
				p.expect(":")
				t.UpdateBinding = p.props()
			default:
				p.expected("initialization or update")
			}
		})
	}
	if p.word("initialization") {
		t.Initialization = p.graph()
	}
	if p.word("algorithm") {
		t.Algorithm = p.graph()
	}
	return t
}

// word skips the identifier w if it is next.
func (p *parser) word(w string) bool {
	if p.tok.Kind != Ident || p.tok.Text != w {
		return false
	}
	p.next()
	return true
}

// node parses '[' label ']' outs '=' op attrs '(' ins ')' attrs.
func (p *parser) node() *NodeDecl {
	n := &NodeDecl{Notes: p.notes()}
	if p.accept("[") {
		if p.named() {
			n.Label = p.name("").Text
		}
		p.expect("]")
	}
	n.Outputs = p.names()
	p.expect("=")
	n.OpPos = p.tok.Pos
	n.Op = p.op()
	if p.tok.Is("<") {
		n.Attrs = p.attrs()
	}
	p.expect("(")
	n.Inputs = p.names()
	p.expect(")")
	if p.tok.Is("<") {
		if n.Attrs != nil {
			p.fail(p.tok.Pos, "attributes stand before or after the operands, not both")
			return n
		}
		n.Attrs = p.attrs()
	}
	return n
}

// names parses a list of names that may be left out: "" or nothing before a comma. A comma at the end adds nothing.
func (p *parser) names() []Name {
	var r []Name
	for p.named() || p.tok.Is(",") {
		n := Name{Pos: p.tok.Pos}
		if p.named() {
			n = p.name("")
		}
		r = append(r, n)
		if !p.accept(",") {
			break
		}
	}
	return r
}

// op parses [domain '.'] type [':' overload]. Parts that are no identifiers are quoted.
func (p *parser) op() ir.OpID {
	var op ir.OpID
	op.Type = p.name("an operator").Text
	for p.accept(".") {
		if op.Domain != "" {
			op.Domain += "."
		}
		if op.Domain += op.Type; len(op.Domain) > 1000 {
			p.fail(p.tok.Pos, "the operator's domain is too long")
		}
		op.Type = p.name("an operator").Text
	}
	if p.accept(":") {
		op.Overload = p.name("an overload").Text
	}
	if op.Type == "" && p.err == nil {
		p.fail(p.tok.Pos, "the operator's name is empty")
	}
	return op
}
