package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// inspectedData is the --json of inspect --data: what the model is fed.
type inspectedData struct {
	File    string       `json:"file,omitempty"` // of the model, if there is one
	Data    string       `json:"data"`
	Format  string       `json:"format"`
	Samples int          `json:"samples"`
	Skipped int          `json:"skipped"`
	Inputs  []*inputStat `json:"inputs"`
	Labels  *labelStat   `json:"labels,omitempty"`
	Saved   string       `json:"saved_sample,omitempty"`
	Sample  string       `json:"sample,omitempty"` // that was saved
}

// inputStat are the statistics of an input over all samples. Those of numbers are not there where there is none: the input holds text,
// or nothing but NaN and infinities.
type inputStat struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	DType   string   `json:"dtype,omitempty"`
	Shape   []int64  `json:"shape,omitempty"`         // the smallest size of each dimension; not there where ranks differ
	Largest []int64  `json:"largest_shape,omitempty"` // where shapes differ
	Samples int      `json:"samples"`
	Min     *float64 `json:"min,omitempty"`
	Max     *float64 `json:"max,omitempty"`
	Mean    *float64 `json:"mean,omitempty"`
	Std     *float64 `json:"std,omitempty"`
	NaNs    int64    `json:"nan"`
	Infs    int64    `json:"inf"`

	finite          int64
	mean, deviation float64 // running mean, and sum of squared deviations from it
	ranks           bool    // differ
}

