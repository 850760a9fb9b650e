package fuzz

import (
	"math"
	"math/rand/v2"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// random draws what models are made of.
type random struct{ *rand.Rand }

func newRandom(seed, stream uint64) random { return random{rand.New(rand.NewPCG(seed, stream))} }

// odds is true once in n times.
func (r random) odds(n int) bool { return r.IntN(n) == 0 }

// between is a whole number from lo to hi.
func (r random) between(lo, hi int64) int64 { return lo + r.Int64N(hi-lo+1) }

func pick[T any](r random, list []T) T { return list[r.IntN(len(list))] }

// dtypes are the element types of inputs and constants; frequent ones stand more than once.
var dtypes = []ir.DType{
	ir.Float32, ir.Float32, ir.Float32, ir.Float32, ir.Float32, ir.Float32, ir.Float32, ir.Float32, ir.Int64, ir.Int64, ir.Int64, ir.Int32,
	ir.Bool, ir.Bool, ir.Float16, ir.Float64, ir.Uint8, ir.Int8, ir.BFloat16, ir.Uint32, ir.Int16, ir.Uint64, ir.String,
}

// special are floats at which algebra ends.
var special = []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.Copysign(0, -1), 0, 1, -1, math.SmallestNonzeroFloat32, -1e-39,
	math.MaxFloat32, -math.MaxFloat32, 65504, 1e-7, 0.5}

// float is a number; a wild one may be any.
func (r random) float(wild bool) float64 {
	if wild && r.odds(4) {
		return pick(r, special)
	}
	switch r.IntN(4) {
	case 0:
		return float64(r.between(-2, 2))
	case 1:
		return float64(r.between(-8, 8)) / 4
	}
	return r.NormFloat64()
}

var extreme = []int64{math.MinInt64, math.MaxInt64, math.MinInt32, math.MaxInt32, -129, 255, 128}

func (r random) integer(wild bool) int64 {
	if wild && r.odds(12) {
		return pick(r, extreme)
	}
	return r.between(-3, 5)
}

// tensor is a tensor of random elements.
func (r random) tensor(d ir.DType, shape []int64, wild bool) *ir.Tensor {
	n := int(ir.NumElements(shape))
	if d == ir.String {
		s := make([]string, n)
		for i := range s {
			s[i] = pick(r, []string{"", "a", "b", "A b", "1", "-2.5"})
		}
		return ir.NewStringTensor(shape, s)
	}
	v := make([]float64, n)
	k := make([]int64, n)
	same := r.odds(6) // constants of equal elements match many rules
	for i := range v {
		if i > 0 && same {
			v[i], k[i] = v[0], k[0]
			continue
		}
		v[i], k[i] = r.float(wild), r.integer(wild)
	}
	return encode(r, d, shape, v, k)
}

// encode makes a tensor of v if d is a float type, else of k.
func encode(r random, d ir.DType, shape []int64, v []float64, k []int64) *ir.Tensor {
	switch d {
	case ir.Float32:
		return as(d, shape, v, func(x float64) float32 { return float32(x) })
	case ir.Float64:
		return as(d, shape, v, func(x float64) float64 { return x })
	case ir.Float16:
		return as(d, shape, v, func(x float64) uint16 { return kernel.Float32ToFloat16(float32(x)) })
	case ir.BFloat16:
		return as(d, shape, v, func(x float64) uint16 { return kernel.Float32ToBFloat16(float32(x)) })
	case ir.Complex64:
		return as(d, shape, v, func(x float64) complex64 { return complex(float32(x), 1) })
	case ir.Complex128:
		return as(d, shape, v, func(x float64) complex128 { return complex(x, 1) })
	case ir.Bool:
		return as(d, shape, k, func(x int64) uint8 { return uint8(x & 1) })
	case ir.Uint8, ir.Int8:
		return as(d, shape, k, func(x int64) uint8 { return uint8(x) })
	case ir.Uint16, ir.Int16:
		return as(d, shape, k, func(x int64) uint16 { return uint16(x) })
	case ir.Uint32, ir.Int32:
		return as(d, shape, k, func(x int64) uint32 { return uint32(x) })
	case ir.Uint64, ir.Int64:
		return as(d, shape, k, func(x int64) uint64 { return uint64(x) })
	}
	b := make([]byte, max(d.ByteLen(int64(len(v))), 0)) // narrow types: any bits, unused ones zero
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if bits := int64(d.Bits()) * int64(len(v)) % 8; bits > 0 {
		b[len(b)-1] &= 1<<bits - 1
	}
	return ir.NewTensor(d, shape, b)
}

func as[F any, T ir.Scalar](d ir.DType, shape []int64, v []F, f func(F) T) *ir.Tensor {
	w := make([]T, len(v))
	for i, x := range v {
		w[i] = f(x)
	}
	return ir.NewTensor(d, shape, ir.AsBytes(w))
}

// sprinkle replaces some elements of a float tensor by special values.
func sprinkle(r random, d ir.Datum) ir.Datum {
	t, ok := d.(*ir.Tensor)
	if !ok {
		return d
	}
	switch t.DType() {
	case ir.Float32:
		return replaced(r, t, func(x float64) float32 { return float32(x) })
	case ir.Float64:
		return replaced(r, t, func(x float64) float64 { return x })
	case ir.Float16:
		return replaced(r, t, func(x float64) uint16 { return kernel.Float32ToFloat16(float32(x)) })
	case ir.BFloat16:
		return replaced(r, t, func(x float64) uint16 { return kernel.Float32ToBFloat16(float32(x)) })
	}
	return d
}

func replaced[T ir.Scalar](r random, t *ir.Tensor, f func(float64) T) ir.Datum {
	old, err := ir.Elements[T](t)
	if err != nil {
		return t
	}
	v := append([]T{}, old...)
	for i := range v {
		if r.odds(2) {
			v[i] = f(pick(r, special))
		}
	}
	return ir.NewTensor(t.DType(), t.Shape(), ir.AsBytes(v))
}
