package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/tune"
	"github.com/onnxopt/onnxopt/tune/trial"
)

const tuneLong = `tune searches for the lightest pipeline that keeps what the model is good at: shares of
channels to prune, factorizations and their ranks, types, fusions, residual branches to leave
out, by groups of layers. Choices are measured one by one, then the steps that promise most in
each other's company, then candidates that are bred from the best (--strategy). Many are tried
on a part of the data, few on all of it.

Into the folder of -o go the models that no other beats in every objective and in the metric,
a report and the pipeline of each, a table and a plot of them all. A pipeline makes its model
again without the search. What was measured is kept in trials.jsonl: the same command goes on
where the last one ended, after Ctrl-C, too.

Times are those of --engine with --threads threads, in turns with the original; with --target, and
no --engine, those of the target's runtime: LiteRT, OpenVINO, TVM or ONNX Runtime of the Python
that ONNXOPT_LITERT and the like name, and for c the compiler cc. --latency model takes a cost
model instead.`

const tuneExample = `onnxopt tune model.onnx --data val/ --calib cal/ --floor 'drop<=1.0' --objective latency,size -o out/
onnxopt tune model.onnx --data val.npz --calib cal.npz --target onnxruntime --goal 'latency<=60%' --time 30m -o out/
onnxopt tune model.onnx --data x.npz --metric agreement --floor 'agreement>=0.98' --objective size -o out/
onnxopt tune model.onnx --data x.npz --objective macs --trials 40 --seed 7 -o out/`

// tuneFlags are the options of tune.
type tuneFlags struct {
	output, target         string
	runtime                string // that tells the time, of the target; "": the engine
	objectives, kinds      []string
	floors, goals          []string
	metric                 string
	metricOptions          metric.Options
	strategy, latency      enum
	time                   time.Duration
	trials, groups, calibN int
	calib                  string
	seed                   uint64
	json                   bool
	engine                 engineFlags
	data                   dataFlags
	files                  fileFlags
	resources              resourceFlags
	cluster                clusterFlags

	goal tune.Goal
}

func (e *env) tuneVerb() *cobra.Command {
	f := &tuneFlags{}
	cmd := &cobra.Command{
		Use: "tune", Short: "search for the lightest model that keeps its accuracy", Long: tuneLong, Example: tuneExample,
		Args: func(cmd *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.cluster.on() && e.cluster == nil {
				return e.companion()
			}
			return e.tuneModel(cmd.Context(), f, args[0], cmd.Flags().Changed("engine"))
		},
	}
	g := newGroup("Search")
	g.StringVarP(&f.output, "output", "o", "", "write models, reports and what was measured into the folder `DIR`")
	g.StringSliceVar(&f.objectives, "objective", []string{tune.Latency}, "`OBJECTIVES`, the first counts double: "+strings.Join(tune.Objectives(), ", "))
	g.Lookup("objective").DefValue = tune.Latency
	g.StringArrayVar(&f.floors, "floor", nil, "`CONDITION` on the metric: 'drop<=1.0' (points lost, the default), 'agreement>=0.98'; may be repeated")
	g.StringArrayVar(&f.goals, "goal", nil, "`CONDITION` on an objective: 'latency<=60%' of the original's, 'size<=200k', 'throughput>=150%'; may be repeated")
	g.StringVar(&f.metric, "metric", "", "`METRIC`: "+strings.Join(metric.Names(), ", ")+" (default top1 with labels, agreement with the original without)")
	g.StringVar(&f.metricOptions.Output, "output-name", "", "`NAME` of the output to measure, the first if not given")
	g.StringVar(&f.target, "target", "", "run the pipeline of `TARGET` behind each candidate, and take the times in its own runtime where that is here")
	g.StringVar(&f.calib, "calib", "", "data set at `PATH` that passes look at, none of which should be in --data")
	g.Var(count{&f.calibN}, "calib-limit", "take N of its samples, spread evenly, 0 for all")
	f.strategy = enum{"auto", tune.StrategyNames()}
	g.Var(&f.strategy, "strategy", "how candidates are found; auto: all, one after another")
	g.StringSliceVar(&f.kinds, "choices", nil, "`KINDS` of choices: "+strings.Join(tune.KindNames(), ", ")+" (default all)")
	g.Var(count{&f.groups}, "groups", "groups of layers that are treated apart at most, 0 for 6")
	f.latency = enum{"measured", []string{"measured", "model"}}
	g.Var(&f.latency, "latency", "where times come from")
	g.DurationVar(&f.time, "time", 10*time.Minute, "`TIME` of the search, 0 for any; writing the models comes on top")
	g.Var(count{&f.trials}, "trials", "measurements of candidates at most, those kept from earlier runs included, 0 for any")
	g.Uint64Var(&f.seed, "seed", 1, "seed `N`; the same measurements and seed give the same result")
	g.BoolVar(&f.json, "json", false, "print JSON")
	f.engine.add(g, false)
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	cluster := newGroup("Several machines (docs/tuning.md)")
	f.cluster.addTune(cluster)
	setHelp(cmd, "onnxopt tune [options] model.onnx --data PATH -o DIR", g, cluster, f.data.group("Data"), files)
	return cmd
}

