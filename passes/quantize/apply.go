package quantize

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// editor makes the quantized model. Small constants that are equal are shared.
type editor struct {
	*plan
	shared map[string]*ir.Value
	// stored are weights that several units use, by what they became.
	stored map[*ir.Value][]stored
}

// stored is weights in integers, and the value behind their DequantizeLinear.
type stored struct {
	axis   int
	scales []float32
	q      []int8
	v      *ir.Value
}

func (p *plan) apply() error {
	e := &editor{p, map[string]*ir.Value{}, map[*ir.Value][]stored{}}
	for _, u := range p.units {
		e.absorbClamp(u)
	}
	for _, u := range p.units {
		if u.kind == weighted {
			if err := e.weights(u); err != nil {
				return err
			}
		}
	}
	for _, s := range p.sites {
		e.activation(s)
	}
	return p.c.Err()
}

// constant is an initializer of the main graph, shared with equal ones.
func (e *editor) constant(t *ir.Tensor) *ir.Value {
	b, _ := t.Bytes()
	key := fmt.Sprint(t.DType(), t.Shape()) + string(b)
	if v := e.shared[key]; v != nil && !v.Dead() {
		return v
	}
	v := e.m.Main.Const(t)
	e.shared[key] = v
	return v
}

// absorbClamp takes the Relu or Clip away that the quantizer of u's result stands for.
func (e *editor) absorbClamp(u *unit) {
	if u.clamp == nil {
		return
	}
	s := e.byVal[u.out]
	r, _ := clampOf(u.clamp)
	have, half := s.group.q.covers(), float64(s.group.q.scale)/2
	if have.Lo < r[0]-half || have.Hi > r[1]+half {
		u.clamp = nil // the quantizer covers more than the clamp lets through
		return
	}
	from, clamp := u.node.Result(0), u.clamp
	e.rewrite("clamp", clamp, nil, func() {
		name := u.out.Name()
		u.out.ReplaceUses(from)
		bounds := clamp.Operands()[1:]
		e.m.Main.Erase(clamp)
		for _, b := range bounds {
			if b != nil {
				e.drop(b)
			}
		}
		if name != "" {
			from.SetName(name)
		}
		from.SetType(nil)
		delete(e.byVal, u.out)
		u.out, s.value = from, from
		e.byVal[from] = s
	})
}

// activation puts the quantizer and the dequantizer on a tensor.
func (e *editor) activation(s *site) {
	if s.given {
		return
	}
	at := s.value.Node()
	var readers []ir.Use
	for use := range s.value.Uses() {
		u := e.byNode[use.Node]
		reads := u != nil && slices.Contains(u.acts, use.Index)
		if reads || s.from != nil {
			readers = append(readers, use)
		}
		if reads && at == nil {
			at = use.Node
		}
	}
	if len(readers) == 0 {
		return
	}
	e.rewrite("activation", at, nil, func() {
		q := s.group.q
		scale, zero := e.constant(ir.ScalarOf(q.scale)), e.constant(q.zeroTensor())
		g := e.m.Main
		qn := g.New(at, ir.Op("QuantizeLinear"), []*ir.Value{s.value, scale, zero})
		dq := g.New(at, ir.Op("DequantizeLinear"), []*ir.Value{qn.Result(0), scale, zero})
		s.value.ReplaceUsesIf(dq.Result(0), func(u ir.Use) bool { return u.Node != qn && slices.Contains(readers, u) })
	})
}

