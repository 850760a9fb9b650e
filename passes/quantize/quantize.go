// Package quantize makes operators compute in integers of 8 or 16 bits.
package quantize

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/blockwise"
)

// Options of the pass.
type Options struct {
	Mode        string      `opt:"mode" enum:"auto|static|dynamic|weights" doc:"static measures ranges on data, dynamic finds them at run time, weights stores weights in 4 or 8 bits and computes in float; auto: static for convolutional models and for runtimes without the operators of dynamic, else dynamic, for models of products and recurrent layers"`
	Profile     string      `opt:"profile" enum:"auto" doc:"the runtime that the model is for: its types, operators and places of quantizers; auto: ONNX Runtime on a processor like this one"`
	Activations string      `opt:"activations" enum:"profile|u8|s8|u16|s16" doc:"type of activations"`
	PerChannel  bool        `opt:"per-channel" doc:"a scale for each output channel of weights; otherwise one for each tensor"`
	Bias        string      `opt:"bias" enum:"int32|float" doc:"int32 with the scale of the products, as integer kernels want it, or float"`
	Calibrate   string      `opt:"calibrate" enum:"auto|minmax|moving|percentile|entropy|mse" doc:"how ranges are found; auto: for each tensor the method with the least error in the outputs of its layers"`
	Percentile  float64     `opt:"percentile" doc:"share of values, in percent, that percentile covers"`
	Round       bool        `opt:"round" doc:"rounds weights so that the outputs of their layer come out right, not each weight"`
	Correct     bool        `opt:"correct" doc:"corrects biases by the mean error of the quantized layers"`
	Protect     float64     `opt:"protect" doc:"keeps up to an eighth of the operators in float, those that hurt the outputs most, until these have that ratio of signal to error, in dB; 0: none. A budget around the pass says otherwise how many"`
	Objective   string      `opt:"objective" enum:"speed|size" doc:"speed leaves models in float that integers would make slower, size quantizes all the same"`
	Measure     bool        `opt:"measure" doc:"measures on this machine which operators integers make slower, and leaves them in float; in place of the profile's cost model. In the engine of --engine, and without that flag in ONNX Runtime where its library is found, else in the embedded one"`
	Overrides   passes.File `opt:"overrides" doc:"YAML file of settings for single tensors: type, scale, zero_point, range, or float: true"`
	Calib       passes.Data `opt:"calib" doc:"data set to calibrate on; otherwise that of --calib"`
	Cache       passes.File `opt:"cache" doc:"ranges that an earlier run left by --calib-out, in place of data"`
	Bits        int         `opt:"bits" doc:"mode=weights: bits of a weight, 4 or 8"`
	Block       int         `opt:"block" doc:"mode=weights: weights that share a scale, a power of 2 from 16 on"`
	Algorithm   string      `opt:"algorithm" enum:"auto|rtn|gptq|awq" doc:"mode=weights: rtn rounds each weight to the nearest step of a range searched for its block; gptq and awq look at calibration data; auto: gptq if there are some, else rtn"`
	Symmetric   bool        `opt:"symmetric" doc:"mode=weights: no zero points"`
	Form        string      `opt:"form" enum:"auto|qdq|nbits" doc:"mode=weights: DequantizeLinear with blocks, of opset 21, or MatMulNBits and GatherBlockQuantized of ONNX Runtime; auto: what the profile's runtime is fastest with"`
	Accuracy    int64       `opt:"accuracy-level" doc:"mode=weights form=nbits: 4 lets ONNX Runtime multiply in int8, 0 leaves it the choice"`
	Head        int         `opt:"head-bits" doc:"mode=weights: bits of the matrix that scores a vocabulary; 32: float, 0: like the others"`
	Embeddings  int         `opt:"embedding-bits" doc:"mode=weights: bits of tables that are looked up; 32: float, 0: like the others"`
	Prepared    bool        `opt:"prepare" doc:"runs O2 first (behind inline, where functions hold products), which folds normalizations into convolutions, raises the opset to 13 where it is older, makes floats of 16 bits wide, and makes weights constant that callers could override"`
}

// Preparations of the pass, in the order of Info.Prepares.
const (
	prepareOpset = iota
	prepareOpset21
	prepareFreeze
	prepareFloat
	prepareO2
	prepareInline
)

