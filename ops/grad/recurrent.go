package grad

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// A recurrent layer is differentiated through time (Werbos, Backpropagation through time, 1990). The results say what the hidden state was
// before each step, so that the gates of all steps come from one product; the cell of an LSTM is found again by a Scan, and a Scan
// against the order of the steps carries the derivatives by the states. It gives those by the sums before the gates, and products over all
// steps those by the weights. Steps behind the end of a sequence only pass the states on.

// recurrent is one direction of a layer, its steps in the order in which they are taken, and without the axis of directions.
type recurrent struct {
	b       *builder
	hidden  int64
	reverse bool
	lens    *ir.Value // int64[B], nil if all steps count
	mask    *ir.Value // bool[T,B,1]

	x, w, r, h0 *ir.Value // [T,B,I], [G·H,I], [G·H,H], [B,H]
	bw, br      *ir.Value // [G·H], nil
	before      *ir.Value // [T,B,H], the hidden state before each step
	dy          *ir.Value // [T,B,H]
	dh, dc, c0  *ir.Value // [B,H]
}

// gradients are those of one direction.
type gradients struct{ x, w, r, bw, br, h0, c0 *ir.Value }

func recurrentRule(b *builder) error {
	n, lstm := b.n, b.n.Is("LSTM")
	gates := int64(3)
	if lstm {
		gates = 4
	}
	hidden := n.Int("hidden_size", 0)
	if hidden == 0 {
		if hidden = staticAt(b, b.in(2), 2); hidden <= 0 {
			return fmt.Errorf("hidden_size is not known")
		}
	}
	if err := plain(n, lstm); err != nil {
		return err
	}
	directions := []bool{false}
	switch ops.Str(n, "direction") {
	case "reverse":
		directions = []bool{true}
	case "bidirectional":
		directions = []bool{false, true}
	}
	first := ops.Int(n, "layout") != 0
	// Steps come first, then directions.
	time := func(v *ir.Value) *ir.Value {
		if v != nil && first {
			return b.transpose(v, 1, 0, 2)
		}
		return v
	}
	all := b.out(0)
	if all == nil {
		all = b.g.NewN(n, n.Op(), n.Operands(), 1, n.Attrs()...).Result(0)
	}
	dy := b.dy[0]
	if first {
		all = b.transpose(all, 1, 2, 0, 3)
		if dy != nil {
			dy = b.transpose(dy, 1, 2, 0, 3)
		}
	}
	x := time(b.in(0))
	state := func(i int) *ir.Value {
		if i < len(b.dy) {
			return time(b.dy[i])
		}
		return nil
	}
	dh, dc := state(1), state(2)
	zero := b.fill(b.concat(0, b.with("Shape", []*ir.Value{x}, ir.IntAttr("start", 1), ir.IntAttr("end", 2)), b.ints(hidden)), b.one(b.elem(b.in(0)), 0))
	parts := make([]*gradients, len(directions))
	for d, reverse := range directions {
		at := b.g.Const(ir.ScalarOf(int64(d)))
		take := func(v *ir.Value, axis int64, otherwise *ir.Value) *ir.Value {
			if v == nil {
				return otherwise
			}
			return b.with("Gather", []*ir.Value{v, at}, ir.IntAttr("axis", axis))
		}
		r := &recurrent{b: b, hidden: hidden, reverse: reverse, w: take(b.in(1), 0, nil), r: take(b.in(2), 0, nil), h0: take(time(b.in(5)), 0, zero),
			c0: zero, dh: take(dh, 0, zero), dc: take(dc, 0, zero)}
		if lstm {
			r.c0 = take(time(b.in(6)), 0, zero)
		}
		if bias := take(b.in(3), 0, nil); bias != nil {
			half := b.ints(gates * hidden)
			r.bw, r.br = b.slice(bias, b.ints(0), half, 0), b.slice(bias, half, b.ints(2*gates*hidden), 0)
		}
		if b.in(4) != nil {
			r.lens = b.cast(b.in(4), ir.Int64)
			steps := b.op("Range", b.g.Const(ir.ScalarOf(int64(0))), b.op("Squeeze", b.length(x), b.ints(0)), b.g.Const(ir.ScalarOf(int64(1))))
			r.mask = b.op("Unsqueeze", b.op("Less", b.op("Unsqueeze", steps, b.ints(1)), b.op("Unsqueeze", r.lens, b.ints(0))), b.ints(2))
		}
		r.x = r.turn(x)
		y := r.turn(take(all, 1, nil))
		r.before = b.concat(0, b.op("Unsqueeze", r.h0, b.ints(0)), b.slice(y, b.ints(0), b.ints(-1), 0))
		if dy != nil {
			r.dy = r.turn(take(dy, 1, nil))
		} else {
			r.dy = b.fill(b.op("Shape", y), b.one(b.elem(b.in(0)), 0))
		}
		if lstm {
			parts[d] = r.lstm()
		} else {
			parts[d] = r.gru(ops.Int(n, "linear_before_reset") != 0)
		}
	}
	b.passParts(parts, time)
	return nil
}

