package lint_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/lint"
)

// TestKnown checks the form of every known.tsv: six columns, a pattern that reads, a public source, a pipeline that there is.
func TestKnown(t *testing.T) {
	r, err := passlist.RegistryFor(all.Profiles())
	require.NoError(t, err)
	for _, target := range all.Targets() {
		if target.Known == "" {
			continue
		}
		rows, err := targets.ParseKnown(target.Known)
		require.NoError(t, err, target.Name)
		assert.GreaterOrEqual(t, len(rows), 5, target.Name)
		seen := map[string]bool{}
		for i, k := range rows {
			p, err := lint.ParsePattern(k.Pattern)
			if assert.NoError(t, err, "%s, row %d", target.Name, i+1) {
				for _, c := range p.Conditions {
					assert.Contains(t, k.Pattern[:strings.Index(k.Pattern, "|")], c.Value)
				}
			}
			u, err := url.Parse(k.Source)
			if assert.NoError(t, err) {
				assert.Equal(t, "https", u.Scheme, k.Source)
				assert.NotEmpty(t, u.Host)
			}
			assert.False(t, seen[k.Pattern], "%s, row %d stands twice", target.Name, i+1)
			seen[k.Pattern] = true
			if k.Pass != "target" && k.Pass != "-" {
				_, err := r.Parse(k.Pass)
				assert.NoError(t, err, "%s, row %d", target.Name, i+1)
			}
		}
	}
	for _, bad := range []string{"a\tb", "a\tb\tc\td\te\t ", "a\tb\tc\td\te\tf\tg"} {
		_, err := targets.ParseKnown(bad)
		assert.Error(t, err, bad)
	}
	for _, bad := range []string{"y = (x)", "y = Relu (x) | x", "y = Relu (x) | x: broken"} {
		_, err := lint.ParsePattern(bad)
		assert.Error(t, err, bad)
	}
}

func findings(t *testing.T, target, src string, asIs bool) []targets.Finding {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	d, _ := all.Lookup(target)
	require.NotNil(t, d)
	r, err := lint.Run(context.Background(), d, m, lint.Options{Target: target, AsIs: asIs})
	require.NoError(t, err)
	return r
}

// mended runs the pipeline that a finding names: then there is less of it. What has to be measured, or is for the caller to choose, is parsed only.
func mended(t *testing.T, target, src string, f *targets.Finding) {
	r, err := passlist.RegistryFor(all.Profiles())
	require.NoError(t, err)
	require.NotEmpty(t, f.Mend, f.Why)
	p, err := r.Parse(f.Mend)
	require.NoError(t, err, f.Mend)
	if strings.Contains(f.Mend, "quantize{profile") || f.Mend == "set-shape" || strings.HasPrefix(f.Mend, "prune") {
		return
	}
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.NoError(t, err, f.Mend)
	d, _ := all.Lookup(target)
	after, err := lint.Run(context.Background(), d, m, lint.Options{Target: target})
	require.NoError(t, err)
	for _, g := range after {
		assert.False(t, g.Rule == f.Rule && g.Op == f.Op && g.Count >= f.Count, "%s leaves %+v", f.Mend, g)
	}
}

const head = `<ir_version: 8, opset_import: ["" : 18]> `

