package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/report"
	"github.com/onnxopt/onnxopt/report/page"
	"github.com/onnxopt/onnxopt/tune"
)

// tuned is the --json of tune, and front.json.
type tuned struct {
	Model    string             `json:"model"`
	Metric   string             `json:"metric"`
	Floors   []string           `json:"floors"`
	Goals    []string           `json:"goals,omitempty"`
	Met      bool               `json:"met"`            // a model of the front holds floors and goals
	Best     int                `json:"best,omitempty"` // its number; of the nearest miss where Met is false
	Measured int                `json:"measured"`
	Cached   int                `json:"cached"` // of these, known from earlier runs
	Original map[string]float64 `json:"original"`
	Front    []tunedCandidate   `json:"front"`
}

// tunedCandidate is a model of the front.
type tunedCandidate struct {
	Number   int                `json:"number"`
	File     string             `json:"file,omitempty"` // in the folder; "" for the original
	Choices  string             `json:"choices"`
	Pipeline string             `json:"pipeline"`
	Loss     float64            `json:"loss"` // points of the metric
	Met      bool               `json:"met"`
	Values   map[string]float64 `json:"values"`
	result   *tune.Result
}

// finish writes what was found and says how the search ended.
func (t *tuning) finish(ctx context.Context, state *tune.State, err error) error {
	interrupted, failure := stopped(ctx, err)
	var missed *tune.Missed
	if errors.As(err, &missed) {
		return &fileError{t.in.name, err}
	}
	if len(state.Full()) == 0 || state.Base(state.Top()) == nil {
		if failure == nil {
			return err
		}
		return inFile(t.in.name, failure)
	}
	r := t.outcome(state)
	written, werr := t.write(context.WithoutCancel(ctx), state, r)
	if werr != nil {
		return errors.Join(werr)
	}
	t.show.clear()
	if failure != nil {
		return inFile(t.in.name, fmt.Errorf("%w; what was measured before is in %s", failure, t.f.output))
	}
	if t.f.json {
		if err := t.env.json(r); err != nil {
			return err
		}
	} else {
		t.print(t.stdout, r)
		fmt.Fprintf(t.stdout, "\n%d measurements, %d of them known before; %d models in %s\n", r.Measured, r.Cached, written, t.f.output)
	}
	if interrupted {
		t.stdout.Flush()
		return &stoppedError{fmt.Sprintf("interrupted; the best so far is in %s, and the same command goes on", t.f.output)}
	}
	if !r.Met {
		return &toldError{&fileError{t.in.name, errors.New(t.nearest(state, r))}}
	}
	return nil
}

func (t *tuning) outcome(state *tune.State) *tuned {
	f := t.f
	r := &tuned{Model: t.in.name, Metric: f.goal.Metric, Floors: f.floors, Goals: f.goals, Original: state.Base(state.Top())}
	r.Measured, r.Cached = t.search.Counts()
	best := state.Best()
	front := state.Front()
	if !slices.Contains(front, best) { // it has an equal on the front, or holds what those miss
		front = append(front, best)
	}
	for i, x := range front {
		c := tunedCandidate{Number: i + 1, Choices: x.Name, Pipeline: x.Pipeline, Loss: state.Loss(x), Met: state.Met(x), Values: x.Values, result: x}
		if x.Pipeline != "" {
			c.File = fmt.Sprintf("%02d.onnx", c.Number)
		}
		r.Met = r.Met || c.Met
		if x == best {
			r.Best = c.Number
		}
		r.Front = append(r.Front, c)
	}
	return r
}

// nearest says what the best candidate misses.
func (t *tuning) nearest(state *tune.State, r *tuned) string {
	best := state.Best()
	return fmt.Sprintf("no candidate holds %s; the nearest is number %d: %s", strings.Join(append(slices.Clone(t.f.floors), t.f.goals...), ", "), r.Best, t.shares(state, best))
}

// shares are the values that the goal speaks of, beside the original's.
func (t *tuning) shares(state *tune.State, x *tune.Result) string {
	base := state.Base(state.Top())
	s := fmt.Sprintf("%s %.4f (%+.2f points)", t.f.goal.Metric, x.Values[tune.Quality], -state.Loss(x))
	names := slices.Clone(t.f.goal.Objectives)
	for _, c := range t.f.goal.Limits {
		if !slices.Contains(names, c.What) {
			names = append(names, c.What)
		}
	}
	for _, n := range names {
		s += fmt.Sprintf(", %s %s", n, objectiveText(n, x.Values[n]))
		if base[n] > 0 {
			s += fmt.Sprintf(" (%.1f %% of the original)", 100*x.Values[n]/base[n])
		}
	}
	return s
}

