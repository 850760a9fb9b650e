package noop

import (
	"errors"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// movementRules remove operators that move no element.
func movementRules() []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name:    "reshape-same",
			Doc:     "removes reshaping, expanding and tiling to the shape that is there",
			Match:   rewrite.MustParse(`y = {Reshape, Flatten, Squeeze, Unsqueeze, Expand, Tile} <...> (x, rest...)`),
			Where:   sameShape,
			Replace: toX,
		}, {
			Name:    "cast-same",
			Doc:     "removes a cast to the type that is there",
			Match:   rewrite.MustParse(`y = {Cast, CastLike, BitCast} <...> (x, rest...)`),
			Where:   sameType,
			Replace: toX,
		}, {
			Name:    "transpose-same",
			Doc:     "removes a transposition that leaves every axis in its place",
			Match:   rewrite.MustParse(`y = Transpose <...> (x)`),
			Where:   keepsAxes,
			Replace: toX,
		}, {
			Name:    "pad-nothing",
			Doc:     "removes padding by nothing",
			Match:   rewrite.MustParse(`y = Pad <...> (x, rest...)`),
			Where:   padsNothing,
			Replace: toX,
		}, {
			Name:    "slice-all",
			Doc:     "removes a slice of everything",
			Match:   rewrite.MustParse(`y = Slice <...> (x, rest...)`),
			Where:   slicesAll,
			Replace: toX,
		}, {
			Name:    "concat-one",
			Doc:     "removes a concatenation of one operand",
			Match:   rewrite.MustParse(`y = Concat <...> (x)`),
			Replace: toX,
		}, {
			Name:    "split-one",
			Doc:     "removes a split into one part",
			Match:   rewrite.MustParse(`y = Split <...> (x, rest...)`),
			Where:   splitsNothing,
			Replace: toX,
		}, {
			Name:    "dropout",
			Doc:     "removes Dropout in inference mode, or of ratio zero, whose mask is not used",
			Match:   rewrite.MustParse(`y = Dropout <...> (x, rest...)`),
			Where:   dropsNothing,
			Replace: toX,
		}, {
			Name:    "reduce-nothing",
			Doc:     "removes a reduction over axes of size one that keeps them",
			Match:   rewrite.MustParse(`y = {ReduceMax, ReduceMin, ReduceProd} <...> (x, rest...)`),
			Where:   sameShape,
			Replace: toX,
		}, {
			Name:    "sum-nothing",
			Doc:     "removes a sum or mean over axes of size one that keeps them",
			Promise: signOfZero,
			Match:   rewrite.MustParse(`y = {ReduceSum, ReduceMean} <...> (x, rest...)`),
			Where:   sameShape,
			Replace: toX,
		}, {
			Name:    "scatter-all",
			Doc:     "removes a ScatterND that overwrites every element in its order",
			Match:   rewrite.MustParse(`y = ScatterND <...> (data, places: const, x)`),
			Where:   scattersAll,
			Replace: toX,
		}, {
			Name:    "block-one",
			Doc:     "removes DepthToSpace and SpaceToDepth with blocks of one element",
			Match:   rewrite.MustParse(`y = {DepthToSpace, SpaceToDepth} <blocksize = 1, ...> (x)`),
			Replace: toX,
		},
	}
}

func sameType(m *rewrite.Match) error {
	if d := m.DType("x"); d == ir.Undefined || d != m.DType("y") {
		return errType
	}
	return nil
}

func keepsAxes(m *rewrite.Match) error {
	perm, rank := m.Root().Ints("perm"), len(m.Shape("x"))
	switch {
	case m.Root().Attr("perm") == nil && m.Shape("x") != nil && rank <= 1:
		return nil
	case len(perm) == 0:
		return errors.New("it moves axes")
	}
	for i, p := range perm {
		if p != int64(i) { // a negative one counts from the end in some runtimes
			return errors.New("it moves axes")
		}
	}
	return nil
}

// operand is an int64 operand, or the attribute that older opsets have instead. ok is false if it is not a known list.
func operand(m *rewrite.Match, i int, attr string) (v []int64, ok bool) {
	n := m.Root()
	if a := n.Attr(attr); a != nil {
		return a.Ints(), true
	}
	t := n.Operand(i).Const()
	if t == nil || t.DType() != ir.Int64 && t.DType() != ir.Int32 || t.Len() > maxRead/8 {
		return nil, false
	}
	if t.DType() == ir.Int32 {
		narrow, err := ir.Elements[int32](t)
		m.Fail(err)
		for _, x := range narrow {
			v = append(v, int64(x))
		}
		return v, err == nil
	}
	v, err := ir.Elements[int64](t)
	m.Fail(err)
	return v, err == nil
}

func padsNothing(m *rewrite.Match) error {
	name := "pads"
	if m.Opset("") < 2 {
		name = "paddings"
	}
	pads, ok := operand(m, 1, name)
	if !ok || slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) {
		return errors.New("it pads, or its pads are not known")
	}
	return nil
}

// slicesAll accepts steps of one where the result is as large as the operand.
func slicesAll(m *rewrite.Match) error {
	if m.Root().Operand(4) != nil {
		steps, ok := operand(m, 4, "")
		if !ok || slices.ContainsFunc(steps, func(s int64) bool { return s != 1 }) {
			return errors.New("its steps are not one")
		}
	}
	return sameShape(m)
}

// splitsNothing accepts a Split with a single result that has every element.
func splitsNothing(m *rewrite.Match) error {
	if m.Root().NumResults() != 1 {
		return errors.New("it has several parts")
	}
	return nil
}

func dropsNothing(m *rewrite.Match) error {
	n := m.Root()
	if ops.Deterministic(n) {
		return nil
	}
	if ratio, ok, err := rewrite.Scalar(n.Operand(1).Const()); ok && ratio == 0 {
		return nil
	} else if err != nil {
		m.Fail(err)
	}
	return errors.New("it may be in training mode")
}

// scattersAll accepts places that count through all of the first axes: torch.onnx writes an assignment to a whole slice so.
func scattersAll(m *rewrite.Match) error {
	n, t := m.Root(), m.Const("places")
	data, ok := m.Shape("y"), t.Rank() > 0 && t.ByteLen() <= maxRead
	if !ok || n.Str("reduction", "none") != "none" {
		return errors.New("it adds up, or its places are not looked at")
	}
	depth := int(t.Shape()[t.Rank()-1])
	if depth < 1 || depth > len(data) {
		return errShape
	}
	size, static := data[:depth].Ints()
	v, ok, err := rewrite.Ints(t)
	m.Fail(err)
	if !static || !ok || int64(len(v)) != ir.NumElements(size)*int64(depth) || len(v) == 0 {
		return errors.New("it does not overwrite everything")
	}
	for i := 0; i < len(v); i += depth {
		place := int64(0)
		for k, x := range v[i : i+depth] {
			if x < 0 || x >= size[k] {
				return errors.New("it does not count from the first place")
			}
			place = place*size[k] + x
		}
		if place != int64(i/depth) {
			return errors.New("its places are in another order")
		}
	}
	return sameShape(m)
}
