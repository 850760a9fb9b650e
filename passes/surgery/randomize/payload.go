package randomize

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// random is the payload of a replaced constant. Its elements are made when they are asked for: element i depends on the seed and i
// alone, so that nothing needs to be kept.
type random struct {
	old       *ir.Tensor // for its elements that are no finite numbers; nil if there are none
	dtype     ir.DType
	n         int64
	mean, dev float64 // half the width of the uniform distribution is dev
	low, high float64
	seed      uint64
}

// Uncached tells ir to ask again rather than to keep the bytes.
func (*random) Uncached() {}

// Strings is never called for numbers.
func (*random) Strings() ([]string, error) { return nil, errors.New("not a string tensor") }

// known reports whether there are random numbers of the type.
func known(d ir.DType) bool {
	switch d {
	case ir.Float32, ir.Float64, ir.Float16, ir.BFloat16, ir.Int8, ir.Uint8, ir.Int32:
		return true
	}
	return false
}

// measure finds the distribution of the finite elements of t. It reads t once.
func measure(t *ir.Tensor) (*random, error) {
	at, n, err := reader(t)
	if err != nil {
		return nil, err
	}
	r := &random{dtype: t.DType(), n: n, low: math.Inf(1), high: math.Inf(-1)}
	count, sum := 0.0, 0.0
	for i := range n {
		x := at(i)
		if math.IsNaN(x) || math.IsInf(x, 0) {
			r.old = t
			continue
		}
		r.low, r.high = min(r.low, x), max(r.high, x)
		count++
		sum += x
	}
	if count == 0 {
		r.low, r.high = 0, 0
		return r, nil
	}
	r.mean = sum / count
	if math.IsInf(r.mean, 0) { // elements near the largest float64
		r.mean = r.low/2 + r.high/2
	}
	square := 0.0
	for i := range n {
		if x := at(i); !math.IsNaN(x) && !math.IsInf(x, 0) {
			d := x - r.mean
			square += float64(d * d) // explicit: no fused multiply-add, the same bits on every machine
		}
	}
	r.dev = math.Sqrt(3 * (square / count)) // the uniform distribution on [-a, a] has the variance a²/3
	if math.IsInf(r.dev, 0) || math.IsNaN(r.dev) {
		r.dev = r.high/2 - r.low/2
	}
	return r, nil
}

// reader gives the elements of t as numbers.
func reader(t *ir.Tensor) (at func(int64) float64, n int64, err error) {
	switch t.DType() {
	case ir.Float32:
		return elements(t, func(x float32) float64 { return float64(x) })
	case ir.Float64:
		return elements(t, func(x float64) float64 { return x })
	case ir.Float16:
		return elements(t, func(x uint16) float64 { return float64(kernel.Float16ToFloat32(x)) })
	case ir.BFloat16:
		return elements(t, func(x uint16) float64 { return float64(kernel.BFloat16ToFloat32(x)) })
	case ir.Int8:
		return elements(t, func(x int8) float64 { return float64(x) })
	case ir.Uint8:
		return elements(t, func(x uint8) float64 { return float64(x) })
	case ir.Int32:
		return elements(t, func(x int32) float64 { return float64(x) })
	}
	return nil, 0, fmt.Errorf("elements of type %s are not read as numbers", t.DType())
}

func elements[T ir.Scalar](t *ir.Tensor, number func(T) float64) (func(int64) float64, int64, error) {
	e, err := ir.Elements[T](t)
	return func(i int64) float64 { return number(e[i]) }, int64(len(e)), err
}

// Bytes makes the elements.
func (r *random) Bytes() ([]byte, error) {
	old := func(int64) float64 { return 0 }
	if r.old != nil {
		var err error
		if old, _, err = reader(r.old); err != nil {
			return nil, err
		}
	}
	switch r.dtype {
	case ir.Float32:
		return fill(r, old, func(x float64) float32 { return float32(x) }), nil
	case ir.Float64:
		return fill(r, old, func(x float64) float64 { return x }), nil
	case ir.Float16:
		return fill(r, old, func(x float64) uint16 { return kernel.Float32ToFloat16(float32(x)) }), nil
	case ir.BFloat16:
		return fill(r, old, func(x float64) uint16 { return kernel.Float32ToBFloat16(float32(x)) }), nil
	case ir.Int8:
		return fill(r, old, func(x float64) int8 { return int8(math.Round(x)) }), nil
	case ir.Uint8:
		return fill(r, old, func(x float64) uint8 { return uint8(math.Round(x)) }), nil
	}
	return fill(r, old, func(x float64) int32 { return int32(math.Round(x)) }), nil
}

func fill[T ir.Scalar](r *random, old func(int64) float64, to func(float64) T) []byte {
	e := make([]T, r.n)
	for i := range e {
		x := old(int64(i))
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			x = r.at(uint64(i))
		}
		e[i] = to(x)
	}
	return ir.AsBytes(e)
}

// at is element i: uniform around the mean, within the bounds of the elements that there were.
func (r *random) at(i uint64) float64 {
	u := float64(mix(r.seed+i*0x9e3779b97f4a7c15)>>11) / (1 << 53)
	x := r.mean + float64(r.dev*(2*u-1))
	return min(max(x, r.low), r.high)
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
