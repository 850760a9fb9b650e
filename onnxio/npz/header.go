package npz

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// Header is what a .npy file says of its array.
type Header struct {
	DType ir.DType
	Shape []int64
	// Fortran reports that the first axis varies fastest.
	Fortran bool

	big  bool // the elements are big-endian
	item int  // bytes of one element; of strings, too
	utf  bool // strings of four-byte code points, not of bytes
}

// ByteLen is the number of bytes of the elements in the file. It is never negative.
func (h *Header) ByteLen() int64 { return ir.NumElements(h.Shape) * int64(h.item) }

// magic begins every .npy file; version and length of the header follow.
const magic = "\x93NUMPY"

// Bounds of what a header may be. NumPy's own are shorter for all types that are read here.
const (
	maxHeader = 1 << 16
	maxRank   = 64
	maxItem   = 1 << 20
)

// ReadHeader reads the header of a .npy file; the elements follow.
func ReadHeader(r io.Reader) (*Header, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, fmt.Errorf("no .npy file: %w", short(err))
	}
	if string(b[:6]) != magic {
		return nil, errors.New("no .npy file: it does not begin with \\x93NUMPY")
	}
	size, err := headerLen(r, b[6])
	if err != nil {
		return nil, err
	}
	if size > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes", size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("the header ends early: %w", short(err))
	}
	return parseHeader(string(text))
}

// headerLen reads the length of the header, which has two bytes in version 1 and four later.
func headerLen(r io.Reader, version byte) (uint32, error) {
	var b [4]byte
	switch version {
	case 1:
		_, err := io.ReadFull(r, b[:2])
		return uint32(binary.LittleEndian.Uint16(b[:])), short(err)
	case 2, 3:
		_, err := io.ReadFull(r, b[:])
		return binary.LittleEndian.Uint32(b[:]), short(err)
	}
	return 0, fmt.Errorf("version %d of the .npy format is not known", version)
}

// short words the end of a file that is not its end.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the file ends early")
	}
	return err
}

// parseHeader reads a Python dictionary of the keys descr, fortran_order and shape.
func parseHeader(text string) (*Header, error) {
	p := &literal{s: text}
	h := &Header{}
	seen := map[string]bool{}
	p.expect('{')
	for p.err == nil && !p.accept('}') {
		key := p.str()
		p.expect(':')
		if seen[key] {
			p.fail("the key %q occurs twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			if p.peek() == '[' {
				return nil, errors.New("a structured array, which has no ONNX type")
			}
			if descr := p.str(); p.err == nil {
				p.err = h.descr(descr)
			}
		case "fortran_order":
			h.Fortran = p.boolean()
		case "shape":
			h.Shape = p.tuple()
		default:
			p.fail("the key %q is not known", key)
		}
		if !p.accept(',') && p.peek() != '}' {
			p.fail("a comma is missing")
		}
	}
	switch {
	case p.err != nil:
		return nil, p.err
	case !seen["descr"] || !seen["fortran_order"] || !seen["shape"]:
		return nil, errors.New("the header lacks descr, fortran_order or shape")
	case strings.TrimSpace(p.s) != "":
		return nil, fmt.Errorf("the header goes on after its end: %.20q", p.s)
	}
	if n := ir.NumElements(h.Shape); n < 0 || n > (1<<62)/int64(max(h.item, 1)) {
		return nil, fmt.Errorf("the shape %v is too large", h.Shape)
	}
	return h, nil
}

// types maps NumPy's kinds and sizes to element types.
var types = map[string]ir.DType{
	"b1": ir.Bool, "i1": ir.Int8, "i2": ir.Int16, "i4": ir.Int32, "i8": ir.Int64,
	"u1": ir.Uint8, "u2": ir.Uint16, "u4": ir.Uint32, "u8": ir.Uint64,
	"f2": ir.Float16, "f4": ir.Float32, "f8": ir.Float64, "c8": ir.Complex64, "c16": ir.Complex128,
}

