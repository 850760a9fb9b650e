package native

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// run is what the frames of one run share.
type run struct {
	ctx   context.Context
	mem   *ledger
	pool  *par.Pool
	arena *arena // of results in the main graph, and of scratch everywhere

	onNode func(n *ir.Node, begun time.Time, took time.Duration) // may be nil
	types  *infer.Result                                         // nil until somebody asks
}

// frame is one activation of a program: the main graph, a subgraph once around, or a call of a function.
type frame struct {
	run   *run
	prog  *program
	outer *frame // the frame whose values the program captures
	vals  []ir.Datum
	bind  map[string]bound // attributes of the function that is being evaluated
	arena *arena           // of the run; nil where results come from the heap, outside the main graph
	lent  [][]float32      // what the kernel of the step was lent
	// limited holds the slots whose value the step before has already limited as the node that reads it asks: see fuse.go.
	limited map[int]bool
	chained []bool  // the chains that gave their result; nil if none has
	stream  *stream // taps that are handed over; nil in all frames but that of the main graph, and mostly there
}

// bound is an attribute given to a function. Graphs in it belong to the step that calls the function and may look into that
// step's frame.
type bound struct {
	attr *ir.Attr
	home *frame
	at   *step
}

// InternalError is a panic inside a kernel: a fault of this program, not of the model.
type InternalError struct {
	Panic any
	Stack []byte
}

func (e *InternalError) Error() string { return fmt.Sprintf("internal: %v", e.Panic) }

// recovered, deferred, makes a panic an InternalError. A fault on memory goes on: it is no fault of this program, but of whoever
// changed a mapped file, and the caller who asked for panics on faults knows what to do.
func recovered(err *error) {
	switch r := recover(); {
	case r == nil:
	case par.IsFault(r):
		panic(r)
	default:
		*err = &InternalError{r, debug.Stack()}
	}
}

// eval enters the frame with the given inputs and runs it to the end. Taps can be read afterwards.
func (f *frame) eval(args []ir.Datum) ([]ir.Datum, error) {
	p := f.prog
	f.vals = make([]ir.Datum, p.slots)
	for i, d := range args {
		if err := f.set(p.inputs[i], d); err != nil {
			return nil, err
		}
	}
	for _, c := range p.captures {
		if err := f.set(c.to, f.outer.get(c.from)); err != nil {
			return nil, err
		}
	}
	for i := range p.steps {
		if err := f.observed(&p.steps[i]); err != nil {
			return nil, err
		}
	}
	res := make([]ir.Datum, len(p.outputs))
	for i, o := range p.outputs {
		res[i] = f.get(o)
	}
	return res, nil
}

// leave gives back what the frame still holds; its results live on with the caller.
func (f *frame) leave() {
	for i := range f.vals {
		f.clear(i)
	}
}

func (f *frame) get(o operand) ir.Datum {
	switch {
	case o.tensor != nil:
		return o.tensor
	case o.slot >= 0:
		return f.vals[o.slot]
	}
	return nil
}

func (f *frame) set(slot int, d ir.Datum) error {
	f.vals[slot] = d
	if f.arena != nil {
		f.arena.hold(d)
	}
	return f.run.mem.hold(d)
}

// clear empties a slot.
func (f *frame) clear(slot int) {
	d := f.vals[slot]
	f.run.mem.release(d)
	if f.arena != nil {
		f.arena.release(d)
	}
	f.vals[slot] = nil
}

// observed is step, and tells who wants to know how long a node of the main graph took.
func (f *frame) observed(s *step) error {
	if f.run.onNode == nil || f.arena == nil {
		return f.step(s)
	}
	begun := time.Now()
	err := f.step(s)
	f.run.onNode(s.node, begun, time.Since(begun))
	return err
}

// step evaluates one node, stores the results that are wanted and frees what is needed no more.
func (f *frame) step(s *step) error {
	if err := f.run.ctx.Err(); err != nil {
		return err
	}
	if err := f.stream.dying(f, s.free); err != nil { // the step may write over what dies in it
		return err
	}
	done, err := f.skip(s)
	if err == nil && !done {
		err = f.evaluate(s)
	}
	if err == nil {
		err = f.stream.dying(f, s.free)
	}
	if err != nil {
		return err
	}
	for _, v := range f.lent {
		f.arena.putBack(v) // what became no result
	}
	f.lent = f.lent[:0]
	for _, i := range s.free {
		f.clear(i)
	}
	return nil
}

func (f *frame) store(s *step, res []ir.Datum) error {
	for i, slot := range s.out {
		if slot < 0 {
			continue
		}
		if i >= len(res) || res[i] == nil && s.fn == nil {
			return fmt.Errorf("result %d was not computed", i)
		}
		if err := f.set(slot, res[i]); err != nil {
			return err
		}
	}
	return nil
}

