package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// contribRow is the rule of an operator of ONNX Runtime, which has no schema here. Attributes have the defaults of the standard
// operator like; operands before that number are needed.
type contribRow struct {
	name string
	like string
	need int
	rule rule
}

// contribRules holds operators of domain com.microsoft.
var contribRules = []contribRow{
	{"Attention", "Identity", 2, contribAttention},
	{"BiasGelu", "Identity", 2, contribSame},
	{"DequantizeLinear", "DequantizeLinear", 2, contribDequantize},
	{"DynamicQuantizeLSTM", "LSTM", 3, contribLSTM},
	{"DynamicQuantizeMatMul", "MatMul", 3, contribMatMul(0)},
	{"EmbedLayerNormalization", "Identity", 7, contribEmbed},
	{"FastGelu", "Identity", 1, contribSame},
	{"FusedConv", "Conv", 2, contribConv},
	{"FusedGemm", "Gemm", 2, contribGemm},
	{"FusedMatMul", "MatMul", 2, contribFusedMatMul},
	{"GatherBlockQuantized", "Identity", 3, contribGatherBlocks},
	{"Gelu", "Identity", 1, contribSame},
	{"GroupQueryAttention", "Identity", 7, contribGroupQuery},
	{"MatMulIntegerToFloat", "MatMul", 4, contribMatMul(3)},
	{"MatMulNBits", "Identity", 3, contribNBits},
	{"MultiHeadAttention", "Identity", 1, contribMultiHead},
	{"QGemm", "Gemm", 6, contribQGemm},
	{"QLinearAdd", "Identity", 7, contribBroadcast(0, 3)},
	{"QLinearAveragePool", "AveragePool", 4, contribPool(inferPool)},
	{"QLinearConcat", "Concat", 5, contribConcat},
	{"QLinearGlobalAveragePool", "GlobalAveragePool", 5, contribPool(inferGlobalPool)},
	{"QLinearLeakyRelu", "Identity", 4, contribSame},
	{"QLinearMul", "Identity", 7, contribBroadcast(0, 3)},
	{"QLinearReduceMean", "Identity", 4, contribReduce},
	{"QLinearSigmoid", "Identity", 4, contribSame},
	{"QLinearSoftmax", "Identity", 5, contribSame},
	{"QLinearWhere", "Identity", 9, contribBroadcast(1, 0, 4)},
	{"QuantizeLinear", "QuantizeLinear", 2, contribQuantize},
	{"QuickGelu", "Identity", 1, contribSame},
	{"RotaryEmbedding", "Identity", 4, contribSame},
	{"SkipLayerNormalization", "Identity", 3, contribSkipNorm},
	{"SkipSimplifiedLayerNormalization", "Identity", 3, contribSkipNorm},
}

// contrib applies the rule of an operator of ONNX Runtime, if there is one and the node has the operands that it needs.
func (c *call) contrib() {
	op := c.n.Op()
	var row contribRow
	switch {
	case op.Overload != "":
		return
	case op == ir.Op("SimplifiedLayerNormalization"): // in the default domain, though not of the standard
		row = contribRow{op.Type, "LayerNormalization", 2, contribSimplifiedNorm}
	case op.Domain == "com.microsoft":
		i := slices.IndexFunc(contribRules, func(r contribRow) bool { return r.name == op.Type })
		if i < 0 {
			return
		}
		row = contribRules[i]
	default:
		return
	}
	for i := range row.need {
		if !c.has(i) && !(op.Type == "EmbedLayerNormalization" || op.Type == "GroupQueryAttention" || i > 0 && op.Type[:2] == "QL") {
			return
		}
	}
	if c.schema = schema.Lookup(ir.Op(row.like), schema.Newest("")); c.schema != nil {
		row.rule(c)
	}
}

// like0 gives result 0 the element type of operand i.
func (c *call) like0(i int) {
	if d := c.elem(i); d != ir.Undefined {
		c.setElem(0, d)
	}
}

func contribSame(c *call) {
	c.like0(0)
	c.setLike(0, 0)
}

func contribConv(c *call) {
	c.like0(0)
	c.conv(0, 1)
}

