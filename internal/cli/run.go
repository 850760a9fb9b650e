package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

const runLong = `run evaluates a model once and prints or writes what comes out.

Inputs come from --input: a .npz file, a folder of ONNX test data or a picture for all
inputs, or NAME=FILE (.npy, .pb) and NAME=VALUE for one. Without it, plausible ones
are generated.`

const runExample = `onnxopt run model.onnx                          on generated inputs
onnxopt run model.onnx --input x.npz -o y.npz
onnxopt run model.onnx --input x=x.npy --input 'k=[1,2,3]'
onnxopt run model.onnx --input x.npz --value conv1_out
onnxopt run model.onnx --engine ort                in ONNX Runtime
onnxopt run classifier.onnx --input cat.jpg --preset imagenet-torch`

// runFlags are the options of run.
type runFlags struct {
	inputs, values []string
	output         string
	json           bool
	seed           uint64
	sizes          sizes
	engine         engineFlags
	data           dataFlags
	files          fileFlags
	resources      resourceFlags
}

func (e *env) runVerb() *cobra.Command {
	f := &runFlags{sizes: sizes{}}
	cmd := &cobra.Command{
		Use: "run", Short: "evaluate a model once", Long: runLong, Example: runExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("run takes one model, not %d", len(args))
			}
			return f.engine.check(false)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.runModel(cmd.Context(), f, args[0]) },
	}
	g := newGroup("Options")
	g.StringArrayVarP(&f.inputs, "input", "i", nil, "inputs: `FILE`, or NAME=FILE, or NAME=VALUE; may be repeated")
	g.StringVarP(&f.output, "output", "o", "", "write what comes out to `FILE`, .npz or .npy")
	g.StringArrayVar(&f.values, "value", nil, "show and write the intermediate value `NAME`, too; may be repeated")
	g.BoolVar(&f.json, "json", false, "print JSON")
	g.Uint64Var(&f.seed, "seed", 1, "seed `N` of generated inputs")
	g.Var(f.sizes, "size", "size of an open dimension of generated inputs: symbol=8 or input[axis]=8; may be repeated")
	f.engine.add(g, false)
	pictures := f.data.pictureGroup()
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, "onnxopt run [options] model.onnx", g, pictures, files)
	return cmd
}

// pictureGroup are the options for reading one sample.
func (d *dataFlags) pictureGroup() group {
	all := d.group("Pictures")
	g := newGroup("Pictures")
	for _, f := range []string{"cast", "preset", "resize", "letterbox", "pad", "center-crop", "scale", "mean", "std", "layout", "bgr", "dtype", "filter"} {
		g.AddFlag(all.Lookup(f))
	}
	return g
}

// named is a value that run shows.
type named struct {
	name  string
	value ir.Datum
}

// ran is the --json of run.
type ran struct {
	File    string       `json:"file"`
	Inputs  string       `json:"inputs"` // where they come from
	Millis  float64      `json:"milliseconds"`
	Outputs []shownValue `json:"outputs"`
	Values  []shownValue `json:"values,omitempty"`
	Output  string       `json:"output,omitempty"`
}

func (e *env) runModel(ctx context.Context, f *runFlags, name string) error {
	if err := checkArrays(f.output); err != nil {
		return err
	}
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return err
	}
	defer in.close()
	runner, done, err := f.engine.open(f.engine.names[0], "")
	if err != nil {
		return err
	}
	defer done()
	runner = &remarking{runner, e, map[*ir.Model]string{in.model: in.name}}
	var show *progress
	if e.terminal {
		show = startProgress(e.stderr, name)
		defer show.stop()
	}
	show.doing("running")
	var r ran
	err = onnxio.Guard(func() error {
		outs, taps, err := f.evaluate(ctx, runner, in.model, &r)
		if err != nil {
			return err
		}
		if r.Outputs, err = showValues(outs); err == nil {
			r.Values, err = showValues(taps)
		}
		if err == nil && f.output != "" {
			err = writeArrays(f.output, append(outs, taps...))
		}
		return err
	})
	show.clear()
	if err != nil {
		return inFile(in.name, err)
	}
	r.File, r.Output = in.name, f.output
	if f.json {
		return e.json(r)
	}
	r.write(e.stdout)
	return nil
}

