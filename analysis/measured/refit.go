package measured

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// RefitLayer pairs a layer of the compressed model with what it should give.
type RefitLayer struct {
	// Node is a Conv, Gemm, MatMul or ConvTranspose of the compressed model's main graph with constant weights.
	Node *ir.Node
	// Target is the value of the original model's main graph that Node's result should reproduce, with the same layout.
	Target *ir.Value
	// Keep lists, for each channel of Node's result, the channel of Target; nil: all of them.
	Keep []int
	// Mask says which weights may differ from zero, in the order of the weights; nil: all.
	Mask []bool
}

// RefitOptions say how layers are repaired. The zero value is usable.
type RefitOptions struct {
	// Rows is the number of positions that a layer's equations are made of at most; 0: 6 for each unknown, at least 8000, at most 32768.
	Rows int
	// Held is the share of the samples kept back; 0: a fifth.
	Held float64
	// Memory bounds the activations that are held, in bytes; fewer samples are used where they would take more. 0: 768 MB.
	Memory int64
	Seed   uint64
	// Apply makes the change of a layer; nil calls edit. A pass gives a function that calls passes.Context.Rewrite.
	Apply func(l RefitLayer, edit func())
}

// RefitResult says what became of a layer.
type RefitResult struct {
	Layer RefitLayer
	// Refused says why the layer kept its weights; empty where it was refit.
	Refused string
	// Rows counts the positions, Lambda is the ridge chosen.
	Rows   int
	Lambda float64
	// Before and After are the relative squared errors ‖result − target‖² / ‖target − mean‖² on held samples.
	Before, After float64
	// Compensated reports that the error of the other branch of a residual Add went into the target.
	Compensated bool
}

// Refit gives the layers of the compressed model new weights, one after another in the order of the graph: each is the least-squares
// solution for reproducing the original's values from what the layer now gets, with the layers before it already repaired. Where a
// layer's result goes into an Add only, the target is the original's sum less what the other branch now gives. Biases are fit, too.
//
// It is the layer-wise reconstruction of He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017),
// and of the asymmetric reconstruction of Zhang et al., "Accelerating Very Deep Convolutional Networks" (2015), with a ridge that
// draws to the weights there were. The ridge is chosen by the error on samples that were kept back, and a layer that gains nothing on
// those keeps its weights.
//
// Activations are held for the values between two layers only, and both models run once over the data altogether.
func Refit(ctx context.Context, original, compressed *ir.Model, layers []RefitLayer, c *Calibration, o RefitOptions) ([]RefitResult, error) {
	if len(layers) == 0 {
		return nil, nil
	}
	r := &refit{o: o, c: c, pool: par.New(c.Threads())}
	if r.o.Memory == 0 {
		r.o.Memory = 768 << 20
	}
	if r.o.Held == 0 {
		r.o.Held = 0.2
	}
	layers = inOrder(compressed, layers)
	for _, l := range layers {
		r.plan(l)
	}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	var targets, inputs []*ir.Value
	for _, j := range r.jobs {
		targets = append(targets, j.layer.Target, j.otherTarget)
		inputs = append(inputs, j.layer.Node.Operand(0), j.other)
	}
	r.a = newWalker(original, c.engine, targets, r.samples)
	r.b = newWalker(compressed, c.engine, inputs, r.samples)
	r.samples = nil
	var results []RefitResult
	for i := range r.jobs {
		res, err := r.layer(ctx, i)
		if err != nil {
			return results, err
		}
		results = append(results, res)
	}
	return results, nil
}

// inOrder sorts layers by the order of their nodes in the graph.
func inOrder(m *ir.Model, layers []RefitLayer) []RefitLayer {
	at := map[*ir.Node]int{}
	for n := range m.Main.Nodes() {
		at[n] = len(at)
	}
	layers = slices.Clone(layers)
	slices.SortStableFunc(layers, func(a, b RefitLayer) int { return at[a.Node] - at[b.Node] })
	return layers
}

