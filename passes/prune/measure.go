package prune

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// momentRows is the number of rows of what a layer reads that units are ordered by.
const momentRows = 8000

// measure orders the units of each family by what data say of them.
func (j *job) measure(how string) error {
	layers := map[*ir.Node]*measured.Linear{}
	var wanted []*measured.Linear
	for n := range j.m.Main.Nodes() {
		l, err := measured.LinearOf(n)
		if err != nil || l.In >= maxSurgeon {
			continue
		}
		if layers[n] = l; slices.ContainsFunc(j.fs, func(f *family) bool { return f.reads(n) }) {
			wanted = append(wanted, l)
		}
	}
	ms, err := j.data.all.MomentsOf(j.c.Context(), j.m, wanted, momentRows)
	if err != nil {
		return err
	}
	moments := map[*ir.Node]*measured.Moments{}
	for i, l := range wanted {
		if m := ms[i]; m.Refused == "" && m.Rows > int64(l.In) {
			moments[l.Node] = m
		}
	}
	if err := j.data.beginTrials(j.m); err != nil {
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
		ss := j.surgeons(f, layers, moments)
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
	return j.sensitivity()
}

// alone scores each unit by the divergence of the outputs when it goes and nothing makes up for it: the finite difference that a Taylor expansion
// estimates from gradients (Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", ICLR 2017).
func (j *job) alone(f *family) error {
	var trials []*trial
	order := f.order
	f.gone = 1
	for u := range f.Units {
		f.order = []int{u}
		t, err := j.prepare([]*family{f}, func(*ir.Node) bool { return false })
		if err != nil {
			return err
		}
		trials = append(trials, t)
	}
	f.gone, f.order = 0, order
	score, err := j.run(trials)
	f.rank(score, false)
	return err
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
	var trials []*trial
	halves := make([]int, len(j.fs))
	for k, f := range j.fs {
		half := max(f.step, round(float64(len(f.Units))/2, f.step))
		if half >= len(f.Units) {
			half = f.step
		}
		f.gone, halves[k] = half, half
		fit := f.reads
		if len(j.fs) <= 12 {
			fit = everything
		}
		t, err := j.prepare([]*family{f}, fit)
		f.gone = 0
		if err != nil {
			return err
		}
		trials = append(trials, t)
	}
	loss, err := j.run(trials)
	if err != nil {
		return err
	}
	for k, f := range j.fs {
		if c := f.cost[halves[k]]; c > 0 {
			for i := range f.cost {
				f.cost[i] *= loss[k] / c
			}
		}
	}
	return nil
}

func everything(*ir.Node) bool { return true }

// trial is a model without some units, with the layers that are to be fitted again.
type trial struct {
	m      *ir.Model
	layers []measured.RefitLayer
}

// prepare makes a trial without the units that families lose. fit says which layers of the model are fitted again.
func (j *job) prepare(fs []*family, fit func(*ir.Node) bool) (*trial, error) {
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
		return nil, err
	}
	t := &trial{m: clone}
	if j.o.Repair {
		t.layers = layers(clone, back, sel, func(n *ir.Node) bool {
			v := back[n.Result(0)]
			return v != nil && v.Node() != nil && fit(v.Node())
		})
	}
	return t, nil
}

// run gives the losses of trials after a quick refit, which go side by side.
func (j *job) run(trials []*trial) ([]float64, error) {
	loss, fail := make([]float64, len(trials)), make([]error, len(trials))
	ctx := j.c.Context()
	j.data.pool.For(len(trials), 1, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			t := trials[i]
			if len(t.layers) > 0 {
				if _, fail[i] = measured.Refit(ctx, j.m, t.m, t.layers, j.data.few, measured.RefitOptions{Rows: 4000, Rounds: 2, Lambdas: []float64{1e-3, 3e-2}, Record: j.data.was}); fail[i] != nil {
					continue
				}
			}
			loss[i], fail[i] = j.data.loss(ctx, t.m)
		}
	})
	return loss, errors.Join(fail...)
}

// allotment is how many units each family loses.
type allotment struct {
	gone  []int
	guess float64 // what the families' costs add up to
	loss  float64 // the outputs' divergence in a trial
}

// search looks for the allotment that loses least.
type search struct {
	*job
	seen  []allotment
	tried map[string]bool
}

// refine tries allotments within the budget: those found if modelled time counts more or less and if a family is left alone; then neighbours of
// the best, in which a family gets a step back that others give. What is compared is the divergence of the outputs on samples that trials were not
// fitted on.
func (j *job) refine() error {
	if j.data.ref == nil {
		if err := j.data.beginTrials(j.m); err != nil {
			return err
		}
	}
	s := &search{job: j, tried: map[string]bool{}}
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
			if j.greedy(open, weight) {
				s.take()
				s.relax()
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

// relax gives back what was taken beyond the budget: each time the units, of whatever family, that cost most and that the budget can do without.
func (s *search) relax() {
	for {
		var best *family
		step, most := 0, 0.0
		for _, f := range s.fs {
			for n := f.step; n <= min(f.gone, 4*f.step); n += f.step {
				gain := f.cost[f.gone] - f.cost[f.gone-n]
				if f.gone -= n; gain > most && s.fits(removed(s.fs)) {
					best, step, most = f, n, gain
				}
				f.gone += n
			}
		}
		if best == nil {
			return
		}
		best.gone -= step
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
	if k := removed(s.fs); s.cost.macs(k) < slack*s.macs && s.cost.latency(k) < slack*s.job.time {
		return // more than was asked for
	}
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
const perRound = 2

// slack is how much below the budget an allotment may be, as a share of it, to be faster.
const slack = 0.9

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
		if s.fits(removed(s.fs)) {
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
				if g.gone += g.step * times; s.fits(removed(s.fs)) {
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
	var tried []*allotment
	var trials []*trial
	for i := range s.seen {
		a := &s.seen[i]
		key := fmt.Sprint(a.gone)
		if len(tried) == n {
			break
		}
		if s.tried[key] {
			continue
		}
		s.tried[key] = true
		s.set(a)
		t, err := s.prepare(s.fs, everything)
		if err != nil {
			return nil, err
		}
		tried, trials = append(tried, a), append(trials, t)
	}
	loss, err := s.run(trials)
	if err != nil {
		return nil, err
	}
	for i, a := range tried {
		a.loss = loss[i]
		if a.loss < best.loss*(1-closeness) || a.loss < best.loss*(1+closeness) && s.sum(a) < s.sum(best) {
			c := *a
			best = &c
		}
	}
	return best, nil
}

// trials is how many allotments are tried: what some seconds have room for.
func (j *job) trials() int {
	return int(min(8, max(1, maxTrial/(j.cost.total*float64(j.data.few.Len())))))
}

// maxTrial is the number of multiply-accumulates that all trials may take.
const maxTrial = 3e10