// columns are the objectives worth a column: those of the goal first.
func (t *tuning) columns() []string {
	r := slices.Clone(t.f.goal.Objectives)
	for _, o := range []string{tune.Latency, tune.Size, tune.MACs} {
		if !slices.Contains(r, o) && (t.f.timed() || !tune.Timed(o)) {
			r = append(r, o)
		}
	}
	return r
}

// print prints the front as a table.
func (t *tuning) print(w io.Writer, r *tuned) {
	columns := t.columns()
	head := append([]string{"", t.f.goal.Metric, "lost"}, columns...)
	x := table{right: []int{0, 1, 2}}
	for i := range columns {
		x.right = append(x.right, 3+i)
	}
	x.row(append(head, "choices")...)
	for _, c := range r.Front {
		mark := fmt.Sprint(c.Number)
		if c.Number == r.Best {
			mark = "* " + mark
		}
		row := []string{mark, fmt.Sprintf("%.4f", c.Values[tune.Quality]), fmt.Sprintf("%.2f", c.Loss)}
		for _, o := range columns {
			row = append(row, objectiveText(o, c.Values[o]))
		}
		x.row(append(row, c.Choices)...)
	}
	x.write(w, "")
}

// write writes the front into the folder and returns the number of models.
func (t *tuning) write(ctx context.Context, state *tune.State, r *tuned) (int, error) {
	dir := t.f.output
	if err := t.clean(dir); err != nil {
		return 0, err
	}
	n := 0
	for i := range r.Front {
		c := &r.Front[i]
		if c.File == "" {
			continue
		}
		t.show.doing(fmt.Sprintf("writing model %d of %d", c.Number, len(r.Front)))
		m, err := t.bench.Make(ctx, tune.Trial{Pipeline: c.Pipeline, Calib: state.Rungs[state.Top()].Calib})
		if err != nil {
			return n, inFile(t.in.name, fmt.Errorf("%s: %w", c.Pipeline, err))
		}
		path := filepath.Join(dir, c.File)
		if _, err := onnxio.WriteFile(path, m, onnxio.WriteOptions{}); err != nil {
			return n, &fileError{path, err}
		}
		n++
		if err := atomically(strings.TrimSuffix(path, ".onnx")+".pipeline", func(w io.Writer) error { _, err := fmt.Fprintln(w, c.Pipeline); return err }); err != nil {
			return n, err
		}
		if err := t.page(strings.TrimSuffix(path, ".onnx")+".html", m, c); err != nil {
			return n, err
		}
	}
	if err := atomically(filepath.Join(dir, "front.md"), func(w io.Writer) error { t.markdown(w, r); return nil }); err != nil {
		return n, err
	}
	for _, p := range t.plots(state, r) {
		for _, format := range []string{"svg", "png"} {
			b, err := p.Bytes(format)
			if err != nil {
				return n, err
			}
			if err := atomically(filepath.Join(dir, p.Title+"."+format), func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
				return n, err
			}
		}
	}
	// Last: who finds it finds everything that it names.
	return n, atomically(filepath.Join(dir, "front.json"), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	})
}

// clean removes the models of an earlier run, which its front.json names.
func (t *tuning) clean(dir string) error {
	var old tuned
	b, err := os.ReadFile(filepath.Join(dir, "front.json"))
	if err != nil || json.Unmarshal(b, &old) != nil {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, "front.json")); err != nil {
		return &fileError{filepath.Join(dir, "front.json"), err}
	}
	for _, c := range old.Front {
		name := strings.TrimSuffix(c.File, ".onnx")
		if name == "" || name != filepath.Base(name) {
			continue
		}
		for _, ext := range []string{".onnx", ".pipeline", ".html"} {
			os.Remove(filepath.Join(dir, name+ext)) // one that stays is written over or left
		}
	}
	return nil
}

