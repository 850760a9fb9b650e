package c

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// shape is the static shape of v, which check has seen.
func (b *builder) shape(v *ir.Value) []int {
	s, _ := b.facts.Shape(v).Ints()
	r := make([]int, len(s))
	for i, d := range s {
		r[i] = int(d)
	}
	return r
}

func (b *builder) typ(v *ir.Value) ctype {
	t, _ := typeOf(b.facts.DType(v))
	return t
}

// constant is the contents of v if they are known, halves widened.
func (b *builder) constant(v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	t := v.Const()
	if t == nil {
		t = b.facts.Known(v)
	}
	if n := v.Node(); t == nil && n != nil && n.Is("DequantizeLinear") && n.Op().Domain == "" {
		if f, ok := b.folded[v]; ok {
			return f
		}
		b.folded[v] = b.dequantized(n)
		return b.folded[v]
	}
	if n := v.Node(); t == nil && n != nil && n.Is("ConstantOfShape") && n.Op().Domain == "" {
		f, ok := b.folded[v]
		if !ok {
			f = b.filled(n)
			b.folded[v] = f
		}
		t = f
	}
	if t != nil && t.DType() == ir.Float16 {
		h, err := ir.Elements[uint16](t)
		if err != nil {
			return nil
		}
		f := make([]float32, len(h))
		for i, x := range h {
			f[i] = kernel.Float16ToFloat32(x)
		}
		return ir.TensorOf(f, t.Shape()...)
	}
	return t
}

// mostFilled is the number of elements up to which a ConstantOfShape is taken for weights.
const mostFilled = 16 << 20

// filled is what a ConstantOfShape gives; nil where the shape is open, or too big.
func (b *builder) filled(n *ir.Node) *ir.Tensor {
	s, ok := b.facts.Shape(n.Result(0)).Ints()
	value := n.Attr("value")
	if elements := ir.NumElements(s); !ok || elements < 0 || elements > mostFilled { // overflown, or a bomb
		return nil
	}
	one := ir.TensorOf([]float32{0})
	if value != nil {
		if one = value.Tensor(); one == nil || one.Len() != 1 {
			return nil
		}
	}
	data, err := one.Bytes()
	if err != nil {
		return nil
	}
	return ir.NewTensor(one.DType(), s, bytes.Repeat(data, int(ir.NumElements(s))))
}

// floats are the elements of a constant float operand.
func (b *builder) floats(v *ir.Value) ([]float32, error) {
	t := b.constant(v)
	if t == nil || t.DType() != ir.Float32 {
		return nil, errors.New("parameters that are no float constants")
	}
	return ir.Elements[float32](t)
}

// ints are the elements of a constant operand of integers.
func (b *builder) ints(v *ir.Value) ([]int, error) {
	t := b.constant(v)
	if t == nil {
		return nil, errors.New("a parameter that is no constant")
	}
	if d := t.DType(); d != ir.Int64 && d != ir.Int32 {
		return nil, fmt.Errorf("a parameter of type %s", d)
	}
	return integers(t)
}

// alloc makes a tensor in the arena.
func (b *builder) alloc(name string, typ ctype, shape []int, blocked bool) *tensor {
	buf := &buffer{name: name, typ: typ}
	b.buffers = append(b.buffers, buf)
	return &tensor{buf: buf, shape: shape, blocked: blocked}
}

// literal makes a constant of bytes, or takes an equal one.
func (b *builder) literal(name string, typ ctype, shape []int, data []byte) *tensor {
	key := typ.name + string(data)
	buf := b.known[key]
	if buf == nil {
		buf = &buffer{name: name, typ: typ, data: data, elems: len(data) / typ.size}
		b.known[key] = buf
		b.consts = append(b.consts, buf)
	}
	return &tensor{buf: buf, shape: shape, stiff: true}
}

func (b *builder) floatLiteral(name string, f []float32) *tensor {
	return b.literal(name, float, []int{len(f)}, ir.AsBytes(f))
}

