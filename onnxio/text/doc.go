// Package text reads and writes models in ONNX's textual syntax, the notation of onnx.parser and onnx.printer:
//
//	<ir_version: 10, opset_import: ["" : 21]>
//	classifier (float[N,4] x) => (float[N,2] y)
//	   <float[4,2] w = {1,0,0,1,1,0,0,1}>
//	{
//	   z = MatMul (x, w)
//	   y = Softmax <axis: int = -1> (z)
//	}
//
// Parse makes a model of a text and Print a text of a model; what prints parses back to the same model. The layout is that of
// ONNX's printer. What that printer loses has a spelling here, as far as possible one that ONNX's parser takes for a comment
// or a quoted name. docs/text.md is the reference.
//
// Parsing has two stages. ParseFile, ParseGraphDecl and ParseNodes stop at a syntax tree (File, GraphDecl, NodeDecl, ...) with
// positions; patterns and rules are made of it. File.Model resolves names and builds the model. Errors of both are *Error.
//
// The parser is meant for texts from anywhere: time and memory are linear in the length of the text, nesting is bounded,
// and declared sizes are believed only as far as there are elements.
package text
