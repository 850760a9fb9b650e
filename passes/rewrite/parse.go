package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// Parse reads a pattern. Several texts are alternatives, tried in order.
func Parse(texts ...string) (*Pattern, error) {
	if len(texts) == 0 {
		return nil, errors.New("pattern: it has no alternative")
	}
	p := MustParse(texts...)
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	return p, nil
}

// MustParse is Parse for patterns that stand in code. An alternative is read when a model has all its operators: all of them together take
// longer than a small model. An error is a panic then.
func MustParse(texts ...string) *Pattern {
	return &Pattern{spell: func() []string { return texts }}
}

// MustParseFor is MustParse for many alternatives, which are spelled out for models that have the operators in needs alone, as "Softmax,
// MatMul". Each alternative must have them all.
func MustParseFor(needs string, spell func() []string) *Pattern {
	return &Pattern{needs: operatorList(needs), spell: spell}
}

// reader is a recursive-descent parser over the tokens of package text. The first error sticks: every later token is the
// end of the text.
type reader struct {
	lex  *text.Lexer
	tok  text.Token
	err  error
	tree *tree
}

func parseTree(src string) (*tree, error) {
	r := &reader{lex: text.NewLexer([]byte(src)), tree: &tree{names: map[string]nameRef{}}}
	r.next()
	for r.tok.Kind != text.EOF {
		r.node()
	}
	if r.err == nil && len(r.tree.nodes) == 0 {
		r.fail("there is no node")
	}
	if r.err != nil {
		return nil, r.err
	}
	r.connected()
	r.tree.close()
	return r.tree, r.err
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &text.Error{Pos: r.tok.Pos, Msg: fmt.Sprintf(format, args...)}
	}
	r.tok.Kind, r.tok.Text = text.EOF, ""
}

func (r *reader) next() {
	if r.err != nil {
		return
	}
	t, err := r.lex.Next()
	if err != nil {
		r.err = err
	}
	r.tok = t
}

func (r *reader) accept(s string) bool {
	if !r.tok.Is(s) {
		return false
	}
	r.next()
	return true
}

func (r *reader) expect(s string) {
	if !r.accept(s) {
		r.fail("expected '%s', found %s", s, r.tok)
	}
}

func (r *reader) ident(what string) string {
	if r.tok.Kind != text.Ident {
		r.fail("expected %s, found %s", what, r.tok)
		return ""
	}
	s := r.tok.Text
	r.next()
	return s
}

// list reads items between commas up to end.
func (r *reader) list(end string, item func()) {
	for r.err == nil && !r.accept(end) {
		item()
		if !r.tok.Is(end) {
			r.expect(",")
			if r.tok.Is(end) {
				r.fail("expected an item behind ','")
			}
		}
	}
}

// marks reads ": word word" and hands each word to set, which reports whether it knows it.
func (r *reader) marks(set func(string) bool) {
	if !r.accept(":") {
		return
	}
	for first := true; first || r.tok.Kind == text.Ident; first = false {
		word := r.tok.Text
		if r.tok.Kind != text.Ident || !set(word) {
			r.fail("%s is no mark that can stand here", r.tok)
			return
		}
		r.next()
	}
}

// node reads results = operator <attributes> (operands).
func (r *reader) node() {
	n := &node{index: len(r.tree.nodes)}
	for first := true; first || r.accept(","); first = false {
		n.results = append(n.results, r.result())
	}
	r.expect("=")
	if r.accept("{") {
		r.list("}", func() { n.ops = append(n.ops, r.op()) })
	} else {
		n.ops = append(n.ops, r.op())
	}
	if r.accept("<") {
		r.list(">", func() { r.attr(n) })
	}
	r.expect("(")
	if !r.accept(")") {
		n.operands = append(n.operands, r.operand(n))
		for r.accept(",") {
			n.operands = append(n.operands, r.operand(n))
		}
		r.expect(")")
	}
	r.tree.nodes = append(r.tree.nodes, n)
	for i, res := range n.results {
		if res.name == "" {
			continue
		}
		if _, taken := r.tree.names[res.name]; taken {
			r.fail("%s is defined after it was used, or twice", res.name)
		}
		r.tree.names[res.name] = nameRef{-1, resultRef{n.index, i}}
	}
}

func (r *reader) result() (x result) {
	if r.tok.Kind == text.Ident {
		x.name = r.ident("a name")
		r.marks(func(s string) bool {
			x.shared = x.shared || s == "shared"
			x.replaced = x.replaced || s == "result"
			return s == "shared" || s == "result"
		})
	}
	return x
}

