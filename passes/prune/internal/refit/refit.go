package refit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// Task is one refit.
type Task struct {
	Original *ir.Model
	Model    *ir.Model // is edited: weights and biases of its layers
	// Of is the value of the original that a value of the model stands for, nil if there is none.
	Of func(*ir.Value) *ir.Value
	// Keep lists the channels of a layer's result that are left of the original's; nil: all. May be nil.
	Keep func(l *Layer) []int
	// Choose is called before a layer is solved, with its normal equations by group and its weights, which it may change. It returns which
	// weights may differ from zero, n by m of each group in row-major order; nil: all. May be nil.
	Choose func(l *Layer, eq []*linalg.LeastSquares, w []linalg.Matrix[float64]) [][]bool
	// Skip reports whether a layer keeps its weights. May be nil.
	Skip func(l *Layer) bool

	// Reference, if not nil, has the values of Original on Samples from refits before.
	Reference *Reference

	Samples []map[string]ir.Datum
	Engine  engine.Engine
	Pool    *par.Pool
	Rows    int // that a layer is fitted on, at least if there are so many; 0: what the size of the problem asks for
	Rounds  int // of targets behind a rectifier; 0: 8
	Seed    uint64
	Edit    func(l *Layer, set func() error) error // wraps each change; nil: none
}

// Outcome says what became of a layer.
type Outcome struct {
	Layer  *Layer
	Before float64 // relative squared error on data held back, with the weights there were
	After  float64
	Lambda float64
	Why    string // why it was left as it was; "" if it was fitted
}

// heldOut: one sample in so many chooses the ridge and detects overfitting.
const heldOut = 5

// lambdas are the ridges that are tried, in units of the mean square of the inputs.
var lambdas = []float64{1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1}

// fewLambdas is for problems that are dear to solve.
var fewLambdas = []float64{1e-4, 1e-2, 1e-1}

// Rounds of targets behind a rectifier, and behind a Softmax.
const (
	rounds      = 8
	classRounds = 50
)

// Layers lists the layers of a model in the order of the graph, and those nodes that multiply and are none, with the reason.
func Layers(m *ir.Model) (layers []*Layer, others map[*ir.Node]string) {
	others = map[*ir.Node]string{}
	for n := range m.Main.Nodes() {
		l, why := LayerOf(n)
		switch {
		case l != nil:
			layers = append(layers, l)
		case n.Is("Conv", "MatMul", "Gemm", "ConvTranspose", "Einsum", "GRU", "LSTM", "RNN"):
			others[n] = why
		}
	}
	return layers, others
}

// Run fits the layers of the task's model.
func Run(ctx context.Context, t Task) ([]Outcome, error) {
	layers, _ := Layers(t.Model)
	now, err := newTrack(t.Model, t.Engine, t.Pool, t.Samples)
	if err != nil {
		return nil, err
	}
	var was *track
	if t.Reference != nil {
		was = t.Reference.track
	} else if was, err = newTrack(t.Original, t.Engine, t.Pool, t.Samples); err != nil {
		return nil, err
	}
	r := &runner{Task: t, now: now, was: was, open: map[*ir.Node]bool{}}
	for _, l := range layers {
		r.open[l.Node] = true
	}
	for _, l := range layers {
		if t.Of(l.Y) != nil && (t.Skip == nil || !t.Skip(l)) {
			p := &problem{l: l, y: t.Of(l.Y)}
			p.other, p.otherWas = r.beside(l)
			r.list = append(r.list, p)
			now.want(l.X)
			was.want(p.y)
			if p.other != nil {
				now.want(p.other)
				was.want(p.otherWas)
			}
		} else {
			delete(r.open, l.Node)
		}
	}
	var out []Outcome
	for i, p := range r.list {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		o, err := r.layer(ctx, i, p)
		if err != nil {
			return out, fmt.Errorf("%s: %w", p.l.Node.Name(), err)
		}
		out = append(out, o)
	}
	return out, nil
}

