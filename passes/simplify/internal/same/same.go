// Package same tells whether tensors and attributes are equal bit by bit, touching as little of large ones as it can.
package same

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"unsafe"

	"github.com/onnxopt/onnxopt/ir"
)

const (
	small  = 512 // bytes up to which a sample is everything
	pieces = 16  // of a larger tensor
	piece  = 16  // bytes of a piece
)

// Sample is a hash of type, shape and some bytes spread over t. Equal tensors have equal samples.
func Sample(t *ir.Tensor) (uint64, error) {
	h := fnv.New64a()
	writeShape(h, t)
	if t.DType() == ir.String {
		return h.Sum64(), writeStrings(h, t)
	}
	b, err := t.Bytes()
	if err != nil {
		return 0, err
	}
	if len(b) <= small {
		h.Write(b)
		return h.Sum64(), nil
	}
	for i := range pieces {
		at := (len(b) - piece) / (pieces - 1) * i
		h.Write(b[at : at+piece])
	}
	return h.Sum64(), nil
}

// Digest identifies the contents of t: SHA-256 of type, shape and elements. It reads every byte once.
func Digest(t *ir.Tensor) ([sha256.Size]byte, error) {
	h := sha256.New()
	writeShape(h, t)
	if t.DType() == ir.String {
		err := writeStrings(h, t)
		return [sha256.Size]byte(h.Sum(nil)), err
	}
	b, err := t.Bytes()
	h.Write(b)
	return [sha256.Size]byte(h.Sum(nil)), err
}

func writeShape(w io.Writer, t *ir.Tensor) {
	b := []byte{byte(t.DType()), byte(t.Rank())} // without the rank, a scalar 0 would look like an empty vector
	for _, d := range t.Shape() {
		b = binary.LittleEndian.AppendUint64(b, uint64(d))
	}
	w.Write(b)
}

func writeStrings(w io.Writer, t *ir.Tensor) error {
	s, err := t.Strings()
	for _, x := range s {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(x)))
		w.Write(n[:])
		io.WriteString(w, x)
	}
	return err
}

// Tensors reports whether t and u have the same type, shape and bits. Tensors over the same memory are not read.
func Tensors(t, u *ir.Tensor) bool {
	if t == u {
		return true
	}
	if t == nil || u == nil || t.DType() != u.DType() || !slices.Equal(t.Shape(), u.Shape()) {
		return false
	}
	if t.DType() == ir.String {
		a, err := t.Strings()
		b, err2 := u.Strings()
		return err == nil && err2 == nil && slices.Equal(a, b)
	}
	a, err := t.Bytes()
	b, err2 := u.Bytes()
	if err != nil || err2 != nil {
		return false
	}
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b) || bytes.Equal(a, b)
}

// Attrs reports whether a and b state the same value. Subgraphs and sparse tensors are only the same as themselves.
func Attrs(a, b *ir.Attr) bool {
	if a.Name != b.Name || a.Kind != b.Kind || a.Ref != b.Ref {
		return false
	}
	if a == b || a.Ref != "" {
		return true
	}
	switch a.Kind {
	case ir.AttrFloat:
		return sameFloat(a.Float(), b.Float())
	case ir.AttrInt:
		return a.Int() == b.Int()
	case ir.AttrString:
		return a.Str() == b.Str()
	case ir.AttrTensor:
		return Tensors(a.Tensor(), b.Tensor())
	case ir.AttrFloats:
		return slices.EqualFunc(a.Floats(), b.Floats(), sameFloat)
	case ir.AttrInts:
		return slices.Equal(a.Ints(), b.Ints())
	case ir.AttrStrings:
		return slices.Equal(a.Strs(), b.Strs())
	case ir.AttrTensors:
		return slices.EqualFunc(a.Tensors(), b.Tensors(), Tensors)
	case ir.AttrType:
		return a.Type().Equal(b.Type())
	case ir.AttrTypes:
		return slices.EqualFunc(a.Types(), b.Types(), (*ir.Type).Equal)
	}
	return false
}

func sameFloat(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }
