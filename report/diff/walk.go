package diff

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/ir"
)

// walk goes over pairs and what has none.
type walk struct {
	m    *matcher
	r    *Result
	seen map[[2]*ir.Tensor]bool // pairs of constants that were compared
}

func (w *walk) nodes() error {
	for _, g := range w.m.a.Graphs() {
		for _, n := range nodesOf(g) {
			o := w.m.toB[n]
			if o == nil {
				w.r.Removed = append(w.r.Removed, nodeOf(n))
				continue
			}
			w.r.Paired++
			if nameOf(n) != nameOf(o) {
				w.r.Renamed++
			}
			if err := w.pair(n, o); err != nil {
				return err
			}
		}
	}
	for _, g := range w.m.b.Graphs() {
		for _, n := range nodesOf(g) {
			if w.m.toA[n] == nil {
				w.r.Added = append(w.r.Added, nodeOf(n))
			}
		}
	}
	return w.outputs()
}

// pair compares two nodes.
func (w *walk) pair(n, o *ir.Node) error {
	var what []string
	say := func(format string, a ...any) { what = append(what, fmt.Sprintf(format, a...)) }
	if n.Op() != o.Op() {
		say("%s became %s", n.Op(), o.Op())
	}
	for _, name := range attrNames(n, o) {
		x, y := n.Attr(name), o.Attr(name)
		switch {
		case x == nil:
			say("attribute %s was added: %s", name, spell(y))
		case y == nil:
			say("attribute %s was removed: %s", name, spell(x))
		case w.m.exact[0].attr(x) != w.m.exact[1].attr(y) && len(x.Graphs()) == 0:
			say("attribute %s: %s became %s", name, spell(x), spell(y))
		}
	}
	if n.NumOperands() != o.NumOperands() {
		say("%d operands became %d", n.NumOperands(), o.NumOperands())
	}
	for i := range min(n.NumOperands(), o.NumOperands()) {
		text, err := w.operand(n, i, n.Operand(i), o.Operand(i))
		if err != nil {
			return err
		}
		if text != "" {
			say("operand %d: %s", i, text)
		}
	}
	if n.NumResults() != o.NumResults() {
		say("%d results became %d", n.NumResults(), o.NumResults())
	}
	if len(what) > 0 {
		w.r.Changed = append(w.r.Changed, NodeChange{nodeOf(n), nodeOf(o), what})
		w.r.changed = append(w.r.changed, Pair{n, o, what})
	}
	return w.subgraphs(n, o)
}

