// Package metric measures how well the outputs of a model agree with labels, or with the outputs of another model.
package metric

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
)

// Row is one sample: what the model gave, and what that is held against.
type Row struct {
	Name  string
	Out   map[string]ir.Datum
	Want  map[string]ir.Datum // outputs of the reference, or recorded ones; nil: there are none
	Label float64             // NaN: there is none
	Mask  *ir.Tensor          // of a pair of sequences, as in dataset.Sample
}

// Meter gathers a metric over rows. The result does not depend on how rows were put together to batches.
type Meter interface {
	// Name is the metric's name.
	Name() string
	// Needs says what rows must have.
	Needs() Needs
	// Add takes one row. An error says that the row does not suit the metric.
	Add(Row) error
	// Value is the metric over the rows so far, NaN if there are none.
	Value() float64
}

// Needs says what a metric is measured against.
type Needs uint8

// What a metric may need.
const (
	Labels  Needs = iota // labels
	Outputs              // outputs of a reference, or recorded ones
	Either               // one of them
	Nothing              // neither
)

// Options of a metric.
type Options struct {
	Output string // the output that is measured; "": the first
	Boxes  BoxOptions
}

// Names lists the metrics.
func Names() []string {
	return []string{"top1", "top5", "agreement", "text", "spearman", "cosine", "mse", "boxes"}
}

// HigherIsBetter reports the direction of a metric.
func HigherIsBetter(name string) bool { return name != "mse" }

// New makes a meter for a model with the given outputs.
func New(name string, outputs []dataset.Port, o Options) (Meter, error) {
	if len(outputs) == 0 {
		return nil, errors.New("the model has no output")
	}
	p := outputs[0]
	if o.Output != "" {
		i := slices.IndexFunc(outputs, func(p dataset.Port) bool { return p.Name == o.Output })
		if i < 0 {
			return nil, fmt.Errorf("the model has no output %q", o.Output)
		}
		p = outputs[i]
	}
	switch name {
	case "top1":
		return &top{name: name, k: 1, output: p.Name}, nil
	case "top5":
		return &top{name: name, k: 5, output: p.Name}, nil
	case "agreement":
		return &agreement{output: p.Name}, nil
	case "text":
		return &read{output: p.Name}, nil
	case "spearman":
		return &spearman{output: p.Name}, nil
	case "cosine":
		return &cosine{output: p.Name}, nil
	case "mse":
		return &mse{output: p.Name}, nil
	case "boxes":
		return newBoxes(outputs, o.Boxes)
	}
	return nil, fmt.Errorf("there is no metric %q among %s%s", name, strings.Join(Names(), ", "), spell.Hint(name, Names()))
}

// values are the elements of an output.
func values(m map[string]ir.Datum, output string) ([]float64, error) {
	t, ok := m[output].(*ir.Tensor)
	switch {
	case m[output] == nil:
		return nil, fmt.Errorf("there is no output %q to compare with", output)
	case !ok || t.DType() == ir.String || t.DType() == ir.Complex64 || t.DType() == ir.Complex128:
		return nil, fmt.Errorf("output %q holds no numbers to measure", output)
	}
	return dataset.Floats(t)
}

// Argmax is the index of the first largest value, -1 if there are none or one is NaN.
func Argmax(v []float64) int {
	best := -1
	for i, x := range v {
		if math.IsNaN(x) {
			return -1
		}
		if best < 0 || x > v[best] {
			best = i
		}
	}
	return best
}

// top is the share of rows whose label is among the k largest of the output; places of equal values count in their order. An output of
// one integer is the class itself.
type top struct {
	name   string
	k      int
	output string
	hits   int
	rows   int
}

func (t *top) Name() string   { return t.name }
func (t *top) Needs() Needs   { return Labels }
func (t *top) Value() float64 { return float64(t.hits) / float64(t.rows) }

func (t *top) Add(r Row) error {
	v, err := values(r.Out, t.output)
	if err != nil {
		return err
	}
	label := int(r.Label)
	if len(v) == 1 && !r.Out[t.output].(*ir.Tensor).DType().IsFloat() {
		t.count(v[0] == r.Label)
		return nil
	}
	if r.Mask != nil {
		return errors.New("a pair of sequences has no class; the metric spearman ranks how near they are")
	}
	if float64(label) != r.Label || label < 0 || label >= len(v) {
		return fmt.Errorf("the label is %g; output %q has %d classes", r.Label, t.output, len(v))
	}
	if slices.ContainsFunc(v, math.IsNaN) {
		t.count(false)
		return nil
	}
	before := 0
	for i, x := range v {
		if x > v[label] || x == v[label] && i < label {
			before++
		}
	}
	t.count(before < t.k)
	return nil
}

func (t *top) count(hit bool) {
	t.rows++
	if hit {
		t.hits++
	}
}

// agreement is the share of rows in which both models have their largest value at the same place.
type agreement struct {
	output     string
	same, rows int
}

func (a *agreement) Name() string   { return "agreement" }
func (a *agreement) Needs() Needs   { return Outputs }
func (a *agreement) Value() float64 { return float64(a.same) / float64(a.rows) }

func (a *agreement) Add(r Row) error {
	x, y, err := both(r, a.output)
	if err != nil {
		return err
	}
	a.rows++
	if len(x) == 1 { // a class
		if x[0] == y[0] {
			a.same++
		}
	} else if i := Argmax(x); i >= 0 && i == Argmax(y) {
		a.same++
	}
	return nil
}

// both are the elements of the output and of what it is compared with.
func both(r Row, output string) (x, y []float64, err error) {
	if x, err = values(r.Out, output); err == nil {
		y, err = values(r.Want, output)
	}
	if err == nil && len(x) != len(y) {
		err = fmt.Errorf("output %q has %d elements, the one to compare with %d", output, len(x), len(y))
	}
	return x, y, err
}

// cosine is the mean over rows of the cosine between both outputs. Two rows of zeros agree; zeros and something else do not.
type cosine struct {
	output string
	sum    float64
	rows   int
}

func (c *cosine) Name() string   { return "cosine" }
func (c *cosine) Needs() Needs   { return Outputs }
func (c *cosine) Value() float64 { return c.sum / float64(c.rows) }

func (c *cosine) Add(r Row) error {
	x, y, err := both(r, c.output)
	if err != nil {
		return err
	}
	var xx, yy, xy float64
	for i := range x {
		xx += x[i] * x[i]
		yy += y[i] * y[i]
		xy += x[i] * y[i]
	}
	c.rows++
	switch n := math.Sqrt(xx) * math.Sqrt(yy); {
	case n != 0:
		c.sum += xy / n
	case xx == yy:
		c.sum++
	}
	return nil
}

// mse is the mean of the squared differences over all elements of all rows.
type mse struct {
	output string
	sum    float64
	n      int
}

func (m *mse) Name() string   { return "mse" }
func (m *mse) Needs() Needs   { return Outputs }
func (m *mse) Value() float64 { return m.sum / float64(m.n) }

func (m *mse) Add(r Row) error {
	x, y, err := both(r, m.output)
	if err != nil {
		return err
	}
	for i := range x {
		m.sum += (x[i] - y[i]) * (x[i] - y[i])
	}
	m.n += len(x)
	return nil
}
