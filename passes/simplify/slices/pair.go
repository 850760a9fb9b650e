package slices

import (
	"errors"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// slicePair merges two slices with constant bounds along different axes.
func slicePair() *rewrite.Rule {
	return &rewrite.Rule{
		Name: "slice-pair",
		Doc:  "merges two slices along different axes",
		Match: rewrite.MustParse(`
			y = Slice (x, s1: const, e1: const, a1?: const, t1?: const)
			z = Slice (y, s2: const, e2: const, a2?: const, t2?: const)`),
		Where: func(m *rewrite.Match) error {
			first, ok := bounds(m, "s1", "e1", "a1", "t1")
			second, ok2 := bounds(m, "s2", "e2", "a2", "t2")
			if !ok || !ok2 {
				return errors.New("its bounds are not known")
			}
			for _, a := range second.axes {
				if slices.Contains(first.axes, a) {
					return errors.New("both cut one axis")
				}
			}
			m.Keep = first.and(second)
			return nil
		},
		Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			s := m.Keep.(slicing)
			in := []*ir.Value{m.Value("x"), b.Ints("", s.starts...), b.Ints("", s.ends...), b.Ints("", s.axes...), nil}
			if slices.ContainsFunc(s.steps, func(t int64) bool { return t != 1 }) {
				in[4] = b.Ints("", s.steps...)
			}
			return []*ir.Value{b.Op("Slice", in)}
		},
	}
}

// slicing is what a Slice cuts, an entry for each axis that it names; axes are not negative.
type slicing struct{ starts, ends, axes, steps []int64 }

func (s slicing) and(t slicing) slicing {
	return slicing{slices.Concat(s.starts, t.starts), slices.Concat(s.ends, t.ends), slices.Concat(s.axes, t.axes), slices.Concat(s.steps, t.steps)}
}

// bounds reads the operands of a Slice.
func bounds(m *rewrite.Match, starts, ends, axes, steps string) (s slicing, ok bool) {
	if s.starts, ok = ints(m, starts); !ok {
		return s, false
	}
	if s.ends, ok = ints(m, ends); !ok {
		return s, false
	}
	for i := range s.starts {
		s.axes, s.steps = append(s.axes, int64(i)), append(s.steps, 1)
	}
	if m.Value(axes) != nil {
		if s.axes, ok = ints(m, axes); !ok {
			return s, false
		}
	}
	if m.Value(steps) != nil {
		if s.steps, ok = ints(m, steps); !ok {
			return s, false
		}
	}
	x := m.Shape("x")
	s.axes = slices.Clone(s.axes)
	for i, a := range s.axes {
		if a < 0 {
			s.axes[i] = a + int64(len(x))
		}
		if s.axes[i] < 0 || a < 0 && x == nil {
			return s, false
		}
	}
	k := len(s.starts)
	return s, len(s.ends) == k && len(s.axes) == k && len(s.steps) == k
}

// ints is a constant vector of int64 or int32.
func ints(m *rewrite.Match, name string) ([]int64, bool) {
	t := m.Const(name)
	if t.DType() == ir.Int64 {
		v, err := ir.Elements[int64](t)
		m.Fail(err)
		return v, err == nil
	}
	if t.DType() != ir.Int32 {
		return nil, false
	}
	narrow, err := ir.Elements[int32](t)
	m.Fail(err)
	v := make([]int64, len(narrow))
	for i, x := range narrow {
		v[i] = int64(x)
	}
	return v, err == nil
}
