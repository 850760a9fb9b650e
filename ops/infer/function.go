package infer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// call infers the call of a model-local function. Results are found once for each combination of attributes and operand types. Every entry
// of the result is set.
func (a *analysis) call(n *ir.Node, f *ir.Function, in []*info) []*info {
	unknown := make([]*info, n.NumResults())
	for i := range unknown {
		unknown[i] = &info{}
	}
	switch {
	case len(in) > len(f.Graph.Inputs()):
		a.remark(Error, n, nil, "it passes %d operands to a function of %d", len(in), len(f.Graph.Inputs()))
		return unknown
	case n.NumResults() > len(f.Graph.Outputs()):
		a.remark(Error, n, nil, "it takes %d results of a function of %d", n.NumResults(), len(f.Graph.Outputs()))
		return unknown
	case slices.Contains(a.stack, f) || a.generic && n.HasRefs():
		return unknown
	}
	attrs := a.bind(n, f)
	key := callKey(f, attrs, in)
	out, ok := a.memo[key]
	if !ok {
		if a.budget < f.Graph.NumNodes() {
			a.remark(Note, n, nil, "its results are not known: there are too many function calls to follow")
			return unknown
		}
		out = a.enter(f, attrs, in)
		a.memo[key] = detach(out, in)
	}
	r := make([]*info, n.NumResults())
	for i := range r {
		x := *out[i]
		x.dims = slices.Clone(x.dims)
		a.nameSizes(&x)
		r[i] = &x
	}
	return r
}

// bind is the attributes that f sees in a call by n: the node's own, references resolved, and f's defaults.
func (a *analysis) bind(n *ir.Node, f *ir.Function) map[string]*ir.Attr {
	attrs := map[string]*ir.Attr{}
	for _, d := range f.Defaults {
		attrs[d.Name] = d
	}
	for _, x := range n.Attrs() {
		if y := a.resolve(x); y != nil {
			attrs[x.Name] = y
		}
	}
	return attrs
}

// enter infers the body of f for one call.
func (a *analysis) enter(f *ir.Function, attrs map[string]*ir.Attr, in []*info) []*info {
	b := &analysis{shared: a.shared, vals: &table{}, attrs: attrs, inCall: true,
		stack: append(slices.Clip(a.stack), f), loops: a.loops, unsure: a.unsure}
	for i, s := range f.Graph.Inputs() {
		if i < len(in) {
			b.vals.set(s.Value(), in[i])
		} else {
			b.vals.set(s.Value(), nil)
		}
	}
	b.graph(f.Graph)
	var out []*info
	for _, s := range f.Graph.Outputs() {
		x := b.value(s.Value())
		if x == nil {
			x = &info{}
		}
		out = append(out, x)
	}
	return out
}

// callKey tells calls apart as far as their results may differ.
func callKey(f *ir.Function, attrs map[string]*ir.Attr, in []*info) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%p", f)
	names := make([]string, 0, len(attrs))
	for k := range attrs {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		switch x := attrs[k]; x.Kind {
		case ir.AttrInt, ir.AttrFloat, ir.AttrString, ir.AttrInts, ir.AttrFloats, ir.AttrStrings:
			fmt.Fprintf(&b, ";%s=%s:%d,%v,%q,%v,%v,%q", k, x.Kind, x.Int(), x.Float(), x.Str(), x.Ints(), x.Floats(), x.Strs())
		default:
			fmt.Fprintf(&b, ";%s=%p", k, x)
		}
	}
	for _, x := range in {
		b.WriteByte('|')
		x.writeKey(&b)
	}
	return b.String()
}

func (x *info) writeKey(b *strings.Builder) {
	if x == nil {
		b.WriteString("-")
		return
	}
	fmt.Fprintf(b, "%d.%d%s%s.%t%t%v", x.kind, x.elem, x.domain, x.name, x.never, x.ranked, x.dims)
	if x.tensor != nil {
		fmt.Fprintf(b, "@%p", x.tensor)
	} else if x.data != nil {
		fmt.Fprintf(b, "=%v", x.data)
	}
	if x.of != nil {
		x.of.writeKey(b)
	}
}

// detach makes the results of a call fit for another one: a size that the call itself gave a private name may be another one there.
func detach(out, in []*info) []*info {
	given := map[string]bool{}
	var note func(x *info)
	note = func(x *info) {
		if x == nil {
			return
		}
		for _, d := range x.dims {
			noteAtoms(d, given)
		}
		for _, e := range x.data {
			noteAtoms(e.Int, given)
		}
		note(x.of)
	}
	for _, x := range in {
		note(x)
	}
	r := make([]*info, len(out))
	for i, x := range out {
		r[i] = x.detached(given)
	}
	return r
}

func noteAtoms(x Int, given map[string]bool) {
	for _, t := range x.terms {
		for _, p := range t.atoms {
			given[p.name] = true
		}
	}
}

func (x *info) detached(given map[string]bool) *info {
	if x == nil {
		return nil
	}
	foreign := func(d Int) bool {
		for _, t := range d.terms {
			if slices.ContainsFunc(t.atoms, func(p *atom) bool { return p.private && !given[p.name] }) {
				return true
			}
		}
		return false
	}
	y := *x
	y.exported = nil
	y.dims = slices.Clone(x.dims)
	for i, d := range y.dims {
		if foreign(d) {
			y.dims[i] = Int{}
		}
	}
	y.data = slices.Clone(x.data)
	for i, e := range y.data {
		if foreign(e.Int) {
			y.data[i] = elem{}
		}
	}
	y.of = x.of.detached(given)
	return &y
}
