package slices

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

func rules() []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name: "slice-pair",
			Doc:  "merges two slices with constant bounds along different axes, or from place to place of one axis",
			Match: rewrite.MustParse(`
				y = Slice <...> (x, a...)
				z = Slice <...> (y, b...)`),
			Where: twoAxes,
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				return []*ir.Value{m.Keep.(slicing).build(b, m, m.Value("x"))}
			},
		}, {
			Name: "slice-of-concat",
			Doc:  "replaces a slice of a Concat that is one of its operands by that",
			Match: rewrite.MustParse(`
				y: shared = Concat <axis = @axis> (xs...)
				z = Slice <...> (y, b...)`),
			Where: oneOperand,
			Replace: func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				return []*ir.Value{m.Values("xs")[m.Keep.(int)]}
			},
		}, {
			Name: "slice-squeeze",
			Doc:  "makes a slice of one place, whose axis is then removed, a Gather",
			Match: rewrite.MustParse(`
				y = Slice <...> (x, b...)
				z = Squeeze <axes = @axes> (y)`, `
				y = Slice <...> (x, b...)
				z = Squeeze (y, axes: const)`),
			Where: onePlace,
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				p := m.Keep.([2]int64)
				return []*ir.Value{b.Op("Gather", []*ir.Value{m.Value("x"), b.Const("", ir.ScalarOf(p[1]))}, ir.IntAttr("axis", p[0]))}
			},
		}, {
			Name:  "gather-slice",
			Doc:   "makes a Gather of places one after the other a Slice",
			Match: rewrite.MustParse(`z = Gather <axis = @axis> (x, i: const)`),
			Where: consecutive,
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				return []*ir.Value{m.Keep.(slicing).build(b, m, m.Value("x"))}
			},
		},
	}
}

// longest is the number of places up to which a Gather is looked at.
const longest = 1 << 16

// consecutive accepts places of a static axis, each one behind the one before, and keeps the Slice of them.
func consecutive(m *rewrite.Match) error {
	x, ok := m.Dims("x")
	axis := m.Attr("axis").Int()
	if axis < 0 {
		axis += int64(len(x))
	}
	if !ok || axis < 0 || axis >= int64(len(x)) {
		return errBounds
	}
	size, static := x[axis].Const()
	t := m.Const("i")
	if !static || t.Rank() != 1 || t.Len() < 1 || t.Len() > longest {
		return errors.New("it takes no list of places, or its axis has no known size")
	}
	v, ok, err := rewrite.Ints(t)
	m.Fail(err)
	if !ok {
		return errBounds
	}
	for k, i := range v {
		if i < 0 {
			i += size
		}
		if first := (v[0] + size) % size; i != first+int64(k) || i < 0 || i >= size {
			return fmt.Errorf("its places are %v", v)
		}
	}
	first := (v[0] + size) % size
	m.Keep = slicing{[]int64{first}, []int64{first + int64(len(v))}, []int64{axis}, []int64{1}}
	return nil
}

// onePlace accepts a slice of length one along one axis, which is the one that goes, and keeps axis and place. PaddlePaddle and older exports of
// torch.unbind take Q, K and V so.
func onePlace(m *rewrite.Match) error {
	r := rank(m, "x")
	s, ok := bounds(m, m.Node("y"), r)
	if !ok || len(s.axes) != 1 {
		return errBounds
	}
	var axes []int64
	if m.Has("axes") {
		v, _, err := rewrite.Ints(m.Const("axes"))
		m.Fail(err)
		axes = v
	} else {
		axes = m.Attr("axes").Ints()
	}
	if len(axes) != 1 || axes[0] != s.axes[0] && (r < 0 || axes[0]+int64(r) != s.axes[0]) {
		return fmt.Errorf("it slices axis %d and removes axes %v", s.axes[0], axes)
	}
	from, to := s.starts[0], s.ends[0]
	if s.steps[0] != 1 || !(to == from+1 && to != 0 || from == -1 && to >= math.MaxInt32) || from < 0 && m.Opset("") < 11 {
		return fmt.Errorf("it takes %d to %d by %d", from, to, s.steps[0])
	}
	m.Keep = [2]int64{s.axes[0], from}
	return nil
}

var errBounds = errors.New("its bounds are not known")

func rank(m *rewrite.Match, name string) int {
	if s := m.Shape(name); s != nil {
		return len(s)
	}
	return -1
}

// twoAxes accepts slices that cut no axis in common, or from place to place in both, and keeps what they cut together.
func twoAxes(m *rewrite.Match) error {
	first, ok := bounds(m, m.Node("y"), rank(m, "x"))
	second, ok2 := bounds(m, m.Node("z"), rank(m, "x"))
	if !ok || !ok2 {
		return errBounds
	}
	both := slicing{slices.Clone(first.starts), slices.Clone(first.ends), slices.Clone(first.axes), slices.Clone(first.steps)}
	for i, a := range second.axes {
		k := slices.Index(first.axes, a)
		if k < 0 {
			both = both.and(slicing{second.starts[i : i+1], second.ends[i : i+1], second.axes[i : i+1], second.steps[i : i+1]})
			continue
		}
		s, e, s2, e2 := first.starts[k], first.ends[k], second.starts[i], second.ends[i]
		switch {
		case first.steps[k] != 1 || second.steps[i] != 1 || min(s, e, s2, e2) < 0:
			return errors.New("both cut one axis, and one not from place to place")
		case s > math.MaxInt32 || s2 > math.MaxInt32 || slices.Index(second.axes[i+1:], a) >= 0 || slices.Index(first.axes[k+1:], a) >= 0:
			return errors.New("both cut one axis, in a way that is not followed")
		}
		both.starts[k] = s + s2
		if e2 < math.MaxInt64-s {
			both.ends[k] = max(min(e, s+e2), 0)
		}
	}
	m.Keep = both
	return nil
}

// oneOperand accepts a slice along the axis of the Concat that begins and ends with one of its operands, and keeps which.
func oneOperand(m *rewrite.Match) error {
	dims, ok := m.Dims("y")
	if !ok {
		return errBounds
	}
	s, ok := bounds(m, m.Node("z"), len(dims))
	axis := int(m.Attr("axis").Int())
	if axis < 0 {
		axis += len(dims)
	}
	if !ok || axis < 0 || axis >= len(dims) {
		return errBounds
	}
	if len(s.axes) != 1 || s.axes[0] != int64(axis) || s.steps[0] != 1 {
		return errors.New("it does not cut the axis of the Concat alone")
	}
	start, end := place(s.starts[0], dims[axis]), place(s.ends[0], dims[axis])
	at := infer.Num(0)
	for i, x := range m.Values("xs") {
		d, ok := m.DimsOf(x)
		if !ok || len(d) != len(dims) {
			return errBounds
		}
		next := at.Add(d[axis])
		if at.Same(start) && next.Same(end) {
			m.Keep = i
			return nil
		}
		at = next
	}
	return errors.New("it is no whole operand of the Concat")
}

// place is a bound as a position on an axis of that size, unknown unless it is clear where it lies: bounds below zero count from the
// end, those behind the end mean the end.
func place(bound int64, size infer.Int) infer.Int {
	n, static := size.Const()
	switch {
	case bound == math.MaxInt64:
		return size
	case bound < 0 && static:
		return infer.Num(max(0, bound+n))
	case bound >= 0 && static:
		return infer.Num(min(bound, n))
	case bound < 0:
		return infer.Int{}
	}
	return infer.Num(bound)
}
