package tflite

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
)

// memory is an artifact of one file.
type memory struct {
	bytes.Buffer
	notes []string
}

func (m *memory) File(suffix string) (io.Writer, error) { return &m.Buffer, nil }
func (m *memory) Name(suffix string) string             { return "m" + suffix }
func (m *memory) Model(*ir.Model) error                 { panic("it writes no ONNX") }
func (m *memory) Note(text string)                      { m.notes = append(m.notes, text) }

// written translates a model as it stands, and lists its operators by number.
func written(t *testing.T, src, options string) ([]opcode, *memory, error) {
	t.Helper()
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	a := &memory{}
	p, err := New().Emitter("tflite"+options, a)
	require.NoError(t, err)
	if err := New().Check(m); err != nil {
		return nil, a, err
	}
	if _, err := p.Run(context.Background(), m, passes.Config{}); err != nil {
		return nil, a, err
	}
	return operators(t, a.Bytes()), a, nil
}

// operators reads the operators of a file, in order.
func operators(t *testing.T, data []byte) []opcode {
	require.Equal(t, identifier, string(data[4:8]))
	root := flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}
	vector := func(t flatbuffers.Table, slot int) []flatbuffers.Table {
		o := flatbuffers.UOffsetT(t.Offset(flatbuffers.VOffsetT(4 + 2*slot)))
		if o == 0 {
			return nil
		}
		var r []flatbuffers.Table
		at := t.Vector(o)
		for i := range t.VectorLen(o) {
			r = append(r, flatbuffers.Table{Bytes: data, Pos: t.Indirect(at + flatbuffers.UOffsetT(4*i))})
		}
		return r
	}
	var codes []opcode
	for _, c := range vector(root, 1) {
		codes = append(codes, opcode(c.GetInt32Slot(10, 0)))
	}
	require.Empty(t, vector(root, 4)[0].Offset(4), "the first buffer is empty")
	var r []opcode
	for _, o := range vector(vector(root, 2)[0], 3) {
		r = append(r, codes[o.GetUint32Slot(4, 0)])
	}
	return r
}

