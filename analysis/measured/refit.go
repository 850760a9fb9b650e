package measured

import (
	"context"
	"errors"
	"fmt"
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
	// Choose, where it is not nil, is called before the layer is solved, with its normal equations by group and its weights as Linear.Weights
	// gives them, which it may change. It tells which weights may differ from zero, in the order of these matrices, and what solving begins
	// with, which may be nil. The layer then gets new weights even if nothing is gained.
	Choose func(eq []*linalg.LeastSquares, w []linalg.Matrix[float64]) (masks [][]bool, start []linalg.Matrix[float64])
	// Chain, where it is not nil, says that the layer is a chain of nodes that ends in Node and computes together what one layer would.
	Chain *Chain
}

// A Chain is some layers in a row, nothing between them, that are refit as the one layer that they stand for.
type Chain struct {
	// Input is the chain's input in the compressed model.
	Input *ir.Value
	// Form is a layer, of any model, whose operator, attributes and sizes the chain has; its weights are what the ridge draws to.
	Form *ir.Node
	// Solve fits the chain: eq has the normal equations of each group of Form, prior the weights of Form, lambda the weight of the ridge in
	// units of the mean of H's diagonal. It returns what the chain then is as one layer, and what makes the change.
	Solve func(eq []*linalg.LeastSquares, prior []linalg.Matrix[float64], lambda float64) (now []linalg.Matrix[float64], change func() error, err error)
	// Lambdas are the ridges to try; the weakest first.
	Lambdas []float64
	// Now tells what the chain is now, as one layer; it keeps that if no fit is better.
	Now func() ([]linalg.Matrix[float64], error)
}

// input is the value that the layer reads.
func (l RefitLayer) input() *ir.Value {
	if l.Chain != nil {
		return l.Chain.Input
	}
	return l.Node.Operand(0)
}

// RefitOptions say how layers are repaired. The zero value is usable.
type RefitOptions struct {
	// Rows is the number of positions that a layer's equations are made of at most; 0: 12 for each unknown, at least 24000, at most 32768.
	Rows int
	// Rounds is the number of targets that are set behind a rectifier; 0: 8.
	Rounds int
	// Lambdas are the ridges to try, the weakest first; nil: what the size of a layer permits.
	Lambdas []float64
	// Record, where it is not nil, has the values of the original on the samples to fit on, which are those used then.
	Record *Record
	// Judges is the number of those that the outputs of the whole model are judged on, once or twice for each layer; 0: all.
	Judges int
	// Unguarded leaves out to judge the outputs of the whole model.
	Unguarded bool
	// Memory bounds the activations that are held, in bytes; fewer samples are used where they would take more. 0: 768 MB.
	Memory int64
	Seed   uint64
	// Judged, where it is not nil, gets the repaired model as its outputs were judged, in which no layer was fitted on the samples kept back:
	// what it does on those tells of others. It is not called where there are too few of them to judge on.
	Judged func(*ir.Model) error
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
	// Same reports that the layer was not looked at, because neither it nor what it reads was changed.
	Same bool
	// Halved reports that the layer got half of the change: the outputs of the model on data kept back are better so.
	Halved bool
	// Compensated reports that the error of the other branch of a residual Add went into the target.
	Compensated bool
}

