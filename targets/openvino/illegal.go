package openvino

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
)

// unread lists the operators that the frontend of OpenVINO 2026.4.1 converts in none of ONNX's node tests.
var unread = strings.Fields(`Bernoulli BitCast CausalConvWithState CumProd DeformConv Det ImageDecoder LinearAttention MaxUnpool MelWeightMatrix OptionalGetElement
OptionalHasElement RegexFullMatch SequenceEmpty SequenceInsert SequenceLength SequenceMap StringConcat StringNormalizer StringSplit SwiGLU TensorScatter
TfIdfVectorizer`)

// microsoft lists the operators of com.microsoft that the frontend converts.
var microsoft = strings.Fields(`Attention BiasGelu BiasAdd DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv FusedGemm FusedMatMul
Gelu GatherBlockQuantized GroupQueryAttention MatMulIntegerToFloat MatMulNBits MultiHeadAttention Pad QLinearAdd QLinearAveragePool QLinearConcat QLinearLeakyRelu QLinearMul
QLinearSigmoid QuickGelu RotaryEmbedding SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization Trilu`)

func illegal(n *ir.Node) error {
	op := n.Op()
	switch {
	case n.Graph().Model().Function(op) != nil:
		return &targets.Mendable{Why: "the frontend does not take functions of the model", Mend: "inline"}
	case op.Domain == "" && slices.Contains(unread, op.Type), op.Domain != "" && op.Domain != "com.microsoft":
		return errors.New("the frontend has no such operator")
	case op.Domain == "com.microsoft" && !slices.Contains(microsoft, op.Type):
		return errors.New("the frontend has no such operator")
	}
	for _, v := range append(n.Operands(), n.Results()...) {
		if v == nil {
			continue
		}
		switch d := v.Type().DType(); d {
		case ir.Float8E4M3FNUZ, ir.Float8E5M2FNUZ, ir.Int2, ir.Uint2, ir.Complex64, ir.Complex128:
			return fmt.Errorf("elements of type %s", d)
		}
	}
	if op.Domain == "" {
		if f := forms()[op.Type]; f != nil {
			return f(n)
		}
	}
	return nil
}

// forms are checks of operators that the frontend or the CPU plugin of OpenVINO 2026.4.1 has in some forms only: in the others it computes
// something else than ONNX says, refuses the model or ends the process, as ONNX's node tests show (bench/targets/sweep).
func forms() map[string]func(n *ir.Node) error {
	refuse := func(why string, when func(n *ir.Node) bool) func(n *ir.Node) error {
		return func(n *ir.Node) error {
			if when(n) {
				return errors.New(why)
			}
			return nil
		}
	}
	dtype := func(n *ir.Node, i int) ir.DType {
		if v := n.Operand(i); v != nil {
			return v.Type().DType()
		}
		return ir.Undefined
	}
	bytes := refuse("numbers of 8 bits, of which results saturate there instead of wrapping", func(n *ir.Node) bool { return dtype(n, 0) == ir.Int8 || dtype(n, 0) == ir.Uint8 })
	strings := refuse("elements of type string", func(n *ir.Node) bool { return dtype(n, 0) == ir.String })
	recurrent := func(n *ir.Node) error {
		switch {
		case n.Int("layout", 0) != 0:
			return errors.New("layout 1, the batch first, which is not heeded")
		case n.Is("LSTM") && n.Operand(7) != nil:
			return errors.New("peepholes, which are not heeded")
		}
		return nil
	}
	reducing := func(n *ir.Node) error {
		if n.Attr("axes") != nil {
			return &targets.Mendable{Why: "axes as an attribute, which are not heeded", Mend: "opset{to=18}"}
		}
		return nil
	}
	return map[string]func(n *ir.Node) error{
		"Softmax": softmax, "LogSoftmax": softmax,
		"ReduceL1": reducing, "ReduceLogSum": reducing, "ReduceLogSumExp": func(n *ir.Node) error {
			if d := dtype(n, 0); d.IsInt() {
				return fmt.Errorf("elements of type %s, which are rounded otherwise", d)
			}
			return reducing(n)
		},
		"Pad": refuse("mode wrap", func(n *ir.Node) bool { return n.Str("mode", "constant") == "wrap" }),
		"Add": bytes, "Sub": bytes, "Mul": bytes, "Equal": strings,
		"LSTM": recurrent, "GRU": recurrent, "RNN": recurrent,
		"Attention":  refuse("a window", func(n *ir.Node) bool { return n.Attr("left_window_size") != nil || n.Attr("right_window_size") != nil }),
		"BitShift":   refuse("signed numbers", func(n *ir.Node) bool { return dtype(n, 0).IsSigned() }),
		"Celu":       refuse("elements of another type than float", func(n *ir.Node) bool { return dtype(n, 0) != ir.Float32 && dtype(n, 0) != ir.Undefined }),
		"Compress":   refuse("an axis: the runtime ends the process", func(n *ir.Node) bool { return n.Attr("axis") != nil }),
		"GridSample": refuse("volumes", func(n *ir.Node) bool { return len(n.Operand(0).Type().TensorShape()) > 4 }),
		"MaxPool":    pooling, "AveragePool": pooling, "LpPool": pooling,
		"Mod":          refuse("the remainder of floats with fmod 0", func(n *ir.Node) bool { return n.Int("fmod", 0) == 0 && dtype(n, 0).IsFloat() }),
		"Resize":       resizing,
		"DFT":          refuse("a real transform, or the form of opset 20", func(n *ir.Node) bool { return n.Graph().Opset("") >= 20 || n.Int("onesided", 0) != 0 }),
		"SpaceToDepth": refuse("mode CRD, which is not heeded", func(n *ir.Node) bool { return n.Str("mode", "DCR") != "DCR" }),
		"Einsum":       refuse("a letter twice in one term, a diagonal", diagonal),
		"STFT":         transform,
		"QuantizeLinear": refuse("blocks, numbers of 16 bits, or floats of 8", func(n *ir.Node) bool {
			d := n.Result(0).Type().DType()
			return n.Int("block_size", 0) != 0 || d.IsFloat() || d.Bits() > 8
		}),
	}
}

