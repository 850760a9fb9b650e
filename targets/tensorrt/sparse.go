package tensorrt

import (
	"github.com/onnxopt/onnxopt/ir"
)

// Sparse tensor cores take weights of which, of every four in a row along the inputs of a layer, two are zero (A. Mishra et al., Accelerating
// Sparse Deep Neural Networks, 2021).

// weightsOf is the constant weight of a layer, behind a DequantizeLinear or a Cast perhaps, and the axis of its inputs; nil if n is no layer, or
// its inputs are fewer than four.
func weightsOf(n *ir.Node) (t *ir.Tensor, axis int) {
	if n.Op().Domain != "" || !n.Is("Conv", "Gemm", "MatMul") {
		return nil, 0
	}
	v := n.Operand(1)
	for v != nil && v.Const() == nil && v.Node() != nil && v.Node().Is("DequantizeLinear", "Cast") {
		v = v.Node().Operand(0)
	}
	if v == nil || v.Const() == nil {
		return nil, 0
	}
	t = v.Const()
	switch {
	case n.Is("Conv") && t.Rank() >= 3, n.Is("Gemm") && t.Rank() == 2 && n.Int("transB", 0) != 0:
		axis = 1
	case !n.Is("Conv") && t.Rank() >= 2:
		axis = t.Rank() - 2
	default:
		return nil, 0
	}
	if t.Shape()[axis] < 4 || t.DType().Bits() < 8 {
		return nil, 0
	}
	return t, axis
}

// zeros counts the zeros of t, and reports whether of every four elements in a row along an axis at most two are others. A last group of
// fewer than four is filled with zeros by the runtime.
func zeros(t *ir.Tensor, axis int) (share float64, legal bool, err error) {
	b, err := t.Bytes()
	if err != nil || t.Len() == 0 {
		return 0, false, err
	}
	size := len(b) / int(t.Len())
	float := t.DType().IsFloat()
	zero := func(i int) bool {
		for k, x := range b[i*size:][:size] {
			if x != 0 && !(float && k == size-1 && x == 0x80) { // minus zero
				return false
			}
		}
		return true
	}
	inner := 1
	for _, d := range t.Shape()[axis+1:] {
		inner *= int(d)
	}
	length := int(t.Shape()[axis])
	none, legal := 0, true
	for first := 0; first < int(t.Len()); first += length * inner {
		for i := range inner {
			for k := 0; k < length; k += 4 {
				others := 0
				for j := k; j < min(k+4, length); j++ {
					if zero(first + j*inner + i) {
						none++
					} else {
						others++
					}
				}
				legal = legal && others <= 2
			}
		}
	}
	return float64(none) / float64(t.Len()), legal, nil
}

// sparse finds the layers whose weights sparse tensor cores take, those of which half and more is zero but in other places, and how many
// layers there are.
func sparse(m *ir.Model) (legal, other []*ir.Node, of int, err error) {
	for n := range m.Nodes() {
		t, axis := weightsOf(n)
		if t == nil {
			continue
		}
		of++
		share, ok, err := zeros(t, axis)
		switch {
		case err != nil:
			return nil, nil, 0, err
		case ok:
			legal = append(legal, n)
		case share >= 0.5:
			other = append(other, n)
		}
	}
	return legal, other, of, nil
}
