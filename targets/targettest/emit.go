// Package targettest writes models for targets, runs what was written in the runtimes it is for, and compares with what the models
// compute. The tests of all targets and bench/targets are made of it.
package targettest

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/consumer"
)

// Folder is an artifact in a folder.
type Folder struct {
	Dir, Base string // Base: the main file's name
	Notes     []string
	files     []*os.File
}

// Path of the file with a suffix.
func (a *Folder) Path(suffix string) string { return filepath.Join(a.Dir, a.Name(suffix)) }

// Name implements targets.Artifact.
func (a *Folder) Name(suffix string) string {
	if suffix == "" {
		return a.Base
	}
	return strings.TrimSuffix(a.Base, filepath.Ext(a.Base)) + suffix
}

// Note implements targets.Artifact.
func (a *Folder) Note(text string) { a.Notes = append(a.Notes, text) }

// Model implements targets.Artifact.
func (a *Folder) Model(m *ir.Model) error {
	_, err := onnxio.WriteFile(a.Path(""), m, onnxio.WriteOptions{})
	return err
}

// File implements targets.Artifact.
func (a *Folder) File(suffix string) (io.Writer, error) {
	f, err := os.Create(a.Path(suffix))
	if err != nil {
		return nil, err
	}
	a.files = append(a.files, f)
	return f, nil
}

// Close closes the files.
func (a *Folder) Close() error {
	for _, f := range a.files {
		if err := f.Close(); err != nil {
			return err
		}
	}
	a.files = nil
	return nil
}

// Case is a model with inputs and what it computes.
type Case struct {
	Name   string // of the file, without extension
	Path   string
	Sizes  string // of open dimensions, as set-shape takes them
	Inputs map[string]ir.Datum
	Want   map[string]ir.Datum
	Bounds map[string]compare.Tolerance
	Shapes map[string][]int64 // of Want

	prepared string // a pipeline that comes before the target's
}

// Prepare runs a model on generated inputs, with the seed 1; a model that finds nothing in noise is fed a photo of ../data where it is. Sizes are those of open dimensions, as set-shape takes them; a first
// dimension that stays open is 1. A pipeline may come before: what it makes of the model is what counts then.
func Prepare(ctx context.Context, path, sizes, pipeline string, eng engine.Engine) (*Case, error) {
	c := &Case{Name: strings.TrimSuffix(filepath.Base(path), ".onnx"), Path: path, Sizes: sizes, prepared: pipeline, Shapes: map[string][]int64{}}
	f, err := c.open(ctx, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c.Inputs = compare.Inputs(f.Model, 1, compare.GenerateOptions{})[0]
	if err := c.photograph(f.Model); err != nil {
		return nil, err
	}
	s, err := eng.Load(ctx, f.Model, engine.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if c.Want, err = s.Run(ctx, c.Inputs); err != nil {
		return nil, err
	}
	for name, d := range c.Want {
		if t, ok := d.(*ir.Tensor); ok {
			c.Shapes[name] = t.Shape()
		}
	}
	c.Bounds = Bounds(f.Model)
	return c, nil
}

// Bounds are the tolerances of a model's outputs.
func Bounds(m *ir.Model) map[string]compare.Tolerance {
	r := compare.Tolerances(m)
	for name, b := range r {
		b.Abs *= 1 + 4e-5 // two numbers of up to 256 steps, each rounded to 24 bits, differ by one step but for 2*256/2^24 of it
		r[name] = b
	}
	return r
}

// Judge makes the outputs of ONNX Runtime on the model as it came what counts.
func (c *Case) Judge(ctx context.Context, python string) error {
	s, err := consumer.Lookup("onnxruntime").Start(ctx, python, c.Path, c.Options(1))
	if err != nil {
		return err
	}
	defer s.Close()
	got, err := s.Run(ctx, c.Inputs, 0)
	if err != nil {
		return err
	}
	c.Want = got.Outputs
	return nil
}

// open reads the model with its sizes stated, or as it came.
func (c *Case) open(ctx context.Context, static bool) (*onnxio.File, error) {
	f, err := onnxio.Open(c.Path, onnxio.Options{})
	if err != nil {
		return nil, err
	}
	if !static {
		return f, transform(ctx, f.Model, c.prepared)
	}
	p := c.prepared
	if c.Sizes != "" {
		p = strings.Trim("set-shape{"+c.Sizes+"},"+p, ",")
	}
	if err := transform(ctx, f.Model, p); err != nil {
		f.Close()
		return nil, err
	}
	for _, s := range f.Model.Main.Inputs() {
		if t := s.Type(); t.IsTensor() && len(t.Shape) > 0 && !t.Shape[0].IsStatic() {
			u := *t
			u.Shape = slices.Clone(t.Shape)
			u.Shape[0] = ir.Static(1)
			s.SetType(&u)
		}
	}
	return f, nil
}

func transform(ctx context.Context, m *ir.Model, pipeline string) error {
	if pipeline == "" {
		return nil
	}
	r, err := passlist.Registry()
	if err != nil {
		return err
	}
	p, err := r.Parse(pipeline)
	if err != nil {
		return err
	}
	_, err = p.Run(ctx, m, passes.Config{})
	return err
}

// Emitted is what a target wrote.
type Emitted struct {
	*Folder
	Took time.Duration // without reading the model
}

// Emit writes the model for a target into a folder. Options are those of the target: "{layout=keep}".
func (c *Case) Emit(ctx context.Context, t *targets.Target, options, dir string) (*Emitted, error) {
	f, err := c.open(ctx, t.Name != "onnxruntime" && t.Name != "openvino") // which take open sizes
	if err != nil {
		return nil, err
	}
	defer f.Close()
	begun := time.Now()
	if err := transform(ctx, f.Model, t.Pipeline); err != nil {
		return nil, err
	}
	if err := t.Check(f.Model); err != nil {
		return nil, err
	}
	a := &Folder{Dir: dir, Base: c.Name + t.Extension}
	p, err := t.Emitter(t.Name+options, a)
	if err != nil {
		return nil, err
	}
	if _, err := p.Run(ctx, f.Model, passes.Config{}); err != nil {
		return nil, err
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	return &Emitted{a, time.Since(begun)}, nil
}

// Compare is the worst difference of outputs, and an error if one is outside of its tolerance or missing.
func (c *Case) Compare(got map[string]ir.Datum) (compare.Diff, error) {
	worst, first := compare.Diff{}, error(nil)
	for name, want := range c.Want {
		d := compare.Datum(want, compare.Like(got[name], want))
		if err := c.Bounds[name].Check(d); err != nil && first == nil {
			first = &OutputError{name, err}
		}
		if d.Rel >= worst.Rel {
			worst = d
		}
	}
	return worst, first
}

// OutputError says which output differs.
type OutputError struct {
	Output string
	Err    error
}

func (e *OutputError) Error() string { return "output " + e.Output + ": " + e.Err.Error() }
func (e *OutputError) Unwrap() error { return e.Err }
