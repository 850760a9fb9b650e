// Package ort runs models with ONNX Runtime. The library is opened at run time, without cgo, and called through its C API,
// whose table is append-only: any version from 1.17 on serves.
//
// What crosses the border is pinned from before the call until after the last use of what the call gave: ONNX Runtime keeps
// no pointer into Go memory beyond that, and results are copied out of its memory.
//
// With build tag static the package has no loader: everything compiles, Find and Open say so in their error, and the
// program can be linked statically.
package ort