type refit struct {
	o       RefitOptions
	c       *Calibration
	pool    *par.Pool
	samples []map[string]ir.Datum
	a, b    *walker
	jobs    []*refitJob
}

// refitJob is a layer on its way.
type refitJob struct {
	layer  RefitLayer
	linear *Linear
	why    error
	// other is the value that the layer's result is added to, otherTarget that of the original; nil where there is no such Add.
	other, otherTarget *ir.Value
}

// plan looks at a layer before anything runs.
func (r *refit) plan(l RefitLayer) {
	j := &refitJob{layer: l}
	j.linear, j.why = LinearOf(l.Node)
	result := l.Node.Result(0)
	if j.why == nil {
		if _, add := j.linear.biasOperand(); add != nil && add != l.Node { // the bias of a MatMul stands in an Add
			if t := biasAdd(l.Target); t != nil {
				result, j.layer.Target = add.Result(0), t
			} else {
				j.why = errors.New("the original adds no constant to it")
			}
		}
	}
	j.other, j.otherTarget = addedTo(result), addedTo(j.layer.Target)
	if j.other == nil || j.otherTarget == nil {
		j.other, j.otherTarget = nil, nil
	}
	r.jobs = append(r.jobs, j)
}

// biasAdd is the sum of v and a constant row where that is the only use of v.
func biasAdd(v *ir.Value) *ir.Value {
	u, ok := v.OnlyUse()
	if !ok || !u.Node.Is("Add") {
		return nil
	}
	if w := u.Node.Operand(1 - u.Index); w == nil || w.Const() == nil || w.Const().Rank() != 1 {
		return nil
	}
	return u.Node.Result(0)
}

// addedTo is the other operand of the Add that is the only use of v, nil if there is no such Add or it adds a constant.
func addedTo(v *ir.Value) *ir.Value {
	u, ok := v.OnlyUse()
	if !ok || !u.Node.Is("Add") {
		return nil
	}
	w := u.Node.Operand(1 - u.Index)
	if w == nil || w == v || w.Const() != nil {
		return nil
	}
	return w
}

// read loads the samples, as many as fit into half of the memory.
func (r *refit) read(ctx context.Context) error {
	c := r.c
	size := int64(0)
	for in, err := range c.Each(ctx) {
		if err != nil {
			return err
		}
		for _, d := range in {
			if t, ok := d.(*ir.Tensor); ok {
				size += max(t.ByteLen(), 0)
			}
		}
		break
	}
	if n := int64(c.Len()); size > 0 && size*n > r.o.Memory/2 {
		c = c.Limit(int(max(r.o.Memory/2/size, 2)))
	}
	for in, err := range c.Each(ctx) {
		if err != nil {
			return err
		}
		r.samples = append(r.samples, in)
	}
	if len(r.samples) == 0 {
		return fmt.Errorf("%s: %w", c.name, errEmpty)
	}
	return nil
}

// shrink drops samples where the activations take too much memory.
func (r *refit) shrink() {
	n := len(r.b.values)
	each := r.a.bytes(0) + r.b.bytes(0)
	if each == 0 || each*int64(n) <= r.o.Memory {
		return
	}
	keep := max(int(r.o.Memory/each), 2)
	if keep >= n {
		return
	}
	pick := func(v []map[*ir.Value]ir.Datum) []map[*ir.Value]ir.Datum {
		var k []map[*ir.Value]ir.Datum
		for i := range keep {
			k = append(k, v[i*n/keep])
		}
		return k
	}
	r.a.values, r.b.values = pick(r.a.values), pick(r.b.values)
}

// errSkip wraps why a layer is refused while the walk goes on.
type errSkip struct{ error }

