package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/report"
)

// station is the model after a step of the pipeline that changed it.
type station struct {
	Step  string   `json:"step"`
	Bytes int64    `json:"parameter_bytes"`
	MACs  int64    `json:"macs"`
	Rel   *float64 `json:"difference,omitempty"` // the largest relative difference to the original; not there where that could not be found
	SQNR  *float64 `json:"sqnr_db,omitempty"`
	lossy bool     // it is one that promises nothing
}

// stations describes the model after each step of a pipeline that has several which promise nothing, beside the original. Samples are
// the first ones of the data. It is a hook of the run.
type stations struct {
	job      *job
	original *ir.Model
	src      compare.Source
	border   *ir.Border
	model    *ir.Model
	at       string // the step under way, "" before the first
	changed  bool
	lossy    bool
	list     *[]station
}

// stationSets bounds the sets of inputs that each station is compared on.
const stationSets = 8

// newStations is nil where one number at the end says all there is.
func (j *job) newStations(src compare.Source) *stations {
	lossy := 0
	for _, s := range j.plan.parsed.Steps() {
		if s.Promise().Lossy {
			lossy++
		}
	}
	if lossy < 2 || j.f.observe.dryRun || j.f.observe.quiet && !j.f.observe.json || j.f.verify.value == "off" {
		return nil
	}
	return &stations{job: j, original: j.in.model.Clone(), src: src, list: &j.outcome.Stations}
}

// Before implements passes.Hook.
func (s *stations) Before(run *passes.StepRun) bool {
	s.model = run.Model
	if step, _, _ := strings.Cut(run.Path, "/"); step != s.at {
		s.close(run)
		s.at = step
	}
	return true
}

// After implements passes.Hook.
func (s *stations) After(run *passes.StepRun, err error) error {
	s.changed = s.changed || run.Changed
	s.lossy = s.lossy || run.Changed && run.Promise.Lossy
	s.border = s.border.Then(run.Border)
	return nil
}

// close describes the model as the step that has ended leaves it. What cannot be found is left out: the end is verified in any case.
func (s *stations) close(run *passes.StepRun) {
	if s.at == "" || !s.changed || s.model == nil {
		return
	}
	lossy := s.lossy
	s.changed, s.lossy = false, false
	sum, err := report.Summarize(s.model, report.Options{})
	if err != nil {
		return
	}
	e := station{Step: s.at, Bytes: sum.Bytes, MACs: sum.MACs, lossy: lossy}
	defer func() { *s.list = append(*s.list, e) }()
	rel, err := compare.Relate(s.original, s.model, s.border)
	if err != nil {
		return
	}
	src := s.src
	if src == nil {
		src = compare.NewGenerator(rel.Original, compare.GenerateOptions{Seed: s.job.f.seed})
	} else if s.border != nil {
		src = rel.Source(src)
	}
	v, err := compare.Models(run.Context, native.New(), rel.Original, s.model, src, compare.Options{
		Threads: s.job.f.resources.count(), MaxSets: stationSets, Tolerance: func(string) compare.Tolerance { return anything() },
		Budget: compare.Budget{Time: 5 * time.Second, Memory: s.job.budget().Memory}, Relation: rel,
	})
	if err != nil || v.State == compare.NotVerified {
		return
	}
	worst, sqnr := 0.0, math.Inf(1)
	for _, d := range v.Outputs {
		worst, sqnr = max(worst, d.Rel), min(sqnr, d.SQNR)
	}
	e.Rel, e.SQNR = finite(worst), finite(sqnr)
}

// stationTable prints the stations, the original first.
func (o *outcome) stationTable(w io.Writer) {
	lossy := 0
	for _, s := range o.Stations {
		if s.lossy {
			lossy++
		}
	}
	if lossy < 2 || o.Before == nil {
		return
	}
	t := table{right: []int{1, 2, 3, 4}}
	t.row("after", "weights", "MACs", "drift", "SQNR dB")
	t.row("(original)", bytesText(o.Before.Bytes), countText(o.Before.MACs), "", "")
	for _, s := range o.Stations {
		cell := func(x *float64, form string) string {
			if x == nil {
				return ""
			}
			return fmt.Sprintf(form, *x)
		}
		t.row(s.Step, bytesText(s.Bytes), countText(s.MACs), cell(s.Rel, "%.2g"), cell(s.SQNR, "%.1f"))
	}
	t.write(w, "")
	fmt.Fprintln(w)
}
