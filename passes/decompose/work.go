package decompose

import (
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/dequantize"
)

// work is one run of the pass.
type work struct {
	c        *passes.Context
	m        *ir.Model
	o        Options
	data     *measured.Calibration // nil: none
	original *ir.Model
	pool     *par.Pool
	layers   []*layer
	refits   []measured.RefitLayer // of layers that are not decomposed
	macs     int64                 // of the original
	bytes    int64
	worst    float64
	why      []string // for what reasons layers cannot be decomposed
	// fit and held are the places of samples that layers are fitted on, and of those held back.
	fit, held []int
	ref       *measured.Reference // the original on the samples that layers are probed with; nil without data
	// dequantized counts the operands that were made floats.
	dequantized int
}

func (w *work) run() error {
	w.pool = par.New(runtime.GOMAXPROCS(0))
	if w.data != nil {
		w.pool = par.New(w.data.Threads())
		w.fit, w.held = w.data.HoldBack()
	}
	w.worst = w.o.MaxDrift
	if w.worst == 0 || w.data == nil {
		w.worst = math.Inf(1)
	}
	if err := w.find(); err != nil {
		return err
	}
	if len(w.layers) == 0 {
		w.none()
		return nil
	}
	if err := w.moments(); err != nil {
		return err
	}
	if w.offer(); len(w.layers) == 0 {
		w.none()
		return nil
	}
	if err := w.probe(); err != nil {
		return err
	}
	met, err := w.settle()
	if err != nil {
		return err
	}
	if err := w.replace(); err != nil {
		return err
	}
	drift := ""
	results, err := w.refit(&drift)
	if err != nil {
		return err
	}
	w.tell(met, results)
	if w.data != nil && drift == "" {
		if drift, err = w.drift(w.m); err != nil {
			return err
		}
	}
	if drift != "" {
		w.c.Note(drift)
	}
	return nil
}

// refuse remarks that a layer cannot be decomposed.
func (w *work) refuse(n *ir.Node, why error) {
	w.c.Remark(n, "decompose", why.Error())
	w.why = append(w.why, why.Error())
}

// none says that no layer can be decomposed, and what stood in the way of most.
func (w *work) none() {
	count, most := map[string]int{}, ""
	for _, s := range w.why {
		if count[s]++; count[s] > count[most] {
			most = s
		}
	}
	text := "no layer can be decomposed"
	if most != "" {
		text += fmt.Sprintf(": of %d layers, %d because %s (--remarks lists all)", len(w.why), count[most], most)
	}
	w.c.Note(text)
	if w.dequantized > 0 {
		w.c.Note(fmt.Sprintf("%d quantized weights and biases are floats now", w.dequantized))
	}
}

// drift says how far the outputs of m are from the original's, on samples that nothing in it was fitted on if there are enough.
func (w *work) drift(m *ir.Model) (string, error) {
	on, what := w.data.Pick(measured.Spread(w.held, w.probes(2))), " that nothing was fitted on"
	if len(w.held) < few {
		on, what = w.data.Limit(w.probes(2)), ""
	}
	d, err := on.Divergence(w.c.Context(), w.original, m)
	return "outputs beside the original's: " + d.String() + what, err
}

// few is the number of samples held back below which all are looked at.
const few = 4

// probes is the number of samples for a measurement that runs so many models.
func (w *work) probes(models int) int {
	each := float64(max(w.macs, 1e5)) * float64(models)
	return int(math.Min(math.Max(probeMACs/each, 16), 100))
}

