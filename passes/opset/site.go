package opset

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// site is a node on its way from one version to the next. Nodes made here are written in version "to". Once why is set, the conversion
// has failed, and what else is done to the model does not count.
type site struct {
	c        *conversion
	n        *ir.Node
	g        *ir.Graph
	old      *schema.Schema // the schema n is written in
	from, to int64
	why      string
}

// refuse says why n has no equivalent. The first reason stays.
func (s *site) refuse(format string, args ...any) {
	if s.why == "" {
		s.why = fmt.Sprintf(format, args...)
	}
}

// tolerant notes that the conversion of n is not exact.
func (s *site) tolerant() {
	s.c.notExact(s.c.place(s.n).Node + " is spelled out in float operations")
}

// refs says why n cannot be converted by a if attributes refer to those of a function: their values are not known.
func (s *site) refs(a *adapter) string {
	for _, x := range s.n.Attrs() {
		if x.Ref != "" && !slices.Contains(a.refs, x.Name) {
			return fmt.Sprintf("attribute %s is that of the function, whose value is not known", x.Name)
		}
	}
	return ""
}

// What is known.

func (s *site) dtype(v *ir.Value) ir.DType {
	s.c.facts.Extend(v)
	return s.c.facts.DType(v)
}

func (s *site) typ(v *ir.Value) *ir.Type {
	s.c.facts.Extend(v)
	return s.c.facts.Type(v)
}

// shape is the shape of v, nil if its rank is not known.
func (s *site) shape(v *ir.Value) ir.Shape {
	s.c.facts.Extend(v)
	return s.c.facts.Shape(v)
}

// rank is the rank of v, or -1.
func (s *site) rank(v *ir.Value) int {
	if d := s.shape(v); d != nil {
		return len(d)
	}
	return -1
}

// needRank is rank; if it is not known the conversion fails.
func (s *site) needRank(v *ir.Value) int {
	r := s.rank(v)
	if r < 0 {
		s.refuse("the rank of its operand is not known")
		return 0
	}
	return r
}

// needDType is the element type of v; if it is not known the conversion fails.
func (s *site) needDType(v *ir.Value) ir.DType {
	d := s.dtype(v)
	if d == ir.Undefined {
		s.refuse("the element type of its operand is not known")
	}
	return d
}

// known are the elements of an integer tensor that is the same in every run.
func (s *site) known(v *ir.Value) ([]int64, bool) {
	if v == nil {
		return nil, false
	}
	s.c.facts.Extend(v)
	t := v.Const()
	if t == nil {
		t = s.c.facts.Known(v)
	}
	if t == nil {
		return nil, false
	}
	switch t.DType() {
	case ir.Int64:
		x, err := ir.Elements[int64](t)
		return x, err == nil
	case ir.Int32:
		x, err := ir.Elements[int32](t)
		r := make([]int64, len(x))
		for i := range x {
			r[i] = int64(x[i])
		}
		return r, err == nil
	case ir.Bool:
		b, err := t.Bytes()
		r := make([]int64, len(b))
		for i := range b {
			r[i] = int64(b[i])
		}
		return r, err == nil
	}
	return nil, false
}

// float is the value of a constant of one element and a float type.
func (s *site) float(v *ir.Value) (float64, bool) {
	t := v.Const()
	if t == nil || t.Len() != 1 {
		return 0, false
	}
	switch t.DType() {
	case ir.Float32:
		x, err := ir.Elements[float32](t)
		return float64(x[0]), err == nil
	case ir.Float64:
		x, err := ir.Elements[float64](t)
		return x[0], err == nil
	}
	return 0, false
}

// Attributes of n, with the defaults of the schema that n is written in.

func (s *site) int(name string) int64 {
	if a := s.n.Attr(name); a != nil {
		return a.Int()
	}
	return s.old.Attr(name).Int()
}

func (s *site) float32(name string) float32 {
	if a := s.n.Attr(name); a != nil {
		return a.Float()
	}
	return s.old.Attr(name).Float()
}

