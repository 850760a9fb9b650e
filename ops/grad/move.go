package grad

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// back is the rule of operators that only give their first operand another shape.
func back(b *builder) error {
	if b.need(0) {
		b.pass(0, b.like(b.dy[0], b.in(0)))
	}
	return nil
}

func expandRule(b *builder) error { return b.passBroadcast(0, func() *ir.Value { return b.dy[0] }) }

func transposeRule(b *builder) error {
	perm := b.n.Ints("perm")
	if perm == nil {
		r, err := b.rank(b.in(0))
		if err != nil {
			return err
		}
		for i := r - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	b.pass(0, b.transpose(b.dy[0], ir.InversePerm(perm)...))
	return nil
}

// axisOf is an axis attribute counted from the front.
func (b *builder) axisOf(name string, v *ir.Value) (int64, int, error) {
	r, err := b.rank(v)
	a := ops.Int(b.n, name)
	if a < 0 {
		a += int64(r)
	}
	return a, r, err
}

func concatRule(b *builder) error {
	axis, _, err := b.axisOf("axis", b.out(0))
	if err != nil {
		return err
	}
	from := b.ints(0)
	for i, v := range b.n.Operands() {
		var to *ir.Value
		if t := from.Const(); t != nil && staticAt(b, v, axis) >= 0 {
			e, err := ir.Elements[int64](t)
			if err != nil {
				return err
			}
			to = b.ints(e[0] + staticAt(b, v, axis))
		} else {
			to = b.op("Add", from, b.size(v, int(axis)))
		}
		if b.need(i) {
			b.pass(i, b.slice(b.dy[0], from, to, axis))
		}
		from = to
	}
	return nil
}

func staticAt(b *builder, v *ir.Value, axis int64) int64 {
	s := b.infer.Type(v).TensorShape()
	if int(axis) < len(s) && s[axis].IsStatic() {
		return s[axis].Size
	}
	return -1
}

func splitRule(b *builder) error {
	axis, _, err := b.axisOf("axis", b.in(0))
	if err != nil {
		return err
	}
	parts := slices.Clone(b.dy)
	for i, d := range parts {
		v := b.out(i)
		if d == nil && v == nil {
			return fmt.Errorf("a result is left out")
		}
		if d == nil {
			parts[i] = b.fill(b.shape(v), b.one(b.elem(v), 0))
		}
	}
	b.pass(0, b.concat(axis, parts...))
	return nil
}

// sliceRule scatters the derivative into zeros: along each axis of a slice by the indices that the same slice of 0, 1, 2, ... gives.
func sliceRule(b *builder) error {
	x := b.in(0)
	r, err := b.rank(x)
	if err != nil {
		return err
	}
	// The linear indices of what was taken.
	shape := b.shape(x)
	count := b.with("ReduceProd", []*ir.Value{shape}, ir.IntAttr("keepdims", 0))
	zero, one := b.g.Const(ir.ScalarOf(int64(0))), b.g.Const(ir.ScalarOf(int64(1)))
	all := b.reshape(b.op("Range", zero, count, one), shape)
	taken := b.with("Slice", append([]*ir.Value{all}, b.n.Operands()[1:]...))
	if r == 0 {
		return fmt.Errorf("a scalar cannot be sliced")
	}
	return b.scatter(0, taken, b.dy[0])
}

// scatter adds d to zeros of the shape of operand i at linear indices.
func (b *builder) scatter(i int, indices, d *ir.Value) error {
	if !b.need(i) {
		return nil
	}
	x := b.in(i)
	shape := b.shape(x)
	count := b.with("ReduceProd", []*ir.Value{shape}, ir.IntAttr("keepdims", 1))
	zeros := b.fill(count, b.one(b.elem(x), 0))
	flat := b.ints(-1)
	sum := b.with("ScatterElements", []*ir.Value{zeros, b.reshape(indices, flat), b.reshape(d, flat)},
		ir.IntAttr("axis", 0), ir.StringAttr("reduction", "add"))
	b.pass(i, b.reshape(sum, shape))
	return nil
}

// gatherRule: what is taken more than once adds up.
func gatherRule(b *builder) error {
	if !b.need(0) {
		return nil
	}
	x := b.in(0)
	shape := b.shape(x)
	count := b.with("ReduceProd", []*ir.Value{shape}, ir.IntAttr("keepdims", 0))
	zero, one := b.g.Const(ir.ScalarOf(int64(0))), b.g.Const(ir.ScalarOf(int64(1)))
	all := b.reshape(b.op("Range", zero, count, one), shape)
	taken := b.with(b.n.Op().Type, []*ir.Value{all, b.in(1)}, b.n.Attrs()...)
	return b.scatter(0, taken, b.dy[0])
}

// padRule: a constant border has no influence, and of the others each element adds to the one it was copied from.
func padRule(b *builder) error {
	x := b.in(0)
	mode := ops.Str(b.n, "mode")
	shape := b.shape(x)
	count := b.with("ReduceProd", []*ir.Value{shape}, ir.IntAttr("keepdims", 0))
	zero, one := b.g.Const(ir.ScalarOf(int64(0))), b.g.Const(ir.ScalarOf(int64(1)))
	all := b.reshape(b.op("Range", zero, count, one), shape)
	operands := []*ir.Value{all, b.in(1), nil, b.in(3)}
	if mode == "constant" {
		operands[2] = b.g.Const(ir.ScalarOf(int64(-1)))
	}
	taken := b.with("Pad", operands, ir.StringAttr("mode", mode))
	d := b.dy[0]
	if mode == "constant" {
		border := b.op("Less", taken, zero)
		if b.need(2) {
			s := b.with("ReduceSum", []*ir.Value{b.op("Where", border, d, b.num(x, 0))}, ir.IntAttr("keepdims", 0))
			b.pass(2, b.like(s, b.in(2)))
		}
		d = b.op("Where", border, b.num(x, 0), d)
		taken = b.op("Max", taken, zero)
	}
	return b.scatter(0, taken, d)
}

func depthToSpaceRule(b *builder) error { // of both modes the inverse is made of Reshape and Transpose
	x, d, k := b.in(0), b.dy[0], ops.Int(b.n, "blocksize")
	if !b.need(0) {
		return nil
	}
	perm := []int64{0, 3, 5, 1, 2, 4} // DCR: n, c, h, i, w, j -> n, i, j, c, h, w
	if ops.Str(b.n, "mode") == "CRD" {
		perm = []int64{0, 1, 3, 5, 2, 4}
	}
	h, w := b.size(x, 2), b.size(x, 3)
	wide := b.reshape(d, b.concat(0, b.size(x, 0), b.ints(-1), h, b.ints(k), w, b.ints(k)))
	b.pass(0, b.like(b.transpose(wide, perm...), x))
	return nil
}

func spaceToDepthRule(b *builder) error {
	if b.need(0) {
		b.pass(0, b.with("DepthToSpace", []*ir.Value{b.dy[0]}, ir.IntAttr("blocksize", ops.Int(b.n, "blocksize"))))
	}
	return nil
}