// The versions of the default operator set in which DequantizeLinear takes a scale for each channel, and elements of 16 bits.
const (
	opset13 = 13
	opset21 = 21
)

// opset is the version that the options need.
func (o Options) opset() int64 {
	if o.Mode == "weights" {
		if o.nbits() {
			return 0
		}
		return opset21
	}
	if strings.HasSuffix(o.Activations, "16") {
		return opset21
	}
	return opset13
}

// Prepare implements passes.Preparer.
func (o Options) Prepare(m *ir.Model) []int {
	if !o.Prepared {
		return nil
	}
	var r []int
	_, narrow, bound := weightsOf(m)
	if o.Mode != "weights" && productsInFunctions(m) {
		r = append(r, prepareInline)
	} else if o.nothing(m) {
		return nil // there is nothing to quantize, and the model stays as it is
	}
	if v := m.Opset(""); v > 0 && v < o.opset() {
		r = append(r, map[int64]int{opset13: prepareOpset, opset21: prepareOpset21}[o.opset()])
	}
	if bound > 0 {
		r = append(r, prepareFreeze)
	}
	if o.Mode == "weights" { // which folding would untie and copy
		return r
	}
	if narrow > 0 {
		r = append(r, prepareFloat)
	}
	return append(r, prepareO2)
}

// nothing reports whether there is nothing to quantize.
func (o Options) nothing(m *ir.Model) bool {
	if o.Mode == "weights" {
		return !blockwise.Any(m, fewest)
	}
	wide, narrow, bound := weightsOf(m)
	return wide+narrow+bound == 0 && !productsInFunctions(m)
}

// productsInFunctions reports whether the body of a function multiplies by one of its parameters, which a call may give as weights.
func productsInFunctions(m *ir.Model) bool {
	for n := range m.Nodes() {
		if n.Graph().Function() != nil && n.Is("Conv", "ConvTranspose", "MatMul", "Gemm") && n.Operand(1) != nil && n.Operand(1).IsInput() {
			return true
		}
	}
	return false
}

// weightsOf counts the weights of operators that may be quantized: of 32 bits, of 16 bits, and those that callers may override.
func weightsOf(m *ir.Model) (wide, narrow, bound int) {
	for n := range m.Nodes() {
		if !n.Is("Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "Gather") {
			continue
		}
		w := n.Operand(1)
		if n.Is("Gather") {
			w = n.Operand(0)
		}
		t := w.Const()
		if t == nil && w != nil && w.Default() != nil {
			t = w.Default()
			bound++
		}
		switch {
		case t == nil:
		case n.Is("Gather") && t.Len() < smallTable:
		case t.DType() == ir.Float32:
			wide++
		case t.DType() == ir.Float16 || t.DType() == ir.BFloat16:
			narrow++
		}
	}
	return wide, narrow, bound
}

// Pass quantizes a model. It knows no runtime, so only mode=weights runs; With gives it their profiles.
var Pass = With()

// With is the pass for the runtimes of the profiles, which option profile chooses among by their names. (That of the targets, which
// onnxopt has, is With(all.Profiles()...) of package targets/all.)
func With(profiles ...Profile) *passes.Pass {
	names := []string{"auto"}
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return passes.Define(info, defaults, func(c *passes.Context, m *ir.Model, o Options) error { return run(c, m, o, profiles) }).WithChoices("profile", names...)
}

var info = passes.Info{
	Name: "quantize",
	Doc:  "makes convolutions and products compute in 8-bit integers",
	Long: long,
	Promise: passes.Promise{
		Lossy: true,
	},
	Rules: []passes.RuleDoc{
		{Name: "activation", Doc: "puts a quantizer on a tensor between operators", Promise: passes.Promise{Lossy: true}},
		{Name: "weight", Doc: "stores weights in integers", Promise: passes.Promise{Lossy: true}},
		{Name: "bias", Doc: "stores a bias in int32 with the scale of the products", Promise: passes.Promise{Lossy: true}},
		{Name: "clamp", Doc: "leaves a Relu or Clip to the quantizer behind it, whose range it is", Promise: passes.Promise{Lossy: true}},
		{Name: "blocks", Doc: "stores weights in 4 or 8 bits with a scale for each block", Promise: passes.Promise{Lossy: true}},
		{Name: "dynamic", Doc: "multiplies in integers with a scale found at run time", Promise: passes.Promise{Lossy: true}},
	},
	Prepares: []string{prepareOpset: "opset{to=13}", prepareOpset21: "opset{to=21}", prepareFreeze: "freeze-defaults{all=true}", prepareFloat: "precision{to=float32}", prepareO2: "O2", prepareInline: "inline"},
	Example:  "quantize{mode=static calibrate=percentile}",
}

