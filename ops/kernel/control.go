package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// body is a GRAPH attribute that can be evaluated.
func (c *Call) body(name string) (*ir.Graph, error) {
	g := c.Attr(name).Graph()
	if g == nil {
		return nil, fmt.Errorf("no subgraph %s", name)
	}
	if c.Body == nil {
		return nil, errors.New("subgraphs cannot be evaluated here")
	}
	return g, nil
}

// ifOp evaluates one of two subgraphs.
func ifOp(c *Call) ([]ir.Datum, error) {
	cond, ok, err := c.scalarInt(0)
	if err == nil && !ok {
		err = errors.New("operand 0 is missing")
	}
	if err != nil {
		return nil, err
	}
	name := "else_branch"
	if cond != 0 {
		name = "then_branch"
	}
	g, err := c.body(name)
	if err != nil {
		return nil, err
	}
	return c.Body(g, nil)
}

// loopOp runs a body while a condition holds, at most M times. The body takes the iteration number, the condition and the
// carried values, and gives the condition, the carried values and the rows of the scan results.
func loopOp(c *Call) ([]ir.Datum, error) {
	g, err := c.body("body")
	if err != nil {
		return nil, err
	}
	trips, limited, err := c.scalarInt(0)
	if err != nil {
		return nil, err
	}
	cond, given, err := c.scalarInt(1)
	if err != nil {
		return nil, err
	}
	running := !given || cond != 0
	carried := slices.Clone(c.In[min(2, len(c.In)):])
	if len(g.Inputs()) != len(carried)+2 || len(g.Outputs()) < len(carried)+1 {
		return nil, fmt.Errorf("body of %d inputs and %d outputs for %d carried values", len(g.Inputs()), len(g.Outputs()), len(carried))
	}
	rows := make([][]*ir.Tensor, len(g.Outputs())-1-len(carried))
	for i := int64(0); running && (!limited || i < trips); i++ {
		if err := c.tick(1 << 12); err != nil {
			return nil, err
		}
		in := append([]ir.Datum{ir.ScalarOf(i), boolTensor([]int64{}, []uint8{truth(running)})}, carried...)
		out, err := c.Body(g, in)
		if err != nil {
			return nil, err
		}
		t, ok := out[0].(*ir.Tensor)
		if !ok || t.DType() != ir.Bool || t.Len() != 1 {
			return nil, errors.New("the body's condition is no bool")
		}
		b, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		running = b[0] != 0
		copy(carried, out[1:])
		if err := c.collect(rows, out[1+len(carried):]); err != nil {
			return nil, err
		}
	}
	result := carried
	for i, r := range rows {
		t, err := stackRows(c, r, 0, g.Outputs()[1+len(carried)+i])
		if err != nil {
			return nil, err
		}
		result = append(result, t)
	}
	return result, nil
}

// collect appends one row to each scan result.
func (c *Call) collect(rows [][]*ir.Tensor, out []ir.Datum) error {
	for i, d := range out {
		t, ok := d.(*ir.Tensor)
		if !ok {
			return errors.New("a scan result is no tensor")
		}
		if err := c.reserve(max(0, t.ByteLen())+64, 1); err != nil {
			return err
		}
		rows[i] = append(rows[i], t)
	}
	return nil
}

// stackRows joins rows along a new axis. Without rows the result is empty, and a row has the sizes that are known as
// numbers, declared or found by inference, and 0 for others: as ONNX Runtime has it.
func stackRows(c *Call, rows []*ir.Tensor, axis int64, slot *ir.Slot) (*ir.Tensor, error) {
	if len(rows) == 0 {
		known := slot.Type()
		if c.Type != nil {
			if t, ok := known.Merge(c.Type(slot)); ok {
				known = t
			}
		}
		d, shape := rowType(known, slot)
		at, err := axisOf(axis, len(shape)+1)
		if err != nil {
			return nil, err
		}
		if d == ir.Undefined {
			return nil, errors.New("no iteration ran and the scan result's type is not declared")
		}
		shape = slices.Insert(shape, at, 0)
		if d == ir.String {
			return ir.NewStringTensor(shape, []string{}), nil
		}
		return ir.NewTensor(d, shape, nil), nil
	}
	return stack(c, rows, axis)
}

