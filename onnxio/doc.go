// Package onnxio reads ONNX models into package ir and writes them again, losing nothing.
//
// # Reading
//
// Open maps a file; weights stay where they are and are read when somebody asks for them. What the package does not interpret
// is kept as bytes in the Extra fields of ir, in the file's field order and encoding, so that an untouched model leaves with
// the bytes it came with. A fault in a file is one line that names the message's path and the byte; what is only odd is a
// remark. Weights are slices of the map: code that reads them does so inside Guard, so that a file truncated meanwhile is an
// error.
//
// Data files are opened below the model's folder only, and every place in them is checked before a byte is read.
//
// # Writing
//
// A message is laid out by its source: unchanged fields keep their bytes, changed ones are replaced, unknown ones stay. The
// writer streams and never changes the model. It names what has no name, puts an Identity where the format can name an
// output in no other way, lists the nodes in their derived order, and makes constants what the graph can hold:
// initializers, listed as inputs below IR version 4, or Constant nodes in functions.
//
// WriteFile replaces a file as a whole. Large weights go to data files where the options say so, or where a single file
// would be larger than other readers accept.
package onnxio
