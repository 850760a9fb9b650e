package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/ir"
)

// verifiedOutput is the worst that an output shows over all sets.
type verifiedOutput struct {
	Name    string   `json:"name"`
	Same    bool     `json:"same_bits"`
	Rel     *float64 `json:"relative,omitempty"` // max|a-b| / max(max|a|, 1e-6)
	Abs     *float64 `json:"absolute,omitempty"`
	Steps   float64  `json:"steps,omitempty"`     // of integers
	SQNR    *float64 `json:"sqnr_db,omitempty"`   // not there where there is no error
	Cosine  *float64 `json:"cosine,omitempty"`    // of floats
	Top1    *float64 `json:"top1,omitempty"`      // share of rows with the largest element at the same place
	Problem string   `json:"violation,omitempty"` // what is outside of the tolerance
}

// outputStat gathers one output.
type outputStat struct {
	name       string
	seen       bool
	worst      compare.Diff
	sqnr, cos  float64
	same, rows int // of top-1
	problem    string
}

// outputStats gathers all outputs.
type outputStats struct {
	list      []*outputStat
	tolerance func(string) compare.Tolerance
	sets      int
	only      map[string]ir.Datum // the outputs that are compared; nil: all
}

func (s *outputStats) init(m *ir.Model, tolerance func(string) compare.Tolerance) {
	s.tolerance = tolerance
	for _, slot := range m.Main.Outputs() {
		s.list = append(s.list, &outputStat{name: slot.Name(), sqnr: math.Inf(1), cos: 1})
	}
}

// add takes the outputs of a set and reports whether one is outside of its tolerance for the first time.
func (s *outputStats) add(a, b map[string]ir.Datum) (bad bool) {
	before := s.failed()
	for _, o := range s.list {
		if s.only != nil && s.only[o.name] == nil {
			continue
		}
		d := compare.Datum(a[o.name], b[o.name])
		o.take(d, s.tolerance(o.name))
		o.top1(a[o.name], b[o.name])
	}
	return before == "" && s.failed() != ""
}

func (o *outputStat) take(d compare.Diff, t compare.Tolerance) {
	err := t.Check(d)
	if !o.seen || o.problem == "" && err != nil || d.Rel > o.worst.Rel || d.Steps > o.worst.Steps || o.worst.Bits && !d.Bits {
		o.worst = d
	}
	o.seen = true
	o.sqnr, o.cos = min(o.sqnr, d.SQNR), min(o.cos, d.Cosine)
	if err != nil && o.problem == "" {
		o.problem = err.Error()
	}
}

// top1 counts the rows along the last axis whose largest element is at the same place.
func (o *outputStat) top1(a, b ir.Datum) {
	x, ok := a.(*ir.Tensor)
	y, also := b.(*ir.Tensor)
	if !ok || !also || !x.DType().IsFloat() || !y.DType().IsFloat() || x.Rank() == 0 || !slices.Equal(x.Shape(), y.Shape()) {
		return
	}
	n := int(x.Shape()[x.Rank()-1])
	u, err := dataset.Floats(x)
	if err != nil || n < 2 {
		return
	}
	v, err := dataset.Floats(y)
	if err != nil {
		return
	}
	for ; len(u) >= n; u, v = u[n:], v[n:] {
		o.rows++
		if metric.Argmax(u[:n]) == metric.Argmax(v[:n]) {
			o.same++
		}
	}
}

// failed says which output is outside of its tolerance, "" if none is.
func (s *outputStats) failed() string {
	for _, o := range s.list {
		if o.problem != "" {
			return fmt.Sprintf("output %q: %s", o.name, o.problem)
		}
	}
	return ""
}

func (s *outputStats) outputs() []verifiedOutput {
	r := []verifiedOutput{}
	for _, o := range s.list {
		if !o.seen {
			continue
		}
		v := verifiedOutput{Name: o.name, Same: o.worst.Same(), Steps: o.worst.Steps, Problem: o.problem}
		if o.worst.Floats > 0 {
			v.Rel, v.Abs, v.SQNR, v.Cosine = finite(o.worst.Rel), finite(o.worst.Abs), finite(o.sqnr), finite(o.cos)
		}
		if o.rows > 0 {
			v.Top1 = finite(float64(o.same) / float64(o.rows))
		}
		r = append(r, v)
	}
	return r
}

// cells are the columns of the table.
func (v verifiedOutput) cells() []string {
	difference, sqnr, cosine, top1 := "same bits", "", "", ""
	switch {
	case v.Same:
	case v.Rel != nil && *v.Rel > 0:
		difference = short(*v.Rel)
	case v.Steps > 0:
		difference = short(v.Steps) + " steps"
	default:
		difference = "0"
	}
	if v.SQNR != nil {
		sqnr = fmt.Sprintf("%.1f", *v.SQNR)
	}
	if v.Cosine != nil {
		cosine = fmt.Sprintf("%.6f", *v.Cosine)
	}
	if v.Top1 != nil {
		top1 = fmt.Sprintf("%.4f", *v.Top1)
	}
	return []string{v.Name, difference, sqnr, cosine, top1, v.Problem}
}

// expected are the recorded outputs: of --expect, or of the files that --input names.
func (c *comparison) expected(ctx context.Context) (map[string]ir.Datum, error) {
	if c.f.expect == "" {
		return recordedBeside(ctx, c.a, c.f.inputs)
	}
	if _, err := os.Stat(filepath.Join(c.f.expect, "output_0.pb")); err == nil {
		return recordedBeside(ctx, c.a, []string{c.f.expect})
	}
	outputs := dataset.Outputs(c.a)
	for i, p := range outputs {
		outputs[i].Optional = len(outputs) > 1 // a file may hold some of several, and call a single one as it likes
		if p.Type.IsTensor() {
			outputs[i].Type = ir.TensorType(p.Type.Elem, nil) // declared shapes of outputs may be wrong
		}
	}
	s, err := dataset.Open(c.f.expect, dataset.Options{Inputs: outputs, Whole: true, Cast: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for sample, err := range s.Samples(ctx) {
		if err != nil {
			return nil, err
		}
		return sample.Inputs, nil
	}
	return nil, fmt.Errorf("%s holds no outputs", c.f.expect)
}

// recordedBeside are the outputs in files that hold inputs, too.
func recordedBeside(ctx context.Context, m *ir.Model, files []string) (map[string]ir.Datum, error) {
	inputs := dataset.Inputs(m)
	for i := range inputs {
		inputs[i].Optional = len(inputs) > 1
	}
	r := map[string]ir.Datum{}
	for _, path := range files {
		if _, err := os.Stat(path); err != nil {
			continue // NAME=VALUE
		}
		s, err := dataset.Open(path, dataset.Options{Inputs: inputs, Outputs: dataset.Outputs(m), Whole: true})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		for sample, err := range s.Samples(ctx) {
			if err != nil {
				return nil, err
			}
			maps.Copy(r, sample.Expect)
		}
	}
	if len(r) == 0 {
		return nil, errors.New("with what? --expect FILE names recorded outputs, or a second model is compared")
	}
	return r, nil
}
