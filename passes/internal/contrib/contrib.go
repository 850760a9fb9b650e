// Package contrib is what the passes that write operators of ONNX Runtime share.
package contrib

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Domain is the domain of ONNX Runtime's own operators, of which there is one version.
const Domain = "com.microsoft"

// Tolerance is what the operators' own order of operations may make of a result of floats.
var Tolerance = passes.Promise{RelTol: 1e-4}

// Op makes a node of that type in Domain, which it imports, with one result.
func Op(b *rewrite.Builder, typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	return Node(b, typ, in, 1, attrs...).Result(0)
}

// Node is Op for a chosen number of results.
func Node(b *rewrite.Builder, typ string, in []*ir.Value, results int, attrs ...*ir.Attr) *ir.Node {
	b.Import(Domain, 1)
	return b.Node(Domain+"."+typ, in, results, attrs...)
}

// Float says why the named value is not surely float: ONNX Runtime computes most of these operators on a CPU in no other type.
func Float(m *rewrite.Match, name string) error {
	if d := m.DType(name); d != ir.Float32 {
		return fmt.Errorf("%s is of type %s, not surely float", name, d)
	}
	return nil
}

// Quantized says that one of the values comes from a DequantizeLinear: ONNX Runtime makes the node a quantized one if it stays as it is.
func Quantized(values ...*ir.Value) error {
	for _, v := range values {
		if v != nil && v.Node() != nil && v.Node().Is("DequantizeLinear") {
			return errors.New("it computes with quantized numbers")
		}
	}
	return nil
}

// With are the attributes of n and further ones.
func With(n *ir.Node, attrs ...*ir.Attr) []*ir.Attr {
	return append(append([]*ir.Attr{}, n.Attrs()...), attrs...)
}
