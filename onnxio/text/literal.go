package text

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// External is the payload of a constant whose elements stand in another file. Props are the key-value pairs of the text:
// location, offset, length, checksum.
type External struct{ Props []ir.Prop }

// Location is the value of the key "location".
func (e *External) Location() string {
	for _, p := range e.Props {
		if p.Key == "location" {
			return p.Value
		}
	}
	return ""
}

// External makes the payload a keep.External.
func (e *External) External() []ir.Prop { return e.Props }

// Bytes says that nobody opened the file.
func (e *External) Bytes() ([]byte, error) {
	return nil, errors.New("external data in " + strconv.Quote(e.Location()) + " was not opened")
}

// Strings says that nobody opened the file.
func (e *External) Strings() ([]string, error) {
	_, err := e.Bytes()
	return nil, err
}

// elements parses '{' literal ,* '}'. The number of literals has to agree with the dimensions.
func (p *parser) elements(pos Pos, d ir.DType, dims []int64) *ir.Tensor {
	want := ir.NumElements(dims)
	if want < 0 {
		p.fail(pos, "the dimensions of a constant are negative or too large")
		return nil
	}
	lits := want
	if d == ir.Complex64 || d == ir.Complex128 {
		lits *= 2 // real and imaginary part
	}
	e := encoder{dtype: d, bits: d.Bits()}
	if d != ir.String { // The text bounds what is allocated: an element takes two bytes of it.
		e.data = make([]byte, 0, min(max(d.ByteLen(want), 0), int64(len(p.lex.src)-p.lex.off)/2*8))
	}
	n := int64(0)
	p.expect("{")
	p.list("}", func() {
		if p.tok.Is("...") {
			p.fail(p.tok.Pos, "the constant is elided: this text was printed for reading and does not say its elements")
			return
		}
		if n++; n > lits {
			p.fail(p.tok.Pos, "more elements than the %d of type %s%s", lits, d, ir.StaticShape(dims...))
			return
		}
		if msg := e.add(p.tok); msg != "" {
			p.fail(p.tok.Pos, "%s", msg)
			return
		}
		p.next()
	})
	if n < lits && p.err == nil {
		p.fail(pos, "%d elements, type %s%s needs %d", n, d, ir.StaticShape(dims...), lits)
	}
	if p.err != nil {
		return nil
	}
	if d == ir.String {
		return ir.NewStringTensor(dims, e.strs)
	}
	return ir.NewTensor(d, dims, e.data)
}

// encoder turns literals into a tensor's bytes.
type encoder struct {
	dtype ir.DType
	bits  int
	data  []byte
	strs  []string
	fill  int // bits used of the last byte, sub-byte types
}

// add appends one literal, and returns what is wrong with it.
func (e *encoder) add(t Token) string {
	switch e.dtype {
	case ir.String:
		if t.Kind != String {
			return "expected a string, found " + t.String()
		}
		e.strs = append(e.strs, strings.Clone(t.Text))
		return ""
	case ir.Float32, ir.Complex64:
		b, msg := floatBits(t, 32)
		e.data = binary.LittleEndian.AppendUint32(e.data, uint32(b))
		return msg
	case ir.Float64, ir.Complex128:
		b, msg := floatBits(t, 64)
		e.data = binary.LittleEndian.AppendUint64(e.data, b)
		return msg
	}
	v, msg := intBits(t, e.dtype)
	if msg != "" {
		return msg
	}
	switch {
	case e.bits < 8:
		if e.fill%8 == 0 {
			e.data = append(e.data, 0)
		}
		e.data[len(e.data)-1] |= byte(v&(1<<e.bits-1)) << (e.fill % 8)
		e.fill += e.bits
	case e.bits == 8:
		e.data = append(e.data, byte(v))
	case e.bits == 16:
		e.data = binary.LittleEndian.AppendUint16(e.data, uint16(v))
	case e.bits == 32:
		e.data = binary.LittleEndian.AppendUint32(e.data, uint32(v))
	default:
		e.data = binary.LittleEndian.AppendUint64(e.data, v)
	}
	return ""
}

// intBits is the two's complement of an integer literal. Floats below 32 bits are given by their bit pattern, which may be
// read as a signed number.
func intBits(t Token, d ir.DType) (bits uint64, msg string) {
	if t.Kind != Int {
		what := "an integer"
		if d.IsFloat() {
			what = "the bit pattern of a " + d.String() + " as an integer"
		}
		return 0, "expected " + what + ", found " + t.String()
	}
	lo, hi := int64(0), int64(1)<<(d.Bits()-1)-1
	switch {
	case d == ir.Uint64:
		v, err := strconv.ParseUint(t.Text, 10, 64)
		if err != nil {
			return 0, clip(t.Text) + " does not fit into uint64"
		}
		return v, ""
	case d == ir.Int64:
		lo, hi = math.MinInt64, math.MaxInt64
	case d.IsSigned():
		lo = -hi - 1
	case d.IsFloat():
		lo, hi = -hi-1, 2*hi+1
	default:
		hi = 2*hi + 1
	}
	v, err := strconv.ParseInt(t.Text, 10, 64)
	if err != nil || v < lo || v > hi {
		return 0, clip(t.Text) + " does not fit into " + d.String()
	}
	return uint64(v), ""
}

// floatBits is the IEEE 754 encoding of a number of 32 or 64 bits: the nearest one, or the one whose mantissa nan(0x...) gives.
func floatBits(t Token, size int) (bits uint64, msg string) {
	text := t.Text
	if t.Kind != Int && t.Kind != Float && (t.Kind != Ident || !specialFloat(text)) {
		return 0, "expected a number, found " + t.String()
	}
	sign := uint64(0)
	if text[0] == '-' {
		sign, text = 1<<(size-1), text[1:]
	}
	if text[0] == 'n' || text[0] == 'N' {
		b, ok := nanBits(text[3:], size)
		if !ok {
			return 0, "malformed NaN " + clip(t.Text)
		}
		return sign | b, ""
	}
	f, err := strconv.ParseFloat(text, size)
	if err != nil {
		return 0, clip(t.Text) + " does not fit into " + strconv.Itoa(size) + " bits"
	}
	if size == 32 {
		return sign | uint64(math.Float32bits(float32(f))), ""
	}
	return sign | math.Float64bits(f), ""
}

// nanBits is a NaN whose mantissa is given as "(0x...)", the quiet one without payload if it is left out.
func nanBits(s string, size int) (uint64, bool) {
	mantissa, exp := 23, uint64(0xff)<<23
	if size == 64 {
		mantissa, exp = 52, 0x7ff<<52
	}
	if s == "" {
		return exp | 1<<(mantissa-1), true
	}
	v, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(s, "(0x"), ")"), 16, 64)
	if err != nil || v == 0 || v>>mantissa != 0 {
		return 0, false
	}
	return exp | v, true
}