type runner struct {
	Task
	now, was *track
	list     []*problem
	open     map[*ir.Node]bool // layers that are still to be fitted
	sheets   []*sheet          // rows of the layer at hand by group, if they are needed again
}

// problem is a layer with what it is fitted to.
type problem struct {
	l               *Layer
	y               *ir.Value // of the original
	other, otherWas *ir.Value // the other operand of the residual Add that takes the result
}

// beside is the other operand of the Add that alone takes l's result, if it has its shape and does not depend on l or layers after it.
func (r *runner) beside(l *Layer) (now, was *ir.Value) {
	u, ok := l.Y.OnlyUse()
	if !ok || !u.Node.Is("Add") {
		return nil, nil
	}
	o := u.Node.Operand(1 - u.Index)
	if o == nil || o.Const() != nil || r.Of(o) == nil {
		return nil, nil
	}
	return o, r.Of(o)
}

// ready reports whether v can be computed without a layer that is still to be fitted.
func (r *runner) ready(v *ir.Value) bool {
	seen := map[*ir.Node]bool{}
	stack := []*ir.Value{v}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		n := v.Node()
		if n == nil || seen[n] || r.now.done[n] || v.Const() != nil {
			continue
		}
		if r.open[n] {
			return false
		}
		seen[n] = true
		for _, o := range n.Operands() {
			if o != nil {
				stack = append(stack, o)
			}
		}
	}
	return true
}

func (r *runner) layer(ctx context.Context, index int, p *problem) (Outcome, error) {
	l := p.l
	o := Outcome{Layer: l}
	defer func() {
		delete(r.open, l.Node)
		r.now.release(l.X)
		r.was.release(p.y)
		if p.other != nil {
			r.now.release(p.other)
			r.was.release(p.otherWas)
		}
	}()
	nows, wass := []*ir.Value{l.X}, []*ir.Value{p.y}
	beside := p.other != nil && r.ready(p.other)
	if beside {
		nows, wass = append(nows, p.other), append(wass, p.otherWas)
	}
	if err := r.now.advance(ctx, nows...); err != nil {
		return o, err
	}
	if err := r.was.advance(ctx, wass...); err != nil {
		return o, err
	}
	sum := l.Y
	if beside {
		u, _ := l.Y.OnlyUse()
		sum = u.Node.Result(0)
	}
	r.sheets = nil
	var lo, hi float64
	if a, b, ok := rectifier(sum); ok && (beside || p.other == nil) && r.perSample(l)*len(r.now.values)*(l.N()+2*l.Outputs) <= maxSheet {
		lo, hi = a, b
		r.sheets = make([]*sheet, l.Groups)
		for g := range r.sheets {
			rows := r.perSample(l) * len(r.now.values)
			r.sheets[g] = &sheet{n: l.N(), m: l.Outputs, x: make([]float64, 0, rows*l.N()), s: make([]float64, 0, rows*l.Outputs)}
		}
	}
	if !beside && classes(l.Y) && l.Groups == 1 {
		r.sheets = []*sheet{{n: l.N(), m: l.Outputs, classes: true}}
	}
	fit, held, why := r.equations(index, p, beside)
	if why != "" {
		o.Why = why
		return o, nil
	}
	return o, r.solve(l, fit, held, &o, lo, hi)
}

// maxSheet bounds the numbers of rows that are held for a layer.
const maxSheet = 1 << 25

// perSample is how many rows each sample gives.
func (r *runner) perSample(l *Layer) int {
	want := r.Rows
	if want == 0 {
		want = max(16000, 12*l.N())
	}
	return max(1, (want+len(r.now.values)-1)/len(r.now.values))
}

func (r *runner) rounds(h *sheet) int {
	switch {
	case h.classes:
		return classRounds
	case r.Rounds > 0:
		return r.Rounds
	}
	return rounds
}

