package compare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// The ladders of sizes that are tried for a free dimension, best first: small ones that differ, then those that real
// models insist on.
var (
	batchLadder   = []int64{1, 2, 3, 4, 8}
	spatialLadder = []int64{64, 96, 32, 224, 128, 48, 320, 256, 28, 512, 640}
	otherLadder   = []int64{8, 5, 16, 64, 128, 256, 512, 1, 3, 2, 4, 32, 1024, 2048}
)

// rank is the rank that c gives the input.
func (in genInput) rank(c config) int64 {
	if len(in.ranks) == 0 {
		return int64(len(in.dims[0]))
	}
	return in.ranks[min(c.rank, len(in.ranks)-1)]
}

// axes is the list of static sizes and classes that c gives the input.
func (in genInput) axes(c config) []int64 {
	if len(in.ranks) == 0 {
		return in.dims[0]
	}
	return in.dims[min(c.rank, len(in.ranks)-1)]
}

// input studies one input: its role and the classes of its free dimensions.
func (g *Generator) input(s *ir.Slot, functions map[ir.OpID]*ir.Function, bySymbol map[string]int) genInput {
	in := genInput{slot: s, role: trace(s.Value(), functions, g.o.Types)}
	if strings.Contains(strings.ToLower(s.Name()), "mask") {
		in.role.mask = true
	}
	in.typ = s.Value().Type()
	t := in.typ
	for t != nil && (t.Kind == ir.KindSequence || t.Kind == ir.KindOptional || t.Kind == ir.KindMap) {
		t = t.Of
	}
	shape := t.TensorShape()
	hints := hintsOf(s.Value())
	if shape != nil {
		in.dims = [][]int64{g.axes(in, shape, hints, bySymbol)}
		return in
	}
	in.ranks = []int64{2, 4, 3, 1, 0, 5}
	if in.role.form != formNone {
		in.ranks = []int64{1, 0}
	}
	if hints.rank > 0 {
		in.ranks = append([]int64{hints.rank}, slices.DeleteFunc(in.ranks, func(r int64) bool { return r == hints.rank })...)
	}
	for _, r := range in.ranks {
		anonymous := make(ir.Shape, r)
		for i := range anonymous {
			anonymous[i] = ir.UnknownDim()
		}
		in.dims = append(in.dims, g.axes(in, anonymous, hints, bySymbol))
	}
	return in
}

// axes gives each free dimension its class.
func (g *Generator) axes(in genInput, shape ir.Shape, h hints, bySymbol map[string]int) []int64 {
	r := make([]int64, len(shape))
	for i, d := range shape {
		switch {
		case d.IsStatic():
			r[i] = d.Size
		case d.Param != "" && d.Param != "?": // exporters write "?" for several unknown sizes
			r[i] = int64(^g.symbol(d.Param, in, len(shape), i, h, bySymbol))
		default:
			k := g.class(fmt.Sprintf("%s[%d]", in.slot.Name(), i), in, len(shape), i, h)
			g.classes[k].later = len(g.inputs) > 0
			r[i] = int64(^k)
		}
	}
	return r
}

// symbol finds or makes the class of a named dimension, which stands at axis i of an input.
func (g *Generator) symbol(name string, in genInput, rank, i int, h hints, bySymbol map[string]int) int {
	if k, ok := bySymbol[name]; ok {
		return k
	}
	terms := strings.Split(name, "+")
	if _, given := g.o.Sizes[name]; given || len(terms) == 1 {
		k := g.class(name, in, rank, i, h)
		bySymbol[name] = k
		return k
	}
	sum := sizeClass{name: name, ladder: []int64{0}}
	for _, t := range terms {
		t = strings.TrimSpace(t)
		if n, err := strconv.ParseInt(t, 10, 32); err == nil {
			sum.plus += n
		} else {
			sum.sum = append(sum.sum, g.symbol(t, in, rank, i, hints{}, bySymbol))
		}
	}
	g.classes = append(g.classes, sum)
	bySymbol[name] = len(g.classes) - 1
	return bySymbol[name]
}

// size is the size that c gives a class.
func (g *Generator) size(c config, class int) int64 {
	k := g.classes[class]
	n := k.plus + k.ladder[c.size[class]]
	for _, t := range k.sum {
		n += g.size(c, t)
	}
	return max(n, 0)
}

