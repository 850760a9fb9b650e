// Package setshape is the pass that sets and frees dimensions of inputs.
package setshape

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// Options of the pass.
type Options struct {
	Shapes map[string]string `opt:"*" doc:"x=[1,3,h,w] or x=[0:batch] for an input, n=4 for a symbol; an element is a size, a symbol, ? (open) or _ (as it is)"`
}

// Pass sets dimensions of inputs.
var Pass = passes.Define(passes.Info{
	Name: "set-shape",
	Doc:  "sets or frees dimensions of inputs, and what follows for the model",
	Long: `x=[1,3,h,w] states the whole shape of input x, x=[0:batch,2:h] some of its axes, n=4 what the symbol n is, at all inputs. A
size in place of a symbol fixes the dimension everywhere; a symbol or ? in place of a size frees it. Shapes of
intermediate values and outputs are inferred anew, and a node that cannot take the new shapes is an error.

The old size may be written into the model: a Reshape to a constant shape, for one. Where its place in the constant is
certain, it becomes "as the operand" (0) or "the rest" (-1). A freed size is then tried: the model is inferred once more with
another one in its place, and a node that still insists on the old one is an error that names it.`,
	Example: "set-shape{x=[1,3,224,224]}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	s := &setter{m: m, symbols: map[string]ir.Dim{}, freed: map[string]int64{}}
	for _, key := range slices.Sorted(maps.Keys(o.Shapes)) {
		if err := s.option(key, o.Shapes[key]); err != nil {
			return err
		}
	}
	if err := s.plan(); err != nil || !s.changes() {
		return err
	}
	var err error
	c.Rewrite("set-shape", nil, nil, func() {
		c.Border(&ir.Border{})
		err = s.apply()
	})
	return err
}

// setter is one run of the pass.
type setter struct {
	m       *ir.Model
	given   []given
	symbols map[string]ir.Dim // what becomes of a symbol
	freed   map[string]int64  // symbols that stand where sizes stood, and which
	loose   []loose           // where sizes stood that are open now
	resized bool              // a size became another, or open: what is recorded of intermediate values may be wrong
	size    int64             // the size that was, 0 if there are several
	shapes  []ir.Shape        // of the inputs, in order; nil: as it is
	old     *infer.Result
}

// given is an input's shape as the options have it; dims without an entry stay.
type given struct {
	input int
	dims  map[int]ir.Dim
}

// loose is a dimension of an input that had a size.
type loose struct {
	input, axis int
	name        string // its symbol, or where it is
	size        int64
}

// option reads one option.
func (s *setter) option(key, text string) error {
	inputs := s.m.Main.Inputs()
	i := slices.IndexFunc(inputs, func(x *ir.Slot) bool { return x.Name() == key })
	list := strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]")
	switch {
	case i >= 0 && !list:
		return fmt.Errorf("the shape of input %q is a list, like %s=[1,3,h,w], not %q", key, key, text)
	case i < 0 && (list || !s.hasSymbol(key)):
		return s.unknown(key)
	case i < 0:
		d, _, err := dim(text)
		s.symbols[key] = d
		return err
	}
	return s.shape(i, text[1:len(text)-1])
}

// shape reads the list of input i.
func (s *setter) shape(i int, text string) error {
	in := s.m.Main.Inputs()[i]
	t := in.Type()
	if t != nil && !t.IsTensor() {
		return fmt.Errorf("input %q is no tensor but %s", in.Name(), t)
	}
	g := given{i, map[int]ir.Dim{}}
	var parts []string
	if strings.TrimSpace(text) != "" {
		parts = strings.Split(text, ",")
	}
	rank := len(t.TensorShape())
	whole := len(parts) == 0 || !strings.Contains(parts[0], ":")
	switch {
	case !whole && t.TensorShape() == nil:
		return fmt.Errorf("the rank of input %q is not known: state the whole shape", in.Name())
	case whole && t.TensorShape() != nil && len(parts) != rank:
		return fmt.Errorf("input %q has %d dimensions, %s, and not %d", in.Name(), rank, t.Shape, len(parts))
	}
	for axis, p := range parts {
		if !whole {
			var err error
			if axis, p, err = axisOf(p, rank); err != nil {
				return fmt.Errorf("input %q: %w", in.Name(), err)
			}
		}
		d, keep, err := dim(p)
		if err != nil {
			return fmt.Errorf("input %q: %w", in.Name(), err)
		}
		if _, twice := g.dims[axis]; twice {
			return fmt.Errorf("input %q: axis %d is given twice", in.Name(), axis)
		}
		if !keep || t.TensorShape() == nil {
			g.dims[axis] = d
		}
	}
	s.given = append(s.given, g)
	return nil
}

