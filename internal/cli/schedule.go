package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/internal/process"
	"github.com/onnxopt/onnxopt/report/page"
	"github.com/onnxopt/onnxopt/targets/c"
	"github.com/onnxopt/onnxopt/tune/schedule"
	"github.com/onnxopt/onnxopt/tune/trial"
)

const scheduleLong = `schedule finds out how the layers of a model are best written in C on this machine: sizes
of tiles, which loop is the outer one, unrolling, and which neighbours become one step (a sum
with what adds to it; a depthwise convolution with the pointwise one that follows, or a
convolution with a pooling, by rows). Candidates are ranked by an analytical model and by one
learned from the log, built with the C compiler, and timed beside the default in processes
with limits of time and memory. At the end the whole model is timed with the default and with
what was found, by turns; where that is not faster, the schedule is empty.

The log keeps every trial: a run that was interrupted goes on where it ended, another model
takes what the log has of equal layers, and the same log gives the same schedule without
measuring. The schedule counts for the processor and the compiler with its options.`

const scheduleExample = `onnxopt schedule --target c model.onnx -o model.schedule
onnxopt schedule --target c model.onnx --time 10m --log trials.jsonl --plots plots/
onnxopt schedule --target c model.onnx --cc 'clang -O3 -march=native' -o model.schedule
onnxopt --target 'c{schedule=model.schedule}' model.onnx -o model.c`

// scheduleFlags are the options of schedule.
type scheduleFlags struct {
	optimizeFlags
	cc, log  string
	schedule string // where to
	time     time.Duration
}

func (e *env) scheduleVerb() *cobra.Command {
	f := &scheduleFlags{}
	cmd := &cobra.Command{
		Use: "schedule", Short: "measure how code for a model is best written", Long: scheduleLong, Example: scheduleExample,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.schedule(cmd.Context(), f, args[0], cmd.Flags().Changed)
		},
	}
	all := f.optimizeFlags.groups()
	g := newGroup("Schedule")
	g.StringVarP(&f.schedule, "output", "o", "", "write the schedule to `FILE`")
	g.DurationVar(&f.time, "time", 5*time.Minute, "`TIME` to measure layers for; the last comparison comes on top")
	g.StringVar(&f.log, "log", "", "keep trials in `FILE`, which may hold some; otherwise beside the schedule, as .trials.jsonl")
	g.StringVar(&f.cc, "cc", "cc "+c.CFLAGS, "C compiler with its options, as the model will be compiled")
	for _, name := range []string{"target", "passes", "opt", "skip", "freeze-defaults", "seed"} {
		g.AddFlag(all[0].Lookup(name))
	}
	for _, name := range []string{"plots", "json", "quiet"} {
		g.AddFlag(all[3].Lookup(name))
	}
	setHelp(cmd, "onnxopt schedule --target c [options] model.onnx -o FILE", g, all[4])
	return cmd
}

// check finds wrong usage before any file is read.
func (f *scheduleFlags) check(args []string) error {
	name, _, _ := strings.Cut(f.target, "{")
	switch {
	case len(args) != 1:
		return usagef("schedule takes one model, not %d", len(args))
	case f.target == "":
		return usagef("for which target? --target c")
	case strings.TrimSpace(name) != "c":
		return usagef("the target whose code has a schedule is c, not %s", name)
	case f.schedule == standard || f.log == standard:
		return usagef("the schedule and the log are files")
	case f.schedule != "" && f.schedule == f.log:
		return usagef("the schedule and the log are two files")
	case f.time <= 0:
		return usagef("--time is above 0")
	}
	return nil
}