// define states where v lies.
func (b *builder) define(v *ir.Value, t *tensor) {
	p := b.places[v]
	if p == nil {
		p = &place{}
		b.places[v] = p
	}
	if t.blocked {
		p.blocked = t
	} else {
		p.plain = t
	}
}

// result makes the tensor of a node's first result.
func (b *builder) result(n *ir.Node, blocked bool) *tensor {
	v := n.Result(0)
	typ := b.typ(v)
	if blocked {
		typ = blockedType(typ)
	}
	t := b.alloc(v.Name(), typ, b.shape(v), blocked)
	b.define(v, t)
	return t
}

// plain is v in row-major order.
func (b *builder) plain(v *ir.Value) *tensor {
	p := b.placed(v)
	if p.plain == nil {
		t := p.blocked
		switch {
		case b.typ(v) != int8s && t.shape[2]*t.shape[3] == 1 && (t.shape[0] == 1 || t.shape[1]%block == 0) && t.parent == nil && !t.hasHalo():
			t.stiff = true
			p.plain = &tensor{buf: t.buf, shape: b.shape(v), stiff: true}
		default:
			u := b.alloc(v.Name(), b.typ(v), t.shape, false)
			u.stiff = true
			b.unblock(t, u)
			p.plain = &tensor{buf: u.buf, shape: b.shape(v), stiff: true}
		}
	}
	return p.plain
}

// flat is v in row-major order for what knows nothing of halos.
func (b *builder) flat(v *ir.Value) *tensor {
	t := b.plain(v)
	if t.hasHalo() {
		u := b.alloc(v.Name(), t.buf.typ, t.shape, false)
		b.copy(t, u)
		t = u
		b.places[v].plain = u
	}
	t.root().stiff = true
	return t
}

// image is a tensor of three or four axes as one of four.
func image(t *tensor) *tensor {
	if len(t.shape) != 3 {
		return t
	}
	t.root().stiff = true
	return &tensor{buf: t.buf, shape: imageShape(t.shape), stiff: true}
}

func imageShape(s []int) []int {
	if len(s) == 3 {
		return []int{s[0], s[1], 1, s[2]}
	}
	return s
}

// blockedType is the type of elements of a blocked tensor: bytes have no sign there, and -128 is 0.
func blockedType(t ctype) ctype {
	if t == int8s {
		return uint8s
	}
	return t
}

// blocked is v, of three or four axes, as four with blocked channels.
func (b *builder) blocked(v *ir.Value) *tensor {
	p := b.placed(v)
	if p.blocked == nil {
		t := image(p.plain)
		if b.typ(v) != int8s && t.shape[2]*t.shape[3] == 1 && t.shape[1]%block == 0 && !t.hasHalo() {
			t.stiff = true
			p.blocked = &tensor{buf: t.buf, shape: t.shape, blocked: true, stiff: true}
		} else {
			p.blocked = b.alloc(v.Name(), blockedType(b.typ(v)), t.shape, true)
			b.block(t, p.blocked)
		}
	}
	return p.blocked
}

// placed is where v lies, after it was computed or, for a constant, written.
func (b *builder) placed(v *ir.Value) *place {
	if e := b.lazy[v]; e != nil {
		delete(b.lazy, v)
		b.materialize(v, e)
	}
	if p := b.places[v]; p != nil {
		return p
	}
	if e := b.cheap[v]; e != nil {
		b.materialize(v, e)
		return b.places[v]
	}
	t := b.constant(v)
	data, err := t.Bytes()
	if err != nil {
		data = make([]byte, t.ByteLen())
		b.c.Remark(b.node, "weights", err.Error())
	}
	typ, err := typeOf(t.DType())
	if err != nil {
		typ = uint8s
	}
	b.define(v, b.literal(v.Name(), typ, b.shape(v), data))
	return b.places[v]
}
