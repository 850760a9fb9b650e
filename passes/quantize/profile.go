package quantize

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Profile says what a runtime computes in integers, and how it wants it written. Its values are those of the targets: see With.
type Profile struct {
	Name string // as option profile takes it; those of ONNX Runtime, which has operators of its own for 4 bits and LSTM, begin with "ort-"
	Doc  string // the runtime, and what is special
	// Activations is the element type of activations. Symmetric ones have their zero point in the middle.
	Activations ir.DType
	Symmetric   bool
	// WeightBits of weights: 7 where sums of products of 8 bits saturate.
	WeightBits int
	PerChannel bool
	// Weighted operators have constant weights and are worth quantizing for themselves; the others are quantized where they lie between
	// such.
	Weighted []string
	// Light operators take operands of different scales and give a third.
	Light []string
	// Sharing operators move elements or choose among them, so that operand and result have one scale.
	Sharing []string
	// FloatResult lists the weighted operators that give a float result without a quantizer behind them.
	FloatResult []string
	// Dynamic says that the runtime has integer operators with scales found at run time (DynamicQuantizeLinear, MatMulInteger).
	Dynamic bool
	// Auto marks the profile that profile=auto takes: of several the first. The target says it of what suits the processor it runs on.
	Auto bool
}

// profileOf is the profile with what the options change of it.
func profileOf(all []Profile, o Options) (Profile, error) {
	i := slices.IndexFunc(all, func(p Profile) bool { return p.Name == o.Profile || o.Profile == "auto" && p.Auto })
	if i < 0 && o.Profile == "auto" {
		return Profile{}, errors.New("no profile of a runtime is known here; quantize.With makes the pass with those of the targets")
	}
	if i < 0 {
		return Profile{}, fmt.Errorf("there is no profile %q", o.Profile)
	}
	p := all[i]
	if !o.PerChannel {
		p.PerChannel = false
	}
	switch o.Activations {
	case "u8":
		p.Activations, p.Symmetric = ir.Uint8, false
	case "s8":
		p.Activations = ir.Int8
	case "u16":
		p.Activations, p.Symmetric = ir.Uint16, false
	case "s16":
		p.Activations = ir.Int16
	}
	return p, nil
}
