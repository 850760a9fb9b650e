package quantize

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// matrix is the weights of a unit by output channel: element i of channel c is at data[base(c) + offset(i)].
type matrix struct {
	data            []float32
	outer, n, inner int // the shape is [outer, n, inner] with the channels in the middle
}

// matrixOf views weights by channel; axis -1 takes all as one channel.
func matrixOf(t *ir.Tensor, axis int) (matrix, error) {
	v, err := ir.Elements[float32](t)
	m := matrix{data: v, outer: 1, n: 1, inner: len(v)}
	if axis >= 0 && err == nil {
		s := t.Shape()
		m.n, m.inner = int(s[axis]), 1
		for _, d := range s[:axis] {
			m.outer *= int(d)
		}
		for _, d := range s[axis+1:] {
			m.inner *= int(d)
		}
	}
	return m, err
}

// each calls f with the place of every element of channel c.
func (m matrix) each(c int, f func(i int)) {
	for o := range m.outer {
		b := (o*m.n + c) * m.inner
		for i := b; i < b+m.inner; i++ {
			f(i)
		}
	}
}

// size is the number of elements of a channel.
func (m matrix) size() int { return m.outer * m.inner }

// quantized is weights in integers, with a scale for each channel.
type quantized struct {
	q      []int8
	scales []float32
}

// top is the largest integer of symmetric weights of that many bits.
func top(bits int) float64 { return float64(int(1)<<(bits-1) - 1) }

// scales are those that cover the weights of every channel exactly. What is not finite does not count.
func (m matrix) scales(bits int) []float32 {
	s := make([]float32, m.n)
	for c := range s {
		most := 0.0
		m.each(c, func(i int) {
			if x := math.Abs(float64(m.data[i])); x > most && !math.IsInf(x, 0) {
				most = x
			}
		})
		s[c] = scaleOf(most / top(bits))
	}
	return s
}

// round rounds every weight to the nearest integer under the scales.
func (m matrix) round(scales []float32, bits int) quantized {
	r := quantized{make([]int8, len(m.data)), scales}
	t := top(bits)
	for c := range m.n {
		s := float64(scales[c])
		m.each(c, func(i int) {
			r.q[i] = int8(math.Min(math.Max(math.RoundToEven(float64(m.data[i])/s), -t), t))
		})
	}
	return r
}

// float is the weights that the integers stand for.
func (m matrix) float(q quantized) []float32 {
	r := make([]float32, len(m.data))
	for c := range m.n {
		m.each(c, func(i int) { r[i] = float32(q.q[i]) * q.scales[c] })
	}
	return r
}

// guard raises scales until the bias fits into int32 beside the sums of products: |bias| / (input scale * weight scale) stays below 2^30.
func guard(scales []float32, input float32, bias []float32) (raised int) {
	const room = 1 << 30
	for c := range scales {
		if c >= len(bias) {
			break
		}
		need := math.Abs(float64(bias[c])) / (float64(input) * room)
		if need > float64(scales[c]) && !math.IsInf(need, 0) && !math.IsNaN(need) {
			scales[c] = float32(need)
			raised++
		}
	}
	return raised
}

// finite reports whether all elements are; a tensor that cannot be read is not.
func finite(t *ir.Tensor) bool {
	v, err := ir.Elements[float32](t)
	if err != nil {
		return false
	}
	for _, x := range v {
		if x-x != 0 {
			return false
		}
	}
	return true
}
