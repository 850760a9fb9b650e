package text

import "strings"

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

// enter counts a level of nesting, and reports whether there may be one more. Either way leave follows.
func (p *parser) enter() bool {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.tok.Pos, "nested more than %d deep", maxDepth)
	}
	return p.err == nil
}

func (p *parser) leave() { p.depth-- }
