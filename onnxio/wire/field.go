// Package wire reads and writes the subset of the protobuf wire format that ONNX needs, without losing anything: messages are
// walked as slices of their source, and a message that is written again is laid out as its source was, with unknown fields,
// field order and encodings kept.
//
// Format: https://protobuf.dev/programming-guides/encoding/.
package wire

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protowire"
)

// Num is a field number.
type Num = protowire.Number

// Field is one field of a message as it stands in the source. Its slices share the source's memory.
type Field struct {
	Num  Num
	Type protowire.Type
	Raw  []byte // tag and value
	Body []byte // the value of a length-delimited field, without its length
	Uint uint64 // the value of a varint or fixed-width field
}

// IsBytes reports whether f is length-delimited: a string, bytes, a message or packed numbers.
func (f *Field) IsBytes() bool { return f.Type == protowire.BytesType }

// IsVarint reports whether f is a varint.
func (f *Field) IsVarint() bool { return f.Type == protowire.VarintType }

// Int is a varint as an int64.
func (f *Field) Int() int64 { return int64(f.Uint) }

// Int32 is a varint as protobuf reads it into an int32 field: the low 32 bits.
func (f *Field) Int32() int32 { return int32(f.Uint) }

// Float is a fixed32 field as a float.
func (f *Field) Float() float32 { return math.Float32frombits(uint32(f.Uint)) }

// Fields yields the fields of message b in order. A broken encoding ends it with an *Error.
func Fields(b []byte) iter.Seq2[Field, error] {
	return func(yield func(Field, error) bool) {
		for len(b) > 0 {
			f, err := next(b)
			if err != nil {
				yield(Field{}, err)
				return
			}
			if !yield(f, nil) {
				return
			}
			b = b[len(f.Raw):]
		}
	}
}

func next(b []byte) (Field, error) {
	num, typ, k := protowire.ConsumeTag(b)
	if k < 0 {
		return Field{}, Errorf(b, "no field begins here: %s", reason(k))
	}
	f := Field{Num: num, Type: typ}
	var n int
	switch typ {
	case protowire.BytesType:
		f.Body, n = protowire.ConsumeBytes(b[k:])
	case protowire.VarintType:
		f.Uint, n = protowire.ConsumeVarint(b[k:])
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b[k:])
		f.Uint = uint64(v)
	case protowire.Fixed64Type:
		f.Uint, n = protowire.ConsumeFixed64(b[k:])
	default:
		n = protowire.ConsumeFieldValue(num, typ, b[k:])
	}
	if n < 0 {
		return Field{}, Errorf(b, "field %d (wire type %d): %s", num, typ, reason(n))
	}
	f.Raw = b[:k+n]
	return f, nil
}

// reason says what protowire's negative length means.
func reason(n int) string {
	if errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
		return "it ends too early"
	}
	return "invalid encoding"
}

// Get is the value of a singular message field: where it occurs more than once, the occurrences joined, which is how the
// format merges messages. ok is false if there is none. b must have been walked without error before.
func Get(b []byte, num Num) (body []byte, ok bool) {
	var more [][]byte
	for f, err := range Fields(b) {
		if err != nil {
			return nil, false
		}
		if f.Num != num || !f.IsBytes() {
			continue
		}
		if !ok {
			body, ok = f.Body, true
		} else {
			more = append(more, f.Body)
		}
	}
	if len(more) > 0 {
		body = slices.Concat(append([][]byte{body}, more...)...)
	}
	return body, ok
}

// One is Get with the field around the value. Raw is nil if the field occurs more than once.
func One(b []byte, num Num) (f Field, ok bool) {
	body, ok := Get(b, num)
	if !ok {
		return Field{}, false
	}
	for f, err := range Fields(b) {
		if err == nil && f.Num == num && f.IsBytes() && len(f.Body) == len(body) && (len(body) == 0 || &f.Body[0] == &body[0]) {
			return f, true
		}
	}
	return Field{Num: num, Type: protowire.BytesType, Body: body}, true
}

// Last is the value of a singular string field, which the last occurrence determines; nil if there is none. b must have been
// walked without error before.
func Last(b []byte, num Num) (body []byte) {
	for f, err := range Fields(b) {
		if err != nil {
			return nil
		}
		if f.Num == num && f.IsBytes() {
			body = f.Body
		}
	}
	return body
}

// Ints appends the values of one occurrence of a repeated integer field, packed or not.
func Ints(dst []int64, f Field) ([]int64, error) {
	switch f.Type {
	case protowire.VarintType:
		return append(dst, f.Int()), nil
	case protowire.BytesType:
		for b := f.Body; len(b) > 0; {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return dst, Errorf(b, "field %d: packed numbers: %s", f.Num, reason(n))
			}
			dst = append(dst, int64(v))
			b = b[n:]
		}
	}
	return dst, nil
}

// Floats appends the values of one occurrence of a repeated float field, packed or not.
func Floats(dst []float32, f Field) ([]float32, error) {
	switch f.Type {
	case protowire.Fixed32Type:
		return append(dst, f.Float()), nil
	case protowire.BytesType:
		if len(f.Body)%4 != 0 {
			return dst, Errorf(f.Raw, "field %d: packed floats end inside a number", f.Num)
		}
		for b := f.Body; len(b) > 0; b = b[4:] {
			v, _ := protowire.ConsumeFixed32(b)
			dst = append(dst, math.Float32frombits(v))
		}
	}
	return dst, nil
}

// Error is a message that cannot be read. It names the place as a path of fields and, once Locate has seen it, a byte offset.
type Error struct {
	Path   string // "graph.node[3].attribute[0]"
	Offset int    // in the source; -1 if not known
	Msg    string
	at     []byte
	cause  error
}

// Errorf makes an error about the bytes at, a slice of the source whose capacity was not cut; nil if there is no such place.
func Errorf(at []byte, format string, a ...any) *Error {
	return &Error{Offset: -1, Msg: fmt.Sprintf(format, a...), at: at}
}

func (e *Error) Error() string {
	s := e.Msg
	if e.Path != "" {
		s = shorten(e.Path) + ": " + s
	}
	if e.Offset >= 0 {
		s += fmt.Sprintf(" (byte %d)", e.Offset)
	}
	return printable(s)
}

// shorten leaves the middle of a long path out.
func shorten(path string) string {
	const end = 150
	if len(path) <= 2*end {
		return path
	}
	return strings.ToValidUTF8(path[:end], "") + "[...]" + strings.ToValidUTF8(path[len(path)-end:], "")
}

// printable escapes what names in a file may hold and a line of text may not.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// Unwrap is the error of another kind that In took in.
func (e *Error) Unwrap() error { return e.cause }

// In says that err arose inside the field elem of a message, and returns err. Errors of other kinds become an *Error.
func In(err error, elem string) error {
	if err == nil {
		return nil
	}
	e, ok := err.(*Error)
	if !ok {
		e = &Error{Offset: -1, Msg: err.Error(), cause: err}
	}
	if e.Path == "" || e.Path[0] == '[' {
		e.Path = elem + e.Path
	} else {
		e.Path = elem + "." + e.Path
	}
	return e
}

// Locate fills in the offset of an *Error inside src.
func Locate(err error, src []byte) error {
	var e *Error
	if errors.As(err, &e) && e.Offset < 0 && e.at != nil {
		// Slices of one array that nobody capped differ in capacity by their distance.
		off := cap(src) - cap(e.at)
		if off >= 0 && off < len(src) && cap(e.at) > 0 && &src[off] == &e.at[:1][0] {
			e.Offset = off
		} else if off == len(src) {
			e.Offset = off
		}
	}
	return err
}