func (r *reader) op() ir.OpID {
	parts := []string{r.ident("an operator")}
	for r.accept(".") {
		parts = append(parts, r.ident("an operator"))
	}
	last := len(parts) - 1
	return ir.OpID{Domain: ir.Domain(strings.Join(parts[:last], ".")), Type: parts[last]}
}

func (r *reader) attr(n *node) {
	if r.accept("...") {
		n.open = true
		return
	}
	a := attrPattern{name: r.ident("an attribute or '...'"), capture: -1}
	r.expect("=")
	switch {
	case r.accept("@"):
		a.capture = index(&r.tree.attrs, r.ident("a name"))
	case r.accept("["):
		a.want = r.listAttr(a.name)
	default:
		a.want = r.scalarAttr(a.name)
	}
	n.attrs = append(n.attrs, a)
}

// index is the place of s in list, to which it is added if need be.
func index(list *[]string, s string) int {
	if i := slices.Index(*list, s); i >= 0 {
		return i
	}
	*list = append(*list, s)
	return len(*list) - 1
}

func (r *reader) scalarAttr(name string) *ir.Attr {
	t := r.tok
	r.next()
	switch t.Kind {
	case text.Int:
		if v, err := strconv.ParseInt(t.Text, 10, 64); err == nil {
			return ir.IntAttr(name, v)
		}
	case text.Float:
		if v, err := strconv.ParseFloat(t.Text, 32); err == nil {
			return ir.FloatAttr(name, float32(v))
		}
	case text.String:
		return ir.StringAttr(name, t.Text)
	}
	r.fail("%s is no value of an attribute", t)
	return nil
}

func (r *reader) listAttr(name string) *ir.Attr {
	var items []*ir.Attr
	r.list("]", func() { items = append(items, r.scalarAttr(name)) })
	if r.err != nil {
		return nil
	}
	var ints []int64
	var floats []float32
	var strs []string
	for _, a := range items {
		switch a.Kind {
		case ir.AttrInt:
			ints = append(ints, a.Int())
		case ir.AttrFloat:
			floats = append(floats, a.Float())
		default:
			strs = append(strs, a.Str())
		}
	}
	switch len(items) {
	case len(ints):
		return ir.IntsAttr(name, ints)
	case len(floats):
		return ir.FloatsAttr(name, floats)
	case len(strs):
		return ir.StringsAttr(name, strs)
	}
	r.fail("the values of %s are of different kinds", name)
	return nil
}

func (r *reader) operand(n *node) operand {
	switch r.tok.Kind {
	case text.Int, text.Float:
		v, err := strconv.ParseFloat(r.tok.Text, 64)
		if err != nil {
			r.fail("%s is no number", r.tok)
		}
		r.next()
		return operand{kind: literal, value: v}
	case text.Ident:
		return r.namedOperand(n)
	}
	if !r.tok.Is(",") && !r.tok.Is(")") {
		r.fail("expected an operand, found %s", r.tok)
	}
	return operand{kind: omitted}
}

func (r *reader) namedOperand(n *node) operand {
	name := r.ident("a name")
	if ref, ok := r.tree.names[name]; ok && ref.capture < 0 {
		return operand{kind: interior, ref: ref.resultRef}
	}
	if slices.ContainsFunc(n.results, func(x result) bool { return x.name == name }) {
		r.fail("%s is used by the node that defines it", name)
	}
	c := r.capture(name)
	if r.accept("?") {
		c.optional = true
	}
	if r.accept("...") {
		c.variadic = true
		if !r.tok.Is(")") {
			r.fail("%s... is not the last operand", name)
		}
	}
	r.marks(func(s string) bool {
		c.constant = c.constant || s == "const" || s == "scalar"
		c.scalar = c.scalar || s == "scalar"
		return s == "const" || s == "scalar"
	})
	return operand{kind: captured, capture: r.tree.names[name].capture}
}

// capture is the capture of that name, made if need be.
func (r *reader) capture(name string) *capture {
	ref, ok := r.tree.names[name]
	if !ok {
		ref = nameRef{capture: len(r.tree.captures)}
		r.tree.names[name] = ref
		r.tree.captures = append(r.tree.captures, capture{name: name})
	}
	return &r.tree.captures[ref.capture]
}

// connected fails if a node cannot be reached from the root.
func (r *reader) connected() {
	last := len(r.tree.nodes) - 1
	reached := map[int]bool{last: true}
	for i := last; i >= 0; i-- {
		if !reached[i] {
			r.fail("node %d does not lead to the last one", i+1)
			return
		}
		for _, o := range r.tree.nodes[i].operands {
			if o.kind == interior {
				reached[o.ref.node] = true
			}
		}
	}
	if r.tree.root().results[0].name == "" && len(r.tree.root().results) == 1 {
		r.fail("the root has no named result")
	}
}
