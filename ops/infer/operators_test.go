package infer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestOperators checks operators that the conformance tests leave out, or cover in newer versions only: opset, node, type of Y.
func TestOperators(t *testing.T) {
	for _, c := range []struct {
		opset int
		node  string
		want  string
	}{
		{21, `Y = MaxRoiPool <pooled_shape = [2, 3]> (X, Roi)`, "float[R,8,2,3]"},
		{21, `Y = RandomNormal <shape = [3, 4], dtype = 11> ()`, "double[3,4]"},
		{21, `Y = RandomUniform <shape = [2]> ()`, "float[2]"},
		{21, `Y = RandomNormalLike (X)`, "float[N,8,H,W]"},
		{21, `Y = RandomNormalLike <dtype = 10> (X)`, "float16[N,8,H,W]"},
		{21, `Y = Multinomial <sample_size = 5> (M)`, "int32[N,5]"},
		{21, `Y = EyeLike <dtype = 7> (M)`, "int64[N,6]"},
		{21, `Y = Constant <value_int = 3> ()`, "int64"},
		{21, `Y = Constant <value_float = 3.0> ()`, "float"},
		{21, `Y = Constant <value_ints = [1, 2]> ()`, "int64[2]"},
		{21, `Y = Constant <value_floats = [1.0, 2.0, 3.0]> ()`, "float[3]"},
		{21, `Y = Constant <value_string = "a"> ()`, "string"},
		{21, `Y = Constant <value_strings = ["a", "b"]> ()`, "string[2]"},
		{7, `Y = Upsample <scales = [1.0, 1.0, 2.0, 1.5]> (X)`, "float[N,8,2*H,W + floor(W/2)]"},
		{1, `Y = Upsample <height_scale = 3.0, width_scale = 2.0> (X)`, "float[N,8,3*H,2*W]"},
		{9, `Y = Slice <starts = [1, -3], ends = [9223372036854775807, -1], axes = [2, 1]> (X)`, "float[N,2,max(H - 1, 0),W]"},
		{9, `Y = Softmax (X)`, "float[N,8,H,W]"},
		{6, `Y = Add <broadcast = 1, axis = 1> (X, Ch)`, "float[N,8,H,W]"},
		{6, `Y = Dropout (X)`, "float[N,8,H,W]"},
		{1, `Y = Reshape <shape = [0, -1]> (X)`, "float[N,8*H*W]"},
		{12, `Y = Squeeze <axes = [1]> (One)`, "float[N]"},
		{12, `Y = Unsqueeze <axes = [0, -1]> (One)`, "float[1,N,1,1]"},
		{12, `Y = Split <axis = 1, split = [8]> (X)`, "float[N,8,H,W]"},
		{10, `Y = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1]> (X)`, "float[N,8,H + 2,W + 2]"},
		{10, `Y = ReduceSum <axes = [1, -1], keepdims = 0> (X)`, "float[N,H]"},
		{9, `Y = TopK <k = 3, axis = 1> (M)`, "float[N,3]"},
		{21, `Y = GlobalLpPool (X)`, "float[N,8,1,1]"},
		{21, `Y = Det (Sq)`, "float[N]"},
		{21, `Y = Einsum <equation = "nchw,nd->ndw"> (X, M)`, "float[N,6,W]"},
		{21, `Y = Einsum <equation = "nd,nd->nd"> (M, One)`, "float[N,6]"},
		{21, `Y = Einsum <equation = "nd,nd->nd"> (M2, M)`, "float[?,6]"},
		{21, `Y = Einsum <equation = "...ij,...jk"> (Sq, Sq)`, "float[N,4,4]"},
		{21, `Y = DepthToSpace <blocksize = 2> (X)`, "float[N,2,2*H,2*W]"},
		{21, `Y = SpaceToDepth <blocksize = 2> (X)`, "float[N,32,floor(H/2),floor(W/2)]"},
		{21, `Y = ml.ArrayFeatureExtractor (M, K)`, "float[N,2]"},
		{21, `Y = ml.Binarizer (M)`, "float[N,6]"},
		{21, `Y = ml.CategoryMapper <cats_int64s = [1], cats_strings = ["a"]> (Words)`, "int64[N]"},
		{21, `Y = ml.LabelEncoder <keys_strings = ["a"], values_floats = [1.0]> (Words)`, "float[N]"},
		{21, `Y = ml.OneHotEncoder <cats_strings = ["a", "b"]> (Words)`, "float[N,2]"},
		{21, `Y, Z = ml.LinearClassifier <classlabels_ints = [4, 5, 6], coefficients = [1.0]> (M)`, "int64[N]"},
		{21, `Z, Y = ml.LinearClassifier <classlabels_strings = ["a", "b", "c"], coefficients = [1.0]> (M)`, "float[N,3]"},
		{21, `Y = ml.LinearRegressor <targets = 2> (M)`, "float[N,2]"},
		{21, `Y = ml.SVMRegressor (M)`, "float[N,1]"},
		{21, `Y = ml.FeatureVectorizer <inputdimensions = [6, 6]> (M, M)`, "float[N,12]"},
		{21, `Y = ml.Scaler (M)`, "float[N,6]"},
		{21, `Y = ml.ZipMap <classlabels_strings = ["a"]> (M)`, "seq(map(string, float))"},
		{21, `Y = ml.CastMap <cast_to = "TO_INT64"> (Map)`, "int64[]"},
		{21, `S = SplitToSequence <axis = 1> (M, two)
			Y = SequenceAt (S, zero)`, "float[N,2]"},
		{21, `S = SplitToSequence <axis = 1, keepdims = 0> (M)
			Y = SequenceAt (S, zero)`, "float[N]"},
		{21, `S = SequenceConstruct (M, Sq)
			Y = SequenceAt (S, zero)`, "float[]"},
		{21, `S = SequenceConstruct (M, M2)
			Y = ConcatFromSequence <axis = 0> (S)`, "float[?,6]"},
		{21, `S = SequenceEmpty ()
			T = SequenceInsert (S, M)
			Y = SequenceAt (T, zero)`, "float[N,6]"},
		{21, `S = SequenceEmpty ()
			T = SequenceInsert (S, M)
			U = SequenceInsert (T, M2)
			Y = SequenceAt (U, zero)`, "float[?,6]"},
		{21, `S = SequenceEmpty ()
			T = Loop (three, , S) <body = b (int64 i, bool go, seq(float) s) => (bool on, seq(float) t) {
				on = Identity (go)
				t = SequenceInsert (s, M)
			}>
			Y = SequenceAt (T, zero)`, "float[N,6]"},
		{21, `S = SequenceEmpty ()
			T = Loop (three, , S) <body = b (int64 i, bool go, seq(float) s) => (bool on, seq(float) t) {
				on = Identity (go)
				from = Slice (X, zero1, at)
				at = Reshape (i, one1)
				t = SequenceInsert (s, from)
			}>
			Y = SequenceAt (T, zero)`, "float[?,8,H,W]"},
		{21, `A, Y = Loop (three, , M) <body = b (int64 i, bool go, float[N, 6] m) => (bool on, float[N, 6] n, float[2, 3] s) {
				on = Identity (go)
				n = Neg (m)
				s = Reshape (n, two1)
			}>
			two1 = Cast <to = 7> (K)`, "float[3,2,3]"},
		{21, `Y = Slice <> (M, zero1, far)
			far = Constant <value_ints = [1000000000]> ()`, "float[N,6]"},
		{21, `Y = DFT <inverse = 1, onesided = 1> (Cx, , zero)`, "float[2*N - 2,5,1]"},
		{21, `Y = DFT <onesided = 1> (Re, , a)
			a = Cast <to = 7> (K0)`, "float[?,?,2]"},
		{21, `E = Slice (M, zero1, zero1)
			n = Shape <end = 1> (M)
			t = Concat <axis = 0> (zero1, n)
			Y = Reshape (E, t)`, "float[0,?]"}, // an N of 0 copies 6
		{21, `A = Add (M, P1)
			Y = Add (A, P1)`, "float[broadcast(N, P),6]"},
	} {
		nodes := c.node
		if strings.Contains(nodes, "zero") {
			nodes = "two = Constant <value_int = 2> ()\n zero = Constant <value_int = 0> ()\n" + nodes
		}
		for name, value := range map[string]string{"three": "value_int = 3", "zero1": "value_ints = [0]", "one1": "value_ints = [1]"} {
			if strings.Contains(c.node, name) {
				nodes = fmt.Sprintf("%s = Constant <%s> ()\n%s", name, value, nodes)
			}
		}
		f := inferText(t, fmt.Sprintf(`<ir_version: 10, opset_import: ["" : %d, "ai.onnx.ml" : 3]>
		g (float[N, 8, H, W] X, float[R, 5] Roi, float[N, 6] M, float[P, 6] M2, float[8] Ch, float[N, 1] One, float[N, 4, 4] Sq, int64[2] K, string[N] Words,
			float[N] Map, float[N, 5, 2] Cx, float[N, 5, 1] Re, int32 K0, float[P, 6] P1) => (float[] Q) {
			%s
			Q = Neg (M)
		}`, c.opset, strings.ReplaceAll(nodes, "ml.", "ai.onnx.ml.")))
		assert.Empty(t, f.result.Remarks(), c.node)
		assert.Equal(t, c.want, f.result.Type(f.values["Y"]).String(), c.node)
	}
}