func (e *env) schedule(ctx context.Context, f *scheduleFlags, name string, given func(string) bool) (err error) {
	p, err := e.plan(&f.optimizeFlags, nil, given)
	if err != nil {
		return err
	}
	for _, file := range []string{f.schedule, f.log} {
		if err := checkOutput(file); err != nil {
			return err
		}
	}
	words, err := process.Split(f.cc)
	if err != nil {
		return usagef("--cc: %v", err)
	}
	cc, err := schedule.NewCompiler(ctx, words)
	if err != nil {
		var missing *schedule.MissingError
		if errors.As(err, &missing) {
			return fmt.Errorf("%w; --cc names one with its options", err)
		}
		return err
	}
	quiet := f.observe.quiet
	f.observe.quiet, f.verify.value, f.observe.dryRun = true, "off", false // the pipeline is that of a build, which compares
	plots, asJSON := f.observe.plots, f.observe.json
	f.observe.plots, f.observe.json = "", false
	j := &job{env: e, f: &f.optimizeFlags, plan: p}
	if j.in, err = e.open(name, &f.files, f.freezeDefaults); err != nil {
		return err
	}
	defer j.close()
	if err := j.run(ctx); err != nil {
		return err
	}
	if err := p.target.Check(j.in.model); err != nil {
		return &fileError{j.in.name, err}
	}
	log, done, err := f.openLog()
	if err != nil {
		return err
	}
	defer func() { done(err) }()
	var show *progress
	if e.terminal && !quiet {
		show = startProgress(e.stderr, name)
		defer show.stop()
	}
	r, err := schedule.Search(ctx, j.in.model, schedule.Options{Target: f.target, Compiler: cc, Time: f.time, Log: log, Seed: f.seed, Progress: show.doing})
	show.clear()
	if err != nil {
		return inFile(j.in.name, err)
	}
	if f.schedule != "" {
		if err := atomically(f.schedule, func(w io.Writer) error { _, err := w.Write(r.Schedule.Text()); return err }); err != nil {
			return err
		}
	}
	if plots != "" {
		if err := drawSchedule(r, plots); err != nil {
			return err
		}
	}
	switch {
	case asJSON:
		return e.json(scheduleOutcome(j.in.name, f.schedule, cc, r))
	case !quiet:
		e.tellSchedule(f, cc, r)
	}
	return nil
}

// openLog opens the log of trials; without a name for it or the schedule it is forgotten at the end, as is a new
// one in which a search that failed left nothing.
func (f *scheduleFlags) openLog() (*trial.Log, func(failed error), error) {
	path, drop := f.log, ""
	switch {
	case path == "" && f.schedule != "":
		path = strings.TrimSuffix(f.schedule, filepath.Ext(f.schedule)) + ".trials.jsonl"
	case path == "":
		dir, err := os.MkdirTemp("", "onnxopt-trials-")
		if err != nil {
			return nil, nil, err
		}
		path, drop = filepath.Join(dir, "trials.jsonl"), dir
	}
	_, err := os.Stat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	log, err := trial.Open(path)
	if err != nil {
		if drop != "" {
			os.RemoveAll(drop)
		}
		return nil, nil, err
	}
	return log, func(failed error) {
		empty := log.Len() == 0
		log.Close()
		if failed != nil && fresh && empty {
			os.Remove(path)
		}
		if drop != "" {
			os.RemoveAll(drop)
		}
	}, nil
}

func micros(s float64) string { return fmt.Sprintf("%.1f", 1e6*s) }

