package precision

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
)

// keeps decides by itself whether n keeps its type, and why.
func (p *planner) keeps(n *ir.Node) (reason, bool, error) {
	if !p.convertible(n.Graph()) {
		why := "it is in a graph that is not converted"
		if n.Graph().Function() != nil {
			why = "its function is called with different types, or refers to attributes of its call"
		}
		return reason{why: why}, true, nil
	}
	if p.o.WeightsOnly {
		return reason{narrow: !n.Is("QuantizeLinear", "DequantizeLinear")}, true, nil
	}
	if !p.c.Enabled(rule, n) {
		return reason{}, true, nil
	}
	if p.blocked(n) {
		return reason{why: errBlocked.Error()}, true, nil
	}
	if why := p.structural(n); why != "" {
		return reason{why: why, narrow: true}, true, nil
	}
	in, out, ok := p.signature(n)
	switch {
	case !ok:
		return reason{why: "nothing says which of its types may change", narrow: true}, true, nil
	case !slices.Contains(in, new) && !slices.Contains(out, new):
		if slices.Contains(in, old) || slices.Contains(out, old) {
			return reason{why: fmt.Sprintf("in opset %d there is no %s of %s", n.Graph().Opset(n.Op().Domain), n.Op(), p.to), narrow: true}, true, nil
		}
		return reason{}, false, nil // only free operands, or no floats at all
	case p.to == ir.Float32:
		return reason{}, false, nil
	}
	if why := p.quantizer(n); why != "" {
		return reason{why: why}, true, nil
	}
	why, err := p.ranges(n, in)
	return reason{why: why}, why != "", err
}

// blocked reports whether the option block names n.
func (p *planner) blocked(n *ir.Node) bool {
	names := []string{n.Name()}
	types := []string{n.Op().Type, n.Op().String()}
	for _, v := range n.Results() {
		if v != nil {
			names = append(names, v.Name())
		}
	}
	for _, s := range n.Origin().Sources() {
		names, types = append(names, s.Name), append(types, s.Op.Type)
	}
	return slices.ContainsFunc(p.o.Block, func(b string) bool {
		return slices.Contains(types, b) || slices.ContainsFunc(names, func(s string) bool { return passes.Glob(b, s) })
	})
}

// structural is why n cannot change for what it is connected to.
func (p *planner) structural(n *ir.Node) string {
	for _, v := range slices.Concat(n.Operands(), n.Results()) {
		if v == nil {
			continue
		}
		t := p.facts.Type(v)
		if t == nil || t.Kind == ir.KindTensor && t.Elem == ir.Undefined {
			return "the type of an operand or result is not known"
		}
		if t.Kind != ir.KindTensor && p.inside(t) {
			return "it makes or takes a sequence, optional or map of floats"
		}
	}
	if f := p.m.Function(n.Op()); f != nil && !p.bodies[f.Graph] {
		return "the function it calls is not converted"
	}
	for _, group := range p.links(n) {
		for _, v := range group {
			if p.isFrom(v) != p.isFrom(group[0]) {
				return "the types at the borders of its subgraphs are not known"
			}
		}
	}
	return ""
}

// inside reports whether a type has floats that would be converted somewhere.
func (p *planner) inside(t *ir.Type) bool {
	for ; t != nil; t = t.Of {
		if p.isOld(t.Elem) {
			return true
		}
	}
	return false
}

// quantizer is why a quantizer keeps float32. Its scale decides which step a value falls on, and runtimes have integer kernels for
// scales of float32; only a weight that is unpacked for a float operator may be unpacked into 16 bits.
func (p *planner) quantizer(n *ir.Node) string {
	switch {
	case n.Is("QuantizeLinear", "DynamicQuantizeLinear"):
		return "scales of quantized values stay float32"
	case n.Is("DequantizeLinear"):
		if n.Operand(0).Const() == nil {
			return "scales of quantized values stay float32"
		}
		if n.Int("output_dtype", 0) != 0 {
			return "it states the type of its result"
		}
	}
	return ""
}

