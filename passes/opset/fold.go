package opset

import (
	"context"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// foldLimit is how many bytes one constant may take that stands for an operator which the version does not have.
const foldLimit = 1 << 30

// recast is a constant in another element type. The rehearsal and the conversion share the results.
type recast struct {
	t *ir.Tensor
	d ir.DType
}

// castConst is constant v in type d, as Cast gives it, for types that Cast does not take in this version.
func (s *site) castConst(v *ir.Value, d ir.DType) *ir.Value {
	t := v.Const()
	key := recast{t, d}
	r := s.c.recasts[key]
	if r == nil {
		to := ir.IntAttr("to", int64(d))
		out, err := evaluate(ir.Op("Cast"), func(name string) *ir.Attr {
			if name == "to" {
				return to
			}
			return nil
		}, []ir.Datum{t}, 1)
		if err != nil {
			s.refuse("its constant cannot be cast: %v", err)
			return v
		}
		r = out[0].(*ir.Tensor)
		s.c.recasts[key] = r
	}
	c := s.constant(r)
	if v.Graph() == s.g && s.g.Outer() == nil {
		c.SetName(v.Name())
	}
	return c
}

// evaluate runs a kernel in the newest version.
func evaluate(op ir.OpID, attr func(string) *ir.Attr, in []ir.Datum, results int) ([]ir.Datum, error) {
	c := kernel.NewCall(context.Background(), op, newest, attr, in, results)
	c.Limit = foldLimit
	return kernel.Lookup(op, newest)(c)
}

// casts reports whether Cast takes type d in this version.
func (s *site) casts(d ir.DType) bool {
	k := schema.Lookup(ir.Op("Cast"), s.to)
	return k != nil && k.Inputs()[0].Types().Tensor>>d&1 != 0
}

// fold makes n a constant if its operands are constants and its operator gives the same each time.
func (s *site) fold() bool {
	n := s.n
	f := kernel.Lookup(n.Op(), s.from)
	if f == nil || kernel.Random(n.Op()) || len(n.Subgraphs()) > 0 || n.HasRefs() {
		return false
	}
	in := make([]ir.Datum, n.NumOperands())
	for i, v := range n.Operands() {
		if v == nil {
			continue
		}
		t := v.Const()
		if t == nil {
			return false
		}
		in[i] = t
	}
	c := kernel.NewCall(context.Background(), n.Op(), s.from, n.Attr, in, n.NumResults())
	c.Limit = foldLimit
	r, err := f(c)
	if err != nil {
		return false
	}
	out := make([]*ir.Value, n.NumResults())
	for i := range out {
		t, ok := r[min(i, len(r)-1)].(*ir.Tensor)
		if i >= len(r) || !ok {
			return false
		}
		out[i] = s.constant(t)
	}
	s.replace(out...)
	return s.why == ""
}