// tellSchedule prints the table: layers by the time that they take, then what came of it.
func (e *env) tellSchedule(f *scheduleFlags, cc *schedule.Compiler, r *schedule.Result) {
	w := e.stdout
	t := &table{right: []int{0, 1, 2, 3, 4}}
	t.row("times", "default µs", "found µs", "ratio", "tried", "layer", "choice")
	rows := slices.Clone(r.Rows)
	slices.SortStableFunc(rows, func(a, b schedule.Row) int {
		x, y := float64(a.Count)*a.Default, float64(b.Count)*b.Default
		switch {
		case a.Fusion != b.Fusion && a.Fusion:
			return 1
		case a.Fusion != b.Fusion || x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	for _, x := range rows {
		if x.Default == 0 {
			continue // the time was over before
		}
		choice := "default"
		if x.Choice != nil {
			choice = x.Choice.String()
		}
		t.row(fmt.Sprint(x.Count), micros(x.Default), micros(x.Found), fmt.Sprintf("%.2f", x.Default/x.Found), fmt.Sprint(x.Tried), x.Layer, choice)
	}
	t.write(w, "")
	fmt.Fprintf(w, "%d candidates measured, %d taken from the log, %d of them failed; %s\n", r.Measured, r.Reused, r.Failed, r.Ended)
	if r.Layers > 0 {
		fmt.Fprintf(w, "rank correlation with the measured times, mean over %d layers: analytical model %.2f, learned %.2f\n", r.Layers, r.Analytical, r.Learned)
	}
	fmt.Fprintf(w, "%s; vectors of %d floats; %s\n", cc.Version, cc.Lanes, cc.Machine)
	switch {
	case r.Default == 0:
		fmt.Fprintf(w, "no layer was found to be faster than by default: the schedule is empty\n")
	case r.Kept == "default":
		fmt.Fprintf(w, "the whole model is not faster with what was found: the schedule is empty\n")
	default:
		fmt.Fprintf(w, "the whole model: %.3f ms by default, %.3f ms with the %s, ratio %.2f\n", 1e3*r.Default, 1e3*r.Found, r.Kept, r.Default/r.Found)
	}
	if f.schedule != "" {
		fmt.Fprintf(w, "%s: %d layers; build with --target 'c{schedule=%s}'\n", f.schedule, len(r.Schedule.Layers), f.schedule)
	}
}

// scheduleJSON is the --json of schedule.
type scheduleJSON struct {
	Status      string         `json:"status"`
	Input       string         `json:"input"`
	Schedule    string         `json:"schedule,omitempty"`
	Compiler    string         `json:"compiler"`
	Machine     string         `json:"machine"`
	Lanes       int            `json:"lanes"`
	Layers      []scheduledRow `json:"layers"`
	Measured    int            `json:"measured"`
	Reused      int            `json:"reused"`
	Failed      int            `json:"failed"`
	Ended       string         `json:"ended"`
	Analytical  float64        `json:"rank_correlation_analytical"`
	Learned     float64        `json:"rank_correlation_learned"`
	DefaultTime float64        `json:"default_s"`
	FoundTime   float64        `json:"found_s"`
	Kept        string         `json:"kept"`
}

type scheduledRow struct {
	Layer   string         `json:"layer"`
	Count   int            `json:"count"`
	Default float64        `json:"default_s"`
	Found   float64        `json:"found_s"`
	Tried   int            `json:"tried"`
	Choice  map[string]int `json:"choice,omitempty"`
}

func scheduleOutcome(input, output string, cc *schedule.Compiler, r *schedule.Result) scheduleJSON {
	o := scheduleJSON{Status: statusOf(exitOK), Input: input, Schedule: output, Compiler: cc.Version, Machine: cc.Machine, Lanes: cc.Lanes, Measured: r.Measured, Reused: r.Reused,
		Failed: r.Failed, Ended: r.Ended, Analytical: r.Analytical, Learned: r.Learned, DefaultTime: r.Default, FoundTime: r.Found, Kept: r.Kept}
	for _, x := range r.Rows {
		o.Layers = append(o.Layers, scheduledRow{x.Layer, x.Count, x.Default, x.Found, x.Tried, x.Choice})
	}
	return o
}

// drawSchedule writes the plots: what is expected to be gained after each batch, and default and found by layer or fusion.
func drawSchedule(r *schedule.Result, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return &fileError{dir, err}
	}
	scaled := func(x []float64) []float64 {
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = 1e6 * v
		}
		return y
	}
	var before, after []float64
	for _, x := range r.Rows {
		if x.Default > 0 {
			before, after = append(before, float64(x.Count)*x.Default), append(after, float64(x.Count)*x.Found)
		}
	}
	for _, p := range []struct {
		name string
		plot page.Plot
	}{
		{"schedule-search", page.Plot{X: "batch of candidates", Y: "expected gain, µs a run", Lines: []page.Line{{Name: "best so far", Values: scaled(r.Curve)}}}},
		{"schedule-layers", page.Plot{X: "layer", Y: "µs", Bars: true, Lines: []page.Line{{Name: "default", Values: scaled(before)}, {Name: "found", Values: scaled(after)}}}},
	} {
		if len(p.plot.Lines[0].Values) == 0 {
			continue
		}
		for _, format := range []string{"svg", "png"} {
			b, err := p.plot.Bytes(format)
			if err != nil {
				return err
			}
			file := filepath.Join(dir, p.name+"."+format)
			if err := atomically(file, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
				return err
			}
		}
	}
	return nil
}