// Refit gives the layers of the compressed model new weights, one after another in the order of the graph: each is the least-squares
// solution for reproducing the original's values from what the layer now gets, with the layers before it already repaired. Where a
// layer's result goes into an Add only, the target is the original's sum less what the other branch now gives. Biases are fit, too.
//
// It is the layer-wise reconstruction of He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017),
// and of the asymmetric reconstruction of Zhang et al., "Accelerating Very Deep Convolutional Networks" (2015), with a ridge that
// draws to the weights there were. Samples are kept back at first. The ridge is chosen by the error on those; a layer that
// gains nothing on them keeps its weights; else it is solved once more on all samples. A layer keeps its weights, too, or gets half of the
// change, where the outputs of the whole model on those samples are better so, with the weights found without them (guard.go). Behind a rectifier or a Softmax, rounds of new targets make what comes behind it right (rectify.go).
//
// Activations are held for the values between two layers only, and both models run once over the data altogether, and over what is kept back
// once or twice for each layer. Layers before the first change are left alone.
func Refit(ctx context.Context, original, compressed *ir.Model, layers []RefitLayer, c *Calibration, o RefitOptions) ([]RefitResult, error) {
	if len(layers) == 0 {
		return nil, nil
	}
	r := &refit{o: o, c: c, pool: par.New(c.Threads())}
	if r.o.Memory == 0 {
		r.o.Memory = 768 << 20
	}
	layers = inOrder(compressed, layers)
	for _, l := range layers {
		r.plan(l)
	}
	same := counterparts(original, compressed)
	r.unchanged(compressed, same)
	if o.Record == nil {
		if err := r.read(ctx); err != nil {
			return nil, err
		}
	} else {
		r.held = make([]bool, len(o.Record.values))
		_, held := New(nil, nil, 1, Total(len(r.held))).HoldBack()
		for _, i := range held {
			r.held[i] = true
		}
	}
	var err error
	if r.guard, err = r.watch(ctx, original, compressed); err != nil {
		return nil, err
	}
	var targets, inputs []*ir.Value
	for _, j := range r.jobs {
		if j.same && !j.beside {
			continue
		}
		targets = append(targets, j.layer.Target, j.otherTarget)
		inputs = append(inputs, j.layer.input(), j.other)
	}
	r.b = newWalker(compressed, c.engine, inputs, r.samples)
	if o.Record == nil {
		r.a = newWalker(original, c.engine, targets, r.samples)
	} else {
		r.a = o.Record.walker()
		o.Record.beside(r.b, same)
	}
	r.samples = nil
	var results []RefitResult
	for i := range r.jobs {
		res, err := r.layer(ctx, i)
		if err != nil {
			return results, err
		}
		results = append(results, res)
	}
	return results, r.settle(ctx, results)
}

// settle takes changes back that the outputs of the whole model are better without.
func (r *refit) settle(ctx context.Context, results []RefitResult) error {
	if r.guard == nil {
		return nil
	}
	judged, err := r.guard.settle(ctx)
	if err != nil {
		return err
	}
	if r.o.Judged != nil {
		if err := r.o.Judged(judged); err != nil {
			return err
		}
	}
	for _, d := range r.guard.done {
		if d.share == 1 {
			continue
		}
		res := &results[d.result]
		r.apply(d.job, res, func() error {
			d.at(d.share, d.after).set(d.after.nodes)
			res.judged(d.share)
			return nil
		})
	}
	return nil
}

// judged notes what share of the change stays.
func (res *RefitResult) judged(share float64) {
	if res.Halved = share == 0.5; share == 0 {
		res.Refused = worse
	}
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
	room    room
	held    []bool // by sample: it is kept back
	places  []int  // of the samples in the set; nil: in order
	guard   *guard // nil: none
}

// refitJob is a layer on its way.
type refitJob struct {
	layer  RefitLayer
	linear *Linear
	why    error
	bias   bool      // the layer can carry one
	same   bool      // neither it nor what it reads has changed
	beside bool      // what it is added to has
	result *ir.Value // of the layer, its bias included
	// other is the value that the layer's result is added to, otherTarget that of the original; nil where there is no such Add.
	other, otherTarget *ir.Value
}

// maxUnknowns bounds the columns of a layer: four matrices of so many squared are held, 1.2 GB.
const maxUnknowns = 6144

// maxWeights bounds the weights of a layer: four matrices of so many elements are held, 0.6 GB.
const maxWeights = 1<<24 + 1<<20

// plan looks at a layer before anything runs.
func (r *refit) plan(l RefitLayer) {
	j := &refitJob{layer: l}
	form := l.Node
	if l.Chain != nil {
		form = l.Chain.Form
	}
	j.linear, j.why = LinearOf(form)
	if j.why == nil && j.linear.In > maxUnknowns {
		j.why = fmt.Errorf("equations with %d unknowns take too much memory; %d are the most", j.linear.In, maxUnknowns)
	}
	if j.why == nil && j.linear.Groups*j.linear.In*j.linear.Out > maxWeights {
		j.why = fmt.Errorf("equations for %d weights take too much memory; %d are the most", j.linear.Groups*j.linear.In*j.linear.Out, maxWeights)
	}
	result := l.Node.Result(0)
	j.bias = !l.Node.Is("MatMul")
	if sum, target := biasAdd(result), biasAdd(l.Target); !j.bias && sum != nil && target != nil { // the bias of a MatMul stands in an Add
		result, j.layer.Target, j.bias = sum, target, true
	}
	j.result = result
	j.other, j.otherTarget = addedTo(result), addedTo(j.layer.Target)
	if j.other == nil || j.otherTarget == nil {
		j.other, j.otherTarget = nil, nil
	}
	r.jobs = append(r.jobs, j)
}