func (s *site) str(name string) string {
	if a := s.n.Attr(name); a != nil {
		return a.Str()
	}
	return s.old.Attr(name).Str()
}

func (s *site) ints(name string) []int64 { return s.n.Attr(name).Ints() }

// axis is an axis counted from the front. ok is false, and the conversion fails, if it is outside the rank.
func (s *site) axis(a int64, rank int) (int, bool) {
	if a < 0 {
		a += int64(rank)
	}
	if a < 0 || a >= int64(rank) {
		s.refuse("axis %d is outside a tensor of rank %d", a, rank)
		return 0, false
	}
	return int(a), true
}

// Operands of n, nil where omitted.
func (s *site) in(i int) *ir.Value { return s.n.Operand(i) }

// Making nodes.

// node makes a node beside n. Omitted operands at the end are left away, and so are nil attributes.
func (s *site) node(typ string, in []*ir.Value, results int, attrs ...*ir.Attr) *ir.Node {
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	attrs = slices.DeleteFunc(slices.Clone(attrs), func(a *ir.Attr) bool { return a == nil })
	k := s.g.NewN(s.n, ir.Op(typ), in, results, attrs...)
	s.c.made = append(s.c.made, k)
	s.c.origins[k] = s.n.Origin()
	s.c.source[k] = s.c.place(s.n)
	return k
}

// op makes a node of one result without attributes.
func (s *site) op(typ string, in ...*ir.Value) *ir.Value { return s.node(typ, in, 1).Result(0) }

// opa is op with attributes.
func (s *site) opa(typ string, attrs []*ir.Attr, in ...*ir.Value) *ir.Value {
	return s.node(typ, in, 1, attrs...).Result(0)
}

func attrs(a ...*ir.Attr) []*ir.Attr { return a }

// constant makes a constant.
func (s *site) constant(t *ir.Tensor) *ir.Value {
	v := s.g.Const(t)
	s.c.consts[v] = s.n.Origin()
	return v
}

// vec is a constant vector of int64.
func (s *site) vec(v ...int64) *ir.Value {
	if v == nil {
		v = []int64{}
	}
	return s.constant(ir.TensorOf(v))
}

// int64 is a constant scalar.
func (s *site) scalar64(v int64) *ir.Value { return s.constant(ir.ScalarOf(v)) }

// number is a constant scalar of type d.
func (s *site) number(d ir.DType, v float64) *ir.Value {
	t := numberOf(d, v)
	if t == nil {
		s.refuse("element type %s has no constant %g here", d, v)
		t = ir.ScalarOf(float32(v))
	}
	return s.constant(t)
}

// numberOf is a scalar of type d, nil for types that have none here.
func numberOf(d ir.DType, v float64) *ir.Tensor {
	switch d {
	case ir.Float32:
		return ir.ScalarOf(float32(v))
	case ir.Float64:
		return ir.ScalarOf(v)
	case ir.Int8:
		return ir.ScalarOf(int8(v))
	case ir.Int16:
		return ir.ScalarOf(int16(v))
	case ir.Int32:
		return ir.ScalarOf(int32(v))
	case ir.Int64:
		return ir.ScalarOf(int64(v))
	case ir.Uint8:
		return ir.ScalarOf(uint8(v))
	case ir.Uint16:
		return ir.ScalarOf(uint16(v))
	case ir.Uint32:
		return ir.ScalarOf(uint32(v))
	case ir.Uint64:
		return ir.ScalarOf(uint64(v))
	case ir.Bool:
		b := byte(0)
		if v != 0 {
			b = 1
		}
		return ir.NewTensor(ir.Bool, []int64{}, []byte{b})
	case ir.BFloat16:
		return ir.NewTensor(d, []int64{}, ir.AsBytes([]uint16{kernel.Float32ToBFloat16(float32(v))}))
	case ir.Float16:
		return ir.NewTensor(d, []int64{}, ir.AsBytes([]uint16{kernel.Float32ToFloat16(float32(v))}))
	case ir.Complex64:
		return ir.ScalarOf(complex64(complex(v, 0)))
	case ir.Complex128:
		return ir.ScalarOf(complex(v, 0))
	case ir.String:
		return ir.NewStringTensor([]int64{}, []string{""})
	}
	return nil
}