// check finds wrong usage before any file is read.
func (f *tuneFlags) check(args []string) error {
	switch {
	case len(args) != 1:
		return usagef("tune takes one model, not %d", len(args))
	case f.data.data == "":
		return usagef("which data? onnxopt tune %s --data PATH -o DIR", args[0])
	case f.output == "":
		return usagef("where to? -o DIR")
	case f.time < 0:
		return usagef("--time %s is no time", f.time)
	case len(f.objectives) == 0:
		return usagef("which objective? There are %s", strings.Join(tune.Objectives(), ", "))
	}
	for _, o := range f.objectives {
		if !slices.Contains(tune.Objectives(), o) {
			return usagef("--objective %s: there are %s", o, strings.Join(tune.Objectives(), ", "))
		}
	}
	for _, k := range f.kinds {
		if !slices.Contains(tune.KindNames(), k) {
			return usagef("--choices %s: there are %s", k, strings.Join(tune.KindNames(), ", "))
		}
	}
	if f.metric != "" && !slices.Contains(metric.Names(), f.metric) {
		return usagef("--metric %s: there are %s", f.metric, strings.Join(metric.Names(), ", "))
	}
	if f.target != "" {
		if _, err := targetOf(f.target); err != nil {
			return err
		}
	}
	if err := f.conditions(); err != nil {
		return err
	}
	if err := f.cluster.check(f.timed() && f.latency.value == "measured"); err != nil {
		return err
	}
	return f.engine.check(false)
}

// conditions reads floors and goals. The metric of a floor is the one that is measured.
func (f *tuneFlags) conditions() error {
	f.goal = tune.Goal{Objectives: f.objectives}
	if len(f.floors) == 0 {
		f.floors = []string{"drop<=1.0"}
	}
	for _, text := range f.floors {
		c, err := tune.ParseCondition(text, true)
		if err != nil {
			return usagef("--floor: %v", err)
		}
		if c.What != tune.Drop {
			if f.metric != "" && f.metric != c.What {
				return usagef("--floor %s, but the metric is %s: one metric is measured", text, f.metric)
			}
			f.metric = c.What
		}
		f.goal.Floors = append(f.goal.Floors, c)
	}
	for _, text := range f.goals {
		c, err := tune.ParseCondition(text, false)
		if err != nil {
			return usagef("--goal: %v", err)
		}
		f.goal.Limits = append(f.goal.Limits, c)
	}
	return nil
}

// timed reports whether times are needed.
func (f *tuneFlags) timed() bool {
	return slices.ContainsFunc(f.objectives, tune.Timed) || slices.ContainsFunc(f.goal.Limits, func(c tune.Condition) bool { return tune.Timed(c.What) })
}

// tuneModel is the verb tune.
func (e *env) tuneModel(ctx context.Context, f *tuneFlags, name string, engineGiven bool) error {
	for _, path := range []string{f.data.data, f.calib} {
		if file, _, _ := dataset.Split(path); file != "" {
			if _, err := os.Stat(file); err != nil {
				return &fileError{file, err}
			}
		}
	}
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return err
	}
	defer in.close()
	if !engineGiven && f.target != "" && f.timed() && f.latency.value == "measured" && len(f.cluster.clock) == 0 {
		if err := f.timeIn(ctx); err != nil {
			e.warn("times are those of the embedded engine: %v", err)
		}
	}
	if err := os.MkdirAll(f.output, 0o777); err != nil {
		return &fileError{f.output, err}
	}
	log, err := trial.Open(filepath.Join(f.output, "trials.jsonl"))
	if err != nil {
		return &fileError{filepath.Join(f.output, "trials.jsonl"), err}
	}
	defer log.Close()
	t := &tuning{env: e, f: f, in: in, log: log}
	if e.terminal {
		t.show = startProgress(e.stderr, "tune")
		defer t.show.stop()
	}
	return t.run(ctx)
}

// tuning is a run of the verb.
type tuning struct {
	*env
	f            *tuneFlags
	in           *input
	log          *trial.Log
	show         *progress
	bench        *tune.Bench
	search       *tune.Search
	spec         study
	names        map[string]bool   // of strategies that were announced
	objects      map[string]string // names of model and data in an object store
	key, timeKey []any             // what measurements depend on
}

