package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/audit"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/gate"
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

const checkLong = `check holds models against the budgets of a repository, which stand in onnxopt.yaml:

  baseline: onnxopt-baseline.json    # optional: what is taken as given
  defaults:                          # for all models
    opset: 13..21
    audit: true                      # no danger that onnxopt audit finds
  models:
    - path: models/*.onnx            # below the folder of this file
      max-bytes: 20M                 # of the file and its data files
      max-nodes: 300
      max-parameters: 5M
      max-macs: 1.2G
      max-activation: 64M            # bytes of values alive at once
      max-growth: 2%                 # of any of these over the baseline
      allowed-ops: [Conv, Relu, "com.microsoft.*"]
      denied-ops: [Loop]
      ir-version: ..10
      targets: [tflite]              # that have to be able to run it
      max-drift: {against: original.onnx, bound: 0.01, data: test.npz}
      sizes: {N: 1}                  # of open dimensions

The exit code is 1 if a budget is broken. --write-baseline records numbers and what is broken now:
that is then known, and fails only where it gets worse. --junit and --sarif write reports for
CI systems and code hosts.`

const checkExample = `onnxopt check
onnxopt check models/detector.onnx
onnxopt check --junit report.xml --sarif report.sarif
onnxopt check --write-baseline`

// checkFlags are the options of check.
type checkFlags struct {
	config, baseline string
	write, json      bool
	ignore           bool
	junit, sarif     string
	verbose          bool
	budget           budget
	files            fileFlags
	resources        resourceFlags
}

// checked is the --json of check.
type checked struct {
	Status string `json:"status"` // "ok" or "failed"
	Config string `json:"config"`
	*gate.Result
}

func (e *env) checkVerb() *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use: "check", Short: "hold models against budgets", Long: checkLong, Example: checkExample,
		RunE: func(cmd *cobra.Command, args []string) error { return e.check(cmd.Context(), f, args) },
	}
	g := newGroup("Options")
	g.StringVarP(&f.config, "config", "c", "onnxopt.yaml", "`FILE` of budgets")
	g.StringVar(&f.baseline, "baseline", "", "baseline `FILE` instead of the configuration's")
	g.BoolVar(&f.write, "write-baseline", false, "write the baseline, and end with 0")
	g.BoolVar(&f.ignore, "ignore-uncovered", false, "pass over named models that no entry is about")
	g.StringVar(&f.junit, "junit", "", "write JUnit XML to `FILE`")
	g.StringVar(&f.sarif, "sarif", "", "write SARIF to `FILE`")
	g.BoolVar(&f.json, "json", false, "print JSON")
	g.BoolVarP(&f.verbose, "verbose", "v", false, "print what holds, too")
	f.budget = budget{10 * time.Second, 512 << 20}
	g.Var(&f.budget, "budget", "what a comparison for max-drift may take")
	f.files.add(g)
	f.resources.add(g)
	setHelp(cmd, "onnxopt check [options] [model.onnx ...]", g)
	return cmd
}

func (e *env) check(ctx context.Context, f *checkFlags, models []string) error {
	c, err := gate.Load(f.config)
	if errors.Is(err, fs.ErrNotExist) {
		return &fileError{f.config, errors.New(absent(f.config) + ": it holds the budgets; onnxopt check --help shows one")}
	}
	if err != nil {
		return &fileError{f.config, err}
	}
	file := f.baseline
	if file == "" {
		file = c.BaselineFile()
	}
	if f.write && file == "" {
		return usagef("--write-baseline: %s names no baseline; add --baseline FILE", f.config)
	}
	for _, name := range []string{f.junit, f.sarif} {
		if err := checkOutput(name); err != nil {
			return err
		}
	}
	var base *gate.Baseline
	if file != "" && !f.write {
		if base, err = gate.ReadBaseline(file); err != nil {
			return &fileError{file, err}
		}
	}
	only, err := f.only(c, models)
	if err != nil || len(models) > 0 && len(only) == 0 {
		return err
	}
	var r *gate.Result
	err = onnxio.Guard(func() (err error) {
		r, err = c.Run(ctx, e.world(f), base, only)
		return err
	})
	if err != nil {
		return &fileError{f.config, err}
	}
	return e.tellCheck(f, r, file)
}

// only are the named models as the configuration's folder sees them.
func (f *checkFlags) only(c *gate.Config, models []string) ([]string, error) {
	var r []string
	for _, m := range models {
		rel, err := c.Relative(m)
		if err != nil {
			return nil, &fileError{m, err}
		}
		if f.ignore && !c.Covers(rel) {
			continue
		}
		r = append(r, rel)
	}
	return r, nil
}

