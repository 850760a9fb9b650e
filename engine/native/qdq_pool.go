package native

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// pooled reads the attributes of a pooling whose windows all have elements.
func (m *match) pooled() (p pooling, ok bool) {
	p, ok = newPooling(&site{Node: m.node, opset: m.opset})
	padded := p.pad != [4]int{}
	for i := range 2 {
		ok = ok && p.pad[i] < p.kernel[i] && p.pad[i+2] < p.kernel[i] && (!padded || p.dilation[i] == 1)
	}
	return p, ok
}

// pictures are the planes of an operand of a pooling and of its result, which has the given shape.
type pictures struct {
	*pooling
	h, w, oh, ow int
	shape        []int64
}

// over is the pooling of x, of rank 4.
func (p *pooling) over(x *ir.Tensor) (o pictures, ok bool) {
	if x.Rank() != 4 {
		return o, false
	}
	s := x.Shape()
	o = pictures{pooling: p, h: int(s[2]), w: int(s[3]), oh: p.output(int(s[2]), 0), ow: p.output(int(s[3]), 1)}
	o.shape = []int64{s[0], s[1], int64(o.oh), int64(o.ow)}
	return o, o.oh > 0 && o.ow > 0
}

// each calls f for the planes of x and of a result.
func each[T, R gemm.Integer](t *task, p pictures, dst []R, x *ir.Tensor, f func(dst []R, src []T)) {
	src := elements[T](x)
	in, out := p.h*p.w, p.oh*p.ow
	t.pool.For(len(dst)/out, max(1, grain/in), func(_, from, to int) {
		for i := from; i < to; i++ {
			f(dst[i*out:][:out], src[i*in:][:in])
		}
	})
}

// matchMaxPool takes the greatest integers, since dequantization is monotone.
func matchMaxPool(s *scope, m *match) executor {
	x, ok := m.activation(s, 0)
	p, okP := m.pooled()
	if !ok || !okP || m.node.NumResults() != 1 {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		in := t.tensor(0)
		if !x.fits(in) {
			return nil, false
		}
		var r *ir.Tensor
		if in.DType() == ir.Int8 {
			r, ok = maxBytes[int8](t, &p, in)
		} else {
			r, ok = maxBytes[uint8](t, &p, in)
		}
		if !ok {
			return nil, false
		}
		return m.translate(t, x, r)
	}
}

func maxBytes[T gemm.Integer](t *task, p *pooling, x *ir.Tensor) (*ir.Tensor, bool) {
	o, ok := p.over(x)
	if !ok {
		return nil, false
	}
	dst, ok := lendBytes[T](t, o.shape)
	if !ok {
		return nil, false
	}
	each(t, o, dst, x, func(dst, src []T) {
		for y := range o.oh {
			top, y0, y1 := p.span(y, o.h, 0)
			for c := range o.ow {
				left, x0, x1 := p.span(c, o.w, 1)
				best := src[(top+y0*p.dilation[0])*o.w+left+x0*p.dilation[1]]
				for j := y0; j < y1; j++ {
					row := src[(top+j*p.dilation[0])*o.w:][:o.w]
					for k := x0; k < x1; k++ {
						best = max(best, row[left+k*p.dilation[1]])
					}
				}
				dst[y*o.ow+c] = best
			}
		}
	})
	return ir.NewTensor(x.DType(), o.shape, ir.AsBytes(dst)), true
}

// mean is the integer of the result for n elements with a sum, less n zero points.
func (m *match) mean(scale float32, sum int64, n int) float32 {
	v := float32(float64(sum) * float64(scale) / float64(n))
	q := math.RoundToEven(float64(v/m.result.scales[0])) + m.zero()
	return float32(max(float64(m.lo), min(float64(m.hi), q)))
}

// zero is the zero point of the result.
func (m *match) zero() float64 {
	if m.dtype == ir.Int8 {
		return float64(zeroOf[int8](m.result))
	}
	return float64(zeroOf[uint8](m.result))
}

func matchAveragePool(s *scope, m *match) executor {
	p, ok := m.pooled()
	if !ok {
		return nil
	}
	return m.averages(s, p.over, m.node.Int("count_include_pad", 0) != 0)
}

// matchGlobalAveragePool is a pooling whose window is the picture, which may have any number of axes: here, it is one row.
func matchGlobalAveragePool(s *scope, m *match) executor {
	return m.averages(s, func(x *ir.Tensor) (o pictures, ok bool) {
		if x.Rank() < 3 {
			return o, false
		}
		o = pictures{h: 1, oh: 1, ow: 1, shape: slices.Clone(x.Shape()), w: int(ir.NumElements(x.Shape()[2:]))}
		for i := range o.shape[2:] {
			o.shape[i+2] = 1
		}
		one := [2]int{1, 1}
		o.pooling = &pooling{kernel: [2]int{1, o.w}, stride: one, dilation: one}
		return o, true
	}, false)
}

// averages sums the integers of each window.
func (m *match) averages(s *scope, fit func(x *ir.Tensor) (pictures, bool), withPad bool) executor {
	x, ok := m.activation(s, 0)
	if !ok {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		in := t.tensor(0)
		if !x.fits(in) {
			return nil, false
		}
		p, ok := fit(in)
		if !ok {
			return nil, false
		}
		dst, ok := lendBytes[uint8](t, p.shape)
		if !ok {
			return nil, false
		}
		if in.DType() == ir.Int8 {
			each(t, p, dst, in, averageBytes[int8](m, p, x, withPad))
		} else {
			each(t, p, dst, in, averageBytes[uint8](m, p, x, withPad))
		}
		return ir.NewTensor(m.dtype, p.shape, dst), true
	}
}

// averageBytes takes the means of the windows of a plane.
func averageBytes[T gemm.Integer](m *match, p pictures, q quantization, withPad bool) func(dst []uint8, src []T) {
	zero := int64(zeroOf[T](q))
	return func(dst []uint8, src []T) {
		for y := range p.oh {
			top, y0, y1 := p.span(y, p.h, 0)
			for c := range p.ow {
				left, x0, x1 := p.span(c, p.w, 1)
				n, sum := (y1-y0)*(x1-x0), int64(0)
				for j := y0; j < y1; j++ {
					row := src[(top+j*p.dilation[0])*p.w:][:p.w]
					if p.dilation[1] == 1 {
						sum += sumOf(row[left+x0 : left+x1])
						continue
					}
					for k := x0; k < x1; k++ {
						sum += int64(row[left+k*p.dilation[1]])
					}
				}
				sum -= int64(n) * zero
				if withPad {
					n = p.kernel[0] * p.kernel[1]
				}
				dst[y*p.ow+c] = uint8(int32(m.mean(q.scales[0], sum, n)))
			}
		}
	}
}

func sumOf[T gemm.Integer](v []T) (sum int64) {
	for _, e := range v {
		sum += int64(e)
	}
	return sum
}
