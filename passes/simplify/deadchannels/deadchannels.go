// Package deadchannels removes channels that are always zero.
package deadchannels

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// Pass removes channels that are zero whatever the input.
var Pass = passes.Define(passes.Info{
	Name: "dead-channels",
	Doc:  "removes channels that are zero whatever the input, with all that makes and reads them",
	Long: `A filter of zeros whose bias is zero, or is made zero by a Relu behind it, adds nothing to what reads it. It goes, with its bias, its place in
normalizations and sums, and the slices of the weights that read it, if these are finite. Training with a penalty on whole filters leaves such.
Nothing but terms that are zero is left out of sums, as long as what the filter is handed is finite.`,
	// The sums that are left add up in another order where kernels cut them into blocks.
	Promise: passes.Promise{RelTol: 1e-5},
}, struct{}{}, run)

func run(c *passes.Context, m *ir.Model, _ struct{}) error {
	if !candidates(m) {
		return nil
	}
	for {
		f, err := facts.Of(c)
		if err != nil {
			return err
		}
		s := &state{facts: f, known: map[*ir.Value]channels{}}
		for n := range m.Main.Nodes() {
			s.visit(n)
		}
		if !s.promising(m) {
			return nil
		}
		g := coupling.New(m, f)
		done, err := s.one(c, g)
		if err != nil || done {
			return err
		}
	}
}

// one removes the dead units of the first family that has any. It reports true if there is none.
func (s *state) one(c *passes.Context, g *coupling.Graph) (bool, error) {
	for _, f := range g.Families() {
		dead := s.dead(g, f)
		if len(dead) == 0 {
			continue
		}
		at := maker(g, f)
		if at == nil || !c.Enabled("dead-channels", at) {
			continue
		}
		var err error
		if c.Rewrite("dead-channels", at, nil, func() { err = g.Remove(dead) }) {
			return false, err
		}
	}
	return true, nil
}

// promising reports whether a layer is handed a channel of zeros.
func (s *state) promising(m *ir.Model) bool {
	for n := range m.Main.Nodes() {
		if n.Is("Conv", "ConvTranspose", "Gemm", "MatMul") && slices.Contains(s.known[n.Operand(0)].value, 0) {
			return true
		}
	}
	return false
}

// maker is the first node whose weights make the family.
func maker(g *coupling.Graph, f *coupling.Family) *ir.Node {
	axes := f.Axes()
	for i := range g.Contractions {
		c := &g.Contractions[i]
		for d, r := range c.Roles {
			if a := g.OperandAxis(c, d); r == coupling.Out && a != nil && slices.Contains(axes, a) {
				return c.Node
			}
		}
	}
	return nil
}

// dead lists units all of whose elements are zero where they are read. Some unit is always left.
func (s *state) dead(g *coupling.Graph, f *coupling.Family) []*coupling.Unit {
	var r []*coupling.Unit
	for _, u := range f.Units {
		if len(r)+1 < len(f.Units) && s.silent(g, u) {
			r = append(r, u)
		}
	}
	return r
}

// silent reports whether all sums that the unit goes into are over zeros, and some are.
func (s *state) silent(g *coupling.Graph, u *coupling.Unit) bool {
	read := false
	for i := range g.Contractions {
		c := &g.Contractions[i]
		for d, role := range c.Roles {
			a := g.OperandAxis(c, d)
			if role != coupling.In || a == nil {
				continue
			}
			k := slices.IndexFunc(u.Slices, func(x coupling.Slice) bool { return x.Axis == a })
			if k < 0 {
				continue
			}
			w := c.Node.Operand(c.Operand).Const()
			if w == nil && c.Data >= 0 && c.Node.Operand(c.Data).Const() != nil {
				continue // a product is listed from both sides
			}
			if c.Data < 0 || w == nil || !finite(w, d, u.Slices[k].Elements) {
				return false
			}
			x := c.Node.Operand(c.Data)
			for _, e := range elements(g, c, u) {
				if !s.zero(x, c.DataDim[d], e) {
					return false
				}
			}
			read = true
		}
	}
	return read
}

// elements are those of the unit in the dimension of the data that c sums over.
func elements(g *coupling.Graph, c *coupling.Contraction, u *coupling.Unit) []int {
	for d, role := range c.Roles {
		if role != coupling.In {
			continue
		}
		axes := g.Axes(c.Node, c.Data)
		for _, x := range u.Slices {
			if x.Axis == axes[c.DataDim[d]] {
				return x.Elements
			}
		}
	}
	return []int{-1}
}

func (s *state) zero(v *ir.Value, dim, e int) bool {
	k, ok := s.known[v]
	return ok && k.dim == dim && e >= 0 && e < len(k.value) && k.value[e] == 0
}

// finite reports whether the slices of a weight are.
func finite(t *ir.Tensor, dim int, elements []int) bool {
	switch t.DType() {
	case ir.Float32:
		return all(t, dim, elements, func(x float32) bool { return x-x == 0 })
	case ir.Float64:
		return all(t, dim, elements, func(x float64) bool { return x-x == 0 })
	case ir.Float16:
		return all(t, dim, elements, func(x uint16) bool { return x&0x7c00 != 0x7c00 })
	case ir.BFloat16:
		return all(t, dim, elements, func(x uint16) bool { return x&0x7f80 != 0x7f80 })
	}
	return false
}

// all reports whether f holds for what lies at the elements of axis dim. Nothing else is looked at: weights are large, and this is asked of
// one filter after another.
func all[T ir.Scalar](t *ir.Tensor, dim int, elements []int, f func(T) bool) bool {
	v, err := ir.Elements[T](t)
	if err != nil {
		return false
	}
	inner, size := int(ir.NumElements(t.Shape()[dim+1:])), int(t.Shape()[dim])
	for outer := 0; outer < len(v); outer += size * inner {
		for _, e := range elements {
			at := outer + e*inner
			for _, x := range v[at : at+inner] {
				if !f(x) {
					return false
				}
			}
		}
	}
	return true
}

// candidates reports whether some layer has a filter of zeros. It looks at one element of each filter before it looks at all.
func candidates(m *ir.Model) bool {
	for n := range m.Main.Nodes() {
		if n.Is("Conv", "ConvTranspose", "Gemm", "MatMul") && len(zeroFilters(n)) > 0 {
			return true
		}
	}
	return false
}

// zeroFilters lists the filters of a layer that are all zeros.
func zeroFilters(n *ir.Node) []int {
	w := n.Operand(1).Const()
	if w == nil || w.Rank() < 2 || w.Len() == 0 || w.DType() != ir.Float32 {
		return nil
	}
	dim := 0
	switch {
	case n.Is("MatMul") || n.Is("Gemm") && n.Int("transB", 0) == 0 || n.Is("ConvTranspose"):
		dim = 1
	}
	if n.Is("MatMul") && w.Rank() != 2 || n.Is("ConvTranspose") && n.Int("group", 1) != 1 {
		return nil
	}
	e, err := ir.Elements[float32](w)
	if err != nil {
		return nil
	}
	size, inner := int(w.Shape()[dim]), int(ir.NumElements(w.Shape()[dim+1:]))
	var r []int
	for o := range size {
		if e[o*inner] == 0 && allZero(e, size, inner, o) {
			r = append(r, o)
		}
	}
	return r
}

func allZero(e []float32, size, inner, o int) bool {
	for base := o * inner; base < len(e); base += size * inner {
		for _, x := range e[base : base+inner] {
			if x != 0 {
				return false
			}
		}
	}
	return true
}
