package tflite

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/slow"
)

// slowly translates the model and says what is in the file that costs time: data that are moved, and floats between integers.
func slowly(c *passes.Context, m *ir.Model, report func(targets.Finding)) error {
	m = m.Clone()
	firstOfOne(m, func(string) {})
	e := newEmitter(c, infer.Model(m))
	if err := e.graph(m.Main, layoutNHWC); err != nil {
		return err
	}
	var moved []string
	for _, o := range e.file.ops {
		if o.code == opTranspose && len(o.out[0].shape) >= 3 {
			moved = append(moved, o.out[0].name)
		}
	}
	if len(moved) > 0 {
		report(targets.Finding{
			Kind: targets.Slow, Rule: "layout", Node: moved[0], Op: "TRANSPOSE", Count: len(moved),
			Why: "data are moved between channels first and channels last", Mend: slow.Relayout(m),
		})
	}
	kinds := map[string]*targets.Finding{}
	var order []string
	for _, n := range e.floats {
		op := n.Op().Type
		f := kinds[op]
		if f == nil {
			f = &targets.Finding{Kind: targets.Slow, Rule: "float-in-int8", Node: targets.NodeName(n), Op: op, Why: "it has no form on int8 there, and runs in float between DEQUANTIZE and QUANTIZE", Mend: "dequantize,quantize{profile=tflite}"}
			if _, ok := quantizableOps()[op]; ok {
				f.Rule, f.Why = "unfused-quantization", "what is quantized around it is not as the target wants it, so that it runs in float"
			}
			kinds[op] = f
			order = append(order, op)
		}
		f.Count++
	}
	for _, op := range order {
		report(*kinds[op])
	}
	return nil
}

// wantsIntegers reports whether n reads a dequantized activation, and is no mere step between the two.
func (e *emitter) wantsIntegers(n *ir.Node) bool {
	if n.Is("QuantizeLinear", "DequantizeLinear", "Identity", "Cast") || strings.HasPrefix(n.Op().Type, "Sequence") {
		return false
	}
	for _, v := range n.Operands() {
		if d := e.quantized(v); d != nil && e.constant(d.Operand(0)) == nil {
			return true
		}
	}
	return false
}