// diagonal reports whether a letter stands twice in one term of an Einsum.
func diagonal(n *ir.Node) bool {
	terms, _, _ := strings.Cut(n.Str("equation", ""), "->")
	for _, t := range strings.Split(terms, ",") {
		for _, c := range t {
			if c != '.' && c != ' ' && strings.Count(t, string(c)) > 1 {
				return true
			}
		}
	}
	return false
}

// transform refuses what the frontend does not know beforehand.
func transform(n *ir.Node) error {
	if n.Operand(1).Const() == nil {
		return errors.New("a frame step that is no constant")
	}
	if _, static := n.Operand(0).Type().TensorShape().Ints(); !static {
		return &targets.Mendable{Why: "a signal of a size that is open", Mend: "set-shape"}
	}
	return nil
}

// softmax refuses what is over all axes from one on, as it was below version 13: the frontend takes that one only.
func softmax(n *ir.Node) error {
	if n.Graph().Opset("") >= 13 {
		return nil
	}
	shape := n.Operand(0).Type().TensorShape()
	axis := int(n.Int("axis", 1))
	if shape == nil && axis == -1 {
		return nil
	}
	if axis < 0 {
		axis += len(shape)
	}
	for _, d := range shape[min(max(axis+1, 0), len(shape)):] {
		if !d.IsStatic() || d.Size != 1 {
			return &targets.Mendable{Why: fmt.Sprintf("the axes from %d on together, as below version 13: the frontend takes axis %d alone", axis, axis), Mend: "opset{to=13}"}
		}
	}
	return nil
}

// pooling refuses windows that would begin behind the picture, which ONNX leaves out, and indices that count columns first.
func pooling(n *ir.Node) error {
	if n.Int("storage_order", 0) != 0 && n.NumResults() > 1 && n.Result(1) != nil {
		return errors.New("indices with storage_order 1, which is not heeded")
	}
	if n.Int("ceil_mode", 0) != 0 && (n.Is("LpPool") || n.Int("count_include_pad", 0) != 0 && slices.ContainsFunc(n.Ints("pads"), func(p int64) bool { return p != 0 })) {
		return errors.New("ceil_mode with a mean over what is padding, or a norm: windows at the border give something else")
	}
	in, ok := n.Operand(0).Type().TensorShape().Ints()
	kernel := n.Ints("kernel_shape")
	if n.Int("ceil_mode", 0) == 0 || !ok || len(in) != len(kernel)+2 || n.Str("auto_pad", "NOTSET") != "NOTSET" {
		return nil
	}
	at := func(list []int64, i int, def int64) int64 {
		if i < len(list) {
			return list[i]
		}
		return def
	}
	pads, strides, dilations := n.Ints("pads"), n.Ints("strides"), n.Ints("dilations")
	for i, k := range kernel {
		begin, stride := at(pads, i, 0), at(strides, i, 1)
		reach := in[2+i] + begin + at(pads, len(kernel)+i, 0) - at(dilations, i, 1)*(k-1) - 1
		if last := (reach + stride - 1) / stride * stride; last >= in[2+i]+begin {
			return errors.New("ceil_mode with a window that begins behind the picture, which ONNX leaves out and OpenVINO does not")
		}
	}
	return nil
}

// resizing refuses what reaches beyond height, width and depth, and settings that the frontend lacks or does not heed.
func resizing(n *ir.Node) error {
	if d := n.Operand(0).Type().DType(); d == ir.Bool || d == ir.Int16 || d == ir.Uint16 || d == ir.Uint32 || d == ir.Uint64 {
		return fmt.Errorf("elements of type %s", d)
	}
	switch c := n.Str("coordinate_transformation_mode", "half_pixel"); {
	case c == "tf_crop_and_resize" || c == "half_pixel_symmetric":
		return fmt.Errorf("coordinates %s", c)
	case n.Int("antialias", 0) != 0:
		return errors.New("antialias, which gives something else there")
	}
	if p := n.Str("keep_aspect_ratio_policy", "stretch"); p != "stretch" {
		return fmt.Errorf("keep_aspect_ratio_policy %s, which is not heeded", p)
	}
	in, out := n.Operand(0).Type().TensorShape(), n.Result(0).Type().TensorShape()
	if len(in) < 4 || len(out) != len(in) {
		return nil
	}
	for i := range 2 {
		if in[i].IsStatic() && out[i].IsStatic() && in[i].Size != out[i].Size {
			return errors.New("batch or channels are resized; the runtime does that with height, width and depth")
		}
	}
	return nil
}
