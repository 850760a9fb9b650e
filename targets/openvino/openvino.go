// Package openvino writes ONNX models in the form that OpenVINO reads best, with a script that makes its own representation of them.
package openvino

import (
	_ "embed"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/script"
)

const name = "openvino"

//go:embed known.tsv
var known string

// Options of the target.
type Options struct {
	Compress bool `opt:"float16" doc:"weights are float16 in the representation that the script writes; the model itself keeps its type"`
}

// New describes the target.
func New() *targets.Target {
	return targets.Define(targets.Target{
		Name: name, Doc: "an ONNX model as OpenVINO reads it best, with a script that makes its .xml and .bin", Extension: ".onnx",
		Long: `Quantization is that of QuantizeLinear and DequantizeLinear, which OpenVINO runs in int8; QOperator models become so. What a model does to its
inputs (mean, scale, layout, type) stays in it, so that callers feed the same data. Open sizes may stay open; static ones are faster.`,
		Pipeline: "inline,freeze-defaults{all=true},requantize{form=qdq},O2",
		Illegal:  illegal,
		Slow:     slowly,
		Known:    known,
	}, Options{}, lower)
}

func lower(_ *passes.Context, m *ir.Model, a targets.Artifact, o Options) error {
	e := &targets.IllegalError{Target: name}
	for _, s := range m.Main.Inputs() {
		if t := s.Type(); t.IsTensor() && t.Shape == nil && !s.Value().IsInitializer() {
			e.Nodes = append(e.Nodes, targets.IllegalNode{Name: s.Name(), Op: ir.Op("input"), Why: "its rank is not known; set-shape states the shape", Mend: "set-shape"})
		}
	}
	if len(e.Nodes) > 0 {
		return e
	}
	if err := a.Model(m); err != nil {
		return err
	}
	w, err := a.File(".ir.py")
	if err != nil {
		return err
	}
	compress := "False"
	if o.Compress {
		compress = "True"
	}
	_, err = fmt.Fprintf(w, converter, script.Python(a.Name("")), script.Python(a.Name(".xml")), compress)
	return err
}

const converter = `"""Makes OpenVINO's representation of the model: python FILE [OUTPUT.xml]"""
import os
import sys

import openvino as ov

MODEL, XML, COMPRESS = %s, %s, %s


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    target = sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, XML)
    ov.save_model(ov.convert_model(os.path.join(folder, MODEL)), target, compress_to_fp16=COMPRESS)


main()
`
