package weights

import (
	"github.com/onnxopt/onnxopt/ir"
)

// Cast is w in another float type, rounded to nearest. A result in which a number became infinite or NaN, or whose precision is lost
// to underflow as a whole, is an *Unfit; infinities and NaN of w itself stay. Large results are computed each time somebody reads
// them instead of being held.
func Cast(w *ir.Tensor, d ir.DType) (*ir.Tensor, error) {
	if w.DType() == d {
		return w, nil
	}
	p := &cast{w, d}
	c := check{dtype: d}
	err := p.each(func(v []float64) error {
		for _, x := range v {
			if x-x == 0 {
				c.add(x, rounded(d, x))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if d.ByteLen(w.Len()) > held {
		return ir.NewLazyTensor(d, w.Shape(), p), nil
	}
	b, err := p.Bytes()
	return ir.NewTensor(d, w.Shape(), b), err
}

// Force is v rounded to type d, whatever becomes of it.
func Force(d ir.DType, shape []int64, v []float64) (*ir.Tensor, error) {
	b, err := encode(d, v)
	return ir.NewTensor(d, shape, b), err
}

// Largest is the largest finite number of a float type.
func Largest(d ir.DType) float64 {
	switch d {
	case ir.Float16:
		return 65504
	case ir.BFloat16:
		return 0x1.fep127
	}
	return 0x1.fffffep127
}

// Smallest is the smallest positive number that has a float type's full precision.
func Smallest(d ir.DType) float64 {
	if d == ir.Float16 {
		return 0x1p-14
	}
	return 0x1p-126
}

// cast is the payload of a tensor in another type.
type cast struct {
	w *ir.Tensor
	d ir.DType
}

// Uncached marks the payload as one whose bytes are not kept.
func (*cast) Uncached() {}

// Strings is an error: the tensor is of floats.
func (p *cast) Strings() ([]string, error) { return p.w.Strings() }

// Bytes computes the elements.
func (p *cast) Bytes() ([]byte, error) {
	r := make([]byte, 0, p.d.ByteLen(p.w.Len()))
	err := p.each(func(v []float64) error {
		b, err := encode(p.d, v)
		r = append(r, b...)
		return err
	})
	return r, err
}

// each hands the elements to f in order, some at a time.
func (p *cast) each(f func(v []float64) error) error {
	b, err := p.w.Bytes()
	if err != nil {
		return err
	}
	size := p.w.DType().Bits() / 8
	for n := 0; len(b) > 0; b = b[n*size:] {
		n = min(chunk, len(b)/size)
		part, err := Floats(ir.NewTensor(p.w.DType(), []int64{int64(n)}, b[:n*size]))
		if err != nil {
			return err
		}
		if err := f(part); err != nil {
			return err
		}
	}
	return nil
}
