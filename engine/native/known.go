package native

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// knownBytes bounds what Load computes ahead where no memory limit is set.
const knownBytes = 1 << 30

// ahead evaluates st now if its operands are constants, as Load does once for all runs. It leaves alone what an executor would
// run, whose bits the kernel does not have, and what draws random numbers; where the kernel fails or the result is too large,
// the step stays and every run deals with it.
func (s *scope) ahead(st *step) bool {
	n := st.node
	if st.deferred || st.chain != nil || st.fast != nil || st.several != nil || st.fn != nil || st.kernel == nil || st.bodies != nil || n.HasRefs() || kernel.Random(n.Op()) || len(st.in) == 0 {
		return false
	}
	in := make([]ir.Datum, len(st.in))
	for i, o := range st.in {
		switch {
		case o.tensor != nil:
			in[i] = o.tensor
		case o.slot >= 0:
			return false
		}
	}
	c := kernel.NewCall(s.c.ctx, n.Op(), st.opset, n.Attr, in, n.NumResults())
	for i, v := range n.Results() {
		c.Out[i] = v != nil && (v.NumUses() > 0 || s.tap[v])
	}
	if c.Limit = s.c.room; c.Limit <= 0 {
		return false
	}
	res, err := evaluate(st.kernel, c)
	if err != nil {
		return false
	}
	known, size := make([]*ir.Tensor, len(c.Out)), int64(0)
	for i, want := range c.Out {
		if !want {
			continue
		}
		if i >= len(res) {
			return false
		}
		t, ok := res[i].(*ir.Tensor)
		if !ok || t == nil || t.DType() == ir.String {
			return false
		}
		known[i] = t
		size += t.ByteLen()
	}
	if size > s.c.room {
		return false
	}
	s.c.room -= size
	for i, t := range known {
		if t != nil {
			s.known[n.Result(i)] = t
		}
	}
	return true
}

// evaluate calls a kernel; a panic is an error.
func evaluate(f kernel.Func, c *kernel.Call) (res []ir.Datum, err error) {
	defer recovered(&err)
	return f(c)
}
