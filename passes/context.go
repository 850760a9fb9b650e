package passes

import (
	"context"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Context is what a pass runs in. It is valid during one execution and for one goroutine.
type Context struct {
	*runner
	step       *Step
	path       string
	selections []selection
	counts     []RuleCount
	border     *ir.Border
	err        error
}

// Context is cancelled when the run is.
func (c *Context) Context() context.Context { return c.ctx }

// Err is not nil when the pass should return: the run was cancelled. The framework reports it; the pass need not.
func (c *Context) Err() error {
	if c.err == nil {
		c.err = c.ctx.Err()
	}
	return c.err
}

// File is the contents of the file that an option names.
func (c *Context) File(f File) ([]byte, error) {
	b, ok := c.cfg.Files[f]
	if !ok {
		return nil, fmt.Errorf("file %q was not opened for this run", f)
	}
	return b, nil
}

// Data is the data set that an option names, as package dataset describes it.
func (c *Context) Data(d Data) (any, error) {
	v, ok := c.cfg.Data[d]
	if !ok {
		return nil, fmt.Errorf("data %q was not opened for this run", d)
	}
	return v, nil
}

// Goal is what a pass that decides by measuring is to reach, as a pass around it says; nil where none does.
type Goal struct {
	SQNR float64 // at least, in dB, of the outputs; 0: not asked for
	Drop float64 // at most, in points of the metric; negative: not asked for
	// Metric that Drop is measured in: "top1" or "agreement", the share of answers that stay the same.
	Metric string
}

// Goal is the goal of the innermost pass around this one that states any.
func (c *Context) Goal() *Goal { return c.goal }

// NestedFor is Nested under a goal.
func (c *Context) NestedFor(i int, g Goal) error {
	outer, clean := c.goal, c.clean
	c.goal, c.clean = &g, map[string]uint64{} // what changed nothing under another goal may do so under this one
	defer func() { c.goal, c.clean = outer, clean }()
	return c.Nested(i)
}

// Border states, inside a rewrite, how the rewrite changes the interface of the model. Several statements of a pass add up.
func (c *Context) Border(b *ir.Border) {
	if c.tx == nil {
		panic("passes: Border outside a rewrite")
	}
	c.border = c.border.Then(b)
}

// Nested runs the pipeline in parentheses of a pass that nests, as iteration i. Analyses begin anew: the round before may have
// made more of the model known.
func (c *Context) Nested(i int) error {
	c.renew()
	return c.pipeline(c.step.nested, fmt.Sprintf("%s#%d", c.path, i+1), c.selections)
}

// NestedPipeline is the pipeline in parentheses.
func (c *Context) NestedPipeline() *Pipeline { return c.step.nested }

// Remark records why a rule was not applied at n; why completes "because".
func (c *Context) Remark(n *ir.Node, rule, why string) {
	if c.cfg.Remarks != nil {
		c.cfg.Remarks(c.remark(n, rule, false, why))
	}
}

// Note tells the user of the run something about the whole step: what was decided, measured, or could not be done. A text of several
// lines is a table.
func (c *Context) Note(text string) {
	if c.cfg.Notes != nil {
		c.cfg.Notes(c.path, text)
	}
}

func (c *Context) remark(n *ir.Node, rule string, applied bool, why string) Remark {
	r := Remark{Path: c.path, Rule: rule, Applied: applied, Why: why}
	if n != nil {
		r.Graph, r.Node, r.Op = n.Graph().Path(), label(n), n.Op()
	}
	return r
}

// label is the node's name or that of its first named result.
func label(n *ir.Node) string {
	if n.Name() != "" {
		return n.Name()
	}
	for _, v := range n.Results() {
		if v != nil && v.Name() != "" {
			return v.Name()
		}
	}
	return ""
}

// Enabled reports whether a rewrite of that rule at n would be let through by --skip, only= and except=. A pass may ask
// before costly work; Rewrite asks again.
func (c *Context) Enabled(rule string, n *ir.Node) bool {
	return !slices.Contains(c.cfg.Skip, Skip{c.step.Pass.Name, rule}) && (n == nil || c.Selected(n))
}

// Observed reports whether a hook is asked before each rewrite, as in tests.
func (c *Context) Observed() bool { return len(c.rewrites) > 0 }

// transaction is the rewrite that is going on.
type transaction struct {
	rule, place string
	made        []*ir.Node
	consts      []*ir.Value
	erased      []*ir.Origin
}

// Rewrite performs one rewrite: it asks --skip, only=, except= and the hooks, and if all agree calls edit, in which every
// change of the model is made. at is the node the rewrite is named after, nil where there is none (an unused initializer); of
// are further source nodes. Nodes and constants that edit makes get as their origin at, of and everything that edit erases.
// It reports whether edit was called.
func (c *Context) Rewrite(rule string, at *ir.Node, of []*ir.Node, edit func()) bool {
	return c.Try(rule, at, of, func() bool {
		edit()
		return true
	})
}

// Try is Rewrite for an edit that may turn out not to be possible: it then takes back what it did and returns false, and nothing
// was rewritten.
func (c *Context) Try(rule string, at *ir.Node, of []*ir.Node, edit func() bool) bool {
	if c.Err() != nil || !c.Enabled(rule, at) {
		return false
	}
	n := c.numbered
	c.numbered++
	apply := true
	for _, h := range c.rewrites {
		apply = h.Rewrite(n, rule, at) && apply
	}
	if !apply {
		c.report.Vetoed++
		return false
	}
	tx := &transaction{rule: rule}
	applied := c.remark(at, rule, true, "")
	var from []*ir.Origin
	if at != nil {
		from = append(from, at.Origin())
		tx.place = label(at)
	}
	for _, n := range of {
		from = append(from, n.Origin())
	}
	if c.tx != nil {
		panic("passes: a rewrite inside a rewrite")
	}
	c.tx = tx
	done := edit()
	c.tx = nil
	if !done {
		return false
	}
	if c.cfg.Remarks != nil {
		c.cfg.Remarks(applied)
	}
	if len(tx.made)+len(tx.consts) > 0 {
		o := ir.DerivedOrigin(c.step.Pass.Name+"/"+rule, append(from, tx.erased...)...)
		for _, n := range tx.made {
			n.SetOrigin(o)
		}
		for _, v := range tx.consts {
			v.SetOrigin(o)
		}
	}
	c.report.Rewrites++
	c.count(rule)
	return true
}

func (c *Context) count(rule string) {
	i := slices.IndexFunc(c.counts, func(r RuleCount) bool { return r.Rule == rule })
	if i < 0 {
		i = len(c.counts)
		c.counts = append(c.counts, RuleCount{Rule: rule})
	}
	c.counts[i].Count++
}

// listener records what a rewrite makes and erases.
func (r *runner) listener() *ir.Listener {
	return &ir.Listener{
		Made: func(n *ir.Node) {
			if r.tx != nil {
				r.tx.made = append(r.tx.made, n)
			}
		},
		Const: func(v *ir.Value) {
			if r.tx != nil {
				r.tx.consts = append(r.tx.consts, v)
			}
		},
		Erased: func(n *ir.Node) {
			if r.tx != nil {
				r.tx.erased = append(r.tx.erased, n.Origin())
			}
		},
	}
}