// page writes the report of a model.
func (t *tuning) page(name string, m *ir.Model, c *tunedCandidate) error {
	var p *page.Page
	err := onnxio.Guard(func() error {
		var x, y *drawn
		var err error
		if p, x, y, err = both(filepath.Base(t.in.name)+": "+c.Choices, t.in.model, m, report.Options{}); err == nil {
			p.Plots = plots(x.graph, y.graph)
		}
		return err
	})
	if err != nil {
		return &fileError{name, err}
	}
	lines := []string{fmt.Sprintf("%s: %.4f, %.2f points lost", t.f.goal.Metric, c.Values[tune.Quality], c.Loss)}
	for _, o := range t.columns() {
		lines = append(lines, o+": "+objectiveText(o, c.Values[o]))
	}
	p.Sections = append([]page.Section{{Title: "Measured", Lines: lines}, {Title: "Pipeline", Lines: []string{c.Pipeline, t.replay(c)}}}, p.Sections...)
	return t.writePage(name, p)
}

// replay is the command that makes a model again.
func (t *tuning) replay(c *tunedCandidate) string {
	s := "onnxopt -p " + shellQuote(c.Pipeline)
	if t.f.target != "" {
		s += " --target " + shellQuote(t.f.target)
	}
	if t.f.calib != "" {
		s += " --calib " + shellQuote(t.f.calib)
		if t.f.calibN > 0 {
			s += fmt.Sprintf(" --calib-limit %d", t.f.calibN)
		}
	}
	for _, k := range t.f.data.image {
		s += fmt.Sprintf(" --%s %s", k.Key, shellQuote(k.Value))
	}
	if t.spec.Engine != "native" {
		s += " --engine " + t.spec.Engine
	}
	return s + " " + shellQuote(t.in.name) + " -o " + strings.TrimSuffix(c.File, ".onnx") + ".again.onnx"
}

func (t *tuning) markdown(w io.Writer, r *tuned) {
	columns := t.columns()
	fmt.Fprintf(w, "# %s\n\nfloors: %s", filepath.Base(r.Model), strings.Join(r.Floors, ", "))
	if len(r.Goals) > 0 {
		fmt.Fprintf(w, "; goals: %s", strings.Join(r.Goals, ", "))
	}
	fmt.Fprintf(w, "; %d measurements. The row with a star is the best%s.\n\n", r.Measured, map[bool]string{true: "", false: ", which does not hold them all"}[r.Met])
	fmt.Fprintf(w, "| | %s | lost | %s | choices | pipeline |\n|%s\n", r.Metric, strings.Join(columns, " | "), strings.Repeat("---|", 5+len(columns)))
	row := func(mark string, v map[string]float64, loss float64, choices, pipeline string) {
		fmt.Fprintf(w, "| %s | %.4f | %.2f |", mark, v[tune.Quality], loss)
		for _, o := range columns {
			fmt.Fprintf(w, " %s |", objectiveText(o, v[o]))
		}
		fmt.Fprintf(w, " %s | %s |\n", choices, strings.ReplaceAll(pipeline, "|", "\\|"))
	}
	row("original", r.Original, 0, "", "")
	for _, c := range r.Front {
		mark, text := fmt.Sprint(c.Number), ""
		if c.Number == r.Best {
			mark += " *"
		}
		if c.Pipeline != "" {
			text = "`" + c.Pipeline + "`"
		}
		row(mark, c.Values, c.Loss, c.Choices, text)
	}
}

// plots show all that was measured on all data, and the front: the metric over each objective.
func (t *tuning) plots(state *tune.State, r *tuned) (list []page.Plot) {
	for i, o := range t.f.goal.Objectives {
		all, front, best := page.Line{Name: "measured"}, page.Line{Name: "front"}, page.Line{Name: "best"}
		put := func(l *page.Line, v map[string]float64) {
			l.At, l.Values = append(l.At, v[o]), append(l.Values, v[tune.Quality])
		}
		for _, x := range state.Full() {
			put(&all, x.Values)
		}
		for _, c := range r.Front {
			if c.Number == r.Best {
				put(&best, c.Values)
			} else {
				put(&front, c.Values)
			}
		}
		p := page.Plot{Title: "front", X: o, Y: r.Metric, Dots: true}
		if i > 0 {
			p.Title = "front-" + o
		}
		for _, l := range []page.Line{all, front, best} {
			if len(l.Values) > 0 {
				p.Lines = append(p.Lines, l)
			}
		}
		list = append(list, p)
	}
	return list
}
