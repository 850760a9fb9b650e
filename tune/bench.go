package tune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/evaluate"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/report"
)

// Trial is a measurement of a candidate.
type Trial struct {
	Pipeline string `json:"pipeline"`
	Samples  int    `json:"samples"` // of the data; 0: all
	Calib    int    `json:"calib"`   // samples that passes look at; 0: all
	// Millis is how long the candidate is timed; 0: not at all.
	Millis int `json:"millis,omitempty"`
	// Only leaves everything but the time out.
	Only bool `json:"only,omitempty"`
}

// Outcome is what a trial gave. One with Err gave nothing, and would not if it were made again.
type Outcome struct {
	Values  Values  `json:"values,omitempty"`
	Err     string  `json:"err,omitempty"`
	Seconds float64 `json:"seconds"`
	// Fault says that Err is of the program and not of the candidate: a crash.
	Fault bool `json:"fault,omitempty"`
}

// Runner makes trials.
type Runner interface {
	// Run makes trials and hands over each outcome as it comes, on one goroutine. Its error is of what all trials need: the data, the
	// server, the context. What is wrong with a candidate is in its outcome.
	Run(ctx context.Context, trials []Trial, each func(i int, o Outcome) error) error
}

// Task is what trials have in common.
type Task struct {
	Model    *ir.Model // the original; it is not changed
	Registry *passes.Registry
	Target   string        // pipeline of the target, run behind every candidate; ""
	Engine   engine.Engine // runs models for passes and metrics
	Timer    engine.Engine // runs them against the clock; nil: Engine. Its sessions may be Clocks
	Threads  int
	Data     *Data // measured on
	Calib    *Data // that passes look at; nil: none
	Metric   string
	Options  metric.Options
	Modelled bool // the cost model tells the time, not the clock
}

// Bench makes trials in this process, one at a time.
type Bench struct {
	Task
	sizes    map[string]int64
	batch    *dataset.Batch
	items    int
	original engine.Session // for the clock
	prefixes *prefixes
	calib    map[int]*measured.Calibration
}

// NewBench reads the data, runs the original once over them and finds out whether the metric suits it.
func NewBench(ctx context.Context, t Task) (*Bench, error) {
	b := &Bench{Task: t, prefixes: newPrefixes(), calib: map[int]*measured.Calibration{}}
	if b.Timer == nil {
		b.Timer = b.Engine
	}
	var err error
	if b.batch, err = t.Data.Typical(ctx); err != nil {
		return nil, err
	}
	if b.Metric == "" {
		b.Metric = "agreement"
		if s := b.batch.Samples[0]; s.Labelled() && s.Mask == nil {
			b.Metric = "top1"
		} else if s.Labelled() {
			b.Metric = "spearman"
		}
	}
	if _, err := metric.New(b.Metric, dataset.Outputs(t.Model), t.Options); err != nil {
		return nil, err
	}
	b.sizes, b.items = sizesOf(t.Model, b.batch), b.batch.Rows()
	return b, t.Data.remember(ctx, t.Engine, t.Model, t.Threads)
}

// Close ends the session of the original.
func (b *Bench) Close() {
	if b.original != nil {
		b.original.Close()
	}
}

// Sizes are those of the open dimensions of the inputs, as the sample that is timed has them.
func (b *Bench) Sizes() map[string]int64 { return b.sizes }

func sizesOf(m *ir.Model, b *dataset.Batch) map[string]int64 {
	r := map[string]int64{}
	for _, s := range m.Main.Inputs() {
		t, ok := b.Inputs[s.Name()].(*ir.Tensor)
		shape := s.Type().TensorShape()
		if !ok || len(shape) != t.Rank() {
			continue
		}
		for i, d := range shape {
			switch {
			case d.IsStatic():
			case d.Param != "":
				r[d.Param] = t.Shape()[i]
			default:
				r[fmt.Sprintf("%s[%d]", s.Name(), i)] = t.Shape()[i]
			}
		}
	}
	return r
}

// Run implements Runner.
func (b *Bench) Run(ctx context.Context, trials []Trial, each func(int, Outcome) error) error {
	for i, t := range trials {
		begun := time.Now()
		v, _, err := b.measure(ctx, t)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o := Outcome{Values: v, Seconds: math.Round(time.Since(begun).Seconds()*1000) / 1000}
		if err != nil {
			o.Err, o.Values = err.Error(), nil
			var pass *passes.InternalError
			var run *native.InternalError
			o.Fault = errors.As(err, &pass) || errors.As(err, &run) || errors.Is(err, errCrash)
		}
		if err := each(i, o); err != nil {
			return err
		}
	}
	return nil
}

// Make runs the pipeline of a trial on a copy of the original.
func (b *Bench) Make(ctx context.Context, t Trial) (*ir.Model, error) {
	text := t.Pipeline
	if b.Target != "" {
		text = strings.TrimPrefix(text+","+b.Target, ",")
	}
	p, err := b.Registry.Parse(text)
	if err != nil {
		return nil, err
	}
	cfg := passes.Config{Data: map[passes.Data]any{}}
	if b.Calib != nil {
		cfg.Data[""] = b.calibration(t.Calib)
	}
	at := fmt.Sprint(t.Calib)
	m, from := b.prefixes.longest(at, p)
	if m == nil {
		m = b.Model.Clone()
	}
	for i, s := range p.Steps()[from:] {
		err := onnxio.Guard(func() error { _, err := s.Alone().Run(ctx, m, cfg); return err }) // weights are mapped
		if err != nil && from+i > 0 && ctx.Err() == nil {
			// A step may name a layer that an earlier one took away, which is an error for one that runs alone.
			m = b.Model.Clone()
			return m, onnxio.Guard(func() error { _, err := p.Run(ctx, m, cfg); return err })
		}
		if err != nil {
			return nil, err
		}
		if from+i+1 < len(p.Steps()) && s.Promise().Lossy {
			b.prefixes.put(at, p, from+i+1, m)
		}
	}
	return m, nil
}

