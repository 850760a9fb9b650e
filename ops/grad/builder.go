package grad

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// builder makes the backward graph. While a rule runs, n is the node and dy are the derivatives by its results, nil where there is none.
type builder struct {
	g     *ir.Graph
	infer *infer.Result
	path  *reach
	sums  map[*ir.Value][]*ir.Value
	n     *ir.Node
	dy    []*ir.Value
}

// need reports whether the derivative by operand i is wanted.
func (b *builder) need(i int) bool { return b.n.Operand(i) != nil && b.path.value[b.n.Operand(i)] }

// in is operand i, out result i.
func (b *builder) in(i int) *ir.Value  { return b.n.Operand(i) }
func (b *builder) out(i int) *ir.Value { return b.n.Result(i) }

// pass adds d to the derivative by operand i.
func (b *builder) pass(i int, d *ir.Value) {
	if b.need(i) {
		b.add(b.in(i), d)
	}
}

func (b *builder) add(v, d *ir.Value) { b.sums[v] = append(b.sums[v], d) }

// total is the derivative by v so far, nil if there is none.
func (b *builder) total(v *ir.Value) *ir.Value {
	s := b.sums[v]
	if len(s) == 0 {
		return nil
	}
	d := s[0]
	for _, e := range s[1:] {
		d = b.op("Add", d, e)
	}
	b.sums[v] = []*ir.Value{d}
	return d
}

// op makes a node of one result.
func (b *builder) op(typ string, in ...*ir.Value) *ir.Value { return b.with(typ, in) }

func (b *builder) with(typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	return b.g.New(nil, ir.Op(typ), in, attrs...).Result(0)
}

// ints is a constant vector.
func (b *builder) ints(v ...int64) *ir.Value {
	return b.g.Const(ir.TensorOf(slices.Clone(v), int64(len(v))))
}

func (b *builder) elem(v *ir.Value) ir.DType { return b.infer.Type(v).DType() }

// num is the scalar x of v's element type.
func (b *builder) num(v *ir.Value, x float64) *ir.Value { return b.scalar(b.elem(v), x, nil) }

// one is a vector of one element.
func (b *builder) one(d ir.DType, x float64) *ir.Value { return b.scalar(d, x, []int64{1}) }

func (b *builder) scalar(d ir.DType, x float64, shape []int64) *ir.Value {
	if shape == nil {
		shape = []int64{}
	}
	switch d {
	case ir.Float64:
		return b.g.Const(ir.TensorOf([]float64{x}, shape...))
	case ir.Float32:
		return b.g.Const(ir.TensorOf([]float32{float32(x)}, shape...))
	}
	f := b.g.Const(ir.TensorOf([]float32{float32(x)}, shape...))
	return b.cast(f, d)
}

func (b *builder) cast(v *ir.Value, to ir.DType) *ir.Value {
	return b.with("Cast", []*ir.Value{v}, ir.IntAttr("to", int64(to)))
}

// fill is a tensor of the given shape of x, a vector of one element.
func (b *builder) fill(shape, x *ir.Value) *ir.Value { return b.op("Expand", x, shape) }

// dims are the sizes of v, ok if all are known.
func (b *builder) dims(v *ir.Value) ([]int64, bool) {
	s := b.infer.Type(v).TensorShape()
	if s == nil {
		return nil, false
	}
	return s.Ints()
}

// rank is the rank of v.
func (b *builder) rank(v *ir.Value) (int, error) {
	s := b.infer.Type(v).TensorShape()
	if s == nil {
		return 0, fmt.Errorf("the rank of %q is not known", v.Name())
	}
	return len(s), nil
}

// shape is the shape of v as a vector.
func (b *builder) shape(v *ir.Value) *ir.Value {
	if d, ok := b.dims(v); ok {
		return b.ints(d...)
	}
	return b.op("Shape", v)
}

// size is the size of axis i of v as a vector of one element.
func (b *builder) size(v *ir.Value, i int) *ir.Value {
	if s := b.infer.Type(v).TensorShape(); i < len(s) && s[i].IsStatic() {
		return b.ints(s[i].Size)
	}
	return b.with("Shape", []*ir.Value{v}, ir.IntAttr("start", int64(i)), ir.IntAttr("end", int64(i+1)))
}

