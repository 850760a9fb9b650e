package distill

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// read takes the samples into memory.
func (o *Options) read(ctx context.Context) ([]*dataset.Sample, error) {
	var r []*dataset.Sample
	for s, err := range o.Set.Samples(ctx) {
		if err != nil {
			return nil, err
		}
		if o.CE != 0 && !(s.Label >= 0 && s.Label == math.Trunc(s.Label)) {
			return nil, fmt.Errorf("%s has no class as its label; with ce-weight 0 none is needed", s.Name)
		}
		if r = append(r, s); len(r) == o.Limit {
			break
		}
	}
	if len(r) == 0 {
		return nil, fmt.Errorf("there are no samples to learn from")
	}
	return r, nil
}

// run evaluates a step. It returns the outputs, and what the scores are to be like: a row for each sample.
func (t *training) run(ctx context.Context, s engine.Session, batch []*dataset.Sample, r *rand.Rand, final bool) (map[string]ir.Datum, *ir.Tensor, error) {
	o := t.o
	in, err := together(batch)
	if err != nil {
		return nil, nil, err
	}
	var labels []float32
	if o.CE != 0 {
		if labels, err = t.labels(batch); err != nil {
			return nil, nil, err
		}
	}
	if r != nil {
		var names []string
		for name := range in {
			names = append(names, name)
		}
		slices.Sort(names)
		if err := o.Augment.apply(in, names, labels, r); err != nil {
			return nil, nil, err
		}
	}
	var like *ir.Tensor
	if t.guide != nil {
		out, err := t.guide.Run(ctx, o.forTeacher(in))
		if err != nil {
			return nil, nil, fmt.Errorf("teacher: %w", err)
		}
		like, _ = out[teacherName].(*ir.Tensor)
		if o.KD == 0 {
			delete(out, teacherName)
		}
		for name, d := range out {
			in[name] = d
		}
	}
	if labels != nil {
		like = ir.TensorOf(labels, int64(len(batch)), t.classes)
		in[labelsName] = like
	}
	t.feed(in, final)
	out, err := s.Run(ctx, in)
	return out, like, err
}

// labels are the distributions of classes that the labels say.
func (t *training) labels(batch []*dataset.Sample) ([]float32, error) {
	if t.classes < 1 {
		return nil, fmt.Errorf("how many classes the student's first output has is not known; set-shape gives sizes, and ce-weight 0 does without labels")
	}
	r := make([]float32, int64(len(batch))*t.classes)
	for i, s := range batch {
		if s.Label >= float64(t.classes) {
			return nil, fmt.Errorf("%s has the label %g, and the student %d classes", s.Name, s.Label, t.classes)
		}
		r[int64(i)*t.classes+int64(s.Label)] = 1
	}
	return r, nil
}

// score reads the loss, and counts the rows whose greatest element is where that of like is.
func score(out map[string]ir.Datum, like *ir.Tensor) (loss, hits float64, err error) {
	l, err := ir.Elements[float32](out[lossName].(*ir.Tensor))
	if err != nil {
		return 0, 0, err
	}
	loss = float64(l[0])
	z := out[scoresName].(*ir.Tensor)
	a, err := dataset.Floats(z)
	if err != nil || like == nil || z.Rank() == 0 {
		return loss, 0, err
	}
	b, err := dataset.Floats(like)
	if err != nil || len(a) != len(b) {
		return loss, 0, err
	}
	n := int(z.Shape()[z.Rank()-1])
	rows := len(a) / max(n, 1)
	for i := range rows {
		if metric.Argmax(a[i*n:][:n]) == metric.Argmax(b[i*n:][:n]) {
			hits++
		}
	}
	return loss, hits * float64(z.Shape()[0]) / float64(max(rows, 1)), nil
}

// forTeacher are the inputs that the teacher has.
func (o *Options) forTeacher(in map[string]ir.Datum) map[string]ir.Datum {
	r := map[string]ir.Datum{}
	for _, s := range o.Teacher.Main.Inputs() {
		if d := in[s.Name()]; d != nil {
			r[s.Name()] = d
		}
	}
	return r
}

// together makes the inputs of a batch.
func together(batch []*dataset.Sample) (map[string]ir.Datum, error) {
	in := map[string]ir.Datum{}
	for name := range batch[0].Inputs {
		t, err := stack(batch, name)
		if err != nil {
			return nil, err
		}
		in[name] = t
	}
	return in, nil
}

// stack puts the values of an input together along the first axis.
func stack(batch []*dataset.Sample, name string) (*ir.Tensor, error) {
	var all []byte
	var first *ir.Tensor
	rows := int64(0)
	for _, s := range batch {
		t, ok := s.Inputs[name].(*ir.Tensor)
		if !ok || t.Rank() == 0 || first != nil && !slices.Equal(first.Shape()[1:], t.Shape()[1:]) {
			return nil, fmt.Errorf("%s: input %q does not fit into a batch with the others", s.Name, name)
		}
		b, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		if first == nil {
			first, all = t, make([]byte, 0, len(b)*len(batch))
		}
		all, rows = append(all, b...), rows+t.Shape()[0]
	}
	return ir.NewTensor(first.DType(), append([]int64{rows}, first.Shape()[1:]...), all), nil
}
