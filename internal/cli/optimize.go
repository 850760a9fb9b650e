package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
	"github.com/onnxopt/onnxopt/report"
	"github.com/onnxopt/onnxopt/report/page"
)

// job is one call of the default verb.
type job struct {
	*env
	f        *optimizeFlags
	plan     *plan
	in       *input
	show     *progress
	original []string  // data files of the input
	opened   []*input  // more copies of the input, for reproducers
	found    []finding // what passes want to be kept
	files    map[passes.File][]byte
	outcome  outcome
}

// optimize is the default verb.
func (e *env) optimize(ctx context.Context, f *optimizeFlags, name string, given func(string) bool) (err error) {
	rules, err := e.rulePasses(ctx, f)
	if err != nil {
		return err
	}
	p, err := e.plan(f, rules, given)
	if err != nil {
		return err
	}
	if e.replaying || f.recipe != "" {
		if err := mayExec(p.parsed, f.allowExec); err != nil {
			return err
		}
	}
	if err := e.checkOutputs(f); err != nil {
		return err
	}
	if err := f.checkCalibration(); err != nil {
		return err
	}
	if f.resources.maxMemory > 0 {
		debug.SetMemoryLimit(f.resources.maxMemory)
	}
	j := &job{env: e, f: f, plan: p}
	if e.terminal && !f.observe.quiet {
		j.show = startProgress(e.stderr, name)
		defer j.show.stop()
	}
	if f.calib.path != "" && f.resources.maxMemory == 0 {
		debug.SetMemoryLimit(memoryFor(p.parsed)) // rather collect more often than hold what many runs left behind
	}
	j.show.doing("reading")
	if j.in, err = e.open(name, &f.files, f.freezeDefaults); err != nil {
		return err
	}
	defer j.close()
	if err := j.takeReproducer(given); err != nil {
		return err
	}
	if f.provenance {
		j.original = dataNames(j.in.model)
	}
	j.notes(j.in.remarks)
	return j.run(ctx)
}

// checkOutputs finds out before the work whether what is asked for can be written.
func (e *env) checkOutputs(f *optimizeFlags) error {
	if f.output == standard && !f.observe.dryRun {
		switch {
		case f.observe.json:
			return usagef("--json and -o - both want standard output")
		case f.target != "":
			return usagef("--target writes files; name one with -o")
		case e.stdoutTerminal && f.outFormat.value != "text":
			return usagef("a model is not for the terminal; name a file, pipe it on, or add --format text")
		}
	}
	if err := checkOutput(f.output); err != nil {
		return err
	}
	if err := checkOutput(f.observe.report); err != nil {
		return err
	}
	return checkOutput(f.observe.origin)
}

func (j *job) close() {
	j.in.close()
	for _, o := range j.opened {
		o.close()
	}
}

// takeReproducer takes the pipeline of a reproducer unless the command line names one.
func (j *job) takeReproducer(given func(string) bool) (err error) {
	r := j.in.repro
	if r == nil {
		return nil
	}
	if !given("passes") && !given("opt") {
		j.plan.pipeline = r.Pipeline
		if j.plan.parsed, err = j.plan.registry.Parse(r.Pipeline); err != nil {
			return &fileError{j.in.name, err}
		}
		if err := mayExec(j.plan.parsed, j.f.allowExec); err != nil {
			return &fileError{j.in.name, err}
		}
	}
	for _, text := range r.Skip {
		k, err := j.plan.registry.ParseSkip(text)
		if err != nil {
			return &fileError{j.in.name, err}
		}
		j.plan.skip = append(j.plan.skip, k)
	}
	if !j.f.observe.quiet {
		j.show.clear()
		fmt.Fprintf(j.stderr, "onnxopt: %s is a reproducer of %s: %s\n", j.in.name, j.plan.pipeline, r.Why)
	}
	return nil
}

