package grad_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/grad"
)

// sets are cases of one kind: a signature in which all inputs of type double are differentiated, and the nodes that make y.
var sets = []struct{ name, inputs, nodes string }{
	{"Add", "double[2,3] a, double[3] b", "y = Add(a, b)"},
	{"AddScalar", "double[2,3] a, double b", "y = Add(a, b)"},
	{"SubBothWays", "double[2,1] a, double[1,3] b", "y = Sub(a, b)"},
	{"Mul", "double[2,1,3] a, double[4,1] b", "y = Mul(a, b)"},
	{"MulSelf", "double[2,3] a", "y = Mul(a, a)"},
	{"MulOpenSizes", "double[N,M] a, double[K,3] b", "y = Mul(a, b)"},
	{"Div", "double[2,3] a, double[3] b", "y = Div(a, b)"},
	{"Neg", "double[5] a", "y = Neg(a)"},
	{"Abs", "double[5] a", "y = Abs(a)"},
	{"Exp", "double[5] a", "y = Exp(a)"},
	{"SqrtLogPow", "double[5] a, double[1] e", "q = Mul(a, a) s = Sqrt(q) l = Log(s) p = Pow(q, e) y = Add(l, p)"},
	{"Relu", "double[9] a", "y = Relu(a)"},
	{"LeakyRelu", "double[9] a", "y = LeakyRelu<alpha = 0.2>(a)"},
	{"Elu", "double[9] a", "y = Elu<alpha = 0.7>(a)"},
	{"Sigmoid", "double[9] a", "y = Sigmoid(a)"},
	{"Tanh", "double[9] a", "y = Tanh(a)"},
	{"Erf", "double[9] a", "y = Erf(a)"},
	{"Softplus", "double[9] a", "y = Softplus(a)"},
	{"SinCos", "double[9] a", "s = Sin(a) y = Cos(s)"},
	{"Reciprocal", "double[9] a", "y = Reciprocal(a)"},
	{"Gelu", "double[9] a", "y = Gelu(a)"},
	{"GeluTanh", "double[9] a", `y = Gelu<approximate = "tanh">(a)`},
	{"HardSigmoid", "double[9] a", "y = HardSigmoid<alpha = 0.9>(a)"},
	{"HardSwish", "double[9] a", "k = Constant<value = double {2.5}>() b = Mul(a, k) y = HardSwish(b)"},
	{"Selu", "double[9] a", "y = Selu<alpha = 1.5, gamma = 1.1>(a)"},
	{"ThresholdedRelu", "double[9] a", "y = ThresholdedRelu<alpha = 0.6>(a)"},
	{"Softsign", "double[9] a", "y = Softsign(a)"},
	{"Mish", "double[9] a", "y = Mish(a)"},
	{"Arcs", "double[9] a", "k = Constant<value = double {0.5}>() h = Mul(a, k) s = Asin(h) t = Atan(a) z = Atanh(h) y = Sum(s, t, z)"},
	{"Acos", "double[9] a", "k = Constant<value = double {0.5}>() h = Mul(a, k) y = Acos(h)"},
	{"Tan", "double[9] a", "k = Constant<value = double {0.5}>() h = Mul(a, k) y = Tan(h)"},
	{"Hyperbolic", "double[9] a", "s = Sinh(a) c = Cosh(a) h = Asinh(a) y = Sum(s, c, h)"},
	{"Acosh", "double[9] a", "k = Constant<value = double {1.5}>() q = Mul(a, a) p = Add(q, k) y = Acosh(p)"},
	{"InstanceNorm", "double[2,3,4,2] x, double[3] s, double[3] b", "y = InstanceNormalization<epsilon = 0.1>(x, s, b)"},
	{"InstanceNormOpen", "double[N,3,W] x, double[3] s, double[3] b", "y = InstanceNormalization(x, s, b)"},
	{"Clip", "double[9] a, double lo, double hi", "n = Abs(lo) l = Neg(n) h = Abs(hi) y = Clip(a, l, h)"},
	{"Min", "double[2,3] a, double[3] b, double[1] c", "y = Min(a, b, c)"},
	{"Max", "double[2,3] a, double[3] b", "y = Max(a, b)"},
	{"SumMean", "double[2,3] a, double[3] b", "s = Sum(a, b, a) y = Mean(s, b)"},
	{"PRelu", "double[2,3,4] a, double[3,1] b", "y = PRelu(a, b)"},
	{"Where", "double[2,3] a, double[3] b", "c = Constant<value = bool[2,1] {1, 0}>() y = Where(c, a, b)"},
	{"Cast", "double[4] a", "b = Mul(a, a) f = Identity(b) y = Cast<to = 11>(f)"},
	{"MatMul", "double[2,3] a, double[3,4] b", "y = MatMul(a, b)"},
	{"MatMulBatch", "double[2,5,2,3] a, double[5,3,4] b", "y = MatMul(a, b)"},
	{"MatMulRepeated", "double[2,1,2,3] a, double[5,3,4] b", "y = MatMul(a, b)"},
	{"MatMulShared", "double[2,5,2,3] a, double[3,4] b", "y = MatMul(a, b)"},
	{"MatMulVectors", "double[3] a, double[3] b", "y = MatMul(a, b)"},
	{"MatMulVectorLeft", "double[3] a, double[2,3,4] b", "y = MatMul(a, b)"},
	{"MatMulVectorRight", "double[2,4,3] a, double[3] b", "y = MatMul(a, b)"},
	{"Gemm", "double[2,3] a, double[3,4] b, double[4] c", "y = Gemm<alpha = 0.5, beta = 2.0>(a, b, c)"},
	{"GemmA", "double[3,2] a, double[3,4] b, double c", "y = Gemm<transA = 1>(a, b, c)"},
	{"GemmB", "double[2,3] a, double[4,3] b, double[2,1] c", "y = Gemm<transB = 1>(a, b, c)"},
	{"GemmAB", "double[3,2] a, double[4,3] b", "y = Gemm<transA = 1, transB = 1>(a, b)"},
	{"Conv", "double[2,3,6,5] x, double[4,3,3,3] w, double[4] b", "y = Conv<pads = [1,1,1,1]>(x, w, b)"},
	{"ConvStride", "double[2,3,8,7] x, double[4,3,3,2] w", "y = Conv<strides = [3,2], pads = [1,0,0,1]>(x, w)"},
	{"ConvDilation", "double[1,2,9,8] x, double[2,2,3,2] w", "y = Conv<dilations = [2,3], strides = [1,2], pads = [1,2,0,1]>(x, w)"},
	{"ConvGroups", "double[2,4,5,5] x, double[6,2,3,3] w, double[6] b", "y = Conv<group = 2, strides = [2,2], pads = [1,1,1,1]>(x, w, b)"},
	{"ConvDepthwise", "double[2,3,5,5] x, double[3,1,3,3] w", "y = Conv<group = 3>(x, w)"},
	{"ConvSameUpper", "double[2,2,6,7] x, double[3,2,3,4] w", `y = Conv<auto_pad = "SAME_UPPER", strides = [2,2]>(x, w)`},
	{"ConvSameLower", "double[2,2,6,7] x, double[3,2,2,4] w", `y = Conv<auto_pad = "SAME_LOWER", strides = [2,3]>(x, w)`},
	{"ConvGroupsUnit", "double[2,4,5,6] x, double[6,2,3,2] w", "y = Conv<group = 2, dilations = [1,2], pads = [2,0,1,2]>(x, w)"},
	{"ConvGroupsUnitOpen", "double[N,4,H,W] x, double[6,2,3,2] w", "y = Conv<group = 2, pads = [1,1,1,0]>(x, w)"},
	{"ConvPadWide", "double[1,2,3,4] x, double[2,2,1,2] w", "y = Conv<pads = [1,2,0,0]>(x, w)"},
	{"Conv1D", "double[2,3,8] x, double[4,3,3] w, double[4] b", "y = Conv<strides = [2]>(x, w, b)"},
	{"Conv3D", "double[1,2,4,5,4] x, double[2,2,2,3,2] w", "y = Conv<strides = [1,2,2], pads = [0,1,0,1,0,1]>(x, w)"},
	{"ConvOpenSizes", "double[N,4,H,W] x, double[4,2,3,3] w", "y = Conv<group = 2, strides = [2,2], pads = [1,0,1,0]>(x, w)"},
	{"ConvTranspose", "double[2,3,3,4] x, double[3,2,3,2] w, double[2] b", "y = ConvTranspose<strides = [2,3], pads = [1,0,0,1], output_padding = [1,2]>(x, w, b)"},
	{"ConvTransposeGroups", "double[2,4,4] x, double[4,3,3] w", "y = ConvTranspose<group = 2, dilations = [2]>(x, w)"},
	{"ConvTransposeSame", "double[1,2,3,3] x, double[2,2,3,3] w", `y = ConvTranspose<auto_pad = "SAME_UPPER", strides = [2,2]>(x, w)`},
	{"ConvTransposeShape", "double[1,2,3,3] x, double[2,2,3,3] w", `y = ConvTranspose<output_shape = [6,5], strides = [2,2]>(x, w)`},
	{"BatchNorm", "double[2,3,4,2] x, double[3] s, double[3] b, double[3] m, double[3] v", "w = Abs(v) y = BatchNormalization(x, s, b, m, w)"},
	{"BatchNorm2D", "double[5,3] x, double[3] s, double[3] b, double[3] m, double[3] v", "w = Abs(v) y = BatchNormalization<epsilon = 0.1>(x, s, b, m, w)"},
	{"BatchNormTrain", "double[2,3,4,2] x, double[3] s, double[3] b", "m = Constant<value = double[3] {0, 0, 0}>() y, rm, rv = BatchNormalization<training_mode = 1>(x, s, b, m, m)"},
	{"BatchNormTrain2D", "double[N,3] x, double[3] s, double[3] b", "m = Constant<value = double[3] {0, 0, 0}>() y, rm, rv = BatchNormalization<training_mode = 1>(x, s, b, m, m)"},
	{"LayerNorm", "double[2,3,4] x, double[4] s, double[4] b", "y = LayerNormalization(x, s, b)"},
	{"LayerNormAxis", "double[2,3,4] x, double[3,4] s", "y = LayerNormalization<axis = 1, epsilon = 0.1>(x, s)"},
	{"Softmax", "double[2,3,4] x", "y = Softmax<axis = 1>(x)"},
	{"LogSoftmax", "double[2,3,4] x", "y = LogSoftmax(x)"},
	{"MaxPool", "double[2,3,6,5] x", "y = MaxPool<kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,1]>(x)"},
	{"MaxPoolCeil", "double[1,2,6] x", "y = MaxPool<kernel_shape = [3], strides = [2], ceil_mode = 1, dilations = [2]>(x)"},
	{"MaxPoolIndices", "double[1,2,6,6] x", "y, i = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x)"},
	{"AveragePool", "double[2,3,6,5] x", "y = AveragePool<kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,1]>(x)"},
	{"AveragePoolTiles", "double[N,3,6,4] x", "y = AveragePool<kernel_shape = [3,2], strides = [3,2]>(x)"},
	{"AveragePoolCount", "double[2,3,6,5] x", "y = AveragePool<kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,1], count_include_pad = 1>(x)"},
	{"AveragePoolCeil", "double[1,2,6,6] x", "y = AveragePool<kernel_shape = [3,3], strides = [2,2], ceil_mode = 1>(x)"},
	{"AveragePoolCeilCount", "double[1,2,6,6] x", "y = AveragePool<kernel_shape = [3,3], strides = [2,2], pads = [1,0,0,0], ceil_mode = 1, count_include_pad = 1>(x)"},
	{"AveragePoolSame", "double[1,2,7] x", `y = AveragePool<kernel_shape = [3], strides = [2], auto_pad = "SAME_UPPER">(x)`},
	{"AveragePoolOpenSizes", "double[N,C,H,W] x", "y = AveragePool<kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,0]>(x)"},
	{"GlobalAveragePool", "double[2,3,4,5] x", "y = GlobalAveragePool(x)"},
	{"GlobalAveragePoolOpen", "double[N,3,H,W] x", "y = GlobalAveragePool(x)"},
	{"GlobalMaxPool", "double[2,3,4,5] x", "y = GlobalMaxPool(x)"},
	{"ResizeNearest", "double[1,2,3,4] x", "s = Constant<value = float[4] {1, 1, 2, 1.5}>() y = Resize(x, , s)"},
	{"ResizeLinear", "double[1,2,3,4] x", `s = Constant<value = int64[4] {1, 2, 5, 3}>() y = Resize<mode = "linear">(x, , , s)`},
	{"ResizeCorners", "double[1,2,3,4] x", `s = Constant<value = int64[2] {6, 8}>() y = Resize<mode = "linear", axes = [2,3], coordinate_transformation_mode = "align_corners">(x, , , s)`},
	{"ResizeCubic", "double[1,1,5,4] x", `s = Constant<value = float[4] {1, 1, 2, 0.75}>() y = Resize<mode = "cubic">(x, , s)`},
	{"Gather", "double[4,3,2] x", "i = Constant<value = int64[2,2] {0, 2, -1, 0}>() y = Gather<axis = 1>(x, i)"},
	{"GatherElements", "double[3,3] x", "i = Constant<value = int64[2,3] {0, 2, 1, 0, 2, 2}>() y = GatherElements(x, i)"},
	{"GatherND", "double[3,3,2] x", "i = Constant<value = int64[3,2] {0, 2, 1, 0, 0, 2}>() y = GatherND(x, i)"},
	{"Concat", "double[2,3] a, double[2,1] b", "y = Concat<axis = -1>(a, b, a)"},
	{"ConcatOpen", "double[N,3] a, double[2,3] b", "y = Concat<axis = 0>(a, b)"},
	{"Slice", "double[5,6] x", "f = Constant<value = int64[2] {-1, 1}>() t = Constant<value = int64[2] {-9, 6}>() a = Constant<value = int64[2] {1, 0}>() s = Constant<value = int64[2] {-2, 2}>() y = Slice(x, f, t, a, s)"},
	{"Split", "double[2,7] x", "s = Constant<value = int64[3] {2, 4, 1}>() u, v, w = Split<axis = 1>(x, s) k = ReduceSum<keepdims = 0>(w) y = Mul(u, k)"},
	{"SplitEven", "double[2,7] x", "u, v = Split<axis = 1, num_outputs = 2>(x) y = Exp(v)"},
	{"Pad", "double[2,3] x, double c", "p = Constant<value = int64[4] {1, 0, 0, 2}>() y = Pad(x, p, c)"},
	{"PadNegative", "double[4,5] x", "p = Constant<value = int64[4] {1, -2, -1, 2}>() y = Pad(x, p)"},
	{"PadReflect", "double[3,4] x", `p = Constant<value = int64[2] {2, 3}>() a = Constant<value = int64[1] {1}>() y = Pad<mode = "reflect">(x, p, , a)`},
	{"PadEdge", "double[3,4] x", `p = Constant<value = int64[4] {2, 1, 0, 3}>() y = Pad<mode = "edge">(x, p)`},
	{"Transpose", "double[2,3,4] x", "y = Transpose<perm = [1,2,0]>(x)"},
	{"TransposeAll", "double[2,3,4] x", "y = Transpose(x)"},
	{"Reshape", "double[2,3,4] x", "s = Constant<value = int64[2] {4, -1}>() y = Reshape(x, s)"},
	{"Flatten", "double[N,3,4] x", "y = Flatten(x)"},
	{"SqueezeUnsqueeze", "double[2,1,4] x", "a = Constant<value = int64[1] {1}>() s = Squeeze(x, a) y = Unsqueeze(s, a)"},
	{"Expand", "double[3,1] x", "s = Constant<value = int64[3] {2, 1, 4}>() y = Expand(x, s)"},
	{"DepthToSpace", "double[1,8,2,3] x", "y = DepthToSpace<blocksize = 2>(x)"},
	{"DepthToSpaceCRD", "double[1,8,2,3] x", `y = DepthToSpace<blocksize = 2, mode = "CRD">(x)`},
	{"SpaceToDepth", "double[1,2,4,6] x", "y = SpaceToDepth<blocksize = 2>(x)"},
	{"ReduceSum", "double[2,3,4] x", "a = Constant<value = int64[2] {0, -1}>() y = ReduceSum<keepdims = 0>(x, a)"},
	{"ReduceSumAll", "double[2,3,4] x", "q = Mul(x, x) y = ReduceSum(q)"},
	{"ReduceMean", "double[2,3,4] x", "a = Constant<value = int64[1] {1}>() y = ReduceMean(x, a)"},
	{"ReduceMeanOpen", "double[N,3,M] x", "a = Constant<value = int64[1] {2}>() y = ReduceMean<keepdims = 0>(x, a)"},
	{"ReduceMax", "double[2,3,4] x", "a = Constant<value = int64[2] {0, 2}>() y = ReduceMax<keepdims = 0>(x, a)"},
	{"ReduceMin", "double[2,3,4] x", "y = ReduceMin(x)"},
	{"ReduceL1", "double[2,3] x", "y = ReduceL1(x)"},
	{"ReduceL2", "double[2,3] x", "a = Constant<value = int64[1] {1}>() y = ReduceL2(x, a)"},
	{"ReduceSumSquare", "double[2,3] x", "a = Constant<value = int64[1] {1}>() y = ReduceSumSquare<keepdims = 0>(x, a)"},
	{"ReduceLogSumExp", "double[2,3] x", "a = Constant<value = int64[1] {1}>() y = ReduceLogSumExp(x, a)"},
	{"Diamond", "double[3] a", "b = Exp(a) c = Tanh(b) d = Mul(b, c) y = Add(d, a)"},
}

