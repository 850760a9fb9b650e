package opset

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// windowDown is a sum of cosines. Size is a scalar.
func windowDown(s *site) {
	s.tolerant()
	var a []float64
	switch s.n.Op().Type {
	case "HannWindow":
		a = []float64{0.5, 0.5}
	case "HammingWindow":
		a = []float64{25.0 / 46, 1 - 25.0/46}
	default:
		a = []float64{0.42, 0.5, 0.08}
	}
	f := func(v float64) *ir.Value { return s.number(ir.Float32, v) }
	size := s.cast(s.keepScalar(s.in(0)), ir.Float32)
	period := size
	if s.int("periodic") == 0 {
		period = s.op("Sub", size, f(1))
	}
	angle := s.op("Mul", s.op("Range", f(0), size, f(1)), s.op("Div", f(2*math.Pi), period))
	y := f(a[0])
	for k := 1; k < len(a); k++ {
		z := angle
		if k > 1 {
			z = s.op("Mul", angle, f(float64(k)))
		}
		y = s.op([]string{"Add", "Sub"}[k%2], y, s.op("Mul", f(a[k]), s.op("Cos", z)))
	}
	s.replace(s.cast(y, ir.DType(s.int("output_datatype"))))
}

// dftAxisUp makes the axis operand 2, a scalar.
func dftAxisUp(s *site) {
	s.operand(2, s.scalar64(s.int("axis")))
	s.n.RemoveAttr("axis")
}

func dftAxisDown(s *site) {
	axis := int64(-2)
	if v := s.in(2); v != nil {
		x, ok := s.known(v)
		if !ok || len(x) != 1 {
			s.refuse("its axis is computed, and opset %d takes an attribute", s.to)
			return
		}
		axis = x[0]
	}
	s.trim(2)
	s.n.SetAttr(ir.IntAttr("axis", axis))
}

// dftDown multiplies with the matrices of cosines and sines.
func dftDown(s *site) {
	s.tolerant()
	x := s.in(0)
	r := s.needRank(x)
	if s.why != "" {
		return
	}
	k, ok := s.axis(s.int("axis"), r)
	if !ok {
		return
	}
	if s.int("inverse") != 0 && s.int("onesided") != 0 {
		s.refuse("the inverse of a one-sided transform is not spelled out")
		return
	}
	perm, back := make([]int64, 0, r), make([]int64, r)
	for i := range r - 1 {
		if i != k {
			perm = append(perm, int64(i))
		}
	}
	perm = append(perm, int64(k), int64(r-1))
	for i, p := range perm {
		back[p] = int64(i)
	}
	y := s.fourier(s.transpose(x, perm...), r, s.in(1), s.int("inverse") != 0, s.int("onesided") != 0)
	if s.why == "" {
		s.replace(s.transpose(y, back...))
	}
}

// fourier transforms along axis r-2 of x, whose last axis holds the real part, or the real and the imaginary one.
func (s *site) fourier(x *ir.Value, r int, length *ir.Value, inverse, onesided bool) *ir.Value {
	d, shape := s.needDType(x), s.shape(x)
	if len(shape) != r || !shape[r-1].IsStatic() {
		s.refuse("whether its operand is real or complex is not known")
		return x
	}
	if s.why != "" {
		return x
	}
	w := d
	if d.Bits() == 16 {
		w = ir.Float32
	}
	x = s.cast(x, w)
	n := s.dim(x, int64(r-2))
	if length != nil {
		m := s.op("Reshape", s.cast(length, ir.Int64), s.vec(1))
		x = s.op("Slice", x, s.vec(0), m, s.vec(int64(r-2)))
		more := s.op("Sub", m, s.dim(x, int64(r-2)))
		x = s.op("Pad", x, s.concat(0, s.vec(make([]int64, 2*r-2)...), more, s.vec(0)))
		n = m
	}
	m := s.squeeze(n, 0)
	bins := m
	if onesided {
		bins = s.op("Add", s.op("Div", m, s.scalar64(2)), s.scalar64(1))
	}
	j := s.unsqueeze(s.op("Range", s.scalar64(0), m, s.scalar64(1)), 1)
	k := s.unsqueeze(s.op("Range", s.scalar64(0), bins, s.scalar64(1)), 0)
	turn := s.op("Mod", s.op("Mul", j, k), m) // whole turns do not count, and cost precision
	angle := s.op("Mul", s.cast(turn, w), s.op("Div", s.number(w, 2*math.Pi), s.cast(m, w)))
	cos, sin := s.op("Cos", angle), s.op("Sin", angle)
	part := func(i int64) *ir.Value { return s.squeeze(s.slice(x, int64(r-1), i, i+1, 1), int64(r-1)) }
	a := part(0)
	re, im := s.op("MatMul", a, cos), s.op("MatMul", a, sin)
	if !inverse {
		im = s.op("Neg", im)
	}
	if shape[r-1].Size == 2 {
		b := part(1)
		bs := s.op("MatMul", b, sin)
		if inverse {
			bs = s.op("Neg", bs)
		}
		re, im = s.op("Add", re, bs), s.op("Add", im, s.op("MatMul", b, cos))
	}
	y := s.concat(-1, s.unsqueeze(re, int64(r-1)), s.unsqueeze(im, int64(r-1)))
	if inverse {
		y = s.op("Div", y, s.cast(m, w))
	}
	return s.cast(y, d)
}

// stftDown gathers the frames and transforms them.
func stftDown(s *site) {
	s.tolerant()
	x, window, length := s.in(0), s.in(2), s.in(3)
	r := s.needRank(x)
	if r == 2 {
		x = s.unsqueeze(x, 2)
	}
	if s.why != "" {
		return
	}
	n := (*ir.Value)(nil)
	switch {
	case length != nil:
		n = s.op("Reshape", s.cast(length, ir.Int64), s.vec(1))
	case window != nil:
		n = s.dim(window, 0)
	default:
		s.refuse("neither window nor frame_length is given")
		return
	}
	step := s.op("Reshape", s.cast(s.in(1), ir.Int64), s.vec(1))
	frames := s.op("Add", s.op("Div", s.op("Sub", s.dim(x, 1), n), step), s.vec(1))
	at := s.op("Mul", s.op("Range", s.scalar64(0), s.squeeze(frames, 0), s.scalar64(1)), step)
	index := s.op("Add", s.unsqueeze(at, 1), s.op("Range", s.scalar64(0), s.squeeze(n, 0), s.scalar64(1)))
	y := s.gather(1, x, index)
	if window != nil {
		y = s.op("Mul", y, s.unsqueeze(window, 1))
	}
	z := s.fourier(y, 4, nil, false, s.int("onesided") != 0)
	if s.why == "" {
		s.replace(z)
	}
}
