package cli

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/evaluate"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
)

// floor is what the result must reach to be written.
type floor struct {
	text, metric string
	what         string // drop, or the name of a measure
	most         bool   // what must be at most bound, not at least
	bound        float64
}

// floorMeasures are what a floor may bound besides drop and the metrics.
var floorMeasures = []string{"drop", "sqnr", "kl", "cosine", "agreement"}

func (f *floor) parse() error {
	if f.text == "" {
		return nil
	}
	op := "<="
	name, bound, ok := strings.Cut(f.text, op)
	if !ok {
		op = ">="
		name, bound, ok = strings.Cut(f.text, op)
	}
	if !ok {
		return fmt.Errorf("%q has neither <= nor >=; for example 'drop<=1.0' or 'agreement>=0.98'", f.text)
	}
	f.what, f.most = strings.TrimSpace(name), op == "<="
	x, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(bound), "%")), 64)
	if err != nil || math.IsNaN(x) {
		return fmt.Errorf("%q is no number", bound)
	}
	f.bound = x
	known := append(append([]string{}, floorMeasures...), metric.Names()...)
	for _, k := range known {
		if k == f.what {
			if f.most != (k == "drop" || k == "kl" || k == "mse") {
				return fmt.Errorf("%q: of %s the %s is a floor", f.text, k, map[bool]string{true: "least (>=)", false: "most (<=)"}[f.most])
			}
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s%s", f.what, strings.Join(known, ", "), spell.Hint(f.what, known))
}

// floorError says that the result is below the floor. Nothing was written.
type floorError struct{ error }

// checkFloor measures the result against the original and fails if it is below the floor.
func (j *job) checkFloor(ctx context.Context, e engine.Engine, data *measured.Calibration) error {
	f := &j.f.floor
	if f.text == "" {
		return nil
	}
	original, err := j.reopen()
	if err != nil {
		return fmt.Errorf("--floor: %w", err)
	}
	j.show.doing("measuring against the floor")
	value, text, err := j.measureFloor(ctx, e, original, data)
	if err != nil {
		return &fileError{j.in.name, fmt.Errorf("--floor: %w", err)}
	}
	if math.IsNaN(value) || f.most && value > f.bound || !f.most && value < f.bound {
		return &floorError{&fileError{j.in.name, fmt.Errorf("the result is below the floor %s: %s; nothing was written", f.text, text)}}
	}
	j.outcome.Floor = text
	return nil
}

func (j *job) measureFloor(ctx context.Context, e engine.Engine, original *ir.Model, data *measured.Calibration) (float64, string, error) {
	f := &j.f.floor
	switch f.what {
	case "sqnr", "kl":
		if data == nil {
			return 0, "", fmt.Errorf("%s is measured on --calib", f.what)
		}
		d, err := data.Divergence(ctx, original, j.in.model)
		if f.what == "kl" {
			return d.KL, fmt.Sprintf("kl %.4g on %d samples of %s", d.KL, d.Samples, data.Name()), err
		}
		return d.SQNR, fmt.Sprintf("sqnr %.1f dB on %d samples of %s", d.SQNR, d.Samples, data.Name()), err
	}
	name, path := f.what, j.f.data.data
	if path == "" {
		path = j.f.calib.path
	}
	drop := name == "drop"
	if drop {
		if name = f.metric; name == "" {
			if name = "agreement"; j.labelled(ctx, original, path) {
				name = "top1"
			}
		}
	}
	result, n, err := j.metricOf(ctx, e, j.in.model, original, path, name)
	if err != nil || !drop {
		return result, fmt.Sprintf("%s %.4f on %d samples of %s", name, result, n, path), err
	}
	before := 1.0
	if name != "agreement" && name != "cosine" {
		if before, _, err = j.metricOf(ctx, e, original, original, path, name); err != nil {
			return 0, "", err
		}
	}
	lost := 100 * (before - result)
	if !metric.HigherIsBetter(name) {
		lost = -lost
	}
	return lost, fmt.Sprintf("%s fell by %.2f points, from %.4f to %.4f, on %d samples of %s", name, lost, before, result, n, path), nil
}

// labelled reports whether the first sample of a set has a label.
func (j *job) labelled(ctx context.Context, m *ir.Model, path string) bool {
	s, err := j.f.data.open(m, path, false)
	if err != nil {
		return false
	}
	defer s.Close()
	for sample, err := range s.Samples(ctx) {
		return err == nil && sample.Labelled()
	}
	return false
}

func (j *job) metricOf(ctx context.Context, e engine.Engine, m, reference *ir.Model, path, name string) (float64, int, error) {
	meter, err := metric.New(name, dataset.Outputs(m), metric.Options{})
	if err != nil {
		return 0, 0, err
	}
	q := evaluate.Request{Engine: e, Model: m, Batch: 1, Threads: j.f.resources.count(), Meters: []metric.Meter{meter}}
	if meter.Needs() != metric.Labels {
		q.Reference = reference
	}
	if q.Set, err = j.f.data.open(m, path, false); err != nil {
		return 0, 0, err
	}
	defer q.Set.Close()
	n, err := evaluate.Run(ctx, q)
	return meter.Value(), n, err
}