func model(t *testing.T, inputs, nodes string) *ir.Model {
	t.Helper()
	m, err := text.Parse([]byte("<ir_version: 10, opset_import: [\"\" : 21]>\nf (" + inputs + ") => (double loss) {\n" + strings.ReplaceAll(nodes, ") ", ")\n") + `
  shape = Shape(y)
  count = ReduceProd<keepdims = 0>(shape)
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  range = Range(zero, count, one)
  float = Cast<to = 11>(range)
  sine = Cos(float)
  weight = Reshape<allowzero = 1>(sine, shape)
  yw = Mul(y, weight)
  loss = ReduceSum<keepdims = 0>(yw)
}`))
	require.NoError(t, err)
	require.NoError(t, ops.Verify(m))
	return m
}

func run(t *testing.T, s engine.Session, in map[string]ir.Datum) map[string]ir.Datum {
	t.Helper()
	out, err := s.Run(context.Background(), in)
	require.NoError(t, err)
	return out
}

func doubles(t *testing.T, d ir.Datum) []float64 {
	t.Helper()
	e, err := ir.Elements[float64](d.(*ir.Tensor))
	require.NoError(t, err)
	return e
}

// TestFiniteDifferences holds every rule against central differences in double precision.
func TestFiniteDifferences(t *testing.T) {
	for _, c := range sets {
		t.Run(c.name, func(t *testing.T) { differences(t, c.inputs, c.nodes) })
	}
}