// find lists the layers of the main graph.
func (w *work) find() error {
	w.dequantize()
	types, r, err := fixedTypes(w.c.Context(), w.m, w.data)
	if err != nil {
		return err
	}
	w.macs, w.bytes = r.MACs, r.Constants.Bytes
	w.original = w.m.Clone()
	forms := w.original.Main.NodeList()
	at := 0
	for n := range w.m.Main.Nodes() {
		form := forms[at]
		at++
		if !n.Is("Conv", "ConvTranspose", "Gemm", "MatMul") {
			continue
		}
		if _, err := measured.LinearOf(n); err == nil {
			w.refits = append(w.refits, measured.RefitLayer{Node: n, Target: form.Result(0)})
		}
		if !w.c.Enabled("decompose", n) {
			continue
		}
		l, err := newLayer(n, form, types, w.pool)
		if err != nil {
			w.refuse(n, err)
			continue
		}
		w.layers = append(w.layers, l)
	}
	for n := range w.m.Nodes() {
		if n.Graph() != w.m.Main && n.Is("Conv", "ConvTranspose", "Gemm", "MatMul") {
			w.refuse(n, errors.New("it stands in a subgraph or function; inline them first"))
		}
	}
	return nil
}

// dequantize makes constants of weights and biases that DequantizeLinear computes from constants.
func (w *work) dequantize() {
	for n := range w.m.Main.Nodes() {
		if n.Is("Conv", "ConvTranspose", "Gemm", "MatMul") && w.c.Enabled("decompose", n) {
			w.dequantized += dequantize.Operands(w.c, n)
		}
	}
}

// moments gathers what the layers read.
func (w *work) moments() error {
	seen := make([]*measured.Moments, len(w.layers))
	if w.data != nil {
		var ls []*measured.Linear
		var at []int
		for i, l := range w.layers {
			if l.linear != nil && l.linear.In <= maxColumns {
				ls, at = append(ls, l.linear), append(at, i)
			}
		}
		ms, err := w.data.Pick(measured.Spread(w.fit, momentSamples)).MomentsOf(w.c.Context(), w.original, ls, momentRows)
		if err != nil {
			return err
		}
		for i, m := range ms {
			seen[at[i]] = m
		}
	}
	for i, l := range w.layers {
		m := seen[i]
		l.settle(m)
		if m == nil || m.Refused != "" || m.Rows == 0 {
			continue
		}
		for g, h := range m.H {
			p, err := newProblem(h, mul(h, l.weight[g], w.pool), m.Rows, l.weight[g], 1e-4, l.size.c, w.pool)
			if err != nil {
				l.data = nil
				break
			}
			l.data = append(l.data, p)
		}
	}
	return nil
}

// Bounds of the data looked at before anything is changed.
const (
	momentSamples = 128
	momentRows    = 4096
	maxColumns    = 2400 // a layer's matrices have so many squared elements, and those of all layers are held at once
)

// offer works out the ways to write each layer, and drops those that have none.
func (w *work) offer() {
	var keep []*layer
	why := make([]error, len(w.layers))
	ctx := w.c.Context() // w.c itself is for one goroutine
	w.pool.For(len(w.layers), 1, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			if why[i] = ctx.Err(); why[i] == nil {
				why[i] = w.layers[i].makeLevels(w.o.kinds(), w.o)
			}
		}
	})
	for i, l := range w.layers {
		if why[i] != nil {
			w.refuse(l.node, why[i])
			continue
		}
		keep = append(keep, l)
	}
	w.layers = keep
}

// probeMACs bounds the multiply-accumulates of all probes.
const probeMACs = 20e9

// probe measures how far each layer alone moves the outputs.
func (w *work) probe() error {
	if w.data == nil || len(w.layers) == 0 {
		return nil
	}
	var err error
	if w.ref, err = w.data.Limit(w.probes(len(w.layers)+1)).Reference(w.c.Context(), w.original); err != nil {
		return err
	}
	for _, l := range w.layers {
		if err := w.c.Err(); err != nil {
			return err
		}
		l.best = l.middle()
		fs, err := l.fitted(l.best)
		if err != nil {
			return err
		}
		e := l.errorOf(fs, l.judge())
		d, err := w.apart([]*layer{l})
		if err != nil {
			return err
		}
		l.perError, l.best = d/math.Max(noise(e), 1e-9), nil
	}
	return nil
}

