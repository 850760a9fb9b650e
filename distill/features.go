package distill

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// twin is a tensor that the student has from the teacher: passes keep the names of what they do not remove, so that equal names mean an
// equal origin. Where the student has fewer channels, each is matched with the teacher's that it is most alike.
type twin struct {
	name     string
	axis     int     // along which the sizes differ, -1 if none
	channels []int64 // of the teacher
	variance float64 // of the teacher's elements

	student, teacher int64 // sizes of the axis
}

// findTwins looks for the tensors that layers with weights read.
func (t *trainee) findTwins(ctx context.Context, probe []map[string]ir.Datum) error {
	o := t.o
	own, others := valuesOf(t.m), valuesOf(o.Teacher)
	types, other := infer.Model(t.m), infer.Model(o.Teacher)
	var twins []*twin
	var taps, references []*ir.Value
	known := map[string]bool{}
	for _, n := range t.m.Main.NodeList() {
		if !n.Is("Conv", "ConvTranspose", "MatMul", "Gemm", "GRU", "LSTM") {
			continue
		}
		v := n.Operand(0)
		for v != nil && v.Node() != nil && v.Node().Is("DequantizeLinear", "QuantizeLinear") {
			v = v.Node().Operand(0)
		}
		if v == nil || v.Node() == nil || v.Name() == "" || known[v.Name()] || others[v.Name()] == nil || own[v.Name()] != v {
			continue
		}
		known[v.Name()] = true
		w := &twin{name: v.Name(), axis: -1}
		a, b := types.Type(v), other.Type(others[v.Name()])
		if a.DType() != ir.Float32 || b.DType() != ir.Float32 || !w.fits(a.TensorShape(), b.TensorShape()) {
			continue
		}
		twins, taps, references = append(twins, w), append(taps, v), append(references, others[v.Name()])
	}
	if len(twins) == 0 {
		return fmt.Errorf("no tensor of the student has the name and the shape of one of the teacher, so that none can be matched; feature-weight 0 does without")
	}
	// What both compute on a few samples.
	kept := make([][]*ir.Tensor, len(probe))
	k := 0
	if err := o.probe(ctx, t.m, taps, probe, func(d []ir.Datum) error {
		for _, v := range d {
			kept[k] = append(kept[k], v.(*ir.Tensor))
		}
		k++
		return nil
	}); err != nil {
		return err
	}
	sums := make([]*likeness, len(twins))
	for i, w := range twins {
		sums[i] = newLikeness(w)
	}
	k = 0
	shown := make([]map[string]ir.Datum, len(probe))
	for i, in := range probe {
		shown[i] = o.forTeacher(in)
	}
	if err := o.probe(ctx, o.Teacher, references, shown, func(d []ir.Datum) error {
		for i, v := range d {
			if err := sums[i].add(kept[k][i], v.(*ir.Tensor)); err != nil {
				return fmt.Errorf("%q: %w", twins[i].name, err)
			}
		}
		k++
		return nil
	}); err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	for i, w := range twins {
		if sums[i].finish(); w.variance > 0 && !math.IsInf(w.variance, 0) {
			t.twins = append(t.twins, w)
		}
	}
	if len(t.twins) == 0 {
		return fmt.Errorf("the tensors that the student has from the teacher are all constant")
	}
	return nil
}

// fits compares shapes, all of whose sizes behind the batch are known; one axis may be shorter.
func (w *twin) fits(a, b ir.Shape) bool {
	if len(a) != len(b) || len(a) < 2 {
		return false
	}
	for i := 1; i < len(a); i++ {
		if !a[i].IsStatic() || !b[i].IsStatic() {
			if a[i].IsStatic() != b[i].IsStatic() {
				return false
			}
			continue
		}
		if a[i].Size != b[i].Size {
			if w.axis >= 0 || a[i].Size > b[i].Size {
				return false
			}
			w.axis, w.student, w.teacher = i, a[i].Size, b[i].Size
		}
	}
	return true
}

// likeness gathers the moments of the channels of two tensors.
type likeness struct {
	w            *twin
	n            float64
	sum, squares float64 // of all elements of the teacher's
	s, t, ss, tt []float64
	st           []float64 // [student][teacher]
}

func newLikeness(w *twin) *likeness {
	return &likeness{w: w, s: make([]float64, w.student), ss: make([]float64, w.student), t: make([]float64, w.teacher), tt: make([]float64, w.teacher),
		st: make([]float64, w.student*w.teacher)}
}

