package toweights

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// longest is the number of numbers up to which a factor is followed.
const longest = 1 << 16

// factor is a number for each place of an axis of a tensor, or a single one, whose axis is -1.
type factor struct {
	axis int
	v    []float64
}

func (f factor) single() bool { return f.axis < 0 }

// along is a number for each place of an axis of a tensor, or a single one if they are all equal; ok is false if the axis is not surely of that size.
func along(v []float64, axis int, dims []infer.Int) (f factor, ok bool) {
	if !slices.ContainsFunc(v, func(x float64) bool { return x != v[0] }) && len(v) > 0 {
		return factor{-1, v[:1]}, true
	}
	return factor{axis, v}, axis >= 0 && dims[axis].Is(int64(len(v))) && len(v) <= longest
}

// on is the factor as a number for each place of that axis; ok is false if it is nothing of the kind. A single number stays one.
func (f factor) on(axis int) (v []float64, ok bool) { return f.v, f.single() || f.axis == axis }

// reshaped is the factor of the same elements in another shape. In row-major order the elements of each place of an axis stand together, so it
// follows from the sizes of the axes behind it: [N,T,12*64] split into [N,T,12,64] has the number of place i at head i/64, place i%64.
func (f factor) reshaped(from, to []infer.Int) (factor, bool) {
	if f.single() {
		return f, true
	}
	if k := f.axis + len(to) - len(from); k >= 0 && to[k].Is(int64(len(f.v))) && slices.EqualFunc(from[f.axis+1:], to[k+1:], infer.Int.Same) {
		return factor{k, f.v}, true
	}
	run, ok := size(from[f.axis+1:])
	if !ok {
		return f, false
	}
	period := run * int64(len(f.v))
	for axis := range to {
		inner, ok := size(to[axis+1:])
		n, static := to[axis].Const()
		if !ok || !static || n < 1 || n > longest || run%inner != 0 || n*inner%period != 0 {
			continue
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = f.v[int64(i)*inner/run%int64(len(f.v))]
		}
		return factor{axis, v}, true
	}
	return f, false
}

// size is the number of elements of a shape that is static and not empty; ok is false for others, and for large ones.
func size(dims []infer.Int) (n int64, ok bool) {
	n = 1
	for _, d := range dims {
		k, ok := d.Const()
		if !ok || k < 1 || k > longest*longest/n {
			return 0, false
		}
		n *= k
	}
	return n, true
}

// constant is the factor as a constant of type d that broadcasts to a tensor of that rank.
func (f factor) constant(d ir.DType, rank int) (*ir.Tensor, error) {
	shape := []int64{}
	if !f.single() {
		shape = slices.Repeat([]int64{1}, rank-f.axis)
		shape[0] = int64(len(f.v))
	}
	return weights.Round(d, shape, f.v)
}
