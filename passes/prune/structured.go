package prune

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// job is one run of the pass on channels.
type job struct {
	c     *passes.Context
	m     *ir.Model
	o     Options
	graph *coupling.Graph
	fs    []*family
	cost  *budget
	data  *data // nil without calibration data
	notes []string
	// macs and time are what may remain of the multiply-accumulates, and of the modelled time.
	macs, time float64
}

// timely is the share of what a budget saves of the multiply-accumulates that the modelled time is to fall by, too, where it can: channels
// whose absence saves operations and no time are of little use.
const timely = 0.75

func structured(c *passes.Context, m *ir.Model, o Options) error {
	if err := settle(c, m); err != nil {
		return err
	}
	known, err := facts.Of(c)
	if err != nil {
		return err
	}
	j := &job{c: c, m: m, o: o, graph: coupling.New(m, known)}
	if j.fs = families(c, j.graph, o.RoundTo); len(j.fs) == 0 {
		const why = "there is nothing that could be removed: every dimension is protected, or reaches an input or output of the model or an operator that looks at all of it (--remarks)"
		if o.MACs > 0 {
			return errors.New(why)
		}
		c.Note(why)
		return nil
	}
	if err := j.openData(); err != nil {
		return err
	}
	j.cost = newBudget(m, j.graph, j.sizes(known))
	if err := j.score(); err != nil {
		return err
	}
	if err := j.allot(); err != nil {
		return err
	}
	return j.apply()
}

// openData finds the calibration data. Without any, nothing is repaired.
func (j *job) openData() error {
	cal, err := measured.For(j.c, j.o.Calib)
	switch {
	case errors.Is(err, measured.ErrNoData):
		if slices.Contains([]string{"taylor", "activation", "obs"}, j.o.Importance) {
			return fmt.Errorf("importance=%s: %w", j.o.Importance, err)
		}
		j.notes = append(j.notes, "chosen by the norms of weights and not repaired, for want of calibration data (--calib)")
		return nil
	case err != nil:
		return err
	}
	j.data, err = newData(j.c, j.m, cal)
	return err
}

// sizes tells types for counting: those of a run on the first sample, or else inferred ones with sizes assumed.
func (j *job) sizes(known *facts.Facts) analysis.Options {
	return analysis.Options{Types: func(v *ir.Value) *ir.Type {
		if j.data != nil {
			if t := j.data.types[v]; t != nil {
				return t
			}
		}
		return assume(known.Type(v))
	}}
}

// score orders the units of each family.
func (j *job) score() error {
	how := j.o.Importance
	if how == "auto" {
		how = "l2"
		if j.data != nil {
			how = "obs"
		}
	}
	switch how {
	case "obs", "activation", "taylor":
		return j.measure(how)
	}
	p := 2.0
	if how == "l1" {
		p = 1
	}
	j.fs = slices.DeleteFunc(j.fs, func(f *family) bool {
		s, err := norms(f, p)
		if err != nil {
			j.c.Remark(f.made[0], "channel", err.Error())
			j.notes = append(j.notes, fmt.Sprintf("%s stays: %v", f.name, err))
			return true
		}
		f.rank(s, how == "lamp")
		return false
	})
	if len(j.fs) == 0 {
		return errors.New("no weights are left that could be weighed: they are not finite")
	}
	return nil
}

// allot decides how many units each family loses.
func (j *job) allot() error {
	switch {
	case j.o.Ratio > 0:
		j.allotRatio(j.o.Ratio)
	case j.o.Scope == "layer":
		if !j.layerwise(j.o.MACs) {
			return j.unreachable()
		}
	default:
		j.macs, j.time = j.o.MACs*j.cost.total, (1-timely*(1-j.o.MACs))*j.cost.latency(nil)
		if !j.greedy(j.fs, 1) {
			j.time = math.Inf(1)
			for _, f := range j.fs {
				f.gone = 0
			}
			if !j.greedy(j.fs, 1) {
				return j.unreachable()
			}
		}
		if j.data != nil {
			return j.refine()
		}
		(&search{job: j}).relax()
	}
	return nil
}

func (j *job) unreachable() error {
	return fmt.Errorf("macs=%g cannot be reached: with all removed that may be, %.1f %% of the multiply-accumulates remain (--remarks says what stays)", j.o.MACs, 100*j.cost.macs(removed(j.fs))/j.cost.total)
}

