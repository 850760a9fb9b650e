package infer

import (
	"slices"
	"strings"

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

// omits reports whether one of the needed operands may be omitted all the same.
func (r contribRow) omits(i int) bool {
	switch r.name {
	case "EmbedLayerNormalization", "QEmbedLayerNormalization":
		return i == 1 || i == 4 || i == 7
	case "GroupQueryAttention":
		return i > 0
	}
	return i > 0 && strings.HasPrefix(r.name, "QL")
}

// contribRules holds operators of domain com.microsoft, sorted by name: those that its optimizers and quantizers write.
var contribRules = []contribRow{
	{"Attention", "Identity", 2, contribAttention},
	{"BiasAdd", "Identity", 2, contribSame},
	{"BiasDropout", "Identity", 2, contribDropout},
	{"BiasGelu", "Identity", 2, contribSame},
	{"BiasSoftmax", "Identity", 2, contribSame},
	{"BiasSplitGelu", "Identity", 2, contribSplitGelu},
	{"CDist", "Identity", 2, contribCDist},
	{"DequantizeLinear", "DequantizeLinear", 2, contribDequantize},
	{"DynamicQuantizeLSTM", "LSTM", 3, contribLSTM},
	{"DynamicQuantizeMatMul", "MatMul", 3, contribMatMul(0)},
	{"EmbedLayerNormalization", "Identity", 7, contribEmbed},
	{"ExpandDims", "Identity", 2, contribExpandDims},
	{"FastGelu", "Identity", 1, contribSame},
	{"FusedConv", "Conv", 2, contribConv},
	{"FusedGemm", "Gemm", 2, contribGemm},
	{"FusedMatMul", "MatMul", 2, contribFusedMatMul},
	{"FusedMatMulActivation", "MatMul", 2, contribFusedMatMul},
	{"GatedRelativePositionBias", "Identity", 1, contribGatedBias},
	{"GatherBlockQuantized", "Identity", 3, contribGatherBlocks},
	{"GatherND", "GatherND", 2, like(inferGatherND)},
	{"Gelu", "Identity", 1, contribSame},
	{"GemmFastGelu", "MatMul", 2, contribMatMul(0)},
	{"GroupNorm", "Identity", 3, contribSame},
	{"GroupQueryAttention", "Identity", 7, contribGroupQuery},
	{"Inverse", "Identity", 1, contribSame},
	{"MatMulBnb4", "Identity", 3, contribNBits},
	{"MatMulInteger16", "MatMul", 2, contribFixed(ir.Int32)},
	{"MatMulIntegerToFloat", "MatMul", 4, contribMatMul(3)},
	{"MatMulNBits", "Identity", 3, contribNBits},
	{"MoE", "Identity", 2, contribSame},
	{"MultiHeadAttention", "Identity", 1, contribMultiHead},
	{"NhwcFusedConv", "Conv", 2, contribNhwc(inferConv)},
	{"NhwcMaxPool", "MaxPool", 1, contribNhwc(inferPool)},
	{"Pad", "Pad", 2, like(inferPad)},
	{"QAttention", "Identity", 5, contribQAttention},
	{"QEmbedLayerNormalization", "Identity", 13, contribQEmbed},
	{"QGemm", "Gemm", 6, contribQGemm},
	{"QLinearAdd", "Identity", 7, contribBroadcast(0, 3)},
	{"QLinearAveragePool", "AveragePool", 4, contribPool(inferPool)},
	{"QLinearConcat", "Concat", 5, contribConcat},
	{"QLinearConv", "Conv", 8, contribQLinearConv},
	{"QLinearGlobalAveragePool", "GlobalAveragePool", 5, contribPool(inferGlobalPool)},
	{"QLinearLeakyRelu", "Identity", 4, contribSame},
	{"QLinearMul", "Identity", 7, contribBroadcast(0, 3)},
	{"QLinearReduceMean", "Identity", 4, contribReduce},
	{"QLinearSigmoid", "Identity", 4, contribSame},
	{"QLinearSoftmax", "Identity", 5, contribSame},
	{"QLinearWhere", "Identity", 9, contribBroadcast(1, 0, 4)},
	{"QMoE", "Identity", 2, contribSame},
	{"QuantizeLinear", "QuantizeLinear", 2, contribQuantize},
	{"QuickGelu", "Identity", 1, contribSame},
	{"Range", "Range", 2, like(inferRange)},
	{"RelativePositionBias", "Identity", 3, contribRelativeBias},
	{"RotaryEmbedding", "Identity", 4, contribSame},
	{"SkipGroupNorm", "Identity", 3, contribSkipGroupNorm},
	{"SkipLayerNormalization", "Identity", 3, contribSkipNorm},
	{"SkipSimplifiedLayerNormalization", "Identity", 3, contribSkipNorm},
	{"SwiGLU", "Identity", 2, contribSame},
	{"TransposeMatMul", "MatMul", 2, contribFusedMatMul},
	{"Trilu", "Identity", 1, contribSame},
	{"Unique", "Identity", 1, contribUnique},
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
	case op == ir.Op("LayerNormalization"): // which ONNX Runtime has in operator sets before the standard's
		row = contribRow{op.Type, op.Type, 2, like(inferLayerNorm)}
	case op.Domain == "com.microsoft" || op.Domain == "com.microsoft.nchwc":
		rows := contribRules
		if op.Domain != "com.microsoft" {
			rows = nchwcRules
		}
		i, ok := slices.BinarySearchFunc(rows, op.Type, func(r contribRow, name string) int { return strings.Compare(r.name, name) })
		if !ok {
			return
		}
		row = rows[i]
	default:
		return
	}
	for i := range row.need {
		if !c.has(i) && !row.omits(i) {
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
		if c.int("channels_last") != 0 {
			c.onChannelsFirst(func() { pool(c) })
		} else {
			pool(c)
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
