// Package transposes is the pass that merges transpositions.
package transposes

import (
	"errors"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/view"
)

// Pass merges chains of Transpose, turns one that moves no element into a Reshape, and takes Reshape and Gather from behind them.
var Pass = rewrite.Define(passes.Info{
	Name: "transposes",
	Doc:  "merges chains of Transpose, and takes other moves of data out from behind them",
}, rules()...)

func rules() []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name: "undone",
			Doc:  "removes two transpositions of which the second undoes the first",
			Match: rewrite.MustParse(`
				y: shared = Transpose <perm = @p> (x)
				z = Transpose <perm = @q> (y)`),
			Where: func(m *rewrite.Match) error {
				perm, err := composed(m)
				if err == nil && !isIdentity(perm) {
					err = errors.New("together they move axes")
				}
				return err
			},
			Replace: func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value { return []*ir.Value{m.Value("x")} },
		}, {
			Name: "pair",
			Doc:  "merges two transpositions into one",
			Match: rewrite.MustParse(`
				y = Transpose <perm = @p> (x)
				z = Transpose <perm = @q> (y)`),
			Where: func(m *rewrite.Match) (err error) {
				m.Keep, err = composed(m)
				return err
			},
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				return []*ir.Value{b.Like(m.Root(), []*ir.Value{m.Value("x")}, ir.IntsAttr("perm", m.Keep.([]int64)))}
			},
		}, {
			Name:  "as-reshape",
			Doc:   "makes a transposition that only moves axes of size one a Reshape",
			Match: rewrite.MustParse(`z = Transpose <perm = @q> (x)`),
			Where: movesNothing,
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				return []*ir.Value{b.Op("Reshape", []*ir.Value{m.Value("x"), b.Ints("", m.Keep.([]int64)...)})}
			},
		},
		splitReshape,
		gather,
	}
}

var errRank = errors.New("the rank is not known")

// permutation is what a Transpose of a value of that rank does; without the attribute it reverses the axes. nil if the rank
// is unknown (negative) where it counts, or the attribute is no permutation.
func permutation(a *ir.Attr, rank int) []int64 {
	var perm []int64
	if a != nil {
		perm = a.Ints()
	} else {
		for i := rank - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	seen := make([]bool, len(perm))
	for _, p := range perm {
		if p < 0 || p >= int64(len(perm)) || seen[p] {
			return nil
		}
		seen[p] = true
	}
	return perm
}

// rank is the number of dimensions of x as its shape or one of the attributes tells it, -1 if none does.
func rank(m *rewrite.Match, attrs ...*ir.Attr) int {
	for _, a := range attrs {
		if a != nil {
			return len(a.Ints())
		}
	}
	if s := m.Shape("x"); s != nil {
		return len(s)
	}
	return -1
}

// composed is the permutation that both transpositions make together: axis j of z is axis q[j] of y, which is axis p[q[j]] of x.
func composed(m *rewrite.Match) ([]int64, error) {
	r := rank(m, m.Attr("p"), m.Attr("q"))
	p, q := permutation(m.Attr("p"), r), permutation(m.Attr("q"), r)
	if p == nil || q == nil || len(p) != len(q) {
		return nil, errRank
	}
	perm := make([]int64, len(q))
	for j := range q {
		perm[j] = p[q[j]]
	}
	return perm, nil
}

func isIdentity(perm []int64) bool { return slices.IsSorted(perm) }

// movesNothing accepts a transposition that keeps the order of all axes but those of size one, and keeps the shape operand for it.
func movesNothing(m *rewrite.Match) error {
	x, ok := m.Dims("x")
	perm := permutation(m.Attr("q"), len(x))
	bits := m.DType("x").Bits() // 0 if they are not known, or of no fixed size
	switch {
	case !ok || len(perm) != len(x):
		return errRank
	case isIdentity(perm):
		return errors.New("it moves no axis at all")
	case bits > 0 && bits < 8:
		// ONNX Runtime 1.32 has Transpose of them alone: no Reshape, no Squeeze, no Identity.
		return errors.New("few runtimes reshape elements of less than a byte")
	case m.Opset("") < 5:
		return errors.New("before opset 5 Reshape takes no operand for the shape")
	}
	last := int64(-1)
	z := make([]infer.Int, len(x))
	for i, p := range perm {
		z[i] = x[p]
		if x[p].Is(1) {
			continue
		}
		if p < last {
			return errors.New("it moves axes of other sizes than one")
		}
		last = p
	}
	dims, ok := view.Reshape(x, z)
	if !ok {
		return errors.New("more than one dimension of the shape is not known")
	}
	m.Keep = dims
	return nil
}
