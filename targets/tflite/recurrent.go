package tflite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
)

// mostSteps bounds how far a recurrent layer is unrolled.
const mostSteps = 64

// cell is a recurrent layer in one direction, unrolled over the sequence: the target's own operators have other gates or keep
// their state from one call to the next.
type cell struct {
	e             *emitter
	base          string
	batch, hidden int
	w, r          *tensor // [gates*hidden, inputs] and [gates*hidden, hidden]
	wb, rb        *tensor // [gates*hidden]

	// Of a GRU that resets the state before it multiplies it: recurrent weights and biases of the first two gates, and of the last.
	rGates, rHidden, bGates, bHidden *tensor
}

func lowerLSTM(e *emitter, n *ir.Node) error { return lowerRecurrent(e, n, 4) }
func lowerGRU(e *emitter, n *ir.Node) error  { return lowerRecurrent(e, n, 3) }
func lowerRNN(e *emitter, n *ir.Node) error  { return lowerRecurrent(e, n, 1) }

// lowerRecurrent unrolls an LSTM, GRU or RNN. Operands: X, W, R, B, sequence_lens, initial_h, and for the LSTM initial_c, P.
func lowerRecurrent(e *emitter, n *ir.Node, gates int) error {
	xs := e.shape(n.Operand(0))
	dirs, hidden := 1, int(n.Int("hidden_size", 0))
	direction := n.Str("direction", "forward")
	if direction == "bidirectional" {
		dirs = 2
	}
	switch {
	case n.Operand(4) != nil || n.Int("layout", 0) != 0 || n.Operand(7) != nil || n.Attr("clip") != nil || n.Int("input_forget", 0) != 0:
		return errors.New("lengths of sequences, layout, peepholes, clip or coupled gates")
	case gates == 1:
	case n.Attr("activations") != nil && !slices.Equal(n.Attr("activations").Strs(), defaultActivations(gates, dirs)):
		return fmt.Errorf("activations %v", n.Attr("activations").Strs())
	}
	if xs[0] > mostSteps || xs[0] == 0 {
		return fmt.Errorf("a sequence of %d steps; up to %d are unrolled", xs[0], mostSteps)
	}
	var acts []opcode // of an RNN, by direction
	if gates == 1 {
		var err error
		if acts, err = activationsOf(n, dirs); err != nil {
			return err
		}
	}
	x := e.as(n.Operand(0), identity(3))
	steps, batch, inputs := xs[0], xs[1], xs[2]
	var hs, cs []*tensor // last states by direction
	outputs := make([][]*tensor, dirs)
	for d := range dirs {
		c, err := e.cell(n, d, gates, batch, hidden, inputs)
		if err != nil {
			return err
		}
		h, cell := e.state(n, 5, d, batch, hidden), e.state(n, 6, d, batch, hidden)
		outputs[d] = make([]*tensor, steps)
		for i := range steps {
			at := i
			if direction == "reverse" || d == 1 {
				at = steps - 1 - i
			}
			row := e.op(opSlice, c.base, typeFloat32, []int{1, batch, inputs}, options{}, x, e.ints(at, 0, 0), e.ints(1, batch, inputs))
			row = e.reshape(c.base, row, []int{batch, inputs})
			switch {
			case gates == 4:
				h, cell = c.lstm(row, h, cell)
			case gates == 1:
				h = c.product(row, c.w, c.wb).and(opAdd, c.product(h, c.r, c.rb).t).unary(acts[d]).t
			case n.Int("linear_before_reset", 0) != 0:
				h = c.gru(row, h)
			default:
				h = c.gruResetFirst(row, h)
			}
			outputs[d][at] = h
		}
		hs, cs = append(hs, h), append(cs, cell)
	}
	// Y is [steps, directions, batch, hidden]; Y_h and Y_c are [directions, batch, hidden].
	var rows []*tensor
	for i := range steps {
		for d := range dirs {
			rows = append(rows, outputs[d][i])
		}
	}
	e.stacked(n, 0, rows, []int{steps, dirs, batch, hidden})
	e.stacked(n, 1, hs, []int{dirs, batch, hidden})
	if gates == 4 {
		e.stacked(n, 2, cs, []int{dirs, batch, hidden})
	}
	return nil
}

// activationsOf are those of an RNN, one for each direction.
func activationsOf(n *ir.Node, dirs int) ([]opcode, error) {
	r := slices.Repeat([]opcode{opTanh}, dirs)
	if n.Attr("activations") == nil {
		return r, nil
	}
	names := n.Attr("activations").Strs()
	for i := range r {
		known := map[string]opcode{"Tanh": opTanh, "Relu": opRelu, "Sigmoid": opLogistic}
		if i >= len(names) || known[names[i]] == 0 {
			return nil, fmt.Errorf("activations %v", names)
		}
		r[i] = known[names[i]]
	}
	return r, nil
}

func defaultActivations(gates, dirs int) []string {
	one := []string{"Sigmoid", "Tanh", "Tanh"}
	if gates == 3 {
		one = one[:2]
	}
	return slices.Repeat(one, dirs)
}

// stacked defines result i of n as the tensors [batch, hidden] on top of each other.
func (e *emitter) stacked(n *ir.Node, i int, parts []*tensor, shape []int) {
	if i >= n.NumResults() || n.Result(i) == nil || n.Result(i).NumUses() == 0 {
		return
	}
	name := n.Result(i).Name()
	t := parts[0]
	if len(parts) > 1 {
		t = e.op(opConcatenation, name, typeFloat32, []int{len(parts) * t.shape[0], t.shape[1]}, concatenationOptions(0), parts...)
	}
	e.define(n.Result(i), e.reshape(name, t, shape), identity(len(shape)))
}