// class makes a class for axis i of an input.
func (g *Generator) class(name string, in genInput, rank, i int, h hints) int {
	c := sizeClass{name: name}
	low := strings.ToLower(name)
	switch n, given := g.o.Sizes[name]; {
	case given:
		c.ladder = []int64{n}
	case in.role.form != formNone:
		c.ladder = []int64{1, 2, 3, 4, 5}
	case strings.Contains(low, "batch") || low == "n" || i == 0 && rank > 1:
		c.ladder, c.batch = batchLadder, true
	case (in.ranks == nil || h.rank == int64(rank)) && (rank == 4 && i >= 1 || rank == 5 && i >= 2):
		c.ladder = spatialLadder
	default:
		c.ladder = otherLadder
	}
	if n := h.sizes[i-rank]; n > 0 && len(c.ladder) > 1 {
		c.ladder = append([]int64{n}, slices.DeleteFunc(slices.Clone(c.ladder), func(x int64) bool { return x == n })...)
	}
	g.classes = append(g.classes, c)
	return len(g.classes) - 1
}

// hints are sizes that operators with constant operands demand of an input. Axes count from the end: -1 is the last one.
type hints struct {
	rank  int64
	sizes map[int]int64
}

func (h *hints) note(axis int, size int64) {
	if size > 0 && h.sizes[axis] == 0 {
		h.sizes[axis] = size
	}
}

// elementwise lists unary operators behind which an input has the same shape.
var elementwise = []string{"Identity", "Cast", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Neg", "Abs", "Sqrt", "Clip", "Dropout",
	"QuantizeLinear", "DequantizeLinear", "LeakyRelu", "Elu", "Floor", "Ceil"}

// hintsOf looks at the uses of v and of what has its shape.
func hintsOf(v *ir.Value) hints {
	h := hints{sizes: map[int]int64{}}
	seen := map[*ir.Value]bool{v: true}
	for todo := []*ir.Value{v}; len(todo) > 0; {
		x := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for u := range x.Uses() {
			n := u.Node
			if n.Op().Domain != "" {
				continue
			}
			h.use(n, u.Index)
			if r := n.Result(0); r != nil && u.Index == 0 && slices.Contains(elementwise, n.Op().Type) && !seen[r] {
				seen[r] = true
				todo = append(todo, r)
			}
		}
	}
	return h
}

// use notes what n demands of its operand i.
func (h *hints) use(n *ir.Node, i int) {
	other := func(k int) []int64 {
		if c := n.Operand(k).Const(); c != nil {
			return c.Shape()
		}
		return nil
	}
	switch n.Op().Type {
	case "Conv", "ConvInteger", "QLinearConv":
		w := other(1)
		if n.Op().Type == "QLinearConv" {
			w = other(3)
		}
		if i == 0 && len(w) >= 3 {
			h.rank = int64(len(w))
			h.note(1-len(w), w[1]*n.Int("group", 1))
		}
	case "ConvTranspose":
		if w := other(1); i == 0 && len(w) >= 3 {
			h.rank = int64(len(w))
			h.note(1-len(w), w[0])
		}
	case "MatMul", "MatMulInteger":
		if w := other(1); i == 0 && len(w) >= 2 {
			h.note(-1, w[len(w)-2])
		} else if w := other(0); i == 1 && len(w) >= 2 {
			h.note(-2, w[len(w)-1])
		}
	case "Gemm":
		if w := other(1); i == 0 && len(w) == 2 {
			h.rank = 2
			h.note(-1-boolIndex(n.Int("transA", 0)), w[boolIndex(n.Int("transB", 0))])
		}
	case "LSTM", "GRU", "RNN":
		if w := other(1); i == 0 && len(w) == 3 {
			h.rank = 3
			h.note(-1, w[2])
		} else if i == 5 || i == 6 {
			h.note(-1, n.Int("hidden_size", 0))
			if w := other(1); len(w) == 3 {
				h.note(-3, w[0])
			}
		}
	case "Add", "Sub", "Mul", "Div", "BatchNormalization", "LayerNormalization", "PRelu":
		h.beside(n, other(1-min(i, 1)), i)
	}
}

// boolIndex is 1 for an attribute that is set, whatever number says so.
func boolIndex(a int64) int {
	if a != 0 {
		return 1
	}
	return 0
}

// beside notes the sizes of a constant that is combined with the operand.
func (h *hints) beside(n *ir.Node, c []int64, i int) {
	if n.Op().Type == "BatchNormalization" {
		return
	}
	for k := range c {
		if d := c[len(c)-1-k]; d > 1 && (i == 0 || n.NumOperands() == 2) {
			h.note(-1-k, d)
		}
	}
}
