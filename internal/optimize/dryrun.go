package optimize

import (
	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/liveness"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// Planned is a rewrite and what it changes. Its JSON form is stable.
type Planned struct {
	Number int    `json:"number"` // from 0, as --bisect-limit counts
	Path   string `json:"path"`   // of the step
	Rule   string `json:"rule"`
	Graph  string `json:"graph,omitempty"`
	Node   string `json:"node,omitempty"`

	Nodes int   `json:"nodes"` // Constant nodes are weights and not counted
	Bytes int64 `json:"parameter_bytes"`
	MACs  int64 `json:"macs"` // bodies of loops count once
	// Peak is the change of the peak of activation memory, nil where finding it would have taken too long.
	Peak *int64 `json:"peak_activation_bytes"`
}

// DryRun is a hook that measures each rewrite.
type DryRun struct {
	Rewrites []Planned

	model    *ir.Model
	stop     func()
	path     string
	types    *infer.Result
	costs    map[*ir.Node]int64 // MACs of the nodes as they were when last looked at
	touched  map[*ir.Node]bool
	now      Planned
	open     bool
	peak     int64
	peakLeft int // nodes that may still be visited to find peaks
}

// peakWork bounds the nodes that a dry run visits to find peaks of memory: each rewrite has to look at the whole graph.
const peakWork = 50_000_000

// Before implements passes.Hook.
func (d *DryRun) Before(s *passes.StepRun) bool {
	d.path = s.Path
	if d.model == nil {
		d.attach(s.Model)
	}
	return true
}

// After implements passes.Hook.
func (d *DryRun) After(_ *passes.StepRun, err error) error {
	d.finish()
	return err
}

func (d *DryRun) attach(m *ir.Model) {
	d.model, d.types = m, infer.Model(m)
	d.costs, d.touched = map[*ir.Node]int64{}, map[*ir.Node]bool{}
	d.peakLeft = peakWork
	for n := range m.Nodes() {
		d.costs[n] = d.macs(n)
	}
	d.peak = d.findPeak()
	touch := func(n *ir.Node) {
		if !n.IsReturn() {
			d.touched[n] = true
		}
	}
	d.stop = m.Listen(&ir.Listener{
		Made: func(n *ir.Node) {
			d.now.Nodes += counted(n)
			touch(n)
		},
		Erased: func(n *ir.Node) {
			d.now.Nodes -= counted(n)
			d.now.Bytes -= held(n)
			d.now.MACs -= d.costs[n]
			delete(d.costs, n)
			delete(d.touched, n)
		},
		Operand: func(n *ir.Node, _ int, _ *ir.Value) { touch(n) },
		Attr:    touch,
		Const:   func(v *ir.Value) { d.now.Bytes += size(v.Const()) },
		Unconst: func(v *ir.Value) { d.now.Bytes -= size(v.Const()) },
	})
}

// Rewrite implements passes.RewriteHook. It is asked before the rewrite; what it did is known at the next.
func (d *DryRun) Rewrite(n int, rule string, at *ir.Node) bool {
	d.finish()
	d.now = Planned{Number: n, Path: d.path, Rule: rule}
	if at != nil {
		d.now.Graph, d.now.Node = at.Graph().Path(), at.String()
	}
	d.open = true
	return true
}

// finish closes the account of the last rewrite.
func (d *DryRun) finish() {
	for n := range d.touched {
		if _, known := d.costs[n]; !known {
			d.now.Bytes += held(n)
		}
		c := d.macs(n)
		d.now.MACs += c - d.costs[n]
		d.costs[n] = c
	}
	clear(d.touched)
	if !d.open {
		return
	}
	d.open = false
	if d.peakLeft > 0 {
		p := d.findPeak()
		change := p - d.peak
		d.peak, d.now.Peak = p, &change
	}
	d.Rewrites = append(d.Rewrites, d.now)
}

// options know the types that inference found at the beginning and those that rewrites recorded of what they made.
func (d *DryRun) options() analysis.Options {
	return analysis.Options{Types: func(v *ir.Value) *ir.Type {
		if t := d.types.Type(v); t != nil {
			return t
		}
		return v.Type()
	}}
}

func (d *DryRun) macs(n *ir.Node) int64 {
	c, _, _ := cost.Node(n, d.options()) // a size that is not known counts as nothing
	return c
}

func (d *DryRun) findPeak() int64 {
	d.peakLeft -= d.model.Main.NumNodes()
	return liveness.Graph(d.model.Main, d.options()).Peak
}

func counted(n *ir.Node) int {
	if n.Op() == ir.Op("Constant") {
		return 0
	}
	return 1
}

// held is the size of the constant that a Constant node is.
func held(n *ir.Node) int64 {
	if n.Op() != ir.Op("Constant") {
		return 0
	}
	return size(n.Result(0).Const())
}

func size(t *ir.Tensor) int64 {
	if t == nil {
		return 0
	}
	return max(t.ByteLen(), 0)
}

// Close detaches the hook from the model.
func (d *DryRun) Close() {
	if d.stop != nil {
		d.stop()
	}
}
