package all

import (
	"slices"

	"github.com/onnxopt/onnxopt/passes/quantize"
	"github.com/onnxopt/onnxopt/targets/onnxruntime"
	"github.com/onnxopt/onnxopt/targets/openvino"
	"github.com/onnxopt/onnxopt/targets/tensorrt"
	"github.com/onnxopt/onnxopt/targets/tflite"
)

// Profiles lists what pass quantize knows of the runtimes.
func Profiles() []quantize.Profile {
	return slices.Concat(onnxruntime.Profiles(), tensorrt.Profiles(), openvino.Profiles(), tflite.Profiles())
}