// equations gathers the normal equations by group: of samples to fit, and of those held back.
func (r *runner) equations(index int, p *problem, beside bool) (fit, held []*linalg.LeastSquares, why string) {
	l := p.l
	n, m := l.N(), l.Outputs
	for range l.Groups {
		fit, held = append(fit, linalg.NewLeastSquares(n, m, r.Pool)), append(held, linalg.NewLeastSquares(n, m, r.Pool))
	}
	var keep []int
	if r.Keep != nil {
		keep = r.Keep(l)
	}
	rng := rand.New(rand.NewPCG(r.Seed, uint64(index)))
	k := r.perSample(l)
	const batch = 1024 // rows that are added at once
	var rows, targets [2][][]float64
	for s := range rows {
		rows[s], targets[s] = make([][]float64, l.Groups), make([][]float64, l.Groups)
	}
	flush := func(set, g int) {
		if x := rows[set][g]; len(x) > 0 {
			eq := fit
			if set == 1 {
				eq = held
			}
			eq[g].Add(gemm.RowMajor(x, len(x)/n, n), gemm.RowMajor(targets[set][g], len(x)/n, m))
			rows[set][g], targets[set][g] = x[:0], targets[set][g][:0]
		}
	}
	for i := range r.now.values {
		x, y := r.now.tensor(i, l.X), r.was.tensor(i, p.y)
		if x == nil || y == nil {
			return nil, nil, "a sample does not reach it"
		}
		xf, err1 := floats(x)
		yf, err2 := floats(y)
		if err1 != nil || err2 != nil {
			return nil, nil, "its values are no floats"
		}
		var a, b []float32
		if beside {
			a, b = r.difference(i, p, y)
		}
		places := l.Places(y.Shape(), k, rng)
		set := 0
		if len(r.now.values) >= heldOut && i%heldOut == heldOut-1 {
			set = 1
		}
		for g := range l.Groups {
			at, to := len(rows[set][g]), len(targets[set][g])
			rows[set][g] = slices.Grow(rows[set][g], len(places)*n)[:at+len(places)*n]
			targets[set][g] = slices.Grow(targets[set][g], len(places)*m)[:to+len(places)*m]
			l.Rows(xf, x.Shape(), y.Shape(), places, g, rows[set][g][at:])
			l.Targets(yf, y.Shape(), places, g, keep, targets[set][g][to:])
			var sh *sheet
			if r.sheets != nil {
				sh = r.sheets[g]
				sh.x = append(sh.x, rows[set][g][at:]...)
			}
			if a != nil {
				d := compensate(l, a, b, y.Shape(), places, g, keep, targets[set][g][to:], sh)
				if sh != nil {
					sh.o = append(sh.o, d...)
				}
			}
			if sh != nil && a == nil {
				sh.s = append(sh.s, targets[set][g][to:]...)
			}
			if len(rows[set][g]) >= batch*n {
				flush(set, g)
			}
		}
	}
	for set := range rows {
		for g := range l.Groups {
			flush(set, g)
		}
	}
	if rows := fit[0].Rows; rows < int64(n)+int64(n)/4 {
		return nil, nil, fmt.Sprintf("%d rows are too few for %d unknowns", rows, n)
	}
	return fit, held, ""
}

// difference is what the other operand of the Add was and is, if their shapes are those of the result; nil otherwise.
func (r *runner) difference(i int, p *problem, y *ir.Tensor) (was, now []float32) {
	a, b := r.was.tensor(i, p.otherWas), r.now.tensor(i, p.other)
	if a == nil || b == nil || a.Rank() != y.Rank() || a.Len() != y.Len() || b.Rank() != y.Rank() {
		return nil, nil
	}
	was, err1 := floats(a)
	now, err2 := floats(b)
	if err1 != nil || err2 != nil {
		return nil, nil
	}
	return was, now
}

