package compare

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Relation lets a model be compared with an original of another interface. Original computes what the original does and has outputs
// as the other model names and lays them out; it takes the other model's inputs, and besides them those of the original that the other one
// has lost. Inputs of the other model that are inner values of the original are handed over from one run to the other.
type Relation struct {
	Original *ir.Model

	taps   map[string]string  // output of Original: input of the other model
	inputs map[string]bool    // of the other model, taps excepted
	from   map[string]ir.Port // how an input of the original is made of the one of Original
}

// Relate makes the relation of a, the original, and b, whose interface is as border says. nil stands for the same interface. a and b do
// not change. An error says why the two cannot be compared.
func Relate(a, b *ir.Model, border *ir.Border) (*Relation, error) {
	if border == nil {
		return &Relation{Original: a}, nil
	}
	if border.Why != "" {
		return nil, fmt.Errorf("%s", border.Why)
	}
	r := &relating{
		m: a.Clone(), b: map[string]*ir.Slot{}, border: border, tap: map[string]string{},
		rel: &Relation{taps: map[string]string{}, inputs: map[string]bool{}, from: map[string]ir.Port{}},
	}
	r.rel.Original = r.m
	r.m.Training = nil
	for _, p := range border.Taps {
		r.tap[p.Name] = p.Of
	}
	for _, s := range b.Main.Inputs() {
		if r.b[s.Name()] = s; r.tap[s.Name()] == "" {
			r.rel.inputs[s.Name()] = true
		}
	}
	if err := r.outputs(b); err != nil {
		return nil, err
	}
	r.inputs()
	for n := range r.m.Nodes() { // sizes may be others now
		for _, v := range n.Results() {
			if v != nil && v.Type() != nil {
				v.SetType(v.Type().WithoutShapes())
			}
		}
	}
	return r.rel, nil
}

// relating is a Relate that is going on.
type relating struct {
	m      *ir.Model // a copy of the original
	b      map[string]*ir.Slot
	border *ir.Border
	tap    map[string]string
	rel    *Relation
}

// find is the value of the main graph that has the name; outputs come first, since they own theirs.
func (r *relating) find() func(name string) *ir.Value {
	g := r.m.Main
	byName := map[string]*ir.Value{}
	add := func(name string, v *ir.Value) {
		if name != "" && byName[name] == nil {
			byName[name] = v
		}
	}
	for _, s := range g.Outputs() {
		add(s.Name(), s.Value())
	}
	for _, s := range g.Inputs() {
		add(s.Name(), s.Value())
	}
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				add(v.Name(), v)
			}
		}
	}
	for _, v := range g.Consts() {
		add(v.Name(), v)
	}
	return func(name string) *ir.Value { return byName[name] }
}

// outputs gives the copy the outputs of b, and one for each value that b takes as an input.
func (r *relating) outputs(b *ir.Model) error {
	g := r.m.Main
	ports := r.border.Outputs
	if ports == nil {
		for _, s := range g.Outputs() {
			ports = append(ports, ir.Port{Name: s.Name(), Of: s.Name()})
		}
	}
	ports = slices.Concat(ports, r.border.Added)
	find := r.find()
	taken := map[string]bool{}
	var values []*ir.Value
	for _, p := range append(ports[:len(ports):len(ports)], r.border.Taps...) {
		v := find(p.Of)
		if v == nil {
			return fmt.Errorf("the original has no value %q", p.Of)
		}
		taken[p.Name] = true
		values = append(values, v)
	}
	for i := len(g.Outputs()) - 1; i >= 0; i-- {
		g.RemoveOutput(i)
	}
	declared := map[string]*ir.Type{}
	for _, s := range b.Main.Outputs() {
		declared[s.Name()] = s.Type()
	}
	for i, p := range ports {
		g.AddOutput(p.Name, r.convert(values[i], p.Steps), declared[p.Name].WithoutShapes())
	}
	for i, p := range r.border.Taps {
		name := "tap:" + p.Name
		for taken[name] {
			name += "'"
		}
		taken[name] = true
		r.rel.taps[name] = p.Name
		g.AddOutput(name, r.convert(values[len(ports)+i], p.Steps), r.b[p.Name].Type().WithoutShapes())
	}
	return nil
}

func (r *relating) convert(v *ir.Value, steps []ir.PortStep) *ir.Value {
	for _, s := range steps {
		switch {
		case s.To != ir.Undefined:
			v = r.m.Main.New(nil, ir.Op("Cast"), []*ir.Value{v}, ir.IntAttr("to", int64(s.To))).Result(0)
		default:
			v = r.m.Main.New(nil, ir.Op("Transpose"), []*ir.Value{v}, ir.IntsAttr("perm", s.Perm)).Result(0)
		}
	}
	return v
}

