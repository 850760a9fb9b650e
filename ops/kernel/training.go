package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// trained is one tensor under optimization with what belongs to it: its value X, gradient G (with the regularization
// norm_coefficient*X added) and the optimizer's states.
type trained struct {
	tensor *ir.Tensor
	x, g   []float64
	states [][]float64
}

// optimizer reads the operands of an optimizer of ai.onnx.preview.training: the learning rate R, the update count T, then all X,
// all G and all of each state, and lets update change each tensor. The results are all X, then all of each state.
func optimizer(c *Call, states int, update func(p trained, rate, count float64)) ([]ir.Datum, error) {
	rate, ok, err := c.scalarFloat(0)
	if err != nil {
		return nil, err
	}
	count, okT, err := c.scalarInt(1)
	if err != nil {
		return nil, err
	}
	lists := 2 + states
	if !ok || !okT || len(c.In) < 2+lists || (len(c.In)-2)%lists != 0 {
		return nil, fmt.Errorf("%d operands where the learning rate, the update count and %d lists of one length are needed", len(c.In), lists)
	}
	n := (len(c.In) - 2) / lists
	norm := float64(c.float("norm_coefficient", 0))
	res := make([]ir.Datum, n*(1+states))
	for i := range n {
		p, err := readTrained(c, i, n, lists)
		if err != nil {
			return nil, err
		}
		for k, x := range p.x {
			p.g[k] += float64(norm * x)
		}
		update(p, rate, float64(count))
		for k, v := range append([][]float64{p.x}, p.states...) {
			if res[k*n+i], err = convertFloats(c, p.tensor.DType(), p.tensor.Shape(), v); err != nil {
				return nil, err
			}
		}
	}
	return res[:min(len(res), len(c.Out))], nil
}

func readTrained(c *Call, i, n, lists int) (p trained, err error) {
	for k := range lists {
		t, err := c.Need(2 + k*n + i)
		if err != nil {
			return p, err
		}
		if k == 0 {
			p.tensor = t
		}
		if t.DType() != p.tensor.DType() || t.DType() != ir.Float32 && t.DType() != ir.Float64 || !slices.Equal(t.Shape(), p.tensor.Shape()) {
			return p, c.badOperand(2+k*n+i, t)
		}
		v, err := floats(t)
		if err != nil {
			return p, err
		}
		v = slices.Clone(v)
		switch k {
		case 0:
			p.x = v
		case 1:
			p.g = v
		default:
			p.states = append(p.states, v)
		}
	}
	return p, nil
}

// adagradOp: H += G*G; X -= R/(1 + T*decay_factor) * G / (sqrt(H) + epsilon). Duchi, Hazan and Singer, "Adaptive Subgradient
// Methods" (JMLR 12, 2011).
func adagradOp(c *Call) ([]ir.Datum, error) {
	decay, epsilon := float64(c.float("decay_factor", 0)), float64(c.float("epsilon", 1e-6))
	return optimizer(c, 1, func(p trained, rate, count float64) {
		r := rate / (1 + float64(count*decay))
		h := p.states[0]
		for i, g := range p.g {
			h[i] += float64(g * g)
			p.x[i] -= float64(r*g) / (math.Sqrt(h[i]) + epsilon)
		}
	})
}

// momentumOp: V = alpha*V + beta*G, with 1 for beta in the first update; X -= R*V, or in mode nesterov R*(G + alpha*V).
func momentumOp(c *Call) ([]ir.Datum, error) {
	alpha, beta, mode := float64(c.float("alpha", 0)), float64(c.float("beta", 0)), c.str("mode", "")
	if mode != "standard" && mode != "nesterov" {
		return nil, fmt.Errorf("unknown mode %q", mode)
	}
	return optimizer(c, 1, func(p trained, rate, count float64) {
		b := beta
		if count <= 0 {
			b = 1
		}
		v := p.states[0]
		for i, g := range p.g {
			v[i] = float64(alpha*v[i]) + float64(b*g)
			step := v[i]
			if mode == "nesterov" {
				step = g + float64(alpha*v[i])
			}
			p.x[i] -= float64(rate * step)
		}
	})
}

// adamOp: V and H are the running means of G and G*G; X -= R*V / (sqrt(H) + epsilon), with R corrected for the means' start
// from the second update on, and X is then shrunk by norm_coefficient_post. Kingma and Ba, "Adam" (ICLR 2015).
func adamOp(c *Call) ([]ir.Datum, error) {
	alpha, beta := float64(c.float("alpha", 0.9)), float64(c.float("beta", 0.999))
	epsilon, post := float64(c.float("epsilon", 1e-6)), float64(c.float("norm_coefficient_post", 0))
	return optimizer(c, 2, func(p trained, rate, count float64) {
		r := rate
		if count > 0 {
			r = float64(rate*math.Sqrt(1-fmath.Pow(beta, count))) / (1 - fmath.Pow(alpha, count))
		}
		v, h := p.states[0], p.states[1]
		for i, g := range p.g {
			v[i] = float64(alpha*v[i]) + float64((1-alpha)*g)
			h[i] = float64(beta*h[i]) + float64((1-beta)*float64(g*g))
			x := p.x[i] - float64(r*v[i])/(math.Sqrt(h[i])+epsilon)
			p.x[i] = float64((1 - post) * x)
		}
	})
}
