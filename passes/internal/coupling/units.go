package coupling

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// spread makes classes stay that products tie to others that stay: with an element of a product all parts that it is made of, and an element
// all of whose parts stay.
func (g *Graph) spread() {
	for changed := true; changed; {
		changed = false
		set := func(e, why int32) {
			if e = g.find(e); g.why[e] == 0 {
				g.why[e], changed = why, true
			}
		}
		for k := range g.products {
			p := &g.products[k]
			for i := range g.axes[p.whole].Size {
				w := g.find(g.element(p.whole, i))
				kept := int32(0)
				for j := range p.parts {
					e := g.find(p.part(g, j, i))
					if g.why[w] != 0 {
						set(e, g.why[w])
					}
					if kept = g.why[e]; kept == 0 {
						break
					}
				}
				if kept != 0 {
					set(w, kept)
				} else if g.why[w] != 0 {
					for j := range p.parts {
						set(p.part(g, j, i), g.why[w])
					}
				}
			}
		}
	}
}

// part is the element of part j that element i of the whole is made of.
func (p *product) part(g *Graph, j, i int) int32 {
	return g.element(p.parts[j], i/p.stride[j]%g.axes[p.parts[j]].Size)
}

// Slice is a set of elements of one axis, in order.
type Slice struct {
	*Axis
	Elements []int
	id       int32
}

// Unit is the smallest set of elements that can go together.
type Unit struct {
	Slices  []Slice // by axis, in a fixed order
	classes []int32
}

// Family is a list of units that are alike: they have as many elements of the same axes, such as the channels that a residual Add ties
// together, or the heads of an attention.
type Family struct {
	Units []*Unit
}

// Axes are the axes that the units have elements of.
func (f *Family) Axes() []*Axis {
	var r []*Axis
	for _, s := range f.Units[0].Slices {
		r = append(r, s.Axis)
	}
	return r
}

// incidence is the place of a class in a product: as element index of part, or of the whole (-1).
type incidence struct{ product, part, index int32 }

// search finds units.
type search struct {
	*Graph
	members map[int32][]int32     // elements by class
	places  map[int32][]incidence // by class
	covered map[int32]bool
	lost    []int // elements of the unit at hand, by axis
}

// Families finds the units of the model. Each element that may go is in at least one.
func (g *Graph) Families() []*Family {
	s := &search{Graph: g, members: map[int32][]int32{}, places: map[int32][]incidence{}, covered: map[int32]bool{}, lost: make([]int, len(g.axes))}
	for e := range g.parent {
		if c := g.find(int32(e)); g.why[c] == 0 {
			s.members[c] = append(s.members[c], int32(e))
		}
	}
	var first []int32
	for k := range g.products {
		p := &g.products[k]
		for i := range g.axes[p.whole].Size {
			if c := g.find(g.element(p.whole, i)); g.why[c] == 0 {
				s.places[c] = append(s.places[c], incidence{int32(k), -1, int32(i)})
			}
		}
		for j, a := range p.parts {
			for i := range g.axes[a].Size {
				c := g.find(g.element(a, i))
				s.places[c] = append(s.places[c], incidence{int32(k), int32(j), int32(i)})
				first = append(first, c)
			}
		}
	}
	for e := range g.parent {
		if c := g.find(int32(e)); g.why[c] == 0 {
			first = append(first, c)
		}
	}
	var r []*Family
	at := map[string]int{}
	for _, c := range first {
		if s.covered[c] || g.why[c] != 0 {
			continue
		}
		s.covered[c] = true
		u := s.unit(c)
		if u == nil {
			continue
		}
		key := u.key()
		if i, ok := at[key]; ok {
			r[i].Units = append(r[i].Units, u)
		} else {
			at[key] = len(r)
			r = append(r, &Family{[]*Unit{u}})
		}
	}
	for _, f := range r {
		slices.SortStableFunc(f.Units, func(a, b *Unit) int { return a.Slices[0].Elements[0] - b.Slices[0].Elements[0] })
	}
	return r
}

func (u *Unit) key() string {
	var b strings.Builder
	for _, s := range u.Slices {
		fmt.Fprintf(&b, "%d:%d ", s.id, len(s.Elements))
	}
	return b.String()
}

