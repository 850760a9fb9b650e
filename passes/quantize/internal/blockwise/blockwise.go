package blockwise

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Options say what becomes of the weights of a model.
type Options struct {
	Spec
	Rule       string // the name of the rewrite
	NBits      bool   // MatMulNBits and GatherBlockQuantized instead of DequantizeLinear
	Accuracy   int64  // accuracy_level of MatMulNBits
	Head       int    // bits of weights that score a vocabulary; 32: they stay float, 0: like the others
	Embeddings int    // bits of tables that are looked up; likewise
	Least      int64  // elements from which a weight is worth it
	// Solve quantizes a weight with knowledge of its inputs; nil: each block by itself.
	Solve func(t Target, s Spec) (*Solution, error)
}

// Verdict is what became of a weight.
type Verdict struct {
	Name string
	Node *ir.Node
	Bits int
	Why  string // why it stays float
}

// Apply quantizes the weights of m, one after the other. New weights are computed when they are read, so that little more than one is in
// memory at a time while a model is written.
func Apply(c *passes.Context, m *ir.Model, o Options) ([]Verdict, error) {
	f, err := facts.Of(c)
	if err != nil {
		return nil, err
	}
	a := &applier{c: c, m: m, o: o, f: f, cache: &cache{}}
	var r []Verdict
	for _, t := range find(f, m) {
		if c.Err() != nil {
			return r, nil
		}
		v, err := a.weight(t)
		if err != nil {
			return r, fmt.Errorf("weight %s: %w", t.name(), err)
		}
		if v.Why != "" && len(t.uses) > 0 {
			c.Remark(t.uses[0].node, o.Rule, "its weight stays float: "+v.Why)
		}
		r = append(r, v)
	}
	return r, nil
}

type applier struct {
	c     *passes.Context
	m     *ir.Model
	o     Options
	f     *facts.Facts
	cache *cache
}

// bits is how many bits t gets, 32 if it stays.
func (a *applier) bits(t *target) int {
	b := a.o.Bits
	if t.embedding() && a.o.Embeddings != 0 {
		b = a.o.Embeddings
	}
	if t.head && a.o.Head != 0 {
		b = a.o.Head
	}
	return b
}

func (a *applier) weight(t *target) (Verdict, error) {
	r := Verdict{Name: t.name(), Bits: a.bits(t)}
	if len(t.uses) == 0 {
		r.Why = t.why
		return r, nil
	}
	r.Node = t.uses[0].node
	if r.Why = a.refuses(t, r.Bits); r.Why != "" {
		return r, nil
	}
	spec := a.o.Spec
	spec.Bits = r.Bits
	shape := t.w.Const().Shape()
	if n := int(shape[t.inputs]); !a.o.NBits {
		spec.Block = min(spec.Block, n)
	} else if t.embedding() {
		for spec.Block > 16 && n%spec.Block != 0 {
			spec.Block /= 2
		}
		if n%spec.Block != 0 {
			r.Why = fmt.Sprintf("GatherBlockQuantized needs rows of whole blocks, and %d elements are none of 16", n)
			return r, nil
		}
	}
	w := newMatrix(t.w.Const(), t.inputs)
	v, err := w.open()
	if err != nil {
		return r, err
	}
	if !v.finite() {
		r.Why = "it has elements that are infinite or not a number"
		return r, nil
	}
	j := &job{m: w, spec: spec, signed: spec.Symmetric && !a.o.NBits}
	if a.o.Solve != nil && a.c.Enabled(a.o.Rule, r.Node) {
		if j.solved, err = a.o.Solve(Target{t}, spec); err != nil {
			return r, err
		}
	}
	var nodes []*ir.Node
	for _, u := range t.uses[1:] {
		nodes = append(nodes, u.node)
	}
	a.c.Rewrite(a.o.Rule, r.Node, nodes, func() {
		if a.o.NBits {
			j.layout = padded
			a.packed(t, j)
		} else {
			a.standard(t, j)
		}
	})
	return r, nil
}

// refuses is why t stays float.
func (a *applier) refuses(t *target, bits int) string {
	w := t.w.Const()
	switch {
	case t.why != "":
		return t.why
	case bits >= 16:
		return "it was asked to"
	case w.Len() < a.o.Least || w.Len() > math.MaxInt32*16:
		return fmt.Sprintf("%d elements are not worth it", w.Len())
	}
	for _, u := range t.uses {
		if !a.c.Selected(u.node) {
			return fmt.Sprintf("%s is not selected", u.node)
		}
	}
	if a.o.NBits {
		for _, u := range t.uses {
			if why := a.unfit(u); why != "" {
				return why
			}
		}
		return ""
	}
	if v := t.w.Graph().Opset(""); v < 21 {
		return fmt.Sprintf("blocks in DequantizeLinear came with opset 21, and the model uses %d", v)
	}
	return ""
}

// unfit is why a use has no operator of ONNX Runtime's.
func (a *applier) unfit(u use) string {
	n := u.node
	if n.Is("Gemm") {
		if n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Operand(2) != nil && n.Float("beta", 1) != 1 {
			return "the Gemm transposes or scales"
		}
		if b := n.Operand(2); b != nil && !a.bias(n, b) {
			return "the Gemm adds something other than a row"
		}
	}
	if n.Is("MatMul") && a.f.Shape(n.Operand(0)) == nil || a.f.Shape(n.Operand(0)) != nil && len(a.f.Shape(n.Operand(0))) < 2 && !n.Is("Gather") {
		return "the rank of what it is multiplied with is not known, or one"
	}
	return ""
}

// bias reports whether b is a vector of the outputs of a Gemm.
func (a *applier) bias(n *ir.Node, b *ir.Value) bool {
	s, y := a.f.Shape(b), a.f.Shape(n.Result(0))
	return len(s) == 1 && len(y) == 2 && s[0].Same(y[1])
}
