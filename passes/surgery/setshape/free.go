package setshape

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// probe infers the model with other sizes in place of those that were freed. Each symbol gets its own multiple of the old size, so that
// what divides it still does.
func (s *setter) probe() error {
	if len(s.loose) == 0 {
		return nil
	}
	c := s.m.Clone()
	sizes := map[string]int64{}
	with := ""
	for _, l := range s.loose {
		size, known := sizes[l.name]
		if !known {
			size = int64(len(sizes)+2) * max(l.size, 1)
			sizes[l.name] = size
			if with != "" {
				with += " and "
			}
			with += fmt.Sprintf("%s = %d instead of %d", l.name, size, l.size)
		}
		in := c.Main.Inputs()[l.input]
		u := *in.Type()
		u.Shape = slices.Clone(u.Shape)
		u.Shape[l.axis] = ir.Static(size)
		in.SetType(&u)
	}
	return contradiction(infer.Model(c), "the model depends on the size that is to be free: with "+with)
}

// loosen rewrites the constant shapes of Reshape in which the old size stands, and reports whether it changed one: then inference may
// know of more behind it. What r does not know yet of values behind a rewritten Reshape is carried on through the operators that
// usually stand between two, so that few rounds are needed.
func (s *setter) loosen(r *infer.Result) bool {
	changed := false
	free := map[*ir.Value][]bool{} // dimensions that follow a rewritten Reshape
	for n := range s.m.Nodes() {
		if n.Is("Reshape") && n.NumOperands() == 2 && n.Int("allowzero", 0) == 0 {
			target, follows := s.loosened(n, r, free[n.Operand(0)])
			if follows != nil {
				free[n.Result(0)] = follows
			}
			if target != nil {
				old := n.Operand(1)
				n.SetOperand(1, n.Graph().Const(ir.TensorOf(target)))
				if old.IsInitializer() && old.NumUses() == 0 {
					old.Graph().EraseConst(old)
				}
				changed = true
			}
			continue
		}
		if f := s.carried(n, free); f != nil {
			free[n.Result(0)] = f
		}
	}
	return changed
}

// carried is which dimensions of the result of n follow those of its operands, nil if that is not known. It only guides loosen: inference has
// the last word.
func (s *setter) carried(n *ir.Node, free map[*ir.Value][]bool) []bool {
	v := n.Result(0)
	result, ok := s.old.Dims(v)
	if v == nil || !ok {
		return nil
	}
	f := make([]bool, len(result))
	any := false
	join := func(from []bool, skip func(axis int) bool) { // aligned at the last axis, as broadcasting does
		for i := range from {
			if at := len(f) - len(from) + i; at >= 0 && from[i] && !skip(at) {
				f[at], any = true, true
			}
		}
	}
	none := func(int) bool { return false }
	op := ops.Of(n)
	switch {
	case op == nil:
	case op.Has(schema.Unary), n.Is("Softmax", "LogSoftmax", "LayerNormalization", "QuantizeLinear", "DequantizeLinear"):
		join(free[n.Operand(0)], none)
	case op.Has(schema.Broadcast):
		for _, o := range n.Operands() {
			join(free[o], none)
		}
	case op.Has(schema.Reduction) && len(free[n.Operand(0)]) == len(f):
		join(free[n.Operand(0)], func(axis int) bool { return result[axis].Is(1) })
	case n.Is("MatMul"):
		join(free[n.Operand(0)], func(axis int) bool { return axis == len(f)-1 })
		join(free[n.Operand(1)], func(axis int) bool { return axis == len(f)-2 })
	case n.Is("Transpose"):
		from, perm := free[n.Operand(0)], n.Ints("perm")
		for j, a := range perm {
			if len(perm) == len(from) && a >= 0 && a < int64(len(from)) && from[a] {
				f[j], any = true, true
			}
		}
	}
	if !any {
		return nil
	}
	return f
}