// apart is how far the outputs move if the layers are written as chosen for them, before any repair but that of biases.
func (w *work) apart(layers []*layer) (float64, error) {
	m, same := w.original.CloneMap()
	for _, l := range layers {
		fs, err := l.fitted(l.best)
		if err != nil {
			return 0, err
		}
		ts, err := l.tensors(l.parts(fs))
		if err != nil {
			return math.Inf(1), nil
		}
		alone := *l
		alone.node, alone.made = same[l.form.Result(0)].Node(), nil
		if alone.node == nil { // its result got another name, as the result of a layer that was placed before
			continue
		}
		alone.place(fs, ts)
		if l.data != nil {
			if err := alone.change(fs, alone.biases(fs, l.data)); err != nil {
				return math.Inf(1), nil
			}
		}
	}
	d, err := w.ref.Divergence(w.c.Context(), m)
	return d.Loss(), err
}

// middle is the level nearest to half of the layer's cost.
func (l *layer) middle() *level {
	half := float64(l.asIs().macs) / 2
	best := &l.levels[0]
	for i := range l.levels {
		v := &l.levels[i]
		a, b := math.Abs(float64(v.macs)-half), math.Abs(float64(best.macs)-half)
		if a < b || a == b && v.err < best.err {
			best = v
		}
	}
	return best
}

// biases are the layer as a whole with the biases that make up for the mean of the error.
func (l *layer) biases(fs []*factors, p []*problem) []matrix {
	r := make([]matrix, len(fs))
	for g, f := range fs {
		r[g] = p[g].withBias(f.expand())
	}
	return r
}

// choose settles the level of each layer, and reports whether the budget is met.
func (w *work) choose() bool {
	switch {
	case w.o.Energy > 0:
		byEnergy(w.layers, w.o.Energy, w.worst)
	case w.o.Rank != Rank{}:
		byEnergy(w.layers, math.Inf(-1), w.worst)
	case w.o.Bytes > 0:
		return allocate(w.layers, budget{w.o.Bytes, func(v level) int64 { return v.params * 4 }, w.bytes, "bytes"}, w.worst)
	default:
		return allocate(w.layers, budget{w.o.MACs, func(v level) int64 { return v.macs }, w.total(), "macs"}, w.worst)
	}
	return true
}

// total is the MACs of the model; where sizes are not known, of what is known of it.
func (w *work) total() int64 {
	known := int64(0)
	for _, l := range w.layers {
		known += l.asIs().macs
	}
	return max(w.macs, known)
}

// replace makes the chosen layers.
func (w *work) replace() error {
	for _, l := range w.layers {
		if l.best == nil {
			continue
		}
		fs, err := l.fitted(l.best)
		if err != nil {
			return fmt.Errorf("%s: %w", l.node.Name(), err)
		}
		ts, err := l.tensors(l.parts(fs))
		if err != nil {
			w.c.Remark(l.node, "decompose", err.Error())
			l.best = nil
			continue
		}
		l.now = fs
		node, weight := l.node, l.node.Operand(1)
		done := w.c.Rewrite("decompose", node, nil, func() {
			l.place(fs, ts)
			if l.data != nil {
				_ = l.change(fs, l.biases(fs, l.data)) // else the bias stays
			}
			measured.Drop(weight)
		})
		if !done {
			l.best, l.made = nil, nil
		}
	}
	return nil
}

// refit repairs what was made, and all other layers. What the outputs then are on samples kept back goes to drift.
func (w *work) refit(drift *string) ([]measured.RefitResult, error) {
	if w.data == nil || !w.o.Refit {
		return nil, nil
	}
	var list []measured.RefitLayer
	any := false
	for _, l := range w.layers {
		any = any || l.best != nil
		if l.best != nil && l.linear != nil {
			list = append(list, measured.RefitLayer{Node: l.made[len(l.made)-1], Target: l.form.Result(0), Chain: w.chain(l)})
		}
	}
	if !any {
		return nil, nil
	}
	for _, r := range w.refits {
		if !r.Node.Dead() {
			list = append(list, r)
		}
	}
	return measured.Refit(w.c.Context(), w.original, w.m, list, w.data, measured.RefitOptions{
		Judges: w.probes(len(list)),
		Judged: func(m *ir.Model) (err error) {
			*drift, err = w.drift(m)
			return err
		},
		Apply: func(l measured.RefitLayer, edit func()) { w.c.Rewrite("refit", l.Node, nil, edit) },
	})
}

