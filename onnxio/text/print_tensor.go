package text

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// initializer prints "type name = data".
func (p *printer) initializer(name string, t *ir.Tensor) {
	if s, ok := t.Payload().(keep.Sparse); ok && !p.opts.Inline {
		p.put(sparseType(s.Sparse()), " ", p.name(name), " = ")
		p.sparseData(s.Sparse())
		return
	}
	p.put(tensorType(t), " ", p.name(name), " = ")
	p.data(t, true)
}

// tensor prints a constant in an attribute: "type [name] data".
func (p *printer) tensor(t *ir.Tensor) {
	if !p.brief {
		p.noted(notesOf(t.Meta()))
	}
	p.put(tensorType(t))
	if t.Name() != "" {
		p.put(" ", p.name(t.Name()))
	}
	p.data(t, false)
}

func tensorType(t *ir.Tensor) string {
	return t.DType().String() + shapeString(ir.StaticShape(t.Shape()...))
}

// data prints the elements of t; init says that " = " has been printed. The spaces are those of ONNX's own printer.
func (p *printer) data(t *ir.Tensor, init bool) {
	switch x, ok := t.Payload().(keep.External); {
	case ok && !p.opts.Inline:
		if !init {
			p.put(" = ")
		}
		p.props(x.External())
	case t.DType() == ir.String:
		p.strings(t)
	default:
		p.put(" ")
		p.elements(t)
	}
}

// limit is how many of n elements are printed.
func (p *printer) limit(n int) int {
	if m := p.opts.MaxElements; m > 0 && n > m {
		return m
	}
	return n
}

func (p *printer) strings(t *ir.Tensor) {
	s, err := t.Strings()
	if err != nil {
		p.failTensor(t, err)
		return
	}
	n := p.limit(len(s))
	p.put("{")
	for i, s := range s[:n] {
		if i > 0 {
			p.put(", ")
		}
		p.put(p.quote(s))
	}
	if n < len(s) {
		p.put(", ...")
	}
	p.put("}")
}

func (p *printer) failTensor(t *ir.Tensor, err error) {
	p.fail(fmt.Errorf("constant %s: %w", tensorType(t), err))
}

// elements prints numbers. Floats below 32 bits are printed as their bit pattern, complex numbers as two floats.
func (p *printer) elements(t *ir.Tensor) {
	total := int(t.Len())
	n := p.limit(total)
	b, err := t.Bytes()
	if err != nil {
		p.failTensor(t, err)
		return
	}
	d := t.DType()
	if d == ir.Complex64 || d == ir.Complex128 {
		n *= 2
	}
	p.put("{")
	for i := range n {
		if i > 0 {
			p.buf = append(p.buf, ',')
		}
		p.buf = appendElement(p.buf, d, b, i)
		p.put()
	}
	if t.Len() > int64(p.limit(total)) {
		p.put(",...")
	}
	p.put("}")
}

// appendElement appends number i of data, which holds elements of type d.
func appendElement(dst []byte, d ir.DType, data []byte, i int) []byte {
	switch d {
	case ir.Float32, ir.Complex64:
		return appendFloat(dst, uint64(binary.LittleEndian.Uint32(data[4*i:])), 32)
	case ir.Float64, ir.Complex128:
		return appendFloat(dst, binary.LittleEndian.Uint64(data[8*i:]), 64)
	}
	var v uint64
	bits := d.Bits()
	switch bits {
	case 64:
		v = binary.LittleEndian.Uint64(data[8*i:])
	case 32:
		v = uint64(binary.LittleEndian.Uint32(data[4*i:]))
	case 16:
		v = uint64(binary.LittleEndian.Uint16(data[2*i:]))
	case 8:
		v = uint64(data[i])
	default:
		v = uint64(data[i*bits/8]>>(i*bits%8)) & (1<<bits - 1)
	}
	if d.IsSigned() {
		return strconv.AppendInt(dst, int64(v<<(64-bits))>>(64-bits), 10)
	}
	return strconv.AppendUint(dst, v, 10)
}

// appendFloat appends the number of that encoding: the shortest digits that read back, in fixed or scientific notation,
// whichever is shorter, like C++'s to_chars. A NaN that is not the usual quiet one is spelled with its mantissa.
func appendFloat(dst []byte, bits uint64, size int) []byte {
	v, mantissa := math.Float64frombits(bits), bits&(1<<52-1)
	quiet := uint64(1) << 51
	if size == 32 {
		v, mantissa, quiet = float64(math.Float32frombits(uint32(bits))), bits&(1<<23-1), 1<<22
	}
	switch {
	case math.IsNaN(v):
		if bits>>(size-1) != 0 {
			dst = append(dst, '-')
		}
		if dst = append(dst, "nan"...); mantissa != quiet {
			dst = fmt.Appendf(dst, "(0x%x)", mantissa)
		}
		return dst
	case math.IsInf(v, 1):
		return append(dst, "inf"...)
	case math.IsInf(v, -1):
		return append(dst, "-inf"...)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, v, 'e', -1, size)
	if a := math.Abs(v); a != 0 && (a < 1e-7 || a > 1e24) {
		return dst
	}
	mid := len(dst)
	dst = strconv.AppendFloat(dst, v, 'f', -1, size)
	if fixed := dst[mid:]; len(fixed) <= mid-from {
		return append(dst[:from], fixed...)
	}
	return dst[:mid]
}

func sparseType(s *ir.SparseTensor) string {
	return "sparse_tensor(" + s.Values.DType().String() + shapeString(ir.StaticShape(s.Dims...)) + ")"
}

func (p *printer) sparseData(s *ir.SparseTensor) {
	p.put("{")
	p.tensor(s.Values)
	p.put(", ")
	p.tensor(s.Indices)
	p.put("}")
}
