package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/rounds"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

const benchLong = `bench times models side by side: after a warm-up, every round runs each model in each
engine once, so that all of them see the same state of the machine. Ratios are to the
first, round by round; above 1 is faster.

With --concurrency, so many runs of a model are under way at a time. With --batch, the
first dimension of each input has that size where it is open. Items are samples: the
size that the open first dimensions of all inputs have.

--profile and --trace run each model ten times more, and more slowly. Nodes of subgraphs
count with the node that has them. ONNX Runtime's nodes are those of its own graph.

With several engines and threads, the idle threads of one may slow the other down for
some milliseconds; the column min and --threads 1 show the engines by themselves.

The native engine here computes chains between quantizers in integers, within one
quantization step; run, eval and verify compute node by node.`

const benchExample = `onnxopt bench model.onnx
onnxopt bench model.onnx small.onnx --threads 1
onnxopt bench model.onnx --engine native,ort
onnxopt bench model.onnx --batch 8 --concurrency 2 --time 10s
onnxopt bench model.onnx --profile --trace trace.json`

// benchFlags are the options of bench.
type benchFlags struct {
	inputs             []string
	rounds, warmUp     int
	time               time.Duration
	concurrency, batch int
	profile            bool
	trace              string
	json               bool
	seed               uint64
	sizes              sizes
	engine             engineFlags
	data               dataFlags
	files              fileFlags
	resources          resourceFlags
}

func (e *env) benchVerb() *cobra.Command {
	f := &benchFlags{sizes: sizes{}, warmUp: 3, concurrency: 1}
	cmd := &cobra.Command{
		Use: "bench", Short: "time models side by side", Long: benchLong, Example: benchExample,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return e.bench(cmd.Context(), f, args) },
	}
	g := newGroup("Options")
	g.StringArrayVarP(&f.inputs, "input", "i", nil, "inputs: `FILE`, or NAME=FILE, or NAME=VALUE; generated without it; may be repeated")
	g.Uint64Var(&f.seed, "seed", 1, "seed `N` of generated inputs")
	g.Var(f.sizes, "size", "size of an open dimension of generated inputs: symbol=8 or input[axis]=8; may be repeated")
	g.Var(count{&f.warmUp}, "warm-up", "rounds before those that count")
	g.Var(count{&f.rounds}, "rounds", "rounds that count, 0 for as many as --time allows, at least 5")
	g.DurationVar(&f.time, "time", 3*time.Second, "`TIME` to spend on rounds")
	g.Var(count{&f.concurrency}, "concurrency", "runs of a model at a time")
	g.Var(count{&f.batch}, "batch", "size of the first dimension of the inputs, 0 to leave it")
	g.BoolVar(&f.profile, "profile", false, "list the nodes and operators that take the time, by engine")
	g.StringVar(&f.trace, "trace", "", "write when which node ran to `FILE`, for chrome://tracing or Perfetto")
	g.BoolVar(&f.json, "json", false, "print JSON")
	f.engine.add(g, true)
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, "onnxopt bench [options] model.onnx [other.onnx ...]", g, f.data.pictureGroup(), files)
	return cmd
}

// check finds wrong usage before any file is read.
func (f *benchFlags) check(args []string) error {
	switch {
	case len(args) == 0:
		return usagef("which model? onnxopt bench model.onnx")
	case f.concurrency < 1:
		return usagef("--concurrency is at least 1")
	case f.time <= 0:
		return usagef("--time %s is no time", f.time)
	case f.batch > 0 && len(f.inputs) > 0:
		return usagef("--batch is for generated inputs; --input gives the sizes")
	}
	if f.trace != "" {
		if err := checkOutput(f.trace); err != nil {
			return err
		}
	}
	return f.engine.check(true)
}

// contender is a model in an engine, ready to run.
type contender struct {
	file    string
	engine  engine.Engine
	model   *ir.Model
	session engine.Session
	in      map[string]ir.Datum
	inputs  string // where they come from
	items   int    // samples of one run
	runs    []time.Duration
	walls   []time.Duration // by round
}

func (e *env) bench(ctx context.Context, f *benchFlags, names []string) error {
	engines := make([]engine.Engine, len(f.engine.names))
	for i, name := range f.engine.names {
		var done func()
		var err error
		if engines[i], done, err = f.engine.open(name, ""); err != nil {
			return err
		}
		defer done()
		if name == "native" { // speed is what is asked for, and one step of a quantizer is what it may cost
			engines[i] = native.Merging()
		}
	}
	var all []*contender
	for _, name := range names {
		in, err := e.open(name, &f.files, false)
		if err != nil {
			return err
		}
		defer in.close()
		for _, g := range engines {
			c := &contender{file: in.name, engine: g, model: in.model}
			if err := onnxio.Guard(func() error { return f.load(ctx, c) }); err != nil {
				return inFile(in.name, err)
			}
			c.items = samples(c.model, c.in)
			defer c.session.Close()
			e.remarks(in.name, c.session)
			all = append(all, c)
		}
	}
	var show *progress
	if e.terminal {
		show = startProgress(e.stderr, "bench")
		defer show.stop()
	}
	if err := f.measure(ctx, all, show); err != nil {
		return err
	}
	show.clear()
	r := benched{Threads: f.resources.count(), Concurrency: f.concurrency, Rounds: len(all[0].walls)}
	for _, c := range all {
		r.Models = append(r.Models, c.timing(all[0], f.concurrency))
	}
	if f.profile || f.trace != "" {
		if err := f.profileAll(ctx, all, &r, show); err != nil {
			return err
		}
	}
	if f.json {
		return e.json(r)
	}
	r.write(e.stdout)
	return nil
}

