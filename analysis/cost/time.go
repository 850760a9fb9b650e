package cost

import (
	"math"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/ir"
)

// Rates say how fast a machine is. Only their ratios matter where models are set side by side.
type Rates struct {
	// MACs and IntMACs are multiply-accumulates a second, of floats and of 8-bit integers; HalfMACs of floats of 16 bits, which processors
	// without arithmetic for them compute as floats.
	MACs, IntMACs, HalfMACs float64
	Bytes                   float64 // a second, of operands and results
	Node                    float64 // seconds that a call of an operator takes by itself
}

// CPU are rates of one core of a processor with vector instructions for 8-bit integers, as measured in ONNX Runtime on chains of layers that
// fit its caches.
func CPU() Rates {
	return Rates{MACs: 50e9, IntMACs: 120e9, HalfMACs: 50e9, Bytes: 20e9, Node: 1e-6}
}

// Seconds models the time of one run by the roofline (Williams, Waterman, Patterson, 2009): each node takes the longer of its arithmetic and of
// moving what it reads and writes. Nodes whose sizes are not known count as a call. Products between quantizers count as integer ones, and the
// quantizers beside them, which runtimes merge into the operators, as nothing.
func Seconds(m *ir.Model, o Options, r Rates) float64 {
	t := 0.0
	count := Model(m, o)
	for n := range m.Main.Nodes() {
		switch {
		case n.Is("Constant") || moves(n):
			continue
		case n.Is("QuantizeLinear", "DequantizeLinear") && besideProduct(n):
			continue
		}
		rate := r.MACs
		if integers(n) {
			rate = r.IntMACs
		} else if len(n.Results()) > 0 {
			if d := o.Type(n.Result(0)).DType(); d == ir.Float16 || d == ir.BFloat16 {
				rate = r.HalfMACs
			}
		}
		moved := int64(0)
		for _, v := range n.Operands() {
			moved = analysis.Add(moved, bytesOf(o, v))
		}
		for _, v := range n.Results() {
			moved = analysis.Add(moved, bytesOf(o, v))
		}
		if integers(n) && n.Is("Conv", "MatMul", "Gemm") {
			moved /= 4 // stands between quantizers: what is moved has 8 bits
		}
		t += math.Max(float64(count.Nodes[n].MACs)/rate, float64(moved)/r.Bytes) + r.Node
	}
	return t
}

func bytesOf(o Options, v *ir.Value) int64 {
	if v == nil || !o.Type(v).IsTensor() {
		return 0
	}
	n, _ := o.Bytes(o.Type(v))
	return n
}

// moves reports whether a node only gives its operand another shape.
func moves(n *ir.Node) bool { return n.Is("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity") }

// integers reports whether the products of n are computed in integers.
func integers(n *ir.Node) bool {
	if n.Is("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul") {
		return true
	}
	if !n.Is("Conv", "MatMul", "Gemm", "ConvTranspose") || n.NumOperands() < 2 {
		return false
	}
	for _, v := range n.Operands()[:2] {
		if v == nil || v.Node() == nil || !v.Node().Is("DequantizeLinear") {
			return false
		}
	}
	return true
}

// besideProduct reports whether a quantizer is merged into what is computed in integers beside it.
func besideProduct(n *ir.Node) bool {
	if n.Is("DequantizeLinear") {
		for u := range n.Result(0).Uses() {
			if !integers(u.Node) {
				return false
			}
		}
		return true
	}
	in := n.Operand(0)
	return in != nil && in.Node() != nil && integers(in.Node())
}