func (r *refit) layer(ctx context.Context, i int) (RefitResult, error) {
	j := r.jobs[i]
	res := RefitResult{Layer: j.layer}
	if j.why == nil && !r.selected(j) {
		j.why = errors.New("its result is not what the pairing says")
	}
	if j.why != nil {
		res.Refused = j.why.Error()
		return res, nil
	}
	r.compensate(i)
	res.Compensated = j.other != nil
	eq, err := r.equations(ctx, j)
	var skip errSkip
	if errors.As(err, &skip) {
		res.Refused = skip.Error()
		return res, nil
	}
	if err != nil {
		return res, err
	}
	r.shrink()
	res.Rows = int(eq[0].fit.Rows + eq[0].held.Rows)
	return r.solve(j, eq, res)
}

// selected reports whether layer and target fit together as far as that can be seen without running.
func (r *refit) selected(j *refitJob) bool {
	return j.layer.Keep == nil || len(j.layer.Keep) == j.linear.Channels()
}

// compensate drops the other branch of an Add where it is not known yet: it waits for this layer, or for one that comes later.
func (r *refit) compensate(i int) {
	j := r.jobs[i]
	if j.other == nil {
		return
	}
	needs := r.b.needs(j.other)
	for _, k := range r.jobs[i:] {
		if needs[k.layer.Node] {
			j.other, j.otherTarget = nil, nil
			return
		}
	}
}

// equation gathers one group of a layer.
type equation struct {
	fit, held *linalg.LeastSquares
	mean      []float64 // sum of the targets of held rows
}

// chunkSamples is how many samples are run before their rows are added up.
const chunkSamples = 16

// equations runs both models up to the layer and sums its normal equations.
func (r *refit) equations(ctx context.Context, j *refitJob) ([]*equation, error) {
	l := j.linear
	wantA, wantB := []*ir.Value{j.layer.Target}, []*ir.Value{j.layer.Node.Operand(0)}
	if j.other != nil {
		wantA, wantB = append(wantA, j.otherTarget), append(wantB, j.other)
	}
	pa, err := r.a.piece(ctx, wantA)
	if err != nil {
		return nil, err
	}
	defer pa.close()
	pb, err := r.b.piece(ctx, wantB)
	if err != nil {
		return nil, err
	}
	defer pb.close()
	eq := make([]*equation, l.Groups)
	for g := range eq {
		eq[g] = &equation{linalg.NewLeastSquares(l.In+1, l.Out, r.pool), linalg.NewLeastSquares(l.In+1, l.Out, r.pool), make([]float64, l.Out)}
	}
	n := len(r.b.values)
	per := r.rowsPerSample(l, n)
	every := max(int(1/r.o.Held+0.5), 2)
	var skip error // the walk goes on all the same: later layers need what comes behind
	for lo := 0; lo < n; lo += chunkSamples {
		hi := min(lo+chunkSamples, n)
		parts := make([]*sampleRows, hi-lo)
		errs := make([]error, hi-lo)
		r.pool.For(hi-lo, 1, func(_, a, b int) {
			for k := a; k < b; k++ {
				parts[k], errs[k] = r.sample(ctx, j, pa, pb, lo+k, per)
			}
		})
		for k, err := range errs {
			var s errSkip
			if errors.As(err, &s) {
				skip = err
			} else if err != nil {
				return nil, &SampleError{r.c.name, lo + k, err}
			}
		}
		if skip != nil {
			continue
		}
		isHeld := func(k int) bool { return n >= every && (lo+k)%every == every-1 }
		for g := range eq {
			add(eq[g].fit, parts, g, l, func(k int) bool { return !isHeld(k) })
			add(eq[g].held, parts, g, l, isHeld)
		}
		for k, p := range parts {
			if isHeld(k) {
				for i := range p.count {
					for g := range eq {
						for q, v := range p.t[(i*l.Groups+g)*l.Out:][:l.Out] {
							eq[g].mean[q] += v
						}
					}
				}
			}
		}
	}
	return eq, skip
}

// rowsPerSample spreads the positions over the samples.
func (r *refit) rowsPerSample(l *Linear, samples int) int {
	rows := r.o.Rows
	if rows == 0 {
		rows = min(max(8000, 6*l.In), 32768)
	}
	return max((rows+samples-1)/samples, 1)
}

