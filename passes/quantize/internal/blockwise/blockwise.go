package blockwise

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/par"
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
	// Algorithm: RTN rounds each block by itself; the others ask Stats.
	Algorithm Algorithm
	// Stats measures inputs of products on calibration data.
	Stats func(inputs []*ir.Value) (map[*ir.Value]*Stats, error)
	Pool  *par.Pool
}

// Algorithm is how the steps of weights are found.
type Algorithm uint8

// The algorithms.
const (
	RTN Algorithm = iota
	GPTQ
	AWQ
)

// Verdict is what became of a weight.
type Verdict struct {
	Name string
	Node *ir.Node // the first that used it; nil if nothing that could be quantized did
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
	batches, err := a.batches(find(f, m))
	if err != nil {
		return nil, err
	}
	for _, batch := range batches {
		if c.Err() != nil {
			return r, nil
		}
		if err := a.prepare(batch); err != nil {
			return r, err
		}
		for _, j := range batch {
			v, err := a.weight(j)
			if err != nil {
				return r, fmt.Errorf("weight %s: %w", j.t.name(), err)
			}
			if v.Why != "" && len(j.t.uses) > 0 {
				c.Remark(j.t.uses[0].node, o.Rule, "its weight stays float: "+v.Why)
			}
			r = append(r, v)
		}
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

// plan is what is to become of a target.
type plan struct {
	t    *target
	job  *job
	bits int
	why  string // why it stays float
	// stats of its inputs, where the algorithm wants them.
	stats *Stats
	done  bool // the rewrite is made
}

// plan decides on a target.
func (a *applier) plan(t *target) (*plan, error) {
	p := &plan{t: t, bits: a.bits(t), why: t.why}
	if len(t.uses) == 0 {
		return p, nil
	}
	if p.why = a.refuses(t, p.bits); p.why != "" {
		return p, nil
	}
	spec := a.o.Spec
	spec.Bits = p.bits
	if n := int(t.w.Const().Shape()[t.inputs]); !a.o.NBits {
		spec.Block = min(spec.Block, n)
	} else if t.embedding() {
		for spec.Block > 16 && n%spec.Block != 0 {
			spec.Block /= 2
		}
		if n%spec.Block != 0 {
			p.why = fmt.Sprintf("GatherBlockQuantized needs rows of whole blocks, and %d elements are none of 16", n)
			return p, nil
		}
	}
	w := newMatrix(t.w.Const(), t.inputs)
	v, err := w.open()
	if err != nil {
		return p, fmt.Errorf("weight %s: %w", t.name(), err)
	}
	if !v.finite() {
		p.why = "it has elements that are infinite or not a number"
		return p, nil
	}
	p.job = &job{m: w, spec: spec, signed: spec.Symmetric && !a.o.NBits}
	if a.o.NBits {
		p.job.layout = padded
	}
	return p, nil
}

// weight carries out a plan.
func (a *applier) weight(p *plan) (Verdict, error) {
	r := Verdict{Name: p.t.name(), Bits: p.bits, Why: p.why}
	if len(p.t.uses) > 0 {
		r.Node = p.t.uses[0].node
	}
	if p.job == nil || p.done {
		return r, nil
	}
	if p.stats != nil && a.o.Algorithm == GPTQ && a.c.Enabled(a.o.Rule, r.Node) {
		var err error
		if p.job.solved, err = gptq(p.job.m, p.job.spec, p.stats, a.o.Pool); err != nil {
			return r, err
		}
		if p.job.fixed, err = p.job.run(); err != nil {
			return r, err
		}
		p.job.solved = nil
	}
	var nodes []*ir.Node
	for _, u := range p.t.uses[1:] {
		nodes = append(nodes, u.node)
	}
	a.c.Rewrite(a.o.Rule, r.Node, nodes, func() {
		if a.o.NBits {
			a.packed(p.t, p.job)
		} else {
			a.standard(p.t, p.job)
		}
	})
	p.stats = nil
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
