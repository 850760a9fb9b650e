package measured

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Divergence is how far the outputs of model b lie from those of model a, over all samples. Outputs that are no floats count for
// Agreement and Samples alone.
type Divergence struct {
	Samples int
	// Agreement is the share of rows, the last axis of outputs that is not of size one, whose largest element stands at the same place. It is what top-1
	// agreement is for a classifier, and that of the steps for a recognizer of sequences.
	Agreement float64
	// Whole is the share of samples all of whose rows agree: of the lines that a recognizer reads alike.
	Whole float64
	// KL is the mean over rows of the Kullback-Leibler divergence, in nats, of b's class probabilities from a's: of rows themselves where
	// those of a are probabilities, else of their softmax. Outputs whose rows have one element have none.
	KL float64
	// SQNR is 10·log10(Σa²/Σ(a−b)²) in dB, and Cosine the mean of that between a's and b's outputs, a sample at a time.
	SQNR, Cosine float64
	// MaxDiff is the largest |a−b|.
	MaxDiff float64
	// Lost counts outputs of b that are not finite, or have another shape, where those of a are and have not.
	Lost int
}

// String is the divergence in one line.
func (d Divergence) String() string {
	return fmt.Sprintf("agreement %.4f, KL %.3g, SQNR %.1f dB, cosine %.5f on %d samples", d.Agreement, d.KL, d.SQNR, d.Cosine, d.Samples)
}

// Divergence runs both models over the samples and compares their outputs.
func (c *Calibration) Divergence(ctx context.Context, a, b *ir.Model) (Divergence, error) {
	return c.divergenceEach(ctx, a, b, nil, func(tally) {})
}

// divergenceEach calls each for every sample, in order.
func (c *Calibration) divergenceEach(ctx context.Context, a, b *ir.Model, keep *Reference, each func(tally)) (Divergence, error) {
	var sa engine.Session
	var err error
	if keep == nil {
		if sa, err = c.engine.Load(ctx, a, engine.Options{Threads: 1}); err != nil {
			return Divergence{}, err
		}
		defer sa.Close()
	}
	sb, err := c.engine.Load(ctx, b, engine.Options{Threads: 1})
	if err != nil {
		return Divergence{}, err
	}
	defer sb.Close()
	var names []string
	for _, s := range b.Main.Outputs() {
		names = append(names, s.Name())
	}
	var total tally
	err = orderedIndex(ctx, c, func(ctx context.Context, i int, in map[string]ir.Datum) (tally, error) {
		var t tally
		var want map[string]ir.Datum
		if keep != nil {
			if i >= len(keep.outputs) {
				return t, fmt.Errorf("the samples are others than those of the reference")
			}
			want = keep.outputs[i]
		} else {
			var err error
			if want, err = sa.Run(ctx, in); err != nil {
				return t, err
			}
		}
		got, err := sb.Run(ctx, in)
		if err != nil {
			return t, err
		}
		t.whole = 1
		for _, name := range names {
			x, ok := want[name].(*ir.Tensor)
			y, also := got[name].(*ir.Tensor)
			if ok && also {
				if err := t.add(x, y); err != nil {
					return t, err
				}
			}
		}
		t.samples = 1
		return t, nil
	}, func(_ int, t tally) error {
		total.sum(t)
		each(t)
		return nil
	})
	return total.divergence(), err
}

// Reference holds the outputs of a model on the samples, for models that are held against it again and again.
type Reference struct {
	c       *Calibration
	m       *ir.Model
	outputs []map[string]ir.Datum // nil: they were too large to keep
	samples [][]byte              // their hashes, where divergences are kept
}

// keptOutputs bounds what a Reference keeps, in bytes.
const keptOutputs = 64 << 20

