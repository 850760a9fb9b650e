package prune

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/linalg"
	packed "github.com/onnxopt/onnxopt/internal/sparse"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
	"github.com/onnxopt/onnxopt/passes/internal/dequantize"
)

// plan is what a layer is to lose.
type plan struct {
	layer *measured.Linear
	was   *ir.Value // the weight, which layers may share
	w     []float64 // as the tensor has them
	zeros int       // weights that become zero
	done  bool
}

// sparse is one run of the pass on single weights.
type sparse struct {
	c     *passes.Context
	m     *ir.Model
	o     Options
	plans []*plan
	of    map[*ir.Node]*plan
	data  *data
	notes []string
	// dequantized counts the operands that were made floats.
	dequantized int
}

func unstructured(c *passes.Context, m *ir.Model, o Options) error {
	s := &sparse{c: c, m: m, o: o, of: map[*ir.Node]*plan{}}
	if err := s.collect(); err != nil {
		return err
	}
	if s.dequantized > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d quantized weights and biases are floats now", s.dequantized))
	}
	if len(s.plans) == 0 {
		c.Note(strings.Join(append([]string{"there is no layer whose weights could become zero (--remarks says why)"}, s.notes...), "\n"))
		return nil
	}
	cal, err := measured.For(c, o.Calib)
	switch {
	case errors.Is(err, measured.ErrNoData):
		if o.Importance == "taylor" || o.Importance == "obs" {
			return fmt.Errorf("importance=%s: %w", o.Importance, err)
		}
		s.notes = append(s.notes, "chosen by magnitude and not repaired, for want of calibration data (--calib)")
	case err != nil:
		return err
	default:
		if s.data, err = newData(c, m, cal); err != nil {
			return err
		}
	}
	s.allot()
	original, of := m.CloneMap()
	if s.data != nil {
		if err := s.fit(original, of); err != nil {
			return err
		}
	}
	return s.rest(original)
}

// collect finds the layers whose weights may become zero. Depthwise convolutions keep theirs: they are few, and each matters.
func (s *sparse) collect() error {
	for n := range s.m.Main.Nodes() {
		if !n.Is("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "GRU", "LSTM", "RNN") {
			continue
		}
		if s.c.Enabled("weight", n) {
			s.dequantized += dequantize.Operands(s.c, n)
		}
		l, err := measured.LinearOf(n)
		if err != nil {
			s.c.Remark(n, "weight", err.Error())
			continue
		}
		if why := s.unfit(l); why != "" {
			s.c.Remark(l.Node, "weight", why)
			continue
		}
		if _, err := l.Weights(); err != nil {
			s.c.Remark(l.Node, "weight", err.Error())
			s.notes = append(s.notes, coupling.NodeLabel(l.Node)+" stays: "+err.Error())
			continue
		}
		w, err := weights.Floats(l.Node.Operand(1).Const())
		if err != nil {
			return fmt.Errorf("weights of %s: %w", coupling.NodeLabel(l.Node), err)
		}
		p := &plan{layer: l, was: l.Node.Operand(1), w: w}
		s.plans, s.of[l.Node] = append(s.plans, p), p
	}
	return nil
}

func (s *sparse) unfit(l *measured.Linear) string {
	switch {
	case !s.c.Enabled("weight", l.Node):
		return "it is protected"
	case l.Groups > 1 && l.Inputs() == 1:
		return "it is a depthwise convolution"
	case s.o.Pattern != "none" && l.Inputs()%4 != 0:
		return fmt.Sprintf("its %d inputs are no multiple of 4", l.Inputs())
	case s.o.Pattern != "none" && l.Node.Is("ConvTranspose"):
		return "there are no sparse kernels for transposed convolutions"
	case s.o.Pattern != "none" && l.Groups > 1:
		return "it has groups, for which there are no sparse kernels"
	}
	return ""
}

// allot decides how many weights of each layer become zero, and if no data will choose, which.
func (s *sparse) allot() {
	if s.o.Pattern != "none" {
		for _, p := range s.plans {
			p.zeros = len(p.w) / 2
		}
		return
	}
	total, cut := 0, 0
	for _, p := range s.plans {
		total += len(p.w)
	}
	cut = int(math.Round(s.o.Sparsity * float64(total)))
	switch {
	case s.o.Scope == "layer":
		for _, p := range s.plans {
			p.zeros = int(math.Round(s.o.Sparsity * float64(len(p.w))))
		}
	default:
		s.threshold(cut, s.o.Scope != "global")
	}
	for _, p := range s.plans { // never a whole layer
		p.zeros = min(p.zeros, len(p.w)-max(1, len(p.w)/100))
	}
}

// threshold takes the cut smallest scores of all layers: magnitudes, or squares over the sum of those in the layer that are not smaller (LAMP:
// Lee, Park, Mo, Ahn and Shin, ICLR 2021).
func (s *sparse) threshold(cut int, lamp bool) {
	type entry struct {
		score float64
		plan  *plan
	}
	var all []entry
	for _, p := range s.plans {
		v := make([]float64, len(p.w))
		for i, x := range p.w {
			v[i] = x * x
		}
		slices.Sort(v)
		rest := 0.0
		for i := len(v) - 1; i >= 0; i-- {
			if rest += v[i]; lamp {
				v[i] /= max(rest, 1e-300)
			}
		}
		for _, x := range v {
			all = append(all, entry{x, p})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		switch {
		case a.score < b.score:
			return -1
		case a.score > b.score:
			return 1
		}
		return 0
	})
	for _, e := range all[:min(cut, len(all))] {
		e.plan.zeros++
	}
}

