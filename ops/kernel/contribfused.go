package kernel

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// fusedConvOp is activation(Conv(X, W) + B + Z) with B and Z optional; activation_params are in order those of the activation.
func fusedConvOp(c *Call) ([]ir.Datum, error) {
	params := c.Attr("activation_params").Floats()
	act, err := fusedActivation(c.str("activation", ""), params)
	if err != nil {
		return nil, err
	}
	out, err := convOp(c)
	if err != nil {
		return nil, err
	}
	y := out[0].(*ir.Tensor)
	v, err := c.floats(y)
	if err != nil {
		return nil, err
	}
	z, err := c.Tensor(3)
	if err != nil {
		return nil, err
	}
	if z != nil {
		if z.DType() != y.DType() || !slices.Equal(z.Shape(), y.Shape()) {
			return nil, c.badOperand(3, z)
		}
		zv, err := c.floats(z)
		if err != nil {
			return nil, err
		}
		sums, err := alloc[float64](c, y.Shape())
		if err != nil {
			return nil, err
		}
		for i := range v {
			sums[i] = roundFloat(y.DType(), v[i]+zv[i])
		}
		v = sums
	}
	return one(activate(c, y, v, act))
}

// activate makes a tensor like y of act(v).
func activate(c *Call, y *ir.Tensor, v []float64, act func(float64) float64) (*ir.Tensor, error) {
	r, err := alloc[float64](c, y.Shape())
	if err != nil {
		return nil, err
	}
	for i, x := range v {
		if r[i] = act(x); i%1024 == 0 {
			if err := c.tick(1024 * 16); err != nil {
				return nil, err
			}
		}
	}
	return convertFloats(c, y.DType(), y.Shape(), r)
}

// fusedActivation is the activation of that name with parameters in order; those that are missing have the operator's defaults.
func fusedActivation(name string, params []float32) (func(float64) float64, error) {
	param := func(i int, def float64) float64 {
		if i < len(params) {
			return float64(params[i])
		}
		return def
	}
	switch name {
	case "":
		return func(x float64) float64 { return x }, nil
	case "Clip":
		lo, hi := param(0, math.Inf(-1)), param(1, math.Inf(1))
		return func(x float64) float64 { return max(lo, min(hi, x)) }, nil
	case "Selu":
		alpha, gamma := param(0, 1.67326319217681884765625), param(1, 1.05070102214813232421875)
		return func(x float64) float64 {
			if x > 0 {
				return gamma * x
			}
			return gamma * float64(alpha*fmath.Expm1(x))
		}, nil
	case "Celu":
		alpha := param(0, 1)
		return func(x float64) float64 { return max(0, x) + min(0, float64(alpha*fmath.Expm1(x/alpha))) }, nil
	}
	i := 0
	next := func(def float64) float64 { i++; return param(i-1, def) }
	f, err := activation(strings.ToLower(name), next, next)
	if err != nil {
		return nil, fmt.Errorf("activation %q: %w", name, err)
	}
	return f, nil
}

// fusedGemmOp is activation(Gemm).
func fusedGemmOp(c *Call) ([]ir.Datum, error) {
	var params []float32
	for _, name := range []string{"activation_alpha", "activation_beta", "activation_gamma"} {
		if a := c.Attr(name); a != nil {
			params = append(params, a.Float())
		}
	}
	act, err := fusedActivation(c.str("activation", ""), params)
	if err != nil {
		return nil, err
	}
	out, err := gemmOp(c)
	if err != nil {
		return nil, err
	}
	y := out[0].(*ir.Tensor)
	v, err := c.floats(y)
	if err != nil {
		return nil, err
	}
	return one(activate(c, y, v, act))
}

// fusedMatMulOp is alpha*A'*B'. trans swaps the last two axes; transBatch before that moves the first axis behind the batch's.
func fusedMatMulOp(c *Call) ([]ir.Datum, error) {
	var in [2]*ir.Tensor
	for i, name := range []string{"A", "B"} {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		if in[i], err = fusedTranspose(c, t, c.int("transBatch"+name, 0) != 0, c.int("trans"+name, 0) != 0); err != nil {
			return nil, err
		}
	}
	a, b := in[0], in[1]
	if a.DType() != b.DType() {
		return nil, c.badOperand(1, b)
	}
	switch a.DType() {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return scaledMatMul[float32](c, a, b)
	case ir.Float64:
		return scaledMatMul[float64](c, a, b)
	}
	return nil, c.badType(a.DType())
}

func fusedTranspose(c *Call, t *ir.Tensor, batch, last bool) (*ir.Tensor, error) {
	n := t.Rank()
	if n < 2 || !batch && !last {
		return t, nil
	}
	perm := make([]int64, n)
	for i := range perm {
		perm[i] = int64(i)
	}
	if batch {
		copy(perm, perm[1:n-1])
		perm[n-2] = 0
	}
	if last {
		perm[n-2], perm[n-1] = perm[n-1], perm[n-2]
	}
	return transpose(c, t, perm)
}

func scaledMatMul[T float](c *Call, a, b *ir.Tensor) ([]ir.Datum, error) {
	r, shape, err := multiplied[T](c, a, b)
	if err != nil {
		return nil, err
	}
	alpha := T(c.float("alpha", 1))
	for i := range r {
		r[i] = T(alpha * r[i])
	}
	return one(pack(a.DType(), shape, r), nil)
}

// biasGeluOp is Gelu(A + B) with B a vector.
func biasGeluOp(c *Call) ([]ir.Datum, error) { return biased(c, fmath.Gelu) }

// fastGeluOp is the tanh approximation of Gelu(X + bias); the bias is optional.
func fastGeluOp(c *Call) ([]ir.Datum, error) { return biased(c, fmath.GeluTanh) }

// quickGeluOp is x * sigmoid(alpha*x).
func quickGeluOp(c *Call) ([]ir.Datum, error) { return swish(c, float64(c.float("alpha", 1.702))) }

// biased is f(operand 0 + operand 1), the second a vector that may be omitted.
func biased(c *Call, f func(float64) float64) ([]ir.Datum, error) {
	b, err := c.Tensor(1)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return mapFloat(c, f)
	}
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if !x.DType().IsFloat() || b.DType() != x.DType() || b.Rank() != 1 {
		return nil, c.badOperand(1, b)
	}
	bias, err := c.rowParam(1, x.Shape(), 0)
	if err != nil {
		return nil, err
	}
	v, err := c.floats(x)
	if err != nil {
		return nil, err
	}
	sums, err := alloc[float64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range v {
		sums[i] = roundFloat(x.DType(), e+bias(i))
	}
	return one(activate(c, x, sums, f))
}
