package tensorrt

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
)

// formed refuses forms of operators that the parser of TensorRT for RTX 1.7.1 does not take, and element types, as ONNX's node tests and random
// models show (bench/targets/sweep).
func formed(n *ir.Node) error {
	if v := n.Operand(0); v != nil && slices.Contains(kernelless()[n.Op().Type], v.Type().DType()) {
		return fmt.Errorf("elements of type %s, which the operator does not have there", v.Type().DType())
	}
	if f := forms()[n.Op().Type]; f != nil {
		return f(n)
	}
	return nil
}

// kernelless says which element types operators lack there that have others.
func kernelless() map[string][]ir.DType {
	whole := []ir.DType{ir.Int32, ir.Int64}
	return map[string][]ir.DType{
		"MatMul": whole, "Gemm": whole, "PRelu": whole, "Relu": whole, "ReduceL2": whole, "ReduceLogSumExp": whole, "Resize": {ir.Int32, ir.Int64, ir.Bool},
		"Mod": {ir.Int8}, "DepthToSpace": {ir.Bool}, "SpaceToDepth": {ir.Bool}, "Celu": {ir.Float16, ir.BFloat16}, "Clip": {ir.Int8, ir.Uint8},
	}
}

func forms() map[string]func(n *ir.Node) error {
	refuse := func(why string, when func(n *ir.Node) bool) func(n *ir.Node) error {
		return func(n *ir.Node) error {
			if when(n) {
				return errors.New(why)
			}
			return nil
		}
	}
	computed := func(n *ir.Node, i int) bool { v := n.Operand(i); return v != nil && v.Const() == nil }
	rank := func(n *ir.Node, i int) int { return len(n.Operand(i).Type().TensorShape()) }
	dilated := func(n *ir.Node) bool {
		return slices.ContainsFunc(n.Ints("dilations"), func(d int64) bool { return d != 1 })
	}
	second := func(n *ir.Node) bool { return n.NumResults() > 1 && n.Result(1) != nil }
	reduction := func(n *ir.Node) error {
		if r := n.Str("reduction", "none"); r != "none" {
			return fmt.Errorf("reduction %s", r)
		}
		return nil
	}
	sequence := refuse("an input that is not known to have three axes", func(n *ir.Node) bool { return rank(n, 0) != 3 })
	axes := refuse("axes that are computed", func(n *ir.Node) bool { return computed(n, 1) })
	r := map[string]func(n *ir.Node) error{
		"Attention":          attention,
		"AveragePool":        refuse("dilations of a pool", dilated),
		"BatchNormalization": refuse("training_mode", func(n *ir.Node) bool { return n.Int("training_mode", 0) != 0 }),
		"If":                 refuse("branches whose results have other ranks than each other's", unequalRanks),
		"LRN":                refuse("fewer than four axes", func(n *ir.Node) bool { return n.Operand(0).Type().TensorShape() != nil && rank(n, 0) < 4 }),
		"LayerNormalization": refuse("the mean as a second result", func(n *ir.Node) bool { return second(n) || n.NumResults() > 2 && n.Result(2) != nil }),
		"Loop": refuse("a body that asks for a condition, where none is given", func(n *ir.Node) bool {
			in := n.Subgraphs()[0].Inputs()
			return n.Operand(1) == nil && len(in) > 1 && in[1].Value().NumUses() > 0
		}),
		"LpPool": refuse("dilations, a norm other than 1 and 2, or windows of one axis", func(n *ir.Node) bool {
			p := n.Int("p", 2)
			return dilated(n) || p != 1 && p != 2 || len(n.Ints("kernel_shape")) == 1
		}),
		"MatMul": refuse("a vector with a batch of matrices", func(n *ir.Node) bool {
			a, b := rank(n, 0), rank(n, 1)
			return a == 1 && b > 2 || b == 1 && a > 2
		}),
		"MaxPool":   refuse("dilations or indices of a pool", func(n *ir.Node) bool { return dilated(n) || second(n) }),
		"Mod":       refuse("the remainder of floats with fmod 0", func(n *ir.Node) bool { return n.Int("fmod", 0) == 0 && n.Operand(0).Type().DType().IsFloat() }),
		"OneHot":    refuse("a depth that is computed", func(n *ir.Node) bool { return computed(n, 1) }),
		"Range":     refuse("floats that are computed, or of 16 bits", floatRange),
		"Resize":    resizing,
		"Upsample":  refuse("scales that are computed", func(n *ir.Node) bool { return computed(n, 1) }),
		"STFT":      refuse("a frame step that is computed", func(n *ir.Node) bool { return computed(n, 1) }),
		"Softmax":   refuse("a single axis", func(n *ir.Node) bool { return rank(n, 0) == 1 }),
		"ScatterND": reduction, "ScatterElements": reduction,
		"LSTM": sequence, "GRU": sequence, "RNN": sequence,
		"Squeeze": axes, "Unsqueeze": axes,
		"TensorScatter": refuse("mode circular", func(n *ir.Node) bool { return n.Str("mode", "linear") != "linear" }),
	}
	for _, name := range parsed {
		if strings.HasPrefix(name, "Reduce") {
			r[name] = axes
		}
	}
	return r
}

