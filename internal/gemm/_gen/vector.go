package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wide selects registers of 16 elements (AVX-512) rather than 8 (AVX2) for the functions emitted next.
var wide bool

func vector() reg.VecVirtual {
	if wide {
		return ZMM()
	}
	return YMM()
}

func vectorBytes() int {
	if wide {
		return 64
	}
	return 32
}

// A lanes value is the same quantity of several independent vectors, whose instructions are interleaved to hide latency.
type lanes []reg.VecVirtual

// each returns fresh registers set by f from those of a.
func (a lanes) each(f func(x, out reg.VecVirtual)) lanes {
	out := make(lanes, len(a))
	for i, x := range a {
		out[i] = vector()
		f(x, out[i])
	}
	return out
}

func (a lanes) op(f func(ops ...Op), b Op) lanes { // f(a, b), b in memory or a register
	return a.each(func(x, out reg.VecVirtual) { f(b, x, out) })
}

func (a lanes) op2(f func(ops ...Op), b lanes) lanes {
	out := make(lanes, len(a))
	for i := range a {
		out[i] = vector()
		f(b[i], a[i], out[i])
	}
	return out
}

func (a lanes) copy() lanes { return a.each(func(x, out reg.VecVirtual) { VMOVAPS(x, out) }) }

// horner evaluates the polynomial with the given coefficients, highest first, at a.
func (a lanes) horner(start lanes, coefficients ...float32) lanes {
	p := start
	for _, c := range coefficients {
		c := constant(c)
		for i := range p {
			VFMADD213PS(c, a[i], p[i])
		}
	}
	return p
}

// filled returns registers of a constant.
func (a lanes) filled(c float32) lanes {
	return a.each(func(_, out reg.VecVirtual) { VMOVUPS(constant(c), out) })
}

var constants = map[uint32]Mem{}

// constant returns copies of c: eight in memory, or, since the linker aligns nothing to 64 bytes, sixteen in a fresh register.
func constant(c float32) Op { return bits(math.Float32bits(c)) }

func bits(b uint32) Op {
	m, ok := constants[b]
	if !ok {
		m = GLOBL(fmt.Sprintf("vector%08x", b), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(b))
		}
		constants[b] = m
	}
	if !wide {
		return m
	}
	r := ZMM()
	VBROADCASTSS(m, r)
	return r
}

