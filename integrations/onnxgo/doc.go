// Package onnxgo is a backend of github.com/owulveryck/onnx-go: programs that decode models with onnx-go run them with onnxopt's passes and
// its embedded engine, which has the operators of the ONNX standard and most of ONNX Runtime's own.
//
// One line changes:
//
//	backend := onnxgo.NewGraph() // was gorgonnx.NewGraph()
//	model := onnx.NewModel(backend)
//
// What onnx-go hands to a backend is less than the file holds: no operator set, no domains, no subgraphs, no type narrower than 32 bits
// that is not an integer. The operator set is found from what the operators look like (see WithOpset for what happens where that leaves two
// meanings). Models beyond onnx-go's decoder are read by this module's, with the other line changed:
//
//	model := onnxgo.NewModel(backend) // was onnx.NewModel(backend)
//
// A Graph is prepared at its first Run and again when inputs come in another shape; a size that has changed once is open from then on.
// Float16 and bfloat16 are float32 on the side of the program, because gorgonia.org/tensor has neither. A Graph is for one goroutine.
package onnxgo
