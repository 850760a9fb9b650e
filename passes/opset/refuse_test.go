package opset_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/opset"
)

// TestRefused holds what has no equivalent to its reason, and the model to what it was.
func TestRefused(t *testing.T) {
	for _, k := range []struct {
		name     string
		from, to int64
		model    string
		why      string
	}{
		{"every node is named", 20, 15, `g (float[1,2,3,3] x, float[1,2,2,2] p, string[2] a) => (y, s) {
			[first] y = GridSample <mode = "cubic"> (x, p)  [second] s = StringConcat (a, a) }`,
			`2 nodes have no equivalent in opset 15: node "first" (GridSample): bicubic sampling is not spelled out; ` +
				`node "second" (StringConcat): the operator came with opset 20 and is not spelled out here`},
		{"inside a branch", 17, 13, `g (bool c, float[2] x) => (y) {
			y = If (c) <then_branch = t () => (a) { a = Bernoulli <dtype = 16> (b) b = SequenceAt (o, i) i = Constant <value_int = 0> () o = OptionalGetElement (q) q = Optional <type = float[2]> () },
			else_branch = e () => (d) { d = Neg (x) }> }`,
			`then_branch of node of "y" (If): node of "q" (Optional): the operator came with opset 15`},
		{"type", 21, 20, `g (int4[2] x) => (y) { y = Cast <to = 1> (x) }`, `node of "y" (Cast): opset 20 does not take int4`},
		{"type that a cast would need", 13, 12, `g (bfloat16[2] x) => (y) { y = Add (x, x) }`, `opset 12 does not take bfloat16`},
		{"training", 12, 11, `g (float[2] x) => (y) <float r = {0.5}, bool t = {1}> { y = Dropout (x, r, t) }`, "it may train"},
		{"training that is decided at run time", 12, 11, `g (float[2] x, bool t) => (y) <float r = {0.5}> { y = Dropout (x, r, t) }`, "it may train"},
		{"reduction", 16, 15, `g (float[2] x, float[1] u) => (y) <int64[1] i = {0}> { y = ScatterElements <reduction = "add"> (x, i, u) }`,
			"attribute reduction came with opset 16"},
		{"half pixels", 16, 15, `g (float[1,1,6,6] x, float[1,4] r, int64[1] b) => (y) { y = RoiAlign (x, r, b) }`,
			"coordinate_transformation_mode=half_pixel came with opset 16"},
		{"antialias", 18, 17, `g (float[1,1,6,6] x) => (y) <float[4] s = {1, 1, 0.5, 0.5}> { y = Resize <antialias = 1, mode = "linear"> (x, , s) }`,
			"antialias came with opset 18"},
		{"rounded aspect", 18, 17, `g (float[1,1,3,7] x) => (y) <int64[2] s = {5, 6}> { y = Resize <axes = [2, 3], keep_aspect_ratio_policy = "not_larger"> (x, , , s) }`,
			"its sizes are rounded"},
		{"spatial axes", 20, 19, `g (float[1,1,2,2,2] x, float[1,1,1,1,3] p) => (y) { y = GridSample (x, p) }`, "sampling of 3 spatial axes came with opset 20"},
		{"unknown rank", 20, 19, `g (float[] x, float[1,1,1,2] p) => (y) { y = GridSample (x, p) }`, "the rank of its operand is not known"},
		{"statistics of each element", 8, 11, `g (float[1,2,2] x, float[2,2] s) => (y) { y = BatchNormalization <spatial = 0> (x, s, s, s, s) }`,
			"spatial=0, statistics of each element, ended with opset 8"},
		{"saved statistics", 9, 14, `g (float[2,2,2] x, float[2] s) => (y, a) { y, m, v, a, b = BatchNormalization (x, s, s, s, s) }`,
			"saved_mean and saved_var ended with opset 13"},
		{"sequence in a loop", 13, 12, `g (int64 n, bool c) => (o) { s = SequenceEmpty () o = Loop (n, c, s) <body = b (int64 i, bool k, seq(float[]) a) => (k2, r) { k2 = Identity (k) r = Identity (a) }> }`,
			"Loop"},
		{"output under another name", 14, 13, `g (seq(float[]) s) => (seq(float[]) t) { t = Identity (s) }`, `opset 13 has no Identity of seq(float[])`},
		{"too new", 29, 13, `g (float[2] x) => (y) { y = Neg (x) }`, "the model imports opset 29, which is newer than 28, the newest known here"},
	} {
		t.Run(k.name, func(t *testing.T) {
			m, err := text.ParseGraph([]byte(k.model), ir.Opset{Version: k.from})
			require.NoError(t, err)
			before, epoch := printed(t, m), m.Epoch(ir.Structure)
			_, err = convert(m, k.to)
			require.ErrorContains(t, err, k.why)
			assert.NotContains(t, err.Error(), "\n")
			assert.Equal(t, epoch, m.Epoch(ir.Structure), "the model was edited")
			assert.Equal(t, before, printed(t, m))
		})
	}
}

