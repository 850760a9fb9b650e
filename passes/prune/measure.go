package prune

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
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
		if how == "taylor" {
			if err := j.alone(f); err != nil {
				return err
			}
			continue
		}
		ss := j.surgeons(f, layers, eqs)
		if len(ss) == 0 {
			f.rank(s, false)
			continue
		}
		if how == "activation" {
			for u := range s {
				s[u] = 0
				for _, x := range ss {
					s[u] += x.strength[u]
				}
			}
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
	if j.data.was, err = j.data.reference(j.m); err != nil {
		return err
	}
	return j.sensitivity()
}

// alone scores each unit by the divergence of the outputs when it goes and nothing makes up for it: the finite difference that a Taylor expansion
// estimates from gradients (Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", ICLR 2017).
func (j *job) alone(f *family) error {
	repair := j.o.Repair
	j.o.Repair = false
	defer func() { j.o.Repair = repair }()
	score := make([]float64, len(f.Units))
	f.gone = 1
	for u := range score {
		f.order = []int{u}
		loss, err := j.try([]*family{f}, nil)
		if err != nil {
			return err
		}
		score[u] = loss
	}
	f.gone = 0
	f.rank(score, false)
	return nil
}

func (f *family) reads(n *ir.Node) bool {
	for _, r := range f.read {
		if r.c.Node == n {
			return true
		}
	}
	return false
}

// maxSensed is how many families are tried one by one.
const maxSensed = 24

// sensitivity scales the costs of a family so that they are in units of the outputs' divergence: half of its units are removed in a trial,
// the layers that read them fitted again, and the outputs compared.
func (j *job) sensitivity() error {
	if len(j.fs) > maxSensed {
		j.note("%d families are too many to try each; the errors of the layers that read them stand for what outputs lose", len(j.fs))
		return nil
	}
	for _, f := range j.fs {
		half := max(f.step, round(float64(len(f.Units))/2, f.step))
		if half >= len(f.Units) {
			half = f.step
		}
		f.gone = half
		skip := func(l *refit.Layer) bool { return !f.reads(l.Node) }
		if len(j.fs) <= 12 {
			skip = nil
		}
		loss, err := j.try([]*family{f}, skip)
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
		t.Rows, t.Rounds, t.Reference = 6000, 2, j.data.was
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

// allotment is how many units each family loses.
type allotment struct {
	gone  []int
	guess float64 // what the families' costs add up to, times the modelled time
	loss  float64 // the outputs' divergence in a trial, times the modelled time
}

// search looks for the allotment that loses least.
type search struct {
	*job
	macs  float64
	seen  []allotment
	tried map[string]bool
}

// refine tries allotments within the budget: those found if modelled time counts more or less and if a family is left alone; then neighbours of
// the best, in which a family gets a step back that others give. What is compared is the divergence of the outputs on samples that trials were not
// fitted on, times the modelled time.
func (j *job) refine() error {
	s := &search{job: j, macs: j.o.MACs * j.cost.total, tried: map[string]bool{}}
	first := allotment{loss: math.Inf(1)}
	for _, f := range j.fs {
		first.gone = append(first.gone, f.gone)
	}
	s.take()
	for _, weight := range []float64{0, 1, 4} {
		for skip := -1; skip < len(j.fs) && (skip < 0 || len(j.fs) <= 24); skip++ {
			open := j.fs
			if skip >= 0 {
				open = slices.Delete(slices.Clone(j.fs), skip, skip+1)
			}
			for _, f := range j.fs {
				f.gone = 0
			}
			if j.greedy(open, s.macs, weight) {
				s.take()
			}
		}
	}
	trials := j.trials()
	best, err := s.try(&first, (trials+1)/2)
	for left := trials / 2; left > 0 && err == nil; left -= perRound {
		s.seen = append([]allotment{}, *best)
		s.neighbours(best)
		var next *allotment
		if next, err = s.try(best, min(perRound, left)); next == best {
			break
		}
		best = next
	}
	if err != nil {
		return err
	}
	s.set(best)
	return nil
}

func (s *search) set(a *allotment) {
	for k, f := range s.fs {
		f.gone = a.gone[k]
	}
}

// take notes the allotment at hand, if it is new.
func (s *search) take() {
	var a allotment
	for _, f := range s.fs {
		a.gone = append(a.gone, f.gone)
		a.guess += f.cost[f.gone]
	}
	if slices.ContainsFunc(s.seen, func(b allotment) bool { return slices.Equal(a.gone, b.gone) }) {
		return
	}
	if s.cost.macs(removed(s.fs)) < slack*s.macs {
		return // more than was asked for
	}
	a.guess *= s.time()
	a.loss = math.Inf(1)
	s.seen = append(s.seen, a)
}

// closeness is by how much trials, which see few samples, do not tell allotments apart: the one that saves less then loses less.
const closeness = 0.02

// sum is the share of the multiply-accumulates that an allotment saves.
func (s *search) sum(a *allotment) float64 {
	s.set(a)
	return 1 - s.cost.macs(removed(s.fs))/s.cost.total
}

// perRound is how many neighbours are tried before the best moves on.
const perRound = 4

// slack is how much below the budget an allotment may be, as a share of it, to be faster.
const slack = 0.8

// time weighs the divergence with the modelled time, squared: half of the time is worth four times the divergence.
func (s *search) time() float64 {
	t := s.cost.latency(removed(s.fs)) / s.cost.latency(nil)
	return t * t
}

// neighbours notes allotments in which a family has a step less, or a step more and another, if need be, one or two less.
func (s *search) neighbours(of *allotment) {
	for i, f := range s.fs {
		s.set(of)
		for times := 1; times <= 2 && f.room(removed(s.fs), f.step*times); times++ {
			f.gone += f.step * times
			s.take()
			s.set(of)
		}
		if f.gone < f.step {
			continue
		}
		f.gone -= f.step
		if s.cost.macs(removed(s.fs)) <= s.macs {
			s.take()
			continue
		}
		base := f.gone
		for k, g := range s.fs {
			for times := 1; k != i && times <= 2; times++ {
				s.set(of)
				f.gone = base
				if !g.room(removed(s.fs), g.step*times) {
					break
				}
				if g.gone += g.step * times; s.cost.macs(removed(s.fs)) <= s.macs {
					s.take()
					break
				}
			}
		}
	}
}

// try tries the n most promising of those noted, and returns the best of them and of best, which is not nil.
func (s *search) try(best *allotment, n int) (*allotment, error) {
	slices.SortStableFunc(s.seen, func(a, b allotment) int { return cmp.Compare(a.guess, b.guess) })
	for i := range s.seen {
		a := &s.seen[i]
		if n == 0 {
			break
		}
		if key := fmt.Sprint(a.gone); s.tried[key] {
			continue
		} else {
			s.tried[key] = true
		}
		n--
		s.set(a)
		loss, err := s.job.try(s.fs, nil)
		if err != nil {
			return nil, err
		}
		a.loss = loss * s.time()
		if a.loss < best.loss*(1-closeness) || a.loss < best.loss*(1+closeness) && s.sum(a) < s.sum(best) {
			c := *a
			best = &c
		}
	}
	return best, nil
}

// trials is how many allotments are tried: what some seconds have room for.
func (j *job) trials() int {
	return int(min(8, max(1, maxTrial/(j.cost.total*float64(len(j.data.few))))))
}

// maxTrial is the number of multiply-accumulates that all trials may take.
const maxTrial = 3e10