// plan finds the new shapes of all inputs.
func (s *setter) plan() error {
	for _, g := range s.given {
		shape := s.m.Main.Inputs()[g.input].Type().TensorShape()
		for _, axis := range slices.Sorted(maps.Keys(g.dims)) {
			if axis < len(shape) && named(shape[axis]) {
				if err := s.rename(shape[axis].Param, g.dims[axis]); err != nil {
					return err
				}
			}
		}
	}
	s.shapes = make([]ir.Shape, len(s.m.Main.Inputs()))
	for i, in := range s.m.Main.Inputs() {
		old := in.Type().TensorShape()
		var own map[int]ir.Dim
		for _, g := range s.given {
			if g.input == i {
				own = g.dims
			}
		}
		if old == nil && own == nil {
			continue
		}
		shape := make(ir.Shape, max(len(old), len(own)))
		for axis := range shape {
			if err := s.dimension(i, axis, old, own, shape); err != nil {
				return err
			}
		}
		if old == nil || !shape.Equal(old) {
			if def := in.Value().Default(); def != nil && !admits(shape, def.Shape()) {
				return fmt.Errorf("input %q has a default of shape %v, which is not %s", in.Name(), def.Shape(), shape)
			}
			s.shapes[i] = shape
		}
	}
	return nil
}

// dimension finds one dimension of an input.
func (s *setter) dimension(i, axis int, old ir.Shape, own map[int]ir.Dim, shape ir.Shape) error {
	d, given := own[axis]
	if axis >= len(old) {
		shape[axis] = d
		return nil
	}
	was := old[axis]
	if !given {
		d = was
		if e, ok := s.symbols[was.Param]; ok && named(was) {
			d = e
		}
	}
	d.Denotation = was.Denotation
	shape[axis] = d
	if !was.IsStatic() || d.IsStatic() && d.Size == was.Size {
		return nil
	}
	if s.resized && s.size != was.Size {
		s.size = 0
	} else {
		s.size = was.Size
	}
	s.resized = true
	if d.IsStatic() {
		return nil
	}
	name := d.Param
	if name == "" {
		name = fmt.Sprintf("dimension %d of %q", axis, s.m.Main.Inputs()[i].Name())
	}
	if size, ok := s.freed[name]; ok && size != was.Size {
		return fmt.Errorf("%q would stand for %d and for %d", name, size, was.Size)
	}
	s.freed[name] = was.Size
	s.loose = append(s.loose, loose{i, axis, name, was.Size})
	return nil
}

// named reports whether d has a symbol. Some exporters write "?" for every size they do not know.
func named(d ir.Dim) bool { return d.Param != "" && d.Param != "?" }

// rename notes what becomes of a symbol. It means one size throughout the model, so that it can become one thing only.
func (s *setter) rename(symbol string, d ir.Dim) error {
	if e, ok := s.symbols[symbol]; ok && e.String() != d.String() {
		return fmt.Errorf("%q would become %s and %s, and it means one size", symbol, e, d)
	}
	s.symbols[symbol] = d
	return nil
}

func (s *setter) changes() bool {
	return slices.ContainsFunc(s.shapes, func(x ir.Shape) bool { return x != nil })
}

