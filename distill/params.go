package distill

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// kind is what a parameter is.
type kind int

const (
	weight    kind = iota
	quantizer      // a scale of QuantizeLinear and DequantizeLinear
	statistic      // a running mean or variance, which has no derivative
)

// param is a parameter in training. All slices but shape have an element for each of its elements, or are nil.
type param struct {
	name  string // of the initializer of the model in training, and the input of a step
	kind  kind
	shape []int64
	v     []float32
	m, s  []float32 // moments
	mean  []float32 // moving average
	best  []float32 // weights of the best epoch, if it is not the last
	zero  []bool    // what stays zero
}

// operands calls f for the operands of m's nodes that may be weights: those of products, convolutions, normalizations and recurrent layers,
// and their biases. The means and variances of batch normalization are none.
func operands(m *ir.Model, f func(n *ir.Node, i int)) {
	for _, n := range m.Main.NodeList() {
		from, to := 0, n.NumOperands()
		switch {
		case n.Is("MatMul", "Gemm", "Add", "Mul", "PRelu"):
		case n.Is("Conv", "ConvTranspose", "LayerNormalization"):
			from = 1
		case n.Is("BatchNormalization"):
			from, to = 1, 3
		case n.Is("GRU", "LSTM"):
			from, to = 1, min(to, 4)
		default:
			continue
		}
		for i := from; i < to; i++ {
			if v := n.Operand(i); v != nil && v.Const() != nil && v.Const().DType() == ir.Float32 && v.Const().Rank() > 0 {
				f(n, i)
			}
		}
	}
}

// trainable lists the float32 weights of m.
func trainable(m *ir.Model) []*ir.Value {
	var r []*ir.Value
	seen := map[*ir.Value]bool{}
	operands(m, func(n *ir.Node, i int) {
		if v := n.Operand(i); v.IsInitializer() && !seen[v] && v.Name() != "" {
			seen[v] = true
			r = append(r, v)
		}
	})
	return r
}

// hoist makes named initializers of weights that nodes hold, and of those without a name.
func hoist(m *ir.Model) {
	operands(m, func(n *ir.Node, i int) {
		v := n.Operand(i)
		if v.IsInitializer() && v.Name() != "" {
			return
		}
		node := v.Node()
		if node != nil && !node.Is("Constant") || v.IsOutput() {
			return
		}
		name := v.Name()
		if v.SetName(""); name == "" {
			name = fmt.Sprintf("%s.weight%d", n.Op().Type, i)
		}
		v.ReplaceUses(m.Main.NamedConst(fresh(m, name), v.Const()))
		if node != nil {
			m.Main.Erase(node)
		} else {
			m.Main.EraseConst(v)
		}
	})
}

// read makes a parameter of an initializer.
func read(v *ir.Value, k kind) (*param, error) {
	e, err := ir.Elements[float32](v.Const())
	if err != nil {
		return nil, err
	}
	return &param{name: v.Name(), kind: k, shape: v.Const().Shape(), v: slices.Clone(e)}, nil
}

// keepZeros marks what pruning has left: zeros beside other numbers.
func (w *param) keepZeros() {
	zeros := 0
	for _, x := range w.v {
		if x == 0 {
			zeros++
		}
	}
	if w.kind != weight || len(w.shape) < 2 || zeros == 0 || zeros == len(w.v) {
		return
	}
	w.zero = make([]bool, len(w.v))
	for i, x := range w.v {
		w.zero[i] = x == 0
	}
}

// draw begins from random weights (He et al., arXiv 1502.01852): biases are 0, scales of normalizations 1. u is where the weight is used.
func (w *param) draw(u ir.Use, r *rand.Rand) {
	fan := 0
	switch n := u.Node; {
	case n.Is("Conv") && u.Index == 1, n.Is("Gemm") && u.Index == 1 && n.Int("transB", 0) != 0:
		fan = len(w.v) / int(max(w.shape[0], 1))
	case n.Is("MatMul", "Gemm", "ConvTranspose") && u.Index < 2 && len(w.shape) > 1:
		fan = int(w.shape[len(w.shape)-2])
	case n.Is("GRU", "LSTM") && u.Index < 3: // [directions, gates, inputs]; half, for what saturates
		fan = 2 * int(w.shape[2])
	}
	for i := range w.v {
		switch {
		case fan > 0:
			w.v[i] = float32(r.NormFloat64() * math.Sqrt(2/float64(fan)))
		case u.Node.Is("BatchNormalization", "LayerNormalization", "Mul") && u.Index == 1:
			w.v[i] = 1
		default:
			w.v[i] = 0
		}
	}
}

// finite says where a number is none.
func (w *param) finite() error {
	if slices.ContainsFunc(w.v, func(x float32) bool { return x-x != 0 }) {
		return fmt.Errorf("the weight %q is no longer a number", w.name)
	}
	return nil
}

// named is the initializer of that name, nil if there is none.
func named(m *ir.Model, name string) *ir.Value {
	for _, v := range m.Main.Consts() {
		if v.Name() == name {
			return v
		}
	}
	return nil
}

// fresh is a name like the given one that no initializer and no part of the interface has.
func fresh(m *ir.Model, name string) string {
	taken := func(n string) bool {
		for _, s := range append(m.Main.Inputs(), m.Main.Outputs()...) {
			if s.Name() == n {
				return true
			}
		}
		return named(m, n) != nil
	}
	for taken(name) {
		name += "_"
	}
	return name
}

// replace gives an initializer other contents.
func replace(m *ir.Model, old *ir.Value, t *ir.Tensor) {
	name := old.Name()
	old.SetName("")
	old.ReplaceUses(m.Main.NamedConst(name, t))
	m.Main.EraseConst(old)
}
