package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/internal/fuzz"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// tally counts what became of the cases.
type tally struct {
	begun                                         time.Time
	cases, empty, rewritten, skipped, ort, failed int
	applied                                       int
	why                                           map[string]int
	operators                                     map[ir.OpID]int
}

// run makes and checks cases one after the other.
func run(ctx context.Context, o *options) (failed bool, err error) {
	f, err := o.fuzzer()
	if err != nil {
		return false, err
	}
	if o.trail != nil {
		f.Mark = func(s string) { fmt.Fprintln(o.trail, s) }
	}
	t := &tally{begun: time.Now(), why: map[string]int{}, operators: map[ir.OpID]int{}}
	last := time.Now()
	for seed := o.seed; o.n == 0 || seed < o.seed+o.n; seed++ {
		if ctx.Err() != nil || o.time > 0 && time.Since(t.begun) > o.time || t.failed >= o.failures {
			break
		}
		if o.trail != nil {
			fmt.Fprintln(o.trail, seed)
		}
		begun := time.Now()
		r := f.Run(ctx, seed)
		if took := time.Since(begun); took > 2*time.Second {
			fmt.Fprintf(os.Stderr, "case %d took %.1f s\n", seed, took.Seconds())
		}
		t.count(&r)
		if o.verbose && r.Case != nil {
			fmt.Printf("# case %d\n# pipeline: %s\n%s\n", seed, r.Case.Pipeline, fuzz.Text(r.Case.Model))
		}
		if r.Failure != nil && ctx.Err() == nil {
			if o.trail != nil {
				fmt.Fprintln(o.trail, failure)
			}
			if err := o.keep(ctx, f, r); err != nil {
				return true, err
			}
		}
		if time.Since(last) > 10*time.Second {
			last = time.Now()
			t.print(os.Stderr)
		}
	}
	t.print(os.Stderr)
	if o.operators {
		for _, op := range slices.SortedFunc(maps.Keys(t.operators), func(a, b ir.OpID) int { return t.operators[b] - t.operators[a] }) {
			fmt.Println(t.operators[op], op)
		}
	}
	if o.verbose {
		for why, n := range t.why {
			fmt.Fprintln(os.Stderr, n, why)
		}
	}
	return t.failed > 0, nil
}

func (t *tally) count(r *fuzz.Result) {
	t.cases++
	if r.Case == nil {
		t.empty++
		return
	}
	for n := range r.Case.Model.Nodes() {
		t.operators[n.Op()]++
	}
	t.applied += r.Applied
	if r.Applied > 0 {
		t.rewritten++
	}
	if r.Skipped != "" {
		t.skipped++
		t.why[r.Skipped]++
	}
	if r.ORT != "" {
		t.why["ort: "+r.ORT]++
	}
	if r.ORTRan {
		t.ort++
	}
	if r.Failure != nil {
		t.failed++
	}
}

func (t *tally) print(w io.Writer) {
	s := time.Since(t.begun).Seconds()
	fmt.Fprintf(w, "%d cases in %.0f s (%.0f a second): %d without a model, %d rewritten by %d rewrites, %d not compared on every set, %d compared in ONNX Runtime, %d operators, %d failures\n",
		t.cases, s, float64(t.cases)/s, t.empty, t.rewritten, t.applied, t.skipped, t.ort, len(t.operators), t.failed)
}

// fuzzer is made of the module's passes.
func (o *options) fuzzer() (*fuzz.Fuzzer, error) {
	reg, err := all.Registry()
	if err != nil {
		return nil, err
	}
	var fixtures fs.FS
	if o.fixtures != "" {
		fixtures = os.DirFS(o.fixtures)
	}
	var second engine.Engine
	if o.ort != "" {
		path, err := ort.Find("", o.ort)
		if err != nil {
			path, err = ort.Find(o.ort)
		}
		if err != nil {
			return nil, err
		}
		second, err = ort.Open(path, ort.Options{Optimization: ort.Off, Write: func(w io.Writer, m *ir.Model) error {
			_, err := onnxio.Write(w, m, onnxio.WriteOptions{})
			return err
		}})
		if err != nil {
			return nil, err
		}
	}
	f, err := fuzz.New(reg, fixtures, second)
	if err == nil && o.fixtures != "" && f.Motifs() == 0 {
		err = fmt.Errorf("there are no fixtures below %s: run it in the root of the repository", o.fixtures)
	}
	return f, err
}

// keep writes a failing case.
func (o *options) keep(ctx context.Context, f *fuzz.Fuzzer, r fuzz.Result) error {
	fmt.Printf("case %d, -p '%s': %v\n", r.Case.Seed, r.Case.Pipeline, r.Failure)
	small, why, err := f.Shrink(ctx, r.Case, r.Failure)
	if err != nil && ctx.Err() == nil {
		return err
	}
	if r.Failure = why; small != nil {
		r.Case = small
	}
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	name := filepath.Join(o.out, fmt.Sprintf("%d.onnxtxt", r.Case.Seed))
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	defer w.Close()
	rep := &hook.Reproducer{Model: r.Case.Model, Pipeline: r.Case.Pipeline.String(), Why: fmt.Sprintf("case %d: %v", r.Case.Seed, r.Failure)}
	if err := rep.Write(w); err != nil {
		return err
	}
	fmt.Printf("  made smaller: %v\n  %s\n", why, name)
	return w.Close()
}
