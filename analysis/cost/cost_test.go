package cost

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

func typ(dims ...int64) *ir.Type { return ir.TensorType(ir.Float32, ir.StaticShape(dims...)) }

func zeros(dims ...int64) *ir.Tensor {
	return ir.TensorOf(make([]float32, ir.NumElements(dims)), dims...)
}

// one builds a node over inputs of the given types; the result has type out.
func one(op ir.OpID, out *ir.Type, in []*ir.Type, attrs ...*ir.Attr) *ir.Node {
	m := ir.NewModel(8, 17)
	var vs []*ir.Value
	for _, t := range in {
		vs = append(vs, m.Main.AddInput("", t))
	}
	n := m.Main.New(nil, op, vs, attrs...)
	n.Result(0).SetType(out)
	return n
}

func TestFormulas(t *testing.T) {
	for _, c := range []struct {
		name string
		n    *ir.Node
		want int64
	}{
		// ResNet-50's first convolution: 112*112*64 * 3*7*7 = 118013952, as the papers count it.
		{"conv", one(ir.Op("Conv"), typ(1, 64, 112, 112), []*ir.Type{typ(1, 3, 224, 224), typ(64, 3, 7, 7)}), 118013952},
		{"depthwise", one(ir.Op("Conv"), typ(1, 8, 10, 10), []*ir.Type{typ(1, 8, 10, 10), typ(8, 1, 3, 3)}), 8 * 100 * 9},
		{"1-d", one(ir.Op("ConvInteger"), typ(2, 4, 10), []*ir.Type{typ(2, 3, 12), typ(4, 3, 3)}), 2 * 4 * 10 * 9},
		{"qlinear", one(ir.Op("QLinearConv"), typ(1, 2, 5, 5), []*ir.Type{typ(1, 3, 5, 5), typ(), typ(), typ(2, 3, 1, 1)}), 150},
		{"transpose", one(ir.Op("ConvTranspose"), nil, []*ir.Type{typ(1, 3, 5, 5), typ(3, 4, 2, 2)}), 3 * 25 * 16},
		{"matmul", one(ir.Op("MatMul"), nil, []*ir.Type{typ(3, 4), typ(4, 5)}), 60},
		{"batched", one(ir.Op("MatMul"), nil, []*ir.Type{typ(2, 1, 3, 4), typ(7, 4, 5)}), 2 * 7 * 60},
		{"vectors", one(ir.Op("MatMul"), nil, []*ir.Type{typ(4), typ(4)}), 4},
		{"matrix by vector", one(ir.Op("MatMul"), nil, []*ir.Type{typ(2, 3, 4), typ(4)}), 24},
		{"vector by matrix", one(ir.Op("MatMul"), nil, []*ir.Type{typ(4), typ(2, 4, 5)}), 40},
		{"empty", one(ir.Op("MatMul"), nil, []*ir.Type{typ(0, 4), typ(4, 5)}), 0},
		{"gemm", one(ir.Op("Gemm"), nil, []*ir.Type{typ(4, 3), typ(5, 4)}, ir.IntAttr("transA", 1), ir.IntAttr("transB", 1)), 60},
		{"lstm", one(ir.Op("LSTM"), nil, []*ir.Type{typ(10, 2, 6), typ(2, 32, 6), typ(2, 32, 8)}), 10 * 2 * 2 * 32 * 14},
		{"einsum", one(ir.Op("Einsum"), nil, []*ir.Type{typ(2, 3), typ(3, 4)}, ir.StringAttr("equation", "ij, jk->ik")), 24},
		{"blocks", one(ir.OpID{Domain: "com.microsoft", Type: "MatMulNBits"}, typ(3, 5), []*ir.Type{typ(3, 16), ir.TensorType(ir.Uint8, ir.StaticShape(5, 1, 8)), typ(5, 1)},
			ir.IntAttr("K", 16), ir.IntAttr("N", 5), ir.IntAttr("bits", 4), ir.IntAttr("block_size", 16)), 240},
		{"fused", one(ir.OpID{Domain: "com.microsoft", Type: "FusedMatMul"}, nil, []*ir.Type{typ(3, 4), typ(4, 5)}), 60},
		{"huge", one(ir.Op("MatMul"), nil, []*ir.Type{typ(1<<40, 1<<40), typ(1<<40, 1<<40)}), math.MaxInt64},
	} {
		macs, products, err := Node(c.n, Options{})
		assert.NoError(t, err, c.name)
		assert.True(t, products, c.name)
		assert.Equal(t, c.want, macs, c.name)
	}
	_, products, err := Node(one(ir.Op("Relu"), nil, []*ir.Type{nil}), Options{})
	assert.False(t, products)
	assert.NoError(t, err)
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	sym := ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N"), ir.Static(4)})
	for _, c := range []struct {
		n    *ir.Node
		want string
	}{
		{one(ir.Op("MatMul"), nil, []*ir.Type{sym, typ(4, 5)}), `node "" (MatMul): the size of dimension N is not known`},
		{one(ir.Op("MatMul"), nil, []*ir.Type{nil, typ(4, 5)}), `node "" (MatMul): the shape of operand 0 is not known`},
		{one(ir.Op("MatMul"), nil, []*ir.Type{typ(), typ(4, 5)}), `node "" (MatMul): a tensor of shape [] has no axis -1`},
		{one(ir.Op("Conv"), nil, []*ir.Type{typ(1, 1, 1), typ(1, 1)}), `node "" (Conv): a tensor of shape [1,1] has no axis 2`},
		{one(ir.Op("Conv"), nil, []*ir.Type{typ(1, 1, 1)}), `node "" (Conv): the shape of operand 1 is not known`},
		{one(ir.Op("Gemm"), nil, []*ir.Type{typ(3, 4), typ(4, 5)}, ir.IntAttr("transA", -7)), ``},
		{one(ir.Op("Einsum"), nil, []*ir.Type{typ(1)}, ir.StringAttr("equation", "...i,i")), `node "" (Einsum): the equation "...i,i" has an ellipsis`},
	} {
		_, _, err := Node(c.n, Options{})
		if c.want == "" {
			assert.NoError(t, err)
		} else {
			assert.EqualError(t, err, c.want)
		}
	}
	n := one(ir.Op("MatMul"), nil, []*ir.Type{sym, typ(4, 5)})
	macs, _, err := Node(n, Options{Sizes: map[string]int64{"N": 3}})
	require.NoError(t, err)
	assert.EqualValues(t, 60, macs)
}

