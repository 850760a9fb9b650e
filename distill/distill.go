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
	"github.com/onnxopt/onnxopt/ops/infer"
)

var nan = math.NaN()

// training is one call of Train.
type training struct {
	*trainee
	data, held    []*dataset.Sample
	step, measure engine.Session
	guide         engine.Session // of the teacher, nil without one
	done          []Epoch
	without       int // epochs since the best
	redone        int // nodes computed twice
}

// Train trains the student in place. When the loss stops being a number the student keeps the weights of the last epoch that was good, and
// the error says where; when ctx ends it keeps those of the last full epoch.
func Train(ctx context.Context, o Options) ([]Epoch, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	t, err := newTraining(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer t.close()
	plan := t.plan(t.data, len(t.held))
	if o.Resume != nil {
		if err := t.restore(o.Resume, plan); err != nil {
			return nil, err
		}
		t.done, t.without = slices.Clone(o.Resume.Epochs), o.Resume.without
	}
	var failure error
	var good *State
	for failure == nil && len(t.done) < o.Epochs && !t.stopped() {
		e, err := t.epoch(ctx, len(t.done))
		if err != nil {
			failure = fmt.Errorf("epoch %d%w", len(t.done)+1, err)
			break
		}
		t.done = append(t.done, e)
		good = t.state(plan, t.done, t.without)
		if o.Save != nil {
			failure = o.Save(good)
		}
		if o.Progress != nil {
			o.Progress(e)
		}
	}
	if len(t.done) == 0 {
		return nil, failure
	}
	if good == nil {
		good = o.Resume
	}
	if err := t.restore(good, plan); err != nil {
		return t.done, err
	}
	if err := t.finish(context.WithoutCancel(ctx)); err != nil {
		return t.done, err
	}
	return t.done, failure
}

func (t *training) stopped() bool {
	return t.o.Patience > 0 && t.without >= t.o.Patience
}

// newTraining reads the data and loads the models.
func newTraining(ctx context.Context, o *Options) (*training, error) {
	t := &training{}
	data, err := o.read(ctx)
	if err != nil {
		return nil, err
	}
	held := int(math.Round(o.HoldOut * float64(len(data))))
	t.data, t.held = data[:len(data)-held], data[len(data)-held:]
	if len(t.data) == 0 || o.HoldOut > 0 && held == 0 {
		return nil, fmt.Errorf("%d samples are too few to hold out %g of them", len(data), o.HoldOut)
	}
	few, err := o.few(t.data)
	if err != nil {
		return nil, err
	}
	if t.trainee, err = newTrainee(ctx, o, few); err != nil {
		return nil, err
	}
	if o.Teacher != nil {
		if err := t.sameClasses(); err != nil {
			return nil, err
		}
		if o.Feature > 0 {
			if err := t.findTwins(ctx, few); err != nil {
				return nil, err
			}
		}
		m, err := t.trainee.guide()
		if err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
		if t.guide, err = o.Engine.Load(ctx, m, engine.Options{Threads: o.Threads, MaxMemory: o.MaxMemory}); err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
	}
	if t.step, t.redone, err = t.load(ctx); err != nil {
		t.close()
		return nil, err
	}
	if len(t.held) > 0 {
		m, _, err := t.trainee.step(false)
		if err == nil {
			t.measure, err = o.Engine.Load(ctx, m, engine.Options{Threads: o.Threads, MaxMemory: o.MaxMemory})
		}
		if err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

func (t *training) close() {
	for _, s := range []engine.Session{t.step, t.measure, t.guide} {
		if s != nil {
			s.Close()
		}
	}
}

// sameClasses compares the scores of teacher and student.
func (t *training) sameClasses() error {
	z, err := logits(t.o.Teacher)
	if err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	s := infer.Model(t.o.Teacher).Type(z).TensorShape()
	if len(s) > 0 && s[len(s)-1].IsStatic() && t.classes >= 0 && s[len(s)-1].Size != t.classes {
		return fmt.Errorf("the first output has %d elements a row in the teacher and %d in the student", s[len(s)-1].Size, t.classes)
	}
	return nil
}

// epoch takes a step for each batch. What is random in it depends on the seed and on its number alone, so that it is the same after a break.
func (t *training) epoch(ctx context.Context, number int) (Epoch, error) {
	o := t.o
	r := rand.New(rand.NewPCG(o.Seed, uint64(number)+1))
	order := r.Perm(len(t.data))
	size := min(o.Batch, len(t.data))
	steps := (len(order) + size - 1) / size
	e := Epoch{N: number + 1, HeldLoss: nan, HeldHits: nan, FeaturesCompared: len(t.twins), RecomputedOperations: t.redone}
	for _, w := range t.params {
		switch w.kind {
		case weight:
			e.Weights += len(w.v)
		case quantizer:
			e.Quantizers += len(w.v)
		}
	}
	for k := range steps {
		var batch []*dataset.Sample
		for _, i := range order[k*size : min((k+1)*size, len(order))] {
			batch = append(batch, t.data[i])
		}
		e.Rate = rate(o, number*steps+k, o.Epochs*steps)
		loss, hits, err := t.batch(ctx, batch, number*steps+k, e.Rate, r)
		if err != nil {
			return e, fmt.Errorf(", step %d: %w", k+1, err)
		}
		if o.Step != nil {
			o.Step(number+1, k+1, steps, loss)
		}
		e.Loss += loss * float64(len(batch)) / float64(len(order))
		e.Hits += hits / float64(len(order))
	}
	for _, w := range t.params {
		if err := w.finite(); err != nil {
			return e, fmt.Errorf(": %w", err)
		}
	}
	if t.measure == nil {
		return e, nil
	}
	e.HeldLoss, e.HeldHits = 0, 0
	for from := 0; from < len(t.held); from += size {
		batch := t.held[from:min(from+size, len(t.held))]
		out, labels, err := t.run(ctx, t.measure, batch, nil, true)
		if err != nil {
			return e, fmt.Errorf(", on held-out samples: %w", err)
		}
		loss, hits, err := score(out, labels)
		if err != nil {
			return e, fmt.Errorf(", on held-out samples: %w", err)
		}
		e.HeldLoss += loss * float64(len(batch)) / float64(len(t.held))
		e.HeldHits += hits / float64(len(t.held))
	}
	e.Best = !slices.ContainsFunc(t.done, func(d Epoch) bool { return d.HeldLoss <= e.HeldLoss })
	if t.without++; e.Best {
		t.without = 0
	}
	for _, w := range t.params {
		switch {
		case o.Patience > 0 && e.Best:
			w.best = slices.Clone(w.final())
		case o.Patience == 0:
			w.best = nil
		}
	}
	e.Stopped = t.stopped() && number+1 < o.Epochs
	return e, nil
}

// batch takes step i and returns the loss before it, and how many samples were right.
func (t *training) batch(ctx context.Context, batch []*dataset.Sample, i int, lr float64, r *rand.Rand) (loss, hits float64, err error) {
	o := t.o
	out, like, err := t.run(ctx, t.step, batch, r, false)
	if err != nil {
		return 0, 0, err
	}
	if loss, hits, err = score(out, like); err != nil {
		return 0, 0, err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, 0, fmt.Errorf("the loss is %v; a smaller rate or clipping may help", loss)
	}
	trained := t.trained()
	ds, norm := make([][]float32, len(trained)), 0.0
	for k, w := range trained {
		if ds[k], err = ir.Elements[float32](out[w.name+gradSuffix].(*ir.Tensor)); err != nil {
			return 0, 0, err
		}
		sum := 0.0
		for j, x := range ds[k] {
			if w.zero == nil || !w.zero[j] {
				sum += float64(x) * float64(x)
			}
		}
		if sum-sum != 0 {
			return 0, 0, fmt.Errorf("the loss is %v, but its derivative by %q is no number; a smaller rate or clipping may help", loss, w.name)
		}
		norm += sum
	}
	scale := 1.0
	if norm = math.Sqrt(norm); o.Clip > 0 && norm > o.Clip {
		scale = o.Clip / norm
	}
	for k, w := range trained {
		w.update(o, ds[k], lr, scale, i)
	}
	for _, w := range t.params {
		if w.kind == statistic {
			v, err := ir.Elements[float32](out[w.name+nextSuffix].(*ir.Tensor))
			if err != nil {
				return 0, 0, err
			}
			copy(w.v, v)
		}
		if o.Average > 0 {
			w.average(o.Average, i)
		}
	}
	return loss, hits, nil
}
