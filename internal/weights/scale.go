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
	if !slices.ContainsFunc(s, func(x float64) bool { return x != 1 }) {
		return w, nil
	}
	p := &scaled{w, s}
	c := check{dtype: w.DType()}
	err := p.each(func(_ int, v []float64) error {
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
	w *ir.Tensor
	s []float64
}

// Uncached marks the payload as one whose bytes are not kept.
func (*scaled) Uncached() {}

// Strings is an error: the tensor is of floats.
func (p *scaled) Strings() ([]string, error) { return p.w.Strings() }

// Bytes computes the elements.
func (p *scaled) Bytes() ([]byte, error) {
	r := make([]byte, 0, p.w.ByteLen())
	err := p.each(func(_ int, v []float64) error {
		b, err := encode(p.w.DType(), v)
		r = append(r, b...)
		return err
	})
	return r, err
}

// chunk is the number of elements that are widened at a time.
const chunk = 1 << 14

// each hands the exact products to f in order, a part of a block at a time; the slice is used again.
func (p *scaled) each(f func(block int, v []float64) error) error {
	b, err := p.w.Bytes()
	if err != nil {
		return err
	}
	size := p.w.DType().Bits() / 8
	block := int(p.w.Len()) / max(len(p.s), 1)
	for i, s := range p.s {
		for from := 0; from < block; from += chunk {
			n := min(chunk, block-from)
			at := (i*block + from) * size
			part, err := Floats(ir.NewTensor(p.w.DType(), []int64{int64(n)}, b[at:at+n*size]))
			if err != nil {
				return err
			}
			if p.w.DType() == ir.Float64 {
				part = slices.Clone(part) // a view of w
			}
			for k, x := range part {
				part[k] = x * s
			}
			if err := f(i, part); err != nil {
				return err
			}
		}
	}
	return nil
}
