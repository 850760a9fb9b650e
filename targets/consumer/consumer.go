// Package consumer runs what targets write in the runtimes they write for. Each is a Python package of its own, which need not be here:
// the caller names a Python that has it.
package consumer

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
)

//go:embed serve.py
var serve string

//go:embed litert.py
var litert string

//go:embed openvino.py
var openvino string

//go:embed onnxruntime.py
var onnxruntime string

//go:embed tvm.py
var tvm string

// Consumer is a runtime.
type Consumer struct {
	Name       string   // "litert"
	Title      string   // as its makers spell it
	Target     string   // whose artifacts it runs
	Package    string   // in PyPI, with the version that is tested
	Module     string   // that Python imports
	Variable   string   // of the environment, that names the Python
	Extensions []string // of files that are for it alone, with the dot
	Layers     bool     // it shows values that are no outputs
	Modes      []string // besides the default one

	script string
}

// All lists the consumers.
func All() []*Consumer {
	return []*Consumer{
		{
			Name: "litert", Title: "LiteRT", Target: "tflite", Package: "ai-edge-litert==2.3.0", Module: "ai_edge_litert", Variable: "ONNXOPT_LITERT",
			Extensions: []string{".tflite", ".lite"}, Layers: true, Modes: []string{"plain", "reference"}, script: litert,
		},
		{
			Name: "openvino", Title: "OpenVINO", Target: "openvino", Package: "openvino==2026.4.1", Module: "openvino", Variable: "ONNXOPT_OPENVINO",
			Extensions: []string{".xml"}, Layers: true, script: openvino,
		},
		{Name: "onnxruntime", Title: "ONNX Runtime", Target: "onnxruntime", Package: "onnxruntime==1.32.0", Module: "onnxruntime", Variable: "ONNXOPT_PYTHON", Modes: []string{"plain"}, script: onnxruntime},
		{Name: "tvm", Title: "TVM", Target: "tvm", Package: "apache-tvm==0.27.0.post1", Module: "tvm", Variable: "ONNXOPT_TVM", script: tvm},
	}
}

// Lookup finds a consumer by its name, nil if there is none.
func Lookup(name string) *Consumer {
	for _, c := range All() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Of is the consumer that a file is for, by its extension; nil for those that several read, as ONNX models.
func Of(file string) *Consumer {
	ext := strings.ToLower(filepath.Ext(file))
	for _, c := range All() {
		for _, e := range c.Extensions {
			if e == ext {
				return c
			}
		}
	}
	return nil
}

// MissingError says that a consumer is not installed.
type MissingError struct {
	Consumer *Consumer
	Python   string // that was asked; "" if none was found
}

func (e *MissingError) Error() string {
	c := e.Consumer
	where := "there is no Python on the PATH"
	if e.Python != "" {
		where = e.Python + " has no module " + c.Module
	}
	return fmt.Sprintf("%s is not installed: %s; pip install %s, and name its Python in %s", c.Title, where, c.Package, c.Variable)
}
