package all_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
)

// noted is an artifact in memory that keeps what users are told.
type noted struct {
	inMemory
	notes []string
}

func (a *noted) Note(s string) { a.notes = append(a.notes, s) }

// form runs a target's pipeline and emitter on a model in text.
func form(t *testing.T, target, src string) (*noted, error) {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	d, _ := all.Lookup(target)
	r, err := passlist.Registry()
	require.NoError(t, err)
	p, err := r.Parse(d.Pipeline)
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.NoError(t, err)
	a := &noted{inMemory: inMemory{base: "m", files: map[string]*bytes.Buffer{}}}
	if err := d.Check(m); err != nil {
		return a, err
	}
	e, err := d.Emitter(target, a)
	require.NoError(t, err)
	_, err = e.Run(context.Background(), m, passes.Config{})
	return a, err
}

const qdqConv = `<ir_version: 8, opset_import: ["" : 18]> g (float[1,3,4,4] x) => (float[1,2,2,2] y) <float s = {0.5}, uint8 z = {0}, int8[2,3,3,3] w = {W}, float t = {0.1}, int8 n = {0}> {
	q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = DequantizeLinear (w, t, n)  c = Conv (d, e)  p = QuantizeLinear (c, s, z)  y = DequantizeLinear (p, s, z) }`

func conv(weight string) string {
	return strings.Replace(qdqConv, "W", strings.TrimSuffix(strings.Repeat(weight+",", 54), ","), 1)
}

// TestSaturation has session options ask for products that do not saturate where weights use all 8 bits, and only there.
func TestSaturation(t *testing.T) {
	for weight, wide := range map[string]bool{"100": true, "-65": true, "64": false, "-64": false} {
		a, err := form(t, "onnxruntime", conv(weight))
		require.NoError(t, err)
		var c struct {
			Entries map[string]string `json:"session_config_entries"`
		}
		require.NoError(t, json.Unmarshal(a.files[".session.json"].Bytes(), &c))
		assert.Equal(t, wide, c.Entries["session.x64quantprecision"] == "1", weight)
		assert.Equal(t, wide, len(a.notes) > 0, weight)
	}
}

// TestDequantizedIsSaid has TVM's target say that what was quantized is float, and say nothing of float models.
func TestDequantizedIsSaid(t *testing.T) {
	a, err := form(t, "tvm", conv("60"))
	require.NoError(t, err)
	assert.Contains(t, strings.Join(a.notes, "\n"), "what was quantized is float now")
	a, err = form(t, "tvm", `<ir_version: 8, opset_import: ["" : 18]> g (float[1,2] x) => (float[1,2] y) { y = Relu (x) }`)
	require.NoError(t, err)
	assert.Empty(t, a.notes)
	assert.Contains(t, a.files[".requirements.txt"].String(), "apache-tvm==")
}

// TestFunctionOperators: ONNX Runtime replaces an operator that it has no kernel for by what the standard defines it by.
func TestFunctionOperators(t *testing.T) {
	for _, op := range []string{"HardSwish", "Mish"} {
		_, err := form(t, "onnxruntime", `<ir_version: 8, opset_import: ["" : 18]> g (float[1,2] x) => (float[1,2] y) { y = `+op+` (x) }`)
		require.NoError(t, err, op)
	}
}

// TestAllReasons lists everything that a target refuses at once, and writes nothing.
func TestAllReasons(t *testing.T) {
	for _, c := range []struct {
		target, src string
		want        []string
	}{
		{"tvm", `<ir_version: 8, opset_import: ["" : 18]> g (float[n,2] x, float[2,m] w) => (float[n,m] y) { y = MatMul (x, w) }`, []string{`"x" (input)`, `"w" (input)`, "set-shape"}},
		{"tensorrt", `<ir_version: 8, opset_import: ["" : 18]> g (float[n,k] x, float[k,m] w) => (float[n,m] y) { y = MatMul (x, w) }`, []string{`"x" (input)`, `"w" (input)`, "set-shape"}},
		{"openvino", `<ir_version: 8, opset_import: ["" : 18, "my.domain" : 1]> g (float[2,2] x) => (float y, float z) { [a] y = Det (x)  [b] z = my.domain.Own (x) }`, []string{`"a" (Det)`, `"b" (my.domain.Own)`}},
		{"onnxruntime", `<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]> g (double[1,1,2,2] x, double[1,1,1,1] w) => (double[1,1,2,2] y, float z) { [a] y = Conv (x, w)  [b] z = com.microsoft.NoSuch (x) }`,
			[]string{`"a" (Conv): the kernel for the CPU has no elements of type double`, `"b" (com.microsoft.NoSuch): there is no such kernel`}},
	} {
		a, err := form(t, c.target, c.src)
		require.Error(t, err, c.target)
		for _, w := range c.want {
			assert.Contains(t, err.Error(), w, c.target)
		}
		assert.Empty(t, a.files, c.target)
	}
}

// TestDecidedIf has the reasons of an If say which pass decides it: set-input where single numbers are asked for, set-shape for sizes that are
// open, and none where data are.
func TestDecidedIf(t *testing.T) {
	const branches = `<then_branch = a () => (float[2] p) { p = Relu (x) }, else_branch = b () => (float[2] q) { q = Abs (x) }>`
	for _, c := range []struct{ name, src, mend string }{
		{"a rate", `(float[2] x, int64 sr) => (float[2] y) <int64 k = {16000}> { c = Equal (sr, k)  y = If (c) `, "set-input"},
		{"a flag, captured by a nested condition", `(float[2] x, bool f) => (float[2] y) { c = If (f) <then_branch = t () => (bool u) { u = Not (f) }, else_branch = e () => (bool v) { v = Identity (f) }>  y = If (c) `, "set-input"},
		{"sizes", `(float[2] x, float[n] z) => (float[2] y) <int64 k = {4}> { s = Size (z)  c = Equal (s, k)  y = If (c) `, "set-shape"},
		{"sizes that are stated", `(float[2] x, float[3] z) => (float[2] y) <int64 k = {4}> { s = Size (z)  c = Equal (s, k)  y = If (c) `, ""},
		{"data", `(float[2] x, float z) => (float[2] y) <float k = {0.5}> { c = Less (z, k)  y = If (c) `, ""},
		{"words of a text", `(float[2] x, int64[1,4] ids) => (float[2] y) <int64 k = {0}> { m = ReduceMax <keepdims = 0> (ids)  c = Equal (m, k)  y = If (c) `, ""},
		{"a die", `(float[2] x) => (float[2] y) <float k = {0.5}> { r = RandomUniform <shape = [1]> ()  c = Less (r, k)  y = If (c) `, ""},
	} {
		m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 18]> g ` + c.src + branches + " }"))
		require.NoError(t, err, c.name)
		for _, name := range []string{"tflite", "tvm", "c"} {
			d, _ := all.Lookup(name)
			var list *targets.IllegalError
			require.ErrorAs(t, d.Check(m), &list, c.name)
			last := list.Nodes[len(list.Nodes)-1]
			require.Equal(t, "If", last.Op.Type, c.name)
			assert.Equal(t, c.mend, last.Mend, "%s, %s", c.name, name)
		}
	}
}
