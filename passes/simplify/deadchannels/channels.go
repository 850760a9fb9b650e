package deadchannels

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// channels says which channels of a value are one number all over: value[e] of element e of a dimension, NaN where that is not known.
type channels struct {
	dim   int
	value []float64
}

// state is what is known of the values that were visited.
type state struct {
	facts *facts.Facts
	known map[*ir.Value]channels
}

// rank is the number of dimensions of v, 0 if it is not known.
func (s *state) rank(v *ir.Value) int {
	if t := v.Const(); t != nil {
		return t.Rank()
	}
	return len(s.facts.Shape(v))
}

// visit finds out what is known of n's first result.
func (s *state) visit(n *ir.Node) {
	if n.Result(0) == nil {
		return
	}
	if k, ok := s.result(n); ok {
		for _, x := range k.value {
			if !math.IsNaN(x) {
				s.known[n.Result(0)] = k
				return
			}
		}
	}
}

func (s *state) result(n *ir.Node) (channels, bool) {
	switch {
	case n.Is("Conv", "ConvTranspose", "Gemm", "MatMul"):
		return s.made(n)
	case n.Is("Relu", "LeakyRelu", "Identity", "Neg", "Abs", "HardSwish", "Clip", "Tanh", "Erf", "Sqrt"):
		return s.mapped(n)
	case n.Is("MaxPool", "GlobalAveragePool", "GlobalMaxPool", "AveragePool"):
		k, ok := s.known[n.Operand(0)]
		if !ok || k.dim > 1 || n.NumResults() > 1 {
			return k, false
		}
		if !n.Is("GlobalAveragePool", "GlobalMaxPool") { // pads, which are zeros or nothing, may take part
			k = k.only(0)
		}
		return k, true
	case n.Is("Transpose"):
		k, ok := s.known[n.Operand(0)]
		perm := n.Ints("perm")
		for d, p := range perm {
			if ok && int(p) == k.dim {
				return channels{d, k.value}, true
			}
		}
		return k, false
	case n.Is("BatchNormalization"):
		return s.normalized(n)
	case n.Is("Add", "Mul"):
		return s.combined(n)
	}
	return channels{}, false
}

// only forgets all numbers but one.
func (k channels) only(x float64) channels {
	v := make([]float64, len(k.value))
	for i, y := range k.value {
		if v[i] = math.NaN(); y == x {
			v[i] = y
		}
	}
	return channels{k.dim, v}
}

// made is what filters of zeros give: the bias.
func (s *state) made(n *ir.Node) (channels, bool) {
	dead := zeroFilters(n)
	if len(dead) == 0 {
		return channels{}, false
	}
	w := n.Operand(1).Const()
	k := channels{dim: 1}
	size := w.Shape()[0]
	switch {
	case n.Is("ConvTranspose"), n.Is("Gemm") && n.Int("transB", 0) == 0:
		size = w.Shape()[1]
	case n.Is("MatMul"):
		if size, k.dim = w.Shape()[1], s.rank(n.Operand(0))-1; k.dim < 0 {
			return k, false
		}
	}
	k.value = make([]float64, size)
	for i := range k.value {
		k.value[i] = math.NaN()
	}
	var bias []float64
	if b := n.Operand(2); b != nil {
		t := b.Const()
		if t == nil || t.Len() != size || n.Is("Gemm") && n.Float("beta", 1) != 1 || !weights.Supported(t.DType()) {
			return k, false
		}
		var err error
		if bias, err = weights.Floats(t); err != nil {
			return k, false
		}
	}
	for _, o := range dead {
		if k.value[o] = 0; bias != nil {
			k.value[o] = bias[o]
		}
	}
	return k, true
}