// rowType is the element type and shape of t, or if that is nil what is recorded of the slot's value, with unknown dimensions taken as 0.
func rowType(t *ir.Type, slot *ir.Slot) (ir.DType, []int64) {
	if t == nil && slot.Value() != nil {
		t = slot.Value().Type()
	}
	var shape []int64
	if t == nil {
		return ir.Undefined, nil
	}
	for _, d := range t.Shape {
		shape = append(shape, max(0, d.Size))
	}
	return t.DType(), shape
}

// stack joins tensors of one shape along a new axis.
func stack(c *Call, rows []*ir.Tensor, axis int64) (*ir.Tensor, error) {
	at, err := axisOf(axis, rows[0].Rank()+1)
	if err != nil {
		return nil, err
	}
	wide := make([]*ir.Tensor, len(rows))
	for i, t := range rows {
		if t.Rank() != rows[0].Rank() {
			return nil, fmt.Errorf("%s and %s do not stack", rows[0].Type(), t.Type())
		}
		wide[i] = t.Reshape(slices.Insert(slices.Clone(t.Shape()), at, 1))
	}
	return concat(c, wide, int64(at))
}

// scanOp runs a body over the slices of its scan inputs. Version 8 has a batch axis in front and sequence lengths as operand 0.
func scanOp(c *Call) ([]ir.Datum, error) {
	if c.Opset < 9 {
		return scan8(c)
	}
	return scan(c, c.In, nil)
}