// apply runs the kernel or the function of s. A panic becomes an InternalError.
func (f *frame) apply(s *step, in []ir.Datum) (res []ir.Datum, err error) {
	defer recovered(&err)
	if err := f.checkRefs(s.node); err != nil {
		return nil, err
	}
	if s.fn != nil {
		return f.call(s, in)
	}
	if s.fast != nil || s.several != nil {
		res, ok := f.accelerated(s, in)
		if err := f.run.ctx.Err(); err != nil {
			return nil, err // executors stop early and leave the report to this
		}
		if ok {
			return res, nil
		}
	}
	f.makeRoom()
	c := kernel.NewCall(f.run.ctx, s.node.Op(), s.opset, func(name string) *ir.Attr { return f.attr(s, name).attr }, in, len(s.out))
	for i, slot := range s.out {
		c.Out[i] = slot >= 0
	}
	c.Limit = f.run.mem.room()
	if f.arena != nil && s.bodies == nil {
		c.Lend = func(n int) []float32 {
			room := int64(1 << 36)
			if f.run.mem.limit > 0 {
				room = c.Limit
			}
			v := f.arena.get(n, room)
			f.lent = append(f.lent, v)
			return v
		}
	}
	c.Body = func(g *ir.Graph, args []ir.Datum) ([]ir.Datum, error) { return f.body(s, g, args) }
	c.Type = f.run.inferred
	res, err = s.kernel(c)
	if e := new(kernel.LimitError); f.run.mem.limit > 0 && errors.As(err, &e) && !errors.Is(err, engine.ErrMemory) {
		err = fmt.Errorf("%w: %w", engine.ErrMemory, err)
	}
	return res, err
}

// inferred is what inference knows of an output of a body: kernels ask for it where a loop ends before its first iteration.
func (r *run) inferred(o *ir.Slot) *ir.Type {
	v := o.Value()
	if v == nil {
		return nil
	}
	if r.types == nil {
		r.types = infer.Model(v.Graph().Model())
	}
	return r.types.Type(v)
}

// accelerated runs the executor of s.
func (f *frame) accelerated(s *step, in []ir.Datum) ([]ir.Datum, bool) {
	t := &task{frame: f, step: s, in: in, pool: f.run.pool}
	if s.several != nil {
		return s.several(t)
	}
	r, ok := t.execute()
	return []ir.Datum{r}, ok
}

// makeRoom lets free buffers go where a kernel might need the memory: kernels allocate from the heap.
func (f *frame) makeRoom() {
	if l := f.run.mem; f.arena != nil && l.limit > 0 && l.live+f.arena.retained > l.limit/2 {
		f.arena.drop()
	}
}

// call evaluates the function of s. An operand that is not given is an omitted input of the function.
func (f *frame) call(s *step, in []ir.Datum) ([]ir.Datum, error) {
	inner := &frame{run: f.run, prog: s.call, bind: make(map[string]bound, len(s.node.Attrs()))}
	for _, a := range s.fn.Defaults {
		inner.bind[a.Name] = bound{attr: a}
	}
	for _, a := range s.node.Attrs() {
		if b := f.attr(s, a.Name); b.attr != nil {
			inner.bind[a.Name] = b
		}
	}
	res, err := inner.eval(in)
	inner.leave()
	return res, err
}

// body evaluates a subgraph of s, or one that s takes from an attribute of the function it stands in.
func (f *frame) body(s *step, g *ir.Graph, args []ir.Datum) ([]ir.Datum, error) {
	home, p := f, s.bodies[g]
	if p == nil {
		home, p = f.boundBody(g)
	}
	if p == nil {
		return nil, fmt.Errorf("graph %q does not belong to the node", g.Name())
	}
	if len(args) != len(p.inputs) {
		return nil, fmt.Errorf("graph %q has %d inputs and is given %d", g.Name(), len(p.inputs), len(args))
	}
	inner := &frame{run: f.run, prog: p, outer: home, bind: home.bind}
	res, err := inner.eval(args)
	inner.leave()
	if err != nil {
		return nil, err
	}
	for i, d := range res {
		if d == nil {
			return nil, fmt.Errorf("output %d of graph %q was not computed", i, g.Name())
		}
	}
	return res, nil
}

// boundBody finds a graph that came in as an attribute of the function: its program and the frame it may look into.
func (f *frame) boundBody(g *ir.Graph) (*frame, *program) {
	for _, b := range f.bind {
		if b.at != nil && slices.Contains(b.attr.Graphs(), g) {
			return b.home, b.at.bodies[g]
		}
	}
	return nil, nil
}

// attr is the attribute of the node of s as it is in this frame: references are followed to the function's attributes; the
// zero bound if there is none.
func (f *frame) attr(s *step, name string) bound {
	a := s.node.Attr(name)
	switch {
	case a == nil:
		return bound{}
	case a.Ref != "":
		return f.bind[a.Ref]
	}
	return bound{a, f, s}
}

// checkRefs reports a reference to a function's attribute of another kind.
func (f *frame) checkRefs(n *ir.Node) error {
	if f.bind == nil {
		return nil
	}
	for _, a := range n.Attrs() {
		if a.Ref == "" {
			continue
		}
		if b := f.bind[a.Ref]; b.attr != nil && a.Kind != ir.AttrUndefined && b.attr.Kind != a.Kind {
			return fmt.Errorf("attribute %s is a %s and refers to %s, a %s", a.Name, a.Kind, a.Ref, b.attr.Kind)
		}
	}
	return nil
}