func TestOperators(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["" : 21]> `
	for _, c := range []struct {
		name, src, options string
		want               []opcode
	}{
		{"channels go last without a transposition, activations into the convolution", head + `g (float[1,2,4,4] x) => (float[1,3,4,4] y)
			<float[3,2,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> {
			c = Conv <pads: ints = [1,1,1,1]> (x, w)  y = Relu (c) }`, "", []opcode{opConv}},
		{"an interface that is kept has them", head + `g (float[1,1,4,4] x) => (float[1,2,2,2] y) <float[2,1,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> {
			y = Conv (x, w) }`, "{layout=keep}", []opcode{opReshape, opConv, opTranspose}},
		{"padding that is neither of the two", head + `g (float[1,1,4,4] x) => (float[1,1,3,2] y) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}> {
			y = Conv <pads: ints = [1,0,0,0]> (x, w) }`, "", []opcode{opPad, opConv}},
		{"a product takes its bias and Relu", head + `g (float[2,3] x) => (float[2,2] y) <float[3,2] w = {1,2,3,4,5,6}, float[2] b = {1,2}> {
			m = MatMul (x, w)  a = Add (m, b)  y = Relu (a) }`, "", []opcode{opFullyConnected}},
		{"but not one that another node reads, too", head + `g (float[2,3] x) => (float[2,2] y, float[2,2] z) <float[3,2] w = {1,2,3,4,5,6}, float[2] b = {1,2}> {
			m = MatMul (x, w)  y = Add (m, b)  z = Neg (m) }`, "", []opcode{opFullyConnected, opAdd, opNeg}},
		{"groups are split and shuffled with channels last", head + `g (float[1,4,2,2] x) => (float[1,4,2,2] y) <float[4,1,1,1] w = {1,2,3,4}, int64[5] s = {1,2,2,2,2}, int64[4] u = {1,4,2,2}> {
			a = Conv <group: int = 4> (x, w)  b = Reshape (a, s)  c = Transpose <perm: ints = [0,2,1,3,4]> (b)  d = Reshape (c, u)  y = Conv <group: int = 4> (d, w) }`, "",
			[]opcode{opDepthwiseConv, opReshape, opTranspose, opReshape, opDepthwiseConv}},
		{"a hard sigmoid in operators that XNNPACK takes", head + `g (float[2] x) => (float[2] y) { y = HardSigmoid (x) }`, "", []opcode{opMul, opAdd, opMinimum}},
		{"one element is a slice, whose axis goes with the next reshape", head + `g (float[2,3,4] x) => (float[4,2] y) <int64 i = {-1}, int64[2] s = {4,2}> { a = Gather <axis: int = 1> (x, i)  y = Reshape (a, s) }`, "",
			[]opcode{opSlice, opReshape}},
		{"elements behind each other", head + `g (float[2,5] x) => (float[2,2] y) <int64[2] i = {-2,4}> { y = Gather <axis: int = 1> (x, i) }`, "", []opcode{opSlice}},
		{"elements in another order are none", head + `g (float[2,5] x) => (float[2,2] y) <int64[2] i = {4,3}> { y = Gather <axis: int = 1> (x, i) }`, "", []opcode{opGather}},
		{"elements that are computed are none", head + `g (float[2,5] x, int64 i) => (float[2] y) { y = Gather <axis: int = 1> (x, i) }`, "", []opcode{opGather}},
		{"six axes are more than a slice has", head + `g (float[2,3,1,1,1,1] x) => (float[2,1,1,1,1] y) <int64 i = {1}> { y = Gather <axis: int = 1> (x, i) }`, "", []opcode{opGather}},
		{"zero is low enough for what is not below it", head + `g (float[1,2,2,1] x) => (float[1,2,3,3] y) { r = Relu (x)  s = Sigmoid (x)  c = Concat <axis: int = 3> (r, s)
			y = MaxPool <kernel_shape: ints = [2,2], pads: ints = [1,1,1,1]> (c) }`, "{layout=keep}", []opcode{opRelu, opLogistic, opConcatenation, opTranspose, opPad, opMaxPool, opTranspose}},
		{"but not for anything", head + `g (float[1,2,2,1] x) => (float[1,2,3,3] y) { r = Relu (x)  s = Tanh (x)  c = Concat <axis: int = 3> (r, s)
			y = MaxPool <kernel_shape: ints = [2,2], pads: ints = [1,1,1,1]> (c) }`, "{layout=keep}", []opcode{opRelu, opTanh, opConcatenation, opTranspose, opPadV2, opMaxPool, opTranspose}},
		{"quantizers make integers", head + `g (float[1,3] x) => (float[1,2] y)
			<float s = {0.5}, uint8 z = {128}, float r = {0.25}, int8[2,3] w = {1,2,3,4,5,6}, float[2] t = {0.1,0.2}, int8[2] n = {0,0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = DequantizeLinear <axis: int = 0> (w, t, n)
			m = Gemm <transB: int = 1> (d, e)  p = QuantizeLinear (m, r, z)  y = DequantizeLinear (p, r, z) }`, "", []opcode{opQuantize, opFullyConnected, opDequantize}},
		{"a result that is read in float stays so", head + `g (float[1,3] x) => (float[1,2] y, float[1,2] f)
			<float s = {0.5}, uint8 z = {128}, float r = {0.25}, int8[2,3] w = {1,2,3,4,5,6}, float[2] t = {0.1,0.2}, int8[2] n = {0,0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = DequantizeLinear <axis: int = 0> (w, t, n)
			m = Gemm <transB: int = 1> (d, e)  p = QuantizeLinear (m, r, z)  y = DequantizeLinear (p, r, z)  f = Abs (m) }`, "",
			[]opcode{opQuantize, opDequantize, opFullyConnected, opQuantize, opAbs, opDequantize}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := written(t, c.src, c.options)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestRefused(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["" : 21]> `
	for _, c := range []struct{ name, src, want string }{
		{"operators that there are not, all of them", head + `g (float[2,2] x) => (float y, float[2,2] z) { [one] y = Det (x)  [two] z = Hardmax (x) }`,
			`tflite cannot run 2 nodes: "one" (Det): there is no such operator; "two" (Hardmax): there is no such operator`},
		{"sizes that are open", head + `g (float[1,n] x) => (float[1,n] y) { y = Relu (x) }`, `"x" (input): its shape [1,n] is not static; set-shape{n=SIZE} states it`},
		{"weights that are computed", head + `g (float[1,1,4,4] x, float[1,1,3,3] w) => (float[1,1,2,2] y) { [c] y = Conv (x, w) }`, `"c" (Conv): weights that are no float constants`},
		{"small integers without a scale", head + `g (uint8[2] x) => (uint8[2] y) { [a] y = Add (x, x) }`, `"a" (Add): operand "x": numbers of type uint8`},
		{"powers of integers", head + `g (int64[2] x) => (int64[2] y) { [p] y = Pow (x, x) }`, `"p" (Pow): int64 to the power of int64`},
		{"reductions of bools", head + `g (bool[2] x) => (bool[1] y) { [r] y = ReduceMax (x) }`, `"r" (ReduceMax): a reduction of bools`},
		{"nothing", head + `g (float[2] x) => (float[0] y) <int64[1] z = {0}> { [s] y = Slice (x, z, z) }`, `empty`},
		{"types that there are not", head + `g (complex64[1] x) => (complex64[1] y) { y = Identity (x) }`, `"x" (input): elements of type complex64`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, a, err := written(t, c.src, "")
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.want)
			assert.Zero(t, a.Len(), "nothing is written")
		})
	}
}