// chain says how a decomposed layer is fit.
func (w *work) chain(l *layer) *measured.Chain {
	sweeps := 3
	if float64(l.size.columns())*float64(l.size.columns())*float64(l.size.o) > exactWork {
		sweeps = 1
	}
	return &measured.Chain{
		Input: l.made[0].Operand(0), Form: l.form, Lambdas: []float64{1e-4, 1e-2, 1e-1},
		Now: l.whole,
		Solve: func(eq []*linalg.LeastSquares, prior []matrix, lambda float64) ([]matrix, func() error, error) {
			ps := make([]*problem, len(eq))
			for g, s := range eq {
				p, err := newProblem(s.Normal(), s.G, s.Rows, prior[g], lambda, l.size.c, w.pool)
				if err != nil {
					return nil, nil, err
				}
				ps[g] = p
			}
			fs := clone(l.now)
			if err := improve(fs, ps, sweeps); err != nil {
				return nil, nil, err
			}
			now := l.biases(fs, ps)
			return now, func() error {
				l.now = fs
				return l.change(fs, now)
			}, nil
		},
	}
}

// tell reports what was done.
func (w *work) tell(met bool, results []measured.RefitResult) {
	after := map[*ir.Node]measured.RefitResult{}
	for _, r := range results {
		after[r.Layer.Node] = r
		if r.Refused != "" && !r.Layer.Node.Dead() {
			w.c.Remark(r.Layer.Node, "refit", r.Refused)
		}
	}
	rows := [][]string{{"layer", "method", "rank", "error", "MACs", "", "drift alone"}}
	saved := int64(0)
	for _, l := range w.layers {
		if l.best == nil {
			w.c.Remark(l.node, "decompose", l.why(w.worst, w.o, met))
			continue
		}
		was := l.asIs()
		saved += was.macs - l.best.macs
		e := l.best.err
		if r, ok := after[l.made[len(l.made)-1]]; ok && r.Refused == "" {
			e = r.After
		}
		drift := "-"
		if w.data != nil {
			drift = fmt.Sprintf("%.2g", l.damage(l.best))
		}
		rows = append(rows, []string{label(l.form), l.best.kind.String(), l.best.rank.String(), fmt.Sprintf("%.3f", e),
			fmt.Sprint(was.macs), fmt.Sprintf("-> %d", l.best.macs), drift})
	}
	if len(rows) > 1 {
		w.c.Note(table(rows))
	}
	total := w.total()
	if total > 0 {
		w.c.Note(fmt.Sprintf("%d of %d layers that could be decomposed were; %.3f of the MACs remain", len(rows)-1, len(w.layers), 1-float64(saved)/float64(total)))
	}
	if !met {
		w.c.Note("the budget is not met: the other layers are refused, see --remarks; a larger max-drift lets more of them through")
	}
	if w.dequantized > 0 {
		w.c.Note(fmt.Sprintf("%d quantized weights and biases are floats now", w.dequantized))
	}
	if w.data == nil {
		w.c.Note("without calibration data (--calib) the weights alone decided, and nothing was repaired")
	}
}

// label is the node's name, or that of its result; of a long one, as converters make them, the end.
func label(n *ir.Node) string {
	s := n.Name()
	if s == "" {
		s = n.Result(0).Name()
	}
	if r := []rune(s); len(r) > 48 {
		s = "..." + string(r[len(r)-45:])
	}
	return s
}
