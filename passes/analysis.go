package passes

import "github.com/onnxopt/onnxopt/ir"

// Analysis computes facts about a model. It is a constant descriptor; results are cached in the run.
type Analysis[R any] struct {
	Name    string
	Reads   []ir.Facet // the result holds until one of these facets changes
	Compute func(c *Context, m *ir.Model) (R, error)
}

type cached struct {
	epochs [4]uint64
	types  uint64
	value  any
}

// Get is the result of a, computed anew if something it reads has changed.
func Get[R any](c *Context, a *Analysis[R]) (R, error) {
	var now [4]uint64
	for i, f := range a.Reads {
		now[i] = c.m.Epoch(f)
	}
	if e, ok := c.cache[a]; ok && e.epochs == now {
		return e.value.(R), nil
	}
	return compute(c, a, now)
}

// GetFacts is for an analysis whose results are facts about single values, which stay true under rewrites because a rewrite
// never changes what a value computes: it returns the latest result since a recorded type was last changed, although it may
// know nothing of values made after it.
func GetFacts[R any](c *Context, a *Analysis[R]) (R, error) {
	if e, ok := c.cache[a]; ok && e.types == c.m.Epoch(ir.Types) {
		return e.value.(R), nil
	}
	return Get(c, a)
}

// Primed is a result that a run begins with, see Prime.
type Primed func(*runner)

// Prime hands the result of an analysis of a model to a run on that model, which then does not compute it. The model must not have
// changed in between.
func Prime[R any](a *Analysis[R], r R) Primed {
	return func(run *runner) {
		e := cached{types: run.m.Epoch(ir.Types), value: r}
		for i, f := range a.Reads {
			e.epochs[i] = run.m.Epoch(f)
		}
		run.cache[a] = e
	}
}

func compute[R any](c *Context, a *Analysis[R], now [4]uint64) (R, error) {
	r, err := a.Compute(c, c.m)
	if err == nil {
		c.cache[a] = cached{now, c.m.Epoch(ir.Types), r}
	}
	return r, err
}