// scan8 runs each batch entry on its own.
func scan8(c *Call) ([]ir.Datum, error) {
	if len(c.In) < 2 {
		return nil, errors.New("no operands")
	}
	first, ok := c.In[len(c.In)-1].(*ir.Tensor)
	if !ok || first.Rank() < 2 {
		return nil, errors.New("scan inputs need batch and sequence axes")
	}
	batch := first.Shape()[0]
	lens, given, err := c.intsOperand(0)
	if err != nil {
		return nil, err
	}
	if given && int64(len(lens)) != batch || batch == 0 {
		return nil, fmt.Errorf("%d sequence lengths for a batch of %d", len(lens), batch)
	}
	var parts [][]*ir.Tensor // parts[result][entry]
	for b := range batch {
		in := make([]ir.Datum, len(c.In)-1)
		for i := range in {
			t, err := c.Need(i + 1)
			if err != nil {
				return nil, err
			}
			if t.Rank() == 0 || t.Shape()[0] != batch {
				return nil, c.badOperand(i+1, t)
			}
			if in[i], err = entry(c, t, 0, b); err != nil {
				return nil, err
			}
		}
		var length *int64
		if given {
			length = &lens[b]
		}
		out, err := scan(c, in, length)
		if err != nil {
			return nil, err
		}
		for i, d := range out {
			t, ok := d.(*ir.Tensor)
			if !ok {
				return nil, errors.New("a result is no tensor")
			}
			if b == 0 {
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], t)
		}
	}
	r := make([]ir.Datum, len(parts))
	for i, p := range parts {
		if r[i], err = stack(c, p, 0); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// entry is the slice of t at index i of an axis, without that axis.
func entry(c *Call, t *ir.Tensor, axis int, i int64) (*ir.Tensor, error) {
	src, err := open(t)
	if err != nil {
		return nil, err
	}
	step := strides(t.Shape())
	at := int(i) * step[axis]
	return strided(c, src, slices.Delete(slices.Clone(t.Shape()), axis, axis+1), at, slices.Delete(step, axis, axis+1))
}

// scanning is a Scan without a batch.
type scanning struct {
	body    *ir.Graph
	carried []ir.Datum
	seqs    []*ir.Tensor // the scan inputs
	axes    []int        // along which each is cut
	reverse []int64      // which are read from their end
	steps   int64
}

// newScanning reads operands and attributes; length cuts the sequence short.
func newScanning(c *Call, in []ir.Datum, length *int64) (*scanning, error) {
	g, err := c.body("body")
	if err != nil {
		return nil, err
	}
	n := int(c.int("num_scan_inputs", 0))
	if n < 1 || n > len(in) || len(g.Inputs()) != len(in) || len(g.Outputs()) < len(in)-n {
		return nil, fmt.Errorf("%d scan inputs of %d operands, body of %d inputs and %d outputs", n, len(in), len(g.Inputs()), len(g.Outputs()))
	}
	s := &scanning{body: g, carried: slices.Clone(in[:len(in)-n]), steps: -1, reverse: c.Attr("scan_input_directions").Ints()}
	if c.Opset < 9 {
		s.reverse = c.Attr("directions").Ints()
	}
	for i, d := range in[len(in)-n:] {
		t, ok := d.(*ir.Tensor)
		if !ok {
			return nil, fmt.Errorf("scan input %d is no tensor", i)
		}
		axis, err := axisOf(at(c.Attr("scan_input_axes").Ints(), i), t.Rank())
		if err != nil {
			return nil, err
		}
		if size := t.Shape()[axis]; s.steps >= 0 && size != s.steps {
			return nil, fmt.Errorf("scan inputs of lengths %d and %d", s.steps, size)
		}
		s.seqs, s.axes, s.steps = append(s.seqs, t), append(s.axes, axis), t.Shape()[axis]
	}
	if length != nil {
		if *length < 0 || *length > s.steps {
			return nil, fmt.Errorf("sequence length %d of %d", *length, s.steps)
		}
		s.steps = *length
	}
	return s, nil
}

// step evaluates the body for one step; it returns the rows of the scan results.
func (s *scanning) step(c *Call, k int64) ([]ir.Datum, error) {
	args := slices.Clone(s.carried)
	for i, t := range s.seqs {
		place := k
		if at(s.reverse, i) != 0 {
			place = s.steps - 1 - k
		}
		e, err := entry(c, t, s.axes[i], place)
		if err != nil {
			return nil, err
		}
		args = append(args, e)
	}
	out, err := c.Body(s.body, args)
	if err != nil {
		return nil, err
	}
	copy(s.carried, out)
	return out[len(s.carried):], c.tick(1 << 12)
}

// scan runs Scan 9 without a batch. Version 8 pads the results of sequences that length cut short with zeros.
func scan(c *Call, in []ir.Datum, length *int64) ([]ir.Datum, error) {
	s, err := newScanning(c, in, length)
	if err != nil {
		return nil, err
	}
	full := s.seqs[0].Shape()[s.axes[0]]
	slots := s.body.Outputs()[len(s.carried):]
	rows := make([][]*ir.Tensor, len(slots))
	for k := range s.steps {
		out, err := s.step(c, k)
		if err != nil {
			return nil, err
		}
		if err := c.collect(rows, out); err != nil {
			return nil, err
		}
	}
	result := s.carried
	for i, r := range rows {
		if at(c.Attr("scan_output_directions").Ints(), i) != 0 {
			slices.Reverse(r)
		}
		for len(r) > 0 && int64(len(r)) < full {
			zero, err := zeros(c, r[0])
			if err != nil {
				return nil, err
			}
			r = append(r, zero)
		}
		t, err := stackRows(c, r, at(c.Attr("scan_output_axes").Ints(), i), slots[i])
		if err != nil {
			return nil, err
		}
		result = append(result, t)
	}
	return result, nil
}

func zeros(c *Call, like *ir.Tensor) (*ir.Tensor, error) {
	src, err := open(like)
	if err != nil {
		return nil, err
	}
	dst, err := src.make(c, like.Shape())
	if err != nil {
		return nil, err
	}
	return dst.tensor(like.Shape()), nil
}

// at is element i of a list that may be too short; missing elements are 0.
func at(l []int64, i int) int64 {
	if i < len(l) {
		return l[i]
	}
	return 0
}
