package infer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestContrib infers the results of operators of ONNX Runtime from the types of their operands, and holds them to what ONNX Runtime
// computed: type and shape are all there, but for caches whose length is a value.
func TestContrib(t *testing.T) {
	n := eachTest(t, "../kernel/testdata/ort-contrib-cases.tar.gz", func(name string, files map[string][]byte) {
		m := read(t, name, files["model.onnx"])
		for n := range m.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
		}
		r := infer.Model(m)
		assert.Empty(t, r.Remarks(), name)
		for i, s := range m.Main.Outputs() {
			d, _, err := onnxio.ReadDatum(files[fmt.Sprintf("test_data_set_0/output_%d.pb", i)], s.Type())
			require.NoError(t, err, name)
			typ := r.Type(s.Value())
			require.NotNil(t, typ, "%s: output %d", name, i)
			assert.Empty(t, disagree(typ, d.Type()), "%s: output %d is %s, inferred %s", name, i, d.Type(), typ)
			if !strings.Contains(name, "GroupQueryAttention") || i == 0 {
				assert.Equal(t, d.(*ir.Tensor).Type().String(), typ.String(), "%s: output %d", name, i)
			}
		}
	})
	require.Greater(t, n, 300)
}

// TestContribSizes checks operators that an engine need not have: the types are those that ONNX Runtime 1.32 infers itself, where it is given
// such nodes with outputs of another rank and says so.
func TestContribSizes(t *testing.T) {
	for _, c := range []struct{ inputs, node, want string }{
		{"uint8[2,9,10,4] x, float s, uint8 z, uint8[6,4,3,5] w", `Y = m.QLinearConv <channels_last = 1, strides = [2, 1]> (x, s, z, w, s, z, s, z)`, "uint8[2,4,6,6]"},
		{"uint8[2,4,9,10] x, float s, uint8 z, uint8[6,4,3,5] w", `Y = m.QLinearConv (x, s, z, w, s, z, s, z)`, "uint8[2,6,7,6]"},
		{"uint8[N,9,10,4] x", `Y = m.NhwcMaxPool <kernel_shape = [3, 5], strides = [2, 1]> (x)`, "uint8[N,4,6,4]"},
		{"float16[2,9,10,4] x, float16[6,4,3,5] w", `Y = m.NhwcFusedConv (x, w)`, "float16[2,7,6,6]"},
		{"uint8[2,7,12] x, uint8[12,24] w, float[24] b, float s, uint8 z, float[2,2,2,3,4] p", `Y, Z = m.QAttention <num_heads = 2> (x, w, b, s, s, , z, z, p)`, "float[2,7,8]"},
		{"uint8[2,7,12] x, uint8[12,24] w, float[24] b, float s, uint8 z, float[2,2,2,3,4] p", `Z, Y = m.QAttention <num_heads = 2> (x, w, b, s, s, , z, z, p)`, "float[2,2,2,10,4]"},
		{"int32[2,7] i, uint8[30,8] w, uint8[9,8] p, uint8[8] g, float s, uint8 z", `Y, Z = m.QEmbedLayerNormalization (i, , w, p, , g, g, , s, s, s, s, s, z, z, z, z, z)`, "float[2,7,8]"},
		{"int32[2,7] i, uint8[30,8] w, uint8[9,8] p, uint8[8] g, float s, uint8 z", `Z, Y = m.QEmbedLayerNormalization (i, , w, p, , g, g, , s, s, s, s, s, z, z, z, z, z)`, "int32[2]"},
		{"float[2,7,16] x, float[16] b", `Y = m.BiasSplitGelu (x, b)`, "float[2,7,8]"},
		{"float[2,7,16] x, float[16] b", `Y = m.BiasAdd (x, b, x)`, "float[2,7,16]"},
		{"float[2,7,16] x, float[2,1,16] b", `Y = m.BiasSoftmax <axis = 2, is_inner_broadcast = 0> (x, b)`, "float[2,7,16]"},
		{"float[2,7,16] x, float[16] b", `Z, Y = m.BiasDropout (x, b)`, "bool[2,7,16]"},
		{"float[2,7,7,16] x, float[16] g", `Y = m.GroupNorm <groups = 2, activation = 0> (x, g, g)`, "float[2,7,7,16]"},
		{"float[2,7,7,16] x, float[16] g", `Z, Y = m.SkipGroupNorm <groups = 2, activation = 0> (x, g, g, x)`, "float[2,7,7,16]"},
		{"float[2,4,4] x", `Y = m.Inverse (x)`, "float[2,4,4]"},
		{"float[2,4,4] x", `Y = m.Trilu (x)`, "float[2,4,4]"},
		{"float[2,4] x", "p = Constant <value_ints = [1, 0, 2, 0]> ()\n Y = m.Pad (x, p)", "float[5,4]"},
		{"float[2] x", "a = Constant <value_float = 1.0> ()\n b = Constant <value_float = 9.0> ()\n c = Constant <value_float = 2.0> ()\n Y = m.Range (a, b, c)", "float[4]"},
		{"float[2,4] x", "a = Constant <value_int = -1> ()\n Y = m.ExpandDims (x, a)", "float[2,4,1]"},
		{"float[2,4] x", "a = Constant <value_int = 1> ()\n Y = m.ExpandDims (x, a)", "float[2,1,4]"},
		{"float[2,4] x, int32 a", "Y = m.ExpandDims (x, a)", "float[?,?,?]"},
		{"float[2,4,5] x, int64[7,2] i", `Y = m.GatherND (x, i)`, "float[7,5]"},
		{"float[2,4,64] x, uint8[512] w, float[16] s", `Y = m.MatMulBnb4 <K = 64, N = 16, block_size = 64, quant_type = 1> (x, w, s)`, "float[2,4,16]"},
		{"float[2,4,8] x, float[8,5] w", `Y = m.GemmFastGelu (x, w)`, "float[2,4,5]"},
		{"float[9] x", `Z, Y, C = m.Unique (x)`, "int64[9]"},
		{"float[9] x", `Y, Z, C = m.Unique (x)`, "float[?]"},
		{"int16[2,3] x, int16[3,4] w", `Y = m.MatMulInteger16 (x, w)`, "int32[2,4]"},
		{"float[N,3] x, float[7,3] w", `Y = m.CDist <metric = "euclidean"> (x, w)`, "float[N,7]"},
		{"float[32,4] x, int64[1] n", `Y = m.RelativePositionBias <max_distance = 128> (x, n, n)`, "float[1,4,?,?]"},
		{"float[2,5,8] x, float[8] b, float[1,2,5,5] r, float[4,8] w, float[1,2,1,1] e", `Y = m.GatedRelativePositionBias <num_heads = 2> (x, b, r, w, b, e)`, "float[2,2,5,5]"},
		{"float[2,4,3] x, float[2,5,3] w", `Y = m.FusedMatMulActivation <activation = "Relu", transB = 1> (x, w)`, "float[2,4,5]"},
		{"float[2,4,3] x, float[2,5,3] w", `Y = m.TransposeMatMul <transB = 1> (x, w)`, "float[2,4,5]"},
		{"float[4,8] x, float[4,2] r, float[2,16,8] w, float[2,8,16] v", `Y = m.MoE <k = 1> (x, r, w, , v)`, "float[4,8]"},
		{"float[2,4,6] x", `Y = m.SwiGLU (x, x)`, "float[2,4,6]"},
		{"float[N,5,9,9] x", `Y = m.nchwc.ReorderInput (x)`, "float[N,?,9,9]"},
		{"float[N,9,9,5] x", `Y = m.nchwc.ReorderInput <channels_last = 1> (x)`, "float[N,?,9,9]"},
		{"float[N,8,9,9] x", `Y = m.nchwc.ReorderOutput <channels = 5> (x)`, "float[N,5,9,9]"},
		{"float[N,8,9,9] x", `Y = m.nchwc.ReorderOutput <channels = 5, channels_last = 1> (x)`, "float[N,9,9,5]"},
		{"float[1,8,9,9] x, float[16,1,3,3] w", `Y = m.nchwc.Conv <group = 16> (x, w)`, "float[1,16,7,7]"},
		{"float[1,8,9,9] x", `Y = m.nchwc.MaxPool <kernel_shape = [3, 3], ceil_mode = 1, strides = [2, 2]> (x)`, "float[1,8,4,4]"},
		{"float[1,8,9,9] x", `Y = m.nchwc.GlobalAveragePool (x)`, "float[1,8,1,1]"},
		{"float[1,8,9,9] x", `Y = m.nchwc.Upsample <scales = [1, 1, 2, 3]> (x)`, "float[1,8,18,27]"},
		{"float[2,7,16] x, float[16] g", `Y = LayerNormalization (x, g)`, "float[2,7,16]"},
		{"float[2,7,16] x, float[16] g", `Z, Y = LayerNormalization (x, g)`, "float[2,7,1]"},
	} {
		f := inferText(t, fmt.Sprintf(`<ir_version: 8, opset_import: ["" : 14, "com.microsoft" : 1, "com.microsoft.nchwc" : 1]>
		g (%s) => (Q) {
			%s
			Q = Identity (Y)
		}`, c.inputs, strings.ReplaceAll(c.node, " m.", " com.microsoft.")))
		assert.Empty(t, f.result.Remarks(), c.node)
		assert.Equal(t, c.want, f.result.Type(f.values["Y"]).String(), c.node)
	}
}
