package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// rangeOp is start, start+delta, ... below limit (above it for a negative delta). Element i is start + i*delta; floats compute
// it in float64 and round once.
func rangeOp(c *Call) ([]ir.Datum, error) {
	var in [3]*ir.Tensor
	for i := range in {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		if t.Len() != 1 || i > 0 && t.DType() != in[0].DType() {
			return nil, c.badOperand(i, t)
		}
		in[i] = t
	}
	d := in[0].DType()
	if d.IsFloat() {
		return one(floatRange(c, d))
	}
	var v [3]int64
	for i := range v {
		n, _, err := c.scalarInt(i)
		if err != nil {
			return nil, err
		}
		v[i] = n
	}
	start, limit, delta := v[0], v[1], v[2]
	var n uint64
	switch {
	case delta == 0:
		return nil, errors.New("delta is zero")
	case delta > 0 && limit > start:
		n = (uint64(limit)-uint64(start)-1)/uint64(delta) + 1
	case delta < 0 && limit < start:
		n = (uint64(start)-uint64(limit)-1)/-uint64(delta) + 1
	}
	shape := []int64{int64(min(n, math.MaxInt64))}
	r, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	for i := range r {
		r[i] = start + int64(i)*delta
	}
	return one(convertInts(c, d, shape, r))
}

func floatRange(c *Call, d ir.DType) (*ir.Tensor, error) {
	var v [3]float64
	for i := range v {
		f, _, err := c.scalarFloat(i)
		if err != nil {
			return nil, err
		}
		v[i] = f
	}
	start, limit, delta := v[0], v[1], v[2]
	n := math.Ceil((limit - start) / delta)
	switch {
	case delta == 0 || n != n:
		return nil, fmt.Errorf("range from %g to %g by %g", start, limit, delta)
	case n <= 0:
		n = 0
	case n > 1<<60:
		return nil, fmt.Errorf("range of %g elements", n)
	}
	shape := []int64{int64(n)}
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	for i := range r {
		r[i] = start + float64(float64(i)*delta)
	}
	return convertFloats(c, d, shape, r)
}

// eyeLikeOp is a matrix of the operand's shape with ones on diagonal k.
func eyeLikeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() != 2 {
		return nil, c.badOperand(0, x)
	}
	r, err := alloc[int64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	rows, cols, k := x.Shape()[0], x.Shape()[1], c.int("k", 0)
	for i := range rows {
		if j := i + k; k > -rows && k < cols && j >= 0 && j < cols {
			r[i*cols+j] = 1
		}
	}
	d := ir.DType(c.int("dtype", int64(x.DType())))
	return one(convertInts(c, d, x.Shape(), r))
}

// oneHotOp puts the on value where an index points along a new axis, else the off value. Negative indices count from the
// back; those out of range give off values only.
func oneHotOp(c *Call) ([]ir.Datum, error) {
	t, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	idx, err := floats(t)
	if err != nil {
		return nil, err
	}
	df, ok, err := c.scalarFloat(1)
	if err == nil && (!ok || !(df >= 0) || df > 1<<40) {
		err = fmt.Errorf("depth is %g", df)
	}
	if err != nil {
		return nil, err
	}
	values, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	if values.Len() != 2 {
		return nil, c.badOperand(2, values)
	}
	axis, err := axisOf(c.int("axis", -1), t.Rank()+1)
	if err != nil {
		return nil, err
	}
	depth := int(df)
	df = float64(depth)
	shape := make([]int64, 0, t.Rank()+1)
	shape = append(append(append(shape, t.Shape()[:axis]...), int64(depth)), t.Shape()[axis:]...)
	src, err := open(values)
	if err != nil {
		return nil, err
	}
	dst, err := src.make(c, shape)
	if err != nil {
		return nil, err
	}
	dst.gather(0, 1, src, 0, 0, dst.size())
	inner := product(t.Shape()[axis:])
	for i, f := range idx {
		j := int(f)
		if j < 0 {
			j += depth
		}
		if f >= -df && f < df && depth > 0 {
			dst.copy((i/inner*depth+j)*inner+i%inner, src, 1, 1)
		}
	}
	return one(dst.tensor(shape), c.tick(dst.size()))
}

// triluOp keeps the upper or lower triangle of the last two axes, from diagonal k on; the rest is zero.
func triluOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() < 2 {
		return nil, c.badOperand(0, x)
	}
	k, _, err := c.scalarInt(1)
	if err != nil {
		return nil, err
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	dst, err := src.make(c, x.Shape())
	if err != nil {
		return nil, err
	}
	rank := x.Rank()
	rows, cols := int(x.Shape()[rank-2]), int(x.Shape()[rank-1])
	upper := c.int("upper", 1) != 0
	k = max(-int64(rows), min(k, int64(cols)))
	for at := 0; at < dst.size(); at += cols {
		i := at / cols % rows
		d := max(0, min(i+int(k), cols)) // first column of the upper part
		if upper {
			dst.copy(at+d, src, at+d, cols-d)
		} else {
			d = max(0, min(i+int(k)+1, cols))
			dst.copy(at, src, at, d)
		}
	}
	return one(dst.tensor(x.Shape()), nil)
}

