package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// rows is the number of rows of operand 0, a matrix; a vector is one row.
func (c *call) rows() Int {
	d, ok := c.dims(0)
	switch {
	case ok && len(d) == 2:
		return d[0]
	case ok && len(d) == 1:
		return Num(1)
	}
	return Int{}
}

// inferArrayFeature: as many entries along the last axis as there are indices.
func inferArrayFeature(c *call) {
	d, ok := c.dims(0)
	if !ok || len(d) == 0 {
		return
	}
	r := slices.Clone(d)
	r[len(d)-1] = c.countOf(1)
	if len(d) == 1 {
		r = []Int{Num(1), r[0]}
	}
	c.set(0, r)
}

// inferCategoryMapper: strings become integers, integers strings.
func inferCategoryMapper(c *call) {
	c.setLike(0, 0)
	switch c.elem(0) {
	case ir.String:
		c.setElem(0, ir.Int64)
	case ir.Int64:
		c.setElem(0, ir.String)
	}
}

// inferLabelEncoder: the attribute that lists the values has their type.
func inferLabelEncoder(c *call) {
	c.setLike(0, 0)
	if c.since() == 1 {
		inferCategoryMapper(c)
		return
	}
	switch {
	case c.hasAttr("values_strings"):
		c.setElem(0, ir.String)
	case c.hasAttr("values_int64s"):
		c.setElem(0, ir.Int64)
	case c.hasAttr("values_floats"):
		c.setElem(0, ir.Float32)
	}
	if t := c.attr("values_tensor").Tensor(); t != nil {
		c.setElem(0, t.DType())
	}
}

// inferOneHotEncoder: a new last axis with one entry a category.
func inferOneHotEncoder(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	n := max(len(c.attrInts("cats_int64s")), len(c.attr("cats_strings").Strs()))
	c.set(0, append(slices.Clone(d), Num(int64(n))))
}

// inferClassifier: a label a row, and a matrix of scores. The attribute that lists the labels has their type and number.
func inferClassifier(strings, ints string) rule {
	return func(c *call) {
		labels := c.attr(strings).Strs()
		n := max(len(labels), len(c.attrInts(ints)))
		d := ir.Int64
		if len(labels) > 0 {
			d = ir.String
		}
		c.setElem(0, d)
		rows := c.rows()
		if !rows.known {
			rows = c.a.fresh()
		}
		c.set(0, []Int{rows})
		scores := []Int{rows, {}}
		if n > 2 {
			scores[1] = Num(int64(n)) // with two classes some models give one score
		}
		c.set(1, scores)
	}
}

// inferRegressor: [rows, targets]; attribute name holds the number of targets.
func inferRegressor(name string) rule {
	return func(c *call) { c.set(0, []Int{c.rows(), Num(c.int(name))}) }
}

func inferSVMRegressor(c *call) { c.set(0, []Int{c.rows(), Num(1)}) }

// inferFeatureVectorizer: the rows' entries side by side.
func inferFeatureVectorizer(c *call) {
	r := []Int{c.rows(), {}}
	if dims := c.attrInts("inputdimensions"); len(dims) > 0 {
		sum := Num(0)
		for _, n := range dims {
			sum = sum.Add(Num(n))
		}
		r[1] = sum
	}
	c.set(0, r)
}

// inferZipMap: a sequence of maps from label to score.
func inferZipMap(c *call) {
	key := ir.Int64
	if len(c.attr("classlabels_strings").Strs()) > 0 {
		key = ir.String
	}
	score := &info{kind: ir.KindTensor, elem: ir.Float32, ranked: true, dims: []Int{}}
	c.out[0] = &info{kind: ir.KindSequence, of: &info{kind: ir.KindMap, elem: key, of: score}}
}

// inferCastMap: a row of values of type cast_to.
func inferCastMap(c *call) {
	to := map[string]ir.DType{"TO_FLOAT": ir.Float32, "TO_STRING": ir.String, "TO_INT64": ir.Int64}[c.str("cast_to")]
	if to != ir.Undefined {
		c.setElem(0, to)
	}
}

// inferLoss: a scalar, or with reduction none the target's shape; SoftmaxCrossEntropyLoss also gives the logarithms of the
// probabilities, in the scores' shape.
func inferLoss(c *call) {
	if c.str("reduction") == "none" {
		c.setLike(0, 1)
	} else {
		c.set(0, []Int{})
	}
	c.setLike(1, 0)
}

// inferOptimizer: R, T, then n parameters, their gradients and states; the results are the new parameters and states.
func inferOptimizer(states int) rule {
	return func(c *call) {
		n := (len(c.in) - 2) / (2 + states)
		if n <= 0 || (len(c.in)-2)%(2+states) != 0 {
			c.errorf("%d operands are no whole number of parameters", len(c.in)-2)
			return
		}
		for i := range c.out {
			from := 2 + i
			if i >= n {
				from = 2 + n + i // gradients have no result
			}
			if x := c.arg(from); x.kind != ir.KindNone {
				c.out[i] = x.withoutData()
			}
		}
	}
}
