// Package native is the embedded engine: pure Go and assembly, no libraries. Load compiles each graph into steps over numbered
// slots. A step evaluates its node with an executor (fast.go) where one fits, which means vectorised float32 within 1e-5 of
// the kernel, or else with the kernel of ops/kernel.
//
// The engine of [New] never merges nodes in a way that changes their bits, so that models which exact passes made of one another
// give the same bits. That of [Merging] does so in one case: what lies between DequantizeLinear and QuantizeLinear is computed in
// integers where it can be, within one quantization step of the separate nodes (qdq.go).
package native

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// lookup finds the kernel of an operator in a version of its domain, nil if there is none.
type lookup func(op ir.OpID, opset int64) kernel.Func

type native struct {
	kernels lookup
	fast    *accelerators // nil: kernels only
}

// New returns the engine. It has no state: one serves the whole process.
func New() engine.Engine { return native{kernel.Lookup, executors()} }

// Merging returns the engine for running quantized models fast. What lies between two quantizers is within one step of what [New]
// makes of the same operands, so that a deep model's outputs may differ by more, and which nodes surround which has a part in it: it
// is not for comparing a model with what an exact pass made of it. On models without QuantizeLinear it is the same engine.
func Merging() engine.Engine {
	e := executors()
	e.chains = matchers()
	return native{kernel.Lookup, e}
}

// Portable returns the engine that uses the kernels of ops/kernel only: slower, and the same bits on every machine. It is what
// constant folding computes, and the oracle of the executors.
func Portable() engine.Engine { return native{kernels: kernel.Lookup} }

// Name is "native".
func (native) Name() string { return "native" }

// Load translates m into steps over numbered slots and checks that every operator which a run can reach has a kernel. The
// session keeps m's tensors, not its graph's caches; m must not be edited or loaded by another goroutine meanwhile.
//
// Options.MaxMemory bounds what a run holds at one time: its inputs, the results that are still needed and the taps.
// Tensors that share elements count once. The model's constants do not count: they belong to the model. One evaluation of
// an operator may allocate what was left when it began, so a run stays below the limit times the depth of its subgraphs.
func (e native) Load(ctx context.Context, m *ir.Model, o engine.Options) (engine.Session, error) {
	if m.Main == nil {
		return nil, fmt.Errorf("%s has no graph", m)
	}
	c := newCompiler(ctx, e.kernels, functionsOf(m))
	if e.fast != nil {
		c.fast, c.room = e.fast, knownBytes
		if o.MaxMemory > 0 {
			c.room = min(c.room, o.MaxMemory/4)
		}
	}
	p, err := c.main(m.Main, o.Taps, o.Stream)
	if err != nil {
		return nil, err
	}
	s := &session{prog: p, stream: o.Stream, limit: o.MaxMemory, onNode: o.OnNode, pool: par.New(o.Threads), inputs: m.Main.Inputs(), known: make(map[string]bool, len(m.Main.Inputs()))}
	for _, in := range s.inputs {
		s.known[in.Name()] = true
	}
	return s, nil
}

// functionsOf indexes the model-local functions by operator.
func functionsOf(m *ir.Model) func(ir.OpID) *ir.Function {
	byID := make(map[ir.OpID]*ir.Function, len(m.Functions))
	for _, f := range m.Functions {
		if _, ok := byID[f.ID()]; !ok {
			byID[f.ID()] = f
		}
	}
	return func(op ir.OpID) *ir.Function { return byID[op] }
}

// session is a loaded model. It is immutable but for the arenas that runs leave to the next; each run has its own frames.
type session struct {
	prog   *program
	limit  int64
	pool   *par.Pool
	arenas sync.Pool // of *arena
	inputs []*ir.Slot
	known  map[string]bool // input names
	onNode func(n *ir.Node, begun time.Time, took time.Duration)
	stream bool // taps are not kept
}

// arena returns one that no other run uses.
func (s *session) arena() *arena {
	if a, ok := s.arenas.Get().(*arena); ok {
		return a
	}
	return newArena()
}

// Run implements engine.Session.
func (s *session) Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	out, _, err := s.RunTaps(ctx, in)
	return out, err
}

// RunTaps implements engine.Session.
func (s *session) RunTaps(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, []ir.Datum, error) {
	return s.run(ctx, in, nil)
}

// StreamTaps implements engine.Streamer.
func (s *session) StreamTaps(ctx context.Context, in map[string]ir.Datum, each func(tap int, d ir.Datum) error) error {
	if !s.stream {
		return errors.New("the session was loaded to keep its taps")
	}
	_, _, err := s.run(ctx, in, newStream(s.prog.taps, each))
	return err
}

// run evaluates the model; taps, if not nil, are handed over on the way.
func (s *session) run(ctx context.Context, in map[string]ir.Datum, taps *stream) (map[string]ir.Datum, []ir.Datum, error) {
	if err := s.checkInputs(in); err != nil {
		return nil, nil, err
	}
	args := make([]ir.Datum, len(s.inputs))
	for i, slot := range s.inputs {
		if d, ok := in[slot.Name()]; ok {
			args[i] = d
		} else {
			args[i] = slot.Value().Default()
		}
	}
	a := s.arena()
	pool, end := s.pool.Awake()
	defer end()
	f := &frame{run: &run{ctx: ctx, mem: newLedger(s.limit), pool: pool, arena: a, onNode: s.onNode}, prog: s.prog, arena: a, stream: taps}
	res, err := f.eval(args)
	if err != nil {
		return nil, nil, err // and the arena with what is lent is left to the garbage collector
	}
	for i, slot := range s.prog.graph.Outputs() {
		if res[i] == nil {
			return nil, nil, fmt.Errorf("output %q was not computed", slot.Name())
		}
	}
	if taps != nil {
		if err := taps.rest(f); err != nil {
			return nil, nil, err
		}
	}
	if !s.stream {
		for _, t := range s.prog.taps {
			res = append(res, f.get(t))
		}
	}
	a.leave(res)
	s.arenas.Put(a)
	out := make(map[string]ir.Datum, len(s.prog.graph.Outputs()))
	for i, slot := range s.prog.graph.Outputs() {
		out[slot.Name()] = res[i]
	}
	return out, res[len(s.prog.graph.Outputs()):], nil
}

// Close implements engine.Session; there is nothing to release.
func (s *session) Close() error { return nil }
