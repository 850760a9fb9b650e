package setinput

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// tensor reads a value of a type.
func tensor(t *ir.Type, text string) (*ir.Tensor, error) {
	if !t.IsTensor() || t.Elem == ir.Undefined {
		return nil, fmt.Errorf("it is of type %s, and only tensors of a known element type can be given", t)
	}
	inner, list := strings.CutPrefix(text, "[")
	var words []string
	var shape []int64
	if list {
		if !strings.HasSuffix(inner, "]") {
			return nil, fmt.Errorf("%q is neither a number nor a list like [1,0,1]", text)
		}
		if inner = strings.TrimSpace(strings.TrimSuffix(inner, "]")); inner != "" {
			words = strings.Split(inner, ",")
		}
		for i := range words {
			words[i] = strings.TrimSpace(words[i])
		}
		var err error
		if shape, err = listShape(t.Shape, len(words)); err != nil {
			return nil, err
		}
	} else {
		dims, ok := t.Shape.Ints()
		if !ok || t.Shape == nil {
			return nil, fmt.Errorf("its shape %s is open, so that one number does not say how many there are; set-shape states it", t.Shape)
		}
		shape, words = append([]int64{}, dims...), []string{strings.TrimSpace(text)}
	}
	return elements(t.Elem, shape, words)
}

// listShape is the shape of an input whose n elements are listed.
func listShape(s ir.Shape, n int) ([]int64, error) {
	if s == nil {
		return nil, errors.New("its rank is not known; set-shape states the shape")
	}
	if len(s) == 1 && !s[0].IsStatic() {
		return []int64{int64(n)}, nil
	}
	dims, ok := s.Ints()
	if !ok {
		return nil, fmt.Errorf("its shape %s is open; set-shape states it", s)
	}
	if want := ir.NumElements(dims); want != int64(n) {
		return nil, fmt.Errorf("its shape %s has %d elements, not %d", s, want, n)
	}
	return append([]int64{}, dims...), nil
}

// elements reads words as elements; one word stands for all.
func elements(d ir.DType, shape []int64, words []string) (*ir.Tensor, error) {
	n := ir.NumElements(shape)
	const most = 1 << 31 // elements that one word may stand for
	if n < 0 || n > most {
		return nil, fmt.Errorf("it has the shape %v, which is too large for a constant", shape)
	}
	if d == ir.String {
		s, err := parsed(words, n, func(w string) (string, error) { return w, nil })
		return ir.NewStringTensor(shape, s), err
	}
	switch d {
	case ir.Float32:
		return made(d, shape, words, n, func(w string) (float32, error) { f, err := float(w, 32); return float32(f), err })
	case ir.Float64:
		return made(d, shape, words, n, func(w string) (float64, error) { return float(w, 64) })
	case ir.Float16:
		return made(d, shape, words, n, func(w string) (uint16, error) {
			f, err := float(w, 32)
			h := kernel.Float32ToFloat16(float32(f))
			if err == nil && math.IsInf(float64(kernel.Float16ToFloat32(h)), 0) && !math.IsInf(f, 0) {
				err = fmt.Errorf("%s is more than %s holds", w, d)
			}
			return h, err
		})
	case ir.BFloat16:
		return made(d, shape, words, n, func(w string) (uint16, error) {
			f, err := float(w, 32)
			return kernel.Float32ToBFloat16(float32(f)), err
		})
	case ir.Bool:
		return made(d, shape, words, n, boolean)
	case ir.Int8, ir.Uint8:
		return made(d, shape, words, n, func(w string) (uint8, error) { i, err := whole(w, d); return uint8(i), err })
	case ir.Int16, ir.Uint16:
		return made(d, shape, words, n, func(w string) (uint16, error) { i, err := whole(w, d); return uint16(i), err })
	case ir.Int32, ir.Uint32:
		return made(d, shape, words, n, func(w string) (uint32, error) { i, err := whole(w, d); return uint32(i), err })
	case ir.Int64, ir.Uint64:
		return made(d, shape, words, n, func(w string) (uint64, error) { return whole(w, d) })
	}
	return nil, fmt.Errorf("values of type %s cannot be given here", d)
}

func made[T ir.Scalar](d ir.DType, shape []int64, words []string, n int64, parse func(string) (T, error)) (*ir.Tensor, error) {
	v, err := parsed(words, n, parse)
	if err != nil {
		return nil, err
	}
	return ir.NewTensor(d, shape, ir.AsBytes(v)), nil
}

// parsed reads n elements; one word stands for all.
func parsed[T any](words []string, n int64, parse func(string) (T, error)) ([]T, error) {
	r := make([]T, n)
	for i := range r {
		if i >= len(words) {
			r[i] = r[0]
			continue
		}
		var err error
		if r[i], err = parse(words[i]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func float(w string, bits int) (float64, error) {
	f, err := strconv.ParseFloat(w, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is more than a float of %d bits holds", w, bits)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is no number", w)
	}
	return f, nil
}

func boolean(w string) (uint8, error) {
	switch w {
	case "true", "1":
		return 1, nil
	case "false", "0":
		return 0, nil
	}
	return 0, fmt.Errorf("%q is neither true nor false", w)
}

// whole reads an integer of a type, in two's complement.
func whole(w string, d ir.DType) (uint64, error) {
	var u uint64
	var i int64
	var err error
	if d.IsSigned() {
		i, err = strconv.ParseInt(w, 10, d.Bits())
		u = uint64(i)
	} else {
		u, err = strconv.ParseUint(w, 10, d.Bits())
	}
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is not within what %s holds", w, d)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", w)
	}
	return u, nil
}