// like is a scalar constant of the element type of x, which need not be known where CastLike exists.
func (s *site) like(x *ir.Value, v float64) *ir.Value {
	d := s.dtype(x)
	switch {
	case d != ir.Undefined:
		return s.number(d, v)
	case s.to >= 15:
		return s.op("CastLike", s.number(ir.Float32, v), x)
	}
	s.refuse("the element type of its operand is not known")
	return s.number(ir.Float32, v)
}

func (s *site) cast(x *ir.Value, d ir.DType) *ir.Value {
	from := s.dtype(x)
	if d == from || d == ir.Undefined {
		return x
	}
	if x.Const() != nil && from != ir.Undefined && !s.casts(from) {
		return s.castConst(x, d)
	}
	return s.opa("Cast", attrs(ir.IntAttr("to", int64(d))), x)
}

func (s *site) unsqueeze(x *ir.Value, axes ...int64) *ir.Value {
	if len(axes) == 0 {
		return x
	}
	if s.to >= 13 {
		return s.op("Unsqueeze", x, s.vec(axes...))
	}
	return s.opa("Unsqueeze", attrs(ir.IntsAttr("axes", axes)), x)
}

func (s *site) squeeze(x *ir.Value, axes ...int64) *ir.Value {
	if len(axes) == 0 {
		return x
	}
	if s.to >= 13 {
		return s.op("Squeeze", x, s.vec(axes...))
	}
	return s.opa("Squeeze", attrs(ir.IntsAttr("axes", axes)), x)
}

// reduce reduces along axes, nil for all.
func (s *site) reduce(typ string, x *ir.Value, keep bool, axes ...int64) *ir.Value {
	k := ir.IntAttr("keepdims", 0)
	if keep {
		k = ir.IntAttr("keepdims", 1)
	}
	switch {
	case axes == nil:
		return s.opa(typ, attrs(k), x)
	case s.to >= 18 || s.to >= 13 && typ == "ReduceSum":
		return s.opa(typ, attrs(k), x, s.vec(axes...))
	}
	return s.opa(typ, attrs(ir.IntsAttr("axes", axes), k), x)
}

// slice takes [start, end) with a step along one axis.
func (s *site) slice(x *ir.Value, axis, start, end, step int64) *ir.Value {
	var st *ir.Value
	if step != 1 {
		st = s.vec(step)
	}
	return s.op("Slice", x, s.vec(start), s.vec(end), s.vec(axis), st)
}

func (s *site) transpose(x *ir.Value, perm ...int64) *ir.Value {
	return s.opa("Transpose", attrs(ir.IntsAttr("perm", perm)), x)
}

func (s *site) concat(axis int64, in ...*ir.Value) *ir.Value {
	if len(in) == 1 {
		return in[0]
	}
	return s.opa("Concat", attrs(ir.IntAttr("axis", axis)), in...)
}

// gather is data[index] along an axis; a scalar index drops the axis.
func (s *site) gather(axis int64, data, index *ir.Value) *ir.Value {
	return s.opa("Gather", attrs(ir.IntAttr("axis", axis)), data, index)
}

func (s *site) shapeOf(x *ir.Value) *ir.Value { return s.op("Shape", x) }

// dim is the size of an axis of x as a vector of one element.
func (s *site) dim(x *ir.Value, axis int64) *ir.Value {
	if d := s.shape(x); d != nil {
		i := axis
		if i < 0 {
			i += int64(len(d))
		}
		if i >= 0 && i < int64(len(d)) && d[i].IsStatic() {
			return s.vec(d[i].Size)
		}
	}
	return s.gather(0, s.shapeOf(x), s.vec(axis))
}

// size is the size of an axis of x as a scalar.
func (s *site) size(x *ir.Value, axis int64) *ir.Value { return s.scalar(s.dim(x, axis)) }