// weights stores the weights and the bias of a unit in integers.
func (e *editor) weights(u *unit) error {
	n := u.node
	w := n.Operand(u.weight)
	t := w.Const()
	if t == nil {
		return fmt.Errorf("the weights of %s are gone", n)
	}
	axis := u.axis
	if !e.p.PerChannel {
		axis = -1
	}
	m, err := matrixOf(t, axis)
	if err != nil {
		return err
	}
	scales := m.scales(e.p.WeightBits)
	var bias []float32
	if u.bias >= 0 {
		if bias, err = ir.Elements[float32](n.Operand(u.bias).Const()); err != nil {
			return err
		}
	}
	input := e.byVal[n.Operand(u.acts[0])]
	if input == nil {
		return fmt.Errorf("the input of %s has no range", n)
	}
	if e.o.Bias == "int32" && bias != nil {
		guardBias(scales, input.group.q.scale, bias)
	}
	q := m.round(scales, e.p.WeightBits)
	if t := e.tuned[u.source]; t != nil {
		scales = t.scales
		q = quantized{t.q, scales}
		if bias == nil && e.o.Correct && n.Is("Conv", "Gemm") && e.roomForBias(u) {
			bias = make([]float32, len(t.shift))
		}
		if bias != nil && len(bias) == len(t.shift) && e.o.Correct {
			bias = slices.Clone(bias)
			for i := range bias {
				bias[i] += float32(t.shift[i])
			}
		}
	}
	if u.bias < 0 && bias != nil {
		u.bias = 2
	}
	e.rewrite("weight", n, nil, func() {
		i := slices.IndexFunc(e.stored[w], func(k stored) bool {
			return k.axis == axis && slices.Equal(k.scales, scales) && slices.Equal(k.q, q.q)
		})
		if i < 0 {
			i = len(e.stored[w])
			e.stored[w] = append(e.stored[w], stored{axis, scales, q.q, e.dequantizer(n, ir.TensorOf(q.q, t.Shape()...), scales, axis)})
		}
		dq := e.stored[w][i].v
		n.SetOperand(u.weight, dq)
		e.drop(w)
	})
	if bias == nil {
		return nil
	}
	if e.o.Bias != "int32" {
		e.rewrite("bias", n, nil, func() { e.setBias(u, e.m.Main.Const(ir.TensorOf(bias, int64(len(bias))))) })
		return nil
	}
	integers := make([]int32, len(bias))
	products := make([]float32, len(bias))
	for i, x := range bias {
		ws := scales[0]
		if axis >= 0 {
			ws = scales[i]
		}
		products[i] = input.group.q.scale * ws
		k := math.RoundToEven(float64(x) / float64(products[i]))
		integers[i] = int32(math.Min(math.Max(k, math.MinInt32), math.MaxInt32))
	}
	if axis < 0 {
		products = products[:1]
	}
	e.rewrite("bias", n, nil, func() {
		at := -1
		if axis >= 0 {
			at = 0
		}
		e.setBias(u, e.dequantizer(n, ir.TensorOf(integers, int64(len(integers))), products, at))
	})
	return nil
}

// roomForBias reports whether a bias may be added to a unit that has none.
func (e *editor) roomForBias(u *unit) bool { return u.bias < 0 && u.node.Operand(2) == nil }

// setBias makes v the bias of a unit, and drops the one that it had.
func (e *editor) setBias(u *unit, v *ir.Value) {
	n, old := u.node, u.node.Operand(u.bias)
	for n.NumOperands() <= u.bias {
		n.AddOperand(nil)
	}
	n.SetOperand(u.bias, v)
	if old != nil {
		e.drop(old)
	}
}

// drop erases a constant that nothing uses any more.
func (e *editor) drop(v *ir.Value) {
	switch n := v.Node(); {
	case v.NumUses() > 0:
	case v.IsInitializer():
		v.Graph().EraseConst(v)
	case n != nil && n.Is("Constant"):
		n.Graph().Erase(n)
	}
}

// guardBias is guard for scales by channel or a single one.
func guardBias(scales []float32, input float32, bias []float32) {
	if len(scales) == len(bias) {
		guard(scales, input, bias)
		return
	}
	for _, x := range bias {
		guard(scales[:1], input, []float32{x})
	}
}

// dequantizer makes the constant and the DequantizeLinear behind it; axis -1 is for one scale.
func (e *editor) dequantizer(at *ir.Node, t *ir.Tensor, scales []float32, axis int) *ir.Value {
	shape := []int64{}
	var attrs []*ir.Attr
	if axis >= 0 {
		shape = []int64{int64(len(scales))}
		if axis != 1 {
			attrs = append(attrs, ir.IntAttr("axis", int64(axis)))
		}
	}
	n := int64(1)
	if axis >= 0 {
		n = int64(len(scales))
	}
	zero := ir.NewTensor(t.DType(), shape, make([]byte, t.DType().ByteLen(n)))
	in := []*ir.Value{e.m.Main.Const(t), e.constant(ir.TensorOf(scales, shape...)), e.constant(zero)}
	return e.m.Main.New(at, ir.Op("DequantizeLinear"), in, attrs...).Result(0)
}
