package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/internal/process"
	"github.com/onnxopt/onnxopt/internal/reduce"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// reduceFlags are the options of reduce.
type reduceFlags struct {
	pipeline, command, output string
	skip                      []string
	verifyEach, quiet         bool
	timeout                   time.Duration
	budget                    budget
	seed                      uint64
	format                    enum
	engine                    engineFlags
	files                     fileFlags
	resources                 resourceFlags
}

const reduceLong = `reduce shrinks a model, and the pipeline, to a small one that still fails the same
way: delta debugging over passes and their options, outputs, nodes, subgraphs,
functions, operands, attributes, sizes and elements of constants.

With -p a failure is what -p itself fails with: a pass that crashes or returns an
error, a result that is not valid, or one that differs from the original. With --cmd
it is any command that exits with something else than 0: its words are split at
spaces, quotes hold words together, no shell is involved, and {} stands for the file
of each model that is tried. A smaller model counts if the exit code is the same.

An interrupt (Ctrl-C) ends the search and leaves the smallest model so far.`

const reduceUsage = `onnxopt reduce model.onnx -p PIPELINE [-o small.onnxtxt]
onnxopt reduce model.onnx --cmd 'any failing command with {}'
onnxopt reduce model.repro.onnxtxt`

const reduceExample = `onnxopt reduce model.onnx -p O2 -o small.onnxtxt
onnxopt reduce model.repro.onnxtxt                  what a failed run left
onnxopt reduce model.onnx --cmd 'python load.py {}' -o small.onnx
onnxopt reduce model.onnx --cmd 'trtexec --onnx={}' --timeout 5m`

func (e *env) reduceVerb() *cobra.Command {
	f := &reduceFlags{}
	cmd := &cobra.Command{
		Use: "reduce model.onnx", Short: "shrink a model and pipeline that fail", Long: reduceLong, Example: reduceExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("reduce takes one model")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.reduce(cmd.Context(), f, args[0]) },
	}
	what := newGroup("What fails")
	what.StringVarP(&f.pipeline, "passes", "p", "", "`PIPELINE` that fails; of a reproducer, its own")
	what.StringVar(&f.command, "cmd", "", "`COMMAND` that fails, with {} for the model")
	what.StringArrayVar(&f.skip, "skip", nil, "leave `PASS[,RULE]` out; may be repeated")
	what.BoolVar(&f.verifyEach, "verify-each", false, "compare after each pass, not only at the end")
	what.Uint64Var(&f.seed, "seed", 1, "seed `N` of generated inputs")
	f.budget = budget{10 * time.Second, 512 << 20}
	what.Var(&f.budget, "verify-budget", "what a comparison may take")
	what.DurationVar(&f.timeout, "timeout", time.Minute, "end a try after `TIME`; that the first one takes so long is a failure, too")
	f.engine.add(what, false)
	out := newGroup("Output")
	out.StringVarP(&f.output, "output", "o", "", "write the smallest model to `FILE`; otherwise beside the input, as .reduced.onnxtxt")
	f.format = enum{"onnx", []string{"onnx", "text"}}
	out.Var(&f.format, "cmd-format", "what the command reads")
	out.BoolVarP(&f.quiet, "quiet", "q", false, "print errors only")
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, reduceUsage, what, out, files)
	return cmd
}

// reduction is one call of reduce.
type reduction struct {
	*env
	f     *reduceFlags
	in    *input
	show  *progress
	reg   *passes.Registry
	skip  []passes.Skip
	eng   engine.Engine
	start reduce.Case
	fault string // how it fails, for people
}

func (e *env) reduce(ctx context.Context, f *reduceFlags, name string) (err error) {
	r := &reduction{env: e, f: f}
	if r.reg, err = e.registry(); err != nil {
		return err
	}
	if err := r.usage(); err != nil {
		return err
	}
	if f.output == "" {
		f.output = reducedName(name)
	}
	if err := checkOutput(f.output); err != nil {
		return err
	}
	if e.terminal && !f.quiet {
		r.show = startProgress(e.stderr, name)
		defer r.show.stop()
	}
	if r.in, err = e.open(name, &f.files, false); err != nil {
		return err
	}
	defer r.in.close()
	if err := r.takePipeline(); err != nil {
		return err
	}
	test, done, err := r.test(ctx)
	if err != nil {
		return err
	}
	defer done()
	return onnxio.Guard(func() error { return r.run(ctx, test) })
}

// usage finds what is wrong before a file is read.
func (r *reduction) usage() error {
	f := r.f
	if f.pipeline != "" && f.command != "" {
		return usagef("-p and --cmd exclude each other: the command may run onnxopt -p itself")
	}
	if err := f.engine.check(false); err != nil {
		return err
	}
	if f.timeout <= 0 {
		return usagef("--timeout is a time, like 30s")
	}
	if f.command != "" {
		words, err := process.Split(f.command)
		if err != nil {
			return usagef("--cmd: %v", err)
		}
		if !strings.Contains(strings.Join(words, " "), "{}") {
			return usagef("--cmd needs {} where the model's file stands")
		}
	}
	if f.pipeline != "" {
		if _, err := r.reg.Parse(f.pipeline); err != nil {
			return usagef("%v", err)
		}
	}
	return r.skips(f.skip, func(err error) error { return usagef("--skip: %v", err) })
}

func (r *reduction) skips(list []string, wrong func(error) error) error {
	for _, s := range list {
		k, err := r.reg.ParseSkip(s)
		if err != nil {
			return wrong(err)
		}
		r.skip = append(r.skip, k)
	}
	return nil
}

