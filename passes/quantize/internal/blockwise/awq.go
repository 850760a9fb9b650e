package blockwise

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// exponents are those that the search for factors tries.
var exponents = [...]float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}

// factors finds for the weights that multiply one input what to multiply each of its weights with, so that inputs that are large are
// rounded more finely (Lin et al. 2023): the mean magnitude of the input to the power that gives the least error of the outputs. nil: no
// power is better than none.
func factors(ms []*matrix, specs []Spec, s *Stats, pool *par.Pool) ([]float32, error) {
	var best []float32
	least := math.Inf(1)
	for _, a := range exponents {
		f := powers(s, a)
		sum := 0.0
		for i, m := range ms {
			scaled := *m
			scaled.factor = f
			sol, err := nearest(&scaled, specs[i], nil, pool)
			if err != nil {
				return nil, err
			}
			l, err := s.loss(&scaled, specs[i], sol, pool)
			if err != nil {
				return nil, err
			}
			sum += l
		}
		if sum < least {
			least, best = sum, f
		}
	}
	return best, nil
}

// powers are the mean magnitudes of the inputs to a power, around 1; nil for the power 0.
func powers(s *Stats, a float64) []float32 {
	if a == 0 {
		return nil
	}
	f := make([]float32, s.K)
	lo, hi := math.Inf(1), 0.0
	for i, x := range s.Abs {
		p := math.Pow(math.Max(x/float64(max(s.Rows, 1)), 1e-4), a)
		f[i] = float32(p)
		lo, hi = math.Min(lo, p), math.Max(hi, p)
	}
	mid := float32(math.Sqrt(lo * hi))
	for i := range f {
		f[i] = min(max(f[i]/mid, 1e-3), 1e3)
	}
	return f
}

// divide makes x/f for the nodes that multiply it: in the constants of what computes x if nobody else sees it, otherwise by a Mul.
func divide(x *ir.Value, f []float32, nodes map[*ir.Node]bool, at *ir.Node) {
	inverse := make([]float32, len(f))
	for i := range f {
		inverse[i] = 1 / f[i]
	}
	g := x.Graph()
	if n := x.Node(); n != nil && n.Is("LayerNormalization") && n.Int("axis", -1) == -1 && private(x, nodes) {
		if s, ok := times(n.Operand(1), inverse); ok {
			if n.Operand(2) == nil {
				n.SetOperand(1, g.Const(s))
				return
			}
			if b, ok := times(n.Operand(2), inverse); ok {
				n.SetOperand(1, g.Const(s))
				n.SetOperand(2, g.Const(b))
				return
			}
		}
	}
	near := at
	if x.Node() != nil {
		near = x.Node()
	}
	y := g.New(near, ir.Op("Mul"), []*ir.Value{x, g.Const(ir.TensorOf(inverse))}).Result(0)
	y.SetType(x.Type())
	x.ReplaceUsesIf(y, func(u ir.Use) bool { return nodes[u.Node] && u.Index == 0 })
}

// private reports whether only nodes use x.
func private(x *ir.Value, nodes map[*ir.Node]bool) bool {
	for u := range x.Uses() {
		if !nodes[u.Node] || u.Index != 0 {
			return false
		}
	}
	return true
}

// times multiplies a constant vector.
func times(v *ir.Value, f []float32) (*ir.Tensor, bool) {
	t := v.Const()
	if t == nil || t.DType() != ir.Float32 || t.Len() != int64(len(f)) {
		return nil, false
	}
	x, err := ir.Elements[float32](t)
	if err != nil {
		return nil, false
	}
	r := make([]float32, len(x))
	for i := range x {
		r[i] = x[i] * f[i]
	}
	return ir.TensorOf(r, t.Shape()...), true
}
