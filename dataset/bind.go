package dataset

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/dataset/picture"
	"github.com/onnxopt/onnxopt/ir"
)

// labelNames are the names that labels have by convention.
var labelNames = []string{"label", "labels", "y", "target", "targets"}

// isLabel reports whether a column of that name holds labels.
func (s *Set) isLabel(name string) bool {
	if s.o.LabelColumn != "" {
		return name == s.o.LabelColumn
	}
	return (s.o.Raw || s.input(name) == nil) && slices.Contains(labelNames, strings.ToLower(name))
}

// input finds an input by name. Without a model, every name is one's that is not of the form x[3].
func (s *Set) input(name string) *Port {
	if s.o.Raw && elementOf(name) == "" {
		return &Port{Name: name}
	}
	return find(s.o.Inputs, name)
}

func find(ports []Port, name string) *Port {
	for i := range ports {
		if ports[i].Name == name {
			return &ports[i]
		}
	}
	return nil
}

// only is the input that values without a name are for.
func (s *Set) only() (*Port, error) {
	if s.o.Raw {
		return &Port{Name: "data"}, nil
	}
	var r *Port
	for i, p := range s.o.Inputs {
		switch {
		case p.Optional:
		case r != nil:
			return nil, fmt.Errorf("the data have no names and the model takes several inputs: %s", s.names())
		default:
			r = &s.o.Inputs[i]
		}
	}
	if r == nil {
		return nil, errors.New("the model takes no input")
	}
	return r, nil
}

// names lists the inputs for messages.
func (s *Set) names() string {
	var r []string
	for _, p := range s.o.Inputs {
		if !p.Optional {
			r = append(r, p.Name)
		}
	}
	return strings.Join(r, ", ")
}

// port is the input that a column is for, nil if there is none.
func (s *Set) port(name string) (*Port, error) {
	if name == "" {
		return s.only()
	}
	return s.input(name), nil
}

// bind makes a sample of a row.
func (s *Set) bind(r row) (*Sample, error) {
	if r.err != nil {
		return nil, r.err
	}
	sample := &Sample{Name: r.name, Inputs: map[string]ir.Datum{}, Label: r.label, Mask: r.mask, whole: r.whole}
	if r.picture != nil {
		t, err := s.apply(r.picture)
		if err != nil {
			return nil, err
		}
		r.values = []column{{value: t}}
	}
	for _, c := range r.values {
		p, err := s.port(c.name)
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, fmt.Errorf("%q is no input of the model, which takes %s", c.name, s.names())
		}
		rows := !r.whole && !c.fixed
		if t, ok := c.value.(*ir.Tensor); ok && rows && single(t.Shape(), p.Type.TensorShape()) {
			c.value, rows, sample.whole = t.Reshape(t.Shape()[1:]), false, true
		}
		d, err := s.fit(c.value, p, rows)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", p.Name, err)
		}
		sample.Inputs[p.Name] = d
	}
	for _, p := range s.o.Inputs {
		if sample.Inputs[p.Name] == nil && !p.Optional {
			return nil, fmt.Errorf("there is nothing for input %q", p.Name)
		}
	}
	for _, c := range r.expect {
		if sample.Expect == nil {
			sample.Expect = map[string]ir.Datum{}
		}
		sample.Expect[c.name] = c.value
	}
	return sample, nil
}

// apply turns a picture into a tensor for the only input.
func (s *Set) apply(p *picture.Picture) (*ir.Tensor, error) {
	in, err := s.only()
	if err != nil {
		return nil, err
	}
	if s.o.Raw && !s.hasSpec {
		return ir.NewTensor(ir.Uint8, []int64{1, int64(p.H), int64(p.W), int64(p.C)}, p.Pix), nil
	}
	t, err := s.spec.Apply(p, picture.FrameOf(in.Type.TensorShape(), s.spec.Layout))
	if err != nil || s.spec.DType == ir.Undefined {
		return t, err
	}
	return rounded(t, s.spec.DType)
}

// fit makes a value one of the type that an input has. rows says that the value is a sample of its own that is put together with
// others: its first axis may then have any size.
func (s *Set) fit(d ir.Datum, p *Port, rows bool) (ir.Datum, error) {
	t, ok := d.(*ir.Tensor)
	if !ok || p.Type == nil || p.Type.Kind != ir.KindTensor {
		if _, ok := p.Type.WithoutShapes().Merge(d.Type().WithoutShapes()); !ok {
			return nil, fmt.Errorf("%s where the model takes %s", d.Type(), p.Type)
		}
		return d, nil
	}
	convert := exact
	if s.o.Cast || s.hasSpec && s.spec.Rounds() {
		convert = rounded
	}
	want := slices.Clone(p.Type.Shape)
	if rows && len(want) > 0 {
		want[0] = ir.UnknownDim()
	}
	shape, ok := reshaped(t.Shape(), want, rows)
	if !ok {
		return nil, fmt.Errorf("shape %v where the model takes %s", t.Shape(), p.Type.Shape)
	}
	t, err := convert(t, p.Type.Elem)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(shape, t.Shape()) {
		t = t.Reshape(shape)
	}
	return t, nil
}