// scalar is a vector of one integer as a scalar.
func (s *site) scalar(v *ir.Value) *ir.Value {
	if x, ok := s.known(v); ok && len(x) == 1 {
		return s.scalar64(x[0])
	}
	return s.squeeze(v, 0)
}

// reshape gives x a shape that is computed. Dimensions of zero are copied from x, as Reshape does by default.
func (s *site) reshape(x, shape *ir.Value) *ir.Value { return s.op("Reshape", x, shape) }

// keepEmpty is reshape in which a dimension of zero means zero. That can be said from version 14 on only; a node made for 13 in a
// conversion up says it when it gets there, and in a version below 14 such a Reshape of a tensor without elements fails.
func (s *site) keepEmpty(x, shape *ir.Value) *ir.Value {
	if s.to >= 14 {
		return s.opa("Reshape", attrs(ir.IntAttr("allowzero", 1)), x, shape)
	}
	r := s.op("Reshape", x, shape)
	s.c.flat[r.Node()] = true
	return r
}

// Changing n.

// replace moves the uses of n's results to others and erases n. nil stands for a result that is not used.
func (s *site) replace(results ...*ir.Value) {
	if s.why != "" {
		return
	}
	named := false
	for i, old := range s.n.Results() {
		if old == nil {
			continue
		}
		if i >= len(results) || results[i] == nil {
			if old.NumUses() > 0 {
				s.refuse("result %d has no equivalent", i)
				return
			}
			continue
		}
		v := results[i]
		if k := v.Node(); k != nil && s.c.origins[k] != nil && k != s.n {
			s.keepType(v, old)
			if !named && k.Name() == "" {
				k.SetName(s.n.Name())
				k.SetMeta(s.n.Meta())
				named = true
			}
		} else if old.IsOutput() {
			v = s.op("Identity", v) // an output keeps its name
			if old.Type() != nil {
				v.SetType(old.Type())
			}
		}
		old.ReplaceUses(v)
	}
	in := s.n.Operands()
	s.g.Erase(s.n)
	for _, v := range in {
		s.drop(v)
	}
}

// keepType records of v what is recorded of old, which it takes the place of. What a subgraph returns has its type stated: other
// runtimes infer less of what an operator is spelled out in.
func (s *site) keepType(v, old *ir.Value) {
	if v.Type() == nil && old.Type() != nil {
		v.SetType(old.Type())
	}
	if s.g.Outer() == nil || s.g.Function() != nil || !old.IsOutput() {
		return
	}
	for _, o := range s.g.Outputs() {
		if t := staticType(s.typ(old)); o.Value() == old && o.Type() == nil && t != nil {
			o.SetType(t)
		}
	}
}

// drop erases a constant that nothing uses any more.
func (s *site) drop(v *ir.Value) {
	switch {
	case v == nil || v.NumUses() > 0 || v.Dead():
	case v.IsInitializer() && len(s.c.m.Training) == 0:
		v.Graph().EraseConst(v)
	case v.Node() != nil && v.Node().Op() == ir.Op("Constant") && !v.Node().Used():
		v.Graph().Erase(v.Node())
	}
}

// trim takes the operands from i on away.
func (s *site) trim(i int) {
	for s.n.NumOperands() > i {
		v := s.n.Operand(s.n.NumOperands() - 1)
		s.n.RemoveOperand(s.n.NumOperands() - 1)
		s.drop(v)
	}
	for s.n.NumOperands() > 0 && s.n.Operand(s.n.NumOperands()-1) == nil {
		s.n.RemoveOperand(s.n.NumOperands() - 1)
	}
}

// operand makes v operand i of n, with omitted ones before it.
func (s *site) operand(i int, v *ir.Value) {
	for s.n.NumOperands() <= i {
		s.n.AddOperand(nil)
	}
	s.n.SetOperand(i, v)
}

// used reports whether result i of n has a use.
func (s *site) used(i int) bool { return s.n.Result(i).NumUses() > 0 }
