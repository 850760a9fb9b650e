package c

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// sink moves dequantizations behind the nodes that only move elements, and quantizations before them, so that they move bytes:
//
//	q ── DequantizeLinear ── Transpose ── QuantizeLinear ──   becomes   q ── Transpose ──
//
// A node that moves elements and the function of one number that quantization is may change places, so that no bit of the result changes.
// The model's values have to know their types.
func sink(m *ir.Model) {
	s := &sinker{g: m.Main, facts: infer.Model(m)}
	for _, n := range m.Main.NodeList() {
		switch {
		case n.Dead() || n.Op().Domain != "" || m.Function(n.Op()) != nil:
		case n.Is("QuantizeLinear"):
			s.cancel(n)
		case n.Is("Concat"):
			s.join(n)
		default:
			s.sink(n)
		}
	}
}

// sinker changes one graph. The facts are those of the model as it came; what is new has the type that it is given.
type sinker struct {
	g     *ir.Graph
	facts *infer.Result
}

func isDequantize(n *ir.Node) bool { return n.Is("DequantizeLinear") && n.Op().Domain == "" }

// bytes is the DequantizeLinear with one scale that makes v of bytes that are no constant; nil: v is something else.
func (s *sinker) bytes(v *ir.Value) *ir.Node {
	if v == nil {
		return nil
	}
	n := v.Node()
	if n == nil || n.Graph() != s.g || !isDequantize(n) || n.Int("block_size", 0) != 0 || n.Operand(0).Const() != nil || s.facts.Known(n.Operand(0)) != nil {
		return nil
	}
	scale, x := n.Operand(1).Const(), n.Operand(0).Type()
	if scale == nil || scale.Len() != 1 || scale.DType() != ir.Float32 || n.Operand(2) != nil && n.Operand(2).Const() == nil || x == nil {
		return nil
	}
	if d := x.DType(); d != ir.Int8 && d != ir.Uint8 {
		return nil
	}
	if f, err := ir.Elements[float32](scale); err != nil || !(f[0] > 1e-30 && f[0] < 1e30) {
		return nil
	}
	return n
}

// moves reports whether n takes the elements of its first operand to other places, or leaves some out.
func moves(n *ir.Node) bool {
	switch n.Op().Type {
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Identity":
		return true
	case "MaxPool": // dequantization is monotone
		return n.NumResults() == 1 || n.Result(1) == nil || n.Result(1).NumUses() == 0
	case "Resize":
		return n.Str("mode", "nearest") == "nearest" && n.Str("coordinate_transformation_mode", "") != "tf_crop_and_resize"
	case "Pad":
		c := n.Operand(2)
		return n.Str("mode", "constant") != "constant" || c == nil || c.Const() != nil && isZero(c.Const())
	}
	return false
}

// isZero reports whether t is one float, 0.
func isZero(t *ir.Tensor) bool {
	f, err := ir.Elements[float32](t)
	return err == nil && len(f) == 1 && f[0] == 0
}

// sink moves the bytes that n's operand is made of, and dequantizes the results.
func (s *sinker) sink(n *ir.Node) {
	if !moves(n) || n.NumOperands() == 0 {
		return
	}
	d := s.bytes(n.Operand(0))
	if d == nil || slices.ContainsFunc(n.Results(), func(v *ir.Value) bool { return v != nil && v.Type() == nil }) {
		return
	}
	in := slices.Clone(n.Operands())
	in[0] = d.Operand(0)
	dtype := in[0].Type().DType()
	if n.Is("Pad") && n.Str("mode", "constant") == "constant" { // what stands for 0 is the zero point
		for len(in) < 3 {
			in = append(in, nil)
		}
		in[2] = s.zero(d, dtype)
	}
	moved := s.g.NewN(n, n.Op(), in, n.NumResults(), n.Attrs()...)
	moved.SetName(n.Name())
	moved.SetOrigin(n.Origin())
	for i, v := range n.Results() {
		if v == nil || v.NumUses() == 0 {
			continue
		}
		r := moved.Result(i)
		r.SetType(ir.TensorType(dtype, v.Type().TensorShape()))
		r.SetName(v.Name())
		v.ReplaceUses(s.dequantize(n, d, r, v))
	}
	s.drop(n)
}

// zero is the zero point of a DequantizeLinear as a number.
func (s *sinker) zero(d *ir.Node, t ir.DType) *ir.Value {
	data := []byte{0}
	if z := d.Operand(2); z != nil {
		if b, err := z.Const().Bytes(); err == nil && len(b) == 1 {
			data = b
		}
	}
	return s.g.Const(ir.NewTensor(t, nil, data))
}

// dequantize makes of v what d makes of its operand, in place of old.
func (s *sinker) dequantize(near, d *ir.Node, v, old *ir.Value) *ir.Value {
	in := slices.Clone(d.Operands())
	in[0] = v
	n := s.g.New(near, d.Op(), in, d.Attrs()...)
	n.SetOrigin(d.Origin())
	n.Result(0).SetType(old.Type())
	n.Result(0).SetName(old.Name())
	return n.Result(0)
}

