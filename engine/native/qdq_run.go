package native

import (
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// enter gives a step its part in the chain of its node. The first of a chain needs the chain's inputs.
func (s *scope) enter(st *step) (err error) {
	if c := s.chains.at[st.node]; c != nil {
		st.chain = c
		if st.node == c.nodes[0] {
			c.in = make([]operand, len(c.inputs))
			for i, v := range c.inputs {
				if c.in[i], err = s.resolve(v); err != nil {
					return err
				}
			}
		}
	}
	for _, c := range s.chains.deferred[st.node] {
		st.deferred = true
		c.deferred = append(c.deferred, s.now)
	}
	return nil
}

// skip reports whether the step need not run, because a chain has given its result or may do without it.
func (f *frame) skip(s *step) (bool, error) {
	switch c := s.chain; {
	case s.deferred:
		return true, nil
	case c == nil:
		return false, nil
	case s.node != c.nodes[0]:
		return f.chained != nil && f.chained[c.id], nil
	default:
		return f.try(s, c)
	}
}

// try evaluates a chain. Where it does not apply, its dequantizations run, which have waited for that.
func (f *frame) try(s *step, c *chain) (bool, error) {
	t := &task{frame: f, step: s, in: make([]ir.Datum, len(c.in)), pool: f.run.pool}
	for i, o := range c.in {
		t.in[i] = f.get(o)
	}
	r, ok, err := f.attempt(c, t)
	if err != nil {
		return false, &engine.NodeError{Name: s.node.Name(), Op: s.node.Op(), Err: err}
	}
	if err := f.run.ctx.Err(); err != nil {
		return false, err
	}
	if ok {
		if f.chained == nil {
			f.chained = make([]bool, f.prog.chains)
		}
		f.chained[c.id] = true
		if err := f.set(c.out, r); err != nil {
			return false, &engine.NodeError{Name: s.node.Name(), Op: s.node.Op(), Err: err}
		}
		return true, nil
	}
	for _, i := range c.deferred {
		d := &f.prog.steps[i]
		if f.vals[d.out[0]] != nil {
			continue // another chain has needed it
		}
		if err := f.evaluate(d); err != nil {
			return false, err
		}
	}
	return false, nil
}

// attempt runs the executor of a chain. A panic becomes an InternalError.
func (f *frame) attempt(c *chain, t *task) (r *ir.Tensor, ok bool, err error) {
	defer recovered(&err)
	r, ok = c.run(t)
	return r, ok, nil
}

// evaluate runs one step and stores its results.
func (f *frame) evaluate(s *step) error {
	in := make([]ir.Datum, len(s.in))
	for i, o := range s.in {
		in[i] = f.get(o)
	}
	res, err := f.apply(s, in)
	if err == nil {
		err = f.store(s, res)
	}
	if err != nil {
		if end := f.run.ctx.Err(); end != nil {
			return end
		}
		return &engine.NodeError{Name: s.node.Name(), Op: s.node.Op(), Err: err}
	}
	return nil
}
