package quantize

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// clearlySlower is how much longer an operator has to take in integers to stay float; times of the same thing differ by less.
const clearlySlower = 1.05

// aloneFor is how long an operator is timed in both forms.
const aloneFor = 60 * time.Millisecond

// withoutSlow leaves in float the weighted operators that take longer in integers than in float, each timed alone between tensors that are in
// integers already. It is p itself where that is none of them or all.
func (p *plan) withoutSlow(data *measured.Calibration, clock engine.Engine) (*plan, error) {
	var inputs []*ir.Value
	var units []*unit
	for _, u := range p.units {
		if u.kind == weighted {
			units, inputs = append(units, u), append(inputs, u.node.Operand(u.acts[0]))
		}
	}
	shapes, err := p.shapes(data, inputs)
	if err != nil {
		return nil, err
	}
	exempt := map[*ir.Node]string{}
	known := map[string]bool{} // operators of one form take one time
	for i, u := range units {
		key := formOf(u, shapes[i])
		slow, ok := known[key]
		if !ok {
			if slow, err = p.slowAlone(u, shapes[i], clock); err != nil {
				return nil, err
			}
			known[key] = slow
		}
		if slow {
			exempt[u.source] = "int8 makes it slower in engine " + clock.Name()
		}
	}
	if len(exempt) == 0 || len(exempt) == len(units) { // then that of the whole model decides
		return p, nil
	}
	return p.without(exempt)
}

// formOf says what the time of a unit depends on.
func formOf(u *unit, shape []int64) string {
	s := fmt.Sprint(u.node.Op(), shape, u.node.Operand(u.weight).Const().Shape(), u.bias >= 0, u.float)
	for _, a := range u.node.Attrs() {
		s += fmt.Sprint(" ", a)
	}
	if u.clamp != nil {
		s += " " + u.clamp.Op().Type
	}
	return s
}

// shapes are those of values, from their types or else from a run; nil for what the run did not make.
func (p *plan) shapes(data *measured.Calibration, values []*ir.Value) ([][]int64, error) {
	r := make([][]int64, len(values))
	var open []*ir.Value
	var at []int
	for i, v := range values {
		dims, ok := p.facts.Shape(v).Ints()
		if ok && p.facts.Shape(v) != nil {
			r[i] = dims
			continue
		}
		open, at = append(open, v), append(at, i)
	}
	const at1 = 16 // tensors a run
	for from := 0; from < len(open); from += at1 {
		to := min(from+at1, len(open))
		err := data.Limit(1).Taps(p.c.Context(), p.m, open[from:to], func(_ int, t []*ir.Tensor) error {
			for k, x := range t {
				if x != nil {
					r[at[from+k]] = x.Shape()
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// slowAlone reports whether a unit is slower in integers.
func (p *plan) slowAlone(u *unit, shape []int64, clock engine.Engine) (bool, error) {
	if shape == nil || ir.NumElements(shape) == 0 {
		return false, nil
	}
	float, _ := p.alone(u, shape)
	if float == nil {
		return false, nil
	}
	integer, err := p.aloneInIntegers(u, shape)
	if err != nil || integer == nil {
		return false, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, ir.NumElements(shape))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	dtype := p.byVal[u.node.Operand(u.acts[0])].group.q.dtype
	b := make([]byte, dtype.ByteLen(int64(len(x))))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	t, err := race(p.c.Context(), clock, aloneFor, []*ir.Model{float, integer},
		map[string]ir.Datum{"x": ir.TensorOf(x, shape...)}, map[string]ir.Datum{"q": ir.NewTensor(dtype, shape, b)})
	if err != nil {
		return false, err
	}
	return t[1] > clearlySlower*t[0], nil
}

// alone is a model of nothing but the unit, from its input "x" to its result; nil if another operand is not constant.
func (p *plan) alone(u *unit, shape []int64) (*ir.Model, *unit) {
	m := ir.NewModel(p.m.IRVersion, p.m.Opset(""))
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(shape...)))
	copied := func(n *ir.Node, act int, in *ir.Value) *ir.Node {
		operands := make([]*ir.Value, n.NumOperands())
		for i, v := range n.Operands() {
			switch {
			case i == act:
				operands[i] = in
			case v == nil:
			case v.Const() == nil:
				return nil
			default:
				operands[i] = m.Main.Const(v.Const())
			}
		}
		return m.Main.NewN(nil, n.Op(), operands, 1, n.Attrs()...)
	}
	k := *u
	if k.node = copied(u.node, u.acts[0], x); k.node == nil {
		return nil, nil
	}
	k.out = k.node.Result(0)
	if u.clamp != nil {
		if k.clamp = copied(u.clamp, 0, k.out); k.clamp == nil {
			return nil, nil
		}
		k.out = k.clamp.Result(0)
	}
	m.Main.AddOutput("y", k.out, nil)
	return m, &k
}

// aloneInIntegers is alone with integers for its input, "q", and, unless the plan wants floats, for its result.
func (p *plan) aloneInIntegers(u *unit, shape []int64) (*ir.Model, error) {
	m, k := p.alone(u, shape)
	if m == nil {
		return nil, nil
	}
	q := &plan{c: p.c, m: m, facts: p.facts, o: p.o, p: p.p, over: p.over, tuned: p.tuned, trial: true, units: []*unit{k},
		byNode: map[*ir.Node]*unit{k.node: k}, byVal: map[*ir.Value]*site{}}
	x := m.Main.Inputs()[0].Value()
	place := func(v *ir.Value, like *site, from *unit) {
		s := &site{value: v, group: &group{root: v, q: like.group.q}, from: from}
		s.group.sites = []*site{s}
		q.sites, q.groups, q.byVal[v] = append(q.sites, s), append(q.groups, s.group), s
	}
	in := p.byVal[u.node.Operand(u.acts[0])]
	place(x, in, nil)
	if out := p.byVal[u.out]; out != nil && !u.float {
		place(k.out, out, k)
	}
	if err := q.apply(); err != nil {
		return nil, err
	}
	g := m.Main
	for use := range x.Uses() {
		if n := use.Node; n.Is("QuantizeLinear") {
			n.Result(0).ReplaceUses(g.AddInput("q", ir.TensorType(in.group.q.dtype, ir.StaticShape(shape...))))
			g.Erase(n)
			g.RemoveInput(0)
			break
		}
	}
	if dq := g.Outputs()[0].Value().Node(); dq.Is("DequantizeLinear") {
		g.RemoveOutput(0)
		g.AddOutput("y", dq.Operand(0), nil)
		g.Erase(dq)
	}
	return m, p.c.Err()
}