// TestFindings has for each rule a model in which it is found, and one near to it in which it is not.
func TestFindings(t *testing.T) {
	const (
		qdq = head + `g (float[1,3,4,4] x) => (float[1,2,2,2] y) <float s = {0.5}, uint8 z = {0}, int8[2,3,3,3] w = {W}, float t = {0.1}, int8 n = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = DequantizeLinear (w, t, n)  c = Conv (d, e)  p = QuantizeLinear (c, s, z)  y = DequantizeLinear (p, s, z) }`
	)
	fill := func(src, v string) string {
		return strings.Replace(src, "W", strings.TrimSuffix(strings.Repeat(v+",", 54), ","), 1)
	}
	for _, c := range []struct {
		target, rule string
		bad, good    string
		asIs         bool
	}{
		{"tflite", "operator", head + `g (float[2,2] x) => (float y) { y = Det (x) }`, head + `g (float[2,2] x) => (float[2,2] y) { y = Relu (x) }`, false},
		{"tvm", "input", head + `g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }`, head + `g (float[2,2] x) => (float[2,2] y) { y = Relu (x) }`, false},
		{"openvino", "dynamic-size", head + `g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }`, head + `g (float[2,2] x) => (float[2,2] y) { y = Relu (x) }`, false},
		{"onnxruntime", "saturation", fill(qdq, "100"), fill(qdq, "60"), false},
		{"onnxruntime", "known/1", fill(qdq, "100"), fill(qdq, "60"), false},
		{"onnxruntime", "float-in-int8", head + `g (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = Erf (d)  p = QuantizeLinear (e, s, z)  y = DequantizeLinear (p, s, z) }`, head + `g (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = Sigmoid (d)  p = QuantizeLinear (e, s, z)  y = DequantizeLinear (p, s, z) }`, false},
		{"onnxruntime", "unfused-quantization", head + `g (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  y = Sigmoid (d) }`, head + `g (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = Sigmoid (d)  p = QuantizeLinear (e, s, z)  y = DequantizeLinear (p, s, z) }`, false},
		{"onnxruntime", "requantization", head + `g (float[2] x) => (float[2] y) <float s = {0.5}, float t = {0.25}, uint8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  p = QuantizeLinear (d, t, z)  y = DequantizeLinear (p, t, z) }`, head + `g (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}> {
			q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }`, false},
		{"openvino", "unfused", head + `g (float[1,1,4,4] x) => (float[1,1,2,2] y) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}, float[1] s = {1}, float[1] b = {0}, float[1] m = {0}, float[1] v = {1}> {
			c = Conv (x, w)  y = BatchNormalization (c, s, b, m, v) }`, head + `g (float[1,1,4,4] x, float[1] m) => (float[1,1,2,2] y) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}, float[1] s = {1}, float[1] b = {0}, float[1] v = {1}> {
			c = Conv (x, w)  y = BatchNormalization (c, s, b, m, v) }`, false},
		{"tensorrt", "residual", head + `g (float[2] x, float[2] r) => (float[2] y) <float s = {0.5}, int8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  y = Add (d, r) }`, head + `g (float[2] x, float[2] r) => (float[2] y) { y = Add (x, r) }`, false},
		{"tvm", "layout", head + `g (float[1,4,4,2] x) => (float[1,2,2,1] y) <float[1,2,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> {
			a = Transpose <perm: ints = [0,3,1,2]> (x)  b = Conv (a, w)  y = Transpose <perm: ints = [0,2,3,1]> (b) }`,
			head + `g (float[1,2,4,4] x) => (float[1,1,2,2] y) <float[1,2,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> { y = Conv (x, w) }`, false},
		{"tflite", "layout", head + `g (float[1,4,6] x) => (float[1,6,4] y) { y = Transpose <perm: ints = [0,2,1]> (x) }`, head + `g (float[1,4,6] x) => (float[1,6,4] y) <int64[3] s = {1,6,4}> { y = Reshape (x, s) }`, false},
		{"tflite", "float-in-int8", head + `g (float[2] x) => (float[2] y) <float s = {0.5}, int8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = Sin (d)  p = QuantizeLinear (e, s, z)  y = DequantizeLinear (p, s, z) }`, head + `g (float[2] x) => (float[2] y) <float s = {0.5}, int8 z = {0}> {
			q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  e = Relu (d)  p = QuantizeLinear (e, s, z)  y = DequantizeLinear (p, s, z) }`, false},
		{"tensorrt", "known/3", head + `g (float[2] x) => (float[2] y) <float s = {0.5}, int8 z = {3}> { q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }`,
			head + `g (float[2] x) => (float[2] y) <float s = {0.5}, int8 z = {0}> { q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }`, true},
		{"tensorrt", "known/6", `<ir_version: 10, opset_import: ["" : 20]> g (float[1,1,4,4] x, float[1,2,2,2] i) => (float[1,1,2,2] y) { y = GridSample (x, i) }`,
			`<ir_version: 10, opset_import: ["" : 18]> g (float[1,1,4,4] x, float[1,2,2,2] i) => (float[1,1,2,2] y) { y = GridSample (x, i) }`, true},
		{"openvino", "known/6", head + `g (uint8[2,2] x, uint8[2,2] w) => (int32[2,2] y) { y = MatMulInteger (x, w) }`, head + `g (float[2,2] x, float[2,2] w) => (float[2,2] y) { y = MatMul (x, w) }`, true},
	} {
		t.Run(c.target+" "+c.rule, func(t *testing.T) {
			has := func(src string) (f *targets.Finding) {
				for _, g := range findings(t, c.target, src, c.asIs) {
					if g.Rule == c.rule {
						f = &g
					}
				}
				return f
			}
			f := has(c.bad)
			require.NotNil(t, f, "not found in the bad one: %v", findings(t, c.target, c.bad, c.asIs))
			assert.NotEmpty(t, f.Why)
			assert.Positive(t, f.Count)
			assert.Nil(t, has(c.good), "found in the good one")
			if f.Kind == targets.Slow {
				mended(t, c.target, c.bad, f)
			}
		})
	}
	for _, f := range findings(t, "openvino", head+`g (uint8[2,2] x, uint8[2,2] w) => (int32[2,2] y) { y = MatMulInteger (x, w) }`, false) {
		assert.NotEqual(t, "known/6", f.Rule, "the target avoids it")
	}
}

// TestNothingChanges lints a model without changing it.
func TestNothingChanges(t *testing.T) {
	m, err := text.Parse([]byte(head + `g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }`))
	require.NoError(t, err)
	before := m.Main.Epoch(ir.Structure)
	for _, target := range all.Targets() {
		_, err := lint.Run(context.Background(), target, m, lint.Options{Target: target.Name})
		require.NoError(t, err)
	}
	assert.Equal(t, before, m.Main.Epoch(ir.Structure))
	assert.False(t, m.Main.Inputs()[0].Type().Shape[0].IsStatic())
}

func TestRules(t *testing.T) {
	for _, target := range all.Targets() {
		rules, err := lint.Rules(target)
		require.NoError(t, err)
		names := map[string]bool{}
		for _, r := range rules {
			assert.False(t, names[r[0]], r[0])
			names[r[0]] = true
		}
	}
}
