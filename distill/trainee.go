package distill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/grad"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// trainee is a student in training: a copy in which everything that is trained is an initializer of type float32.
type trainee struct {
	o       *Options
	m       *ir.Model
	params  []*param
	norms   map[string]bool // names of the means whose normalizations see the batch
	scales  *scales
	folds   []*fold
	twins   []*twin
	classes int64 // of the first output, -1 if it is not known
}

// newTrainee prepares the student. probe are inputs to look at it with.
func newTrainee(ctx context.Context, o *Options, probe []map[string]ir.Datum) (*trainee, error) {
	hoist(o.Student)
	t := &trainee{o: o, m: o.Student.Clone(), norms: map[string]bool{}, classes: -1}
	var err error
	if t.scales, err = t.findScales(ctx); err != nil {
		return nil, err
	}
	o.settle(t.scales.bits, slices.ContainsFunc(t.m.Main.NodeList(), func(n *ir.Node) bool { return n.Is("Conv") }))
	skip := map[*ir.Value]bool{}
	if o.Norm == NormInsert {
		if err := t.insertNorms(ctx, probe, skip); err != nil {
			return nil, err
		}
	}
	r := rand.New(rand.NewPCG(o.Seed, 0))
	for _, v := range trainable(t.m) {
		if skip[v] {
			continue
		}
		w, err := read(v, weight)
		if err != nil {
			return nil, err
		}
		if o.Init {
			w.draw(v.Use(0), r)
		} else if o.Zeros {
			w.keepZeros()
		}
		t.params = append(t.params, w)
	}
	if len(t.params) == 0 {
		return nil, fmt.Errorf("the student has no weights of type float32 to train")
	}
	if err := t.addScales(); err != nil {
		return nil, err
	}
	if o.Norm != NormFrozen {
		if err := t.addStatistics(); err != nil {
			return nil, err
		}
	}
	z, err := logits(t.m)
	if err != nil {
		return nil, err
	}
	if s := infer.Model(t.m).Type(z).TensorShape(); len(s) > 0 && s[len(s)-1].IsStatic() {
		t.classes = s[len(s)-1].Size
	}
	return t, nil
}

// names are those of the parameters that have a derivative.
func (t *trainee) trained() (r []*param) {
	for _, w := range t.params {
		if w.kind != statistic {
			r = append(r, w)
		}
	}
	return r
}

// step makes the model of a step: parameters are inputs, the loss, the scores and the running statistics outputs, and with gradients also
// the derivatives. Without, normalization is by the running statistics. The nodes are those that the derivatives are of.
func (t *trainee) step(gradients bool) (*ir.Model, []*ir.Node, error) {
	m := t.m.Clone()
	if gradients {
		trainNorms(m, t.norms)
	}
	if err := t.loss(m); err != nil {
		return nil, nil, err
	}
	names := map[string]bool{}
	for _, w := range t.params {
		if w.kind == statistic || !gradients {
			names[w.name] = true
		}
	}
	for _, v := range m.Main.Consts() {
		if name := v.Name(); names[name] {
			delete(names, name)
			v.SetName("")
			v.ReplaceUses(m.Main.AddInput(name, v.Const().Type()))
			m.Main.EraseConst(v)
		}
	}
	// Only the loss is looked at: the student's own outputs would only be kept.
	for i := len(m.Main.Outputs()) - 1; i >= 0; i-- {
		if s := m.Main.Outputs()[i]; !ours(s.Name()) {
			m.Main.RemoveOutput(i)
		}
	}
	forward := m.Main.NodeList()
	if !gradients {
		return m, forward, nil
	}
	var trained []string
	for _, w := range t.trained() {
		trained = append(trained, w.name)
	}
	return m, forward, grad.Append(m, grad.Options{Loss: lossName, Params: trained, Inputs: true, Suffix: gradSuffix})
}

// feed adds the parameters to the inputs of a step; final takes those that the result would have.
func (t *trainee) feed(in map[string]ir.Datum, final bool) {
	for _, w := range t.params {
		v := w.v
		if final {
			v = w.final()
		}
		in[w.name] = ir.TensorOf(slices.Clone(v), w.shape...)
	}
}

// finish writes what was learned into the student.
func (t *trainee) finish(ctx context.Context) error {
	done := map[string]bool{}
	get := map[string]*param{}
	for _, w := range t.params {
		get[w.name] = w
	}
	for _, f := range t.folds {
		if err := f.fold(t.o.Student, get, done); err != nil {
			return err
		}
	}
	if err := t.scales.finish(ctx, t, get, done); err != nil {
		return err
	}
	for _, w := range t.params {
		if v := named(t.o.Student, w.name); v != nil && !done[w.name] {
			replace(t.o.Student, v, ir.TensorOf(slices.Clone(w.result()), w.shape...))
		}
	}
	return nil
}

// result is what the student gets: the weights of the best epoch, or the last.
func (w *param) result() []float32 {
	if w.best != nil {
		return w.best
	}
	return w.final()
}

// probe runs a model with taps on inputs.
func (o *Options) probe(ctx context.Context, m *ir.Model, taps []*ir.Value, inputs []map[string]ir.Datum, f func([]ir.Datum) error) error {
	s, err := o.Engine.Load(ctx, m, engine.Options{Threads: o.Threads, MaxMemory: o.MaxMemory, Taps: taps})
	if err != nil {
		return err
	}
	defer s.Close()
	for _, in := range inputs {
		_, got, err := s.RunTaps(ctx, in)
		if err != nil {
			return err
		}
		if err := f(got); err != nil {
			return err
		}
	}
	return nil
}
