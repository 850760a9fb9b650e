// Package reduce shrinks a failing case, a model and perhaps a pipeline, to a small one that still fails: delta debugging (Zeller and
// Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002) over passes, outputs, nodes, subgraphs,
// functions, operands, attributes, sizes and elements of constants.
//
// As in structured reducers (Regehr et al., "Test-Case Reduction for C Compiler Bugs", PLDI 2012) every candidate is a valid model if
// the first one is, so that few tests are wasted on nonsense. Each kind of edit makes the case smaller by its own measure, so that
// the search ends.
package reduce

import (
	"context"
	"fmt"
	"hash/maphash"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
)

// Case is what is reduced.
type Case struct {
	Model    *ir.Model
	Pipeline *passes.Pipeline // nil: there is none
}

// Test reports whether a case fails the same way as the first one. An error ends the reduction. The test must not change the model.
type Test func(ctx context.Context, c Case) (fails bool, err error)

// Options of Run. The zero value is usable, but for cases with a pipeline.
type Options struct {
	// Parse reads a pipeline; needed if the case has one.
	Parse func(text string) (*passes.Pipeline, error)
	// Progress is told what is tried, and what the smallest case so far has; may be nil.
	Progress func(doing string)
	// Smaller is called with each smaller case that fails; may be nil.
	Smaller func(c Case)
}

// Stats say what a reduction did.
type Stats struct {
	Tests, Accepted int
}

// Run reduces c, which is not changed. test(c) is taken to hold. When the context ends, the smallest case so far comes with its
// error.
func Run(ctx context.Context, c Case, test Test, o Options) (Case, Stats, error) {
	r := &reducer{ctx: ctx, test: test, o: o, best: Case{c.Model.Clone(), c.Pipeline}, seen: map[uint64]bool{}, seed: maphash.MakeSeed()}
	r.valid = ir.Verify(c.Model) == nil && ops.Verify(c.Model) == nil
	for {
		before := r.stats.Accepted
		for _, pass := range r.passes() {
			if r.err != nil {
				return r.best, r.stats, r.err
			}
			r.doing = pass.name
			pass.run()
		}
		if r.err != nil || r.stats.Accepted == before {
			return r.best, r.stats, r.err
		}
	}
}

type reducer struct {
	ctx   context.Context
	test  Test
	o     Options
	best  Case
	valid bool // the first model is; so have to be the others
	doing string
	stats Stats
	err   error
	seen  map[uint64]bool
	seed  maphash.Seed
}

// reduction is one kind of edit.
type reduction struct {
	name string
	run  func()
}

// passes are the kinds of edits, those that may take away most first.
func (r *reducer) passes() []reduction {
	return []reduction{
		{"passes", r.pipeline}, {"unused nodes", r.unused}, {"outputs", r.outputs}, {"nodes", r.nodes}, {"nodes after the failure", r.cutBehind},
		{"nodes", r.bypass}, {"subgraphs", r.inlineBranches}, {"functions", r.inlineCalls}, {"results", r.results}, {"inputs", r.inputs}, {"operands", r.operands},
		{"attributes", r.attributes}, {"sizes", r.sizes}, {"constants", r.constants}, {"types", r.types}, {"names", r.metadata},
	}
}

// maxHashed bounds the weights of models whose candidates are remembered by their text.
const maxHashed = 1 << 20

// try tests what edit makes of a copy of the smallest case, and takes it if it fails too. edit reports whether it did anything; it
// may leave what is no longer used.
func (r *reducer) try(edit func(m *ir.Model) bool) bool {
	m := r.best.Model.Clone()
	if !edited(m, edit) {
		return false
	}
	return r.offer(Case{m, r.best.Pipeline})
}

// edited runs an edit; one that breaks the rules of ir is none.
func edited(m *ir.Model, edit func(m *ir.Model) bool) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	nodes, consts := idle(m)
	if !edit(m) {
		return false
	}
	clean(m, nodes, consts)
	return true
}

// offer tests a candidate and takes it if it fails.
func (r *reducer) offer(c Case) bool {
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	if r.err != nil || ir.Verify(c.Model) != nil || r.valid && ops.Verify(c.Model) != nil {
		return false
	}
	if weights(c.Model) <= maxHashed {
		key := r.hash(c)
		if r.seen[key] {
			return false
		}
		r.seen[key] = true
	}
	r.stats.Tests++
	if r.o.Progress != nil {
		r.o.Progress(fmt.Sprintf("%d nodes, test %d: fewer %s", count(r.best.Model), r.stats.Tests, r.doing))
	}
	fails, err := r.test(r.ctx, c)
	if err != nil {
		r.err = err
		return false
	}
	if fails {
		r.stats.Accepted++
		r.best = c
		if r.o.Smaller != nil {
			r.o.Smaller(c)
		}
	}
	return fails
}

func (r *reducer) hash(c Case) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	if c.Pipeline != nil {
		h.WriteString(c.Pipeline.String())
	}
	if err := text.Print(&h, c.Model, text.Options{}); err != nil {
		return maphash.Comparable(r.seed, c.Model)
	}
	return h.Sum64()
}

func count(m *ir.Model) int {
	n := 0
	for _, g := range m.Graphs() {
		n += g.NumNodes()
	}
	return n
}

func weights(m *ir.Model) int64 {
	n := int64(0)
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			n += max(v.Const().ByteLen(), 0)
		}
	}
	return n
}

// smallest removes parts of a list of n things as long as keep holds of what remains: chunks of falling size, complement by
// complement. drop is asked to do without the given ones, by their number among those that remain, and reports whether it could.
func smallest(n int, drop func(chunk []int) bool) {
	for size := (n + 1) / 2; size >= 1 && n > 0; {
		removed := false
		for at := n - size; at > -size; at -= size { // from the end: what is behind depends on what is before
			lo := max(at, 0)
			chunk := make([]int, 0, size)
			for i := lo; i < at+size; i++ {
				chunk = append(chunk, i)
			}
			if drop(chunk) {
				n -= len(chunk)
				removed = true
			}
		}
		switch {
		case size > 1:
			size = min((size+1)/2, max(n, 1))
		case removed: // what could not be done without may be unnecessary now
		default:
			return
		}
	}
}
