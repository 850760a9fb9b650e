package targets

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// Missing is the reason of a node for whose operator there is none in the target; what says that. An If, which few targets have, can be decided
// beforehand where its condition asks for nothing but single numbers that
// are inputs and no floats, or for sizes: then the reason names what it asks for and
// the pass that states it.
func Missing(what string, n *ir.Node) error {
	if !n.Is("If") {
		return errors.New(what)
	}
	d := &deciders{main: n.Graph().Model().Main, seen: map[*ir.Value]bool{}}
	d.walk(n.Operand(0))
	if d.data || len(d.inputs) == 0 && !d.sizes {
		return errors.New(what)
	}
	var by, mend []string
	if d.sizes {
		by, mend = append(by, "sizes of inputs"), append(mend, "set-shape")
	}
	if len(d.inputs) > 0 {
		slices.Sort(d.inputs)
		by, mend = append(by, strings.Join(d.inputs, ", ")), append(mend, "set-input")
	}
	return &Mendable{Why: what + "; its condition asks for " + strings.Join(by, " and ") + " only", Mend: strings.Join(mend, ",")}
}

// deciders finds what a condition is computed of.
type deciders struct {
	main   *ir.Graph
	seen   map[*ir.Value]bool
	inputs []string // single numbers that are no floats
	sizes  bool     // and some of the inputs' are open
	data   bool     // anything else
}

func (d *deciders) walk(v *ir.Value) {
	if v == nil || d.seen[v] || d.data || v.Const() != nil {
		return
	}
	d.seen[v] = true
	n := v.Node()
	switch {
	case n == nil:
		i := slices.IndexFunc(d.main.Inputs(), func(s *ir.Slot) bool { return s.Value() == v })
		t := v.Type()
		dims, static := t.TensorShape().Ints()
		if i < 0 || t.DType() == ir.Undefined || t.DType().IsFloat() || !static || ir.NumElements(dims) != 1 {
			d.data = true
			return
		}
		d.inputs = append(d.inputs, fmt.Sprintf("input %q", d.main.Inputs()[i].Name()))
	case n.Is("Shape", "Size"):
		d.sizes = true
		d.data = !slices.ContainsFunc(d.main.Inputs(), func(s *ir.Slot) bool { _, static := s.Type().TensorShape().Ints(); return !static }) // stated already
	case strings.HasPrefix(n.Op().Type, "Random") || n.Is("Multinomial", "Bernoulli"):
		d.data = true
	default:
		for _, o := range n.Operands() {
			d.walk(o)
		}
		for _, g := range n.Subgraphs() {
			for _, o := range g.Captures() {
				d.walk(o)
			}
		}
	}
}