// attention refuses what the target's layer for it lacks; below version 23 the operator is spelled out.
func attention(n *ir.Node) error {
	why := ""
	size := func(i int) int64 {
		s := n.Operand(i).Type().TensorShape()
		if len(s) == 0 || !s[len(s)-1].IsStatic() {
			return -1
		}
		return s[len(s)-1].Size
	}
	switch {
	case slices.ContainsFunc(n.Results()[1:], func(v *ir.Value) bool { return v != nil }):
		why = "more than one result"
	case n.Float("softcap", 0) != 0:
		why = "softcap"
	case n.Attr("softmax_precision") != nil:
		why = "softmax_precision"
	case n.Attr("left_window_size") != nil || n.Attr("right_window_size") != nil:
		why = "a window"
	case n.Int("is_causal", 0) != 0 && n.Operand(3) != nil:
		why = "a mask besides is_causal"
	case size(1) != size(2):
		why = "keys and values of other sizes"
	default:
		return nil
	}
	return &targets.Mendable{Why: why, Mend: "opset{to=22}"}
}

func floatRange(n *ir.Node) bool {
	d := n.Result(0).Type().DType()
	return d == ir.Float16 || d == ir.BFloat16 || d.IsFloat() && slices.ContainsFunc(n.Operands(), func(v *ir.Value) bool { return v != nil && v.Const() == nil })
}

func resizing(n *ir.Node) error {
	scales := n.Operand(2)
	if n.Graph().Opset("") < 11 {
		scales = n.Operand(1)
	}
	axes := n.Ints("axes")
	switch c := n.Str("coordinate_transformation_mode", "half_pixel"); {
	case c == "half_pixel_symmetric", c == "tf_crop_and_resize":
		return fmt.Errorf("coordinates %s", c)
	case n.Str("keep_aspect_ratio_policy", "stretch") != "stretch":
		return fmt.Errorf("keep_aspect_ratio_policy %s", n.Str("keep_aspect_ratio_policy", ""))
	case n.Int("antialias", 0) != 0:
		return errors.New("antialias")
	case scales != nil && scales.Const() == nil:
		return errors.New("scales that are computed")
	case scales != nil && axes != nil && len(axes) != len(n.Operand(0).Type().TensorShape()):
		return errors.New("scales of some axes only")
	}
	return nil
}

// unequalRanks reports whether the branches of an If give results of different ranks, as far as they are known.
func unequalRanks(n *ir.Node) bool {
	g := n.Subgraphs()
	if len(g) != 2 || len(g[0].Outputs()) != len(g[1].Outputs()) {
		return false
	}
	for i := range g[0].Outputs() {
		a, b := g[0].Outputs()[i].Value().Type().TensorShape(), g[1].Outputs()[i].Value().Type().TensorShape()
		if a != nil && b != nil && len(a) != len(b) {
			return true
		}
	}
	return false
}