// differences compares the derivatives by all inputs of type double with central differences.
func differences(t *testing.T, inputs, nodes string) {
	m := model(t, inputs, nodes)
	r := rand.New(rand.NewPCG(1, 2))
	in := map[string]ir.Datum{}
	var names []string
	sizes := map[string]int64{"N": 2, "M": 3, "K": 1, "H": 6, "W": 5, "C": 2}
	for _, s := range m.Main.Inputs() {
		shape := []int64{}
		for _, d := range s.Type().Shape {
			if d.IsStatic() {
				shape = append(shape, d.Size)
			} else {
				shape = append(shape, sizes[d.Param])
			}
		}
		v := make([]float64, ir.NumElements(shape))
		for i, p := range r.Perm(len(v)) { // distinct, and away from 0
			v[i] = (float64(p)+.5+.2*r.Float64())/float64(len(v))*3 - 1.45
		}
		in[s.Name()] = ir.TensorOf(v, shape...)
		names = append(names, s.Name())
	}
	plain, err := native.New().Load(context.Background(), m.Clone(), engine.Options{})
	require.NoError(t, err)
	require.NoError(t, grad.Append(m, grad.Options{Loss: "loss", Params: names}))
	require.NoError(t, ir.Verify(m))
	require.NoError(t, ops.Verify(m))
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	got := run(t, s, in)
	const h = 1e-5
	for _, name := range names {
		x := in[name].(*ir.Tensor)
		d := got[name+".grad"].(*ir.Tensor)
		require.Equal(t, x.Shape(), d.Shape(), name)
		moved := false
		for i, g := range doubles(t, d) {
			at := func(by float64) float64 {
				v := append([]float64(nil), doubles(t, x)...)
				v[i] += by
				with := map[string]ir.Datum{}
				for k, e := range in {
					with[k] = e
				}
				with[name] = ir.TensorOf(v, x.Shape()...)
				return doubles(t, run(t, plain, with)["loss"])[0]
			}
			want := (at(h) - at(-h)) / (2 * h)
			require.InDelta(t, want, g, 1e-6*max(1, math.Abs(want)), "%s[%d]", name, i)
			moved = moved || want != 0
		}
		require.True(t, moved, "%s does not matter: the case shows nothing", name)
	}
}

func TestUnknown(t *testing.T) {
	m := model(t, "double[3,3] a, double[3,3] b", "c = Det(a) d = CumSum(b, k) k = Constant<value = int64 {0}>() e = Mul(c, d) u = Det(e) y = Identity(e)")
	err := grad.Append(m, grad.Options{Loss: "loss", Params: []string{"a", "b"}})
	var list *grad.Error
	require.ErrorAs(t, err, &list)
	require.Len(t, list.Nodes, 2)
	require.ErrorContains(t, err, "Det")
	require.ErrorContains(t, err, "CumSum")
	for name, o := range map[string]grad.Options{
		`no output "nothing"`:                  {Loss: "nothing"},
		`no initializer or input "w"`:          {Loss: "loss", Params: []string{"w"}},
		`"a.grad" is taken or given twice`:     {Loss: "loss", Params: []string{"a", "a"}},
		`the name "loss" is taken or given tw`: {Loss: "loss", Params: []string{"lo"}, Suffix: "ss"},
	} {
		m := model(t, "double[3,3] a, double[3] lo", "y = Add(a, lo)")
		require.ErrorContains(t, grad.Append(m, o), name)
	}
}