var defaults = Options{
	Mode: "auto", Profile: "auto", Activations: "profile", PerChannel: true, Bias: "int32", Calibrate: "auto", Percentile: 99.99,
	Objective: "speed", Protect: 30, Round: true, Correct: true, Prepared: true, Bits: 4, Block: 32, Algorithm: "auto", Form: "auto",
}

const long = `Static quantization looks at calibration data (--calib), finds the range of every tensor that is to be stored in integers, and puts
QuantizeLinear and DequantizeLinear around what is to be computed in them (the QDQ form): runtimes merge each group into one integer
operator. A Relu or Clip before a quantizer is left to the quantizer. A tensor between operators that compute in integers is quantized once;
what only moves elements shares the scale of its operand; what feeds nothing but float operators or the model's outputs stays float.

Weights are rounded so that the outputs of their layer come out right on the data, and the mean error of each output channel goes into the
bias. If the outputs of the whole model are further off than protect= says, the few operators that hurt them most compute in float, as a rule on
weights that are stored in integers all the same; a budget around the pass, budget{drop=0.5}(quantize), lets it keep as many as that takes. The QOperator form is quantize,requantize{form=qoperator}.

Dynamic quantization needs no data: weights of MatMul, Gemm and LSTM are stored in integers, and scales of activations are found at run
time. It suits transformers and recurrent models.

mode=weights is for large models, whose speed is that of reading their weights: products compute in float on weights of 4 or 8 bits, with a
scale for each block of them. Embeddings are quantized, too, and a table that is also the head stays one. Weights are quantized while the
model is written, one at a time.

Measured and left out, because weights have a scale for each channel here: cross-layer equalization before depthwise convolutions, which
made every model tried less faithful.
Measured on a recognizer of text lines and left out: activations of 16 bits, which ONNX Runtime has no integer kernels for (96 % of the lines
instead of 90 %, no faster than in float); a third of the operators in float on weights of 8 bits (90.4 %, a fifth slower).

Models that were quantized in part keep what they have; only float operators are looked at.`

// run dispatches on the mode.
func run(c *passes.Context, m *ir.Model, o Options, profiles []Profile) error {
	if o.nothing(m) {
		c.Note(errNothing.Error())
		return nil
	}
	if v := m.Opset(""); v < o.opset() {
		return fmt.Errorf("the model's opset %d is too old for what is asked for; opset{to=%d} before quantize raises it", v, o.opset())
	}
	if o.Mode == "weights" {
		return weightsOnly(c, m, o)
	}
	prof, err := profileOf(profiles, o)
	if err != nil {
		return err
	}
	mode := o.Mode
	if mode == "auto" {
		if mode = "static"; prof.Dynamic && !convolutional(m) {
			mode = "dynamic"
		}
	}
	if mode == "dynamic" {
		if !prof.Dynamic {
			return fmt.Errorf("%s: the runtime has no integer operators with scales found at run time; mode=static is for it", prof.Name)
		}
		return runDynamic(c, m, prof)
	}
	return static(c, m, o, prof)
}

// convolutional reports whether a good part of the weights are those of convolutions. Convolutions are fast in integers only with scales
// that are known beforehand; products gain either way, and transformers lose less with scales found at run time.
func convolutional(m *ir.Model) bool {
	convs, all := int64(0), int64(0)
	for n := range m.Nodes() {
		if !n.Is("Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN") {
			continue
		}
		for i := 1; i < min(n.NumOperands(), 3); i++ {
			if t := n.Operand(i).Const(); t != nil && t.DType() == ir.Float32 {
				all += t.Len()
				if n.Is("Conv", "ConvTranspose") && n.Graph() == m.Main { // in others there is no calibration
					convs += t.Len()
				}
			}
		}
	}
	return convs > 0 && 5*convs >= all
}