func contribGemm(c *call) {
	c.like0(0)
	inferGemm(c)
}

func contribLSTM(c *call) {
	for i := range c.out {
		c.setElem(i, ir.Float32)
	}
	inferRecurrent(c)
}

func contribQuantize(c *call) {
	c.setLike(0, 0)
	if c.has(2) {
		c.like0(2)
	} else {
		c.setElem(0, ir.Uint8)
	}
}

func contribDequantize(c *call) {
	c.setLike(0, 0)
	c.like0(1)
}

// contribMatMul is the product of operands 0 and 1 with the element type of operand i.
func contribMatMul(i int) rule {
	return func(c *call) {
		c.like0(i)
		c.matmul(0, 1)
	}
}

// withDims is operand i with other dimensions and nothing known of its content.
func (c *call) withDims(i int, dims []Int) {
	x := *c.in[i]
	x.dims, x.data, x.tensor, x.exported = dims, nil, nil, nil
	c.in[i] = &x
}

// contribFusedMatMul: transBatch moves the first axis behind the batch's, trans swaps the last two.
func contribFusedMatMul(c *call) {
	c.like0(0)
	c.in = slices.Clone(c.in)
	for i, name := range []string{"A", "B"} {
		d, ok := c.dims(i)
		n := len(d)
		if !ok {
			return
		}
		if n < 2 {
			continue
		}
		d = slices.Clone(d)
		if c.int("transBatch"+name) != 0 {
			d = slices.Concat(d[1:n-1], d[:1], d[n-1:])
		}
		if c.int("trans"+name) != 0 {
			d[n-2], d[n-1] = d[n-1], d[n-2]
		}
		c.withDims(i, d)
	}
	c.matmul(0, 1)
}

// contribQGemm is Gemm of operands 0 and 3; the result is quantized if operand 8 is given.
func contribQGemm(c *call) {
	if c.has(8) {
		c.like0(8)
	} else {
		c.setElem(0, ir.Float32)
	}
	c.in = []*info{c.in[0], c.in[3]}
	inferGemm(c)
}

// contribBroadcast is an operator on operands that broadcast; the result has the element type of the first that is listed.
func contribBroadcast(operands ...int) rule {
	return func(c *call) {
		c.like0(operands[0])
		var shapes [][]Int
		for _, i := range operands {
			d, ok := c.dims(i)
			if !ok {
				return
			}
			shapes = append(shapes, d)
		}
		if d, ok := c.broadcastShapes(shapes...); ok {
			c.set(0, d)
		}
	}
}

// contribPool is a pooling whose channels are in the last axis with channels_last.
func contribPool(pool rule) rule {
	return func(c *call) {
		c.like0(0)
		d, ok := c.dims(0)
		if !ok || len(d) < 3 {
			return
		}
		last, n := c.int("channels_last") != 0, len(d)
		if last {
			c.in = slices.Clone(c.in)
			c.withDims(0, slices.Concat(d[:1], d[n-1:], d[1:n-1]))
		}
		pool(c)
		if r := c.result(0); last && r.ranked && len(r.dims) == n {
			c.set(0, slices.Concat(r.dims[:1], r.dims[2:], r.dims[1:2]))
		}
	}
}

// contribConcat joins operands 2, 5, 8 ...
func contribConcat(c *call) {
	c.like0(1)
	in := c.in
	c.in = nil
	for i := 2; i < len(in); i += 3 {
		if in[i] == nil {
			return
		}
		x := *in[i]
		x.data, x.tensor = nil, nil
		c.in = append(c.in, &x)
	}
	inferConcat(c)
	c.result(0).data = nil
}

// contribReduce takes the axes away, or makes them 1 with keepdims.
func contribReduce(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	if !ok {
		return
	}
	axes, ok := c.axes(c.attrInts("axes"), len(d))
	if !ok {
		return
	}
	keep := !c.hasAttr("keepdims") || c.int("keepdims") != 0
	r := []Int{}
	for i, x := range d {
		switch gone := len(axes) == 0 || slices.Contains(axes, i); {
		case gone && keep:
			r = append(r, Num(1))
		case !gone:
			r = append(r, x)
		}
	}
	c.set(0, r)
}