// TestReferences: an attribute of the function has no value that could be looked at.
func TestReferences(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (float[2,3] x) => (y) { y = local.f <k = 0> (x) }
<domain: "local", opset_import: ["" : 17]>
f <k> (a) => (b) { b = Softmax <axis: int = @k> (a) }`))
	require.NoError(t, err)
	_, err = convert(m, 11)
	require.ErrorContains(t, err, `function local.f: node of "b" (Softmax): attribute axis is that of the function, whose value is not known`)
}

// TestExact refuses what would only be within tolerance.
func TestExact(t *testing.T) {
	reg, err := passes.NewRegistry(opset.Pass)
	require.NoError(t, err)
	p, err := reg.Parse("opset{to=13 exact=true}")
	require.NoError(t, err)
	require.True(t, p.Promise().Exact())
	m, err := text.ParseGraph([]byte(`g (float[2,3] x) => (y) { y = HardSwish (x) }`), ir.Opset{Version: 14})
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.ErrorContains(t, err, `an exact conversion to opset 13 is not possible: node of "y" (HardSwish) is spelled out in float operations`)
	require.EqualValues(t, 14, m.Opset(""))
}

// TestOrigins: what was made stands for the node it was made of, and nothing else.
func TestOrigins(t *testing.T) {
	m, err := text.ParseGraph([]byte(`g (float[2,3] x) => (y, z) { [a] y = HardSwish (x) [b] z = Neg (x) }`), ir.Opset{Version: 14})
	require.NoError(t, err)
	n := m.Main.NodeList()
	n[0].SetOrigin(ir.SourceOrigin(&ir.Source{Name: "a"}))
	n[1].SetOrigin(ir.SourceOrigin(&ir.Source{Name: "b", Pos: 1}))
	_, err = convert(m, 13)
	require.NoError(t, err)
	for k := range m.Main.Nodes() {
		want := "a"
		if k.Is("Neg") {
			want = "b"
		}
		require.Len(t, k.Origin().Sources(), 1, k)
		assert.Equal(t, want, k.Origin().Sources()[0].Name)
	}
}

// TestIRVersion lowers ir_version as far as the contents let it.
func TestIRVersion(t *testing.T) {
	for model, want := range map[string]int64{
		`<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (y) { y = Neg (x) }`:                                                                                      7,
		`<ir_version: 10, opset_import: ["" : 21]> g (float8e5m2[2] x) => (x) { }`:                                                                                             9,
		`<ir_version: 4, opset_import: ["" : 11]> g (float[2] x) => (y) { y = Neg (x) }`:                                                                                       4,
		"<ir_version: 10, opset_import: [\"\" : 21, \"l\" : 1]> g (float[2] x) => (y) { y = l.f (x) } <domain: \"l\", opset_import: [\"\" : 21]> f (a) => (b) { b = Neg (a) }": 8,
	} {
		m, err := text.Parse([]byte(model))
		require.NoError(t, err)
		_, err = convert(m, 13)
		require.NoError(t, err)
		assert.Equal(t, want, m.IRVersion, model)
	}
}

func printed(t *testing.T, m *ir.Model) string {
	var b bytes.Buffer
	require.NoError(t, text.Print(&b, m, text.Options{}))
	return b.String()
}