// depthToSpaceOp moves blocks of channels into space; modes DCR and CRD say which part of the channel is the block.
func depthToSpaceOp(c *Call) ([]ir.Datum, error) {
	x, b, err := blockOperand(c)
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	if s[1]%(b*b) != 0 {
		return nil, fmt.Errorf("%d channels in blocks of %d", s[1], b*b)
	}
	wide, perm := []int64{s[0], b, b, s[1] / (b * b), s[2], s[3]}, []int64{0, 3, 4, 1, 5, 2}
	if c.str("mode", "DCR") == "CRD" {
		wide, perm = []int64{s[0], s[1] / (b * b), b, b, s[2], s[3]}, []int64{0, 1, 4, 2, 5, 3}
	}
	t, err := transpose(c, x.Reshape(wide), perm)
	if err != nil {
		return nil, err
	}
	return one(t.Reshape([]int64{s[0], s[1] / (b * b), s[2] * b, s[3] * b}), nil)
}

// spaceToDepthOp is the inverse; mode CRD (opset 28) puts the block after the channel.
func spaceToDepthOp(c *Call) ([]ir.Datum, error) {
	x, b, err := blockOperand(c)
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	if s[2]%b != 0 || s[3]%b != 0 {
		return nil, fmt.Errorf("%v in blocks of %d", s, b)
	}
	perm := []int64{0, 3, 5, 1, 2, 4}
	if c.str("mode", "DCR") == "CRD" {
		perm = []int64{0, 1, 3, 5, 2, 4}
	}
	t, err := transpose(c, x.Reshape([]int64{s[0], s[1], s[2] / b, b, s[3] / b, b}), perm)
	if err != nil {
		return nil, err
	}
	return one(t.Reshape([]int64{s[0], s[1] * b * b, s[2] / b, s[3] / b}), nil)
}

func blockOperand(c *Call) (*ir.Tensor, int64, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, 0, err
	}
	b := c.int("blocksize", 0)
	if x.Rank() != 4 || b <= 0 || b > 1<<20 {
		return nil, 0, fmt.Errorf("%s in blocks of %d", x.Type(), b)
	}
	return x, b, nil
}

// reverseSequenceOp reverses the first sequence_lens[b] entries along the time axis for each batch entry b.
func reverseSequenceOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	lens, _, err := c.intsOperand(1)
	if err != nil {
		return nil, err
	}
	ba, ta := c.int("batch_axis", 1), c.int("time_axis", 0)
	if x.Rank() < 2 || ba+ta != 1 || ba < 0 || ta < 0 {
		return nil, fmt.Errorf("batch axis %d and time axis %d for %s", ba, ta, x.Type())
	}
	s := x.Shape()
	if int64(len(lens)) != s[ba] {
		return nil, fmt.Errorf("%d lengths for a batch of %d", len(lens), s[ba])
	}
	inner := product(s[2:])
	pos := make([]int, 0, s[0]*s[1])
	for i := range s[0] {
		for j := range s[1] {
			at := [2]int64{i, j}
			n := lens[at[ba]]
			if n < 0 || n > s[ta] {
				return nil, fmt.Errorf("length %d of %d", n, s[ta])
			}
			if at[ta] < n {
				at[ta] = n - 1 - at[ta]
			}
			pos = append(pos, int(at[0]*s[1]+at[1])*inner)
		}
	}
	return one(gatherBlocks(c, x, s, pos, inner))
}

// centerCropPadOp crops or zero-pads the axes around their centre to a shape.
func centerCropPadOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	want, _, err := c.intsOperand(1)
	if err != nil {
		return nil, err
	}
	list := c.Attr("axes").Ints()
	if c.Attr("axes") == nil {
		for i := range x.Rank() {
			list = append(list, int64(i))
		}
	}
	axes, err := axesOf(list, x.Rank())
	if err == nil && len(axes) != len(want) {
		err = fmt.Errorf("shape %v for %d axes", want, len(axes))
	}
	if err != nil {
		return nil, err
	}
	shape := append([]int64{}, x.Shape()...)
	for i, a := range axes {
		shape[a] = want[i]
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	idx, err := axisLists(c, shape)
	if err != nil {
		return nil, err
	}
	for i, n := range shape {
		d := x.Shape()[i]
		off := (d - n) / 2 // crop: the first of the odd one stays out; pad: it goes behind
		if d < n {
			off = -((n - d) / 2)
		}
		for j := range n {
			k := j + off
			if k < 0 || k >= d {
				k = -1
			}
			idx[i][j] = int(k)
		}
	}
	fill, err := open(noValue(x.DType()))
	if err != nil {
		return nil, err
	}
	return one(gatherAxes(c, src, x.Shape(), idx, fill))
}