// subgraphs compares what the graphs of two nodes return.
func (w *walk) subgraphs(n, o *ir.Node) error {
	for _, x := range n.Attrs() {
		gs, hs := x.Graphs(), o.Attr(x.Name).Graphs()
		for i := range min(len(gs), len(hs)) {
			if err := w.returns(n, gs[i], hs[i], fmt.Sprintf("of %s", x.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// outputs compares what the outputs of the main graph and of functions return.
func (w *walk) outputs() error {
	a, b := w.m.a.Main, w.m.b.Main
	for _, s := range a.Outputs() {
		k := slices.IndexFunc(b.Outputs(), func(t *ir.Slot) bool { return t.Name() == s.Name() })
		if k < 0 {
			continue
		}
		text, err := w.operand(a.Return(), 0, s.Value(), b.Outputs()[k].Value())
		if err != nil {
			return err
		}
		if text != "" {
			out := Node{a.Path(), s.Name(), "output"}
			w.r.Changed = append(w.r.Changed, NodeChange{out, out, []string{text}})
		}
	}
	for _, f := range w.m.a.Functions {
		if g := w.m.b.Function(f.ID()); g != nil {
			if err := w.returns(f.Graph.Return(), f.Graph, g.Graph, "of function "+f.ID().String()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) returns(at *ir.Node, g, h *ir.Graph, where string) error {
	if len(g.Outputs()) != len(h.Outputs()) {
		w.r.Changed = append(w.r.Changed, NodeChange{nodeOf(at), nodeOf(at), []string{fmt.Sprintf("the graph %s returns %d values, not %d", where, len(h.Outputs()), len(g.Outputs()))}})
		return nil
	}
	for i, s := range g.Outputs() {
		text, err := w.operand(at, i, s.Value(), h.Outputs()[i].Value())
		if err != nil {
			return err
		}
		if text != "" {
			w.r.Changed = append(w.r.Changed, NodeChange{nodeOf(at), nodeOf(at), []string{fmt.Sprintf("result %d %s: %s", i, where, text)}})
		}
	}
	return nil
}

// operand compares what two nodes take at one place; "" is the same, as far as the weights do not tell.
func (w *walk) operand(n *ir.Node, _ int, x, y *ir.Value) (string, error) {
	switch {
	case x == nil && y == nil:
		return "", nil
	case x == nil:
		return "was omitted, is " + source(y), nil
	case y == nil:
		return source(x) + " was dropped", nil
	}
	if s, t := x.Const(), y.Const(); s != nil && t != nil {
		return "", w.weight(n, x, y)
	} else if s != nil || t != nil || !w.m.same(x, y) {
		return fmt.Sprintf("was %s, is %s", source(x), source(y)), nil
	}
	return "", nil
}

// source says where a value comes from.
func source(v *ir.Value) string {
	n, i := v.Def()
	switch {
	case v.Const() != nil:
		return fmt.Sprintf("constant %q", v.Name())
	case n == nil:
		return fmt.Sprintf("input %q", v.Name())
	case i > 0:
		return fmt.Sprintf("result %d of %s", i, nodeOf(n))
	}
	return nodeOf(n).String()
}

// weight compares two constants.
func (w *walk) weight(n *ir.Node, x, y *ir.Value) error {
	s, t := x.Const(), y.Const()
	if k := [2]*ir.Tensor{s, t}; w.seen[k] {
		return nil
	} else {
		w.seen[k] = true
	}
	if w.m.exact[0].tensor(s) == w.m.exact[1].tensor(t) {
		w.r.SameWeights++
		return nil
	}
	c := WeightChange{Name: x.Name(), Node: nodeOf(n), A: s.Type().String(), B: t.Type().String()}
	if c.Name == "" {
		c.Name = y.Name()
	}
	switch {
	case s.DType() != t.DType():
		c.Note = "another type"
	case !slices.Equal(s.Shape(), t.Shape()):
		c.Note = "another shape"
	case s.DType() == ir.String:
		c.Note = "other strings"
	default:
		d := compare.Datum(s, t)
		switch {
		case d.Unlike != "":
			c.Note = d.Unlike
		case !s.DType().IsFloat():
			c.Abs = finite(d.Steps)
		default:
			c.Rel, c.Abs, c.Equal = finite(d.Rel), finite(d.Abs), finite(d.Cosine)
		}
	}
	w.r.Weights = append(w.r.Weights, c)
	return nil
}

func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func attrNames(n, o *ir.Node) (names []string) {
	for _, a := range append(slices.Clone(n.Attrs()), o.Attrs()...) {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// spell is an attribute's value in short.
func spell(a *ir.Attr) string {
	s := ""
	switch a.Kind {
	case ir.AttrFloat:
		s = fmt.Sprint(a.Float())
	case ir.AttrInt:
		s = fmt.Sprint(a.Int())
	case ir.AttrString:
		s = fmt.Sprintf("%q", a.Str())
	case ir.AttrFloats:
		s = fmt.Sprint(a.Floats())
	case ir.AttrInts:
		s = fmt.Sprint(a.Ints())
	case ir.AttrStrings:
		s = fmt.Sprintf("%q", a.Strs())
	case ir.AttrTensor:
		s = fmt.Sprintf("a tensor %s", a.Tensor().Type())
	case ir.AttrType:
		s = a.Type().String()
	default:
		s = "a value of kind " + a.Kind.String()
	}
	if a.Ref != "" {
		s = "that of the function's attribute " + a.Ref
	}
	if len(s) > 80 {
		s = s[:77] + "..."
	}
	return strings.ReplaceAll(s, "\n", " ")
}