// inFile names the model in an error that names no file.
func inFile(name string, err error) error {
	var f *fileError
	var bad *dataset.BadSampleError
	var path *fs.PathError
	switch {
	case errors.As(err, &f) || errors.As(err, &bad):
		return err
	case errors.As(err, &path):
		return &fileError{path.Path, err}
	}
	return &fileError{name, err}
}

// evaluate runs the model and notes in r where inputs came from.
func (f *runFlags) evaluate(ctx context.Context, runner engine.Engine, m *ir.Model, r *ran) (outs, taps []named, err error) {
	o := engine.Options{Threads: f.resources.count(), MaxMemory: f.resources.maxMemory}
	for _, name := range f.values {
		v, err := valueNamed(m, name)
		if err != nil {
			return nil, nil, err
		}
		o.Taps = append(o.Taps, v)
	}
	s, err := runner.Load(ctx, m, o)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	var set compare.Set
	var out map[string]ir.Datum
	var tapped []ir.Datum
	if len(f.inputs) > 0 || len(m.Main.Inputs()) == 0 {
		if set, err = given(m, f.inputs, &f.data); err != nil {
			return nil, nil, err
		}
		begun := time.Now()
		out, tapped, err = s.RunTaps(ctx, set.Inputs)
		r.Millis = milliseconds(time.Since(begun))
	} else {
		begun := time.Now()
		set, out, tapped, err = runGenerated(ctx, s, generator(m, f.seed, f.sizes))
		r.Millis = milliseconds(time.Since(begun))
	}
	if err != nil {
		return nil, nil, err
	}
	r.Inputs = set.Label
	for _, slot := range m.Main.Outputs() {
		outs = append(outs, named{slot.Name(), out[slot.Name()]})
	}
	for i, name := range f.values {
		if tapped[i] == nil {
			return nil, nil, fmt.Errorf("the value %q was not computed", name)
		}
		taps = append(taps, named{name, tapped[i]})
	}
	return outs, taps, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// checkArrays finds out before the work whether arrays can be written to a file.
func checkArrays(name string) error {
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case name == "":
		return nil
	case ext != ".npz" && ext != ".npy":
		return usagef("-o %s: values are written to .npz or .npy files", name)
	}
	return checkOutput(name)
}

