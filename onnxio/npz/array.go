package npz

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/onnxopt/onnxopt/ir"
)

// DefaultLimit is what a whole array may take in memory where the caller names no limit: 4 GiB.
const DefaultLimit = 4 << 30

// ReadArray reads a .npy file into memory. An array of more than limit bytes is an error; 0 stands for DefaultLimit. Memory
// grows with what the file holds, not with what its header claims.
func ReadArray(r io.Reader, limit int64) (*ir.Tensor, error) {
	a, err := NewArray(r)
	if err != nil {
		return nil, err
	}
	return a.rest(limit)
}

// Array is a .npy file that is being read.
type Array struct {
	Header
	r    io.Reader
	left int64 // rows that have not been read
}

// NewArray reads the header of a .npy file.
func NewArray(r io.Reader) (*Array, error) {
	h, err := ReadHeader(r)
	if err != nil {
		return nil, err
	}
	a := &Array{Header: *h, r: r}
	if len(h.Shape) > 0 {
		a.left = h.Shape[0]
	}
	return a, nil
}

// Rows reads up to n more entries of the first axis, as a tensor of shape [n, ...]; fewer at the end, and io.EOF behind it. An
// array in Fortran order has no rows to read one at a time; nor has a scalar.
func (a *Array) Rows(n int64) (*ir.Tensor, error) {
	switch {
	case len(a.Shape) == 0:
		return nil, fmt.Errorf("a scalar has no rows")
	case a.Fortran && len(a.Shape) > 1:
		return nil, fmt.Errorf("an array in Fortran order cannot be read by rows")
	case a.left <= 0:
		return nil, io.EOF
	}
	h := a.Header
	h.Shape = slices.Clone(h.Shape)
	h.Shape[0] = min(n, a.left)
	t, err := h.read(a.r, DefaultLimit)
	a.left -= h.Shape[0]
	return t, err
}

// rest reads the whole array and checks that the file ends with it.
func (a *Array) rest(limit int64) (*ir.Tensor, error) {
	t, err := a.Header.read(a.r, limit)
	if err != nil {
		return nil, err
	}
	var b [1]byte
	if n, err := io.ReadFull(a.r, b[:]); n > 0 {
		return nil, fmt.Errorf("the file goes on behind the %d bytes of its array", a.ByteLen())
	} else if err != io.EOF {
		return nil, err // such as a checksum that does not agree
	}
	return t, nil
}

// read reads the elements that h describes.
func (h *Header) read(r io.Reader, limit int64) (*ir.Tensor, error) {
	if limit == 0 {
		limit = DefaultLimit
	}
	size := h.ByteLen()
	if size > limit {
		return nil, fmt.Errorf("an array of %d bytes, more than the limit of %d", size, limit)
	}
	b, err := readExactly(r, size)
	if err != nil {
		return nil, err
	}
	if h.DType == ir.String {
		return h.strings(b, limit)
	}
	if h.big {
		swap(b, h.component())
	}
	if h.Fortran && len(h.Shape) > 1 {
		b = rowMajor(b, h.Shape, h.item)
	}
	if h.DType == ir.Bool {
		for i, x := range b {
			if x > 1 {
				return nil, fmt.Errorf("element %d of an array of bools is %d", i, x)
			}
		}
	}
	return ir.NewTensor(h.DType, h.Shape, b), nil
}

// readExactly reads size bytes into memory that grows as they come.
func readExactly(r io.Reader, size int64) ([]byte, error) {
	const step = 1 << 20
	if size <= step {
		b := make([]byte, size)
		_, err := io.ReadFull(r, b)
		return b, short(err)
	}
	var buf bytes.Buffer
	n, err := io.CopyN(&buf, r, size)
	if err == io.EOF {
		return nil, fmt.Errorf("the file ends early: %d of %d bytes", n, size)
	}
	return buf.Bytes(), err
}

// component is the size of what byte order applies to: a complex number has two.
func (h *Header) component() int {
	if h.DType == ir.Complex64 || h.DType == ir.Complex128 {
		return h.item / 2
	}
	return h.item
}

// swap reverses the bytes of each element.
func swap(b []byte, size int) {
	for i := 0; i+size <= len(b); i += size {
		slices.Reverse(b[i : i+size])
	}
}

// rowMajor reorders elements in which the first axis varies fastest.
func rowMajor(b []byte, shape []int64, item int) []byte {
	if len(b) == 0 {
		return b
	}
	out := make([]byte, len(b))
	stride := make([]int, len(shape)) // in b
	for i, n := 0, item; i < len(shape); i++ {
		stride[i] = n
		n *= int(shape[i])
	}
	at, from := make([]int64, len(shape)), 0
	for to := 0; to < len(out); to += item {
		copy(out[to:to+item], b[from:from+item])
		for k := len(shape) - 1; k >= 0; k-- {
			at[k]++
			from += stride[k]
			if at[k] < shape[k] {
				break
			}
			from -= stride[k] * int(shape[k])
			at[k] = 0
		}
	}
	return out
}

// perString is what a string takes besides its characters.
const perString = 16

func (h *Header) strings(b []byte, limit int64) (*ir.Tensor, error) {
	n := ir.NumElements(h.Shape)
	if n > limit/perString {
		return nil, fmt.Errorf("an array of %d strings, more than fit into the limit of %d bytes", n, limit)
	}
	if h.Fortran && len(h.Shape) > 1 {
		b = rowMajor(b, h.Shape, h.item)
	}
	s := make([]string, n)
	for i := range s {
		raw := b[i*h.item : (i+1)*h.item]
		if !h.utf {
			s[i] = strings.TrimRight(string(raw), "\x00")
			continue
		}
		var err error
		if s[i], err = h.decode(raw); err != nil {
			return nil, fmt.Errorf("string %d: %w", i, err)
		}
	}
	return ir.NewStringTensor(h.Shape, s), nil
}

// decode reads a string of four-byte code points, which zeros fill up.
func (h *Header) decode(raw []byte) (string, error) {
	order := binary.ByteOrder(binary.LittleEndian)
	if h.big {
		order = binary.BigEndian
	}
	var b []byte
	zeros := 0
	for ; len(raw) >= 4; raw = raw[4:] {
		c := order.Uint32(raw)
		if c == 0 {
			zeros++ // of which those at the end do not count
			continue
		}
		if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return "", fmt.Errorf("%#x is no character", c)
		}
		for ; zeros > 0; zeros-- {
			b = append(b, 0)
		}
		b = utf8.AppendRune(b, rune(c))
	}
	return string(b), nil
}