// compensate adds to targets what the other operand lacks. It returns what that is.
func compensate(l *Layer, was, now []float32, shape []int64, places []int, g int, keep []int, out []float64, sh *sheet) []float64 {
	d := make([]float64, len(out))
	l.Targets(was, shape, places, g, keep, d)
	for i, v := range d {
		out[i] += v
	}
	if sh != nil {
		sh.s = append(sh.s, out...)
	}
	if keep != nil { // the operand of the smaller model has the channels that are left, in order
		shape = append([]int64{}, shape...)
		if l.window.conv {
			shape[1] = int64(len(keep))
		} else {
			shape[len(shape)-1] = int64(len(keep))
		}
	}
	l.Targets(now, shape, places, g, nil, d)
	for i, v := range d {
		out[i] -= v
	}
	return d
}

func floats(t *ir.Tensor) ([]float32, error) {
	if t.DType() == ir.Float32 {
		return ir.Elements[float32](t)
	}
	return measured.Floats(t)
}

// solve chooses the ridge on what is held back, and sets the weights that it gives on all rows, if they are better than those there were.
func (r *runner) solve(l *Layer, fit, held []*linalg.LeastSquares, o *Outcome, lo, hi float64) error {
	w, err := l.Weights()
	if err != nil {
		return err
	}
	for _, m := range w {
		if !linalg.Finite(m.Data) {
			o.Why = "its weights are not finite"
			return nil
		}
	}
	all := make([]*linalg.LeastSquares, len(fit))
	for g := range fit {
		all[g] = fit[g].Plus(held[g])
	}
	var masks [][]bool
	if r.Choose != nil {
		masks = r.Choose(l, all, w)
	}
	free := 1
	if !l.HasBias() {
		free = 0
		if masks == nil {
			masks = make([][]bool, len(w))
		}
		for g := range masks {
			masks[g] = noBias(masks[g], l)
		}
	}
	if held[0].Rows == 0 {
		held = fit
	}
	total := 0.0
	for g := range held {
		for _, s := range held[g].Squares {
			total += s
		}
	}
	errorOf := func(x []linalg.Matrix[float64]) float64 {
		e := 0.0
		for g := range held {
			e += held[g].Error(x[g])
		}
		return e / max(total, 1e-30)
	}
	o.Before = errorOf(w)
	o.After = o.Before
	best := -1.0
	try := lambdas
	if r.Choose != nil {
		try = fewLambdas
	}
	for _, lambda := range try {
		x, err := solveAll(fit, w, masks, lambda, free, r.Pool)
		if err != nil {
			continue
		}
		if e := errorOf(x); e < o.After {
			o.After, best = e, lambda
		}
	}
	if best < 0 {
		o.After, o.Why = o.Before, "a fit is no better on data held back"
		if r.Choose == nil {
			return nil
		}
		return r.set(l, w)
	}
	o.Lambda = best
	x, err := solveAll(all, w, masks, best, free, r.Pool)
	if err != nil {
		o.Why = err.Error()
		return nil
	}
	if r.sheets != nil {
		for g := range x {
			var mask []bool
			if masks != nil {
				mask = masks[g]
			}
			x[g] = r.rectify(r.sheets[g], all[g], x[g], w[g], mask, best, free, lo, hi, r.rounds(r.sheets[g]))
		}
	}
	return r.set(l, x)
}

func (r *runner) set(l *Layer, w []linalg.Matrix[float64]) error {
	if r.Edit != nil {
		return r.Edit(l, func() error { return l.Set(w) })
	}
	return l.Set(w)
}

// noBias takes the bias out of what may differ from zero.
func noBias(mask []bool, l *Layer) []bool {
	n, m := l.N(), l.Outputs
	r := make([]bool, n*m)
	for i := range (n - 1) * m {
		r[i] = mask == nil || mask[i]
	}
	return r
}

func solveAll(eq []*linalg.LeastSquares, prior []linalg.Matrix[float64], masks [][]bool, lambda float64, free int, pool *par.Pool) ([]linalg.Matrix[float64], error) {
	out := make([]linalg.Matrix[float64], len(eq))
	for g, e := range eq {
		ridge := linalg.Ridge{Lambda: lambda, Prior: prior[g], Free: free}
		var err error
		if masks != nil {
			out[g], err = SolveMasked(e, ridge, masks[g], pool)
		} else {
			out[g], err = e.Solve(ridge)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
