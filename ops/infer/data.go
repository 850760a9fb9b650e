package infer

import (
	"encoding/binary"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// number is v as an element: an integer where it is one. NaN stays a number that is no integer.
func number(v float64) elem {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 && !(v == 0 && math.Signbit(v)) {
		return elem{Int: Num(int64(v))}
	}
	return elem{frac: v, isNum: true}
}

func integer(n int64) elem { return elem{Int: Num(n)} }

// value is the element as a number.
func (e elem) value() (float64, bool) {
	if e.isNum {
		return e.frac, true
	}
	n, ok := e.Const()
	return float64(n), ok
}

// tracked reports whether elements of d are.
func tracked(d ir.DType) bool {
	switch d {
	case ir.Float32, ir.Float64, ir.Int8, ir.Int16, ir.Int32, ir.Int64, ir.Uint8, ir.Uint16, ir.Uint32, ir.Uint64, ir.Bool:
		return true
	}
	return false
}

// loadElems reads a small constant; nil if it is not tracked or cannot be read.
func loadElems(t *ir.Tensor) []elem {
	n := t.Len()
	if !small(t.DType(), n) {
		return nil
	}
	b, err := t.Bytes()
	if err != nil {
		return nil
	}
	r := make([]elem, n)
	size := t.DType().Bits() / 8
	for i := range r {
		r[i] = loadElem(t.DType(), b[i*size:])
	}
	return r
}

func loadElem(d ir.DType, b []byte) elem {
	le := binary.LittleEndian
	switch d {
	case ir.Float32:
		return number(float64(math.Float32frombits(le.Uint32(b))))
	case ir.Float64:
		return number(math.Float64frombits(le.Uint64(b)))
	case ir.Int8:
		return integer(int64(int8(b[0])))
	case ir.Uint8:
		return integer(int64(b[0]))
	case ir.Bool:
		if b[0] != 0 {
			return integer(1)
		}
		return integer(0)
	case ir.Int16:
		return integer(int64(int16(le.Uint16(b))))
	case ir.Uint16:
		return integer(int64(le.Uint16(b)))
	case ir.Int32:
		return integer(int64(int32(le.Uint32(b))))
	case ir.Uint32:
		return integer(int64(le.Uint32(b)))
	case ir.Uint64:
		if v := le.Uint64(b); v <= math.MaxInt64 {
			return integer(int64(v))
		}
		return elem{}
	}
	return integer(int64(le.Uint64(b)))
}

// storeElems is the inverse of loadElems, nil unless every element is a number that d holds.
func storeElems(d ir.DType, shape []int64, data []elem) *ir.Tensor {
	if !tracked(d) || ir.NumElements(shape) != int64(len(data)) {
		return nil
	}
	b := make([]byte, 0, len(data)*8)
	for _, e := range data {
		e = fit(d, e)
		if _, ok := e.value(); !ok {
			return nil
		}
		b = appendElem(b, d, e)
	}
	return ir.NewTensor(d, shape, b)
}

func appendElem(b []byte, d ir.DType, e elem) []byte {
	le := binary.LittleEndian
	n := uint64(e.c)
	switch v, _ := e.value(); d {
	case ir.Float32:
		return le.AppendUint32(b, math.Float32bits(float32(v)))
	case ir.Float64:
		return le.AppendUint64(b, math.Float64bits(v))
	case ir.Int8, ir.Uint8, ir.Bool:
		return append(b, byte(n))
	case ir.Int16, ir.Uint16:
		return le.AppendUint16(b, uint16(n))
	case ir.Int32, ir.Uint32:
		return le.AppendUint32(b, uint32(n))
	}
	return le.AppendUint64(b, n)
}

// fit is e as an element of d: unknown if d cannot hold it, rounded to float32 where d is.
func fit(d ir.DType, e elem) elem {
	if d == ir.Float32 || d == ir.Float64 {
		v, ok := e.value()
		switch {
		case ok && d == ir.Float32:
			return number(float64(float32(v)))
		case ok:
			return number(v)
		}
		return e
	}
	if e.isNum || !tracked(d) {
		return elem{}
	}
	n, ok := e.Const()
	if !ok {
		if d.Bits() < 32 {
			return elem{} // a size may not fit
		}
		return e
	}
	bits := d.Bits()
	switch {
	case d == ir.Bool:
		ok = n == 0 || n == 1
	case d.IsUnsigned():
		ok = n >= 0 && (bits == 64 || n < 1<<bits)
	case bits < 64:
		ok = n >= -1<<(bits-1) && n < 1<<(bits-1)
	}
	if !ok {
		return elem{}
	}
	return e
}