func (e *env) tellCheck(f *checkFlags, r *gate.Result, baseline string) error {
	for _, out := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{f.junit, r.JUnit},
		{f.sarif, func(w io.Writer) error { return r.SARIF(w, version()) }},
	} {
		if out.name == "" {
			continue
		}
		if err := e.put(out.name, out.write); err != nil {
			return err
		}
	}
	if f.write {
		if err := atomically(baseline, r.WriteBaseline); err != nil {
			return err
		}
		fmt.Fprintf(e.stderr, "wrote %s: %s, %s known\n", baseline, countOf(len(r.Numbers), "model"), countOf(r.Violations(), "violation"))
		return nil
	}
	bad := r.Violations()
	if f.json {
		status := statusOf(exitOK)
		if bad > 0 {
			status = statusOf(exitFailed)
		}
		if err := e.json(checked{status, f.config, r}); err != nil {
			return err
		}
	} else {
		for _, o := range r.Outcomes {
			if o.State != gate.OK || f.verbose {
				fmt.Fprintf(e.stdout, "%s: %s: %s: %s\n", o.Model, o.State, o.Rule, o.Text)
			}
		}
		fmt.Fprintf(e.stdout, "%s, %s, %s violated\n", countOf(len(r.Numbers), "model"), countOf(len(r.Outcomes), "rule"), countOf(bad, "rule"))
	}
	if bad == 0 {
		return nil
	}
	return &toldError{fmt.Errorf("%s: %s broken", f.config, countOf(bad, "budget"))}
}

// put writes a file, or standard output.
func (e *env) put(name string, write func(io.Writer) error) error {
	if name == standard {
		return write(e.stdout)
	}
	return atomically(name, write)
}

// world is what the checks need of the command.
func (e *env) world(f *checkFlags) gate.World {
	return gate.World{
		Open: func(path string) (*ir.Model, int64, func() error, error) {
			in, err := e.open(path, &f.files, false)
			if err != nil {
				return nil, 0, nil, unnamed(err)
			}
			return in.model, in.size + dataBytes(path, in.model), in.close, nil
		},
		Audit: func(path string) (*audit.Report, error) {
			r, err := e.auditOf(&auditFlags{files: f.files}, path)
			return r, unnamed(err)
		},
		Drift: func(ctx context.Context, a, b *ir.Model, data string) (float64, string, string, error) {
			return e.driftOf(ctx, f, a, b, data)
		},
	}
}

// unnamed is an error without the file's name, which the caller has.
func unnamed(err error) error {
	var x *fileError
	if errors.As(err, &x) {
		return errors.New(plain(x.err, x.file))
	}
	return err
}

// dataBytes is the size of the data files that the model at path refers to.
func dataBytes(path string, m *ir.Model) (n int64) {
	seen := map[string]bool{}
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			x, ok := v.Const().Payload().(keep.External)
			if !ok {
				continue
			}
			for _, p := range x.External() {
				if p.Key != "location" || seen[p.Value] {
					continue
				}
				seen[p.Value] = true
				if st, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(p.Value))); err == nil {
					n += st.Size()
				}
			}
		}
	}
	return n
}

// driftOf is the largest difference of an output of b to that of a.
func (e *env) driftOf(ctx context.Context, f *checkFlags, a, b *ir.Model, data string) (rel float64, output, why string, err error) {
	o := compare.Options{
		Threads: f.resources.count(), Tolerance: func(string) compare.Tolerance { return anything() },
		Budget: compare.Budget{Time: f.budget.time, Memory: f.budget.memory},
	}
	var src compare.Source
	if data != "" {
		d := dataFlags{}
		s, err := d.open(a, data, false)
		if err != nil {
			return 0, "", "", err
		}
		defer s.Close()
		src = sets(ctx, s, 0)
		o.Budget.Time = math.MaxInt64
	}
	v, err := compare.Models(ctx, native.New(), a, b, src, o)
	if err != nil {
		return 0, "", "", err
	}
	if v.State != compare.Verified {
		return 0, "", strings.TrimSuffix(v.State.String()+": "+v.Why, ": "), nil
	}
	rel = -1
	for name, d := range v.Outputs {
		switch {
		case d.Steps > 0:
			return 0, name, fmt.Sprintf("the integers of output %q differ by up to %g", name, d.Steps), nil
		case d.Rel > rel || d.Rel == rel && name < output:
			rel, output = d.Rel, name
		}
	}
	return max(rel, 0), output, "", nil
}
