package npz

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/onnxopt/onnxopt/ir"
)

// WriteArray writes t as a .npy file in row-major order, little-endian. Types that NumPy does not have are widened.
func WriteArray(w io.Writer, t *ir.Tensor) error {
	if t.DType() == ir.String {
		return writeStrings(w, t)
	}
	t, err := Widen(t)
	if err != nil {
		return err
	}
	b, err := t.Bytes()
	if err != nil {
		return err
	}
	descr := ""
	for name, d := range types {
		if d == t.DType() {
			descr = "<" + name
		}
	}
	if t.DType().Bits() == 8 {
		descr = "|" + descr[1:]
	}
	if _, err = w.Write(headerText(descr, t.Shape())); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// writeStrings writes a string tensor as NumPy's unicode type. NumPy cuts zeros at the end of strings off.
func writeStrings(w io.Writer, t *ir.Tensor) error {
	s, err := t.Strings()
	if err != nil {
		return err
	}
	width := 1
	for i, x := range s {
		if !utf8.ValidString(x) {
			return fmt.Errorf("string %d is no UTF-8 and cannot be written to a .npy file", i)
		}
		width = max(width, utf8.RuneCountInString(x))
	}
	if _, err := w.Write(headerText("<U"+strconv.Itoa(width), t.Shape())); err != nil {
		return err
	}
	row := make([]byte, 4*width)
	for _, x := range s {
		clear(row)
		at := 0
		for _, c := range x {
			binary.LittleEndian.PutUint32(row[at:], uint32(c))
			at += 4
		}
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// Widen returns t in a type that NumPy has and that holds every value of t: float32 for bfloat16 and the floats of eight bits
// and less, int8 and uint8 for the narrower integers, t itself for all others. Values are not changed.
func Widen(t *ir.Tensor) (*ir.Tensor, error) {
	d := t.DType()
	bits := d.Bits()
	switch {
	case d == ir.BFloat16, d.IsFloat() && bits <= 8:
	case d.IsInt() && bits < 8:
	default:
		return t, nil
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	n := t.Len()
	if d.IsInt() {
		out := make([]byte, n)
		for i := range out {
			out[i] = code(b, int64(i), bits)
			if d.IsSigned() {
				out[i] = byte(int8(out[i]<<(8-bits)) >> (8 - bits))
			}
		}
		if d.IsSigned() {
			return ir.NewTensor(ir.Int8, t.Shape(), out), nil
		}
		return ir.NewTensor(ir.Uint8, t.Shape(), out), nil
	}
	out := make([]float32, n)
	for i := range out {
		if d == ir.BFloat16 {
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		} else {
			out[i] = small(d, code(b, int64(i), bits))
		}
	}
	return ir.NewTensor(ir.Float32, t.Shape(), ir.AsBytes(out)), nil
}

// code is element i of packed elements of so many bits; those of six bits straddle bytes.
func code(b []byte, i int64, bits int) byte {
	at := i * int64(bits)
	v := uint(b[at/8])
	if at/8+1 < int64(len(b)) {
		v |= uint(b[at/8+1]) << 8
	}
	return byte(v >> (at % 8) & (1<<bits - 1))
}

// layouts of the small floats: bits of the exponent and the mantissa, bias, and what the largest codes mean.
var layouts = map[ir.DType]struct {
	exp, man, bias int
	inf            bool // the largest exponent stands for infinities and NaN
	nan            bool // all ones is NaN
	uz             bool // the code of negative zero is NaN
}{
	ir.Float8E4M3FN:   {4, 3, 7, false, true, false},
	ir.Float8E4M3FNUZ: {4, 3, 8, false, false, true},
	ir.Float8E5M2:     {5, 2, 15, true, false, false},
	ir.Float8E5M2FNUZ: {5, 2, 16, false, false, true},
	ir.Float4E2M1:     {2, 1, 1, false, false, false},
	ir.Float6E2M3:     {2, 3, 1, false, false, false},
	ir.Float6E3M2:     {3, 2, 3, false, false, false},
}

// small is the value of a code of a float type of eight bits or less, as the OCP formats and ONNX define it.
func small(d ir.DType, c byte) float32 {
	if d == ir.Float8E8M0 { // a power of two without sign
		if c == 0xff {
			return float32(math.NaN())
		}
		return float32(math.Ldexp(1, int(c)-127))
	}
	l := layouts[d]
	man := int(c) & (1<<l.man - 1)
	exp := int(c) >> l.man & (1<<l.exp - 1)
	negative := int(c)>>(l.exp+l.man) != 0
	top := exp == 1<<l.exp-1
	v := math.Ldexp(float64(man), 1-l.bias-l.man)
	switch {
	case l.uz && negative && exp == 0 && man == 0, l.nan && top && man == 1<<l.man-1, l.inf && top && man != 0:
		return float32(math.NaN())
	case l.inf && top:
		v = math.Inf(1)
	case exp > 0:
		v = math.Ldexp(float64(man+1<<l.man), exp-l.bias-l.man)
	}
	if negative {
		v = math.Copysign(v, -1)
	}
	return float32(v)
}