// writeArrays writes values to a .npz file, or one value to a .npy file.
func writeArrays(name string, values []named) error {
	tensors := make([]*ir.Tensor, len(values))
	for i, v := range values {
		t, ok := v.value.(*ir.Tensor)
		if !ok {
			return fmt.Errorf("output %q is %s; only tensors can be written to %s", v.name, v.value.Type(), name)
		}
		tensors[i] = t
	}
	if strings.EqualFold(filepath.Ext(name), ".npy") {
		if len(tensors) != 1 {
			return fmt.Errorf("%d values do not fit into a .npy file; name a .npz file", len(tensors))
		}
		return atomically(name, func(w io.Writer) error { return npz.WriteArray(w, tensors[0]) })
	}
	return atomically(name, func(w io.Writer) error {
		z := npz.NewWriter(w)
		for i, v := range values {
			if slices.ContainsFunc(values[:i], func(u named) bool { return u.name == v.name }) {
				continue // an output that --value names, too
			}
			if err := z.Add(v.name, tensors[i]); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

// shownValues elements of a value are printed, rowValues on a line; of a larger one its range.
const (
	shownValues = 64
	rowValues   = 10
)

// shownValue describes a value.
type shownValue struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Values []any    `json:"values,omitempty"` // of small tensors
	Min    *float64 `json:"min,omitempty"`    // of the finite elements
	Max    *float64 `json:"max,omitempty"`
	Mean   *float64 `json:"mean,omitempty"`
	NaNs   int      `json:"nan,omitempty"`
	Infs   int      `json:"inf,omitempty"`

	row int // elements on a line
}

func showValues(values []named) ([]shownValue, error) {
	var r []shownValue
	for _, v := range values {
		s := shownValue{Name: v.name, Type: v.value.Type().String()}
		if t, ok := v.value.(*ir.Tensor); ok {
			if err := s.tensor(t); err != nil {
				return nil, fmt.Errorf("value %q: %w", v.name, err)
			}
		}
		r = append(r, s)
	}
	return r, nil
}

func (s *shownValue) tensor(t *ir.Tensor) error {
	s.row = rowValues
	if shape := t.Shape(); len(shape) > 0 && shape[len(shape)-1] > 0 {
		s.row = int(min(shape[len(shape)-1], rowValues))
	}
	switch d := t.DType(); {
	case d == ir.Complex64 || d == ir.Complex128:
		return nil
	case d == ir.String:
		v, err := t.Strings()
		for i := 0; i < min(len(v), shownValues); i++ {
			s.Values = append(s.Values, v[i])
		}
		return err
	}
	v, err := dataset.Floats(t)
	if err != nil {
		return err
	}
	if len(v) <= shownValues {
		for _, x := range v {
			s.Values = append(s.Values, jsonNumber(x, t.DType()))
		}
	}
	s.summarize(v)
	return nil
}

// jsonNumber is a number as JSON takes it: NaN and infinities are words, floats have the digits of their type.
func jsonNumber(x float64, d ir.DType) any {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return strconv.FormatFloat(x, 'g', -1, 64)
	case d.IsFloat() && d.Bits() <= 32:
		return float32(x)
	}
	return x
}

func (s *shownValue) summarize(v []float64) {
	lo, hi, sum, n := math.Inf(1), math.Inf(-1), 0.0, 0
	for _, x := range v {
		switch {
		case math.IsNaN(x):
			s.NaNs++
		case math.IsInf(x, 0):
			s.Infs++
		default:
			lo, hi, sum, n = min(lo, x), max(hi, x), sum+x, n+1
		}
	}
	if n > 0 && !math.IsInf(sum, 0) {
		mean := sum / float64(n)
		s.Min, s.Max, s.Mean = &lo, &hi, &mean
	}
}

// write prints the values as a table.
func (r *ran) write(w io.Writer) {
	t := table{}
	for _, v := range append(r.Outputs, r.Values...) {
		lines := v.lines()
		t.row(v.Name, v.Type, lines[0])
		for _, line := range lines[1:] {
			t.row("", "", line)
		}
	}
	t.write(w, "")
	fmt.Fprintf(w, "\n%.3g ms, inputs: %s\n", r.Millis, r.Inputs)
	if r.Output != "" {
		fmt.Fprintf(w, "wrote %s\n", r.Output)
	}
}

// lines are the elements, a row of the last axis on a line, or the range.
func (v *shownValue) lines() []string {
	if len(v.Values) == 0 {
		return []string{v.span()}
	}
	t := table{}
	for c := range v.row {
		t.right = append(t.right, c)
	}
	for row := range slices.Chunk(v.Values, v.row) {
		var cells []string
		for _, x := range row {
			cells = append(cells, fmt.Sprint(x))
		}
		t.row(cells...)
	}
	var b strings.Builder
	t.write(&b, "")
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// span is the range, the mean, and what is not finite.
func (v *shownValue) span() string {
	var parts []string
	if v.Min != nil {
		parts = append(parts, fmt.Sprintf("%.6g to %.6g, mean %.6g", *v.Min, *v.Max, *v.Mean))
	}
	if v.NaNs > 0 {
		parts = append(parts, fmt.Sprintf("%d NaN", v.NaNs))
	}
	if v.Infs > 0 {
		parts = append(parts, fmt.Sprintf("%d infinite", v.Infs))
	}
	return strings.Join(parts, ", ")
}