func (b *builder) reshape(v, shape *ir.Value) *ir.Value {
	return b.with("Reshape", []*ir.Value{v, shape}, ir.IntAttr("allowzero", 1))
}

// like reshapes d to the shape of v.
func (b *builder) like(d, v *ir.Value) *ir.Value { return b.reshape(d, b.shape(v)) }

func (b *builder) sum(v *ir.Value, keep bool, axes ...int64) *ir.Value {
	return b.reduce("ReduceSum", v, keep, axes...)
}

func (b *builder) reduce(typ string, v *ir.Value, keep bool, axes ...int64) *ir.Value {
	k := int64(0)
	if keep {
		k = 1
	}
	return b.with(typ, []*ir.Value{v, b.ints(axes...)}, ir.IntAttr("keepdims", k))
}

func (b *builder) transpose(v *ir.Value, perm ...int64) *ir.Value {
	return b.with("Transpose", []*ir.Value{v}, ir.IntsAttr("perm", slices.Clone(perm)))
}

func (b *builder) concat(axis int64, v ...*ir.Value) *ir.Value {
	return b.with("Concat", v, ir.IntAttr("axis", axis))
}

// slice is v[from:to] along the axes.
func (b *builder) slice(v, from, to *ir.Value, axes ...int64) *ir.Value {
	return b.op("Slice", v, from, to, b.ints(axes...))
}

// unbroadcast sums d, which has the shape that v was broadcast to, over the axes along which v was repeated. of is a value of
// the shape of d.
func (b *builder) unbroadcast(d, v, of *ir.Value) (*ir.Value, error) {
	sv, so := b.infer.Type(v).TensorShape(), b.infer.Type(of).TensorShape()
	if sv == nil || so == nil {
		return nil, fmt.Errorf("the ranks of %q and %q are not known", v.Name(), of.Name())
	}
	lead := len(so) - len(sv)
	var axes []int64
	known := lead >= 0
	for i := range so {
		switch {
		case i < lead:
			axes = append(axes, int64(i))
		case known && sv[i-lead].IsStatic() && sv[i-lead].Size == 1:
			if !so[i].IsStatic() || so[i].Size != 1 {
				axes = append(axes, int64(i))
			}
		case known && !sv[i-lead].IsStatic() && !sv[i-lead].Same(so[i]):
			known = false
		}
	}
	if known {
		if len(axes) == 0 {
			return d, nil
		}
		if lead == len(so) {
			return b.with("ReduceSum", []*ir.Value{d}, ir.IntAttr("keepdims", 0)), nil
		}
		d = b.sum(d, true, axes...)
		if lead > 0 {
			front := make([]int64, lead)
			for i := range front {
				front[i] = int64(i)
			}
			d = b.op("Squeeze", d, b.ints(front...))
		}
		return d, nil
	}
	if lead < 0 {
		return nil, fmt.Errorf("the shape of %q is not known", of.Name())
	}
	// The axes of size one are found when it runs.
	shape := b.op("Shape", v)
	full := shape
	if lead > 0 {
		ones := make([]int64, lead)
		for i := range ones {
			ones[i] = 1
		}
		full = b.concat(0, b.ints(ones...), shape)
	}
	where := b.reshape(b.op("NonZero", b.op("Equal", full, b.ints(1))), b.ints(-1))
	d = b.with("ReduceSum", []*ir.Value{d, where}, ir.IntAttr("keepdims", 1), ir.IntAttr("noop_with_empty_axes", 1))
	return b.reshape(d, shape), nil
}

// passBroadcast adds d, of the shape of the first result, to the derivative by operand i.
func (b *builder) passBroadcast(i int, d func() *ir.Value) error {
	if !b.need(i) {
		return nil
	}
	u, err := b.unbroadcast(d(), b.in(i), b.out(0))
	if err != nil {
		return err
	}
	b.pass(i, u)
	return nil
}
