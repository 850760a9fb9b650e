package fuzz

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

func (g *generator) transpose() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	var attrs []*ir.Attr
	if !g.odds(6) {
		attrs = append(attrs, ir.IntsAttr("perm", g.permutation(int64(x.rank()))))
	}
	return g.op("Transpose", []*value{x}, attrs...) != nil
}

func (g *generator) reshape() bool {
	x := g.any(isTensor)
	if x == nil || x.tensor().Len() == 0 && g.odds(2) {
		return false
	}
	if g.odds(12) {
		return g.op("Flatten", []*value{x}, ir.IntAttr("axis", g.axis(x))) != nil
	}
	s := x.shape()
	target := slices.Clone(s)
	switch g.IntN(5) {
	case 0: // join two
		if len(target) > 1 {
			i := g.IntN(len(target) - 1)
			target[i] *= target[i+1]
			target = slices.Delete(target, i+1, i+2)
		}
	case 1: // a one
		target = slices.Insert(target, g.IntN(len(target)+1), 1)
	case 2: // flat
		target = []int64{-1}
	case 3: // take one apart
		if len(target) > 0 {
			i := g.IntN(len(target))
			for _, d := range []int64{2, 3} {
				if target[i]%d == 0 && target[i] > d {
					target[i] /= d
					target = slices.Insert(target, i, d)
					break
				}
			}
		}
	}
	if len(target) > 0 && !g.odds(3) && !slices.Contains(target, -1) {
		target[g.IntN(len(target))] = -1
	}
	for i := range target {
		if i < len(s) && target[i] == s[i] && g.odds(2) {
			target[i] = 0
		}
	}
	var attrs []*ir.Attr
	if g.opset() >= 14 && g.odds(10) {
		attrs = append(attrs, ir.IntAttr("allowzero", 1))
	}
	return g.op("Reshape", []*value{x, g.ints(target...)}, attrs...) != nil
}

func (g *generator) squeeze() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	if g.odds(2) {
		var ones []int64
		for i, n := range x.shape() {
			if n == 1 && !g.odds(3) {
				ones = append(ones, int64(i))
			}
		}
		if len(ones) == 0 {
			return g.op("Squeeze", []*value{x}) != nil
		}
		in, attrs := g.list([]*value{x}, 13, "axes", ones...)
		return g.op("Squeeze", in, attrs...) != nil
	}
	at := []int64{g.between(0, int64(x.rank()))}
	if g.odds(3) {
		at = append(at, at[0]+1)
	}
	if g.odds(4) && g.opset() >= 11 {
		at[0] -= int64(x.rank() + len(at))
	}
	in, attrs := g.list([]*value{x}, 13, "axes", at...)
	return g.op("Unsqueeze", in, attrs...) != nil
}

func (g *generator) slice() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axes := g.axes(int64(x.rank()))
	if g.opset() < 11 {
		for i := range axes {
			axes[i] = (axes[i] + int64(x.rank())) % int64(x.rank())
		}
	}
	var starts, ends, steps []int64
	for _, a := range axes {
		n := x.shape()[(a+int64(x.rank()))%int64(x.rank())]
		start := pick(g.random, []int64{0, 0, 1, -1, n, -n, g.between(-5, 5), math.MinInt64})
		end := pick(g.random, []int64{n, math.MaxInt64, math.MaxInt32, -1, 1, g.between(-5, 5), math.MaxInt64})
		step := pick(g.random, []int64{1, 1, 1, 2, -1})
		if step < 0 {
			start, end = end, pick(g.random, []int64{start, math.MinInt64, -n - 1})
		}
		starts, ends, steps = append(starts, start), append(ends, end), append(steps, step)
	}
	if g.opset() < 10 {
		return g.op("Slice", []*value{x}, ir.IntsAttr("axes", axes), ir.IntsAttr("starts", starts), ir.IntsAttr("ends", ends)) != nil
	}
	in := []*value{x, g.ints(starts...), g.ints(ends...), g.ints(axes...), g.ints(steps...)}
	if g.odds(3) {
		in = in[:4]
	}
	if len(axes) == x.rank() && slices.IsSorted(axes) && axes[0] == 0 && g.odds(2) {
		in = in[:3]
	}
	return g.op("Slice", in) != nil
}

func (g *generator) concat() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axis := g.axis(x)
	in := []*value{x}
	for range g.IntN(3) {
		y := g.any(func(y *value) bool {
			return y.dtype() == x.dtype() && y.rank() == x.rank() && fitsBeside(x.shape(), y.shape(), axis)
		})
		if y == nil || g.odds(6) {
			s := slices.Clone(x.shape())
			s[(axis+int64(len(s)))%int64(len(s))] = int64(g.IntN(3))
			y = g.weights(x.dtype(), s...)
		}
		in = append(in, y)
	}
	return g.op("Concat", in, ir.IntAttr("axis", axis)) != nil
}