// sampleRows are the rows of one sample: x is [Groups][count][In+1], t is [count][Groups*Out].
type sampleRows struct {
	count int
	x, t  []float64
}

// sample runs a sample through both pieces and reads some positions.
func (r *refit) sample(ctx context.Context, j *refitJob, pa, pb *piece, sample, most int) (*sampleRows, error) {
	va, err := pa.run(ctx, sample)
	if err != nil {
		return nil, err
	}
	vb, err := pb.run(ctx, sample)
	if err != nil {
		return nil, err
	}
	a, b := tensors(va), tensors(vb)
	if a[0] == nil || b[0] == nil {
		return nil, errSkip{errors.New("it was not computed on all samples")}
	}
	l := j.linear
	rows, err := l.rowsOf(b[0], a[0].Shape())
	if err != nil {
		return nil, errSkip{err}
	}
	t, err := l.targetsOf(a[0], b[0].Shape())
	if err != nil {
		return nil, errSkip{err}
	}
	if err := fits(j, rows, t); err != nil {
		return nil, errSkip{err}
	}
	var plus, minus *targets
	if j.other != nil && a[1] != nil && b[1] != nil {
		plus, _ = l.targetsOf(a[1], b[0].Shape())
		minus, _ = l.targetsOf(b[1], b[0].Shape())
		if plus == nil || minus == nil || len(plus.y) != len(t.y) || minus.m != l.Channels() || len(minus.y)*t.m != len(t.y)*minus.m {
			plus, minus = nil, nil // the Add broadcasts
		}
	}
	places := pick(rows.count, most, r.o.Seed, sample)
	s := &sampleRows{count: len(places), x: make([]float64, l.Groups*len(places)*(l.In+1)), t: make([]float64, len(places)*l.Groups*l.Out)}
	bias := 0.0
	if l.HasBias() {
		bias = 1
	}
	for i, p := range places {
		for g := range l.Groups {
			dst := s.x[(g*len(places)+i)*(l.In+1):][:l.In+1]
			rows.fill(p, g, dst[:l.In])
			dst[l.In] = bias
		}
		out := s.t[i*l.Groups*l.Out:][:l.Groups*l.Out]
		t.add(p, j.layer.Keep, 1, out)
		if plus != nil {
			plus.add(p, j.layer.Keep, 1, out)
			minus.add(p, nil, -1, out)
		}
	}
	if !linalg.Finite(s.x) || !linalg.Finite(s.t) {
		return nil, errSkip{errors.New("values on the data are NaN or infinite")}
	}
	return s, nil
}

// fits checks that rows of the input stand beside rows of the target.
func fits(j *refitJob, rows *rows, t *targets) error {
	l := j.linear
	m := l.Channels()
	if k := j.layer.Keep; k != nil {
		if slices.Max(k) >= t.m || slices.Min(k) < 0 {
			return fmt.Errorf("its target has %d channels", t.m)
		}
	} else if t.m != m {
		return fmt.Errorf("its target has %d channels and not %d", t.m, m)
	}
	have := rows.count
	if l.kind == convTranspose {
		have *= l.perChannel()
	}
	if len(t.y) != have*t.m {
		return fmt.Errorf("its target has another shape")
	}
	return nil
}

// pick chooses positions of a sample: all, or one at random from each of equal parts.
func pick(count, most int, seed uint64, sample int) []int {
	r := make([]int, 0, min(count, most))
	if count <= most {
		for i := range count {
			r = append(r, i)
		}
		return r
	}
	rng := rand.New(rand.NewPCG(seed, uint64(sample)))
	for i := range most {
		lo, hi := i*count/most, (i+1)*count/most
		r = append(r, lo+rng.IntN(hi-lo))
	}
	return r
}

