package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// window functions are sums of cosines a0 - a1*cos(2πn/N) + a2*cos(4πn/N), N the size or, if not periodic, one less.
func hannWindowOp(c *Call) ([]ir.Datum, error)     { return cosineWindow(c, 0.5, 0.5, 0) }
func blackmanWindowOp(c *Call) ([]ir.Datum, error) { return cosineWindow(c, 0.42, 0.5, 0.08) }

// hammingWindowOp has the coefficients of the specification, 25/46 and 21/46.
func hammingWindowOp(c *Call) ([]ir.Datum, error) {
	return cosineWindow(c, 25.0/46, 21.0/46, 0)
}

func cosineWindow(c *Call, a0, a1, a2 float64) ([]ir.Datum, error) {
	size, ok, err := c.scalarInt(0)
	if err != nil || !ok || size < 0 {
		return nil, errors.Join(err, errors.New("the size is not one integer"))
	}
	v, err := alloc[float64](c, []int64{size})
	if err != nil {
		return nil, err
	}
	n := float64(size)
	if c.int("periodic", 1) == 0 {
		n--
	}
	for i := range v {
		if n <= 0 {
			v[i] = 1
			continue
		}
		x := float64(2*math.Pi) * float64(i) / n
		v[i] = a0 - float64(a1*fmath.Cos(x)) + float64(a2*fmath.Cos(2*x))
	}
	return one(convertFloats(c, ir.DType(c.int("output_datatype", int64(ir.Float32))), []int64{size}, v))
}

// spectrum is what a DFT asks for.
type spectrum struct {
	axis, parts   int // parts of the operand's numbers: 1 real, 2 complex
	n             int64
	inverse, half bool
	shape         []int64 // of the result
}

func newSpectrum(c *Call, x *ir.Tensor) (*spectrum, error) {
	a := c.int("axis", 1)
	if c.Opset >= 20 {
		a = -2
		if v, ok, err := c.scalarInt(2); err != nil {
			return nil, err
		} else if ok {
			a = v
		}
	}
	axis, err := axisOf(a, x.Rank())
	if err != nil {
		return nil, err
	}
	s, last := x.Shape(), x.Rank()-1
	if axis == last || s[last] != 1 && s[last] != 2 || !x.DType().IsFloat() {
		return nil, c.badOperand(0, x)
	}
	f := &spectrum{axis: axis, parts: int(s[last]), n: s[axis], inverse: c.int("inverse", 0) != 0, half: c.int("onesided", 0) != 0}
	if f.inverse && f.half {
		f.n = 2 * (s[axis] - 1)
	}
	if v, ok, err := c.scalarInt(1); err != nil {
		return nil, err
	} else if ok {
		f.n = v
	}
	if f.n <= 0 {
		return nil, fmt.Errorf("a transform of length %d", f.n)
	}
	f.shape = withAxis(withAxis(s, axis, f.n), last, 2)
	switch {
	case f.inverse && f.half:
		f.shape[last] = 1
	case f.half:
		f.shape[axis] = f.n/2 + 1
	}
	return f, nil
}

