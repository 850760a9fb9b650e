package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// broadcast is the shape that shapes have together under ONNX's multidirectional (NumPy) broadcasting.
func broadcast(shapes ...[]int64) ([]int64, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int64, rank)
	for i := range out {
		out[i] = 1
		for _, s := range shapes {
			j := i - rank + len(s)
			if j < 0 || s[j] == 1 || s[j] == out[i] {
				continue
			}
			if out[i] != 1 {
				return nil, fmt.Errorf("shapes %v do not broadcast", shapes)
			}
			out[i] = s[j]
		}
	}
	return out, nil
}

// strides are the row-major steps of a shape in elements.
func strides(shape []int64) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= int(shape[i])
	}
	return s
}

// broadcastStrides are the steps of an operand of the given shape for a walk over out: 0 where it is repeated.
func broadcastStrides(shape, out []int64) []int {
	r := make([]int, len(out))
	s := strides(shape)
	for i, d := range shape {
		if d != 1 {
			r[i+len(out)-len(shape)] = s[i]
		}
	}
	return r
}

// nest is a nest of loops over a shape that steps through several arrays at once. Adjacent axes are merged where every
// array allows it, so that the innermost loop is as long as can be.
type nest struct {
	dims  []int
	steps [][]int // steps[k][axis] of array k
}

// newNest makes the loops for shape; steps[k] are the steps of array k for each axis.
func newNest(shape []int64, steps ...[]int) *nest {
	n := &nest{steps: make([][]int, len(steps))}
	for i, d := range shape {
		if d == 1 {
			continue
		}
		last := len(n.dims) - 1
		merge := last >= 0
		for k := range steps {
			if merge && n.steps[k][last] != steps[k][i]*int(d) {
				merge = false
			}
		}
		if merge {
			n.dims[last] *= int(d)
		} else {
			n.dims = append(n.dims, int(d))
			last++
		}
		for k := range steps {
			n.steps[k] = append(n.steps[k][:last], steps[k][i])
		}
	}
	if len(n.dims) == 0 {
		n.dims = []int{1}
		for k := range steps {
			n.steps[k] = []int{0}
		}
	}
	return n
}

// inner is the step of array k along the innermost axis.
func (n *nest) inner(k int) int { return n.steps[k][len(n.dims)-1] }

// rows calls f for each innermost row in row-major order with the offset of its first element in each array and the row's
// length, until f returns an error; f must not change at. A nest with an empty axis has no rows.
func (n *nest) rows(f func(at []int, length int) error) error {
	if slices.Contains(n.dims, 0) {
		return nil
	}
	last := len(n.dims) - 1
	idx := make([]int, last)
	at := make([]int, len(n.steps))
	for {
		if err := f(at, n.dims[last]); err != nil {
			return err
		}
		axis := last - 1
		for ; axis >= 0; axis-- {
			idx[axis]++
			for k := range at {
				at[k] += n.steps[k][axis]
			}
			if idx[axis] < n.dims[axis] {
				break
			}
			for k := range at {
				at[k] -= n.steps[k][axis] * n.dims[axis]
			}
			idx[axis] = 0
		}
		if axis < 0 {
			return nil
		}
	}
}

// axisOf normalises an axis of a tensor of the given rank: -rank <= axis < rank.
func axisOf(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d is out of range for rank %d", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// axesOf normalises a list of axes. A repeated axis is an error.
func axesOf(axes []int64, rank int) ([]int, error) {
	r := make([]int, 0, len(axes))
	for _, a := range axes {
		i, err := axisOf(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r, i) {
			return nil, fmt.Errorf("axis %d is repeated", a)
		}
		r = append(r, i)
	}
	return r, nil
}

// product is the number of elements of a valid shape.
func product(shape []int64) int { return int(ir.NumElements(shape)) }

// withAxis is shape with dimension axis replaced.
func withAxis(shape []int64, axis int, d int64) []int64 {
	s := slices.Clone(shape)
	s[axis] = d
	return s
}

// ones is a shape of n dimensions of size 1.
func ones(n int) []int64 {
	s := make([]int64, n)
	for i := range s {
		s[i] = 1
	}
	return s
}
