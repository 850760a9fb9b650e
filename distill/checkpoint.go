package distill

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

// State is all that a training needs to go on after an epoch.
type State struct {
	Plan    string // what was trained and how, in words; only a training with the same plan may continue
	Epochs  []Epoch
	arrays  map[string]*ir.Tensor
	without int // epochs since the best
}

// plan is what has to be the same.
func (t *trainee) plan(data []*dataset.Sample, held int) string {
	o := t.o
	r := fmt.Sprintf("%d samples, %d held out, epochs %d, batch %d, warmup %d, ce-weight %g, kd-weight %g, temperature %g, feature-weight %g, optimizer %s, schedule %s, rate %g, relative %v, momentum %g, weight-decay %g, clip %g, ema %g, norm %s, augmentation %+v, patience %d, init %v, seed %d",
		len(data), held, o.Epochs, o.Batch, o.Warmup, o.CE, o.KD, o.Temperature, o.Feature, o.Optimizer, o.Schedule, o.Rate, o.Relative, o.Momentum, o.Decay, o.Clip, o.Average, o.Norm, o.Augment, o.Patience, o.Init, o.Seed)
	for _, w := range t.params {
		r += fmt.Sprintf(", %s %v", w.name, w.shape)
	}
	return r
}

// arrays are the parts of a parameter by the letter that a state has for them.
func (w *param) arrays() map[string]*[]float32 {
	return map[string]*[]float32{"v": &w.v, "m": &w.m, "s": &w.s, "a": &w.mean, "b": &w.best}
}

// state is that after the last of the epochs.
func (t *trainee) state(plan string, done []Epoch, without int) *State {
	s := &State{Plan: plan, Epochs: slices.Clone(done), without: without, arrays: map[string]*ir.Tensor{}}
	for i, w := range t.params {
		for key, v := range w.arrays() {
			if *v != nil {
				s.arrays[fmt.Sprint(key, i)] = ir.TensorOf(slices.Clone(*v), w.shape...)
			}
		}
	}
	return s
}

// restore continues from a state.
func (t *trainee) restore(s *State, plan string) error {
	if s.Plan != plan {
		return fmt.Errorf("the checkpoint is of another training: %s", difference(s.Plan, plan))
	}
	for i, w := range t.params {
		for key, v := range w.arrays() {
			a := s.arrays[fmt.Sprint(key, i)]
			if a == nil {
				continue
			}
			e, err := ir.Elements[float32](a)
			if err != nil {
				return err
			}
			if len(e) != len(w.v) {
				return fmt.Errorf("the checkpoint has %d elements of %q, not %d", len(e), w.name, len(w.v))
			}
			*v = slices.Clone(e)
		}
	}
	return nil
}

// difference names the first part in which two plans differ.
func difference(a, b string) string {
	x, y := splitPlan(a), splitPlan(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("it has %s, this one %s", x[i], y[i])
		}
	}
	return "it has other weights"
}

func splitPlan(s string) (r []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				r, from = append(r, s[from:i]), min(i+2, len(s))
			}
		}
	}
	return append(r, s[from:])
}

// head is what a state has beside arrays.
type head struct {
	Plan    string
	Epochs  []Epoch
	Without int
}

const headName = "training"

// Write writes the state as a .npz file.
func (s *State) Write(w io.Writer) error {
	b, err := json.Marshal(head{s.Plan, s.finite(), s.without})
	if err != nil {
		return err
	}
	z := npz.NewWriter(w)
	if err := z.Add(headName, ir.TensorOf(b, int64(len(b)))); err != nil {
		return err
	}
	var names []string
	for name := range s.arrays {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := z.Add(name, s.arrays[name]); err != nil {
			return err
		}
	}
	return z.Close()
}

// finite are the epochs without NaN, which JSON does not have; −1 stands for it.
func (s *State) finite() []Epoch {
	r := slices.Clone(s.Epochs)
	for i := range r {
		if r[i].HeldLoss != r[i].HeldLoss {
			r[i].HeldLoss, r[i].HeldHits = -1, -1
		}
	}
	return r
}

// ReadState reads what Write wrote.
func ReadState(r io.ReaderAt, size int64) (*State, error) {
	f, err := npz.NewFile(r, size)
	if err != nil {
		return nil, fmt.Errorf("it is no checkpoint: %w", err)
	}
	t, err := f.Read(headName)
	if err != nil {
		return nil, fmt.Errorf("it is no checkpoint: %w", err)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	var h head
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("it is no checkpoint: %w", err)
	}
	s := &State{Plan: h.Plan, Epochs: h.Epochs, without: h.Without, arrays: map[string]*ir.Tensor{}}
	for i := range s.Epochs {
		if e := &s.Epochs[i]; e.HeldLoss < 0 {
			e.HeldLoss, e.HeldHits = nan, nan
		}
	}
	for _, name := range f.Names() {
		if name == headName {
			continue
		}
		if s.arrays[name], err = f.Read(name); err != nil {
			return nil, err
		}
	}
	return s, nil
}