// takePipeline finds the pipeline: -p, or the reproducer's.
func (r *reduction) takePipeline() error {
	r.start.Model = r.in.model
	text := r.f.pipeline
	if p := r.in.repro; p != nil && r.f.command == "" {
		if text == "" {
			text = p.Pipeline
		}
		if err := r.skips(p.Skip, func(err error) error { return &fileError{r.in.name, err} }); err != nil {
			return err
		}
		r.f.skip = append(r.f.skip, p.Skip...)
	}
	if r.f.command != "" {
		return nil
	}
	if text == "" {
		return usagef("what fails? name a pipeline with -p, or a command with --cmd")
	}
	var err error
	if r.start.Pipeline, err = r.reg.Parse(text); err != nil {
		return &fileError{r.in.name, err}
	}
	if err := mayExec(r.start.Pipeline, r.f.pipeline != ""); err != nil {
		return &fileError{r.in.name, err}
	}
	if files, data := r.start.Pipeline.Files(); len(files)+len(data) > 0 {
		return errors.New("a pipeline that reads files is reduced by --cmd 'onnxopt -p ... {}'")
	}
	return nil
}

// test makes the question whether a case fails, and asks it of the first one.
func (r *reduction) test(ctx context.Context) (reduce.Test, func(), error) {
	if r.f.command != "" {
		return r.commandTest(ctx)
	}
	eng, done, err := r.f.engine.open(r.f.engine.names[0], "")
	if err != nil {
		return nil, nil, err
	}
	r.eng = eng
	first, err := r.probe(ctx, r.start)
	if err != nil {
		done()
		return nil, nil, err
	}
	if first == nil {
		done()
		return nil, nil, &fileError{r.in.name, fmt.Errorf("nothing fails with %s, so there is nothing to reduce", r.start.Pipeline)}
	}
	r.fault = first.Why
	return func(ctx context.Context, c reduce.Case) (bool, error) {
		found, err := r.probe(ctx, c)
		if err == nil && first.Same(found) {
			r.fault = found.Why
			return true, nil
		}
		return false, err
	}, done, nil
}

// probe runs a pipeline within the time; one that takes longer has a fault of its own.
func (r *reduction) probe(ctx context.Context, c reduce.Case) (*optimize.Fault, error) {
	limited, cancel := context.WithTimeout(ctx, r.f.timeout)
	defer cancel()
	b := compare.Budget{Time: r.f.budget.time, Memory: r.f.budget.memory}
	if m := r.f.resources.maxMemory; m > 0 && m < b.Memory {
		b.Memory = m
	}
	fault, err := optimize.Probe(limited, optimize.Request{
		Model: c.Model, Pipeline: c.Pipeline, Skip: r.skip, Verify: optimize.Auto, VerifyEach: r.f.verifyEach, Budget: b,
		Engine: r.eng, Threads: r.f.resources.threads, Seed: r.f.seed,
	})
	if ctx.Err() == nil && limited.Err() != nil {
		return &optimize.Fault{Kind: "timeout", Why: fmt.Sprintf("it takes longer than %s", r.f.timeout)}, nil
	}
	return fault, err
}

// run reduces, asks the question of the result once more, and writes it.
func (r *reduction) run(ctx context.Context, test reduce.Test) error {
	small, stats, err := reduce.Run(ctx, r.start, test, reduce.Options{Parse: r.reg.Parse, Progress: r.show.doing})
	stopped := err != nil && ctx.Err() != nil
	if err != nil && !stopped {
		return err
	}
	if !stopped {
		fails, err := test(ctx, small)
		if err == nil && !fails {
			err = &fileError{r.in.name, errors.New("the failure comes and goes: the smallest model did not fail when it was run once more")}
		}
		if err != nil {
			return err
		}
	}
	r.show.clear()
	if err := r.write(small); err != nil {
		return err
	}
	if !r.f.quiet {
		r.tell(small, stats)
	}
	if stopped {
		return &stoppedError{fmt.Sprintf("interrupted; the smallest model so far is in %s", r.f.output)}
	}
	return nil
}

// stoppedError is an interrupt after which there is a result all the same.
type stoppedError struct{ text string }

func (s *stoppedError) Error() string { return s.text }
func (s *stoppedError) Unwrap() error { return context.Canceled }

// write writes the model, in text with the pipeline as a reproducer.
func (r *reduction) write(c reduce.Case) error {
	if c.Pipeline == nil || formatOf(r.f.output, "") != "text" {
		_, err := r.writeModel(r.f.output, "", c.Model, onnxio.WriteOptions{Stop: func() error { return nil }})
		return err
	}
	p := &hook.Reproducer{Model: c.Model, Pipeline: c.Pipeline.String(), Skip: r.f.skip, Why: r.fault}
	return atomically(r.f.output, func(w io.Writer) error { return p.Write(w) })
}

func (r *reduction) tell(c reduce.Case, s reduce.Stats) {
	nodes := func(k reduce.Case) string {
		n := 0
		for _, g := range k.Model.Graphs() {
			n += g.NumNodes()
		}
		t := fmt.Sprintf("%d node%s", n, plural(n))
		if k.Pipeline != nil {
			t += fmt.Sprintf(", -p '%s'", k.Pipeline)
		}
		return t
	}
	fmt.Fprintf(r.stderr, "%s\nbecame %s in %d tests: %s\n%s\n", nodes(r.start), nodes(c), s.Tests, r.f.output, r.fault)
}

// reducedName is the name of the result of FILE.
func reducedName(name string) string {
	if name == standard {
		return "reduced.onnxtxt"
	}
	base := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	return strings.TrimSuffix(base, ".repro") + ".reduced.onnxtxt"
}