// calibration is n of the samples that passes look at.
func (b *Bench) calibration(n int) *measured.Calibration {
	if b.calib[n] == nil {
		c := measured.New(b.Calib.Samples(), b.Engine, b.Threads, measured.Named(b.Calib.Name), measured.Total(-1))
		b.calib[n] = c.Limit(n)
	}
	return b.calib[n]
}

var errCrash = errors.New("internal error")

// Measure makes a trial, and gives the model as well.
func (b *Bench) Measure(ctx context.Context, t Trial) (v Values, m *ir.Model, err error) {
	return b.measure(ctx, t)
}

func (b *Bench) measure(ctx context.Context, t Trial) (v Values, m *ir.Model, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCrash, p)
		}
	}()
	if m, err = b.Make(ctx, t); err != nil {
		return nil, nil, err
	}
	v = Values{}
	if !t.Only {
		if err := b.count(m, v); err != nil {
			return nil, nil, err
		}
		if err := b.quality(ctx, m, t.Samples, v); err != nil {
			return nil, nil, err
		}
	}
	if t.Millis > 0 {
		if err := b.time(ctx, m, time.Duration(t.Millis)*time.Millisecond, v); err != nil {
			return nil, nil, err
		}
	}
	for name, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, nil, fmt.Errorf("%s is %g", name, x)
		}
	}
	return v, m, nil
}

// count fills in what needs no run.
func (b *Bench) count(m *ir.Model, v Values) error {
	return onnxio.Guard(func() error {
		s, err := report.Summarize(m, report.Options{Sizes: present(m, b.sizes)})
		if err != nil {
			return err
		}
		n := &counting{}
		if _, err := onnxio.Write(n, m, onnxio.WriteOptions{Data: onnxio.DataInline}); err != nil {
			return err
		}
		v[Size], v[Parameters], v[MACs], v[Memory] = float64(n.n), float64(s.Parameters), float64(s.MACs), float64(s.PeakActivation)
		return nil
	})
}

// present are the sizes that m still has dimensions for.
func present(m *ir.Model, sizes map[string]int64) map[string]int64 {
	r := map[string]int64{}
	for _, s := range m.Main.Inputs() {
		for i, d := range s.Type().TensorShape() {
			for _, k := range []string{d.Param, fmt.Sprintf("%s[%d]", s.Name(), i)} {
				if n, ok := sizes[k]; ok && !d.IsStatic() {
					r[k] = n
				}
			}
		}
	}
	return r
}

type counting struct{ n int64 }

func (c *counting) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// quality evaluates the metric on n of the samples.
func (b *Bench) quality(ctx context.Context, m *ir.Model, n int, v Values) error {
	meter, err := metric.New(b.Metric, dataset.Outputs(b.Model), b.Options)
	if err != nil {
		return err
	}
	q := evaluate.Request{Engine: b.Engine, Model: m, Meters: []metric.Meter{meter}, Batch: 1, Threads: b.Threads,
		Batches: func(ctx context.Context) iter.Seq2[*dataset.Batch, error] { return b.Data.some(ctx, n) }}
	if meter.Needs() != metric.Labels {
		q.Reference, q.Want = b.Model, b.Data.known
		if b.Data.want != nil {
			q.Reference = nil
		}
	}
	if _, err := evaluate.Run(ctx, q); err != nil {
		return err
	}
	if v[Quality] = meter.Value(); math.IsNaN(v[Quality]) {
		return errors.New("the metric " + b.Metric + " is not defined on these data")
	}
	return nil
}

// time measures the candidate beside the original, or models both. Times are those of the original as the first measurement found it, scaled:
// the state of the machine changes, the ratio less so.
func (b *Bench) time(ctx context.Context, m *ir.Model, lasts time.Duration, v Values) error {
	if b.Modelled {
		sized, known, err := report.Resolve(m, report.Options{Sizes: present(m, b.sizes)})
		if err != nil {
			return err
		}
		ms := 1e3 * cost.Seconds(sized, known, cost.CPU())
		v[Latency], v[P95], v[Throughput] = ms, ms, 1e3*float64(b.items)/ms
		return nil
	}
	o := engine.Options{Threads: b.Threads}
	var err error
	if b.original == nil {
		if b.original, err = b.Timer.Load(ctx, b.Model, o); err != nil {
			return err
		}
	}
	s, err := b.Timer.Load(ctx, m, o)
	if err != nil {
		return err
	}
	defer s.Close()
	t, err := race(ctx, b.original, s, b.batch.Inputs, lasts)
	if err != nil {
		return err
	}
	v["speed"], v["beside"] = t.speed, t.base
	v[Latency], v[P95], v[Throughput] = t.p50, t.p95, 1e3*float64(b.items)/t.p50
	return nil
}

var _ io.Writer = &counting{}
