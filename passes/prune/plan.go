package prune

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// family is a coupled dimension that may shrink.
type family struct {
	*coupling.Family
	index int // among the families of the coupling
	name  string
	kind  string     // channels, heads, neurons, states
	made  []*ir.Node // the nodes whose weights make it
	read  []reader   // those that sum over it
	slab  map[*coupling.Axis]int
	step  int       // units that go at once, so that dimensions keep their blocks
	order []int     // units, the least important first
	cost  []float64 // what is lost when the first k of order are gone; cost[0] = 0
	gone  int
}

// reader is a node that sums over the family.
type reader struct {
	c   *coupling.Contraction
	dim int // of the weights
}

// families lists what may shrink, and says of the rest why it may not. Of two families that share elements, as heads and the places within
// heads do, one is taken: not the one that products of two activations sum over, else that which more weights make, else that with more units.
func families(c *passes.Context, g *coupling.Graph, roundTo int) []*family {
	var all []*family
	for i, f := range g.Families() {
		w := &family{Family: f, index: i, slab: map[*coupling.Axis]int{}}
		for _, s := range f.Units[0].Slices {
			w.slab[s.Axis] = len(s.Elements)
		}
		if w.describe(g); len(w.made) > 0 && len(w.read) > 0 {
			all = append(all, w)
		}
	}
	var r []*family
	for _, f := range all {
		if !slices.ContainsFunc(all, func(o *family) bool { return o != f && o.better(f) && f.shares(o) }) {
			r = append(r, f)
		}
	}
	r = slices.DeleteFunc(r, func(f *family) bool {
		for _, n := range f.made {
			if !c.Enabled("channel", n) {
				c.Remark(n, "channel", "it is protected")
				return true
			}
		}
		f.step = f.block(roundTo)
		return len(f.Units) <= f.step || len(f.Units) < 2
	})
	refused(c, g, r)
	return r
}

// describe finds the nodes around a family and names it.
func (f *family) describe(g *coupling.Graph) {
	for i := range g.Contractions {
		c := &g.Contractions[i]
		for d, role := range c.Roles {
			a := g.OperandAxis(c, d)
			if a == nil || f.slab[a] == 0 {
				continue
			}
			if role == coupling.In {
				f.read = append(f.read, reader{c, d})
			} else if role == coupling.Out && (c.Node.Operand(c.Operand).Const() != nil || len(g.Axes(c.Node, c.Operand)) > 0 && a.Value != nil && computed(a.Value)) && !slices.Contains(f.made, c.Node) {
				f.made = append(f.made, c.Node)
			}
		}
	}
	// A depthwise convolution makes of each channel another one; it is no maker of its own where others are.
	if len(f.made) > 0 {
		f.name = coupling.NodeLabel(f.made[0])
		f.kind = kindOf(f.made[0], f)
	}
}

// computed reports whether v is computed of constants alone, as weights are that are stored in integers.
func computed(v *ir.Value) bool { return v.Const() != nil || folds(v, 8) }

func folds(v *ir.Value, depth int) bool {
	n := v.Node()
	if v.Const() != nil || n == nil || depth == 0 {
		return v.Const() != nil
	}
	for _, o := range n.Operands() {
		if o != nil && !folds(o, depth-1) {
			return false
		}
	}
	return true
}

func kindOf(n *ir.Node, f *family) string {
	switch {
	case n.Is("GRU", "LSTM", "RNN"):
		return "states"
	case n.Is("Conv", "ConvTranspose"):
		return "channels"
	}
	for a, k := range f.slab {
		if k > 1 && a.Value != nil && a.Dim == 2 {
			return "heads"
		}
	}
	return "neurons"
}

// shares reports whether the families have elements in common.
func (f *family) shares(o *family) bool {
	for _, s := range o.Units[0].Slices {
		if f.slab[s.Axis] > 0 {
			in := map[int32]bool{}
			for _, u := range f.Units {
				for _, c := range u.Classes() {
					in[c] = true
				}
			}
			for _, u := range o.Units {
				if slices.ContainsFunc(u.Classes(), func(c int32) bool { return in[c] }) {
					return true
				}
			}
			return false
		}
	}
	return false
}

// better reports whether f is preferred to o.
func (f *family) better(o *family) bool {
	if a, b := f.inner(), o.inner(); a != b {
		return b
	}
	if a, b := len(f.made), len(o.made); a != b {
		return a > b
	}
	if a, b := len(f.Units), len(o.Units); a != b {
		return a > b
	}
	return f.index < o.index
}

// inner reports whether a product of two activations sums over the family.
func (f *family) inner() bool {
	return slices.ContainsFunc(f.read, func(r reader) bool {
		a, b := r.c.Node.Operand(r.c.Operand), r.c.Node.Operand(max(r.c.Data, 0))
		return r.c.Data >= 0 && a.Const() == nil && b.Const() == nil && !computed(a) && !computed(b)
	})
}

// block is how many units go at once so that the dimensions of weights stay multiples of n where they are, or of half of n where that is too much
// to lose.
func (f *family) block(most int) int {
	step := 1
	for a, k := range f.slab {
		n := most
		for n > 1 && n%2 == 0 && (a.Size < 2*n || a.Size%n != 0) {
			n /= 2
		}
		if a.Size < 2*n || a.Size%n != 0 || a.Const() == nil && a.Value == nil {
			continue
		}
		for s := step; ; s++ {
			if s*k%n == 0 {
				step = s / step * step
				if s%step != 0 {
					step = s
				}
				break
			}
		}
	}
	return step
}

// removed is what is left of the axes when each family has lost what it says.
func removed(fs []*family) counts {
	k := counts{}
	for _, f := range fs {
		if f.gone == 0 {
			continue
		}
		for a, n := range f.slab {
			if _, ok := k[a]; !ok {
				k[a] = a.Size
			}
			k[a] -= n * f.gone
		}
	}
	return k
}

// units are the units that go.
func units(fs []*family) []*coupling.Unit {
	var r []*coupling.Unit
	for _, f := range fs {
		for _, i := range f.order[:f.gone] {
			r = append(r, f.Units[i])
		}
	}
	return r
}

// room reports whether the family can lose another step: some of each axis is left, and more than a tenth of its units.
func (f *family) room(k counts, step int) bool {
	if left := len(f.Units) - f.gone - step; left < 1 || left*10 < len(f.Units) {
		return false
	}
	for a, n := range f.slab {
		now, ok := k[a]
		if !ok {
			now = a.Size
		}
		if now-n*step < 1 {
			return false
		}
	}
	return true
}

// refused remarks on layers whose own dimension stays.
func refused(c *passes.Context, g *coupling.Graph, fs []*family) {
	for i := range g.Contractions {
		w := &g.Contractions[i]
		for d, role := range w.Roles {
			a := g.OperandAxis(w, d)
			if role != coupling.Out || a == nil || !computed(w.Node.Operand(w.Operand)) {
				continue
			}
			if slices.ContainsFunc(fs, func(f *family) bool { return f.slab[a] > 0 }) {
				continue
			}
			why := g.Why(a)
			if why == "" {
				why = fmt.Sprintf("its %d elements are too few, or so tied to each other by groups and reshapes that all would go", a.Size)
			}
			c.Remark(w.Node, "channel", why)
		}
	}
}
