package compare

import (
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// Tolerances gives each output of m the tolerance of -O2: that of its type, and behind a QuantizeLinear (or another
// operator that rounds to a grid) one quantization step, because the smallest difference before it can move a value to
// the next point of the grid. The step is
//
//   - one, for integers that reach the output unchanged;
//   - the scale, for floats that a DequantizeLinear of a known scale made of them;
//   - 2^(1−bits) of the largest value, the grid's relative step, where further operators lie between. Of k grids one behind the other whose
//     scales come from the data (DynamicQuantizeLinear), each moves other values by a step, and the differences add up as independent ones do:
//     √k steps. A recognizer with 22 of them differs by up to 1.4 steps between two engines that run it unchanged.
func Tolerances(m *ir.Model) map[string]Tolerance {
	w := stepWalk{functions: map[ir.OpID]*ir.Function{}, steps: map[*ir.Value]step{}, inside: map[*ir.Function]int{}}
	for _, f := range m.Functions {
		w.functions[f.ID()] = f
	}
	for n := range m.Main.Nodes() {
		w.node(n)
	}
	inferred := sync.OnceValue(func() *infer.Result { return infer.Model(m) })
	r := make(map[string]Tolerance, len(m.Main.Outputs()))
	for _, o := range m.Main.Outputs() {
		v := o.Value()
		d := o.Type().DType()
		if d == ir.Undefined && v != nil {
			d = known(v, func(v *ir.Value) *ir.Type { return inferred().Type(v) }).DType()
		}
		r[o.Name()] = w.steps[v].widen(O2(d))
	}
	return r
}

// step is what is known of the grid behind which a value lies.
type step struct {
	bits  int     // of the coarsest grid before the value, 0: none
	steps float64 // the value is such an integer
	abs   float64 // the value is such an integer times this scale
	depth int     // grids one behind the other whose scales come from the data
}

func (s step) widen(t Tolerance) Tolerance {
	t.Steps, t.Abs = s.steps, s.abs
	if s.bits > 0 && s.steps == 0 && s.abs == 0 {
		t.Rel = max(t.Rel, math.Ldexp(math.Sqrt(float64(max(s.depth, 1))), 1-s.bits))
	}
	return t
}

// join is the step of something computed of both without a change of value.
func (s step) join(u step) step {
	bits := s.bits
	if bits == 0 || u.bits > 0 && u.bits < bits {
		bits = u.bits
	}
	return step{bits, max(s.steps, u.steps), max(s.abs, u.abs), max(s.depth, u.depth)}
}

type stepWalk struct {
	functions map[ir.OpID]*ir.Function
	steps     map[*ir.Value]step
	inside    map[*ir.Function]int // bits of the coarsest grid in a function, once it is known
}

// moves lists operators whose results hold elements of their operands, or the larger or smaller of them.
var moves = []string{"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Concat", "Split",
	"Pad", "Expand", "Tile", "Where", "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Max", "Min", "Relu", "Clip",
	"DepthToSpace", "SpaceToDepth", "Dropout"}

func (w *stepWalk) node(n *ir.Node) {
	var in step
	for _, v := range n.Operands() {
		in = in.join(w.steps[v])
	}
	for _, g := range n.Subgraphs() {
		for _, v := range g.Captures() {
			in = in.join(w.steps[v])
		}
	}
	out := w.result(n, in)
	if out == (step{}) {
		return
	}
	for _, v := range n.Results() {
		if v != nil {
			w.steps[v] = out
		}
	}
}

// result is the step of n's results from that of its operands.
func (w *stepWalk) result(n *ir.Node, in step) step {
	op := n.Op()
	bits := gridBits(n)
	switch {
	case w.functions[op] == nil && bits > 0:
		if strings.HasPrefix(op.Type, "DynamicQuantize") {
			in.depth++
		}
		return step{bits: bits, steps: 1, depth: in.depth}
	case w.functions[op] != nil:
		bits = w.functionBits(op)
	case op.Domain == "" && op.Type == "DequantizeLinear" && in.steps > 0:
		if scale, ok := largest(n.Operand(1).Const()); ok {
			return step{bits: in.bits, abs: in.steps * scale, depth: in.depth}
		}
	case op.Domain == "" && slices.Contains(moves, op.Type):
		return in
	default:
		for _, g := range n.Subgraphs() {
			bits = coarser(bits, w.graphBits(g))
		}
	}
	return step{bits: coarser(in.bits, bits), depth: in.depth}
}

func coarser(a, b int) int {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// gridBits is the width of the integers that n rounds to, 0 if n is no quantizer.
func gridBits(n *ir.Node) int {
	op := n.Op()
	if op.Domain != "" && op.Domain != "com.microsoft" {
		return 0
	}
	quantizes := op.Type == "QuantizeLinear" || op.Type == "DynamicQuantizeLinear" || strings.HasPrefix(op.Type, "QLinear")
	if !quantizes {
		return 0
	}
	if op.Type == "QuantizeLinear" {
		if z := n.Operand(2).Const(); z != nil && z.DType().Bits() > 0 {
			return z.DType().Bits()
		}
		if d := n.Result(0).Type().DType(); d.Bits() > 0 {
			return d.Bits()
		}
	}
	return 8
}

func (w *stepWalk) graphBits(g *ir.Graph) int {
	bits := 0
	for n := range g.Nodes() {
		if w.functions[n.Op()] != nil {
			bits = coarser(bits, w.functionBits(n.Op()))
			continue
		}
		bits = coarser(bits, gridBits(n))
		for _, h := range n.Subgraphs() {
			bits = coarser(bits, w.graphBits(h))
		}
	}
	return bits
}

func (w *stepWalk) functionBits(op ir.OpID) int {
	f := w.functions[op]
	bits, ok := w.inside[f]
	if !ok {
		w.inside[f] = 0 // a function that calls itself ends here
		bits = w.graphBits(f.Graph)
		w.inside[f] = bits
	}
	return bits
}

// largest is the largest element of a constant scale.
func largest(t *ir.Tensor) (float64, bool) {
	if t == nil || t.Len() <= 0 {
		return 0, false
	}
	v, err := numbers(t)
	if err != nil {
		return 0, false
	}
	r := 0.0
	for _, x := range v {
		r = max(r, math.Abs(x))
	}
	return r, !math.IsInf(r, 0) && !math.IsNaN(r)
}
