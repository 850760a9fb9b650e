// Package tflite writes models for TensorFlow Lite and LiteRT.
//
// Channels go last: what convolves, pools and resizes works on tensors [N, H, W, C], and other operators take the order they
// find. Sizes are static; an open first dimension of an input becomes one.
package tflite

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
)

const name = "tflite"

//go:embed known.tsv
var known string

// Options of the target.
type Options struct {
	Layout  string `opt:"layout" enum:"nhwc|keep" doc:"pictures at the interface: channels last, as the target's users expect, or as in the model"`
	Weights string `opt:"weights" enum:"float32|float16|int8" doc:"how float weights are stored; int8 is dynamic-range quantization: the runtime quantizes activations in each run"`
}

// New describes the target.
func New() *targets.Target {
	return targets.Define(targets.Target{
		Name: name, Doc: "a .tflite file for TensorFlow Lite and LiteRT", Extension: ".tflite",
		Long: `Inputs and outputs with four axes lie with channels last if what reads or makes them does; layout=keep leaves them as they are. An open
first dimension of an input becomes 1; set-shape states the others. What is fused for the target alone is found while writing.`,
		Pipeline: "inline,freeze-defaults{all=true},requantize{form=qdq},opset{to=21},O2",
		Illegal:  illegal,
		Slow:     slowly,
		Known:    known,
	}, Options{Layout: layoutNHWC, Weights: weightsFloat32}, lower)
}

// illegal goes by the operator alone; what depends on shapes and attributes is found while writing.
func illegal(n *ir.Node) error {
	op := n.Op()
	switch {
	case op.Domain == "" && (lowerings()[op.Type] != nil || op.Type == "Constant" || op.Type == "Shape" || op.Type == "ConstantOfShape" || op.Type == "Range" || op.Type == "Size"):
		return nil
	case op.Domain == "" && n.Is("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"):
		return &targets.Mendable{Why: "there is no such operator", Mend: "dequantize"}
	}
	return targets.Missing("there is no such operator", n)
}

func lower(c *passes.Context, m *ir.Model, a targets.Artifact, o Options) error {
	m = m.Clone()
	firstOfOne(m, a.Note)
	e := newEmitter(c, infer.Model(m))
	if err := e.graph(m.Main, o.Layout); err != nil {
		return err
	}
	switch o.Weights {
	case weightsFloat16:
		e.file.halve()
	case weightsInt8:
		e.file.dynamicRange()
	}
	for _, l := range e.file.layouts {
		a.Note(fmt.Sprintf("%s %q has the shape %v, channels last", l.what, l.name, l.shape))
	}
	for _, name := range e.halves {
		a.Note(fmt.Sprintf("input %q is float32 instead of float16", name))
	}
	meta, err := layoutMetadata(e.file.layouts)
	if err != nil {
		return err
	}
	e.file.metadata = append(e.file.metadata, entry{"onnxopt.layout", meta})
	w, err := a.File("")
	if err != nil {
		return err
	}
	_, err = w.Write(e.file.bytes())
	return err
}

// firstOfOne makes an open first dimension of each input one.
func firstOfOne(m *ir.Model, note func(string)) {
	for _, slot := range m.Main.Inputs() {
		t := slot.Type()
		if !t.IsTensor() || len(t.Shape) == 0 || t.Shape[0].IsStatic() {
			continue
		}
		u := *t
		u.Shape = slices.Clone(t.Shape)
		u.Shape[0] = ir.Static(1)
		slot.SetType(&u)
		note(fmt.Sprintf("input %q: the open first dimension is 1", slot.Name()))
	}
}

// layoutMetadata says for each input and output that lies in another order than in the model which axis of the model each of its
// axes is, as JSON: {"input": {"x": [0, 2, 3, 1]}}.
func layoutMetadata(l []layoutNote) ([]byte, error) {
	r := map[string]map[string][]int{}
	for _, n := range l {
		if r[n.what] == nil {
			r[n.what] = map[string][]int{}
		}
		r[n.what][n.name] = n.perm
	}
	return json.Marshal(r)
}