// Reference runs m over the samples. Outputs that take more than 64 MB together are computed anew for each comparison.
func (c *Calibration) Reference(ctx context.Context, m *ir.Model) (*Reference, error) {
	r := &Reference{c: c, m: m.Clone()}
	s, err := c.engine.Load(ctx, m, engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	size := int64(0)
	type result struct {
		out  map[string]ir.Datum
		hash []byte
	}
	err = ordered(ctx, c, func(ctx context.Context, in map[string]ir.Datum) (x result, err error) {
		if c.store != nil {
			if x.hash, err = sampleHash(in); err != nil {
				return x, err
			}
		}
		x.out, err = s.Run(ctx, in)
		return x, err
	}, func(_ int, x result) error {
		for _, d := range x.out {
			if t, ok := d.(*ir.Tensor); ok {
				size += max(t.ByteLen(), 0)
			}
		}
		if size <= keptOutputs {
			r.outputs = append(r.outputs, x.out)
		}
		r.samples = append(r.samples, x.hash)
		return nil
	})
	if size > keptOutputs {
		r.outputs = nil
	}
	return r, err
}

// Divergence holds b against the reference.
func (r *Reference) Divergence(ctx context.Context, b *ir.Model) (Divergence, error) {
	all, err := r.tallies(ctx, b)
	var total tally
	for _, t := range all {
		total.sum(t)
	}
	return total.divergence(), err
}

// Samples is the divergence of b on each sample.
func (r *Reference) Samples(ctx context.Context, b *ir.Model) ([]Divergence, error) {
	all, err := r.tallies(ctx, b)
	d := make([]Divergence, len(all))
	for i, t := range all {
		d[i] = t.divergence()
	}
	return d, err
}

// tallies holds b against the reference, sample by sample.
func (r *Reference) tallies(ctx context.Context, b *ir.Model) ([]tally, error) {
	key := ""
	if r.c.store != nil {
		var err error
		if key, err = r.key(b); err != nil {
			return nil, err
		}
		if have := r.c.kept(key, len(r.samples)); have != nil {
			return have, nil
		}
	}
	keep := r
	if r.outputs == nil {
		keep = nil
	}
	var all []tally
	_, err := r.c.divergenceEach(ctx, r.m, b, keep, func(t tally) { all = append(all, t) })
	if err == nil && key != "" {
		r.c.keep(key, all)
	}
	return all, err
}

// Pick is the reference on the samples at the given places, which ascend.
func (r *Reference) Pick(at []int) *Reference {
	k := &Reference{c: r.c.Pick(at), m: r.m}
	for _, i := range at {
		if r.outputs != nil {
			k.outputs = append(k.outputs, r.outputs[i])
		}
		k.samples = append(k.samples, r.samples[i])
	}
	return k
}

// tally sums what a Divergence is made of.
type tally struct {
	samples, lost    int
	rows, agree, kls int
	whole            float64
	kl, aa, err, cos float64
	cosines          int
	maxDiff          float64
}

func (t *tally) sum(u tally) {
	t.samples += u.samples
	t.lost += u.lost
	t.rows += u.rows
	t.agree += u.agree
	t.kls += u.kls
	t.whole += u.whole
	t.kl += u.kl
	t.aa += u.aa
	t.err += u.err
	t.cos += u.cos
	t.cosines += u.cosines
	t.maxDiff = math.Max(t.maxDiff, u.maxDiff)
}

func (t *tally) divergence() Divergence {
	d := Divergence{Samples: t.samples, MaxDiff: t.maxDiff, Lost: t.lost, Agreement: 1, SQNR: math.Inf(1), Cosine: 1}
	if t.rows > 0 {
		d.Agreement = float64(t.agree) / float64(t.rows)
	}
	if t.samples > 0 {
		d.Whole = t.whole / float64(t.samples)
	}
	if t.kls > 0 {
		d.KL = t.kl / float64(t.kls)
	}
	if t.err > 0 {
		d.SQNR = 10 * math.Log10(t.aa/t.err)
	}
	if t.cosines > 0 {
		d.Cosine = t.cos / float64(t.cosines)
	}
	return d
}

// add takes one output of one sample.
func (t *tally) add(a, b *ir.Tensor) error {
	x, err := Floats(a)
	if err != nil || x == nil {
		return err
	}
	y, err := Floats(b)
	if err != nil || y == nil {
		return err
	}
	if len(x) != len(y) {
		t.lost++
		t.whole = 0
		return nil
	}
	row := 1 // the last axis, but for axes of size one behind it
	for _, n := range slices.Backward(a.Shape()) {
		if row = int(n); n != 1 {
			break
		}
	}
	t.distance(x, y)
	if row < 2 {
		return nil
	}
	same := true
	for ; len(x) >= row; x, y = x[row:], y[row:] {
		t.rows++
		if argmax(x[:row]) == argmax(y[:row]) {
			t.agree++
		} else {
			same = false
		}
		if k := klOf(x[:row], y[:row]); !math.IsNaN(k) && !math.IsInf(k, 0) {
			t.kl += k
			t.kls++
		}
	}
	if !same {
		t.whole = 0
	}
	return nil
}

func (t *tally) distance(x, y []float32) {
	var aa, bb, ab, e float64
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		if !finite(a) {
			continue
		}
		if !finite(b) {
			t.lost++
			continue
		}
		d := a - b
		aa, bb, ab, e = aa+a*a, bb+b*b, ab+a*b, e+d*d
		t.maxDiff = math.Max(t.maxDiff, math.Abs(d))
	}
	t.aa += aa
	t.err += e
	if n := math.Sqrt(aa) * math.Sqrt(bb); n > 0 {
		t.cos += ab / n
		t.cosines++
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func argmax(v []float32) int {
	k := 0
	for i, x := range v {
		if x > v[k] {
			k = i
		}
	}
	return k
}

// klOf is the divergence of one row.
func klOf(a, b []float32) float64 {
	p, q := probabilities(a), probabilities(b)
	k := 0.0
	for i := range p {
		if p[i] > 0 {
			k += p[i] * math.Log(p[i]/math.Max(q[i], 1e-12))
		}
	}
	return math.Max(k, 0)
}

// probabilities are the row itself if it is a distribution, else its softmax.
func probabilities(v []float32) []float64 {
	r := make([]float64, len(v))
	sum, top, negative := 0.0, math.Inf(-1), false
	for i, x := range v {
		r[i] = float64(x)
		sum += r[i]
		top = math.Max(top, r[i])
		negative = negative || x < 0
	}
	if !negative && math.Abs(sum-1) < 0.05 {
		for i := range r {
			r[i] /= sum
		}
		return r
	}
	sum = 0
	for i := range r {
		r[i] = math.Exp(r[i] - top)
		sum += r[i]
	}
	for i := range r {
		r[i] /= sum
	}
	return r
}

// Floats are the elements of a tensor of floats of any width as float32, nil if t is nil or of another kind.
func Floats(t *ir.Tensor) ([]float32, error) {
	if t == nil || !t.DType().IsFloat() {
		return nil, nil
	}
	if t.DType() == ir.Float32 {
		return ir.Elements[float32](t)
	}
	if !weights.Supported(t.DType()) {
		return nil, nil
	}
	if t.DType() == ir.Float16 {
		h, err := ir.Elements[uint16](t)
		if err != nil {
			return nil, err
		}
		r := make([]float32, len(h))
		for i := gemm.Widen(r, h); i < len(h); i++ {
			r[i] = kernel.Float16ToFloat32(h[i])
		}
		return r, nil
	}
	v, err := weights.Floats(t)
	if err != nil {
		return nil, err
	}
	r := make([]float32, len(v))
	for i, x := range v {
		r[i] = float32(x)
	}
	return r, nil
}