// descr takes an element type as NumPy writes it: byte order, kind, size.
func (h *Header) descr(s string) error {
	order, code := byte('|'), s
	if s != "" && strings.IndexByte("<>|=", s[0]) >= 0 {
		order, code = s[0], s[1:]
	}
	if d, ok := types[code]; ok {
		h.DType, h.item = d, d.Bits()/8
		h.big = order == '>' && h.item > 1
		return nil
	}
	if code == "" {
		return errors.New("the element type is missing")
	}
	n, err := strconv.Atoi(code[1:])
	switch kind := code[0]; {
	case kind == 'O':
		return errors.New("an array of Python objects, which only Python can read; save it as numbers or strings")
	case kind == 'V':
		return fmt.Errorf("elements of the raw type %q, as ml_dtypes writes bfloat16 and float8; save them as float32", s)
	case (kind == 'U' || kind == 'S') && err == nil && n > 0 && n <= maxItem: // without characters, a header alone could claim any number of strings
		h.DType, h.item, h.utf, h.big = ir.String, n, kind == 'U', order == '>'
		if h.utf {
			h.item *= 4
		}
		return nil
	}
	return fmt.Errorf("elements of type %q, which has no ONNX type", s)
}

// literal reads the few forms of Python literals that headers have. After an error it does nothing.
type literal struct {
	s   string
	err error
}

func (p *literal) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("the header is not valid: "+format, args...)
	}
}

// peek is the next character that is no blank, 0 at the end.
func (p *literal) peek() byte {
	p.s = strings.TrimLeft(p.s, " \t\r\n")
	if p.err != nil || p.s == "" {
		return 0
	}
	return p.s[0]
}

func (p *literal) accept(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.s = p.s[1:]
	return true
}

func (p *literal) expect(c byte) {
	if !p.accept(c) {
		p.fail("%q is missing", c)
	}
}

func (p *literal) str() string {
	q := p.peek()
	if q != '\'' && q != '"' {
		p.fail("a string is missing")
		return ""
	}
	s, rest, ok := strings.Cut(p.s[1:], string(q))
	if !ok {
		p.fail("a string does not end")
	}
	p.s = rest
	return s
}

func (p *literal) boolean() bool {
	p.peek()
	if rest, ok := strings.CutPrefix(p.s, "True"); ok {
		p.s = rest
		return true
	}
	rest, ok := strings.CutPrefix(p.s, "False")
	if !ok {
		p.fail("fortran_order is neither True nor False")
	}
	p.s = rest
	return false
}

// tuple reads a tuple of sizes; Python 2 wrote some with a trailing L.
func (p *literal) tuple() []int64 {
	r := []int64{}
	p.expect('(')
	for p.err == nil && !p.accept(')') {
		p.peek()
		end := strings.IndexFunc(p.s, func(c rune) bool { return c < '0' || c > '9' })
		n, err := strconv.ParseInt(p.s[:max(end, 0)], 10, 64)
		if err != nil {
			p.fail("the shape holds what is no size")
			break
		}
		p.s = strings.TrimPrefix(p.s[end:], "L")
		if r = append(r, n); len(r) > maxRank {
			p.fail("more than %d dimensions", maxRank)
		}
		if !p.accept(',') && p.peek() != ')' {
			p.fail("a comma is missing in the shape")
		}
	}
	return r
}

// headerText is the header of an array in row-major order, padded so that the elements begin at a multiple of 64 bytes.
func headerText(descr string, shape []int64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr)
	for i, n := range shape {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	if len(shape) == 1 {
		b.WriteByte(',')
	}
	b.WriteString("), }")
	const fixed = len(magic) + 4
	for (fixed+b.Len()+1)%64 != 0 {
		b.WriteByte(' ')
	}
	b.WriteByte('\n')
	head := binary.LittleEndian.AppendUint16([]byte(magic+"\x01\x00"), uint16(b.Len()))
	return append(head, b.Bytes()...)
}

// Sniff reports whether the file that r reads begins as a .npy or an .npz file does. Nothing is consumed.
func Sniff(r *bufio.Reader) (npy, npz bool) {
	b, _ := r.Peek(6) // a shorter file is neither
	return string(b) == magic, bytes.HasPrefix(b, []byte("PK\x03\x04")) || bytes.HasPrefix(b, []byte("PK\x05\x06"))
}
