package prune

import (
	"math"
	"strings"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// factor is a dimension that the cost of a node grows with.
type factor struct {
	axis *coupling.Axis
	size int
	out  bool // the channels that a convolution makes, in blocks that are filled up
}

// term is a cost that is the product of a base and of what is left of dimensions.
type term struct {
	macs, bytes float64
	factors     []factor
	image       bool // of a convolution, whose kernels work on blocks of channels
	blocks      bool // values of an image, which are kept in such blocks
}

// budget computes what a model costs after units of families are removed, without removing them.
type budget struct {
	terms   []term
	fixed   float64 // multiply-accumulates of nodes that nothing changes
	total   float64
	assumed bool // sizes that are not known were assumed
}

// newBudget counts the nodes of the main graph. shapes tells sizes that inference does not know, from a run; it may be nil.
func newBudget(m *ir.Model, g *coupling.Graph, o analysis.Options) *budget {
	b := &budget{}
	seen := map[*ir.Node]bool{}
	for i := range g.Contractions {
		c := &g.Contractions[i]
		n := c.Node
		if seen[n] {
			continue
		}
		macs, ok, err := cost.Node(n, o)
		if !ok {
			continue
		}
		if err != nil {
			b.assumed = true
			macs = 1
		}
		seen[n] = true
		b.total += float64(macs)
		b.node(g, n, c, float64(macs), o)
	}
	for n := range m.Main.Nodes() {
		if seen[n] {
			continue
		}
		if macs, ok, err := cost.Node(n, o); ok && err == nil {
			b.fixed += float64(macs)
			b.total += float64(macs)
		}
		b.traffic(g, n, o)
	}
	return b
}

// node adds the terms of a node that multiplies.
func (b *budget) node(g *coupling.Graph, n *ir.Node, c *coupling.Contraction, macs float64, o analysis.Options) {
	image := n.Is("Conv", "ConvTranspose")
	add := func(macs float64, axes ...*coupling.Axis) {
		t := term{macs: macs, image: image}
		for d, a := range axes {
			if a != nil {
				t.factors = append(t.factors, factor{axis: a, size: a.Size, out: image && d == 1})
			}
		}
		b.terms = append(b.terms, t)
	}
	switch {
	case n.Is("GRU", "LSTM", "RNN"):
		w, r := n.Operand(1), n.Operand(2)
		wl, rl := length(o, w), length(o, r)
		if wl+rl == 0 {
			wl, rl = 1, 1
		}
		add(macs*wl/(wl+rl), g.Axes(n, 1)...)
		add(macs*rl/(wl+rl), g.Axes(n, 2)...)
	case n.Is("ConvTranspose"):
		add(macs, append(g.Axes(n, 0), g.Axes(n, 1)[1])...)
	default:
		axes := g.ResultAxes(n, 0)
		for d, r := range c.Roles {
			if r == coupling.In {
				axes = append(axes, g.Axes(n, c.Operand)[d])
			}
		}
		add(macs, axes...)
	}
	b.traffic(g, n, o)
}

func length(o analysis.Options, v *ir.Value) float64 {
	n, _ := o.Bytes(o.Type(v))
	return float64(n)
}

// traffic adds what a node writes.
func (b *budget) traffic(g *coupling.Graph, n *ir.Node, o analysis.Options) {
	if n.Is("Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Constant", "Shape") {
		return
	}
	for j, v := range n.Results() {
		if v == nil {
			continue
		}
		size, ok := o.Bytes(o.Type(v))
		if !ok {
			continue
		}
		t := term{bytes: float64(size)}
		if n.Is("Relu", "Clip", "LeakyRelu") {
			t.bytes /= 4 // most runtimes make it part of the node before
		}
		axes := g.ResultAxes(n, j)
		t.blocks = len(axes) >= 3
		for d, a := range axes {
			if a != nil {
				t.factors = append(t.factors, factor{axis: a, size: a.Size, out: t.blocks && d == 1})
			}
		}
		b.terms = append(b.terms, t)
	}
}

// counts is how many elements are left of each axis, for those that lost some.
type counts map[*coupling.Axis]int

// macs is the number of multiply-accumulates with so many elements left.
func (b *budget) macs(k counts) float64 {
	s := b.fixed
	for i := range b.terms {
		t := &b.terms[i]
		if t.macs == 0 {
			continue
		}
		x := t.macs
		for _, f := range t.factors {
			if n, ok := k[f.axis]; ok {
				x *= float64(n) / float64(f.size)
			}
		}
		s += x
	}
	return s
}

// The machine that latency is modelled for: a core that does so many multiply-accumulates a nanosecond, and moves so many bytes.
const (
	macsPerNano  = 25
	bytesPerNano = 8
	wide         = 16   // channels that convolutions make at once on processors with AVX-512, 8 on others
	block        = 8    // channels below whose multiples ONNX Runtime takes another kernel
	ragged       = 1.65 // which was measured to cost so much more
	reordered    = 1.25 // what it costs to read channels that do not fill a wide block
)

// latency models the time of one run in nanoseconds. Only ratios mean anything.
func (b *budget) latency(k counts) float64 {
	s := b.fixed / macsPerNano
	for i := range b.terms {
		t := &b.terms[i]
		x, rough := t.macs/macsPerNano+t.bytes/bytesPerNano, false
		for _, f := range t.factors {
			n, ok := k[f.axis]
			if !ok {
				n = f.size
			}
			if t.image && n%block != 0 && f.size%block == 0 {
				rough = true
			}
			switch {
			case !t.image && !t.blocks || f.size%wide != 0:
			case f.out:
				n = (n + wide - 1) / wide * wide
			case t.image && n%wide != 0:
				x *= reordered
			}
			x *= float64(n) / float64(f.size)
		}
		if rough {
			x *= ragged
		}
		s += x
	}
	return s
}

// assume completes what inference knows: dimensions without a size get one.
func assume(t *ir.Type) *ir.Type {
	if t.TensorShape() == nil {
		return t
	}
	r := *t
	r.Shape = append(ir.Shape{}, t.Shape...)
	for i, d := range r.Shape {
		if d.IsStatic() {
			continue
		}
		n := int64(64)
		if i == 0 || strings.Contains(strings.ToLower(d.Param), "batch") || d.Param == "N" {
			n = 1
		}
		r.Shape[i] = ir.Static(n)
	}
	return &r
}

func round(x float64, n int) int { return int(math.Round(x/float64(n))) * n }
