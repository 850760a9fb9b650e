package grad

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// The derivative by a quantized number stands for that by the real number it means: DequantizeLinear passes it on as it is, and
// QuantizeLinear where the number was not saturated.

// limits are the least and the largest number of a quantized type.
func limits(d ir.DType) (lo, hi float64, err error) {
	if !d.IsInt() || d.Bits() > 16 {
		return 0, 0, fmt.Errorf("there is no derivative for quantization to %s", d)
	}
	n := float64(int64(1) << d.Bits())
	if d.IsSigned() {
		return -n / 2, n/2 - 1, nil
	}
	return 0, n - 1, nil
}

// perAxis gives a scale or zero point [C] the rank of x.
func (b *builder) perAxis(s, x *ir.Value) (*ir.Value, error) {
	r, err := b.rank(x)
	rs, err2 := b.rank(s)
	if err := both(err, err2); err != nil {
		return nil, err
	}
	if size := ops.Int(b.n, "block_size"); size != 0 {
		return b.perBlock(s, x, size)
	}
	if rs == 0 || staticAt(b, s, 0) == 1 {
		return s, nil
	}
	axis, _, err := b.axisOf("axis", x)
	shape := make([]int64, r)
	for i := range shape {
		shape[i] = 1
	}
	shape[axis] = -1
	return b.reshape(s, b.ints(shape...)), err
}

// blocksOf are the sizes of x, the axis along which size elements share a scale, and how many blocks there are.
func (b *builder) blocksOf(x *ir.Value, size int64) (dims []int64, axis, n int64, err error) {
	dims, ok := b.dims(x)
	if !ok {
		return nil, 0, 0, fmt.Errorf("the sizes of what is quantized in blocks are not known")
	}
	axis, _, err = b.axisOf("axis", x)
	return dims, axis, (dims[axis] + size - 1) / size, err
}

// perBlock repeats a scale or zero point for the elements of its block.
func (b *builder) perBlock(s, x *ir.Value, size int64) (*ir.Value, error) {
	dims, axis, n, err := b.blocksOf(x, size)
	if err != nil {
		return nil, err
	}
	merged := slices.Clone(dims)
	merged[axis] = n * size
	repeated := slices.Insert(slices.Clone(dims), int(axis), n)
	repeated[axis+1] = size
	s = b.reshape(b.op("Expand", b.op("Unsqueeze", s, b.ints(axis+1)), b.ints(repeated...)), b.ints(merged...))
	return b.slice(s, b.ints(0), b.ints(dims[axis]), axis), nil
}

// passScale adds the derivative by the scale.
func (b *builder) passScale(d *ir.Value) error {
	if !b.need(1) {
		return nil
	}
	s := b.in(1)
	if size := ops.Int(b.n, "block_size"); size != 0 {
		dims, axis, n, err := b.blocksOf(b.in(0), size)
		if err != nil {
			return err
		}
		if rest := n*size - dims[axis]; rest > 0 {
			pads := make([]int64, 2*len(dims))
			pads[len(dims)+int(axis)] = rest
			d = b.op("Pad", d, b.ints(pads...))
		}
		split := slices.Insert(slices.Clone(dims), int(axis), n)
		split[axis+1] = size
		b.pass(1, b.sum(b.reshape(d, b.ints(split...)), false, axis+1))
		return nil
	}
	aligned, err := b.perAxis(s, b.in(0))
	if err != nil {
		return err
	}
	b.infer.Extend(aligned)
	return b.passReduced(1, d, aligned)
}

func dequantizeRule(b *builder) error {
	b.pass(0, b.dy[0])
	if !b.need(1) {
		return nil
	}
	t := b.elem(b.out(0))
	q := b.cast(b.in(0), t)
	if b.in(2) != nil {
		z := b.cast(b.in(2), t)
		b.infer.Extend(z)
		z, err := b.perAxis(z, b.in(0))
		if err != nil {
			return err
		}
		q = b.op("Sub", q, z)
	}
	return b.passScale(b.op("Mul", b.dy[0], q))
}

func quantizeRule(b *builder) error {
	x, t := b.in(0), b.elem(b.in(0))
	lo, hi, err := limits(b.elem(b.out(0)))
	if err != nil {
		return err
	}
	s, err := b.perAxis(b.in(1), x)
	if err != nil {
		return err
	}
	q := b.op("Round", b.op("Div", x, s))
	if b.in(2) != nil {
		z := b.cast(b.in(2), t)
		b.infer.Extend(z)
		if z, err = b.perAxis(z, x); err != nil {
			return err
		}
		q = b.op("Add", q, z)
	}
	inside := b.op("And", b.op("GreaterOrEqual", q, b.num(x, lo)), b.op("LessOrEqual", q, b.num(x, hi)))
	d := b.op("Where", inside, b.dy[0], b.num(x, 0))
	b.pass(0, d)
	if b.need(1) {
		return b.passScale(b.op("Neg", b.op("Mul", d, b.op("Div", x, s))))
	}
	return nil
}
