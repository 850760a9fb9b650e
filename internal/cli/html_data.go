package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/report/page"
)

// What a page looks at of data: samples, values, time.
const (
	pageSamples = 32
	pageValues  = 4000
	pageTime    = 20 * time.Second
)

// ranger collects ranges of the values of a model.
type ranger struct {
	values []*ir.Value
	ranges map[*ir.Value]*page.Range
}

// newRanger takes the results of the main graph that are numbers.
func newRanger(m *ir.Model) *ranger {
	r := &ranger{ranges: map[*ir.Value]*page.Range{}}
	for n := range m.Main.Nodes() {
		if n.NumResults() > 0 && n.Result(0) != nil && n.Result(0).Const() == nil && len(r.values) < pageValues {
			r.values = append(r.values, n.Result(0))
		}
	}
	return r
}

// add takes what the values were in a run.
func (r *ranger) add(taps []ir.Datum) error {
	for i, d := range taps {
		t, ok := d.(*ir.Tensor)
		if !ok || t.DType() == ir.String || t.DType() == ir.Complex64 || t.DType() == ir.Complex128 {
			continue
		}
		v, err := dataset.Floats(t)
		if err != nil {
			return err
		}
		x := r.ranges[r.values[i]]
		if x == nil {
			x = &page.Range{}
			r.ranges[r.values[i]] = x
		}
		x.Add(v)
	}
	return nil
}

// note writes the ranges into the boxes of a drawing of m, whose copy with sizes has the nodes in the same order.
func (r *ranger) note(m *ir.Model, d *drawn) {
	sized := d.model.Main.NodeList()
	for i, n := range m.Main.NodeList() {
		if i >= len(sized) || n.NumResults() == 0 || n.Result(0) == nil {
			continue
		}
		x := r.ranges[n.Result(0)]
		if box := d.graph.Find(sized[i]); box != nil && x != nil && x.Min <= x.Max && !math.IsNaN(x.Mean) {
			box.Range = x
		}
	}
}

// inspectRanges runs the model on the data set of --data and notes the ranges of its values.
func (e *env) inspectRanges(ctx context.Context, f *inspectFlags, in *input, d *drawn) error {
	s, err := f.data.open(in.model, f.data.data, false)
	if err != nil {
		return inFile(in.name, err)
	}
	defer s.Close()
	limit := f.data.limit
	if limit == 0 {
		limit = pageSamples
	}
	r := newRanger(in.model)
	session, err := native.New().Load(ctx, in.model, engine.Options{Threads: 1, Taps: r.values})
	if err != nil {
		return err
	}
	defer session.Close()
	begun, n := time.Now(), 0
	for set, err := range sets(ctx, s, limit).Sets(ctx) {
		if err != nil {
			return inFile(in.name, err)
		}
		_, taps, err := session.RunTaps(ctx, set.Inputs)
		if err != nil {
			return fmt.Errorf("%s: %w", set.Label, err)
		}
		if err := r.add(taps); err != nil {
			return err
		}
		if n++; time.Since(begun) > pageTime {
			break
		}
	}
	e.skipped(s)
	if n == 0 {
		return &fileError{f.data.data, errors.New("there are no samples that can be read")}
	}
	r.note(in.model, d)
	return nil
}

// front reads --front.
func front(name string) (*page.Front, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, &fileError{name, err}
	}
	f, err := page.ReadFront(b)
	if err != nil {
		return nil, &fileError{name, err}
	}
	return f, nil
}

// measure runs both models on --data, or else --calib, or else once on generated inputs, within the budget of verification, and notes time, drift
// and, on data, ranges of the nodes of the result. It says why that is not possible.
func (j *job) measure(ctx context.Context, a, b *ir.Model, y *drawn) string {
	if j.f.verify.value == "off" {
		return "--verify=off"
	}
	ctx, cancel := context.WithTimeout(ctx, j.f.budget.time)
	defer cancel()
	src, closeData, err := j.inputs(ctx)
	if err != nil {
		return err.Error()
	}
	defer closeData()
	given := src != nil
	if !given {
		src = generator(a, j.f.seed, nil)
	}
	pairs := compare.Match(a, b)
	pairs = pairs[:min(len(pairs), pageValues)]
	ranges := newRanger(b)
	var tapsA, tapsB []*ir.Value
	for _, p := range pairs {
		tapsA, tapsB = append(tapsA, p.A), append(tapsB, p.B)
	}
	if given {
		tapsB = append(tapsB, ranges.values...)
	}
	took := map[*ir.Node]time.Duration{}
	o := engine.Options{Threads: j.f.resources.count(), MaxMemory: j.f.budget.memory}
	oa, ob := o, o
	oa.Taps, ob.Taps = tapsA, tapsB
	ob.OnNode = func(n *ir.Node, _ time.Time, d time.Duration) { // the best of the runs
		if old, ok := took[n]; !ok || d < old {
			took[n] = d
		}
	}
	sa, err := native.New().Load(ctx, a, oa)
	if err != nil {
		return err.Error()
	}
	defer sa.Close()
	sb, err := native.New().Load(ctx, b, ob)
	if err != nil {
		return err.Error()
	}
	defer sb.Close()
	drift := map[*ir.Node]*float64{}
	begun, n := time.Now(), 0
	for set, err := range src.Sets(ctx) {
		if err != nil {
			return err.Error()
		}
		_, va, err := sa.RunTaps(ctx, set.Inputs)
		if err != nil {
			if !given && ctx.Err() == nil && src.Refused(err) {
				continue
			}
			return err.Error()
		}
		_, vb, err := sb.RunTaps(ctx, set.Inputs)
		if err != nil {
			return err.Error()
		}
		for i, p := range pairs {
			if va[i] == nil || vb[i] == nil {
				continue
			}
			if d := compare.Datum(va[i], vb[i]); d.Unlike == "" {
				drift[p.B.Node()] = finite(max(d.Rel, valueOr(drift[p.B.Node()])))
			}
		}
		if given {
			if err := ranges.add(vb[len(pairs):]); err != nil {
				return err.Error()
			}
		}
		if n++; !given || n == pageSamples || time.Since(begun) > j.f.budget.time/2 {
			break
		}
	}
	if n == 0 {
		return "the model does not run on generated inputs"
	}
	ranges.note(b, y)
	// Copies with sizes have the nodes of the model in the same order.
	sized := y.model.Main.NodeList()
	for i, own := range b.Main.NodeList() {
		if i >= len(sized) {
			break
		}
		x := y.graph.Find(sized[i])
		if x == nil {
			continue
		}
		if d, ok := took[own]; ok {
			x.Micros = float64(d.Nanoseconds()) / 1e3
		}
		x.Drift = drift[own]
	}
	return ""
}

func valueOr(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}
