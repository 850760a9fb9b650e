// Package all lists the targets.
package all

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/c"
	"github.com/onnxopt/onnxopt/targets/onnxruntime"
	"github.com/onnxopt/onnxopt/targets/openvino"
	"github.com/onnxopt/onnxopt/targets/tensorrt"
	"github.com/onnxopt/onnxopt/targets/tflite"
	"github.com/onnxopt/onnxopt/targets/tvm"
)

// Targets lists them.
func Targets() []*targets.Target {
	return []*targets.Target{c.New(), onnxruntime.New(), openvino.New(), tensorrt.New(), tflite.New(), tvm.New()}
}

// Lookup finds a target by its name. The hint completes a message about an unknown one: ", did you mean x?" or nothing.
func Lookup(name string) (t *targets.Target, hint string) {
	var names []string
	for _, t := range Targets() {
		if t.Name == name {
			return t, ""
		}
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return nil, spell.Hint(name, names)
}
