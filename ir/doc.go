// Package ir is the graph that passes work on: an SSA form of ONNX.
//
// Identity belongs to the graph, names to the interface. A Value is a pointer; its name is a hint. Only the main graph's inputs
// and outputs own their names. Graph outputs are uses like any other: the operands of a graph's Return node. The order of nodes
// is derived, not stored. Every edit goes through this package and advances an epoch of a facet, so that nobody has to
// report whether something changed.
//
// A panic means that the caller broke the API; an error means that the data is bad.
//
// # Invariants
//
// Verify checks them by number:
//
//  1. Operands come from the node's graph or one that encloses it.
//  2. Def-use is acyclic within a graph; a node also waits for what its subgraphs capture.
//  3. A node uses a value at i if and only if its operand i is that value, recounted both ways.
//  4. A value has one definition, and nothing alive uses a dead one.
//  5. Interface names are non-empty, inputs are distinct, and an output name is repeated only for the same value.
//  6. A constant's payload has the length of its type and shape.
//  7. Every domain in use is imported.
//  8. A subgraph belongs to the one node whose attribute it is, and sees that node's graph.
//  9. A function's body captures nothing, functions have distinct names and do not call themselves.
package ir