// loosened is the shape operand of a Reshape whose constant one insists on an old size, nil if it does not or the size's place is not
// certain, and which dimensions of the result follow the operand's. At the old sizes both shapes mean the same. known are dimensions
// of the operand that follow others.
func (s *setter) loosened(n *ir.Node, r *infer.Result, known []bool) (shape []int64, follows []bool) {
	t := r.Known(n.Operand(1))
	now, ok := r.Dims(n.Operand(0))
	was, ok2 := s.old.Dims(n.Operand(0))
	if t == nil || t.DType() != ir.Int64 || !ok || !ok2 || len(now) != len(was) {
		return nil, nil
	}
	target, err := ir.Elements[int64](t)
	if err != nil {
		return nil, nil
	}
	x := &reshape{target: slices.Clone(target), size: s.size, follows: make([]bool, len(target))}
	for i := range was {
		c, ok := was[i].Const()
		if !ok || c <= 0 {
			return nil, nil
		}
		x.was = append(x.was, c)
		x.free = append(x.free, !now[i].Is(c) || len(known) == len(was) && known[i])
	}
	if !slices.Contains(x.free, true) || !x.resolve() || !x.segments() {
		return nil, nil
	}
	if slices.Equal(x.target, target) {
		return nil, x.follows
	}
	return x.target, x.follows
}

// reshape is a Reshape to a constant shape.
type reshape struct {
	was    []int64 // the operand's sizes before
	free   []bool  // those that are not fixed any more
	target []int64 // the shape operand
	sizes  []int64 // what it came to, before
	size   int64   // that was freed or replaced, 0 if there are several

	follows []bool // dimensions of the result
}

// resolve finds the sizes that the target came to.
func (x *reshape) resolve() bool {
	total, known, rest := product(x.was), int64(1), -1
	for j, t := range x.target {
		switch {
		case t == 0 && j < len(x.was):
			t = x.was[j]
		case t == -1 && rest < 0:
			rest, t = j, 1
		case t <= 0:
			return false
		}
		x.sizes = append(x.sizes, t)
		known *= t
	}
	if rest >= 0 {
		if total%known != 0 {
			return false
		}
		x.sizes[rest] = total / known
		known = total
	}
	return known == total
}

func product(s []int64) int64 {
	p := int64(1)
	for _, n := range s {
		p *= n
	}
	return p
}

// segments splits operand and result into the smallest runs of dimensions that hold the same elements each, in row-major order, and makes
// the target follow what is free in each.
func (x *reshape) segments() bool {
	rest := -1 // the place of -1 that a free dimension needs
	for i, j := 0, 0; i < len(x.was) || j < len(x.sizes); {
		a, b, p, q := i, j, int64(1), int64(1)
		if i < len(x.was) {
			p, i = x.was[i], i+1
		}
		if j < len(x.sizes) {
			q, j = x.sizes[j], j+1
		}
		for p != q {
			switch {
			case p < q && i < len(x.was):
				p, i = p*x.was[i], i+1
			case q < p && j < len(x.sizes):
				q, j = q*x.sizes[j], j+1
			default:
				return false
			}
		}
		at, ok := x.follow(a, i, b, j)
		switch {
		case !ok || at >= 0 && rest >= 0 && at != rest:
			return false
		case at >= 0:
			rest = at
		}
	}
	if rest < 0 {
		return true
	}
	for j, t := range x.target { // another -1 stands for a size that stays
		if t == -1 && j != rest {
			x.target[j] = x.sizes[j]
		}
	}
	x.target[rest], x.follows[rest] = -1, true
	return true
}

// follow makes the dimensions b to d of the target follow the operand's a to c, which hold the same elements. It returns the place that has to
// be -1, or -1 if none has to.
func (x *reshape) follow(a, c, b, d int) (rest int, ok bool) {
	if !slices.Contains(x.free[a:c], true) {
		return -1, true
	}
	switch {
	case c-a == 1 && d-b == 1 && a == b:
		x.follows[b] = true
		if x.target[b] > 0 {
			x.target[b] = 0
		}
		if x.target[b] == -1 {
			return b, true
		}
		return -1, true
	case d-b == 1, c-a > 1 && !slices.Contains(x.free[a+1:c], true): // the outermost dimension is the free one on both sides
		return b, true
	case c-a == 1 && x.size > 0: // one dimension becomes several: that of the freed size, if there is one only
		for j := b; j < d; j++ {
			if x.sizes[j] != x.size {
				continue
			}
			if rest > 0 {
				return 0, false
			}
			rest = j + 1
		}
		return rest - 1, rest > 0
	}
	return 0, false
}
