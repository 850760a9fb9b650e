package infer

import "github.com/onnxopt/onnxopt/ir"

// inferDynamicQuantize: the operand's shape, and a scalar scale and zero point.
func inferDynamicQuantize(c *call) {
	c.setLike(0, 0)
	c.set(1, []Int{})
	c.set(2, []Int{})
}

// inferQuantize: the type is the zero point's, or attribute output_dtype, or uint8.
func inferQuantize(c *call) {
	c.setLike(0, 0)
	c.quantAxis()
	to := ir.DType(c.int("output_dtype"))
	if c.has(2) && c.elem(2) != ir.Undefined {
		if to != ir.Undefined && to != c.elem(2) {
			c.errorf("attribute output_dtype is %s, the zero point has type %s", to, c.elem(2))
		}
		to = c.elem(2)
	}
	if to == ir.Undefined && !c.has(2) {
		to = ir.Uint8
	}
	if to != ir.Undefined {
		c.setElem(0, to)
	}
}

// inferDequantize: the type is the scale's, or attribute output_dtype.
func inferDequantize(c *call) {
	c.setLike(0, 0)
	c.quantAxis()
	if to := ir.DType(c.int("output_dtype")); to != ir.Undefined {
		c.setElem(0, to)
	} else if c.elem(1) != ir.Undefined {
		c.setElem(0, c.elem(1))
	}
}

// quantAxis checks the axis where the scale is a vector.
func (c *call) quantAxis() {
	d, ok := c.dims(0)
	if s, ok2 := c.dims(1); !ok || !ok2 || len(s) == 0 || c.schema.Attr("axis") == nil {
		return
	} else if len(s) == 1 && s[0].Is(1) && !c.hasAttr("axis") {
		return
	}
	c.axis(c.int("axis"), len(d))
}
