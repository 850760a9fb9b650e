package transposes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// splitReshape takes a Reshape that only splits axes behind a transposition in front of it, where another Reshape is. torch.onnx writes the
// channel shuffle (Zhang et al. 2018, "ShuffleNet") with two halves as
//
//	x ── Reshape [C/2,2,H*W] ── Transpose ── Reshape [2,1,C/2,H,W] ──   becomes   x ── Reshape [1,C/2,2,H,W] ── Transpose ──
var splitReshape = &rewrite.Rule{
	Name: "split-reshape",
	Doc:  "takes a Reshape that splits axes from behind a transposition into the Reshape before it",
	Match: rewrite.MustParse(`
		a = Reshape <...> (x, s: const)
		y = Transpose <perm = @p> (a)
		z = Reshape <...> (y, t: const)`),
	Where: func(m *rewrite.Match) error {
		y, ok := m.Shape("y").Ints()
		z, ok2 := m.Shape("z").Ints()
		perm := permutation(m.Attr("p"), len(y))
		if !ok || !ok2 || perm == nil || slices.Contains(y, 0) {
			return errors.New("the shapes are not known or hold no element")
		}
		groups := split(y, z)
		if groups == nil {
			return fmt.Errorf("the second Reshape, of %v to %v, does not only split axes", y, z)
		}
		m.Keep = refine(perm, groups)
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		r := m.Keep.(*refined)
		a := b.Like(m.Node("a"), []*ir.Value{m.Value("x"), b.Ints("", r.shape...)})
		return []*ir.Value{b.Like(m.Node("y"), []*ir.Value{a}, ir.IntsAttr("perm", r.perm))}
	},
}

// split is, for each axis of the shape from, the axes of the shape to that it is split into, none for an axis of one that goes away; nil if to is
// something else. Axes of one go with the axis after them, at the end with the last.
func split(from, to []int64) [][]int64 {
	groups := make([][]int64, len(from))
	next := 0
	for i, d := range from {
		if d == 1 && next < len(to) && to[next] == 1 {
			groups[i] = to[next : next+1 : next+1]
			next++
		}
		for n := int64(1); n != d; next++ {
			if next == len(to) || to[next] == 0 || d%(n*to[next]) != 0 {
				return nil
			}
			n *= to[next]
			groups[i] = append(groups[i], to[next])
		}
	}
	for _, d := range to[next:] {
		if d != 1 || len(groups) == 0 {
			return nil
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], d)
	}
	return groups
}

// refined is a shape and a permutation of its axes.
type refined struct{ shape, perm []int64 }

// refine is the operand of a transposition whose axis j, axis perm[j] of the operand, is split into groups[j].
func refine(perm []int64, groups [][]int64) *refined {
	r := &refined{}
	first := make([]int64, len(perm)) // of the axes that result axis j is split into
	for axis := range perm {
		j := slices.Index(perm, int64(axis))
		first[j] = int64(len(r.shape))
		r.shape = append(r.shape, groups[j]...)
	}
	for j, g := range groups {
		for k := range g {
			r.perm = append(r.perm, first[j]+int64(k))
		}
	}
	return r
}

// gather takes one place of an axis before the transposition, if nothing is left to transpose then:
//
//	x ── Transpose ── Gather ──   becomes   x ── Gather ──
//
// as the halves of a channel shuffle, and Q, K and V of a common projection, are taken.
var gather = &rewrite.Rule{
	Name: "gather",
	Doc:  "takes one place of an axis without the transposition before, if the other axes keep their order",
	Match: rewrite.MustParse(`
		y: shared = Transpose <perm = @p> (x)
		z = Gather <axis = @axis> (y, i: const)`),
	Where: func(m *rewrite.Match) error {
		r := rank(m, m.Attr("p"))
		perm := permutation(m.Attr("p"), r)
		axis := m.Attr("axis").Int()
		if axis < 0 {
			axis += int64(r)
		}
		if perm == nil || axis < 0 || axis >= int64(r) {
			return errRank
		}
		if m.Const("i").Rank() != 0 {
			return errors.New("it takes more than one place, or keeps the axis")
		}
		m.Keep = perm[axis]
		if !isIdentity(slices.Delete(slices.Clone(perm), int(axis), int(axis)+1)) {
			return errors.New("the other axes are in another order")
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Like(m.Root(), []*ir.Value{m.Value("x"), m.Value("i")}, ir.IntAttr("axis", m.Keep.(int64)))}
	},
}
