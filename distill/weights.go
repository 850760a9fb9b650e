package distill

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// weights reads the parameters, or draws them (He et al., arXiv 1502.01852): biases are then 0, scales of normalizations 1.
func weights(m *ir.Model, names []string, draw bool, r *rand.Rand) ([]*weight, error) {
	var ws []*weight
	for _, name := range names {
		v := named(m, name)
		e, err := ir.Elements[float32](v.Const())
		if err != nil {
			return nil, err
		}
		w := &weight{name: name, shape: v.Const().Shape(), v: slices.Clone(e)}
		if draw {
			w.draw(v.Use(0), r)
		}
		ws = append(ws, w)
	}
	return ws, nil
}

func (w *weight) draw(u ir.Use, r *rand.Rand) {
	fan := 0
	switch n := u.Node; {
	case n.Is("Conv") && u.Index == 1, n.Is("Gemm") && u.Index == 1 && n.Int("transB", 0) != 0:
		fan = len(w.v) / int(max(w.shape[0], 1))
	case n.Is("MatMul", "Gemm", "ConvTranspose") && u.Index < 2 && len(w.shape) > 1:
		fan = int(w.shape[len(w.shape)-2])
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

func named(m *ir.Model, name string) *ir.Value {
	for _, v := range m.Main.Consts() {
		if v.Name() == name {
			return v
		}
	}
	return nil
}

// store writes the weights into the model.
func store(m *ir.Model, ws []*weight) {
	for _, w := range ws {
		old := named(m, w.name)
		t := ir.TensorOf(slices.Clone(w.v), w.shape...)
		old.SetName("")
		v := m.Main.NamedConst(w.name, t)
		old.ReplaceUses(v)
		m.Main.EraseConst(old)
	}
}