func TestOpenFirstDimension(t *testing.T) {
	_, a, err := written(t, `<ir_version: 8, opset_import: ["" : 21]> g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }`, "")
	require.NoError(t, err)
	assert.Contains(t, strings.Join(a.notes, "\n"), `input "x": the open first dimension is 1`)
}

// The options of resizing are found by comparing coordinates.
func TestResizing(t *testing.T) {
	for _, c := range []struct {
		attrs string
		in    int
		out   int
		ok    bool
	}{
		{`mode: string = "nearest", coordinate_transformation_mode: string = "asymmetric", nearest_mode: string = "floor"`, 4, 8, true},
		{`mode: string = "nearest"`, 4, 8, true},
		{`mode: string = "linear"`, 4, 8, true},
		{`mode: string = "linear", coordinate_transformation_mode: string = "align_corners"`, 4, 7, true},
		{`mode: string = "nearest", coordinate_transformation_mode: string = "asymmetric", nearest_mode: string = "ceil"`, 4, 6, true}, // gathered
		{`mode: string = "cubic"`, 4, 8, false},
	} {
		src := `<ir_version: 8, opset_import: ["" : 21]> g (float[1,1,4,4] x) => (float[1,1,h,w] y) <int64[4] s = {1,1,O,O}, float[0] none = {}> { y = Resize <A> (x, none, none, s) }`
		src = strings.NewReplacer("A", c.attrs, "O", string(rune('0'+c.out))).Replace(src)
		_, _, err := written(t, src, "")
		assert.Equal(t, c.ok, err == nil, "%s to %d: %v", c.attrs, c.out, err)
	}
}

func TestAxisGroups(t *testing.T) {
	for _, c := range []struct {
		in, out []int
		want    []axisGroup
	}{
		{[]int{1, 6, 4, 4}, []int{1, 2, 3, 4, 4}, []axisGroup{{[]int{0}, []int{0}}, {[]int{1}, []int{1, 2}}, {[]int{2}, []int{3}}, {[]int{3}, []int{4}}}},
		{[]int{2, 3, 1, 1}, []int{2, 3}, []axisGroup{{[]int{0}, []int{0}}, {[]int{1, 2, 3}, []int{1}}}},
		{[]int{2, 3}, []int{3, 2}, []axisGroup{{[]int{0, 1}, []int{0, 1}}}},
		{[]int{0, 3}, []int{3, 0}, nil},
	} {
		assert.Equal(t, c.want, axisGroups(c.in, c.out), "%v to %v", c.in, c.out)
	}
}

// TestKernelless refuses what LiteRT has no kernel for, and takes the types for which it has one.
func TestKernelless(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["" : 21]> `
	for _, c := range []struct{ src, of string }{
		{`g (T[2] x, T[2] z) => (T[2] y) { y = Div (x, z) }`, "int64"},
		{`g (T[2] x, T[2] z) => (T[2] y) { y = PRelu (x, z) }`, "int64 int32"},
		{`g (T[2,3] x) => (int64[1,3] y) { y = ArgMax (x) }`, "int64"},
		{`g (T[2,3] x) => (T[1,1] y) { y = ReduceL2 (x) }`, "int64 int32"},
		{`g (T[1,4,2,2] x) => (T[1,1,4,4] y) { y = DepthToSpace <blocksize: int = 2> (x) }`, "bool int16"},
		{`g (T[4] x) => (T[2] y, T[2] z) { y, z = Split <num_outputs: int = 2> (x) }`, "bool"},
	} {
		for _, typ := range strings.Fields(c.of) {
			_, a, err := written(t, head+strings.ReplaceAll(c.src, "T[", typ+"["), "")
			assert.ErrorContains(t, err, "no such kernel", "%s %s", typ, c.src)
			assert.Zero(t, a.Len())
		}
		_, _, err := written(t, head+strings.ReplaceAll(c.src, "T[", "float["), "")
		assert.NoError(t, err, c.src)
	}
}