// load makes the session and the inputs of c, and runs it once.
func (f *benchFlags) load(ctx context.Context, c *contender) (err error) {
	c.session, err = c.engine.Load(ctx, c.model, engine.Options{Threads: f.resources.count(), MaxMemory: f.resources.maxMemory})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.session.Close()
		}
	}()
	if len(f.inputs) > 0 {
		set, err := given(c.model, f.inputs, &f.data)
		if err != nil {
			return err
		}
		c.in, c.inputs = set.Inputs, set.Label
		_, err = c.session.Run(ctx, c.in)
		return err
	}
	wanted := sizes{}
	for k, v := range f.sizes {
		wanted[k] = v
	}
	if f.batch > 0 {
		if err := f.batches(c.model, wanted); err != nil {
			return err
		}
	}
	set, _, _, err := runGenerated(ctx, c.session, generator(c.model, f.seed, wanted))
	c.in, c.inputs = set.Inputs, set.Label
	return err
}

// batches gives the open first dimensions of the inputs the batch size.
func (f *benchFlags) batches(m *ir.Model, wanted sizes) error {
	open := 0
	for _, s := range m.Main.Inputs() {
		t := s.Type()
		if t == nil || len(t.Shape) == 0 || t.Shape[0].IsStatic() {
			continue
		}
		key := t.Shape[0].Param
		if key == "" {
			key = s.Name() + "[0]"
		}
		wanted[key] = int64(f.batch)
		open++
	}
	if open == 0 {
		return fmt.Errorf("--batch %d: no input has an open first dimension; --size sets others", f.batch)
	}
	return nil
}

// samples is the size of the open first dimensions of the inputs where they agree, and otherwise 1.
func samples(m *ir.Model, in map[string]ir.Datum) int {
	n := int64(0)
	for _, s := range m.Main.Inputs() {
		t, ok := in[s.Name()].(*ir.Tensor)
		shape := s.Type().TensorShape()
		if !ok || t.Rank() == 0 || len(shape) == 0 || shape[0].IsStatic() {
			continue
		}
		if n > 0 && n != t.Shape()[0] {
			return 1
		}
		n = t.Shape()[0]
	}
	return max(1, int(n))
}

// leastRounds are run whatever the time.
const leastRounds = 5

// measure runs the rounds.
func (f *benchFlags) measure(ctx context.Context, all []*contender, show *progress) error {
	o := rounds.Options{WarmUp: f.warmUp, Least: leastRounds, Time: f.time}
	if f.rounds > 0 {
		o.Least, o.Most = f.rounds, f.rounds
	}
	o.Tell = func(k int, end time.Time) {
		switch {
		case k < 0:
			show.doing("warming up")
		case f.rounds > 0:
			show.doing(fmt.Sprintf("round %d of %d", k+1, f.rounds))
		default:
			show.doing(fmt.Sprintf("round %d, %d s left", k+1, max(0, int(time.Until(end).Seconds()))))
		}
	}
	return o.Run(len(all), func(i int, counts bool) error {
		if err := all[i].round(ctx, f.concurrency, counts); err != nil {
			return inFile(all[i].file, err)
		}
		return nil
	})
}

// round runs c as often at a time as concurrency says, and notes the times if they count.
func (c *contender) round(ctx context.Context, concurrency int, counts bool) error {
	runs, errs := make([]time.Duration, concurrency), make([]error, concurrency)
	var group sync.WaitGroup
	begun := time.Now()
	for i := range concurrency {
		run := func() {
			from := time.Now()
			errs[i] = onnxio.Guard(func() error { // weights are mapped
				_, err := c.session.Run(ctx, c.in)
				return err
			})
			runs[i] = time.Since(from)
		}
		if i == concurrency-1 {
			run() // here: starting a goroutine is not what is timed
		} else {
			group.Go(run)
		}
	}
	group.Wait()
	wall := time.Since(begun)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if counts {
		c.runs, c.walls = append(c.runs, runs...), append(c.walls, wall)
	}
	return nil
}

// timing summarizes c beside the first contender.
func (c *contender) timing(first *contender, concurrency int) timing {
	runs := rounds.Milliseconds(c.runs)
	ratios := make([]float64, len(c.walls))
	for i, w := range c.walls {
		ratios[i] = float64(first.walls[i]) / float64(w)
	}
	slices.Sort(ratios)
	return timing{File: c.file, Engine: c.engine.Name(), Inputs: c.inputs, Items: c.items,
		Min: runs[0], Median: rounds.Quantile(runs, .5), P95: rounds.Quantile(runs, .95),
		ItemsPerSecond: 1000 * float64(c.items*concurrency) / rounds.Quantile(rounds.Milliseconds(c.walls), .5),
		Speed:          rounds.Quantile(ratios, .5), SpeedLow: rounds.Quantile(ratios, .05), SpeedHigh: rounds.Quantile(ratios, .95)}
}

// base is the file's name without its folder.
func base(file string) string { return filepath.Base(file) }