// state is an initial state of a direction, [batch, hidden]; zeros if the operand is omitted.
func (e *emitter) state(n *ir.Node, operand, dir, batch, hidden int) *tensor {
	v := n.Operand(operand)
	if v == nil {
		return e.literal("zeros", typeFloat32, []int{batch, hidden}, make([]byte, 4*batch*hidden))
	}
	t := e.as(v, identity(3))
	if t.shape[0] > 1 {
		t = e.op(opSlice, v.Name(), typeFloat32, []int{1, batch, hidden}, options{}, t, e.ints(dir, 0, 0), e.ints(1, batch, hidden))
	}
	return e.reshape(v.Name(), t, []int{batch, hidden})
}

// cell reads the weights of a direction. The LSTM adds both products at once, so that its biases are summed.
func (e *emitter) cell(n *ir.Node, dir, gates, batch, hidden, inputs int) (*cell, error) {
	part := func(operand, size int) ([]float32, error) {
		t := e.constant(n.Operand(operand))
		if t == nil {
			return nil, errors.New("weights that are no constants")
		}
		v, err := ir.Elements[float32](t)
		if err != nil || len(v) < (dir+1)*size {
			return nil, errors.New("weights that do not fit")
		}
		return v[dir*size:][:size], nil
	}
	rows := gates * hidden
	w, err := part(1, rows*inputs)
	if err != nil {
		return nil, err
	}
	r, err := part(2, rows*hidden)
	if err != nil {
		return nil, err
	}
	b := make([]float32, 2*rows)
	if n.Operand(3) != nil {
		if b, err = part(3, 2*rows); err != nil {
			return nil, err
		}
	}
	base := targets.NodeName(n)
	wb, rb := slices.Clone(b[:rows]), slices.Clone(b[rows:])
	if gates == 4 {
		for i := range wb {
			wb[i] += rb[i]
			rb[i] = 0
		}
	}
	c := &cell{e: e, base: base, batch: batch, hidden: hidden,
		w: e.literal(base+"_w", typeFloat32, []int{rows, inputs}, ir.AsBytes(w)), r: e.literal(base+"_r", typeFloat32, []int{rows, hidden}, ir.AsBytes(r)),
		wb: e.literal(base+"_wb", typeFloat32, []int{rows}, ir.AsBytes(wb)), rb: e.literal(base+"_rb", typeFloat32, []int{rows}, ir.AsBytes(rb))}
	if gates == 3 && n.Int("linear_before_reset", 0) == 0 {
		part := func(name string, from, to int) (w, b *tensor) {
			return e.literal(base+name, typeFloat32, []int{to - from, hidden}, ir.AsBytes(r[from*hidden:to*hidden])), e.literal(base+name+"b", typeFloat32, []int{to - from}, ir.AsBytes(rb[from:to]))
		}
		c.rGates, c.bGates = part("_rg", 0, 2*hidden)
		c.rHidden, c.bHidden = part("_rh", 2*hidden, rows)
	}
	return c, nil
}

func (c *cell) product(x, w, b *tensor) chain {
	return chain{c.e, c.base, c.e.op(opFullyConnected, c.base, typeFloat32, []int{c.batch, w.shape[0]}, fullyConnectedOptions(actNone, false), x, w, b)}
}

// gate is the i-th part of hidden columns.
func (c *cell) gate(x chain, i int) chain {
	t := c.e.op(opSlice, c.base, typeFloat32, []int{c.batch, c.hidden}, options{}, x.t, c.e.ints(0, i*c.hidden), c.e.ints(c.batch, c.hidden))
	return chain{c.e, c.base, t}
}

// lstm is one step; gates are in the order input, output, forget, cell.
func (c *cell) lstm(x, h, s *tensor) (hidden, state *tensor) {
	all := c.product(x, c.w, c.wb).and(opAdd, c.product(h, c.r, c.rb).t)
	in, out, forget, update := c.gate(all, 0).unary(opLogistic), c.gate(all, 1).unary(opLogistic), c.gate(all, 2).unary(opLogistic), c.gate(all, 3).unary(opTanh)
	next := forget.and(opMul, s).and(opAdd, in.and(opMul, update.t).t)
	return out.and(opMul, next.unary(opTanh).t).t, next.t
}

// gru is one step with linear_before_reset; gates are in the order update, reset, hidden.
func (c *cell) gru(x, h *tensor) *tensor {
	a, b := c.product(x, c.w, c.wb), c.product(h, c.r, c.rb)
	update := c.gate(a, 0).and(opAdd, c.gate(b, 0).t).unary(opLogistic)
	reset := c.gate(a, 1).and(opAdd, c.gate(b, 1).t).unary(opLogistic)
	hidden := c.gate(a, 2).and(opAdd, reset.and(opMul, c.gate(b, 2).t).t).unary(opTanh)
	return update.and(opMul, chain{c.e, c.base, h}.and(opSub, hidden.t).t).and(opAdd, hidden.t).t // h~ + z*(h - h~)
}

// gruResetFirst is one step without linear_before_reset.
func (c *cell) gruResetFirst(x, h *tensor) *tensor {
	a, b := c.product(x, c.w, c.wb), c.product(h, c.rGates, c.bGates)
	update := c.gate(a, 0).and(opAdd, c.gate(b, 0).t).unary(opLogistic)
	reset := c.gate(a, 1).and(opAdd, c.gate(b, 1).t).unary(opLogistic)
	hidden := c.gate(a, 2).and(opAdd, c.product(reset.and(opMul, h).t, c.rHidden, c.bHidden).t).unary(opTanh)
	return update.and(opMul, chain{c.e, c.base, h}.and(opSub, hidden.t).t).and(opAdd, hidden.t).t
}