// run does the work on the open model.
func (j *job) run(ctx context.Context) error {
	o := &j.outcome
	o.Input, o.Pipeline = j.in.name, j.plan.parsed.String()
	if err := j.summarize(&o.Before, j.in.size); err != nil {
		return err
	}
	files, err := j.openFiles()
	if err != nil {
		return err
	}
	j.files = files
	watch, err := j.watch()
	if err != nil {
		return err
	}
	inputs, done, err := j.inputs(ctx)
	if err != nil {
		return err
	}
	defer done()
	runner, closeRunner, err := j.runner()
	if err != nil {
		return err
	}
	defer closeRunner()
	data, closeData, err := j.calibration(runner)
	if err != nil {
		return err
	}
	defer closeData()
	var before *ir.Model
	remarks := &remarked{seen: map[page.Remark]bool{}}
	if j.f.observe.report != "" || j.f.observe.plots != "" {
		before = j.in.model.Clone()
		shown := watch.remarks
		watch.remarks = func(r passes.Remark) {
			remarks.add(r)
			if shown != nil {
				shown(r)
			}
		}
	}
	along := j.newStations(inputs)
	if along != nil {
		watch.hooks = append(watch.hooks, along)
	}
	res, err := optimize.Run(ctx, optimize.Request{
		Model: j.in.model, Pipeline: j.plan.parsed, Skip: j.plan.skip, Files: files, Data: data, Notes: j.note, Remarks: watch.remarks, Hooks: watch.hooks,
		Verify: j.mode(), VerifyEach: j.f.verifyEach, Budget: j.budget(), Threads: j.f.resources.threads, Seed: j.f.seed,
		Inputs: inputs, Engine: runner,
		Undo: j.f.onMismatch.value == "undo", Limit: j.limit(), Original: j.reopen, Progress: j.show.doing,
	})
	j.show.clear()
	if err != nil {
		return j.explainFailure(ctx, err)
	}
	if along != nil {
		along.close(&passes.StepRun{Context: ctx})
	}
	o.took(res, j.plan.parsed)
	calib, _ := data[""].(*measured.Calibration)
	if err := j.checkFloor(ctx, runner, calib); err != nil {
		return err
	}
	if err := j.writeFindings(); err != nil {
		return err
	}
	if before != nil {
		j.show.doing("writing the report")
		err := j.writeReport(ctx, before, remarks)
		j.show.clear()
		if err != nil {
			return err
		}
	}
	if err := j.write(ctx, res); err != nil {
		return err
	}
	return j.tell(watch, res)
}

// mode is --verify; a dry run compares only if that is asked for.
func (j *job) mode() optimize.Mode {
	if j.f.observe.dryRun && j.f.verify.value == "auto" {
		return optimize.Off
	}
	return optimize.Mode(j.f.verify.value)
}

func (j *job) budget() compare.Budget {
	b := compare.Budget{Time: j.f.budget.time, Memory: j.f.budget.memory}
	if m := j.f.resources.maxMemory; m > 0 && m < b.Memory {
		b.Memory = m
	}
	return b
}

func (j *job) limit() *int {
	if j.f.bisectLimit < 0 {
		return nil
	}
	return &j.f.bisectLimit
}

// inputs opens --data, or else --calib; nil stands for generated inputs.
func (j *job) inputs(ctx context.Context) (compare.Source, func(), error) {
	path, limit := j.f.data.data, 0
	if path == "" {
		path, limit = j.f.calib.path, j.f.calib.limit
	}
	if path == "" {
		return nil, func() {}, nil
	}
	s, err := j.f.data.open(j.in.model, path, false)
	if err != nil {
		return nil, nil, inFile(j.in.name, err)
	}
	return sets(ctx, s, limit), func() { s.Close() }, nil
}

// openFiles reads what options of passes name, before the first pass.
func (j *job) openFiles() (map[passes.File][]byte, error) {
	files, _ := j.plan.parsed.Files()
	if t := j.plan.target; t != nil {
		p, err := t.Emitter(j.f.target, nil)
		if err != nil {
			return nil, usagef("--target: %v", err)
		}
		more, _ := p.Files()
		files = append(files, more...)
	}
	r := map[passes.File][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(string(f))
		if err != nil {
			return nil, &fileError{string(f), err}
		}
		r[f] = b
	}
	return r, nil
}

// reopen reads the model once more.
func (j *job) reopen() (*ir.Model, error) {
	if j.in.name == "standard input" {
		return nil, errors.New("the model came through a pipe and cannot be read again")
	}
	in, err := j.open(j.in.name, &j.f.files, j.f.freezeDefaults)
	if err != nil {
		return nil, err
	}
	j.opened = append(j.opened, in)
	return in.model, nil
}

// summarize describes the model, unless nobody will see it.
func (j *job) summarize(to **report.Summary, size int64) (err error) {
	if j.f.observe.quiet && !j.f.observe.json {
		return nil
	}
	return onnxio.Guard(func() error {
		*to, err = report.Summarize(j.in.model, report.Options{})
		return err
	})
}

