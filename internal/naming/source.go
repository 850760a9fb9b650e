package naming

import (
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// Source is the value that had the name in the file, as seen from g; nil if it is gone.
func (n *Names) Source(g *ir.Graph, name string) *ir.Value {
	for ; g != nil; g = g.Outer() {
		t := n.sources[g]
		if t == nil {
			t = sources(g)
			n.sources[g] = t
		}
		if v := t[name]; v != nil {
			return v
		}
	}
	return nil
}

// Annotation is the quantization_annotation of v with the names of tensors as they are now; nil if there is none, or if a tensor
// that it refers to is gone.
func (n *Names) Annotation(v *ir.Value) []ir.Prop {
	q, ok := v.Extra.(keep.Quantization)
	if !ok {
		return nil
	}
	var r []ir.Prop
	for _, p := range q.Quantization() {
		if q.Bound(p.Value) {
			w := n.Source(v.Graph(), p.Value)
			if w == nil {
				return nil
			}
			p.Value = n.Value(w)
		}
		r = append(r, p)
	}
	return r
}

// sources maps the names that values of g had in the file to the values.
func sources(g *ir.Graph) map[string]*ir.Value {
	t := map[string]*ir.Value{}
	add := func(v *ir.Value) {
		if s := sourceName(v); s != "" {
			t[s] = v
		}
	}
	for _, s := range g.Inputs() {
		add(s.Value())
	}
	for _, v := range g.Consts() {
		add(v)
	}
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				add(v)
			}
		}
	}
	return t
}

func sourceName(v *ir.Value) string {
	if k, ok := v.Extra.(keep.Source); ok && k.Source() != "" {
		return k.Source()
	}
	if n, i := v.Def(); n != nil {
		if k, ok := n.Extra.(keep.Results); ok {
			return k.SourceResult(i)
		}
	}
	return ""
}