// reshaped is the shape that a value of shape have takes for an input of shape want: its own if it fits; for rows also
//
//   - its own with axes of size one put in or left out where the model has others of them;
//   - all in one axis, where the model takes rows of that length.
func reshaped(have []int64, want ir.Shape, rows bool) ([]int64, bool) {
	if want == nil || fits(have, want) {
		return have, true
	}
	if !rows || len(want) == 0 {
		return nil, false
	}
	n := ir.NumElements(have)
	if len(want) == 2 && want[1].IsStatic() && want[1].Size == n {
		return []int64{1, n}, true
	}
	shape := []int64{1} // a sample
	rest := slices.DeleteFunc(slices.Clone(have), func(d int64) bool { return d == 1 })
	for i, d := range want[1:] {
		open := len(want) - 2 - i // axes of want behind this one
		switch {
		case d.IsStatic() && d.Size == 1, !d.IsStatic() && open >= len(rest):
			shape = append(shape, 1)
		case len(rest) > 0:
			shape = append(shape, rest[0])
			rest = rest[1:]
		default:
			shape = append(shape, 1)
		}
	}
	return shape, len(rest) == 0 && fits(shape, want)
}

// single reports whether a row, whose first axis has size one, is a sample for a model without an axis for samples, such as torchvision's
// detectors, which take one picture [3,H,W].
func single(have []int64, want ir.Shape) bool {
	return len(want) > 0 && want[0].IsStatic() && len(have) == len(want)+1 && have[0] == 1 && fits(have[1:], want)
}

// fits reports whether a shape agrees with the static sizes of another.
func fits(have []int64, want ir.Shape) bool {
	return slices.EqualFunc(have, want, func(n int64, d ir.Dim) bool { return !d.IsStatic() || d.Size == n })
}

// alike reports whether two samples can be put together.
func alike(a, b *Sample) bool {
	if a.whole || b.whole || len(a.Inputs) != len(b.Inputs) || a.Expect != nil || b.Expect != nil {
		return false
	}
	for name, x := range a.Inputs {
		if x == b.Inputs[name] {
			continue
		}
		t, ok := x.(*ir.Tensor)
		u, also := b.Inputs[name].(*ir.Tensor)
		if !ok || !also || t.Rank() == 0 || t.DType() != u.DType() || t.DType().Bits()%8 != 0 || !slices.Equal(t.Shape(), u.Shape()) {
			return false
		}
	}
	return true
}

// join puts samples together along the first axis and fills up to fixed rows if that is not zero.
func join(samples []*Sample, fixed int) (*Batch, error) {
	b := &Batch{Samples: samples}
	first := samples[0]
	if fixed > len(samples) && !first.whole {
		b.Padded = fixed - len(samples)
	}
	b.rows = len(samples) + b.Padded
	if len(samples) == 1 && b.Padded == 0 {
		b.Inputs = first.Inputs
		return b, nil
	}
	b.Inputs = make(map[string]ir.Datum, len(first.Inputs))
	for name, d := range first.Inputs {
		if same(samples, name) && b.Padded == 0 { // fixed values
			b.Inputs[name] = d
			continue
		}
		t, err := concat(samples, name, b.Padded)
		if err != nil {
			return nil, err
		}
		b.Inputs[name] = t
	}
	return b, nil
}

// same reports whether all samples share one value.
func same(samples []*Sample, name string) bool {
	for _, s := range samples[1:] {
		if s.Inputs[name] != samples[0].Inputs[name] {
			return false
		}
	}
	return true
}

func concat(samples []*Sample, name string, padded int) (*ir.Tensor, error) {
	first, ok := samples[0].Inputs[name].(*ir.Tensor)
	if !ok || first.Rank() == 0 || first.DType().Bits()%8 != 0 {
		return nil, fmt.Errorf("input %q cannot be put together to batches", name)
	}
	rows := int64(len(samples) + padded)
	shape := slices.Clone(first.Shape())
	if shape[0] > 0 && rows > math.MaxInt64/shape[0] {
		return nil, errors.New("the batch is too large")
	}
	shape[0] *= rows
	if first.DType() == ir.String {
		return concatStrings(samples, name, padded, shape)
	}
	var out []byte
	var last []byte
	for _, s := range samples {
		b, err := s.Inputs[name].(*ir.Tensor).Bytes()
		if err != nil {
			return nil, err
		}
		out, last = append(out, b...), b
	}
	for range padded {
		out = append(out, last...)
	}
	return ir.NewTensor(first.DType(), shape, out), nil
}

func concatStrings(samples []*Sample, name string, padded int, shape []int64) (*ir.Tensor, error) {
	var out, last []string
	for _, s := range samples {
		x, err := s.Inputs[name].(*ir.Tensor).Strings()
		if err != nil {
			return nil, err
		}
		out, last = append(out, x...), x
	}
	for range padded {
		out = append(out, last...)
	}
	return ir.NewStringTensor(shape, out), nil
}
