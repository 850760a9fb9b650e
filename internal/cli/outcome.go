package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/report"
)

// outcome is what a run did, and the --json of the default verb. Names of fields are not changed, only added.
type outcome struct {
	Status      string             `json:"status"` // "ok"; of a run that failed see failure
	Exit        int                `json:"exit"`
	Input       string             `json:"input"`
	InputBytes  int64              `json:"input_bytes"`
	Output      string             `json:"output,omitempty"`
	OutputBytes int64              `json:"output_bytes,omitempty"`
	DataFiles   []string           `json:"data_files,omitempty"`
	Pipeline    string             `json:"pipeline"`
	Promise     string             `json:"promise"`
	Before      *report.Summary    `json:"before"`
	After       *report.Summary    `json:"after"`
	Rewrites    int                `json:"rewrites"`
	Passes      []stepOutcome      `json:"passes"`
	Verified    verifiedOutcome    `json:"verification"`
	Undone      []rewriteOutcome   `json:"undone,omitempty"`
	Planned     []optimize.Planned `json:"planned,omitempty"`
	Warnings    []string           `json:"warnings,omitempty"`
	Remarks     []string           `json:"remarks,omitempty"`
	Notes       []said             `json:"notes,omitempty"`    // what passes found out
	Stations    []station          `json:"stations,omitempty"` // of a pipeline with several steps that promise nothing
	Floor       string             `json:"floor,omitempty"`    // the measurement that holds --floor
}

// The parts of an outcome.
type (
	stepOutcome struct {
		Path     string         `json:"path"`
		Pass     string         `json:"pass"`
		Changed  bool           `json:"changed"`
		Seconds  float64        `json:"seconds"`
		Rewrites map[string]int `json:"rewrites,omitempty"`
	}
	verifiedOutcome struct {
		State   string                 `json:"state"` // "verified", "not verified", "drift", "off"
		Why     string                 `json:"why,omitempty"`
		Sets    int                    `json:"sets"`
		Outputs map[string]diffOutcome `json:"outputs,omitempty"`
	}
	diffOutcome struct {
		SameBits bool    `json:"same_bits"`
		Relative float64 `json:"relative"` // max|a-b| / max(max|a|, 1e-6)
		Absolute float64 `json:"absolute"`
		SQNR     float64 `json:"sqnr_db,omitempty"`
	}
	rewriteOutcome struct {
		Number int    `json:"number"`
		Path   string `json:"path"`
		Rule   string `json:"rule"`
		Node   string `json:"node,omitempty"`
	}
)

// said is what a pass has to say.
type said struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// note takes what a pass has to say.
func (j *job) note(path, text string) {
	j.outcome.Notes = append(j.outcome.Notes, said{path, text})
}

// took records what a run reports.
func (o *outcome) took(r *optimize.Result, p *passes.Pipeline) {
	o.Status, o.Rewrites, o.Promise = statusOf(exitOK), r.Report.Rewrites, p.Promise().String()
	o.Passes = []stepOutcome{}
	for _, s := range r.Report.Steps {
		t := stepOutcome{Path: s.Path, Pass: s.Pass, Changed: s.Changed, Seconds: seconds(s.Duration)}
		for _, c := range s.Rewrites {
			if t.Rewrites == nil {
				t.Rewrites = map[string]int{}
			}
			t.Rewrites[c.Rule] += c.Count
		}
		o.Passes = append(o.Passes, t)
	}
	v := r.Verification
	o.Verified = verifiedOutcome{State: string(v.State), Why: v.Why, Sets: v.Sets, Outputs: map[string]diffOutcome{}}
	for name, d := range v.Outputs {
		o.Verified.Outputs[name] = toDiff(d)
	}
	for _, u := range r.Undone {
		o.Undone = append(o.Undone, rewriteOutcome{u.Number, u.Path, u.Rule, u.Node})
	}
}

// toDiff leaves out what JSON cannot express: an infinite ratio means no error.
func toDiff(d compare.Diff) diffOutcome {
	r := diffOutcome{SameBits: d.Same(), Relative: d.Rel, Absolute: d.Abs}
	if !math.IsInf(d.SQNR, 0) {
		r.SQNR = d.SQNR
	}
	return r
}