// product adds a product of 1x4 and 4xn to g.
func product(g *ir.Graph, x *ir.Value, n int64) *ir.Value {
	return g.New(nil, ir.Op("MatMul"), []*ir.Value{x, g.Const(zeros(4, n))}).Result(0)
}

func TestModelWithGraphsInside(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", typ(1, 4))
	y := product(g, x, 4) // 16
	f := m.NewFunction(ir.OpID{Domain: "l", Type: "F"})
	fx := f.Graph.AddInput("x", typ(1, 4))
	f.Graph.AddOutput("y", product(f.Graph, fx, 2), nil) // 8, twice
	f1, f2 := g.New(nil, f.ID(), []*ir.Value{x}), g.New(nil, f.ID(), []*ir.Value{x})
	then, els := g.NewSubgraph("t"), g.NewSubgraph("e")
	then.AddOutput("", product(then, x, 10), nil) // 40
	els.AddOutput("", product(els, x, 1), nil)
	i := g.New(nil, ir.Op("If"), []*ir.Value{nil}, ir.GraphAttr("then_branch", then), ir.GraphAttr("else_branch", els))
	body := g.NewSubgraph("b")
	body.AddOutput("", product(body, x, 1), nil) // 4, seven times
	loop := g.New(nil, ir.Op("Loop"), []*ir.Value{g.Const(ir.ScalarOf(int64(7)))}, ir.GraphAttr("body", body))
	endless := g.NewSubgraph("b")
	endless.AddOutput("", product(endless, x, 1), nil) // 4, who knows how often
	l2 := g.New(nil, ir.Op("Loop"), []*ir.Value{nil}, ir.GraphAttr("body", endless))
	scan := g.NewSubgraph("s")
	scan.AddInput("state", typ(1, 4))
	scan.AddOutput("", product(scan, x, 1), nil) // 4, five times
	xs := g.AddInput("xs", typ(2, 5))
	sc := g.New(nil, ir.Op("Scan"), []*ir.Value{x, xs}, ir.GraphAttr("body", scan), ir.IntAttr("num_scan_inputs", 1), ir.IntsAttr("scan_input_axes", []int64{1}))
	r := Model(m, Options{})
	assert.Equal(t, map[*ir.Node]Count{y.Node(): {MACs: 16}, f1: {MACs: 8}, f2: {MACs: 8}, i: {MACs: 40}, loop: {MACs: 28},
		l2: {MACs: 4, Unknown: 1}, sc: {MACs: 20}}, r.Nodes)
	assert.Equal(t, Count{MACs: 124, Unknown: 1}, r.Count)
	assert.EqualValues(t, 248, r.FLOPs())
	assert.Equal(t, Count{MACs: 124}, r.ByOp[ir.Op("MatMul")])
}

func TestConstants(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	shared := ir.TensorOf([]float32{0, 1, float32(math.Copysign(0, -1)), 2})
	g.Const(shared)
	g.Const(shared)
	g.AddInput("x", nil).SetDefault(ir.TensorOf([]int64{0, 1}))
	g.New(nil, ir.Op("Constant"), nil, ir.TensorAttr("value", ir.NewTensor(ir.Int4, []int64{3}, []byte{0x80, 0x00})))
	s := g.NewSubgraph("s")
	s.Const(ir.NewStringTensor([]int64{2}, []string{"ab", "c"}))
	g.New(nil, ir.Op("If"), nil, ir.GraphAttr("then_branch", s))
	c := Model(m, Options{}).Constants
	assert.Equal(t, 4, c.Tensors)
	assert.EqualValues(t, 4+2+3+2, c.Parameters)
	assert.EqualValues(t, 16+16+2+3, c.Bytes)
	z, n, err := c.Sparsity()
	require.NoError(t, err)
	assert.EqualValues(t, 9, n)
	assert.EqualValues(t, 2+1+2, z)
	g.Const(ir.NewTensor(ir.Float32, []int64{9}, nil))
	_, _, err = Model(m, Options{}).Constants.Sparsity()
	assert.Error(t, err)
}