// mapped applies an elementwise operator to the numbers.
func (s *state) mapped(n *ir.Node) (channels, bool) {
	k, ok := s.known[n.Operand(0)]
	if !ok {
		return k, false
	}
	f := func(x float64) float64 { // what gives zero for zero
		if x == 0 {
			return 0
		}
		return math.NaN()
	}
	switch {
	case n.Is("Relu"):
		f = func(x float64) float64 { return max(x, 0) }
	case n.Is("Identity"):
		f = func(x float64) float64 { return x }
	case n.Is("Clip"):
		lo, hi, known := bounds(n)
		if !known || lo > 0 || hi < 0 {
			return k, false
		}
		f = func(x float64) float64 {
			if x == 0 || x <= lo && lo == 0 {
				return 0
			}
			return math.NaN()
		}
	}
	r := channels{k.dim, make([]float64, len(k.value))}
	for i, x := range k.value {
		if r.value[i] = x; !math.IsNaN(x) {
			r.value[i] = f(x)
		}
	}
	return r, true
}

// bounds are those of a Clip; known is false if one is computed.
func bounds(n *ir.Node) (lo, hi float64, known bool) {
	lo, hi = float64(n.Float("min", float32(math.Inf(-1)))), float64(n.Float("max", float32(math.Inf(1))))
	for i, p := range []*float64{&lo, &hi} {
		if n.Operand(i+1) == nil {
			continue
		}
		t := n.Operand(i + 1).Const()
		if t == nil || !weights.Supported(t.DType()) || t.Len() != 1 {
			return 0, 0, false
		}
		v, err := weights.Floats(t)
		if err != nil {
			return 0, 0, false
		}
		*p = v[0]
	}
	return lo, hi, true
}

// normalized keeps zeros that the normalization maps to zero exactly: those whose mean and bias are zero.
func (s *state) normalized(n *ir.Node) (channels, bool) {
	k, ok := s.known[n.Operand(0)]
	if !ok || k.dim != 1 || n.NumResults() > 1 {
		return k, false
	}
	p, err := affine.ReadNorm(n, int64(len(k.value)))
	if err != nil {
		return k, false
	}
	scale, _ := p.Affine()
	bias, mean := n.Operand(2).Const(), n.Operand(3).Const()
	if bias == nil || mean == nil {
		return k, false
	}
	b, err1 := weights.Floats(bias)
	m, err2 := weights.Floats(mean)
	if err1 != nil || err2 != nil {
		return k, false
	}
	r := channels{1, make([]float64, len(k.value))}
	for i, x := range k.value {
		if r.value[i] = math.NaN(); x == 0 && b[i] == 0 && m[i] == 0 && !math.IsNaN(scale[i]) && !math.IsInf(scale[i], 0) {
			r.value[i] = 0
		}
	}
	return r, true
}

// combined: a sum of zeros is zero, and so is a product of zero with what lies between bounds or is a finite constant.
func (s *state) combined(n *ir.Node) (channels, bool) {
	a, b := n.Operand(0), n.Operand(1)
	ka, oka := s.known[a]
	kb, okb := s.known[b]
	if !oka && okb {
		a, b, ka, kb, oka, okb = b, a, kb, ka, okb, oka
	}
	if !oka {
		return ka, false
	}
	if n.Is("Mul") && s.rank(a) > 0 && s.rank(b) <= s.rank(a) && limited(b) {
		return ka.only(0), true
	}
	if !okb || ka.dim != kb.dim || len(ka.value) != len(kb.value) || !n.Is("Add") || s.rank(a) != s.rank(b) || s.rank(a) == 0 {
		return ka, false
	}
	r := channels{ka.dim, make([]float64, len(ka.value))}
	for i := range r.value {
		if r.value[i] = math.NaN(); ka.value[i] == 0 && kb.value[i] == 0 {
			r.value[i] = 0
		}
	}
	return r, true
}

// limited reports whether v is surely finite.
func limited(v *ir.Value) bool {
	if t := v.Const(); t != nil && weights.Supported(t.DType()) && t.Len() <= 1<<16 {
		w, err := weights.Floats(t)
		for _, x := range w {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return false
			}
		}
		return err == nil
	}
	return v.Node() != nil && v.Node().Is("Sigmoid", "HardSigmoid")
}
