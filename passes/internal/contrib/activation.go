package contrib

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Activation is an elementwise operator as an attribute of the node before it, and its parameters in the order in which ONNX Runtime
// takes them.
type Activation struct {
	Name   string
	Params []float32
}

// ReadActivation reads the activation that n applies to its operand 0. Attributes must be plain.
func ReadActivation(m *rewrite.Match, n *ir.Node) (*Activation, error) {
	a := &Activation{Name: n.Op().Type}
	switch a.Name {
	case "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign":
	case "LeakyRelu", "Elu", "ThresholdedRelu":
		a.Params = []float32{ops.Float(n, "alpha")}
	case "HardSigmoid":
		a.Params = []float32{ops.Float(n, "alpha"), ops.Float(n, "beta")}
	case "Selu":
		a.Params = []float32{ops.Float(n, "alpha"), ops.Float(n, "gamma")}
	case "Clip":
		low, high, err := bounds(m, n)
		if err != nil {
			return nil, err
		}
		a.Params = []float32{low, high}
	default:
		return nil, fmt.Errorf("%s is no activation that can be fused", n)
	}
	return a, nil
}

// bounds are those of a Clip: attributes before opset 11, operands from then on.
func bounds(m *rewrite.Match, n *ir.Node) (low, high float32, err error) {
	if m.Opset("") < 11 {
		if n.Attr("min") == nil || n.Attr("max") == nil {
			return 0, 0, errors.New("Clip leaves a bound out")
		}
		low, high = n.Attr("min").Float(), n.Attr("max").Float()
	} else {
		var b [2]float32
		for i := range b {
			v := n.Operand(i + 1)
			if v == nil || v.Const() == nil {
				return 0, 0, errors.New("a bound of Clip is left out or no constant")
			}
			x, ok, err := rewrite.Scalar(v.Const())
			m.Fail(err)
			if !ok {
				return 0, 0, errors.New("a bound of Clip is no scalar")
			}
			b[i] = float32(x)
		}
		low, high = b[0], b[1]
	}
	if !(low <= high) {
		return 0, 0, fmt.Errorf("Clip is to [%v, %v]", low, high)
	}
	return low, high, nil
}
