package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// element is an element of a sequence of which x is known: sizes that may differ from element to element get new names.
func (c *call) element(x *info) *info {
	if x == nil || x.kind != ir.KindSequence || x.of == nil {
		return &info{}
	}
	y := x.of.detached(map[string]bool{})
	c.a.nameSizes(y)
	return y
}

func inferSequenceConstruct(c *call) {
	if len(c.in) == 0 {
		return
	}
	of := c.arg(0).withoutData()
	for i := 1; i < len(c.in); i++ {
		of = c.join(of, c.arg(i).withoutData())
	}
	c.out[0] = &info{kind: ir.KindSequence, of: of}
}

func inferSequenceEmpty(c *call) {
	d := ir.Float32
	if c.hasAttr("dtype") {
		d = ir.DType(c.int("dtype"))
	}
	c.out[0] = &info{kind: ir.KindSequence, of: &info{kind: ir.KindTensor, elem: d, never: true}}
}

func inferSequenceAt(c *call) {
	if x := c.element(c.arg(0)); x.kind != ir.KindNone {
		c.out[0] = x
	}
}

func inferSequenceErase(c *call) { c.copyOf(0, 0) }

func inferSequenceInsert(c *call) {
	s := c.arg(0)
	if s.kind != ir.KindSequence || s.of == nil {
		return
	}
	c.out[0] = &info{kind: ir.KindSequence, of: c.join(s.of, c.arg(1).withoutData())}
}

func inferScalar(c *call) { c.set(0, []Int{}) }

// inferSplitToSequence: parts along axis, which goes if each has one element and keepdims is 0.
func inferSplitToSequence(c *call) {
	d, ok := c.dims(0)
	of := &info{kind: ir.KindTensor, elem: c.elem(0)}
	if ok {
		k, valid := c.axis(c.int("axis"), len(d))
		if !valid {
			return
		}
		of.ranked, of.dims = true, slices.Clone(d)
		switch s, known := c.ints(1); {
		case !c.has(1) && c.int("keepdims") == 0:
			of.dims = slices.Delete(of.dims, k, k+1)
		case !c.has(1):
			of.dims[k] = Num(1)
		case known && len(s) > 0 && !slices.ContainsFunc(s, func(x Int) bool { return !x.Same(s[0]) }) && c.evenParts(d[k], s):
			of.dims[k] = s[0]
		default:
			of.dims[k] = c.a.fresh()
		}
	}
	c.out[0] = &info{kind: ir.KindSequence, of: of}
}

// evenParts reports whether parts of the size s[0] make up the axis: a list of sizes does, one size if it divides the axis.
func (c *call) evenParts(size Int, s []Int) bool {
	if d, ok := c.dims(1); !ok || len(d) != 0 {
		return ok
	}
	_, exact := size.exactDiv(s[0])
	return exact
}

// inferConcatFromSequence: elements along axis, or stacked along a new one.
func inferConcatFromSequence(c *call) {
	x := c.element(c.arg(0))
	if x.kind == ir.KindNone {
		return
	}
	c.out[0] = x.withoutShape()
	if !x.ranked {
		return
	}
	stacked := c.int("new_axis") != 0
	rank := len(x.dims)
	if stacked {
		rank++
	}
	k, ok := c.axis(c.int("axis"), rank)
	if !ok {
		return
	}
	r := slices.Clone(x.dims)
	if stacked {
		r = slices.Insert(r, k, Int{})
	} else {
		r[k] = Int{}
	}
	c.set(0, r)
}

// inferOptional: the operand, or nothing of attribute type.
func inferOptional(c *call) {
	of := &info{}
	if c.has(0) {
		of = c.arg(0).withoutData()
	} else if t := c.attr("type").Type(); t != nil {
		of = c.a.declared(t)
	}
	c.out[0] = &info{kind: ir.KindOptional, of: of}
}

// inferOptionalGetElement: what the optional holds; from opset 18 on the operand may be no optional.
func inferOptionalGetElement(c *call) {
	switch x := c.arg(0); {
	case x.kind == ir.KindOptional && x.of != nil:
		c.out[0] = x.of
	case x.kind != ir.KindOptional && x.kind != ir.KindNone:
		c.copyOf(0, 0)
	}
}