// seconds is a duration as JSON has it.
func seconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

// tell prints what a run did: JSON on stdout, tables on stderr.
func (j *job) tell(w *watch, res *optimize.Result) error {
	o, f := &j.outcome, &j.f.observe
	j.warnings(res)
	if f.time {
		o.timeTable(j.stderr, f.verbose)
	}
	if f.stats {
		o.ruleTable(j.stderr)
	}
	if w.plan != nil {
		o.Planned = w.plan.Rewrites
	}
	if f.json {
		return j.json(o)
	}
	if w.plan != nil {
		planTable(j.stdout, w.plan.Rewrites)
	}
	if f.quiet {
		return nil
	}
	o.summaryTable(j.stderr, f.verbose)
	o.stationTable(j.stderr)
	v := res.Verification
	if f.dryRun && v.State == optimize.Skipped && j.f.verify.value != "off" {
		v.Why = "a dry run compares only with --verify=strict"
	}
	if ops, ok := strings.CutPrefix(v.Why, "no kernel for "); ok && v.State == optimize.NotVerified && j.f.calib.engine.names[0] == "native" && inRuntime(ops) {
		v.Why += "; --engine ort compares in ONNX Runtime"
	}
	for _, n := range o.Notes {
		fmt.Fprintf(j.stderr, "%s: %s\n", n.Path, n.Text)
	}
	fmt.Fprintln(j.stderr, v)
	if o.Floor != "" {
		fmt.Fprintf(j.stderr, "above the floor %s: %s\n", j.f.floor.text, o.Floor)
	}
	switch {
	case f.dryRun:
		fmt.Fprintln(j.stderr, "dry run: nothing was written")
	case j.f.output == "":
		fmt.Fprintln(j.stderr, "nothing was written: name the output with -o FILE")
	}
	return nil
}

// inRuntime reports whether all of the operators, with commas between them, are of domains that ONNX Runtime has.
func inRuntime(ops string) bool {
	for op := range strings.SplitSeq(ops, ", ") {
		if strings.Contains(op, ".") && !strings.HasPrefix(op, "ai.onnx.") && !strings.HasPrefix(op, "com.microsoft.") {
			return false
		}
	}
	return true
}

// warnings prints what a user should know although nothing failed.
func (j *job) warnings(res *optimize.Result) {
	for _, w := range res.Warnings {
		j.warn("%s: %s", j.in.name, w)
	}
	j.outcome.Warnings = res.Warnings
	for _, u := range res.Undone {
		j.warn("rewrite %d, %s of %s at %s, broke the model and was left out", u.Number+1, u.Rule, u.Path, cmp.Or(u.Node, "the model"))
	}
	for _, u := range res.Unverified {
		j.warn("--verify-each: %s", u)
	}
}

// summaryTable prints the model before and after. Operators whose number did not change are summed up unless all are asked for.
func (o *outcome) summaryTable(w io.Writer, all bool) {
	if o.Before == nil || o.After == nil {
		return
	}
	a, b := o.Before, o.After
	t := table{right: []int{1, 2, 3}}
	t.row("", "before", "after", "")
	t.row("nodes", strconv.Itoa(a.Nodes), strconv.Itoa(b.Nodes), change(int64(a.Nodes), int64(b.Nodes)))
	unchanged, kinds := 0, 0
	for _, op := range report.Operators(a, b) {
		x, y := a.Operators[op], b.Operators[op]
		if x == y && !all {
			unchanged += x
			kinds++
			continue
		}
		t.row("  "+op, strconv.Itoa(x), strconv.Itoa(y), "")
	}
	if kinds > 0 {
		t.row(fmt.Sprintf("  %d unchanged operator%s", kinds, plural(kinds)), strconv.Itoa(unchanged), strconv.Itoa(unchanged), "")
	}
	t.row("parameters", countText(a.Parameters), countText(b.Parameters), change(a.Parameters, b.Parameters))
	if o.Output != "" {
		t.row("file size", bytesText(o.InputBytes), bytesText(o.OutputBytes), change(o.InputBytes, o.OutputBytes))
	} else {
		t.row("parameter size", bytesText(a.Bytes), bytesText(b.Bytes), change(a.Bytes, b.Bytes))
	}
	for _, q := range bounded {
		x, y := q.of(a), q.of(b)
		t.row(q.name, atLeast(x.missing)+q.text(x.known), atLeast(y.missing)+q.text(y.known), x.change(y))
	}
	t.write(w, "")
}