// ranges is why the numbers of n do not fit the new type.
func (p *planner) ranges(n *ir.Node, in []level) (string, error) {
	for i, v := range n.Operands() {
		if in[i] != new || v.Const() == nil {
			continue
		}
		err := p.fit(v.Const())
		var unfit *weights.Unfit
		switch {
		case err == nil:
		case !errors.As(err, &unfit):
			return "", fmt.Errorf("constant %q of %s: %w", v.Name(), n, err)
		case p.saturates(n, i):
		default:
			p.mark(n, v)
			return fmt.Sprintf("operand %d: %s", i, unfit.Why), nil
		}
	}
	if why := p.long(n); why != "" {
		return why, nil
	}
	if p.measured != nil {
		if why := p.outside(n); why != "" {
			return why, nil
		}
	}
	if p.to != ir.Float16 {
		return "", nil
	}
	if batches(n) {
		return "ONNX Runtime 1.32 crashes where it takes a transposition of batches in float16 into a MatMul", nil
	}
	if p.measured != nil {
		return "", nil
	}
	return p.risky(n), nil
}

// fit is nil if a constant keeps its values in the new type, else a *weights.Unfit, or why it cannot be read.
func (p *planner) fit(t *ir.Tensor) error {
	err, seen := p.fits[t]
	if !seen {
		_, err = weights.Cast(t, p.to)
		p.fits[t] = err
	}
	return err
}

// sentinel is the magnitude from which a constant that overflows stands for infinity.
const sentinel = 1e6

// saturates reports whether operand i of n, a constant that does not fit, may be replaced by the nearest finite numbers of the type:
// it is a bound, or what is put in place of an element. Where it is added, only numbers that stand for infinity may.
func (p *planner) saturates(n *ir.Node, i int) bool {
	least, ok := overflows(n.Operand(i).Const(), p.to)
	if !ok {
		return false
	}
	switch {
	case n.Is("Clip", "Max", "Min"), n.Is("Pad") && i == 2:
		return true
	case n.Is("Where") && i > 0, n.Is("Add"), n.Is("Sub") && i == 1:
		return least >= sentinel
	}
	return false
}

// overflows returns the smallest magnitude among the elements of t that are too large for d; ok is false if there is none, or if
// other elements do not fit either.
func overflows(t *ir.Tensor, d ir.DType) (least float64, ok bool) {
	v, err := weights.Floats(t)
	if err != nil {
		return 0, false
	}
	least = math.Inf(1)
	small := make([]float64, 0, len(v))
	for _, x := range v {
		if a := math.Abs(x); a > weights.Largest(d) && !math.IsInf(x, 0) {
			least = min(least, a)
		} else {
			small = append(small, x)
		}
	}
	if math.IsInf(least, 1) {
		return 0, false
	}
	_, err = weights.Round(d, []int64{int64(len(small))}, small)
	return least, err == nil
}

// mark notes that the results of n overflow if the constant does.
func (p *planner) mark(n *ir.Node, v *ir.Value) {
	if least, ok := overflows(v.Const(), p.to); ok && p.isFrom(n.Result(0)) {
		bound := float32(weights.Largest(p.to))
		if least >= sentinel {
			bound = half(p.to)
		}
		p.clip[n.Result(0)] = bound
	}
}

// half is half of the largest number: what stands for infinity where more is added to it, so that a row of nothing else does not
// become one of infinities.
func half(d ir.DType) float32 { return float32(weights.Largest(d)) / 2 }