// exp: Cody and Waite's reduction by multiples of ln 2 and the polynomial of Cephes' expf; about one unit in the last place. The
// scaling is in two steps, so that results may be infinite or subnormal.
func exp(x lanes) lanes {
	x = x.each(func(x, out reg.VecVirtual) { // NaN stays: it is the second source
		VMOVUPS(constant(89), out)
		VMINPS(x, out, out)
	})
	low := vector()
	VMOVUPS(constant(-104), low)
	for _, v := range x {
		VMAXPS(v, low, v)
	}
	n := x.op(VMULPS, constant(math.Log2E))
	for _, v := range n {
		if wide {
			VRNDSCALEPS(Imm(8), v, v)
		} else {
			VROUNDPS(Imm(8), v, v)
		}
	}
	for i := range x {
		VFNMADD231PS(constant(0.693359375), n[i], x[i])
		VFNMADD231PS(constant(-2.12194440e-4), n[i], x[i])
	}
	p := x.horner(x.filled(1.9875691500e-4), 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	for i := range p {
		VMULPS(x[i], p[i], p[i])
		VFMADD213PS(x[i], x[i], p[i])
		VADDPS(constant(1), p[i], p[i])
	}
	for i := range n {
		if wide {
			VSCALEFPS(n[i], p[i], p[i])
			continue
		}
		half := x[i] // done with
		VCVTPS2DQ(n[i], n[i])
		VPSRAD(Imm(1), n[i], half)
		VPSUBD(half, n[i], n[i])
		for _, e := range []reg.VecVirtual{half, n[i]} {
			VPADDD(bits(127), e, e)
			VPSLLD(Imm(23), e, e)
			VMULPS(e, p[i], p[i])
		}
	}
	return p
}

// reciprocal1p returns c/(1+x).
func reciprocal1p(c float32, x lanes) lanes {
	for _, v := range x {
		VADDPS(constant(1), v, v)
	}
	return x.each(func(x, out reg.VecVirtual) {
		VMOVUPS(constant(c), out)
		VDIVPS(x, out, out)
	})
}

func sigmoid(x lanes) lanes { return reciprocal1p(1, exp(x.op(VXORPS, bits(1<<31)))) }

// signedBlend returns small where |x| < bound and big with the sign of x elsewhere.
func signedBlend(x, small, big lanes, bound float32) lanes {
	for i := range x {
		t := vector()
		VANDPS(bits(1<<31), x[i], t)
		VORPS(t, big[i], big[i])
		VANDPS(bits(1<<31-1), x[i], x[i])
		if wide {
			k := K()
			VCMPPS(Imm(0x11), constant(bound), x[i], k)
			VMOVAPS(small[i], k, big[i])
			continue
		}
		VCMPPS(Imm(0x11), constant(bound), x[i], t) // less than, false for NaN
		VBLENDVPS(t, small[i], big[i], big[i])
	}
	return big
}

// tanh: an odd polynomial below 0.6, 1 - 2/(exp(2|x|)+1) above.
func tanh(x lanes) lanes {
	s := x.op2(VMULPS, x)
	small := s.horner(s.filled(1.57394409e-2), -5.23025580e-2, 1.33152470e-1, -3.33327681e-1)
	for i := range small {
		VMULPS(s[i], small[i], small[i])
		VFMADD213PS(x[i], x[i], small[i])
	}
	big := x.op(VANDPS, bits(1<<31-1))
	for i := range big {
		VADDPS(big[i], big[i], big[i])
	}
	big = reciprocal1p(-2, exp(big)).op(VADDPS, constant(1))
	return signedBlend(x, small, big, 0.6)
}

// erf: an odd polynomial below 0.9277, 1 - exp(q(|x|)) above, q a polynomial; the coefficients are N. Juffa's.
func erf(x lanes) lanes {
	s := x.op2(VMULPS, x)
	small := s.horner(s.filled(-5.96761703e-4), 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
	for i := range small {
		VFMADD213PS(x[i], x[i], small[i])
	}
	t := x.op(VANDPS, bits(1<<31-1))
	q := t.horner(t.filled(-1.72853470e-5), 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1)
	for i := range q { // q*t - t
		VFMSUB213PS(t[i], t[i], q[i])
	}
	big := exp(q)
	for i := range big {
		v := vector()
		VMOVUPS(constant(1), v)
		VSUBPS(big[i], v, big[i])
	}
	return signedBlend(x, small, big, 0.927734375)
}

func gelu(x lanes) lanes {
	e := erf(x.op(VMULPS, constant(math.Sqrt2/2)))
	for i := range e {
		VADDPS(constant(1), e[i], e[i])
		VMULPS(constant(0.5), x[i], x[i])
		VMULPS(x[i], e[i], e[i])
	}
	return e
}

func silu(x lanes) lanes { return sigmoid(x.copy()).op2(VMULPS, x) }

// within limits x to lo..hi; NaN stays.
func within(x lanes, lo, hi Op) lanes {
	for _, c := range []struct {
		f     func(ops ...Op)
		bound Op
	}{{VMAXPS, lo}, {VMINPS, hi}} {
		b := vector()
		VMOVUPS(c.bound, b)
		for _, v := range x {
			c.f(v, b, v)
		}
	}
	return x
}

func hardSigmoid(x lanes, alpha, beta Op) lanes {
	y := x.each(func(x, out reg.VecVirtual) {
		VMULPS(alpha, x, out)
		VADDPS(beta, out, out)
	})
	return within(y, constant(0), constant(1))
}

// maximum sets out to the greater of x and memory, NaN if one is, and +0 of zeros of both signs; the instruction alone gives its
// last source in those cases.
func maximum(ops ...Op) {
	memory, x, out := ops[0], ops[1], ops[2]
	y, equal, both, odd := YMM(), YMM(), YMM(), YMM()
	VMOVUPS(memory, y)
	VCMPPS(Imm(0), y, x, equal)
	VANDPS(y, x, both)
	VCMPPS(Imm(3), x, x, odd) // unordered
	VMAXPS(y, x, y)
	VBLENDVPS(equal, both, y, y)
	VBLENDVPS(odd, x, y, out)
}

func vectors() {
	for _, wide = range []bool{true, false} {
		unary("exp", 0, func(x lanes, _ []Op) lanes { return exp(x) })
		unary("sigmoid", 0, func(x lanes, _ []Op) lanes { return sigmoid(x) })
		unary("tanh", 0, func(x lanes, _ []Op) lanes { return tanh(x) })
		unary("erf", 0, func(x lanes, _ []Op) lanes { return erf(x) })
		unary("gelu", 0, func(x lanes, _ []Op) lanes { return gelu(x) })
		unary("silu", 0, func(x lanes, _ []Op) lanes { return silu(x) })
		expSum()
	}
	unary("clip", 2, func(x lanes, p []Op) lanes { return within(x, p[0], p[1]) })
	unary("hardSigmoid", 2, func(x lanes, p []Op) lanes { return hardSigmoid(x, p[0], p[1]) })
	unary("hardSwish", 2, func(x lanes, p []Op) lanes { return hardSigmoid(x, p[0], p[1]).op2(VMULPS, x) })
	unary("standardize", 5, func(x lanes, p []Op) lanes {
		return within(x.op(VSUBPS, p[0]).op(VMULPS, p[1]).op(VADDPS, p[2]), p[3], p[4])
	})
	for _, f := range []struct {
		name string
		op   func(ops ...Op)
	}{{"add", VADDPS}, {"sub", VSUBPS}, {"mul", VMULPS}, {"div", VDIVPS}} {
		binary(f.name, f.op)
		unary(f.name+"Scalar", 1, func(x lanes, p []Op) lanes { return x.op(f.op, p[0]) })
	}
	binary("maximum", maximum)
	reduce("sum", 0, 0, func(x, acc lanes, _ []Op) {
		for i := range x {
			VADDPS(x[i], acc[i], acc[i])
		}
	}, VADDPS)
	reduce("maximum", 0, float32(math.Inf(-1)), func(x, acc lanes, _ []Op) {
		for i := range x {
			VMAXPS(x[i], acc[i], acc[i])
		}
	}, VMAXPS)
	reduce("squares", 1, 0, func(x, acc lanes, p []Op) {
		for i := range x {
			VSUBPS(p[0], x[i], x[i])
			VFMADD231PS(x[i], x[i], acc[i])
		}
	}, VADDPS)
	normalize()
}
