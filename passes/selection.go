package passes

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// selection is one step's only= and except=.
type selection struct{ only, except []string }

// Selected reports whether the selections let the pass touch n.
func (c *Context) Selected(n *ir.Node) bool {
	for _, s := range c.selections {
		if s.only != nil && !matchesAny(s.only, n) || matchesAny(s.except, n) {
			return false
		}
	}
	return true
}

func matchesAny(selectors []string, n *ir.Node) bool {
	return slices.ContainsFunc(selectors, func(s string) bool { return selectorMatches(s, n) })
}

// selectorMatches compares a name, glob or operator type with a node and with the source nodes it stands for.
func selectorMatches(s string, n *ir.Node) bool {
	if Glob(s, label(n)) || s == n.Op().Type || s == n.Op().String() {
		return true
	}
	for _, src := range n.Origin().Sources() {
		if Glob(s, src.Name) || s == src.Op.Type || s == src.Op.String() {
			return true
		}
	}
	return false
}

// Glob matches '*' (any characters, '/' included) and '?' (one byte). The empty name matches nothing.
func Glob(pattern, name string) bool {
	if name == "" {
		return false
	}
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// absent lists the selectors of the pipeline that match no node of m.
func (p *Pipeline) absent(m *ir.Model, r map[string]bool) {
	for _, s := range p.steps {
		for _, sel := range slices.Concat(s.only, s.except) {
			if _, known := r[sel]; !known {
				r[sel] = !matchesSome(sel, m)
			}
		}
		if s.nested != nil {
			s.nested.absent(m, r)
		}
	}
}

func matchesSome(selector string, m *ir.Model) bool {
	for n := range m.Nodes() {
		if selectorMatches(selector, n) {
			return true
		}
	}
	return false
}

// checkSelection reports a selector that matched nothing when the run began and matches nothing now.
func (r *runner) checkSelection(path string, s *Step) error {
	for _, sel := range slices.Concat(s.only, s.except) {
		if r.absent[sel] {
			if !matchesSome(sel, r.m) {
				return &StepError{path, fmt.Errorf("selector %q matches no node", sel)}
			}
			r.absent[sel] = false
		}
	}
	return nil
}
