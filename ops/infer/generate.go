package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// inferRandom: attributes shape and dtype.
func inferRandom(c *call) {
	c.setElem(0, ir.DType(c.int("dtype")))
	if c.hasAttr("shape") {
		r := []Int{}
		for _, n := range c.attrInts("shape") {
			r = append(r, Num(n))
		}
		c.set(0, r)
	}
}

// inferLike: the operand's shape, and its type unless attribute dtype names one.
func inferLike(c *call) {
	c.setLike(0, 0)
	if c.hasAttr("dtype") {
		c.setElem(0, ir.DType(c.int("dtype")))
	} else if c.elem(0) != ir.Undefined {
		c.setElem(0, c.elem(0))
	}
}

// inferMultinomial: [batch, sample_size] of type dtype.
func inferMultinomial(c *call) {
	c.setElem(0, ir.DType(c.int("dtype")))
	r := []Int{{}, Num(c.int("sample_size"))}
	if d, ok := c.dims(0); ok && len(d) == 2 {
		r[0] = d[0]
	}
	c.set(0, r)
}

// inferWindow: a vector of the length in operand 0, of type output_datatype.
func inferWindow(c *call) {
	c.setElem(0, ir.DType(c.int("output_datatype")))
	r := vector(1)
	if n := c.scalar(0); n.NonNeg() || c.isSizeOperand(0) {
		r[0] = n
	}
	c.set(0, r)
}

// inferMel: [dft_length/2 + 1, num_mel_bins].
func inferMel(c *call) {
	c.setElem(0, ir.DType(c.int("output_datatype")))
	c.set(0, []Int{c.scalar(1).FloorDiv(Num(2)).Add(Num(1)), c.scalar(0)})
}

// inferDFT: [..., axis transformed, ..., 2]. One side of the spectrum has n/2 + 1 entries.
func inferDFT(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	if len(d) < 2 {
		c.errorf("the signal has rank %d", len(d))
		return
	}
	at, known := c.int("axis"), true
	if c.since() >= 20 {
		at = -2
		if c.has(2) {
			at, known = c.scalar(2).Const()
		}
	}
	oneSided, inverse := c.int("onesided") != 0, c.int("inverse") != 0
	r := vector(len(d))
	if !known {
		if !oneSided && !c.has(1) {
			copy(r, d)
		}
		r[len(d)-1] = Num(2) // the last axis is never the one that is transformed
		if oneSided && inverse {
			r[len(d)-1] = Num(1)
		}
		c.set(0, r)
		return
	}
	k, ok := c.axis(at, len(d))
	if !ok {
		return
	}
	copy(r, d)
	n := d[k]
	if c.has(1) {
		n = c.scalar(1)
	}
	r[len(d)-1] = Num(2)
	switch {
	case oneSided && inverse:
		r[len(d)-1] = Num(1)
		if !c.has(1) {
			n = n.Sub(Num(1)).Mul(Num(2))
		}
	case oneSided:
		n = n.FloorDiv(Num(2)).Add(Num(1))
	}
	r[k] = n
	c.set(0, r)
}

// inferSTFT: signal [batch, length, 1 or 2] gives [batch, frames, bins, 2].
func inferSTFT(c *call) {
	d, ok := c.dims(0)
	r := []Int{{}, {}, {}, Num(2)}
	size := c.scalar(3)
	if w, ok := c.dims(2); ok && c.has(2) && len(w) == 1 && !size.known {
		size = w[0]
	}
	step := c.scalar(1)
	if ok && len(d) >= 2 {
		r[0] = d[0]
		r[1] = d[1].Sub(size).FloorDiv(step).Add(Num(1))
	}
	r[2] = size
	if c.int("onesided") != 0 {
		r[2] = size.FloorDiv(Num(2)).Add(Num(1))
	}
	c.set(0, r)
}

// inferTfIdf: one entry for each n-gram index, after the batch if there is one.
func inferTfIdf(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	n := Int{}
	if ids := c.attrInts("ngram_indexes"); len(ids) > 0 {
		n = Num(slices.Max(ids)).Add(Num(1))
	}
	switch len(d) {
	case 0, 1:
		c.set(0, []Int{n})
	case 2:
		c.set(0, []Int{d[0], n})
	default:
		c.errorf("the operand has rank %d", len(d))
	}
}

// inferStringSplit: the parts along a new last axis, and how many there are.
func inferStringSplit(c *call) {
	if d, ok := c.dims(0); ok {
		c.set(0, append(slices.Clone(d), Int{}))
		c.setLike(1, 0)
	}
}

// inferStringNormalizer: stop words go, so that the length is not known.
func inferStringNormalizer(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	r := slices.Clone(d)
	if len(r) > 0 {
		r[len(r)-1] = Int{}
	}
	c.set(0, r)
}

// inferImage: a decoded image [H, W, C].
func inferImage(c *call) {
	ch := Num(3)
	if c.str("pixel_format") == "Grayscale" {
		ch = Num(1)
	}
	c.set(0, []Int{{}, {}, ch})
}

// inferConstant: the value of the one attribute there is.
func inferConstant(c *call) {
	attrs := c.n.Attrs()
	if len(attrs) != 1 {
		return
	}
	a := c.a.resolve(attrs[0])
	if a == nil {
		return
	}
	name := attrs[0].Name
	switch {
	case name == "sparse_value" && a.Sparse() != nil:
		s := a.Sparse()
		r := []Int{}
		for _, n := range s.Dims {
			r = append(r, Num(n))
		}
		c.setElem(0, s.Values.DType())
		c.set(0, r)
	case c.n.Result(0) != nil && a == attrs[0] && c.n.Result(0).Const() != nil:
		c.out[0] = constInfo(c.n.Result(0).Const())
	case name == "value" && a.Tensor() != nil:
		c.out[0] = constInfo(a.Tensor())
	case a.Kind == ir.AttrFloat:
		c.out[0] = constInfo(ir.ScalarOf(a.Float()))
	case a.Kind == ir.AttrInt:
		c.out[0] = constInfo(ir.ScalarOf(a.Int()))
	case a.Kind == ir.AttrInts:
		c.out[0] = constInfo(ir.TensorOf(a.Ints()))
	case a.Kind == ir.AttrFloats:
		c.out[0] = constInfo(ir.TensorOf(a.Floats()))
	case a.Kind == ir.AttrString:
		c.out[0] = constInfo(ir.NewStringTensor([]int64{}, []string{a.Str()}))
	case a.Kind == ir.AttrStrings:
		c.out[0] = constInfo(ir.NewStringTensor([]int64{int64(len(a.Strs()))}, a.Strs()))
	}
}