// long is why a sum of many terms keeps its type. Products and convolutions are not among them: their kernels sum in float32.
func (p *planner) long(n *ir.Node) string {
	terms := int64(1)
	switch {
	case ops.Has(n, ops.Reduction) && !n.Is("ReduceMax", "ReduceMin", "ArgMax", "ArgMin"):
		terms = p.shrink(n.Operand(0), n.Result(0))
	case n.Is("GlobalAveragePool", "GlobalLpPool"):
		terms = p.shrink(n.Operand(0), n.Result(0))
	case n.Is("CumSum"):
		for _, d := range p.facts.Shape(n.Operand(0)) {
			if d.IsStatic() {
				terms = max(terms, d.Size)
			}
		}
	}
	if terms >= p.depth {
		return fmt.Sprintf("it sums %d elements", terms)
	}
	return ""
}

// shrink is how many elements of v go into one of w, as far as the sizes are known.
func (p *planner) shrink(v, w *ir.Value) int64 {
	product := func(s ir.Shape) int64 {
		n := int64(1)
		for _, d := range s {
			if d.IsStatic() && d.Size > 0 && n < 1<<40 {
				n *= d.Size
			}
		}
		return n
	}
	return product(p.facts.Shape(v)) / max(product(p.facts.Shape(w)), 1)
}

// risky is why the results of n are likely to leave the range of float16, where no data says more: its largest number is the square
// of 256 and the exponential of 11.
func (p *planner) risky(n *ir.Node) string {
	switch {
	case n.Is("Exp", "ReduceSumSquare", "ReduceL2", "ReduceLogSumExp", "ReduceProd", "LpNormalization", "MeanVarianceNormalization", "Det"):
		return fmt.Sprintf("%s overflows or vanishes easily", n.Op())
	case n.Is("Mul") && n.Operand(0) == n.Operand(1):
		return "squares overflow or vanish easily"
	case n.Is("Pow"):
		if e := n.Operand(1).Const(); e != nil && weights.Supported(e.DType()) {
			if v, err := weights.Floats(e); err == nil && !slices.ContainsFunc(v, func(x float64) bool { return x < 0 || x > 1 }) {
				return ""
			}
		}
		return "powers overflow or vanish easily"
	}
	return ""
}

// batches reports whether n moves the first axis to the last but one for a MatMul.
func batches(n *ir.Node) bool {
	perm := n.Ints("perm")
	if !n.Is("Transpose") || len(perm) < 3 {
		return false
	}
	r := int64(len(perm))
	for i, a := range perm {
		want := int64(i) + 1
		switch int64(i) {
		case r - 2:
			want = 0
		case r - 1:
			want = r - 1
		}
		if a != want {
			return false
		}
	}
	for u := range n.Result(0).Uses() {
		if u.Node.Is("MatMul") {
			return true
		}
	}
	return false
}

// outside is why results of n leave the range of the new type, as measured.
func (p *planner) outside(n *ir.Node) string {
	masks := p.masks(n)
	for _, v := range n.Results() {
		e, ok := p.measured[v]
		if !ok || !p.isFrom(v) {
			continue
		}
		largest := e.largest
		if masks { // what stands for infinity saturates
			largest = e.below
			p.masked[v] = true
		}
		switch {
		case largest > weights.Largest(p.to)/2: // what was not measured may be twice as large
			p.clip[v] = float32(weights.Largest(p.to))
			return fmt.Sprintf("its results reach %.3g", largest)
		case 2*e.small > e.nonzero:
			return fmt.Sprintf("most of its results are below %.3g, the precise range of %s", weights.Smallest(p.to), p.to)
		}
	}
	return ""
}

// masks reports whether n hands on numbers that stand for infinity, from an operand that has been clipped or from a constant.
func (p *planner) masks(n *ir.Node) bool {
	if !n.Is("Add", "Sub", "Where", "Cast") && !ops.Has(n, ops.Movement) {
		return false
	}
	for i, v := range n.Operands() {
		switch {
		case v == nil || !p.isFrom(v):
		case p.masked[v] || p.clip[v] == half(p.to):
			return true
		case v.Const() != nil && p.fit(v.Const()) != nil && p.saturates(n, i):
			return true
		}
	}
	return false
}