func (l *likeness) add(student, teacher *ir.Tensor) error {
	b, err := ir.Elements[float32](teacher)
	if err != nil {
		return err
	}
	for _, x := range b {
		l.sum += float64(x)
		l.squares += float64(x) * float64(x)
	}
	l.n += float64(len(b))
	if l.w.axis < 0 {
		return nil
	}
	a, err := ir.Elements[float32](student)
	if err != nil {
		return err
	}
	outer := int(ir.NumElements(student.Shape()[:l.w.axis]))
	inner := int(ir.NumElements(student.Shape()[l.w.axis+1:]))
	p, q := int(l.w.student), int(l.w.teacher)
	if len(a) != outer*p*inner || len(b) != outer*q*inner {
		return fmt.Errorf("it is %v in the student and %v in the teacher", student.Shape(), teacher.Shape())
	}
	for o := range outer {
		for i := range p {
			x := a[(o*p+i)*inner:][:inner]
			for _, e := range x {
				l.s[i] += float64(e)
				l.ss[i] += float64(e) * float64(e)
			}
			for j := range q {
				dot := 0.0
				for k, e := range b[(o*q+j)*inner:][:inner] {
					dot += float64(e) * float64(x[k])
				}
				l.st[i*q+j] += dot
			}
		}
		for j := range q {
			for _, e := range b[(o*q+j)*inner:][:inner] {
				l.t[j] += float64(e)
				l.tt[j] += float64(e) * float64(e)
			}
		}
	}
	return nil
}

// finish takes the most correlated channels first; each of the teacher's stands for one.
func (l *likeness) finish() {
	w := l.w
	mean := l.sum / l.n
	w.variance = l.squares/l.n - mean*mean
	if w.axis < 0 {
		return
	}
	n := l.n / float64(w.teacher)
	type match struct {
		i, j  int
		alike float64
	}
	var all []match
	for i := range l.s {
		for j := range l.t {
			c := l.st[i*len(l.t)+j]/n - l.s[i]/n*l.t[j]/n
			v := (l.ss[i]/n - l.s[i]/n*l.s[i]/n) * (l.tt[j]/n - l.t[j]/n*l.t[j]/n)
			if v > 0 {
				c /= math.Sqrt(v)
			} else {
				c = -2
			}
			all = append(all, match{i, j, c})
		}
	}
	slices.SortStableFunc(all, func(a, b match) int {
		switch {
		case a.alike > b.alike:
			return -1
		case a.alike < b.alike:
			return 1
		}
		return 0
	})
	w.channels = make([]int64, len(l.s))
	for i := range w.channels {
		w.channels[i] = -1
	}
	taken := make([]bool, len(l.t))
	for _, m := range all {
		if w.channels[m.i] < 0 && !taken[m.j] {
			w.channels[m.i], taken[m.j] = int64(m.j), true
		}
	}
}

// guide makes the model that says what the teacher does: its scores and tensors.
func (t *trainee) guide() (*ir.Model, error) {
	m := t.o.Teacher.Clone()
	z, err := logits(m)
	if err != nil {
		return nil, err
	}
	values := valuesOf(m)
	outputs := []*ir.Value{z}
	for _, w := range t.twins {
		v := values[w.name]
		if w.axis >= 0 {
			v = m.Main.New(nil, ir.Op("Gather"), []*ir.Value{v, m.Main.Const(ir.TensorOf(w.channels))}, ir.IntAttr("axis", int64(w.axis))).Result(0)
		}
		outputs = append(outputs, v)
	}
	for i := len(m.Main.Outputs()) - 1; i >= 0; i-- {
		m.Main.RemoveOutput(i)
	}
	for i, v := range outputs {
		name := teacherName
		if i > 0 {
			name = fmt.Sprint(featurePrefix, i-1)
		}
		if v.IsInput() || v.IsOutput() || v.IsInitializer() {
			v = m.Main.New(nil, ir.Op("Identity"), []*ir.Value{v}).Result(0)
		}
		m.Main.AddOutput(name, v, nil)
	}
	return m, nil
}

// few are batches of a few samples to look at models with.
func (o *Options) few(data []*dataset.Sample) ([]map[string]ir.Datum, error) {
	var r []map[string]ir.Datum
	size := min(max(o.Batch, 1), 64)
	for from := 0; from < min(len(data), 256); from += size {
		in, err := together(data[from:min(from+size, len(data))])
		if err != nil {
			return nil, err
		}
		r = append(r, in)
	}
	return r, nil
}
