package spelled

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// twice reports whether v surely holds every angle twice in its last axis: in both halves, or in neighbours if Interleaved. It follows v
// through what leaves the last axis as it is, elements aside.
func (t *Turn) twice(m *rewrite.Match, tables Tables, v *ir.Value) bool {
	for range 64 {
		if c := v.Const(); c != nil {
			return t.table(m, tables, c)
		}
		n, _ := v.Def()
		if n == nil {
			return false
		}
		if t.doubles(m, n) {
			return true
		}
		if v = t.through(m, n); v == nil {
			return false
		}
	}
	return false
}

// table looks at the elements of a constant.
func (t *Turn) table(m *rewrite.Match, tables Tables, c *ir.Tensor) bool {
	key := table{c, t.Size, t.Interleaved}
	if r, seen := tables[key]; seen {
		return r
	}
	r := c.DType() == ir.Float32 && c.Rank() > 0 && c.Shape()[c.Rank()-1] == t.Size
	if r {
		v, err := ir.Elements[float32](c)
		m.Fail(err)
		r = err == nil && t.rows(v)
	}
	tables[key] = r
	return r
}

// rows reports whether every row of v holds each number twice.
func (t *Turn) rows(v []float32) bool {
	for row := range slices.Chunk(v, int(t.Size)) {
		for i := range t.Size / 2 {
			p, q := i, i+t.Size/2
			if t.Interleaved {
				p, q = 2*i, 2*i+1
			}
			if math.Float32bits(row[p]) != math.Float32bits(row[q]) {
				return false
			}
		}
	}
	return true
}

// doubles reports whether n is what writes the angles twice: Concat of x with itself, or Reshape of pairs.
func (t *Turn) doubles(m *rewrite.Match, n *ir.Node) bool {
	switch {
	case n.Is("Concat") && !t.Interleaved:
		return t.joins(m, n)
	case n.Is("Reshape") && t.Interleaved:
		d, ok := m.DimsOf(n.Operand(0))
		pairs, _ := n.Operand(0).Def()
		if !ok || len(d) < 2 || !d[len(d)-1].Is(2) || !d[len(d)-2].Is(t.Size/2) || !t.lasts(m, n.Result(0)) || pairs == nil {
			return false
		}
		if pairs.Is("Expand") {
			from, ok := m.DimsOf(pairs.Operand(0))
			return ok && len(from) > 0 && from[len(from)-1].Is(1)
		}
		return pairs.Is("Concat") && t.joins(m, pairs)
	}
	return false
}

// joins reports whether n is the Concat of two times the same along the last axis.
func (t *Turn) joins(m *rewrite.Match, n *ir.Node) bool {
	d, ok := m.DimsOf(n.Result(0))
	axis := ops.Int(n, "axis")
	return ok && n.NumOperands() == 2 && n.Operand(0) == n.Operand(1) && (axis == -1 || axis == int64(len(d))-1)
}

// lasts reports whether the last axis of v is of the size of a head.
func (t *Turn) lasts(m *rewrite.Match, v *ir.Value) bool {
	d, ok := m.DimsOf(v)
	return ok && len(d) > 0 && d[len(d)-1].Is(t.Size)
}

// through is the operand of n whose last axis holds angles as that of the result does, nil if there is none. Both are of the same size.
func (t *Turn) through(m *rewrite.Match, n *ir.Node) *ir.Value {
	if !t.lasts(m, n.Result(0)) {
		return nil
	}
	from := n.Operand(0)
	switch {
	case n.Is("Cos", "Sin", "Cast", "Identity", "Neg"):
	case n.Is("Mul", "Add", "Div", "Sub"):
		if c := from.Const(); c != nil && c.Len() == 1 {
			from = n.Operand(1)
		} else if c := n.Operand(1).Const(); c == nil || c.Len() != 1 {
			return nil
		}
	case n.Is("Unsqueeze", "Squeeze", "Expand"): // they only add and drop sizes of 1, and a head is larger
	case n.Is("Gather"):
		d, ok := m.DimsOf(from)
		if axis := ops.Int(n, "axis"); !ok || axis == -1 || axis == int64(len(d))-1 {
			return nil
		}
	case n.Is("Slice"):
		if n.Operand(3) == nil || n.Operand(3).Const() == nil {
			return nil
		}
		d, _ := m.DimsOf(from)
		axes, ok, err := rewrite.Ints(n.Operand(3).Const())
		m.Fail(err)
		if !ok || slices.Contains(axes, -1) || slices.Contains(axes, int64(len(d))-1) {
			return nil
		}
	case n.Is("Transpose"):
		perm := n.Attr("perm").Ints()
		if len(perm) == 0 || perm[len(perm)-1] != int64(len(perm))-1 {
			return nil
		}
	default:
		return nil
	}
	if !t.lasts(m, from) {
		return nil
	}
	return from
}