// labelStat says which labels there are.
type labelStat struct {
	Samples  int     `json:"samples"` // that have one
	Distinct int     `json:"distinct"`
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`

	seen map[float64]bool
}

// inspectData prints what the model gets from a data set; nil stands for no model.
func (e *env) inspectData(ctx context.Context, f *inspectFlags, in *input) (err error) {
	r := inspectedData{Data: f.data.data}
	var s *dataset.Set
	if in == nil {
		s, err = f.data.raw(f.data.data)
	} else {
		r.File = in.name
		for _, p := range dataset.Inputs(in.model) {
			r.Inputs = append(r.Inputs, &inputStat{Name: p.Name})
		}
		s, err = f.data.open(in.model, f.data.data, false)
	}
	place := f.data.data
	if in != nil {
		place = in.name
	}
	if err != nil {
		return inFile(place, err)
	}
	defer s.Close()
	r.Format = s.Format()
	var show *progress
	if e.terminal {
		show = startProgress(e.stderr, f.data.data)
		defer show.stop()
	}
	err = onnxio.Guard(func() error { return r.read(ctx, s, f, show) })
	show.clear()
	if err != nil {
		return inFile(place, err)
	}
	e.skipped(s)
	if r.Samples == 0 {
		return &fileError{f.data.data, fmt.Errorf("there are no samples that can be read")}
	}
	r.Skipped, _ = s.Skipped()
	r.Inputs = slices.DeleteFunc(r.Inputs, func(i *inputStat) bool { return i.Samples == 0 }) // those with a default
	for _, i := range r.Inputs {
		i.finish()
	}
	if r.Labels != nil {
		r.Labels.Distinct = len(r.Labels.seen)
	}
	if f.json {
		return e.json(r)
	}
	r.write(e.stdout)
	return nil
}

// read takes the samples; the first one may become a picture.
func (r *inspectedData) read(ctx context.Context, s *dataset.Set, f *inspectFlags, show *progress) error {
	begun, total := time.Now(), s.Len()
	if n := f.data.limit; n > 0 && (total < 0 || n < total) {
		total = n
	}
	for sample, err := range s.Samples(ctx) {
		if err != nil {
			return err
		}
		if r.File == "" {
			r.discover(sample)
		}
		if r.Samples == 0 && f.saveSample != "" {
			if err := savePicture(f.saveSample, sample, r.Inputs); err != nil {
				return err
			}
			r.Saved, r.Sample = f.saveSample, sample.Name
		}
		for _, i := range r.Inputs {
			if d := sample.Inputs[i.Name]; d != nil {
				if err := i.add(d); err != nil {
					return &dataset.BadSampleError{Name: sample.Name, Err: fmt.Errorf("input %q: %w", i.Name, err)}
				}
			}
		}
		if sample.Labelled() {
			r.label(sample.Label)
		}
		r.Samples++
		show.doing("reading: " + estimate(begun, r.Samples, total))
		if r.Samples == f.data.limit {
			break
		}
	}
	return nil
}

// discover adds what a sample holds for the first time, by name.
func (r *inspectedData) discover(sample *dataset.Sample) {
	for _, name := range slices.Sorted(maps.Keys(sample.Inputs)) {
		if !slices.ContainsFunc(r.Inputs, func(i *inputStat) bool { return i.Name == name }) {
			r.Inputs = append(r.Inputs, &inputStat{Name: name})
		}
	}
}

func (r *inspectedData) label(x float64) {
	if r.Labels == nil {
		r.Labels = &labelStat{Min: x, Max: x, seen: map[float64]bool{}}
	}
	l := r.Labels
	l.Samples++
	l.Min, l.Max, l.seen[x] = min(l.Min, x), max(l.Max, x), true
}

// add takes the input of a sample.
func (i *inputStat) add(d ir.Datum) error {
	i.Samples++
	t, ok := d.(*ir.Tensor)
	if !ok {
		i.Type = d.Type().String()
		return nil
	}
	i.DType = t.DType().String()
	switch shape := t.Shape(); {
	case i.Samples == 1:
		i.Shape, i.Largest = slices.Clone(shape), slices.Clone(shape)
	case i.ranks || len(shape) != len(i.Shape):
		i.Shape, i.Largest, i.ranks = nil, nil, true
	default:
		for k, n := range shape {
			i.Shape[k], i.Largest[k] = min(i.Shape[k], n), max(i.Largest[k], n)
		}
	}
	switch t.DType() {
	case ir.String, ir.Complex64, ir.Complex128:
		return nil
	}
	v, err := dataset.Floats(t)
	if err != nil {
		return err
	}
	i.numbers(v)
	return nil
}

// numbers adds the elements of a sample. Means and deviations are joined as in T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae
// and a pairwise algorithm for computing sample variances, 1979, which keeps digits where the mean is large.
func (i *inputStat) numbers(v []float64) {
	var n int64
	var sum float64
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, x := range v {
		switch {
		case math.IsNaN(x):
			i.NaNs++
		case math.IsInf(x, 0):
			i.Infs++
		default:
			lo, hi, sum, n = min(lo, x), max(hi, x), sum+x, n+1
		}
	}
	if n == 0 {
		return
	}
	mean, deviation := sum/float64(n), 0.0
	for _, x := range v {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			deviation += (x - mean) * (x - mean)
		}
	}
	if i.Min == nil {
		i.Min, i.Max = &lo, &hi
	} else {
		*i.Min, *i.Max = min(*i.Min, lo), max(*i.Max, hi)
	}
	all := float64(i.finite + n)
	step := mean - i.mean
	i.deviation += deviation + step*step*float64(i.finite)*float64(n)/all
	i.mean += step * float64(n) / all
	i.finite += n
}

// finish works out what the samples add up to.
func (i *inputStat) finish() {
	if i.DType != "" {
		i.Type = i.DType + i.shape()
	}
	if slices.Equal(i.Shape, i.Largest) {
		i.Largest = nil
	}
	if i.finite > 0 {
		i.Mean, i.Std = finite(i.mean), finite(math.Sqrt(i.deviation/float64(i.finite)))
	}
}

// shape is like [1,3,224,100 to 200].
func (i *inputStat) shape() string {
	if i.ranks {
		return " of several ranks"
	}
	var dims []string
	for k, n := range i.Shape {
		text := fmt.Sprint(n)
		if i.Largest[k] != n {
			text += fmt.Sprintf(" to %d", i.Largest[k])
		}
		dims = append(dims, text)
	}
	return "[" + strings.Join(dims, ",") + "]"
}

// write prints the statistics as a table.
func (r *inspectedData) write(w io.Writer) {
	t := table{right: []int{2, 3, 4, 5, 6, 7, 8}}
	what := "input"
	if r.File == "" {
		what = "data"
	}
	t.row(what, "type of a sample", "samples", "min", "max", "mean", "std", "NaN", "infinite")
	number := func(x *float64) string {
		if x == nil {
			return ""
		}
		return fmt.Sprintf("%.5g", *x)
	}
	for _, i := range r.Inputs {
		t.row(i.Name, i.Type, fmt.Sprint(i.Samples), number(i.Min), number(i.Max), number(i.Mean), number(i.Std),
			fmt.Sprint(i.NaNs), fmt.Sprint(i.Infs))
	}
	t.write(w, "")
	fmt.Fprintf(w, "\n%d sample%s of %s (%s)", r.Samples, plural(r.Samples), r.Data, r.Format)
	if r.Skipped > 0 {
		fmt.Fprintf(w, ", %d left out", r.Skipped)
	}
	if l := r.Labels; l != nil {
		fmt.Fprintf(w, ", labels from %g to %g, %d different", l.Min, l.Max, l.Distinct)
		if l.Samples < r.Samples {
			fmt.Fprintf(w, ", for %d", l.Samples)
		}
	} else {
		fmt.Fprint(w, ", no labels")
	}
	fmt.Fprintln(w)
	if r.Saved != "" {
		fmt.Fprintf(w, "wrote %s: %s\n", r.Saved, r.Sample)
	}
}