// inputs gives the copy the inputs of b where they correspond to its own.
func (r *relating) inputs() {
	g := r.m.Main
	ports := map[string]ir.Port{}
	for _, p := range r.border.Inputs {
		ports[p.Name] = p
	}
	for _, f := range r.border.Fixed {
		if i := slices.IndexFunc(g.Inputs(), func(s *ir.Slot) bool { return s.Name() == f.Name }); i >= 0 {
			g.Inputs()[i].Value().ReplaceUses(r.convert(g.Const(f.Value), f.Steps))
			g.RemoveInput(i)
		}
	}
	old := append([]*ir.Slot(nil), g.Inputs()...)
	for i := len(old) - 1; i >= 0; i-- {
		s := old[i]
		p, ok := ports[s.Name()]
		if !ok {
			p = ir.Port{Name: s.Name(), Of: s.Name()}
		}
		t := r.b[p.Of]
		// b has lost it, or has a default of its own in another form, which the copy could not have: then each takes its own.
		if t == nil || r.tap[p.Of] != "" || len(p.Steps) > 0 && s.Value().Default() != nil {
			name := s.Name()
			for r.b[name] != nil {
				name += "'"
			}
			r.rel.from[name] = ir.Port{Name: s.Name()}
			s.SetName(name)
			continue
		}
		r.rel.from[p.Of] = p
		if len(p.Steps) == 0 {
			s.SetName(p.Of)
			s.SetType(narrowed(t.Type(), s.Type()))
			continue
		}
		v := g.AddInput(p.Of, t.Type())
		s.Value().ReplaceUses(r.convert(v, p.Steps))
		g.RemoveInput(i)
	}
}

// narrowed is t with the sizes that u fixes and t leaves open.
func narrowed(t, u *ir.Type) *ir.Type {
	if !t.IsTensor() || !u.IsTensor() || t.Shape == nil || len(t.Shape) != len(u.Shape) {
		return t
	}
	s := append(ir.Shape{}, t.Shape...)
	for i, d := range u.Shape {
		if !s[i].IsStatic() && d.IsStatic() {
			s[i] = d
		}
	}
	return ir.TensorType(t.Elem, s)
}

// Source is src, which yields inputs of the original, for the inputs that the comparison takes: under their names, in their layout and
// element type.
func (r *Relation) Source(src Source) Source {
	if r.from == nil {
		return src
	}
	return renamed{src, r}
}

type renamed struct {
	Source
	r *Relation
}

func (s renamed) Sets(ctx context.Context) iter.Seq2[Set, error] {
	return func(yield func(Set, error) bool) {
		for set, err := range s.Source.Sets(ctx) {
			in := map[string]ir.Datum{}
			for name, p := range s.r.from {
				d, ok := set.Inputs[p.Name]
				switch {
				case !ok:
				default:
					var e error
					if in[name], e = s.r.undo(ctx, d, name, p.Steps); e != nil && err == nil {
						err = e
					}
				}
			}
			set.Inputs = in
			if !yield(set, err) || err != nil {
				return
			}
		}
	}
}

// undo converts a value of the original's input to what stands for it at input name, from which the steps make it.
func (r *Relation) undo(ctx context.Context, d ir.Datum, name string, steps []ir.PortStep) (ir.Datum, error) {
	for _, s := range slices.Backward(steps) {
		op, attr := ir.Op("Transpose"), ir.IntsAttr("perm", ir.InversePerm(s.Perm))
		if s.To != ir.Undefined {
			elem := ir.Undefined
			for _, in := range r.Original.Main.Inputs() {
				if in.Name() == name {
					elem = in.Type().DType()
				}
			}
			op, attr = ir.Op("Cast"), ir.IntAttr("to", int64(elem))
		}
		out, err := kernel.Lookup(op, 13)(kernel.NewCall(ctx, op, 13, func(a string) *ir.Attr {
			if a == attr.Name {
				return attr
			}
			return nil
		}, []ir.Datum{d}, 1))
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		d = out[0]
	}
	return d, nil
}

// sessions make the two loaded models take the same inputs and give the same outputs.
func (r *Relation) sessions(a, b engine.Session) (engine.Session, engine.Session) {
	if r == nil || r.from == nil {
		return a, b
	}
	between := map[string]ir.Datum{}
	return &tapping{a, r, between}, &tapped{b, r, between}
}

// tapping is the original; it keeps what the other model takes as inputs.
type tapping struct {
	engine.Session
	r       *Relation
	between map[string]ir.Datum
}

func (t *tapping) Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	out, err := t.Session.Run(ctx, in)
	if err != nil {
		return nil, err
	}
	out = maps.Clone(out)
	for name, to := range t.r.taps {
		t.between[to] = out[name]
		delete(out, name)
	}
	return out, nil
}

// tapped is the other model.
type tapped struct {
	engine.Session
	r       *Relation
	between map[string]ir.Datum
}

func (t *tapped) Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	own := maps.Clone(t.between)
	for name := range t.r.inputs {
		if d, ok := in[name]; ok {
			own[name] = d
		}
	}
	return t.Session.Run(ctx, own)
}

// check compares the interfaces of the two models, those of related ones as far as the relation does not make them equal.
func (r *Relation) check(a, b *ir.Model) error {
	if r == nil || r.from == nil {
		return Interface(a, b)
	}
	var outputs []*ir.Slot
	for _, s := range a.Main.Outputs() {
		if _, tap := r.taps[s.Name()]; !tap {
			outputs = append(outputs, s)
		}
	}
	for _, s := range b.Main.Inputs() {
		if _, known := r.from[s.Name()]; !known && !r.tapsInto(s.Name()) && s.Value().Default() == nil {
			return fmt.Errorf("input %q stands for nothing in the original", s.Name())
		}
	}
	return slots("output", outputs, b.Main.Outputs())
}

func (r *Relation) tapsInto(input string) bool {
	for _, to := range r.taps {
		if to == input {
			return true
		}
	}
	return false
}
