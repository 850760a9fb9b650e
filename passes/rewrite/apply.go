package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Apply applies the rules to every graph of m, subgraphs and functions included, until none applies. An error means that
// the data is bad, that a rule broke its contract, or that rules undo each other without end; the model is valid in any case.
func (s *Set) Apply(c *passes.Context, m *ir.Model) error {
	if !s.concerns(m) {
		return nil
	}
	d := &driver{
		set: s, c: c, m: m,
		queue:     queue{waiting: map[*ir.Node]bool{}},
		functions: map[ir.OpID]bool{},
		rank:      map[*ir.Node]int{},
		vetoed:    map[place]bool{},
		remarked:  map[place]string{},
		counts:    map[string]int{},
	}
	d.read()
	for _, f := range m.Functions {
		d.functions[f.ID()] = true
	}
	nodes := 0
	for _, g := range m.Graphs() {
		nodes += g.NumNodes()
	}
	d.limit = 1000 + 16*nodes
	d.rankLimit = 100 + nodes
	defer m.Listen(d.listener())()
	for _, g := range m.Graphs() {
		for n := range g.NodesOf(d.roots) {
			if c.Err() != nil {
				return nil
			}
			if err := d.visit(n); err != nil {
				return err
			}
		}
	}
	for n := d.pop(); n != nil && c.Err() == nil; n = d.pop() {
		if err := d.visit(n); err != nil {
			return err
		}
	}
	return nil
}

// driver is one run of a set over a model.
type driver struct {
	set       *Set
	c         *passes.Context
	m         *ir.Model
	functions map[ir.OpID]bool // operators that model-local functions define
	byKind    [][]candidate    // by ir.Node.Kind
	kinds     [][][]int        // by candidate and node of its tree, see outlined
	depth     int              // the largest of the candidates' trees, as are the next two
	maxUses   int
	shared    bool
	queue
	edit     *edit          // going on
	vetoed   map[place]bool // by a hook, or refused by check: not tried again
	remarked map[place]string
	scratch  []*attempt // by candidate, for the next time

	// A rewrite that does not make the graph smaller must not go on forever. rank counts such rewrites one on top of the
	// other, growths all of them.
	rank             map[*ir.Node]int
	growths          int
	limit, rankLimit int
	counts           map[string]int // growths by rule
}

type place struct {
	rule *Rule
	node *ir.Node
}

// known gives the facts when a rule asks for them: many sets of rules never do.
func (d *driver) known() (*facts.Facts, error) { return facts.Of(d.c) }

// plain reports whether n is an operator whose meaning and attributes are known, see ir.Node.Is. In an operator set newer than
// the schemas, nothing is.
func (d *driver) plain(n *ir.Node) bool {
	domain := n.Op().Domain
	if newest := schema.Newest(domain); newest > 0 && n.Graph().Opset(domain) > newest {
		return false
	}
	return !n.HasRefs() && (len(d.functions) == 0 || !d.functions[n.Op()])
}

// read finds the alternatives all operators of which the model may have, by the kinds that their roots may be.
func (d *driver) read() {
	d.byKind, d.depth, d.maxUses, d.shared = make([][]candidate, len(d.m.Kinds())), 0, 0, false
	n := 0
	for _, r := range d.set.rules {
		if d.c.Observed() {
			if err := r.Match.check(); err != nil { // so that tests read all of them
				panic(fmt.Sprintf("rewrite: pattern: %v", err))
			}
		}
		if !r.Match.in(d.m) {
			continue
		}
		all := r.Match.alternatives()
		for i := range all {
			if !all[i].in(d.m) {
				continue
			}
			t := all[i].must()
			d.depth, d.maxUses, d.shared = max(d.depth, t.depth), max(d.maxUses, t.maxUses), d.shared || t.shared
			for _, op := range t.root().ops {
				if k, ok := d.m.Kind(op); ok {
					d.byKind[k] = append(d.byKind[k], candidate{r, t, n})
				}
			}
			n++
		}
	}
	d.kinds, d.scratch = make([][][]int, n), make([]*attempt, n)
}

