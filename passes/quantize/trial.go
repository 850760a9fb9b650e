package quantize

import (
	"maps"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
)

// rewrite is an edit: a rewrite of the pass, or one of a copy.
func (p *plan) rewrite(rule string, at *ir.Node, of []*ir.Node, edit func()) {
	if p.trial {
		edit()
		return
	}
	p.c.Rewrite(rule, at, of, edit)
}

// without is the plan that leaves more operators in float. Tensors keep the parameters that p has chosen for them.
func (p *plan) without(exempt map[*ir.Node]string) (*plan, error) {
	all := maps.Clone(p.exempt)
	maps.Copy(all, exempt)
	q, err := newPlan(p.c, p.m, p.o, p.p, p.over, all)
	if err != nil {
		return nil, err
	}
	q.tuned, q.known = p.tuned, p.known
	for _, g := range q.groups {
		k, ok := p.known[g.root]
		for _, s := range g.sites {
			if !ok {
				k, ok = p.known[s.value]
			}
		}
		g.q = k
	}
	return q, nil
}

// copied is the plan applied to a copy of the model.
func (p *plan) copied() (*ir.Model, error) {
	m, of := p.m.CloneMap()
	q := &plan{c: p.c, m: m, facts: p.facts, o: p.o, p: p.p, over: p.over, tuned: p.tuned, trial: true, byNode: map[*ir.Node]*unit{}, byVal: map[*ir.Value]*site{}}
	node := func(n *ir.Node) *ir.Node {
		if n == nil {
			return nil
		}
		for _, v := range n.Results() {
			if v != nil {
				return of[v].Node()
			}
		}
		return nil
	}
	units := map[*unit]*unit{}
	for _, u := range p.units {
		k := *u
		k.node, k.clamp, k.out = node(u.node), node(u.clamp), of[u.out]
		q.units = append(q.units, &k)
		q.byNode[k.node] = &k
		units[u] = &k
	}
	groups := map[*group]*group{}
	for _, s := range p.sites {
		if groups[s.group] == nil {
			groups[s.group] = &group{root: of[s.group.root], q: s.group.q}
			q.groups = append(q.groups, groups[s.group])
		}
		k := &site{value: of[s.value], group: groups[s.group], from: units[s.from], given: s.given}
		k.group.sites = append(k.group.sites, k)
		q.sites = append(q.sites, k)
		q.byVal[k.value] = k
	}
	return m, q.apply()
}

// divergence is how far the model quantized by p is from the reference.
func (p *plan) divergence(ref *measured.Reference) (measured.Divergence, error) {
	m, err := p.copied()
	if err != nil {
		return measured.Divergence{}, err
	}
	return ref.Divergence(p.c.Context(), m)
}
