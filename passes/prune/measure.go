package prune

import (
	"fmt"
	"maps"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/prune/internal/coupling"
	"github.com/onnxopt/onnxopt/passes/prune/internal/refit"
)

// measure orders the units of each family by what data say of them.
func (j *job) measure(how string) error {
	list, _ := refit.Layers(j.m)
	layers := map[*ir.Node]*refit.Layer{}
	var wanted []*refit.Layer
	for _, l := range list {
		layers[l.Node] = l
	}
	for _, l := range list {
		for _, f := range j.fs {
			if f.reads(l.Node) {
				wanted = append(wanted, l)
				break
			}
		}
	}
	eqs, err := refit.Gather(j.c.Context(), j.m, wanted, j.data.samples, j.data.cal.Engine(), j.data.pool, 8000, 1)
	if err != nil {
		return err
	}
	var kept []*family
	for _, f := range j.fs {
		s, err := norms(f, 2)
		if err != nil {
			j.c.Remark(f.made[0], "channel", err.Error())
			j.note("%s stays: %v", f.name, err)
			continue
		}
		kept = append(kept, f)
		ss := j.surgeons(f, layers, eqs)
		if len(ss) == 0 {
			f.rank(s, false)
			continue
		}
		f.operate(ss)
		if len(f.order) < len(f.Units) {
			f.rank(s, false)
		}
	}
	if j.fs = kept; len(kept) == 0 {
		return fmt.Errorf("no weights are left that could be weighed: they are not finite")
	}
	return j.sensitivity()
}

func (f *family) reads(n *ir.Node) bool {
	for _, r := range f.read {
		if r.c.Node == n {
			return true
		}
	}
	return false
}

// sensitivity scales the costs of a family so that they are in units of the outputs' divergence: half of its units are removed in a trial,
// the layers that read them fitted again, and the outputs compared.
func (j *job) sensitivity() error {
	for _, f := range j.fs {
		half := max(f.step, round(float64(len(f.Units))/2, f.step))
		if half >= len(f.Units) {
			half = f.step
		}
		f.gone = half
		loss, err := j.try([]*family{f}, func(l *refit.Layer) bool { return !f.reads(l.Node) })
		f.gone = 0
		if err != nil {
			return err
		}
		if c := f.cost[half]; c > 0 {
			for k := range f.cost {
				f.cost[k] *= loss / c
			}
		}
	}
	return nil
}

// try is the loss of a model without the units that families lose, after a quick refit. skip leaves layers as they are.
func (j *job) try(fs []*family, skip func(*refit.Layer) bool) (float64, error) {
	clone, to := j.m.CloneMap()
	back := map[*ir.Value]*ir.Value{}
	for v, w := range to {
		back[w] = v
	}
	g := coupling.New(clone, infer.Model(clone))
	all := g.Families()
	var gone []*coupling.Unit
	for _, f := range fs {
		for _, i := range f.order[:f.gone] {
			gone = append(gone, all[f.index].Units[i])
		}
	}
	sel := g.Select(gone)
	if err := g.Remove(gone); err != nil {
		return 0, err
	}
	if j.o.Repair {
		t := j.data.task(j.m, clone, func(v *ir.Value) *ir.Value { return back[v] }, j.data.few)
		t.Keep = keepOf(sel, func(v *ir.Value) *ir.Value { return v })
		t.Rows = 2000
		if skip != nil {
			t.Skip = func(l *refit.Layer) bool {
				return skip(&refit.Layer{Node: originalNode(back, l.Node)})
			}
		}
		if _, err := refit.Run(j.c.Context(), t); err != nil {
			return 0, err
		}
	}
	return j.data.loss(clone)
}

func originalNode(back map[*ir.Value]*ir.Value, n *ir.Node) *ir.Node {
	if v := back[n.Result(0)]; v != nil {
		return v.Node()
	}
	return n
}

// refine tries allotments near the one that was found, and takes the best.
func (j *job) refine() error { return nil }

var _ = maps.Clone[map[int]int]