// plain says what in a layer has no derivative here.
func plain(n *ir.Node, lstm bool) error {
	names := n.Attr("activations").Strs()
	want := []string{"Sigmoid", "Tanh"}
	if lstm {
		want = []string{"Sigmoid", "Tanh", "Tanh"}
	}
	for i, a := range names {
		if a != want[i%len(want)] {
			return fmt.Errorf("there is no derivative with the activation %s in this place", a)
		}
	}
	switch {
	case n.Attr("clip") != nil:
		return fmt.Errorf("there is no derivative with clip")
	case n.Int("input_forget", 0) != 0:
		return fmt.Errorf("there is no derivative with input_forget")
	case lstm && n.Operand(7) != nil:
		return fmt.Errorf("there is no derivative with peepholes")
	}
	return nil
}

// passParts puts the derivatives of the directions together.
func (b *builder) passParts(parts []*gradients, time func(*ir.Value) *ir.Value) {
	join := func(i int, f func(*gradients) *ir.Value, states bool) {
		if !b.need(i) {
			return
		}
		var all []*ir.Value
		for _, p := range parts {
			all = append(all, b.op("Unsqueeze", f(p), b.ints(0)))
		}
		v := all[0]
		if len(all) > 1 {
			v = b.concat(0, all...)
		}
		if states {
			v = time(v)
		}
		b.pass(i, v)
	}
	if b.need(0) {
		x := parts[0].x
		for _, p := range parts[1:] {
			x = b.op("Add", x, p.x)
		}
		b.pass(0, time(x))
	}
	join(1, func(p *gradients) *ir.Value { return p.w }, false)
	join(2, func(p *gradients) *ir.Value { return p.r }, false)
	join(3, func(p *gradients) *ir.Value { return b.concat(0, p.bw, p.br) }, false)
	join(5, func(p *gradients) *ir.Value { return p.h0 }, true)
	join(6, func(p *gradients) *ir.Value { return p.c0 }, true)
}

// length is the size of the first axis, as a vector.
func (b *builder) length(v *ir.Value) *ir.Value {
	return b.with("Shape", []*ir.Value{v}, ir.IntAttr("start", 0), ir.IntAttr("end", 1))
}

// turn brings steps into the order in which the direction takes them, and back.
func (r *recurrent) turn(v *ir.Value) *ir.Value {
	if !r.reverse {
		return v
	}
	b, lens := r.b, r.lens
	if lens == nil {
		lens = b.op("Expand", b.length(v), b.with("Shape", []*ir.Value{v}, ir.IntAttr("start", 1), ir.IntAttr("end", 2)))
	}
	return b.with("ReverseSequence", []*ir.Value{v, lens}, ir.IntAttr("time_axis", 0), ir.IntAttr("batch_axis", 1))
}

