package dequantize

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Weights of ONNX Runtime's products and lookups in 4 or 8 bits:
//
//	x ── MatMulNBits (w) ──   becomes   x ── MatMul (w float) ──
var nbits = &rewrite.Rule{
	Name:    "nbits",
	Doc:     "makes a MatMulNBits a MatMul with the weights that it unpacks",
	Promise: lossy,
	Match: rewrite.MustParse(`
		y = com.microsoft.MatMulNBits <K = @k, N = @n, bits = @bits, block_size = @block, ...> (x, w: const, s: const, z?: const, , bias?)`, `
		r: shared = Reshape (w: const, shape: const)
		y = com.microsoft.MatMulNBits <K = @k, N = @n, bits = @bits, block_size = @block, ...> (x, r, s: const, z?: const, , bias?)`),
	Where: func(m *rewrite.Match) error {
		t := &table{w: m.Const("w"), s: m.Const("s"), rows: m.Attr("n").Int(), width: m.Attr("k").Int(), bits: m.Attr("bits").Int(), block: m.Attr("block").Int(), turned: true}
		if m.Has("z") {
			t.z = m.Const("z")
		}
		if a := m.Root().Attr("weight_prepacked"); a != nil && a.Int() != 0 {
			return errors.New("the weights are packed for one processor")
		}
		m.Keep = t
		return t.check()
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		y := b.Op("MatMul", []*ir.Value{m.Value("x"), b.Const(m.Value("w").Name(), m.Keep.(*table).tensor())})
		if m.Has("bias") {
			y = b.Op("Add", []*ir.Value{y, m.Value("bias")})
		}
		return []*ir.Value{y}
	},
}

var lookup = &rewrite.Rule{
	Name: "lookup",
	Doc:  "makes a GatherBlockQuantized a Gather from the table that it unpacks",
	// An index out of range gives zeros before, and is an error after.
	Promise: lossy,
	Match: rewrite.MustParse(`
		y = com.microsoft.GatherBlockQuantized <bits = @bits, block_size = @block, gather_axis = 0, quantize_axis = @axis> (w: const, i, s: const, z?: const)`),
	Where: func(m *rewrite.Match) error {
		w := m.Const("w")
		if w.DType() != ir.Uint8 || w.Rank() != 2 || m.Attr("axis").Int() != 1 {
			return fmt.Errorf("the table is a %s quantized along axis %d", w.Type(), m.Attr("axis").Int())
		}
		bits := m.Attr("bits").Int()
		if bits != 4 && bits != 8 {
			return fmt.Errorf("weights of %d bits", bits)
		}
		t := &table{w: w, s: m.Const("s"), rows: w.Shape()[0], width: w.Shape()[1] * 8 / bits, bits: bits, block: m.Attr("block").Int(), short: true}
		if m.Has("z") {
			t.z = m.Const("z")
		}
		m.Keep = t
		return t.check()
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Gather", []*ir.Value{b.Const(m.Value("w").Name(), m.Keep.(*table).tensor()), m.Value("i")}, ir.IntAttr("axis", 0))}
	},
}

// table is a matrix of rows quantized by blocks, which it is the payload of.
type table struct {
	w, s, z                  *ir.Tensor
	rows, width, bits, block int64
	turned                   bool // the result is [width, rows]
	short                    bool // rows end without filling up their last block
}

func (t *table) blocks() int64 { return (t.width + t.block - 1) / t.block }

// check says why the parts do not fit together.
func (t *table) check() error {
	if t.bits != 4 && t.bits != 8 || t.block < 1 || t.rows < 1 || t.width < 1 {
		return fmt.Errorf("weights of %d bits in blocks of %d", t.bits, t.block)
	}
	stride := t.stride()
	switch {
	case t.w.DType() != ir.Uint8 || t.w.Len() != t.rows*stride:
		return fmt.Errorf("the weights are a %s", t.w.Type())
	case !weights.Supported(t.s.DType()) || t.s.Len() != t.rows*t.blocks():
		return fmt.Errorf("the scales are a %s", t.s.Type())
	case t.z != nil && (t.z.DType() != ir.Uint8 || t.z.Len() != t.rows*((t.blocks()*t.bits+7)/8)):
		return fmt.Errorf("the zero points are a %s", t.z.Type())
	}
	return nil
}

// stride is the number of bytes of a row.
func (t *table) stride() int64 {
	if t.short {
		return t.width * t.bits / 8
	}
	return t.blocks() * t.block * t.bits / 8
}

func (t *table) tensor() *ir.Tensor {
	shape := []int64{t.rows, t.width}
	if t.turned {
		shape = []int64{t.width, t.rows}
	}
	return ir.NewLazyTensor(t.s.DType(), shape, t)
}

// Uncached marks the payload as one whose bytes are not kept.
func (*table) Uncached() {}

// Strings is an error: the tensor is of floats.
func (*table) Strings() ([]string, error) { return nil, errors.New("not a string tensor") }

// Bytes computes the elements.
func (t *table) Bytes() ([]byte, error) {
	w, err := t.w.Bytes()
	if err != nil {
		return nil, err
	}
	s, err := weights.Floats(t.s)
	if err != nil {
		return nil, err
	}
	var z []byte
	if t.z != nil {
		if z, err = t.z.Bytes(); err != nil {
			return nil, err
		}
	}
	at := func(b []byte, i int64) float64 {
		if t.bits == 8 {
			return float64(b[i])
		}
		return float64(b[i/2] >> (i % 2 * 4) & 15)
	}
	r := make([]float32, t.rows*t.width)
	zStride := (t.blocks()*t.bits + 7) / 8
	for row := range t.rows {
		for i := range t.width {
			b := i / t.block
			zero := float64(int(1) << (t.bits - 1))
			if z != nil {
				zero = at(z[row*zStride:], b)
			}
			v := float32((at(w[row*t.stride():], i) - zero) * s[row*t.blocks()+b])
			if t.turned {
				r[i*t.rows+row] = v
			} else {
				r[row*t.width+i] = v
			}
		}
	}
	f := ir.TensorOf(r)
	if t.s.DType() == ir.Float32 {
		return f.Bytes()
	}
	v, err := weights.Floats(f)
	if err != nil {
		return nil, err
	}
	u, err := weights.Force(t.s.DType(), f.Shape(), v)
	if err != nil {
		return nil, err
	}
	return u.Bytes()
}
