package decompose

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// layer is a node that may be decomposed.
type layer struct {
	node   *ir.Node         // in the model that the pass edits
	form   *ir.Node         // its like in the copy of the original
	linear *measured.Linear // of form; nil for a ConvTranspose whose windows overlap
	groups int
	size   size
	shape  []int64    // of the weights
	weight []matrix   // of each group, the bias as the last row
	plain  []*problem // without data
	data   []*problem // with the original's inputs; nil without data
	x, y   []int64    // shapes of input and result, -1 where a size is not known
	levels []level
	// perError is the divergence of the outputs for one unit of a level's noise; 1 without data.
	perError float64
	best     *level // what was chosen
	refused  string // why it was left out after all
	now      []*factors
	made     []*ir.Node // the nodes that took its place
}

// level is a way to write a layer.
type level struct {
	kind    kind
	rank    rank
	macs    int64
	params  int64
	seconds float64
	err     float64    // relative: ‖(W − W̃) H^½‖² / ‖W H^½‖²
	start   []*factors // what fits begin with; nil: not made yet
	fit     []*factors // those fit to what the original reads; nil: not made yet
}

// problems are those that the layer is fit to.
func (l *layer) problems() []*problem {
	if l.data != nil {
		return l.data
	}
	return l.plain
}

// newLayer looks at a node; the error completes "because".
func newLayer(n, form *ir.Node, types func(*ir.Value) *ir.Type, pool *par.Pool) (*layer, error) {
	l := &layer{node: n, form: form, groups: 1, perError: 1}
	lin, err := measured.LinearOf(form)
	switch {
	case err == nil:
		l.linear = lin
		l.groups = lin.Groups
		if l.weight, err = lin.Weights(); err != nil {
			return nil, err
		}
	case form.Is("ConvTranspose") && form.NumOperands() > 1 && form.Operand(1) != nil && form.Operand(1).Const() != nil:
		if l.weight, err = transposedWeights(form); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	l.shape = form.Operand(1).Const().Shape()
	l.x, l.y = sizes(types(n.Operand(0)).TensorShape()), sizes(types(n.Result(0)).TensorShape())
	l.size = size{c: l.weight[0].Rows - 1, h: 1, w: 1, o: l.weight[0].Cols}
	if n.Is("Conv") {
		l.size.c = int(l.shape[1])
		l.size.w = int(ir.NumElements(l.shape[2:]))
		if len(l.shape) == 4 {
			l.size.h, l.size.w = int(l.shape[2]), int(l.shape[3])
		}
		if l.size.c == 1 && l.groups > 1 {
			return nil, errors.New("it is depthwise")
		}
	}
	if min(l.size.columns(), l.size.o) < 2 {
		return nil, fmt.Errorf("its weights are %d by %d", l.size.columns(), l.size.o)
	}
	for _, w := range l.weight {
		l.plain = append(l.plain, plain(w, l.size.c, pool))
	}
	return l, nil
}

// transposedWeights are those of a ConvTranspose as one matrix, input channels by outputs and window.
func transposedWeights(n *ir.Node) ([]matrix, error) {
	w := n.Operand(1).Const()
	if n.Int("group", 1) != 1 {
		return nil, errors.New("it is a ConvTranspose with groups")
	}
	if !weights.Supported(w.DType()) || w.Rank() < 3 || w.Len() == 0 {
		return nil, fmt.Errorf("its weights are of type %s and shape %v", w.DType(), w.Shape())
	}
	v, err := weights.Floats(w)
	if err != nil {
		return nil, err
	}
	if !linalg.Finite(v) {
		return nil, errors.New("its weights hold NaN or an infinity")
	}
	s := w.Shape()
	m := linalg.New[float64](int(s[0])+1, int(ir.NumElements(s[1:])))
	copy(m.Data, v)
	return []matrix{m}, nil
}

func sizes(s ir.Shape) []int64 {
	r := make([]int64, len(s))
	for i, d := range s {
		r[i] = -1
		if d.IsStatic() {
			r[i] = d.Size
		}
	}
	return r
}

// settle fills in sizes that only the data told. Those still unknown count as 1: they are the same for every way to write the layer.
func (l *layer) settle(m *measured.Moments) {
	known := func(have, seen []int64) []int64 {
		if len(have) == 0 {
			have = slices.Clone(seen)
		}
		for i, v := range have {
			if v < 0 && i < len(seen) {
				have[i] = seen[i]
			}
			have[i] = max(have[i], 1)
		}
		return have
	}
	var x, y []int64
	if m != nil {
		x, y = m.X, m.Y
	}
	l.x, l.y = known(l.x, x), known(l.y, y)
}

// spatial are batch, and height and width of a shape; dimensions of other ranks count as width.
func spatial(s []int64) (n, h, w int64) {
	switch {
	case len(s) < 3:
		return 1, 1, 1
	case len(s) == 4:
		return s[0], s[2], s[3]
	}
	return s[0], 1, ir.NumElements(s[2:])
}

// ops lists what the layer computes when written in a way; the zero kind with no rank is the layer as it is.
func (l *layer) ops(k kind, r rank) []op {
	s, g := l.size, int64(l.groups)
	c, o, q, p := int64(s.c)*g, int64(s.o)*g, int64(r.r)*g, int64(r.p)*g
	h, w := int64(s.h), int64(s.w)
	if !l.node.Is("Conv") && !l.node.Is("ConvTranspose") {
		rows := int64(1)
		if len(l.y) > 0 {
			rows = ir.NumElements(l.y[:len(l.y)-1])
		}
		if r.r == 0 {
			return []op{{rows, rows, c, o, 1, 1, false}}
		}
		return []op{{rows, rows, c, q, 1, 1, false}, {rows, rows, q, o, 1, 1, false}}
	}
	n, ih, iw := spatial(l.x)
	_, oh, ow := spatial(l.y)
	in, out := n*ih*iw, n*oh*ow
	if l.node.Is("ConvTranspose") { // each input position gives a window; o counts the window, too
		m := l.shape[1]
		if r.r == 0 {
			return []op{{in, out, c, m, o / m, 1, false}}
		}
		return []op{{in, in, c, q, 1, 1, false}, {in, out, q, m, o / m, 1, false}}
	}
	if r.r == 0 {
		return []op{{in, out, c, o, h * w, g, false}}
	}
	switch k {
	case svd:
		return []op{{in, out, c, q, h * w, g, false}, {out, out, q, o, 1, g, false}}
	case spatialSVD:
		mid := n * oh * iw
		return []op{{in, mid, c, q, h, g, false}, {mid, out, q, o, w, g, false}}
	case tucker:
		return []op{{in, in, c, q, 1, g, false}, {in, out, q, p, h * w, g, false}, {out, out, p, o, 1, g, false}}
	}
	mid := n * oh * iw
	return []op{{in, in, c, q, 1, g, false}, {in, mid, q, q, h, q, true}, {mid, out, q, q, w, q, true}, {out, out, q, o, 1, g, false}}
}

// fits says why a way to write weights is none for this layer.
func (l *layer) fits(k kind) error {
	conv := l.node.Is("Conv")
	taps := l.size.h * l.size.w
	switch k {
	case svd:
		return nil
	case tucker:
		if !conv || taps == 1 {
			return errors.New("tucker is for convolutions with a window")
		}
	default:
		if !conv || len(l.shape) != 4 || l.size.h == 1 || l.size.w == 1 {
			return fmt.Errorf("%s is for convolutions with a window of two dimensions", k)
		}
	}
	return nil
}

// limit is the largest rank of a kind.
func (l *layer) limit(k kind) rank {
	s := l.size
	switch k {
	case svd:
		return rank{min(s.columns(), s.o), 0}
	case spatialSVD:
		return rank{min(s.c*s.h, s.w*s.o), 0}
	case tucker:
		return rank{s.c, s.o}
	}
	return rank{s.columns() * s.o / max(s.c, s.h, s.w, s.o), 0}
}

func (l *layer) level(k kind, r rank) level {
	v := level{kind: k, rank: r}
	for _, o := range l.ops(k, r) {
		v.macs += o.macs()
		v.params += o.params()
		v.seconds += o.seconds()
	}
	return v
}

// asIs is the layer without change.
func (l *layer) asIs() level { return l.level(svd, rank{}) }

// factor makes the factors of a level, fit to what the original reads.
func (l *layer) factor(v *level) ([]*factors, error) {
	hasty := l.data == nil && (v.kind == cp || v.kind == tucker)
	if hasty {
		v.start = nil // levels were compared after few sweeps
	}
	fs, err := l.begin(v, false)
	if err != nil {
		return nil, err
	}
	if hasty {
		v.err = l.errorOf(fs, l.judge())
	}
	return fs, improve(fs, l.problems(), 1)
}

// fitted is a copy of what factor makes, once for each level.
func (l *layer) fitted(v *level) ([]*factors, error) {
	if v.fit == nil {
		fs, err := l.factor(v)
		if err != nil {
			return nil, err
		}
		v.fit = fs
	}
	return clone(v.fit), nil
}

// begin is a copy of the factors that a level begins with, which are made in haste for levels that are only compared.
func (l *layer) begin(v *level, haste bool) ([]*factors, error) {
	if v.start == nil {
		for g, p := range l.problems() {
			f, err := begin(v.kind, l.size, v.rank, p, uint64(g), haste)
			if err != nil {
				return nil, err
			}
			v.start = append(v.start, f)
		}
	}
	return clone(v.start), nil
}

func clone(fs []*factors) []*factors {
	r := make([]*factors, len(fs))
	for i, f := range fs {
		c := *f
		c.f = nil
		for _, m := range f.f {
			c.f = append(c.f, m.Clone())
		}
		r[i] = &c
	}
	return r
}

// improve fits the factors of all groups.
func improve(fs []*factors, p []*problem, sweeps int) error {
	for g, f := range fs {
		if err := p[g].fit(f, sweeps, conjugateSteps); err != nil {
			return err
		}
		f.normalize(p[g])
	}
	return nil
}

// conjugateSteps is the number of steps for each factor and sweep.
const conjugateSteps = 8

// errorOf is the relative error of factors.
func (l *layer) errorOf(fs []*factors, p []*problem) float64 {
	lost, all := 0.0, 0.0
	for g, f := range fs {
		lost += p[g].excess(f.expand())
		all += p[g].power()
	}
	if all == 0 {
		return 0
	}
	return lost / all
}