// sum is a number of which some parts are missing, because sizes are open: with any, it is a lower bound.
type sum struct{ known, missing int64 }

// change is the relative change to b, nothing if either is a bound only: bounds of the same model before and after may be of different parts.
func (a sum) change(b sum) string {
	if a.missing > 0 || b.missing > 0 {
		return ""
	}
	return change(a.known, b.known)
}

// bounded are the numbers of a summary that open sizes make bounds.
var bounded = []struct {
	name string
	text func(int64) string
	of   func(*report.Summary) sum
}{
	{"MACs", countText, func(s *report.Summary) sum { return sum{s.MACs, s.Uncounted} }},
	{"peak activation", bytesText, func(s *report.Summary) sum { return sum{s.PeakActivation, int64(s.Unsized)} }},
}

// atLeast marks a number that is a lower bound.
func atLeast(unknown int64) string {
	if unknown > 0 {
		return "≥ "
	}
	return ""
}

// change is the relative change in percent, nothing if there is none.
func change(a, b int64) string {
	if a == b || a == 0 {
		return ""
	}
	p := 100 * (float64(b) - float64(a)) / float64(a)
	if math.Abs(p) < 0.05 {
		return fmt.Sprintf("%+d", b-a)
	}
	return fmt.Sprintf("%+.1f %%", p)
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// timeTable prints the time of each pass, the slowest first, or with all set that of each step as they ran.
func (o *outcome) timeTable(w io.Writer, all bool) {
	type line struct {
		name    string
		seconds float64
		runs    int
	}
	var lines []*line
	byName := map[string]*line{}
	sum := 0.0
	for _, s := range o.Passes {
		name := s.Pass
		if all {
			name = s.Path
		}
		if byName[name] == nil {
			byName[name] = &line{name: name}
			lines = append(lines, byName[name])
		}
		byName[name].seconds += s.Seconds
		byName[name].runs++
		sum += s.Seconds
	}
	if !all {
		slices.SortStableFunc(lines, func(a, b *line) int { return cmp.Compare(b.seconds, a.seconds) })
	}
	t := table{right: []int{0, 1, 2}}
	for _, l := range lines {
		t.row(fmt.Sprintf("%.3f ms", l.seconds*1e3), fmt.Sprintf("%.1f %%", 100*l.seconds/max(sum, 1e-9)), fmt.Sprintf("%d x", l.runs), l.name)
	}
	t.row(fmt.Sprintf("%.3f ms", sum*1e3), "", "", "all passes")
	fmt.Fprintln(w, "time of passes:")
	t.write(w, "  ")
}

// ruleTable prints how often each rule was applied.
func (o *outcome) ruleTable(w io.Writer) {
	counts := map[[2]string]int{}
	for _, s := range o.Passes {
		for rule, n := range s.Rewrites {
			counts[[2]string{s.Pass, rule}] += n
		}
	}
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	})
	t := table{right: []int{0}}
	for _, k := range keys {
		t.row(strconv.Itoa(counts[k]), k[0], k[1])
	}
	fmt.Fprintf(w, "rewrites: %d\n", o.Rewrites)
	t.write(w, "  ")
}

// planTable prints the rewrites of a dry run.
func planTable(w io.Writer, planned []optimize.Planned) {
	t := table{right: []int{0, 1, 2, 3, 4}}
	t.row("#", "nodes", "bytes", "MACs", "memory", "rule", "at")
	for _, p := range planned {
		peak := "-"
		if p.Peak != nil {
			peak = signed(*p.Peak)
		}
		t.row(strconv.Itoa(p.Number+1), signed(int64(p.Nodes)), signed(p.Bytes), signed(p.MACs), peak, p.Path+": "+p.Rule, p.Node)
	}
	t.write(w, "")
}

func signed(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%+d", n)
}