// rows is v [T,B,n] as a matrix.
func (r *recurrent) rows(v *ir.Value, n int64) *ir.Value {
	if n < 0 {
		return r.b.reshape(v, r.b.concat(0, r.b.ints(-1), r.b.with("Shape", []*ir.Value{v}, ir.IntAttr("start", 2))))
	}
	return r.b.reshape(v, r.b.ints(-1, n))
}

// sums are x Wᵀ + bias of all steps.
func (r *recurrent) sums(x, w, bias *ir.Value) *ir.Value {
	s := r.b.op("MatMul", x, r.b.transpose(w, 1, 0))
	if bias != nil {
		s = r.b.op("Add", s, bias)
	}
	return s
}

// gate is part i of v, along the axis.
func (r *recurrent) gate(v *ir.Value, i, axis int64) *ir.Value {
	if v == nil {
		return nil
	}
	return r.b.slice(v, r.b.ints(i*r.hidden), r.b.ints((i+1)*r.hidden), axis)
}

// outer is the derivative by a matrix: da [T,B,n] and x [T,B,m] give [n,m].
func (r *recurrent) outer(da, x *ir.Value, n, m int64) *ir.Value {
	return r.b.op("MatMul", r.b.transpose(r.rows(da, n), 1, 0), r.rows(x, m))
}

// scan runs a body over steps, against their order if back is set. Body gets the states [B,H] and a step of each of the sequences, and
// returns the next states and what it gives out of the step.
func (r *recurrent) scan(back bool, states, sequences []*ir.Value, body func(g *builder, states, step []*ir.Value) (next, out []*ir.Value)) []*ir.Value {
	t := r.b.elem(r.b.in(0))
	sub := r.b.g.NewSubgraph("step")
	g := *r.b
	g.g = sub
	unknown := ir.Shape{ir.UnknownDim(), ir.UnknownDim()}
	var in, steps []*ir.Value
	for i := range states {
		in = append(in, sub.AddInput(fmt.Sprint("state", i), ir.TensorType(t, unknown)))
	}
	for i, v := range sequences {
		d := t
		if v == r.mask {
			d = ir.Bool
		}
		steps = append(steps, sub.AddInput(fmt.Sprint("step", i), ir.TensorType(d, unknown)))
	}
	next, out := body(&g, in, steps)
	for i, v := range append(slices.Clone(next), out...) {
		if v.IsInput() || v.IsOutput() {
			v = g.op("Identity", v)
		}
		sub.AddOutput(fmt.Sprint("out", i), v, ir.TensorType(t, unknown))
	}
	attrs := []*ir.Attr{ir.GraphAttr("body", sub), ir.IntAttr("num_scan_inputs", int64(len(sequences)))}
	if back {
		ones := func(n int) []int64 { return slices.Repeat([]int64{1}, n) }
		attrs = append(attrs, ir.IntsAttr("scan_input_directions", ones(len(sequences))), ir.IntsAttr("scan_output_directions", ones(len(out))))
	}
	return r.b.g.NewN(nil, ir.Op("Scan"), append(slices.Clone(states), sequences...), len(next)+len(out), attrs...).Results()
}

// masked adds the mask to the sequences of a scan.
func (r *recurrent) masked(sequences ...*ir.Value) []*ir.Value {
	if r.mask != nil {
		sequences = append(sequences, r.mask)
	}
	return sequences
}

// choose is v where the step counts, else w.
func (r *recurrent) choose(g *builder, step []*ir.Value, v, w *ir.Value) *ir.Value {
	if r.mask == nil {
		return v
	}
	return g.op("Where", step[len(step)-1], v, w)
}

// slopes are s (1 − s) and 1 − t², the derivatives of a sigmoid and a hyperbolic tangent by their results.
func (b *builder) sigmoidSlope(d, s, one *ir.Value) *ir.Value {
	return b.op("Mul", d, b.op("Mul", s, b.op("Sub", one, s)))
}

func (b *builder) tanhSlope(d, t, one *ir.Value) *ir.Value {
	return b.op("Mul", d, b.op("Sub", one, b.op("Mul", t, t)))
}
