// Package infer finds out what is known of the values of a model before it runs: types, shapes whose sizes may be expressions over the
// model's named dimensions, and the elements of small tensors that shape arithmetic is made of.
//
// Results stand beside the graph; nothing is written into ir unless Annotate is asked to. Inference never fails: what is wrong with the
// model is collected as remarks. A dynamic dimension never becomes a number: sizes come from operands and attributes; what a file records
// of an intermediate value is used only where inference knows nothing, and is reported where it contradicts.
//
// Each operator is one function in the table of rules.go. Before it is called, the results have the element types that the schema
// implies, so that most functions state shapes only. A model-local function is inferred at each call with the call's operand types and
// attributes, and once by itself, without any knowledge of its callers; the latter is what the Result holds for the values in its body.
//
// The cost is linear in the size of the model: bodies of loops are visited a bounded number of times, calls of functions with the same
// operand types once, and expressions that grow too long are given a new name.
package infer
