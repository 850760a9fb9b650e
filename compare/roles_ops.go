package compare

import (
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// movers lists operators whose results hold elements of their first operand unchanged.
var movers = []string{"Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Tile",
	"Slice", "Gather", "GatherElements", "GatherND", "Split", "Pad", "Dropout", "DepthToSpace", "SpaceToDepth", "Compress",
	"ReverseSequence", "Clip", "Floor", "Ceil", "Round", "ReduceMax", "ReduceMin", "Trilu", "Unique", "TopK", "ScatterElements",
	"ScatterND", "Scatter", "SequenceAt", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement", "SequenceInsert"}

// mergers lists operators whose results hold elements of any of their operands.
var mergers = []string{"Concat", "Max", "Min", "SequenceConstruct"}

// steered says how operand i of an operator steers it.
func steered(op string, i int) form {
	switch {
	case op == "Reshape" && i == 1:
		return formShape
	case op == "Expand" && i == 1, op == "Tile" && i == 1, op == "TopK" && i == 1, op == "Slice" && i == 4, op == "Range" && i == 2,
		op == "SplitToSequence" && i == 1, op == "Resize" && i == 2, op == "Upsample" && i == 1, op == "ReverseSequence" && i == 1,
		slices.Contains([]string{"LSTM", "GRU", "RNN"}, op) && i == 4, op == "OneHot" && i == 1:
		return formOnes
	case op == "Slice" && i == 1, op == "Pad" && i == 1, op == "Range" && i == 0, op == "CumSum" && i == 1, op == "Split" && i == 1, op == "SequenceAt" && i == 1,
		op == "SequenceInsert" && i == 2, op == "Trilu" && i == 1:
		return formZeros
	case op == "Slice" && i == 2:
		return formEnds
	case op == "ConstantOfShape" && i == 0, op == "Range" && i == 1, op == "Resize" && i == 3, op == "NonMaxSuppression" && i == 2:
		return formCount
	case op == "Slice" && i == 3, op == "Squeeze" && i == 1, op == "Unsqueeze" && i == 1, strings.HasPrefix(op, "Reduce") && i == 1:
		return formAxes
	}
	return formNone
}

// operator handles an operator of the default domain that holds no graph.
func (t *tracer) operator(p place, n *ir.Node, i int) {
	op := n.Op().Type
	if f := steered(op, i); f != formNone {
		t.form(f)
		return
	}
	switch {
	case op == "Gather" && i == 1, (op == "GatherElements" || op == "ScatterElements" || op == "Scatter") && i == 1:
		t.table(p, n.Operand(0), n.Int("axis", 0))
	case (op == "GatherND" || op == "ScatterND") && i == 1:
		t.anyAxis(p, n.Operand(0))
	case op == "OneHot" && i == 0:
		if c, ok := scalar(n.Operand(1)); ok {
			t.role.restrict(int64(c), p.mul, p.add)
		}
	case op == "Equal":
		t.equal(p, n, i)
	case op == "Where" && i > 0, op == "ScatterElements" && i == 2, op == "ScatterND" && i == 2, slices.Contains(mergers, op):
		t.through(p, n)
	case slices.Contains(movers, op) && i == 0:
		t.through(p, n)
	case slices.Contains([]string{"Add", "Sub", "Mul", "Div", "Neg"}, op):
		t.affine(p, n, i)
	case op == "Mod" && i == 1:
		t.role.divisor = true
	}
}

func (t *tracer) through(p place, n *ir.Node) {
	for _, r := range n.Results() {
		t.reach(r, p.mul, p.add)
	}
}

// anyAxis notes that the elements index some axis of v: they have to fit the smallest.
func (t *tracer) anyAxis(p place, v *ir.Value) {
	s := t.shape(v)
	least := int64(math.MaxInt64)
	for _, d := range s {
		if d.IsStatic() {
			least = min(least, d.Size)
		} else {
			least = 1
		}
	}
	if len(s) == 0 {
		least = 1
	}
	t.role.restrict(least, p.mul, p.add)
}

// equal notes the constants that elements are compared with, as far as they are few.
func (t *tracer) equal(p place, n *ir.Node, i int) {
	c := n.Operand(1 - i).Const()
	if c == nil || c.Len() > 16 {
		return
	}
	v, err := numbers(c)
	if err != nil {
		return
	}
	for _, x := range v {
		t.role.choices = append(t.role.choices, (x-p.add)/p.mul)
	}
}

// affine follows x + c, x − c, c − x, x·c, x/c and −x for a constant c of one element. 1 − x marks a mask: transformers turn
// one into a bias that way.
func (t *tracer) affine(p place, n *ir.Node, i int) {
	op := n.Op().Type
	t.role.divisor = t.role.divisor || op == "Div" && i == 1
	if op == "Neg" {
		t.reach(n.Result(0), -p.mul, -p.add)
		return
	}
	c, ok := scalar(n.Operand(1 - i))
	switch {
	case !ok || op == "Div" && (i == 1 || c == 0) || op == "Mul" && c == 0:
		return
	case op == "Add":
		t.reach(n.Result(0), p.mul, p.add+c)
	case op == "Sub" && i == 0:
		t.reach(n.Result(0), p.mul, p.add-c)
	case op == "Sub":
		t.role.mask = t.role.mask || c == 1 && p.mul == 1 && p.add == 0
		t.reach(n.Result(0), -p.mul, c-p.add)
	case op == "Mul":
		t.reach(n.Result(0), p.mul*c, p.add*c)
	case op == "Div":
		t.reach(n.Result(0), p.mul/c, p.add/c)
	}
}

// scalar is the value of a constant of one element.
func scalar(v *ir.Value) (float64, bool) {
	c := v.Const()
	if c == nil || c.Len() != 1 {
		return 0, false
	}
	x, err := numbers(c)
	if err != nil || len(x) != 1 || math.IsNaN(x[0]) || math.IsInf(x[0], 0) {
		return 0, false
	}
	return x[0], true
}
