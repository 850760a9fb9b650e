package text

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// decl is a declaration to be printed: [type] name [= data].
type decl struct {
	name string
	typ  *ir.Type
	meta *ir.Meta
	q    []ir.Prop  // quantization_annotation
	data *ir.Tensor // initializers
}

// inputs are the declarations of g's inputs. Below IR version 4 the main graph lists its constants, too.
func (p *printer) inputs(g *ir.Graph) []decl {
	var r []decl
	for _, s := range g.Inputs() {
		v := s.Value()
		r = append(r, decl{name: p.names.Slot(s), typ: s.Type(), meta: s.Meta, q: p.names.Annotation(v)})
	}
	if lists(g) {
		for _, v := range g.Consts() {
			r = append(r, decl{name: p.names.Value(v), typ: v.Type(), meta: v.Meta})
		}
	}
	return r
}

// lists reports whether the constants of g are printed as inputs, too. The inputs of subgraphs are positional, so that new
// ones cannot be listed there.
func lists(g *ir.Graph) bool { return g == g.Model().Main && listsConstants(g.Model()) }

// values are the declarations between < and >: initializers, then what is recorded of values that is not said elsewhere.
func (p *printer) values(g *ir.Graph) []decl {
	var inits, infos []decl
	for _, s := range g.Inputs() {
		v := s.Value()
		if t := v.Default(); t != nil {
			inits = append(inits, decl{name: p.names.Slot(s), meta: t.Meta(), data: t})
		}
		if v.Meta != nil {
			infos = append(infos, decl{name: p.names.Slot(s), meta: v.Meta})
		}
	}
	for _, v := range g.Consts() {
		if g.IsBody() {
			break // they are printed as nodes
		}
		t := v.Const()
		name := p.names.Value(v)
		inits = append(inits, decl{name: name, meta: t.Meta(), q: p.names.Annotation(v), data: t})
		if !lists(g) && (v.Meta != nil || !sameType(v.Type(), t.Type())) {
			infos = append(infos, decl{name: name, typ: v.Type(), meta: v.Meta})
		}
	}
	returned := map[*ir.Value]*ir.Slot{}
	for _, s := range g.Outputs() {
		if v := s.Value(); v != nil && p.names.Value(v) == p.names.Slot(s) {
			returned[v] = s
		}
	}
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v == nil {
				continue
			}
			d := decl{name: p.names.Value(v), typ: v.Type(), meta: v.Meta, q: p.names.Annotation(v)}
			if s := returned[v]; s != nil && sameType(d.typ, s.Type()) {
				d.typ = nil
			}
			if d.typ != nil || d.meta != nil || d.q != nil {
				infos = append(infos, d)
			}
		}
	}
	if u, ok := g.Extra.(keep.Unbound); ok {
		for _, i := range u.Unbound() {
			if p.names.Owned(g, i.Name) {
				continue
			}
			infos = append(infos, decl{name: i.Name, typ: i.Type, meta: i.Meta, q: i.Quant})
		}
	}
	return append(inits, infos...)
}

// decl prints a declaration.
func (p *printer) decl(d decl) {
	notes := notesOf(d.meta)
	for _, q := range d.q {
		notes = append(notes, "quant "+strconv.Quote(q.Key)+" "+strconv.Quote(q.Value))
	}
	p.noted(append(notes, denotations(d.typ)...))
	if d.data != nil {
		p.initializer(d.name, d.data)
		return
	}
	if d.typ != nil {
		p.put(typeString(d.typ))
	}
	p.put(" ", p.name(d.name))
}

// notesOf spells documentation and metadata as notes.
func notesOf(m *ir.Meta) []string {
	if m == nil {
		return nil
	}
	var r []string
	if m.Doc != "" {
		r = append(r, "doc "+strconv.Quote(m.Doc))
	}
	for _, q := range m.Props {
		r = append(r, "meta "+strconv.Quote(q.Key)+" "+strconv.Quote(q.Value))
	}
	return r
}

// denotations spells the denotations of t and of the types inside it as notes.
func denotations(t *ir.Type) []string {
	var r []string
	for level := 0; t != nil; level, t = level+1, t.Of {
		dims := make([]string, 0, len(t.Shape))
		last := 0
		for i, d := range t.Shape {
			dims = append(dims, strconv.Quote(d.Denotation))
			if d.Denotation != "" {
				last = i + 1
			}
		}
		if last > 0 || t.Denotation != "" {
			words := append([]string{"denote", strconv.Itoa(level), strconv.Quote(t.Denotation)}, dims[:last]...)
			r = append(r, strings.Join(words, " "))
		}
	}
	return r
}

// noted prints notes in front of something in the middle of a line, which continues on a line of its own.
func (p *printer) noted(notes []string) {
	if len(notes) == 0 || p.brief {
		return
	}
	p.buf = bytes.TrimRight(p.buf, " ")
	for _, n := range notes {
		p.line()
		p.put("#! ", n)
	}
	p.line()
}

// noteLines prints notes in front of a line at the current indentation.
func (p *printer) noteLines(notes []string) {
	for _, n := range notes {
		p.put(strings.Repeat(" ", p.indent), "#! ", n, "\n")
	}
}

// topNotes prints notes in front of a line without indentation.
func (p *printer) topNotes(notes []string) {
	for _, n := range notes {
		p.put("#! ", n, "\n")
	}
}

// sameType reports whether both types state the same, denotations included.
func sameType(t, u *ir.Type) bool {
	return t.Equal(u) && slices.Equal(denotations(t), denotations(u))
}