// unit closes a class over the products: a part's element takes all of the whole that it is part of, and an element of the whole one of its
// parts, the one with the fewest elements. nil: something of it has to stay, or a dimension would be left without elements.
func (s *search) unit(seed int32) *Unit {
	in := map[int32]bool{}
	var classes, queue []int32
	var open []incidence
	full := false // a dimension has lost all its elements: it stays so whatever else is added
	clear(s.lost)
	add := func(c int32) {
		if in[c] {
			return
		}
		in[c] = true
		classes, queue = append(classes, c), append(queue, c)
		for _, e := range s.members[c] {
			id := s.elements[e]
			s.lost[id]++
			full = full || s.lost[id] == s.axes[id].Size
		}
	}
	for add(seed); len(queue) > 0 || len(open) > 0; {
		if full {
			return nil
		}
		if len(queue) == 0 {
			i := open[0]
			if open = open[1:]; !s.choose(i, in, add) {
				return nil
			}
			continue
		}
		c := queue[0]
		queue = queue[1:]
		if s.why[c] != 0 {
			return nil
		}
		for _, i := range s.places[c] {
			p := &s.products[i.product]
			if i.part < 0 {
				open = append(open, i)
				continue
			}
			size, stride := s.axes[p.parts[i.part]].Size, p.stride[i.part]
			for e := int(i.index) * stride; e < s.axes[p.whole].Size; e += size * stride {
				for k := range stride {
					add(s.find(s.element(p.whole, e+k)))
				}
			}
		}
	}
	if full {
		return nil
	}
	u := &Unit{classes: classes}
	s.slices(u)
	for _, c := range classes {
		s.covered[c] = true
	}
	return u
}

// choose sees to it that a part of an element that goes, goes.
func (s *search) choose(i incidence, in map[int32]bool, add func(int32)) bool {
	p := &s.products[i.product]
	best, most := int32(-1), 0
	for j, a := range p.parts {
		c := s.find(p.part(s.Graph, j, int(i.index)))
		if in[c] {
			return true
		}
		if s.why[c] == 0 && s.axes[a].Size > most {
			best, most = c, s.axes[a].Size
		}
	}
	if best < 0 {
		return false
	}
	add(best)
	return true
}

// slices lists the elements of a unit by axis.
func (s *search) slices(u *Unit) {
	at := map[int32]int{}
	for _, c := range u.classes {
		for _, e := range s.members[c] {
			id := s.elements[e]
			i, ok := at[id]
			if !ok {
				i = len(u.Slices)
				at[id] = i
				u.Slices = append(u.Slices, Slice{Axis: s.axes[id], id: id})
			}
			u.Slices[i].Elements = append(u.Slices[i].Elements, int(e)-s.axes[id].base)
		}
	}
	slices.SortFunc(u.Slices, func(a, b Slice) int { return int(a.id - b.id) })
	for _, x := range u.Slices {
		slices.Sort(x.Elements)
	}
}

// Why says why the first element of dimension dim of operand i of n stays; "" if it need not.
func (g *Graph) Why(n *Axis) string {
	return g.reasons[g.why[g.find(int32(n.base))]]
}

// OperandAxis is the axis of a dimension of an operand, nil if it is of one element or unknown.
func (g *Graph) OperandAxis(c *Contraction, dim int) *Axis {
	a := g.operand(c.Node, c.Operand)
	if dim < 0 || dim >= len(a) || a[dim] < 0 {
		return nil
	}
	return g.axes[a[dim]]
}

// Axes are the axes of operand i of n by dimension, nil where one is of one element or unknown.
func (g *Graph) Axes(n *ir.Node, i int) []*Axis { return g.list(g.operand(n, i)) }

// ResultAxes are those of result j.
func (g *Graph) ResultAxes(n *ir.Node, j int) []*Axis { return g.list(g.ofValue(n.Result(j))) }

func (g *Graph) list(ids []int32) []*Axis {
	r := make([]*Axis, len(ids))
	for d, a := range ids {
		if a >= 0 {
			r[d] = g.axes[a]
		}
	}
	return r
}

// Overlap reports whether two units have elements in common.
func (u *Unit) Overlap(w *Unit) bool {
	return slices.ContainsFunc(u.classes, func(c int32) bool { return slices.Contains(w.classes, c) })
}

// Classes are the classes of the unit.
func (u *Unit) Classes() []int32 { return u.classes }
