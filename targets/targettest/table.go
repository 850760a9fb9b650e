package targettest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/consumer"
)

// Row says how far a model came in a target.
type Row struct {
	Model     string  `json:"model"`
	Target    string  `json:"target"`
	Emitted   bool    `json:"emitted"`
	Why       string  `json:"why,omitempty"` // it is refused, does not load, or differs
	Bytes     int64   `json:"bytes,omitempty"`
	EmitMS    float64 `json:"emit_ms,omitempty"`
	Loads     bool    `json:"loads"`
	Ran       bool    `json:"ran"`
	Agrees    bool    `json:"agrees"`
	Rel       Number  `json:"difference"`
	Operators int     `json:"operators,omitempty"`    // that the runtime counts
	Delegates int     `json:"delegates,omitempty"`    // parts of the graph that XNNPACK took
	Delegated int     `json:"delegated,omitempty"`    // operators in these
	MS        float64 `json:"ms,omitempty"`           // the consumer's median
	BaseMS    float64 `json:"reference_ms,omitempty"` // ONNX Runtime's on the model as it came
}

// leftOut begins the reason of a row whose consumer is not here.
const leftOut = "left out: "

// Number is a float that JSON can hold also where it is not finite.
type Number float64

// MarshalJSON writes null for what JSON has no number for.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// Ratio is the consumer's latency by that of ONNX Runtime; 0 if one is not known.
func (r *Row) Ratio() float64 {
	if r.BaseMS == 0 {
		return 0
	}
	return r.MS / r.BaseMS
}

// Bench is how rows are measured.
type Bench struct {
	Pythons map[string]string // by consumer, and "tensorrt"; what is not there is left out
	Threads int
	Runs    int // timed, of each side; 0: none
	Dir     string
}

// Measure writes the case for a target, loads it, runs it and compares.
func (b *Bench) Measure(ctx context.Context, c *Case, t *targets.Target) Row {
	r := Row{Model: c.Name, Target: t.Name}
	dir := filepath.Join(b.Dir, t.Name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		r.Why = err.Error()
		return r
	}
	e, err := c.Emit(ctx, t, "", dir)
	if err != nil {
		r.Why = err.Error()
		return r
	}
	r.Emitted, r.EmitMS = true, float64(e.Took.Microseconds())/1000
	if info, err := os.Stat(e.Path("")); err == nil {
		r.Bytes = info.Size()
	}
	switch {
	case t.Name == "tensorrt":
		b.build(ctx, e, &r)
	case t.Name == "c":
		compile(ctx, c, e, &r)
	default:
		b.run(ctx, c, e, t, &r)
	}
	return r
}

func (b *Bench) run(ctx context.Context, c *Case, e *Emitted, t *targets.Target, r *Row) {
	all := consumer.All()
	i := slices.IndexFunc(all, func(k *consumer.Consumer) bool { return k.Target == t.Name })
	if i < 0 || b.Pythons[all[i].Name] == "" {
		r.Why = leftOut + "its consumer is not here"
		return
	}
	s, err := all[i].Start(ctx, b.Pythons[all[i].Name], e.Path(""), c.Options(b.Threads))
	if err != nil {
		r.Why = err.Error()
		return
	}
	defer s.Close()
	r.Loads, r.Operators, r.Delegates, r.Delegated = true, s.Operators, s.Delegates, s.Delegated
	got, err := s.Run(ctx, c.Inputs, 0)
	if err != nil {
		r.Why = err.Error()
		return
	}
	r.Ran = true
	r.judge(c, got.Outputs)
	b.time(ctx, c, s, r)
}

// judge compares outputs with what is wanted.
func (r *Row) judge(c *Case, got map[string]ir.Datum) {
	d, err := c.Compare(got)
	r.Rel, r.Agrees = Number(d.Rel), err == nil
	if err != nil {
		r.Why = err.Error()
	}
}

// time runs the artifact and the model in ONNX Runtime by turns.
func (b *Bench) time(ctx context.Context, c *Case, s *consumer.Session, r *Row) {
	python := b.Pythons["onnxruntime"]
	if b.Runs == 0 || python == "" {
		return
	}
	base, err := consumer.Lookup("onnxruntime").Start(ctx, python, c.Path, consumer.Options{Threads: b.Threads})
	if err != nil {
		return
	}
	defer base.Close()
	var own, other []time.Duration
	for range 3 {
		x, err := base.Run(ctx, c.Inputs, b.Runs)
		y, errY := s.Run(ctx, c.Inputs, b.Runs)
		if errors.Join(err, errY) != nil {
			return
		}
		other, own = append(other, x.Times...), append(own, y.Times...)
	}
	r.MS, r.BaseMS = median(own), median(other)
}

func median(d []time.Duration) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1e6
}

// Options tell a consumer the names of the model's interface.
func (c *Case) Options(threads int) consumer.Options {
	o := consumer.Options{Threads: threads, Shapes: c.Shapes}
	for name := range c.Inputs {
		o.Inputs = append(o.Inputs, name)
	}
	for name := range c.Want {
		o.Outputs = append(o.Outputs, name)
	}
	slices.Sort(o.Inputs)
	slices.Sort(o.Outputs)
	return o
}

// Run loads an artifact of the case in a consumer, runs it and compares.
func (c *Case) Run(ctx context.Context, k *consumer.Consumer, python, mode, artifact string) (float64, map[string]ir.Datum, error) {
	o := c.Options(1)
	o.Mode = mode
	s, err := k.Start(ctx, python, artifact, o)
	if err != nil {
		return 0, nil, err
	}
	defer s.Close()
	got, err := s.Run(ctx, c.Inputs, 0)
	if err != nil {
		return 0, nil, err
	}
	d, err := c.Compare(got.Outputs)
	return d.Rel, got.Outputs, err
}

// Cells are the columns of a row in text. "XNNPACK" is how many of the operators it took, and in how many parts.
func (r *Row) Cells() []string {
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	cells := []string{r.Model, r.Target, yes(r.Emitted), "", "", "", "", "", ""}
	if r.Emitted {
		cells[3] = yes(r.Loads)
		if strings.HasPrefix(r.Why, leftOut) {
			cells[3] = ""
		}
	}
	if r.Ran {
		cells[4] = fmt.Sprintf("%.1e", float64(r.Rel))
	}
	if r.MS > 0 {
		cells[5], cells[6] = fmt.Sprintf("%.2f", r.MS), fmt.Sprintf("%.2f", r.Ratio())
	}
	if r.Delegates > 0 {
		cells[7] = fmt.Sprintf("%d/%d in %d", r.Delegated, r.Operators, r.Delegates)
	}
	cells[8] = r.Why
	return cells
}

// Header names the columns of Cells.
func Header() []string {
	return []string{"model", "target", "emitted", "loads", "difference", "ms", "by ORT", "XNNPACK", "why"}
}
