package distill

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// Formula is the loss.
const Formula = "L = ce-weight · CE(student, label) + kd-weight · T² · KL(softmax(teacher/T) ‖ softmax(student/T))"

// Options of a training. Models need opset 18 or newer.
type Options struct {
	Student   *ir.Model
	Teacher   *ir.Model // nil: labels alone
	Set       *dataset.Set
	Limit     int // of samples, 0: all
	Engine    engine.Engine
	Threads   int
	MaxMemory int64

	Epochs, Batch, Warmup int     // Warmup in steps
	CE, KD, Temperature   float64 // of the loss
	Optimizer             string  // "adamw" or "sgd"
	Rate, Momentum, Decay float64
	Clip                  float64 // largest norm of all derivatives together, 0: none
	Init                  bool    // begin from random weights
	Seed                  uint64
	// Progress, if not nil, is told after each epoch.
	Progress func(Epoch)
}

// Epoch is what one pass over the data gave: the mean loss.
type Epoch struct {
	N    int
	Loss float64
}

// Train trains the student in place. When the loss stops being a number it keeps the weights of the last epoch that was good, and
// returns an error that says where; when ctx ends it keeps those of the last full epoch.
func Train(ctx context.Context, o Options) ([]Epoch, error) {
	params := trainable(o.Student)
	if len(params) == 0 {
		return nil, fmt.Errorf("the student has no weights to train")
	}
	data, err := o.read(ctx)
	if err != nil {
		return nil, err
	}
	m, err := step(o.Student, &o, params)
	if err != nil {
		return nil, err
	}
	s, err := o.Engine.Load(ctx, m, engine.Options{Threads: o.Threads, MaxMemory: o.MaxMemory})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var teacher engine.Session
	if o.Teacher != nil && o.KD != 0 {
		t := o.Teacher.Clone()
		z, err := logits(t)
		if err != nil {
			return nil, err
		}
		t.Main.AddOutput(teacherName, z, nil)
		if teacher, err = o.Engine.Load(ctx, t, engine.Options{Threads: o.Threads, MaxMemory: o.MaxMemory}); err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
		defer teacher.Close()
	}
	r := rand.New(rand.NewPCG(o.Seed, 0))
	ws, err := weights(o.Student, params, o.Init, r)
	if err != nil {
		return nil, err
	}
	var done []Epoch
	size := max(min(o.Batch, len(data)), 1)
	steps := (len(data) + size - 1) / size
	for e := range o.Epochs {
		r.Shuffle(len(data), func(i, j int) { data[i], data[j] = data[j], data[i] })
		total := 0.0
		for k := range steps {
			batch := data[k*size : min((k+1)*size, len(data))]
			loss, err := o.batch(ctx, s, teacher, ws, batch, e*steps+k, o.Epochs*steps)
			if err != nil {
				return done, fmt.Errorf("epoch %d, step %d: %w", e+1, k+1, err)
			}
			total += loss * float64(len(batch))
		}
		for _, w := range ws {
			if slices.ContainsFunc(w.v, func(x float32) bool { return x-x != 0 }) {
				return done, fmt.Errorf("epoch %d: the weight %q is no longer a number", e+1, w.name)
			}
		}
		store(o.Student, ws)
		done = append(done, Epoch{e + 1, total / float64(len(data))})
		if o.Progress != nil {
			o.Progress(done[len(done)-1])
		}
	}
	return done, nil
}

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

// batch takes one step and returns the loss before it.
func (o *Options) batch(ctx context.Context, s, teacher engine.Session, ws []*weight, batch []*dataset.Sample, i, n int) (float64, error) {
	in := map[string]ir.Datum{}
	for name := range batch[0].Inputs {
		t, err := stack(batch, name)
		if err != nil {
			return 0, err
		}
		in[name] = t
	}
	if teacher != nil {
		out, err := teacher.Run(ctx, in)
		if err != nil {
			return 0, fmt.Errorf("teacher: %w", err)
		}
		in[teacherName] = out[teacherName]
	}
	if o.CE != 0 {
		labels := make([]int64, len(batch))
		for k, b := range batch {
			labels[k] = int64(b.Label)
		}
		in[labelsName] = ir.TensorOf(labels)
	}
	for _, w := range ws {
		in[w.name] = ir.TensorOf(slices.Clone(w.v), w.shape...)
	}
	out, err := s.Run(ctx, in)
	if err != nil {
		return 0, err
	}
	l, err := ir.Elements[float32](out[lossName].(*ir.Tensor))
	if err != nil {
		return 0, err
	}
	loss := float64(l[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("the loss is %v; a smaller rate or clipping may help", loss)
	}
	ds, norm := make([][]float32, len(ws)), 0.0
	for k, w := range ws {
		if ds[k], err = ir.Elements[float32](out[w.name+gradSuffix].(*ir.Tensor)); err != nil {
			return 0, err
		}
		for _, x := range ds[k] {
			norm += float64(x) * float64(x)
		}
	}
	scale := 1.0
	if norm = math.Sqrt(norm); o.Clip > 0 && norm > o.Clip {
		scale = o.Clip / norm
	}
	for k, w := range ws {
		w.update(o, ds[k], rate(o, i, n), scale, i)
	}
	return loss, nil
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
		if first == nil {
			first = t
		}
		b, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		all, rows = append(all, b...), rows+t.Shape()[0]
	}
	return ir.NewTensor(first.DType(), append([]int64{rows}, first.Shape()[1:]...), all), nil
}
