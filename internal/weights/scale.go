package weights

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Scale multiplies w by factors: w is cut into len(s) blocks of consecutive elements, and block i is multiplied by s[i]. The
// result has the shape and type of w. Large results are computed each time somebody reads them instead of being held.
func Scale(w *ir.Tensor, s []float64) (*ir.Tensor, error) {
	n := w.Len()
	if n < 0 || len(s) == 0 && n > 0 || len(s) > 0 && n%int64(len(s)) != 0 {
		return nil, fmt.Errorf("%d factors for a tensor of shape %v", len(s), w.Shape())
	}
	return scale(w, s, int(n)/max(len(s), 1))
}

// ScaleAxis multiplies w by a factor for each place of an axis, or by the only one. It is Scale in all else.
func ScaleAxis(w *ir.Tensor, axis int, s []float64) (*ir.Tensor, error) {
	shape := w.Shape()
	if axis < 0 || axis >= len(shape) || len(s) != 1 && int64(len(s)) != shape[axis] || w.Len() < 0 {
		return nil, fmt.Errorf("%d factors along axis %d of a tensor of shape %v", len(s), axis, shape)
	}
	return scale(w, s, int(ir.NumElements(shape[axis+1:])))
}

// scale multiplies each run of that many consecutive elements by the next factor, around and around.
func scale(w *ir.Tensor, s []float64, run int) (*ir.Tensor, error) {
	if !slices.ContainsFunc(s, func(x float64) bool { return x != 1 }) {
		return w, nil
	}
	p := &scaled{w, s, run}
	c := check{dtype: w.DType()}
	err := p.each(func(v []float64) error {
		for _, x := range v {
			c.add(x, rounded(w.DType(), x))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if w.ByteLen() > held {
		return ir.NewLazyTensor(w.DType(), w.Shape(), p), nil
	}
	b, err := p.Bytes()
	return ir.NewTensor(w.DType(), w.Shape(), b), err
}

// held is the number of bytes up to which a result is kept in memory.
const held = 1 << 20

// scaled is the payload of a scaled tensor.
type scaled struct {
	w   *ir.Tensor
	s   []float64
	run int
}

// Uncached marks the payload as one whose bytes are not kept.
func (*scaled) Uncached() {}

// Strings is an error: the tensor is of floats.
func (p *scaled) Strings() ([]string, error) { return p.w.Strings() }

// Bytes computes the elements.
func (p *scaled) Bytes() ([]byte, error) {
	r := make([]byte, 0, p.w.ByteLen())
	err := p.each(func(v []float64) error {
		b, err := encode(p.w.DType(), v)
		r = append(r, b...)
		return err
	})
	return r, err
}

// chunk is the number of elements that are widened at a time.
const chunk = 1 << 14

// each hands the exact products to f in order, some at a time; the slice is used again.
func (p *scaled) each(f func(v []float64) error) error {
	b, err := p.w.Bytes()
	if err != nil {
		return err
	}
	size := p.w.DType().Bits() / 8
	factor, left := 0, p.run
	for ; len(b) > 0; b = b[min(chunk*size, len(b)):] {
		n := min(chunk, len(b)/size)
		part, err := Floats(ir.NewTensor(p.w.DType(), []int64{int64(n)}, b[:n*size]))
		if err != nil {
			return err
		}
		if p.w.DType() == ir.Float64 {
			part = slices.Clone(part) // a view of w
		}
		for k := 0; k < n; {
			end := min(n, k+left)
			left -= end - k
			for s := p.s[factor]; k < end; k++ {
				part[k] *= s
			}
			if left == 0 {
				factor, left = (factor+1)%len(p.s), p.run
			}
		}
		if err := f(part); err != nil {
			return err
		}
	}
	return nil
}
