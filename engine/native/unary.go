package native

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// unaryExecutors are the executors of elementwise functions of one operand.
func unaryExecutors() map[string]prepare {
	plain := func(f func(dst, src []float32)) prepare {
		return func(*site) executor { return elementwise(f) }
	}
	return map[string]prepare{
		"Sigmoid": plain(gemm.Sigmoid), "Tanh": plain(gemm.Tanh), "Exp": plain(gemm.Exp), "Erf": plain(gemm.Erf),
		"Sqrt": plain(sqrt), "Neg": plain(neg), "HardSwish": plain(hardSwish), "HardSigmoid": prepareHardSigmoid,
		"LeakyRelu": prepareLeakyRelu,
	}
}

// elementwise applies f, which may work in place and gives an element the same bits wherever it stands.
func elementwise(f func(dst, src []float32)) executor {
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.float(0)
		if !ok {
			return nil, false
		}
		r, ok := t.over(0)
		if !ok {
			return nil, false
		}
		t.split(len(v), func(from, to int) { f(r[from:to], v[from:to]) })
		return result(r, x.Shape())
	}
}

func sqrt(dst, src []float32) {
	for i, e := range src {
		dst[i] = float32(math.Sqrt(float64(e)))
	}
}

func neg(dst, src []float32) {
	for i, e := range src {
		dst[i] = -e
	}
}

// hardSwish gives zero for -Inf, as the kernel does, where the product of its factors would be NaN.
func hardSwish(dst, src []float32) {
	gemm.Clip(dst, src, -math.MaxFloat32, float32(math.Inf(1)))
	gemm.HardSwish(dst, dst)
}

func prepareHardSigmoid(s *site) executor {
	alpha, beta := s.Float("alpha", 0.2), s.Float("beta", 0.5)
	return elementwise(func(dst, src []float32) { gemm.HardSigmoid(dst, src, alpha, beta) })
}

func prepareLeakyRelu(s *site) executor {
	alpha := s.Float("alpha", 0.01)
	return elementwise(func(dst, src []float32) {
		for i, e := range src {
			if e < 0 {
				e *= alpha
			}
			dst[i] = e
		}
	})
}

// preparePow squares where the exponent is one number 2, constant or not. Other exponents are the kernel's.
func preparePow(*site) executor {
	square := elementwise(func(dst, src []float32) { gemm.Mul(dst, src, src) })
	return func(t *task) (*ir.Tensor, bool) {
		x, _, ok := t.float(0)
		y, e, okY := t.float(1)
		if !ok || !okY || len(e) != 1 || e[0] != 2 || y.Rank() > x.Rank() {
			return nil, false
		}
		return square(t)
	}
}
