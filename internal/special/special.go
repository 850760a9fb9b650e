// Package special makes inputs of values that rewrites tend to get wrong.
package special

import (
	"context"
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/ir"
)

// Source is a source of inputs of the same shapes as those of another one, in which floats are replaced here and there by NaN,
// infinities, zeros of both signs, subnormal and extreme values.
type Source struct{ compare.Source }

// Sets yields, for each set of the source, one variant for each special value and half of the elements.
func (s Source) Sets(ctx context.Context) iter.Seq2[compare.Set, error] {
	return func(yield func(compare.Set, error) bool) {
		for set, err := range s.Source.Sets(ctx) {
			for variant := range 16 {
				v := compare.Set{Inputs: map[string]ir.Datum{}, Label: set.Label + ", special values"}
				for i, name := range slices.Sorted(maps.Keys(set.Inputs)) {
					v.Inputs[name] = sprinkle(set.Inputs[name], variant+6*i)
				}
				if !yield(v, err) {
					return
				}
			}
		}
	}
}

// sprinkle replaces every other element of a float tensor, all elements of a short one.
func sprinkle(d ir.Datum, variant int) ir.Datum {
	t, ok := d.(*ir.Tensor)
	if !ok {
		return d
	}
	switch t.DType() {
	case ir.Float32:
		return replaced(t, variant, []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Copysign(0, -1)),
			float32(math.Inf(-1)), 0, math.SmallestNonzeroFloat32, math.MaxFloat32, -1e-39})
	case ir.Float64:
		return replaced(t, variant, []float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), math.Inf(-1), 0,
			math.SmallestNonzeroFloat64, math.MaxFloat64, -1e-310})
	case ir.Float16:
		return replaced(t, variant, []uint16{0x7e00, 0x7c00, 0x8000, 0xfc00, 0, 1, 0x7bff, 0x8001})
	case ir.BFloat16:
		return replaced(t, variant, []uint16{0x7fc0, 0x7f80, 0x8000, 0xff80, 0, 1, 0x7f7f, 0x8001})
	}
	return d
}

func replaced[T ir.Scalar](t *ir.Tensor, variant int, values []T) ir.Datum {
	old, err := ir.Elements[T](t)
	if err != nil {
		return t
	}
	v := slices.Clone(old)
	for i := range v {
		if len(v) < 4 || (i+variant)%2 == 0 {
			v[i] = values[(i/2+variant/2)%len(values)]
		}
	}
	return ir.NewTensor(t.DType(), t.Shape(), ir.AsBytes(v))
}
