package blockwise

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// batchMemory is the number of bytes of statistics that are held at a time. Each batch costs a run over the data.
const batchMemory = 256 << 20

// batches plans targets, and divides them so that the statistics of the inputs of each batch fit in memory.
func (a *applier) batches(ts []*target) ([][]*plan, error) {
	var r [][]*plan
	size := map[*ir.Value]int64{}
	total := int64(0)
	for _, t := range ts {
		p, err := a.plan(t)
		if err != nil {
			return nil, err
		}
		if x := t.input(); p.job != nil && a.o.Algorithm != RTN && x != nil && size[x] == 0 {
			size[x] = 4 * int64(p.job.m.k) * int64(p.job.m.k)
			if total += size[x]; total > batchMemory && len(r) > 0 {
				total = size[x]
				r = append(r, nil)
			}
		}
		if len(r) == 0 {
			r = append(r, nil)
		}
		r[len(r)-1] = append(r[len(r)-1], p)
	}
	return r, nil
}

// prepare measures what the algorithm wants to know for a batch.
func (a *applier) prepare(batch []*plan) error {
	if a.o.Algorithm == RTN {
		return nil
	}
	var inputs []*ir.Value
	for _, p := range batch {
		if x := p.t.input(); p.job != nil && x != nil && !slices.Contains(inputs, x) {
			inputs = append(inputs, x)
		}
	}
	if len(inputs) == 0 {
		return nil
	}
	stats, err := a.o.Stats(inputs)
	if err != nil {
		return err
	}
	for _, x := range inputs {
		var group []*plan
		for _, p := range batch {
			if p.job != nil && p.t.input() == x && stats[x] != nil && stats[x].K == p.job.m.k && stats[x].Rows > 0 {
				p.stats = stats[x]
				group = append(group, p)
			}
		}
		if a.o.Algorithm == AWQ && len(group) > 0 {
			if err := a.scale(x, group); err != nil {
				return err
			}
		}
	}
	return nil
}

// scale finds the factors of the weights that multiply x, and divides x by them.
func (a *applier) scale(x *ir.Value, group []*plan) error {
	nodes := map[*ir.Node]bool{}
	var ms []*matrix
	var specs []Spec
	for _, p := range group {
		for _, u := range p.t.uses {
			nodes[u.node] = true
		}
		ms, specs = append(ms, p.job.m), append(specs, p.job.spec)
		if p.job.m.t.DType() != ir.Float32 {
			return nil
		}
	}
	f, err := factors(ms, specs, group[0].stats, a.o.Pool)
	if err != nil || f == nil {
		return err
	}
	at := group[0].t.uses[0].node
	var of []*ir.Node
	for n := range nodes {
		if n != at {
			of = append(of, n)
		}
	}
	slices.SortFunc(of, func(m, n *ir.Node) int { return int(m.Pos() - n.Pos()) })
	for _, p := range group {
		p.job.m.factor = f
	}
	// What is multiplied and what is divided are one rewrite: the weights are part of it.
	if !a.c.Rewrite(a.o.Rule, at, of, func() {
		divide(x, f, nodes, at)
		for _, p := range group {
			if a.o.NBits {
				a.packed(p.t, p.job)
			} else {
				a.standard(p.t, p.job)
			}
			p.done = true
		}
	}) {
		for _, p := range group {
			p.job.m.factor = nil
		}
	}
	return nil
}