// add gathers group g of the samples that use says yes to into one block of rows, and adds that.
func add(s *linalg.LeastSquares, parts []*sampleRows, g int, l *Linear, use func(int) bool) {
	var x, t []float64
	rows := 0
	for k, p := range parts {
		if !use(k) {
			continue
		}
		rows += p.count
		x = append(x, p.x[g*p.count*(l.In+1):][:p.count*(l.In+1)]...)
		for i := range p.count {
			t = append(t, p.t[(i*l.Groups+g)*l.Out:][:l.Out]...)
		}
	}
	if rows > 0 {
		s.Add(linalg.Of(rows, l.In+1, x).View(), linalg.Of(rows, l.Out, t).View())
	}
}

// lambdas are the ridges tried, the weakest first.
func lambdas(unknowns int) []float64 {
	if unknowns > 1500 { // each takes a factorization of this size
		return []float64{1e-3, 1e-1}
	}
	return []float64{1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1}
}

// solve chooses the ridge, solves and makes the change.
func (r *refit) solve(j *refitJob, eq []*equation, res RefitResult) (RefitResult, error) {
	l := j.linear
	if fit := eq[0].fit.Rows; fit < int64(l.In+1) {
		res.Refused = fmt.Sprintf("%d rows of data are too few for %d unknowns", fit, l.In+1)
		return res, nil
	}
	prior, err := l.Weights()
	if err != nil {
		res.Refused = err.Error()
		return res, nil
	}
	total := 0.0
	for g, e := range eq {
		judge := e.judge()
		res.Before += judge.Error(prior[g])
		total += e.variance()
	}
	best := math.Inf(1)
	for _, lambda := range lambdas(l.In) {
		now := 0.0
		for g, e := range eq {
			w, err := r.solveGroup(j, e.fit, prior[g], lambda, g)
			if err != nil {
				res.Refused = err.Error()
				return res, nil
			}
			now += e.judge().Error(w)
		}
		if now < best*0.999 {
			best, res.Lambda = now, lambda
		}
	}
	scale := 1 / max(total, 1e-300)
	res.After = best * scale
	res.Before *= scale
	if !(best < res.Before/scale) {
		res.Refused = "it gains nothing on the data kept back"
		res.After = res.Before
		return res, nil
	}
	next := make([]linalg.Matrix[float64], l.Groups)
	for g, e := range eq {
		if next[g], err = r.solveGroup(j, e.fit.Plus(e.held), prior[g], res.Lambda, g); err != nil {
			res.Refused = err.Error()
			return res, nil
		}
	}
	apply := r.o.Apply
	if apply == nil {
		apply = func(_ RefitLayer, edit func()) { edit() }
	}
	apply(j.layer, func() {
		if err := l.SetWeights(next); err != nil {
			res.Refused = err.Error()
		}
	})
	return res, nil
}

// judge is the equations that errors are measured with: those kept back, or all there are where the set is too small to divide.
func (e *equation) judge() *linalg.LeastSquares {
	if e.held.Rows == 0 {
		return e.fit
	}
	return e.held
}

// variance is the sum of squares of the targets about their means.
func (e *equation) variance() float64 {
	s := 0.0
	for _, v := range e.judge().Squares {
		s += v
	}
	if e.held.Rows > 0 {
		for _, m := range e.mean {
			s -= m * m / float64(e.held.Rows)
		}
	}
	return s
}

func (r *refit) solveGroup(j *refitJob, s *linalg.LeastSquares, prior linalg.Matrix[float64], lambda float64, g int) (linalg.Matrix[float64], error) {
	ridge := linalg.Ridge{Lambda: lambda, Prior: prior, Free: 1}
	if j.layer.Mask == nil {
		return s.Solve(ridge)
	}
	l := j.linear
	mask := make([]bool, (l.In+1)*l.Out)
	for i := range l.In {
		for k := range l.Out {
			mask[i*l.Out+k] = j.layer.Mask[l.place(g, i, k)]
		}
	}
	for k := range l.Out {
		mask[l.In*l.Out+k] = true
	}
	return s.SolveMasked(ridge, mask)
}
