package text

import (
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// typeWord reports whether s begins a type.
func typeWord(s string) bool {
	switch s {
	case "seq", "map", "optional", "sparse_tensor", "opaque", "undefined":
		return true
	}
	_, ok := elemType(s)
	return ok
}

// elemType is the element type of that name.
func elemType(s string) (ir.DType, bool) {
	d, ok := ir.ParseDType(s)
	return d, ok && d.String() == s
}

func (p *parser) int() int64 {
	if p.tok.Kind != Int {
		p.expected("an integer")
		return 0
	}
	v, err := strconv.ParseInt(p.tok.Text, 10, 64)
	if err != nil {
		p.fail(p.tok.Pos, "%s does not fit into 64 bits", clip(p.tok.Text))
	}
	p.next()
	return v
}

// value parses [type] name ['=' data]; data only where init is set. A type word that no name follows is itself the name.
func (p *parser) value(init bool) *ValueDecl {
	v := &ValueDecl{Notes: p.notes()}
	switch {
	case p.tok.Is("?"):
		v.Type = p.typ()
		v.Name = p.name("the name of a value")
	case p.tok.Kind == Ident && typeWord(p.tok.Text):
		word := p.tok
		p.next()
		if p.tok.Is(",") || p.tok.Is(")") || p.tok.Is(">") || p.tok.Is("=") {
			v.Name = Name{word.Pos, strings.Clone(word.Text)}
			break
		}
		v.Type = p.typeFrom(word)
		v.Name = p.name("the name of a value")
	default:
		v.Name = p.name("a type or the name of a value")
	}
	t, err := v.Notes.denoted(v.Type)
	if err != nil {
		p.fail(err.Pos, "%s", err.Msg)
	}
	v.Type = t
	if v.Name.Text == "" && p.err == nil {
		p.fail(v.Name.Pos, "the name of a value is empty")
	}
	if init && p.accept("=") {
		v.Init = p.data(v.Name.Pos, v.Type, p.notes())
	}
	return v
}

// typ parses a type; "?" is a type that states nothing.
func (p *parser) typ() *ir.Type {
	if p.accept("?") {
		return &ir.Type{}
	}
	if p.tok.Kind != Ident || !typeWord(p.tok.Text) {
		p.expected("a type")
		return nil
	}
	word := p.tok
	p.next()
	return p.typeFrom(word)
}

// typeFrom parses a type whose first word has been read.
func (p *parser) typeFrom(word Token) *ir.Type {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	switch word.Text {
	case "seq":
		return ir.SequenceOf(p.inner())
	case "optional":
		return ir.OptionalOf(p.inner())
	case "map":
		p.expect("(")
		key := p.elem()
		p.expect(",")
		t := ir.MapOf(key, known(p.typ()))
		p.expect(")")
		return t
	case "sparse_tensor":
		p.expect("(")
		t := &ir.Type{Kind: ir.KindSparse, Elem: p.elem()}
		t.Shape = p.shape()
		p.expect(")")
		return t
	case "opaque":
		return p.opaque()
	}
	d, _ := elemType(word.Text)
	return ir.TensorType(d, p.shape())
}

func (p *parser) inner() *ir.Type {
	p.expect("(")
	t := known(p.typ())
	p.expect(")")
	return t
}

// known is t, nil if it states nothing.
func known(t *ir.Type) *ir.Type {
	if t != nil && t.Kind == ir.KindNone {
		return nil
	}
	return t
}

func (p *parser) elem() ir.DType {
	d, ok := elemType(p.tok.Text)
	if p.tok.Kind != Ident || !ok && p.tok.Text != "undefined" {
		p.expected("an element type")
		return ir.Undefined
	}
	p.next()
	return d
}

// opaque parses the rest of opaque(), opaque(name) or opaque(domain,name); a domain may be dotted.
func (p *parser) opaque() *ir.Type {
	t := &ir.Type{Kind: ir.KindOpaque}
	p.expect("(")
	if p.accept(")") {
		return t
	}
	var parts []string
	parts = append(parts, p.name("a name").Text)
	for len(parts) < maxDepth && p.accept(".") {
		parts = append(parts, p.name("a name").Text)
	}
	t.Name = strings.Join(parts, ".")
	if p.accept(",") {
		t.Domain, t.Name = t.Name, ""
		if p.named() {
			t.Name = p.name("a name").Text
		}
	}
	p.expect(")")
	return t
}

// shape parses nothing (a scalar), "[]" (rank unknown) or a list of dimensions.
func (p *parser) shape() ir.Shape {
	s := ir.Shape{}
	if !p.accept("[") {
		return s
	}
	if p.accept("]") {
		return nil
	}
	p.list("]", func() {
		switch {
		case p.accept("?"):
			s = append(s, ir.UnknownDim())
		case p.named():
			s = append(s, ir.Symbol(p.name("").Text))
		case p.tok.Kind == Int:
			pos := p.tok.Pos
			n := p.int()
			if n < -1 {
				p.fail(pos, "a dimension is %d", n)
			}
			s = append(s, ir.Dim{Size: n}) // some exporters write -1 for an unknown size
		default:
			p.expected("a dimension (a number, a name or ?)")
		}
	})
	return s
}

// tensor parses type [name] ['='] data whose type has been read.
func (p *parser) tensor(pos Pos, t *ir.Type, notes *Notes) *TensorLit {
	name := ""
	if p.named() {
		name = p.name("").Text
	}
	p.accept("=")
	lit := p.data(pos, t, notes)
	lit.Name = name
	return lit
}

// data parses the elements of a constant of type t: '{' literals '}', or '[' pairs ']' that say where they are.
func (p *parser) data(pos Pos, t *ir.Type, notes *Notes) *TensorLit {
	lit := &TensorLit{Notes: notes, Pos: pos}
	if p.err != nil {
		return lit
	}
	if t != nil && t.Kind == ir.KindSparse {
		lit.Sparse = p.sparse(pos, t)
		return lit
	}
	dims, ok := t.TensorShape().Ints()
	if !t.IsTensor() || !ok || t.Elem == ir.Undefined {
		p.fail(pos, "a constant needs a tensor type with numeric dimensions, not %s", typeString(t))
		return lit
	}
	switch {
	case p.tok.Is("{"):
		lit.Tensor = p.elements(pos, t.Elem, dims)
	case p.tok.Is("["):
		lit.External = p.props()
		lit.Tensor = ir.NewLazyTensor(t.Elem, dims, &External{lit.External})
	default:
		p.expected("'{' and the elements of the constant")
	}
	return lit
}

// sparse parses '{' values ',' indices '}' of a sparse constant.
func (p *parser) sparse(pos Pos, t *ir.Type) *SparseLit {
	s := &SparseLit{Pos: pos, Elem: t.Elem}
	var ok bool
	if s.Dims, ok = t.Shape.Ints(); !ok {
		p.fail(pos, "a sparse constant needs numeric dimensions, not %s", typeString(t))
		return s
	}
	part := func() *TensorLit {
		notes, pos := p.notes(), p.tok.Pos
		return p.tensor(pos, p.typ(), notes)
	}
	p.expect("{")
	s.Values = part()
	p.expect(",")
	s.Indices = part()
	p.expect("}")
	if p.err == nil && (s.Values.Tensor == nil || s.Indices.Tensor == nil || s.Values.Tensor.DType() != s.Elem) {
		p.fail(pos, "a sparse constant takes dense values of its element type and dense indices")
	}
	return s
}