// write writes the result and what belongs to it.
func (j *job) write(ctx context.Context, res *optimize.Result) error {
	o := &j.outcome
	if err := j.summarize(&o.After, 0); err != nil {
		return err
	}
	o.InputBytes = j.in.size
	if j.f.provenance && !j.f.observe.dryRun {
		if err := j.record(j.in.model); err != nil {
			return err
		}
	}
	if j.f.observe.keepOrigin {
		report.KeepOrigin(j.in.model)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.f.observe.dryRun {
		return nil
	}
	var origins []byte
	if j.f.observe.origin != "" {
		b, err := report.Origins(j.in.model)
		if err != nil {
			return err
		}
		origins = b
	}
	switch {
	case j.plan.target != nil && j.f.output != "":
		j.show.doing("writing for " + j.plan.target.Name)
		err := j.emit(ctx)
		j.show.clear()
		if err != nil {
			return err
		}
	case j.f.output != "":
		j.show.doing("writing")
		done, err := j.writeModel(j.f.output, j.f.outFormat.value, j.in.model, j.f.layout(ctx, len(res.Report.Steps) == 0 && formatOf(j.f.output, j.f.outFormat.value) == "onnx"))
		j.show.clear()
		if err != nil {
			return err
		}
		o.Output, o.OutputBytes, o.DataFiles = j.f.output, done.Bytes, done.Data
		j.notes(done.Remarks)
	}
	if origins != nil {
		return atomically(j.f.observe.origin, func(w io.Writer) error { _, err := w.Write(origins); return err })
	}
	return nil
}

// layout says where weights are written. A run without passes leaves them where they are, but text holds them all unless
// that is asked for.
func (f *optimizeFlags) layout(ctx context.Context, untouched bool) onnxio.WriteOptions {
	x := &f.external
	o := onnxio.WriteOptions{Threshold: x.threshold, Align: x.align, Shard: x.shard, Stop: ctx.Err}
	switch x.mode.value {
	case "none":
		o.Data = onnxio.DataInline
	case "all":
		o.Data = onnxio.DataExternal
	case "keep":
		o.Data = onnxio.DataKeep
	default:
		if untouched {
			o.Data = onnxio.DataKeep
		}
	}
	return o
}

// explainFailure writes the reproducer of a failure and returns the error.
func (j *job) explainFailure(ctx context.Context, err error) error {
	var f *optimize.FailedError
	if !errors.As(err, &f) {
		if errors.Is(err, measured.ErrNoData) {
			return j.noData(err)
		}
		if ctx.Err() != nil {
			return j.stopped(err)
		}
		return &fileError{j.in.name, err}
	}
	var crash *passes.InternalError
	if errors.As(err, &crash) && j.f.observe.verbose {
		j.stderr.Write(crash.Stack)
	}
	text, name := f.Error(), ""
	if f.Note != "" {
		text += "; " + f.Note
	}
	if f.Reproducer != nil {
		var werr error
		if name, werr = j.writeReproducer(f.Reproducer); werr != nil {
			text += "; the reproducer could not be written: " + werr.Error()
		} else {
			text += "; reproducer: " + name
		}
	}
	return &failedError{&fileError{j.in.name, errors.New(text)}, f.Crash, f.Culprit, name}
}

// failedError is a failed run.
type failedError struct {
	error
	crash      bool        // the program is to blame
	culprit    *hook.Offer // nil if it was not found
	reproducer string      // name of the file, "" if there is none
}

// writeReproducer puts the reproducer beside the output, into the working folder if there is none, or else where temporary files go.
func (j *job) writeReproducer(r *hook.Reproducer) (string, error) {
	base := j.f.output
	if base == "" || base == standard {
		base = "onnxopt"
		if j.in.name != "standard input" {
			base = filepath.Base(j.in.name)
		}
	}
	name := strings.TrimSuffix(base, filepath.Ext(base)) + ".repro.onnxtxt"
	err := atomically(name, r.Write)
	if err != nil {
		name = filepath.Join(os.TempDir(), filepath.Base(name))
		err = atomically(name, r.Write)
	}
	return name, err
}

// notes prints what reading or writing had to remark.
func (j *job) notes(remarks []string) {
	j.outcome.Remarks = append(j.outcome.Remarks, remarks...)
	if !j.f.observe.verbose {
		return
	}
	j.show.clear()
	for _, r := range remarks {
		fmt.Fprintln(j.stderr, "onnxopt: remark: "+r)
	}
}