// fit chooses and repairs layer by layer.
func (s *sparse) fit(original *ir.Model, of map[*ir.Value]*ir.Value) error {
	ls := layers(s.m, of, nil, func(n *ir.Node) bool { return s.of[n] != nil })
	for i := range ls {
		p := s.of[ls[i].Node]
		ls[i].Choose = func(eq []*linalg.LeastSquares, w []linalg.Matrix[float64]) ([][]bool, []linalg.Matrix[float64]) {
			return p.choose(s.o, p.layer, eq, w, s.data.pool)
		}
	}
	out, err := measured.Refit(s.c.Context(), original, s.m, ls, s.data.all, measured.RefitOptions{
		Judges: s.data.judged(len(ls)), Judged: s.data.judge(original),
		Apply: func(l measured.RefitLayer, edit func()) {
			s.c.Rewrite("weight", l.Node, nil, edit)
			s.of[l.Node].done = true
		},
	})
	if err != nil {
		return err
	}
	before, after, fitted := 0.0, 0.0, 0
	for _, o := range out {
		if o.Refused != "" {
			s.c.Remark(o.Layer.Node, "repair", o.Refused)
			continue
		}
		before, after, fitted = before+o.Before, after+o.After, fitted+1
	}
	s.notes = append(s.notes, fmt.Sprintf("%d of %d layers were fitted again on %d samples: the error of a layer's output fell from %.4f to %.4f of its variance, on data held back",
		fitted, len(out), s.data.all.Len(), before/float64(max(1, fitted)), after/float64(max(1, fitted))))
	return nil
}

// rest makes the weights zero of layers that data did not reach, and reports.
func (s *sparse) rest(original *ir.Model) error {
	table := []string{fmt.Sprintf("%9s %9s  %s", "weights", "zeros", "layer")}
	for _, p := range s.plans {
		if !p.done {
			if s.data != nil {
				s.data.other = true
			}
			w, err := p.layer.Weights()
			if err != nil {
				return err
			}
			masks := p.magnitude(s.o, p.layer, w)
			for g := range w {
				for k := range w[g].Data {
					if !masks[g][k] {
						w[g].Data[k] = 0
					}
				}
			}
			s.c.Rewrite("weight", p.layer.Node, nil, func() { err = p.layer.SetWeights(w) })
			if err != nil {
				return err
			}
		}
	}
	s.share()
	zeros, total := 0, 0
	for _, p := range s.plans {
		w, err := weights.Floats(p.layer.Node.Operand(1).Const())
		if err != nil {
			return err
		}
		z := 0
		for _, x := range w {
			if x == 0 {
				z++
			}
		}
		zeros, total = zeros+z, total+len(w)
		if s.o.Sparse {
			if err := s.store(p, w, z); err != nil {
				return err
			}
		}
		table = append(table, fmt.Sprintf("%9d %7.1f %%  %s", len(w), 100*float64(z)/float64(len(w)), coupling.NodeLabel(p.layer.Node)))
	}
	table = append(table, fmt.Sprintf("%.1f %% of %d weights are zero; runtimes for dense models are no faster for it", 100*float64(zeros)/float64(max(1, total)), total))
	if s.data != nil {
		text, err := s.data.drift(original, s.m)
		if err != nil {
			return err
		}
		s.notes = append(s.notes, text)
	}
	s.c.Note(strings.Join(append(table, s.notes...), "\n"))
	return nil
}

// share makes one constant again of those that were one and still are equal, and says of the others that they no longer are.
func (s *sparse) share() {
	first, apart := map[*ir.Value]*ir.Value{}, 0
	for _, p := range s.plans {
		n := p.layer.Node
		now := n.Operand(1)
		one := first[p.was]
		switch {
		case one == nil:
			first[p.was] = now
		case one == now:
		case same(one.Const(), now.Const()):
			s.c.Rewrite("weight", n, nil, func() {
				n.SetOperand(1, one)
				measured.Drop(now)
			})
		default:
			apart++
		}
	}
	if apart > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d layers shared their weights with others and have their own now", apart))
	}
}

// same reports whether two weights have the same elements.
func same(a, b *ir.Tensor) bool {
	x, errA := a.Bytes()
	y, errB := b.Bytes()
	return errA == nil && errB == nil && a.DType() == b.DType() && slices.Equal(a.Shape(), b.Shape()) && bytes.Equal(x, y)
}

// store keeps a weight in coordinate form if that is smaller.
func (s *sparse) store(p *plan, w []float64, zeros int) error {
	old := p.layer.Node.Operand(1)
	t := old.Const()
	const index = 8 // bytes
	if size := t.DType().ByteLen(1); int64(len(w)-zeros)*(size+index) >= int64(len(w))*size || old.NumUses() > 1 {
		return nil
	}
	var at []int64
	var values []float64
	for i, x := range w {
		if x != 0 {
			at, values = append(at, int64(i)), append(values, x)
		}
	}
	v, err := weights.Round(t.DType(), []int64{int64(len(values))}, values)
	if err != nil {
		return err
	}
	c, err := packed.Tensor(&ir.SparseTensor{Values: v, Indices: ir.TensorOf(at, int64(len(at))), Dims: t.Shape()})
	if err != nil {
		return err
	}
	s.c.Rewrite("weight", p.layer.Node, nil, func() {
		p.layer.Node.SetOperand(1, s.m.Main.NamedConst(old.Name(), c))
		if old.IsInitializer() {
			s.m.Main.EraseConst(old)
		}
	})
	return nil
}