// apply changes the model.
func (s *setter) apply() error {
	s.old = infer.Model(s.m)
	for i, in := range s.m.Main.Inputs() {
		if s.shapes[i] != nil {
			t := ir.Type{Kind: ir.KindTensor}
			if in.Type() != nil {
				t = *in.Type()
			}
			t.Shape = s.shapes[i]
			in.SetType(&t)
		}
	}
	recorded := s.forget()
	r := infer.Model(s.m)
	for s.resized && s.loosen(r) {
		r = infer.Model(s.m)
	}
	if err := contradiction(r, "the model cannot take these shapes"); err != nil {
		return err
	}
	if err := s.probe(); err != nil {
		return err
	}
	s.record(r, recorded)
	return nil
}

// contradiction is the first error of inference.
func contradiction(r *infer.Result, what string) error {
	for _, x := range r.Remarks() {
		if x.Severity == infer.Error {
			return fmt.Errorf("%s: %s", what, x)
		}
	}
	return nil
}

// forget drops the recorded shapes that need not be true any more, of intermediate values and outputs, and lists the values.
func (s *setter) forget() []*ir.Value {
	var r []*ir.Value
	for _, g := range s.m.Graphs() {
		if g.Function() != nil {
			continue
		}
		loop := inLoop(g)
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil && v.Type() != nil {
					r = append(r, v)
					v.SetType(s.forgotten(v.Type(), loop))
				}
			}
		}
		for _, o := range g.Outputs() {
			if o.Type() != nil {
				o.SetType(s.forgotten(o.Type(), loop))
			}
		}
	}
	return r
}

// inLoop reports whether g is run several times, perhaps with another size behind a symbol each time.
func inLoop(g *ir.Graph) bool {
	for ; g.Owner() != nil; g = g.Outer() {
		if g.Owner().Op().Type != "If" {
			return true
		}
	}
	return false
}

// forgotten is what of t stays true.
func (s *setter) forgotten(t *ir.Type, loop bool) *ir.Type {
	if t == nil {
		return nil
	}
	u := *t
	u.Of = s.forgotten(t.Of, loop)
	u.Shape = slices.Clone(t.Shape)
	for i, d := range t.Shape {
		e, renamed := s.symbols[d.Param]
		switch {
		case s.resized, renamed && loop:
			u.Shape[i] = ir.Dim{Size: -1, Denotation: d.Denotation}
		case named(d) && renamed:
			u.Shape[i] = ir.Dim{Size: e.Size, Param: e.Param, Denotation: d.Denotation}
		case d.Param != "" && s.mentions(d.Param):
			u.Shape[i] = ir.Dim{Size: -1, Denotation: d.Denotation}
		}
	}
	return &u
}

// mentions reports whether a dimension that is written as an expression holds a symbol that becomes something else.
func (s *setter) mentions(expression string) bool {
	for _, word := range strings.FieldsFunc(expression, func(c rune) bool { return !isWord(c) }) {
		if _, ok := s.symbols[word]; ok {
			return true
		}
	}
	return false
}

// record states what was inferred of values that had a type before, and of outputs.
func (s *setter) record(r *infer.Result, values []*ir.Value) {
	for _, v := range values {
		if t, ok := merged(v.Type(), r.Type(v)); ok {
			v.SetType(t)
		}
	}
	for _, g := range s.m.Graphs() {
		if g.Function() != nil {
			continue
		}
		for _, o := range g.Outputs() {
			if t, ok := merged(o.Type(), r.Type(o.Value())); ok {
				o.SetType(t)
			}
		}
	}
}

// merged is t with what inference adds; inference wins where the two disagree about the shape.
func merged(t, inferred *ir.Type) (*ir.Type, bool) {
	if t == nil || inferred == nil {
		return t, false
	}
	if u, ok := t.Merge(inferred); ok {
		return u, true
	}
	if u, ok := t.WithoutShapes().Merge(inferred); ok {
		return u, true
	}
	return t, false
}