// dftOp is the discrete Fourier transform along an axis of a signal whose last axis holds real and imaginary part, or the
// real part alone. onesided gives the first half of the spectrum; with inverse it takes it and gives a real signal.
func dftOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	d, err := newSpectrum(c, x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[float64](c, d.shape)
	if err != nil {
		return nil, err
	}
	f, err := newFourier(c, int(d.n), d.inverse)
	if err != nil {
		return nil, err
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	s, last := x.Shape(), x.Rank()-1
	inner, in, out, width := product(s[d.axis+1:last]), int(s[d.axis]), int(d.shape[d.axis]), int(d.shape[last])
	signal := make([]complex128, d.n)
	for o := range product(s[:d.axis]) {
		for i := range inner {
			clear(signal)
			for k := range min(in, int(d.n)) {
				signal[k] = complexAt(v, (o*in+k)*inner+i, d.parts)
			}
			if d.inverse && d.half {
				mirror(signal, min(in, int(d.n)/2+1))
			}
			y, err := f.transform(c, signal)
			if err != nil {
				return nil, err
			}
			for k := range out {
				at := ((o*out+k)*inner + i) * width
				if r[at] = real(y[k]); width == 2 {
					r[at+1] = imag(y[k])
				}
			}
		}
	}
	return one(convertFloats(c, x.DType(), d.shape, r))
}

// complexAt is number i of a list of numbers of one or two parts.
func complexAt(v []float64, i, parts int) complex128 {
	if parts == 1 {
		return complex(v[i], 0)
	}
	return complex(v[2*i], v[2*i+1])
}

// mirror completes a spectrum of which the first known values are given to that of a real signal.
func mirror(s []complex128, known int) {
	for k := known; k < len(s); k++ {
		if j := len(s) - k; j < known {
			s[k] = complex(real(s[j]), -imag(s[j]))
		}
	}
}

// fourier transforms signals of one length by the Cooley-Tukey algorithm over its prime factors.
type fourier struct {
	roots []complex128 // exp(∓2πik/n)
	scale float64
}

func newFourier(c *Call, n int, inverse bool) (*fourier, error) {
	roots, err := alloc[complex128](c, []int64{int64(n)})
	if err != nil {
		return nil, err
	}
	sign := -1.0
	scale := 1.0
	if inverse {
		sign, scale = 1, 1/float64(n)
	}
	for k := range roots {
		x := float64(2*math.Pi) * float64(k) / float64(n)
		roots[k] = complex(fmath.Cos(x), sign*fmath.Sin(x))
	}
	return &fourier{roots, scale}, nil
}

func (f *fourier) transform(c *Call, x []complex128) ([]complex128, error) {
	y := make([]complex128, len(x))
	if err := f.step(c, y, x, 1, len(x)); err != nil {
		return nil, err
	}
	for i, z := range y {
		y[i] = complex(real(z)*f.scale, imag(z)*f.scale)
	}
	return y, nil
}

// step writes the transform of the n elements x[0], x[stride], ... to y[:n].
func (f *fourier) step(c *Call, y, x []complex128, stride, n int) error {
	if n == 1 {
		y[0] = x[0]
		return nil
	}
	p := 2
	for p*p <= n && n%p != 0 {
		p++
	}
	if n%p != 0 {
		p = n
	}
	m := n / p
	for q := range p {
		if err := f.step(c, y[q*m:(q+1)*m], x[q*stride:], stride*p, m); err != nil {
			return err
		}
	}
	all, buf := len(f.roots), make([]complex128, n)
	unit := all / n
	for k := range n {
		sum := y[k%m]
		for q := 1; q < p; q++ {
			sum = addProduct(sum, y[q*m+k%m], f.roots[q*k%n*unit])
		}
		buf[k] = sum
	}
	copy(y, buf)
	return c.tick(8 * n * p)
}

// addProduct is s + a*b with every product rounded.
func addProduct(s, a, b complex128) complex128 {
	ar, ai, br, bi := real(a), imag(a), real(b), imag(b)
	return complex(real(s)+(float64(ar*br)-float64(ai*bi)), imag(s)+(float64(ar*bi)+float64(ai*br)))
}

// stftOp transforms windows of a signal [batch, length, parts] that start frame_step apart.
func stftOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	step, ok, err := c.scalarInt(1)
	if err != nil || !ok || step <= 0 {
		return nil, errors.Join(err, errors.New("frame_step is not one positive integer"))
	}
	n, weights, err := stftWindow(c)
	if err != nil {
		return nil, err
	}
	s := slices.Clone(x.Shape())
	if len(s) == 2 {
		s = append(s, 1)
	}
	if len(s) != 3 || s[2] != 1 && s[2] != 2 || n <= 0 || n > s[1] || weights != nil && int64(len(weights)) != n {
		return nil, fmt.Errorf("frames of length %d of a signal of shape %v with a window of %d", n, x.Shape(), len(weights))
	}
	frames, bins := (s[1]-n)/step+1, n
	if c.int("onesided", 1) != 0 {
		bins = n/2 + 1
	}
	shape := []int64{s[0], frames, bins, 2}
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	f, err := newFourier(c, int(n), false)
	if err != nil {
		return nil, err
	}
	signal, at := make([]complex128, n), 0
	for b := range int(s[0]) {
		for k := range int(frames) {
			for i := range signal {
				z := complexAt(v, b*int(s[1])+k*int(step)+i, int(s[2]))
				if weights != nil {
					z = complex(real(z)*weights[i], imag(z)*weights[i])
				}
				signal[i] = z
			}
			y, err := f.transform(c, signal)
			if err != nil {
				return nil, err
			}
			for _, z := range y[:bins] {
				r[at], r[at+1] = real(z), imag(z)
				at += 2
			}
		}
	}
	return one(convertFloats(c, x.DType(), shape, r))
}

// stftWindow is the frame length and the window, nil if there is none.
func stftWindow(c *Call) (n int64, weights []float64, err error) {
	w, err := c.Tensor(2)
	if err != nil {
		return 0, nil, err
	}
	if w != nil {
		if weights, err = floats(w); err != nil {
			return 0, nil, err
		}
		n = w.Len()
	}
	if v, ok, err := c.scalarInt(3); err != nil {
		return 0, nil, err
	} else if ok {
		n = v
	}
	return n, weights, nil
}

// melWeightMatrixOp maps the bins of a spectrum to overlapping triangles that are even on the mel scale.
func melWeightMatrixOp(c *Call) ([]ir.Datum, error) {
	var p [5]float64 // bins, DFT length, sample rate, lower and upper edge
	for i := range p {
		v, ok, err := c.scalarFloat(i)
		if err != nil || !ok {
			return nil, errors.Join(err, fmt.Errorf("operand %d is not one number", i))
		}
		p[i] = v
	}
	bins, length := int64(p[0]), int64(p[1])
	if bins < 0 || length < 0 {
		return nil, fmt.Errorf("%d bins and a DFT of length %d", bins, length)
	}
	shape := []int64{length/2 + 1, bins}
	v, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	mel := func(hz float64) float64 { return 2595 * fmath.Log1p(hz/700) / math.Ln10 }
	lo := mel(p[3])
	step := (mel(p[4]) - lo) / float64(bins+2)
	edge := make([]int64, bins+2)
	for i := range edge {
		hz := 700 * fmath.Expm1(float64((float64(float64(i)*step)+lo)/2595)*math.Ln10)
		e := math.Floor(float64((p[1]+1)*hz) / p[2])
		if !(e >= 0 && e <= float64(length/2)) {
			return nil, fmt.Errorf("frequency %g is not in the spectrum", hz)
		}
		edge[i] = int64(e)
	}
	for i := range bins {
		l, m, h := edge[i], edge[i+1], edge[i+2]
		if l == m {
			v[m*bins+i] = 1
		}
		for j := l; j <= m && l < m; j++ {
			v[j*bins+i] = float64(j-l) / float64(m-l)
		}
		for j := m; j < h; j++ {
			v[j*bins+i] = float64(h-j) / float64(h-m)
		}
	}
	return one(convertFloats(c, ir.DType(c.int("output_datatype", int64(ir.Float32))), shape, v))
}