// drop erases a node that nothing needs any more, and dequantizations that only it needed.
func (s *sinker) drop(n *ir.Node) {
	in := slices.Clone(n.Operands())
	s.g.Erase(n)
	for _, v := range in {
		if v != nil && v.NumUses() == 0 && v.Node() != nil && !v.Node().Dead() && isDequantize(v.Node()) {
			s.g.Erase(v.Node())
		}
	}
}

// alike reports whether a QuantizeLinear and a DequantizeLinear have the same parameters, of 8 bits.
func alike(q, d *ir.Node) bool {
	t := d.Operand(0).Type().DType()
	if q.Int("block_size", 0) != 0 || q.Operand(1).Const() == nil || !same(q.Operand(1), d.Operand(1)) || q.Result(0).Type() == nil || q.Result(0).Type().DType() != t {
		return false
	}
	zero := func(v *ir.Value) byte {
		if v == nil {
			return 0
		}
		if b, err := v.Const().Bytes(); err == nil && len(b) == 1 {
			return b[0]
		}
		return 0
	}
	if q.Operand(2) != nil && (q.Operand(2).Const() == nil || q.Operand(2).Const().Len() != 1) || d.Operand(2) != nil && d.Operand(2).Const().Len() != 1 {
		return false
	}
	return zero(q.Operand(2)) == zero(d.Operand(2))
}

// same reports whether two constants hold the same number.
func same(v, w *ir.Value) bool {
	a, err := v.Const().Bytes()
	b, err2 := w.Const().Bytes()
	return err == nil && err2 == nil && v.Const().DType() == w.Const().DType() && string(a) == string(b)
}

// cancel takes out a quantization that undoes a dequantization: (q - z)*s/s is q, up to an error that rounding removes.
func (s *sinker) cancel(q *ir.Node) {
	d := s.bytes(q.Operand(0))
	if d == nil || !alike(q, d) {
		return
	}
	q.Result(0).ReplaceUses(d.Operand(0))
	s.drop(q)
}

// join makes a Concat one of bytes: where all its operands have the same scale and zero point as they are, else with those of the
// QuantizeLinear behind it, to which operands with others are taken first.
func (s *sinker) join(n *ir.Node) {
	var from []*ir.Node
	for _, v := range n.Operands() {
		d := s.bytes(v)
		if d == nil {
			return
		}
		from = append(from, d)
	}
	if len(from) == 0 || n.Result(0).Type() == nil {
		return
	}
	v := n.Result(0)
	like := from[0]
	uniform := !slices.ContainsFunc(from, func(d *ir.Node) bool {
		return !same(d.Operand(1), like.Operand(1)) || d.Operand(0).Type().DType() != like.Operand(0).Type().DType() || !sameZero(d, like)
	})
	if uniform {
		joined := s.concat(n, slices.Collect(func(yield func(*ir.Value) bool) {
			for _, d := range from {
				if !yield(d.Operand(0)) {
					return
				}
			}
		}), like.Operand(0).Type().DType())
		v.ReplaceUses(s.dequantize(n, like, joined, v))
		s.drop(n)
		return
	}
	u, ok := v.OnlyUse()
	q := u.Node
	if !ok || u.Index != 0 || v.IsOutput() || q.IsReturn() || q.Graph() != s.g || !q.Is("QuantizeLinear") || q.Op().Domain != "" || q.Result(0).Type() == nil ||
		q.Int("block_size", 0) != 0 || q.Operand(1).Const() == nil || q.Operand(1).Const().Len() != 1 || q.Operand(2) != nil && q.Operand(2).Const() == nil {
		return
	}
	t := q.Result(0).Type().DType()
	if t != ir.Int8 && t != ir.Uint8 {
		return
	}
	var in []*ir.Value
	for i, d := range from {
		if alike(q, d) {
			in = append(in, d.Operand(0))
			continue
		}
		ops := slices.Clone(q.Operands())
		ops[0] = n.Operand(i)
		p := s.g.New(n, q.Op(), ops, q.Attrs()...)
		p.SetName(q.Name())
		p.SetOrigin(q.Origin())
		p.Result(0).SetType(ir.TensorType(t, n.Operand(i).Type().TensorShape()))
		p.Result(0).SetName(n.Operand(i).Name())
		in = append(in, p.Result(0))
	}
	q.Result(0).ReplaceUses(s.concat(n, in, t))
	s.g.Erase(q)
	s.drop(n)
}

// sameZero reports whether two DequantizeLinear of the same type have the same zero point.
func sameZero(a, b *ir.Node) bool {
	zero := func(n *ir.Node) string {
		if v := n.Operand(2); v != nil {
			if z, err := v.Const().Bytes(); err == nil {
				return string(z)
			}
		}
		return "\x00"
	}
	return zero(a) == zero(b)
}

// concat is n over other operands.
func (s *sinker) concat(n *ir.Node, in []*ir.Value, t ir.DType) *ir.Value {
	c := s.g.New(n, n.Op(), in, n.Attrs()...)
	c.SetName(n.Name())
	c.SetOrigin(n.Origin())
	c.Result(0).SetType(ir.TensorType(t, n.Result(0).Type().TensorShape()))
	c.Result(0).SetName(n.Result(0).Name())
	return c.Result(0)
}