func fitsBeside(a, b []int64, axis int64) bool {
	for i := range a {
		if a[i] != b[i] && int64(i) != (axis+int64(len(a)))%int64(len(a)) {
			return false
		}
	}
	return true
}

func (g *generator) gather() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axis := g.axis(x)
	n := x.shape()[(axis+int64(x.rank()))%int64(x.rank())]
	if n == 0 {
		return false
	}
	shape := make([]int64, g.IntN(3))
	k := make([]int64, 1)
	for i := range shape {
		shape[i] = g.between(1, 2)
	}
	k = slices.Grow(k, 8)[:ir.NumElements(shape)]
	for i := range k {
		k[i] = g.Int64N(n)
		if g.odds(4) && g.opset() >= 11 {
			k[i] -= n
		}
	}
	return g.op("Gather", []*value{x, g.constant(ir.NewTensor(ir.Int64, shape, ir.AsBytes(k)))}, ir.IntAttr("axis", axis)) != nil
}

func (g *generator) pad() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 && (g.opset() >= 13 || x.dtype().IsFloat()) })
	if x == nil {
		return false
	}
	pads := make([]int64, 2*x.rank())
	for i := range pads {
		if !g.odds(3) {
			pads[i] = g.between(0, 1)
		}
		if g.odds(10) {
			pads[i] = -1
		}
	}
	if g.odds(5) {
		clear(pads)
	}
	mode := ir.StringAttr("mode", pick(g.random, []string{"constant", "constant", "constant", "edge", "reflect"}))
	if g.opset() < 11 {
		return g.op("Pad", []*value{x}, ir.IntsAttr("pads", pads), mode) != nil
	}
	in := []*value{x, g.ints(pads...)}
	if g.odds(2) {
		in = append(in, g.neutral(x.dtype()))
	}
	return g.op("Pad", in, mode) != nil
}

// glue is what exporters make of shape arithmetic: a shape taken apart, calculated with, and put together.
func (g *generator) glue() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	shape := g.op("Shape", []*value{x})
	if shape == nil {
		return false
	}
	var parts []*value
	for i, n := range x.shape() {
		if g.odds(3) {
			parts = append(parts, g.ints(pick(g.random, []int64{n, n, 0, -1})))
			continue
		}
		var p *value
		if g.odds(2) && g.opset() >= 10 {
			p = g.op("Slice", []*value{shape, g.ints(int64(i)), g.ints(int64(i + 1)), g.ints(0)})
		} else if p = g.op("Gather", []*value{shape, g.constant(ir.ScalarOf(int64(i)))}); p != nil {
			if g.odds(3) {
				p = g.op(pick(g.random, []string{"Mul", "Add", "Sub", "Div"}), []*value{p, g.neutral(ir.Int64)})
			}
			if p != nil {
				in, attrs := g.list([]*value{p}, 13, "axes", 0)
				p = g.op("Unsqueeze", in, attrs...)
			}
		}
		if p == nil {
			return true // what there is stays
		}
		parts = append(parts, p)
	}
	if g.odds(4) && len(parts) > 1 {
		i := g.IntN(len(parts) - 1)
		parts[i], parts[i+1] = parts[i+1], parts[i]
	}
	target := g.op("Concat", parts, ir.IntAttr("axis", 0))
	if target == nil {
		return true
	}
	switch g.IntN(5) {
	case 0:
		g.op("Expand", []*value{x, target})
	case 1:
		g.op("ConstantOfShape", []*value{target}, ir.TensorAttr("value", g.tensor(pick(g.random, dtypes[:16]), []int64{1}, g.wild)))
	case 2:
		g.op("Tile", []*value{x, target})
	default:
		g.op("Reshape", []*value{x, target})
	}
	return true
}

func (g *generator) expand() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	target := slices.Clone(x.shape())
	for i := range target {
		if target[i] == 1 || g.odds(3) {
			target[i] = g.between(1, 3)
		}
		if g.odds(3) {
			target[i] = 1
		}
	}
	if g.odds(4) {
		target = append([]int64{g.between(1, 2)}, target...)
	}
	return g.op(pick(g.random, []string{"Expand", "Expand", "Tile"}), []*value{x, g.ints(target...)}) != nil
}

func (g *generator) split() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axis := g.axis(x)
	n := x.shape()[(axis+int64(x.rank()))%int64(x.rank())]
	if n < 2 {
		return false
	}
	at := g.between(1, n-1)
	in, attrs := g.list([]*value{x}, 13, "split", at, n-at)
	parts := g.node(ir.Op("Split"), in, 2, append(attrs, ir.IntAttr("axis", axis))...)
	if parts != nil && g.odds(2) {
		g.op("Concat", parts, ir.IntAttr("axis", axis))
	}
	return parts != nil
}