func (t *tuning) run(ctx context.Context) error {
	f := t.f
	t.show.doing("reading the data")
	t.spec = f.study()
	task, done, err := t.env.task(&t.spec, t.in.model, &f.data, f.data.data, f.calib, &f.engine)
	if err != nil {
		return err
	}
	defer done()
	if t.bench, err = tune.NewBench(ctx, task); err != nil {
		return inFile(t.in.name, err)
	}
	defer t.bench.Close()
	f.goal.Metric = t.bench.Metric
	t.spec.Metric = t.bench.Metric
	for _, c := range f.goal.Floors {
		if c.What != tune.Drop && c.What != f.goal.Metric {
			return usagef("--floor %s, but the metric is %s", c.Text, f.goal.Metric)
		}
	}
	if t.key, t.timeKey, err = t.keys(ctx, task); err != nil {
		return inFile(t.in.name, err)
	}
	t.show.doing("looking at the model")
	space, err := tune.Survey(ctx, t.in.model, tune.SurveyOptions{Sizes: t.bench.Sizes(), Groups: f.groups, Calib: f.calib != "", Target: task.Target, Profile: profileOf(f.target), Kinds: f.kinds})
	if err != nil {
		return inFile(t.in.name, err)
	}
	rungs, err := t.rungs(ctx, task)
	if err != nil {
		return inFile(t.in.name, err)
	}
	runner, closeRunner, err := t.runner(ctx)
	if err != nil {
		return err
	}
	defer closeRunner()
	t.search = &tune.Search{Space: space, Goal: &f.goal, Runner: runner, Strategies: tune.Strategies(f.strategy.value), Rungs: rungs, Seed: f.seed,
		Log: t.log, Key: t.key, TimeKey: t.timeKey, Time: f.time, Trials: f.trials, Progress: t.tell}
	t.say("%d choices in %d groups of layers, %s on %d samples", len(space.Genes), len(space.Groups), f.goal.Metric, rungs[len(rungs)-1].Samples)
	state, err := t.search.Run(ctx)
	return t.finish(ctx, state, err)
}

// rungs are the parts of the data that rounds of the race take.
func (t *tuning) rungs(ctx context.Context, task tune.Task) ([]tune.Rung, error) {
	n, err := task.Data.Len(ctx)
	if err != nil {
		return nil, err
	}
	c := 0
	if task.Calib != nil {
		if c, err = task.Calib.Len(ctx); err != nil {
			return nil, err
		}
		if t.f.calibN > 0 {
			c = min(c, t.f.calibN)
		}
	}
	millis := 0
	if t.f.timed() {
		millis = 1500
	}
	var r []tune.Rung
	for _, part := range []struct{ share, least, calib, millis int }{{9, 32, 48, 5}, {3, 100, 160, 3}} {
		if k := max(n/part.share, part.least); k < n {
			r = append(r, tune.Rung{Samples: k, Calib: min(c, part.calib), Millis: millis / part.millis})
		}
	}
	return append(r, tune.Rung{Samples: n, Calib: c, Millis: millis}), nil
}

// say prints a line about how the search goes.
func (t *tuning) say(format string, a ...any) {
	t.show.clear()
	fmt.Fprintf(t.stderr, "onnxopt: tune: "+format+"\n", a...)
}

// tell shows progress: every candidate on a terminal, those that are better than all before in any case.
func (t *tuning) tell(v tune.Event) {
	if v.Begins > 0 {
		if t.names == nil {
			t.names = map[string]bool{}
		}
		if !t.names[v.Strategy] {
			t.names[v.Strategy] = true
			t.say("%s, after %d measurements", v.Strategy, v.Trials)
		}
		t.show.doing(fmt.Sprintf("%s: %d measurements, %d under way", v.Strategy, v.Trials, v.Begins))
		return
	}
	t.show.doing(fmt.Sprintf("%s: measurement %d", v.Strategy, v.Trials))
	if v.Best && !v.Cached {
		t.say("%s: %s", t.brief(v.Result), v.Result.Name)
	}
}

// brief is a result in a few numbers.
func (t *tuning) brief(r *tune.Result) string {
	s := fmt.Sprintf("%s %.4f", t.f.goal.Metric, r.Values[tune.Quality])
	for _, o := range t.f.goal.Objectives {
		s += fmt.Sprintf(", %s %s", o, objectiveText(o, r.Values[o]))
	}
	return s
}

// objectiveText is a value for people.
func objectiveText(name string, v float64) string {
	switch name {
	case tune.Size, tune.Memory:
		return bytesText(int64(v))
	case tune.Latency, tune.P95:
		return millis(v) + " ms"
	case tune.Throughput:
		return fmt.Sprintf("%.4g/s", v)
	}
	return countText(int64(v))
}

// stopped tells how a search ended that did not fail: interrupted or not.
func stopped(ctx context.Context, err error) (interrupted bool, failure error) {
	switch {
	case err == nil || errors.Is(err, tune.ErrBudget):
		return false, nil
	case ctx.Err() != nil:
		return true, nil
	}
	return false, err
}
