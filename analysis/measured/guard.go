package measured

import (
	"context"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// Loss is one number for how far outputs part: the divergence of class probabilities in nats, or else the share of the outputs' energy that the
// difference has. It is infinite where outputs were lost.
func (d Divergence) Loss() float64 {
	switch {
	case d.Lost > 0:
		return math.Inf(1)
	case d.KL > 0: // not NaN
		return d.KL
	}
	if x := math.Pow(10, -d.SQNR/10); !math.IsNaN(x) {
		return x
	}
	return math.Inf(1)
}

// HoldBack divides the samples into places to fit on and others to hold back, for Pick: a fifth, and of more than 160 samples as many as judge
// well. They are spread evenly. Of fewer than five samples none is held back.
func (c *Calibration) HoldBack() (fit, held []int) {
	n := c.Len()
	every := max(5, n/maxHeldBack)
	for i := range n {
		if i%every == every-1 {
			held = append(held, i)
		} else {
			fit = append(fit, i)
		}
	}
	return fit, held
}

// maxHeldBack is about how many samples are held back at most.
const maxHeldBack = 32

// Spread takes n of s, evenly; 0 takes all.
func Spread[T any](s []T, n int) []T {
	if n <= 0 || len(s) <= n {
		return s
	}
	r := make([]T, n)
	for i := range r {
		r[i] = s[i*len(s)/n]
	}
	return r
}

// leastJudges is how many samples held back there must be for the outputs of a model to be judged on them.
const leastJudges = 4

// A guard weighs the outputs of the whole model, when all layers were refit, on samples that no layer was fitted on. A layer's own error cannot
// tell whether what it leaves matters to what comes behind, and few samples let a fit go after what is theirs alone. Nothing is judged
// before the layers behind were fitted to it: as long as they were not, they tell little.
type guard struct {
	m    *ir.Model
	ref  *Reference
	done []changed
}

// changed is a layer that was refit: its constants before, as judged, which is without the samples kept back, and after.
type changed struct {
	job                   *refitJob
	result                int
	before, judged, after *snapshot
	share                 float64 // of the change that stays
}

// watch begins a guard of m, nil if there are too few samples for one.
func (r *refit) watch(ctx context.Context, original, m *ir.Model) (*guard, error) {
	var held []map[string]ir.Datum
	for i, is := range r.held {
		if is && r.o.Record == nil {
			held = append(held, r.samples[i])
		}
	}
	if r.o.Unguarded || len(held) < leastJudges {
		return nil, nil
	}
	held = Spread(held, r.o.Judges)
	c := New(Fixed(held...), r.c.engine, r.c.Threads(), Named(r.c.name), Total(len(held)))
	ref, err := c.Reference(ctx, original)
	if err != nil {
		return nil, err
	}
	return &guard{m: m, ref: ref}, nil
}

// worse is why a layer keeps what it had.
const worse = "the model's outputs on the data kept back are nearer to the original's without it"

// settle takes back what the outputs are better without: from the last layer to the first half of the change, then the rest, and in the end all of
// it. More of the fit stays unless the outputs are better by more than twice the standard error of the difference.
//
// It returns the model as judged, in which no layer was fitted on those samples.
func (g *guard) settle(ctx context.Context) (*ir.Model, error) {
	if len(g.done) == 0 {
		return g.m, nil
	}
	copied, same := g.m.CloneMap()
	nodes := make([][]*ir.Node, len(g.done))
	for i, d := range g.done {
		for _, n := range d.judged.nodes {
			nodes[i] = append(nodes[i], same[n.Result(0)].Node())
		}
		d.judged.set(nodes[i])
	}
	now, err := g.losses(ctx, copied)
	if err != nil {
		return nil, err
	}
	for i := len(g.done) - 1; i >= 0; i-- {
		for d := &g.done[i]; d.share > 0; {
			share := d.less()
			d.at(share, d.judged).set(nodes[i])
			other, err := g.losses(ctx, copied)
			if err != nil {
				return nil, err
			}
			if !better(other, now) {
				d.at(d.share, d.judged).set(nodes[i])
				break
			}
			d.share, now = share, other
		}
	}
	for i, d := range g.done {
		d.before.set(nodes[i])
	}
	none, err := g.losses(ctx, copied)
	if err == nil && better(none, now) {
		for i := range g.done {
			g.done[i].share = 0
		}
	}
	for i, d := range g.done {
		d.at(d.share, d.judged).set(nodes[i])
	}
	return copied, err
}

// less is the next smaller share of the change. The factors of a chain are not of one basis, so that there is nothing halfway.
func (c *changed) less() float64 {
	if c.share == 1 && c.job.layer.Chain == nil && c.at(0.5, c.judged) != nil && c.at(0.5, c.after) != nil {
		return 0.5
	}
	return 0
}

// losses are those of a model, a sample at a time.
func (g *guard) losses(ctx context.Context, m *ir.Model) ([]float64, error) {
	ds, err := g.ref.Samples(ctx, m)
	l := make([]float64, len(ds))
	for i, d := range ds {
		l[i] = d.Loss()
	}
	return l, err
}

// better reports whether the losses a are below b: by more than twice the standard error of their difference, and on seven samples of ten, because
// a few samples with large losses make most of a mean.
func better(a, b []float64) bool {
	n, sum, squares, wins := float64(len(a)), 0.0, 0.0, 0.0
	for i := range a {
		d := a[i] - b[i]
		switch {
		case math.IsInf(b[i], 1) && !math.IsInf(a[i], 1):
			return true
		case d < 0:
			wins++
		}
		sum, squares = sum+d, squares+d*d
	}
	mean := sum / n
	return wins >= 0.7*n && mean < -2*math.Sqrt(math.Max(squares/n-mean*mean, 0)/(n-1))
}

// at is the layer with a share of the change to what it is as judged or after; nil where there is none between all and nothing.
func (c *changed) at(share float64, to *snapshot) *snapshot {
	switch share {
	case 0:
		return c.before
	case 1:
		return to
	}
	return c.before.mix(to, share)
}

// snapshot is what nodes read from constants, and their attributes.
type snapshot struct {
	nodes []*ir.Node
	in    [][]*ir.Tensor // nil: no constant
	names [][]string
	attrs [][]*ir.Attr
}

// remember makes a snapshot of nodes.
func remember(nodes []*ir.Node) *snapshot {
	s := &snapshot{nodes: nodes}
	for _, n := range nodes {
		var in []*ir.Tensor
		var names []string
		for _, v := range n.Operands() {
			if v == nil || v.Const() == nil {
				in, names = append(in, nil), append(names, "")
				continue
			}
			in, names = append(in, v.Const()), append(names, v.Name())
		}
		s.in, s.names, s.attrs = append(s.in, in), append(s.names, names), append(s.attrs, slices.Clone(n.Attrs()))
	}
	return s
}

// set gives nodes, which need not be those that the snapshot is of, its constants and attributes.
func (s *snapshot) set(nodes []*ir.Node) {
	for k, n := range nodes {
		for n.NumOperands() > len(s.in[k]) {
			old := n.Operand(n.NumOperands() - 1)
			n.RemoveOperand(n.NumOperands() - 1)
			if old != nil {
				Drop(old)
			}
		}
		for i, t := range s.in[k] {
			switch {
			case i >= n.NumOperands():
				n.AddOperand(n.Graph().NamedConst(s.names[k][i], t))
			case t != nil && n.Operand(i).Const() != t:
				old := n.Operand(i)
				n.SetOperand(i, n.Graph().NamedConst(s.names[k][i], t))
				Drop(old)
			}
		}
		for _, a := range slices.Clone(n.Attrs()) {
			if !slices.Contains(s.attrs[k], a) {
				n.RemoveAttr(a.Name)
			}
		}
		for _, a := range s.attrs[k] {
			if n.Attr(a.Name) == nil {
				n.SetAttr(a)
			}
		}
	}
}

// mix is the snapshot between s and t at a share of the way; nil if they differ in more than the elements of constants, and biases that s lacks.
func (s *snapshot) mix(t *snapshot, share float64) *snapshot {
	r := &snapshot{nodes: t.nodes, names: t.names, attrs: t.attrs}
	for k := range t.nodes {
		if !slices.Equal(s.attrs[k], t.attrs[k]) || len(s.in[k]) > len(t.in[k]) {
			return nil
		}
		in := slices.Clone(t.in[k])
		for i, b := range in {
			var a *ir.Tensor
			if i < len(s.in[k]) {
				a = s.in[k][i]
			}
			if a == b {
				continue
			}
			y, err := weights.Floats(b)
			if err != nil {
				return nil
			}
			x := make([]float64, len(y))
			if i < len(s.in[k]) {
				if a == nil || !slices.Equal(a.Shape(), b.Shape()) || a.DType() != b.DType() {
					return nil
				}
				if x, err = weights.Floats(a); err != nil {
					return nil
				}
			}
			for e := range y {
				y[e] = share*y[e] + (1-share)*x[e]
			}
			if in[i], err = weights.Round(b.DType(), b.Shape(), y); err != nil {
				return nil
			}
		}
		r.in = append(r.in, in)
	}
	return r
}

// nodes are those whose constants a change of the layer may replace.
func (j *refitJob) nodes() (r []*ir.Node) {
	end := j.layer.Node
	if j.result != end.Result(0) { // the Add behind a MatMul
		r = append(r, j.result.Node())
	}
	for n := end; n != nil; n = n.Operand(0).Node() {
		r = append(r, n)
		if j.layer.Chain == nil || n.Operand(0) == j.layer.Chain.Input {
			break
		}
	}
	return r
}
