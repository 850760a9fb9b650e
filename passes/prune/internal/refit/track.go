package refit

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// track runs a model piece by piece on a set of samples at once, and holds what later pieces need.
type track struct {
	model  *ir.Model
	engine engine.Engine
	pool   *par.Pool
	done   map[*ir.Node]bool
	values []map[*ir.Value]ir.Datum // by sample
	wanted map[*ir.Value]int        // values that somebody will ask for, and how often
	keep   bool                     // nothing is forgotten
}

// A Reference is the original model with the values it has taken, for refits that are tried one after another on the same samples.
type Reference struct{ track *track }

// NewReference begins one. It holds every value that was asked for.
func NewReference(t Task) (*Reference, error) {
	r, err := newTrack(t.Original, t.Engine, t.Pool, t.Samples)
	if err != nil {
		return nil, err
	}
	r.keep = true
	return &Reference{r}, nil
}

var errControl = errors.New("the model has control flow or functions, through which layers are not fitted")

// newTrack begins with the inputs.
func newTrack(m *ir.Model, e engine.Engine, pool *par.Pool, samples []map[string]ir.Datum) (*track, error) {
	for n := range m.Main.Nodes() {
		if len(n.Subgraphs()) > 0 || m.Function(n.Op()) != nil {
			return nil, errControl
		}
	}
	t := &track{model: m, engine: e, pool: pool, done: map[*ir.Node]bool{}, wanted: map[*ir.Value]int{}}
	for _, in := range samples {
		state := map[*ir.Value]ir.Datum{}
		for _, s := range m.Main.Inputs() {
			if d, ok := in[s.Name()]; ok {
				state[s.Value()] = d
			} else if s.Value().Default() != nil {
				state[s.Value()] = s.Value().Default()
			}
		}
		t.values = append(t.values, state)
	}
	return t, nil
}

// want announces values that advance will be asked for.
func (t *track) want(vs ...*ir.Value) {
	for _, v := range vs {
		t.wanted[v]++
	}
}

// release says that one who wanted the values has had them.
func (t *track) release(vs ...*ir.Value) {
	for _, v := range vs {
		if t.wanted[v]--; t.wanted[v] <= 0 {
			delete(t.wanted, v)
			if !t.keep && !t.needed(v) {
				for _, s := range t.values {
					delete(s, v)
				}
			}
		}
	}
}

// needed reports whether a node still to come uses v.
func (t *track) needed(v *ir.Value) bool {
	for u := range v.Uses() {
		if !t.done[u.Node] && !u.Node.IsReturn() {
			return true
		}
	}
	return false
}

// advance computes values, on all samples.
func (t *track) advance(ctx context.Context, vs ...*ir.Value) error {
	piece := map[*ir.Node]bool{}
	var visit func(v *ir.Value)
	var stack []*ir.Value
	visit = func(v *ir.Value) {
		if n := v.Node(); n != nil && !t.done[n] && !piece[n] && v.Const() == nil {
			piece[n] = true
			for _, o := range n.Operands() {
				if o != nil {
					stack = append(stack, o)
				}
			}
		}
	}
	stack = append(stack, vs...)
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		visit(v)
	}
	if len(piece) == 0 {
		return nil
	}
	var nodes []*ir.Node
	for n := range t.model.Main.Nodes() {
		if piece[n] {
			nodes = append(nodes, n)
		}
	}
	ins, outs, m := t.cut(nodes, piece)
	if err := t.run(ctx, ins, outs, m); err != nil {
		return err
	}
	for _, n := range nodes {
		t.done[n] = true
	}
	for _, v := range ins {
		if !t.keep && t.wanted[v] == 0 && !t.needed(v) {
			for _, s := range t.values {
				delete(s, v)
			}
		}
	}
	return nil
}

// cut copies nodes into a model of their own: its inputs are named by their place in ins, and its outputs in outs.
func (t *track) cut(nodes []*ir.Node, piece map[*ir.Node]bool) (ins, outs []*ir.Value, m *ir.Model) {
	m = ir.NewModel(t.model.IRVersion, t.model.Opset(""))
	for _, o := range t.model.Opsets() {
		m.SetOpset(o.Domain, o.Version)
	}
	to := map[*ir.Value]*ir.Value{}
	for _, n := range nodes {
		in := make([]*ir.Value, n.NumOperands())
		for i, v := range n.Operands() {
			switch {
			case v == nil:
			case to[v] != nil:
				in[i] = to[v]
			case v.Const() != nil:
				to[v] = m.Main.Const(v.Const())
				in[i] = to[v]
			default:
				to[v] = m.Main.AddInput(fmt.Sprintf("i%d", len(ins)), v.Type())
				ins, in[i] = append(ins, v), to[v]
			}
		}
		c := m.Main.NewN(nil, n.Op(), in, n.NumResults(), n.Attrs()...)
		for j, v := range n.Results() {
			if v == nil {
				c.OmitResult(j)
			} else {
				to[v] = c.Result(j)
			}
		}
	}
	for _, n := range nodes {
		for _, v := range n.Results() {
			if v == nil {
				continue
			}
			need := t.keep || t.wanted[v] > 0
			for u := range v.Uses() {
				need = need || !piece[u.Node] && !u.Node.IsReturn()
			}
			if need {
				m.Main.AddOutput(fmt.Sprintf("o%d", len(outs)), to[v], nil)
				outs = append(outs, v)
			}
		}
	}
	return ins, outs, m
}

func (t *track) run(ctx context.Context, ins, outs []*ir.Value, m *ir.Model) error {
	if len(outs) == 0 {
		return nil
	}
	s, err := t.engine.Load(ctx, m, engine.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	fail := make([]error, len(t.values))
	t.pool.For(len(t.values), 1, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			fail[i] = t.sample(ctx, s, i, ins, outs)
		}
	})
	return errors.Join(fail...)
}

func (t *track) sample(ctx context.Context, s engine.Session, i int, ins, outs []*ir.Value) error {
	in := map[string]ir.Datum{}
	for k, v := range ins {
		d := t.values[i][v]
		if d == nil {
			return fmt.Errorf("a value of the model is missing: %q", v.Name())
		}
		in[fmt.Sprintf("i%d", k)] = d
	}
	out, err := s.Run(ctx, in)
	if err != nil {
		return err
	}
	for k, v := range outs {
		t.values[i][v] = out[fmt.Sprintf("o%d", k)]
	}
	return nil
}

// tensor is the value of a sample, nil if it is none.
func (t *track) tensor(sample int, v *ir.Value) *ir.Tensor {
	x, _ := t.values[sample][v].(*ir.Tensor)
	return x
}