// candidates are those whose root n may be.
func (d *driver) candidates(n *ir.Node) []candidate { return d.ofKind(n.Kind()) }

// roots reports whether a node of the kind may be the root of a rule.
func (d *driver) roots(kind int) bool { return len(d.ofKind(kind)) > 0 }

func (d *driver) ofKind(kind int) []candidate {
	if len(d.byKind) != len(d.m.Kinds()) {
		d.read() // an edit brought another operator
	}
	return d.byKind[kind]
}

// visit tries the rules whose root n may be, until one applies.
func (d *driver) visit(n *ir.Node) error {
	for _, k := range d.candidates(n) {
		if !d.outlined(k, n) || d.vetoed[place{k.rule, n}] || !d.c.Enabled(k.rule.Name, n) {
			continue
		}
		applied, err := d.try(k, n)
		if applied || err != nil {
			return err
		}
	}
	return nil
}

// try applies k at n if it matches.
func (d *driver) try(k candidate, n *ir.Node) (applied bool, err error) {
	s := d.scratch[k.index]
	if s == nil {
		s = newAttempt(d, k)
	}
	ok := s.matched(n)
	d.scratch[k.index] = nil
	switch {
	case s.m.err != nil:
		return false, fmt.Errorf("rule %s at %s: %w", k.rule.Name, n, s.m.err)
	case ok:
		return d.apply(s.m)
	case s.why == nil:
		d.scratch[k.index] = s // nothing saw it, and everything was unbound again
	case s.asked || len(k.tree.nodes) > 1:
		d.remark(place{k.rule, n}, s.why.Error())
	}
	return false, nil
}

// attempt is a matcher that asks a rule whether a match is good.
type attempt struct {
	matcher
	asked bool
}

func newAttempt(d *driver, k candidate) *attempt {
	s := &attempt{matcher: matcher{d: d, m: newMatch(d, k.rule, k.tree), tree: k.tree}}
	s.try = func() error {
		s.asked = true
		if k.rule.Where == nil {
			return nil
		}
		return k.rule.Where(s.m)
	}
	return s
}

// remark says why a rule was not applied, once for each reason.
func (d *driver) remark(p place, why string) {
	if d.remarked[p] != why {
		d.remarked[p] = why
		d.c.Remark(p.node, p.rule.Name, why)
	}
}

// apply performs the rewrite unless a hook objects, or the replacement does not do.
func (d *driver) apply(m *Match) (applied bool, err error) {
	root := m.Root()
	e := &edit{d: d, m: m}
	others := slices.DeleteFunc(slices.Clone(m.nodes), func(n *ir.Node) bool { return n == root })
	applied = d.c.Try(m.rule.Name, root, others, func() bool {
		d.edit = e
		defer func() { d.edit = nil }()
		return e.run()
	})
	switch {
	case e.failed != nil:
		return false, fmt.Errorf("rule %s at %s: %w", m.rule.Name, root, e.failed)
	case !applied:
		at := place{m.rule, root}
		if d.vetoed[at] = true; e.refused != nil {
			d.remark(at, e.refused.Error())
		}
		return false, nil
	}
	d.settle(e)
	return true, d.bound(e)
}

// bound keeps count of rewrites that do not make the graph smaller and fails when there are too many.
func (d *driver) bound(e *edit) error {
	rank := 0
	for _, n := range e.m.nodes {
		rank = max(rank, d.rank[n])
	}
	if e.erased <= len(e.made) {
		rank++
		d.growths++
		d.counts[e.m.rule.Name]++
	}
	if rank > 0 {
		for _, n := range e.made {
			d.rank[n] = rank
		}
	}
	if d.growths <= d.limit && rank <= d.rankLimit {
		return nil
	}
	var names []string
	for _, r := range d.set.rules {
		if k := d.counts[r.Name]; k > 0 {
			names = append(names, fmt.Sprintf("%s (%d times)", r.Name, k))
		}
	}
	return fmt.Errorf("rules undo each other without end: %s", strings.Join(names, ", "))
}