// allotRatio removes a share of the units: of each family, or of all by importance.
func (j *job) allotRatio(ratio float64) {
	if j.o.Scope == "layer" {
		for _, f := range j.fs {
			f.gone = 0
			for want := round(ratio*float64(len(f.Units)), f.step); f.gone < want && f.room(removed(j.fs), f.step); {
				f.gone += f.step
			}
		}
		return
	}
	total := 0
	for _, f := range j.fs {
		total += len(f.Units)
	}
	for left := int(ratio * float64(total)); left > 0; {
		k := removed(j.fs)
		var best *family
		price := math.Inf(1)
		for _, f := range j.fs {
			if f.step <= left && f.room(k, f.step) {
				if p := f.marginal(f.step) / float64(f.step) * float64(len(f.Units)); p < price {
					best, price = f, p
				}
			}
		}
		if best == nil {
			return
		}
		best.gone += best.step
		left -= best.step
	}
}

// marginal is what is lost with the next units.
func (f *family) marginal(step int) float64 { return f.cost[f.gone+step] - f.cost[f.gone] }

// layerwise removes the same share of each family, as far as steps permit, until the budget is kept.
func (j *job) layerwise(share float64) bool {
	for r := 0.0; r < 1; r += 1. / 64 {
		for _, f := range j.fs {
			want := round(r*float64(len(f.Units)), f.step)
			for f.gone < want && f.room(removed(j.fs), f.step) {
				f.gone += f.step
				if j.cost.macs(removed(j.fs)) <= share*j.cost.total {
					return true
				}
			}
		}
	}
	return false
}

// fits reports whether so many elements are within the budget.
func (j *job) fits(k counts) bool { return j.cost.macs(k) <= j.macs && j.cost.latency(k) <= j.time }

// greedy removes, until the budget is kept, what loses least for what it saves of multiply-accumulates and of modelled time.
func (j *job) greedy(fs []*family, weight float64) bool {
	whole := j.cost.latency(nil)
	for {
		k := removed(fs)
		now, time := j.cost.macs(k), j.cost.latency(k)
		if now <= j.macs && time <= j.time {
			return true
		}
		var best *family
		bestStep, price := 0, math.Inf(1)
		for _, f := range fs {
			for times := 1; times <= 4; times *= 2 {
				step := f.step * times
				if !f.room(k, step) {
					break
				}
				f.gone += step
				after := removed(fs)
				saved := (now-j.cost.macs(after))/j.cost.total + weight*(time-j.cost.latency(after))/whole
				f.gone -= step
				if p := (f.marginal(step) + 1e-9) / saved; saved > 0 && p < price {
					best, bestStep, price = f, step, p
				}
			}
		}
		if best == nil {
			return false
		}
		best.gone += bestStep
	}
}

// apply removes the units, repairs what is left, and reports.
func (j *job) apply() error {
	gone := units(j.fs)
	k := removed(j.fs)
	if len(gone) == 0 {
		j.c.Note("nothing was removed: what is asked for is less than the smallest step; round-to= sets it")
		return nil
	}
	original, of := j.m.CloneMap()
	selection := j.graph.Select(gone)
	macs, time := j.cost.macs(k)/j.cost.total, j.cost.latency(k)/j.cost.latency(nil)
	table := j.table()
	var at *ir.Node
	var others []*ir.Node
	for _, f := range j.fs {
		if f.gone > 0 {
			if at == nil {
				at = f.made[0]
			}
			others = append(others, f.made...)
		}
	}
	var err error
	if !j.c.Rewrite("channel", at, others, func() { err = j.graph.Remove(gone) }) || err != nil {
		return err
	}
	j.note("%.1f %% of the multiply-accumulates remain, modelled time %.2f of the original's", 100*macs, time)
	total := 0
	for _, f := range j.fs {
		total += len(f.Units)
	}
	if got := float64(len(gone)) / float64(total); j.o.Ratio > 0 && got < j.o.Ratio-0.05 {
		j.note("ratio=%g is not reached, %.2f of the units went: units go in steps (round-to=), and of each dimension more than a tenth stays", j.o.Ratio, got)
	}
	if j.cost.assumed {
		j.note("sizes that the model leaves open were assumed in counting")
	}
	if j.data != nil && j.o.Repair {
		if err := j.repair(original, of, selection); err != nil {
			return err
		}
	}
	if j.data != nil {
		text, err := j.data.drift(original, j.m)
		if err != nil {
			return err
		}
		j.note("%s", text)
	}
	j.c.Note(strings.Join(append(table, j.notes...), "\n"))
	return nil
}

func (j *job) note(format string, args ...any) {
	j.notes = append(j.notes, fmt.Sprintf(format, args...))
}

// table lists what goes.
func (j *job) table() []string {
	r := []string{fmt.Sprintf("%-10s %6s %6s  %s", "units", "before", "after", "made by")}
	for _, f := range j.fs {
		var names []string
		for _, n := range f.made {
			names = append(names, coupling.NodeLabel(n))
		}
		r = append(r, fmt.Sprintf("%-10s %6d %6d  %s", f.kind, len(f.Units), len(f.Units)-f.gone, strings.Join(names, ", ")))
	}
	return r
}