// unchanged marks the layers that read what they read in the original, with the weights that they had there, and are to keep them.
func (r *refit) unchanged(m *ir.Model, same map[*ir.Value]*ir.Value) {
	choose := map[*ir.Node]bool{}
	for _, j := range r.jobs {
		if j.layer.Choose != nil {
			choose[j.layer.Node] = true
		}
	}
	touched := map[*ir.Value]bool{}
	for n := range m.Main.Nodes() {
		is := choose[n]
		for _, v := range n.Operands() {
			is = is || v != nil && touched[v]
		}
		for _, v := range n.Results() {
			if v != nil && (is || same[v] == nil && v.Const() == nil) {
				touched[v] = true
			}
		}
	}
	for _, j := range r.jobs {
		j.same, j.beside = !touched[j.result], j.other != nil && touched[j.other]
	}
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

// read loads the samples, as many as fit into half of the memory, those held back last.
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
	fit, held := c.HoldBack()
	if n := int64(c.Len()); size > 0 && size*n > r.o.Memory/2 {
		most := int(max(r.o.Memory/2/size, 2))
		back := min(len(held), max(most/5, 1))
		fit, held = Spread(fit, most-back), Spread(held, back)
	}
	for _, at := range [][]int{fit, held} {
		if len(at) == 0 {
			continue
		}
		for in, err := range c.Pick(at).Each(ctx) {
			if err != nil {
				return err
			}
			r.samples = append(r.samples, in)
		}
	}
	if len(r.samples) == 0 {
		return fmt.Errorf("%s: %w", c.name, errEmpty)
	}
	r.places = append(fit, held...)
	r.held = make([]bool, len(r.samples))
	for i := len(fit); i < len(r.held); i++ {
		r.held[i] = true
	}
	return nil
}

// shrink drops samples where the activations take too much memory.
func (r *refit) shrink() {
	n := len(r.b.values)
	each := r.a.bytes(0) + r.b.bytes(0)
	if r.o.Record != nil || each == 0 || each*int64(n) <= r.o.Memory {
		return
	}
	keep := max(int(r.o.Memory/each), 2)
	if keep >= n {
		return
	}
	r.keep(keep)
}

// keep keeps so many samples, of both kinds.
func (r *refit) keep(n int) {
	var at, back []int
	for i, is := range r.held {
		if is {
			back = append(back, i)
		} else {
			at = append(at, i)
		}
	}
	if len(back) > 0 {
		k := max(n*len(back)/len(r.held), 1)
		back = Spread(back, k)
		n -= k
	}
	at = Spread(at, max(n, 1))
	at = append(at, back...)
	slices.Sort(at)
	pick := func(v []map[*ir.Value]ir.Datum) (k []map[*ir.Value]ir.Datum) {
		for _, i := range at {
			k = append(k, v[i])
		}
		return k
	}
	r.a.values, r.b.values = pick(r.a.values), pick(r.b.values)
	marks, places := make([]bool, len(at)), make([]int, len(at))
	for k, i := range at {
		marks[k], places[k] = r.held[i], r.place(i)
	}
	r.held, r.places = marks, places
}

// place is where sample i stands in the set.
func (r *refit) place(i int) int {
	if i < len(r.places) {
		return r.places[i]
	}
	return i
}

// errSkip wraps why a layer is refused while the walk goes on.
type errSkip struct{ error }

func (r *refit) layer(ctx context.Context, i int) (RefitResult, error) {
	j := r.jobs[i]
	res := RefitResult{Layer: j.layer}
	r.compensate(i)
	if j.same && (j.other == nil || !j.beside) {
		res.Same, res.Refused = true, "neither it nor what it reads has changed"
		return res, nil
	}
	if j.why == nil && !r.selected(j) {
		j.why = errors.New("its result is not what the pairing says")
	}
	if j.why != nil {
		res.Refused = j.why.Error()
		return res, nil
	}
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
	res.Rows = int(eq.fit[0].Rows + eq.held[0].Rows)
	return r.solve(j, i, eq, res)
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
		if !k.same && needs[k.layer.Node] {
			j.other, j.otherTarget = nil, nil
			return
		}
	}
}
