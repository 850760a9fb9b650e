// Package onnxopt is an optimizer for ONNX models: to ONNX what LLVM's opt is to LLVM IR. A model goes in, a list of passes
// runs over an SSA graph, and a smaller and faster model comes out that has been compared with the original.
//
// # In a program
//
//	f, err := onnxio.Open("model.onnx", onnxio.Options{})
//	...
//	defer f.Close()
//	res, err := onnxopt.Optimize(ctx, f.Model, onnxopt.Options{})
//	...
//	_, err = onnxio.WriteFile("out.onnx", f.Model, onnxio.WriteOptions{})
//
// # The command with passes of your own
//
// A pass is a constant descriptor, see package passes. A program with it beside the others is
//
//	func main() { onnxopt.Main(mypass.Pass) }
//
// # The tour
//
//   - package ir: the graph. Values are pointers, order is derived, every edit is observed.
//   - package onnxio, and text below it: files and streams to ir and back, without loss.
//   - package ops: what operators mean: schemas; infer: types and shapes; kernel: numerics.
//   - package engine: running a model; native is the embedded engine.
//   - package compare: whether two models compute the same.
//   - package passes: the framework; rewrite: patterns and rules; passtest: the test harness; all: the list and the presets.
//   - package report: models in numbers.
package onnxopt

import (
	"context"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/internal/cli"
	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	targetlist "github.com/onnxopt/onnxopt/targets/all"
)

// Main is the command onnxopt with further passes. It uses the process's arguments and streams and ends it.
func Main(more ...*passes.Pass) { cli.Main(more) }

// Options of Optimize. The zero value does what the command does by default.
type Options struct {
	// Pipeline in text, as -p takes it; "" is "O2".
	Pipeline string
	// Passes that the pipeline may name besides the module's own.
	Passes []*passes.Pass
	// Skip lists passes to leave out, "pass" or "pass,rule".
	Skip []string
	// Verify says whether the result is compared with the original; "" is Auto.
	Verify Verify
	// Budget of the comparison: time, and bytes of memory. Zero is 10 s and 512 MB.
	Time   time.Duration
	Memory int64
	// Threads of the comparison; results do not depend on it. Zero is one.
	Threads int
	// Seed of the inputs that are generated for the comparison.
	Seed uint64
	// Undo leaves a rewrite that breaks the model out instead of failing.
	Undo bool
	// Hooks watch the run; Remarks is told of each rewrite, and why rules were not applied. Both may be nil.
	Hooks   []passes.Hook
	Remarks func(passes.Remark)
	// Files holds the contents of the files that options of passes name.
	Files map[passes.File][]byte
}

// Verify says whether the result of Optimize is compared with the original.
type Verify = optimize.Mode

// The values of Verify.
const (
	Auto   Verify = optimize.Auto   // where that can be done; Result.Verification says whether it was
	Strict Verify = optimize.Strict // what cannot be compared is an error
	Off    Verify = optimize.Off
)

// Result says what was done and how the result was verified.
type Result = optimize.Result

// The errors of Optimize, besides those of the context, of options that are wrong, and of passes that cannot do what their
// options ask for.
type (
	// InputError says that the model was not valid to begin with.
	InputError = optimize.InputError
	// FailedError says that the result is wrong, which rewrite is to blame, and holds a reproducer.
	FailedError = optimize.FailedError
	// UnverifiedError says, under Strict, that nothing could be compared, and why.
	UnverifiedError = optimize.UnverifiedError
)

// Optimize runs a pipeline on m, in place, and verifies the result. After an error m must not be used.
func Optimize(ctx context.Context, m *ir.Model, o Options) (*Result, error) {
	r, err := all.RegistryFor(targetlist.Profiles(), o.Passes...)
	if err != nil {
		return nil, err
	}
	if o.Pipeline == "" {
		o.Pipeline = "O2"
	}
	p, err := r.Parse(o.Pipeline)
	if err != nil {
		return nil, err
	}
	q := optimize.Request{
		Model: m, Pipeline: p, Files: o.Files, Remarks: o.Remarks, Hooks: o.Hooks, Verify: o.Verify, Threads: o.Threads,
		Budget: compare.Budget{Time: o.Time, Memory: o.Memory}, Seed: o.Seed, Undo: o.Undo,
	}
	if q.Verify == "" {
		q.Verify = Auto
	}
	for _, s := range o.Skip {
		k, err := r.ParseSkip(s)
		if err != nil {
			return nil, err
		}
		q.Skip = append(q.Skip, k)
	}
	return optimize.Run(ctx, q)
}
