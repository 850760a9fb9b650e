package c_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

// betweenQuantizers are models of operators between DequantizeLinear and QuantizeLinear; those with a name that begins with "float" have to be
// computed in float32.
func betweenQuantizers() map[string]string {
	const p = `<float s = {0.02}, int8 z = {-3}, float r = {0.017}, int8 u = {5}, float a = {0.031}, uint8 b = {131}, float o = {0}> `
	return map[string]string{
		"transpose":  `g (int8[2,5,7,3] x) => (int8[2,3,5,7] y) ` + p + `{ d = DequantizeLinear (x, s, z) t = Transpose <perm: ints = [0,3,1,2]> (d) y = QuantizeLinear (t, s, z) }`,
		"rescaled":   `g (int8[2,5,7,3] x) => (int8[2,3,5,7] y) ` + p + `{ d = DequantizeLinear (x, s, z) t = Transpose <perm: ints = [0,3,1,2]> (d) y = QuantizeLinear (t, r, u) }`,
		"reshape":    `g (int8[2,6] x) => (int8[3,4] y) <int64[2] h = {3,4}, float s = {0.02}> { d = DequantizeLinear (x, s) t = Reshape (d, h) y = QuantizeLinear <output_dtype: int = 3> (t, s) }`,
		"bytes":      `g (uint8[1,9,4,4] x) => (uint8[1,9,8,8] y) ` + p + `<float[4] k = {1,1,2,2}> { d = DequantizeLinear (x, a, b) t = Resize <mode: string = "nearest"> (d, , k) y = QuantizeLinear (t, a, b) }`,
		"resize":     `g (int8[1,9,4,4] x) => (int8[1,9,8,8] y) ` + p + `<float[4] k = {1,1,2,2}> { d = DequantizeLinear (x, s, z) t = Resize <mode: string = "nearest"> (d, , k) y = QuantizeLinear (t, s, z) }`,
		"pad":        `g (int8[1,3,4,4] x) => (int8[1,3,6,7] y) ` + p + `<int64[8] k = {0,0,1,1,0,0,1,2}> { d = DequantizeLinear (x, s, z) t = Pad (d, k) y = QuantizeLinear (t, s, z) }`,
		"floatPad":   `g (int8[1,3,4,4] x) => (int8[1,3,6,7] y) ` + p + `<int64[8] k = {0,0,1,1,0,0,1,2}, float v = {0.5}> { d = DequantizeLinear (x, s, z) t = Pad (d, k, v) y = QuantizeLinear (t, s, z) }`,
		"concat":     `g (int8[1,8,4,4] x, int8[1,9,4,4] w) => (int8[1,17,4,4] y) ` + p + `{ d = DequantizeLinear (x, s, z) e = DequantizeLinear (w, s, z) t = Concat <axis: int = 1> (d, e) y = QuantizeLinear (t, s, z) }`,
		"joined":     `g (int8[1,8,4,4] x, uint8[1,9,4,4] w) => (int8[1,17,4,4] y) ` + p + `{ d = DequantizeLinear (x, s, z) e = DequantizeLinear (w, a, b) t = Concat <axis: int = 1> (d, e) y = QuantizeLinear (t, r, u) }`,
		"split":      `g (int8[1,18,4,4] x) => (int8[1,16,4,4] y, int8[1,2,4,4] v) ` + p + `<int64[2] k = {16,2}> { d = DequantizeLinear (x, s, z) f, h = Split <axis: int = 1> (d, k) y = QuantizeLinear (f, s, z) v = QuantizeLinear (h, r, u) }`,
		"chain":      `g (int8[1,18,4,4] x) => (int8[1,8,16] y) ` + p + `<int64[1] f = {8}, int64[1] e = {16}, int64[1] k = {1}, int64[3] h = {1,8,16}> { d = DequantizeLinear (x, s, z) l = Slice (d, f, e, k) t = Reshape (l, h) y = QuantizeLinear (t, s, z) }`,
		"max":        `g (uint8[1,9,9,9] x) => (uint8[1,9,5,5] y) ` + p + `{ d = DequantizeLinear (x, a, b) t = MaxPool <kernel_shape: ints = [3,3], strides: ints = [2,2], pads: ints = [1,1,1,1]> (d) y = QuantizeLinear (t, r, b) }`,
		"wideMax":    `g (int8[1,9,9,9] x) => (int8[1,9,5,5] y) ` + p + `{ d = DequantizeLinear (x, s, z) t = MaxPool <kernel_shape: ints = [7,7], dilations: ints = [1,1], strides: ints = [2,2], pads: ints = [3,3,3,3]> (d) y = QuantizeLinear (t, s, z) }`,
		"average":    `g (int8[1,9,9,9] x) => (int8[1,9,5,5] y) ` + p + `{ d = DequantizeLinear (x, s, z) t = AveragePool <kernel_shape: ints = [3,3], strides: ints = [2,2], pads: ints = [1,1,1,1]> (d) y = QuantizeLinear (t, r, u) }`,
		"padded":     `g (uint8[1,9,9,9] x) => (uint8[1,9,5,5] y) ` + p + `{ d = DequantizeLinear (x, a, b) t = AveragePool <kernel_shape: ints = [3,3], strides: ints = [2,2], pads: ints = [1,1,1,1], count_include_pad: int = 1> (d) y = QuantizeLinear (t, r, b) }`,
		"global":     `g (int8[2,13,7,6] x) => (int8[2,13,1,1] y) ` + p + `{ d = DequantizeLinear (x, s, z) t = GlobalAveragePool (d) y = QuantizeLinear (t, r, u) }`,
		"add":        `g (int8[1,9,5,5] x, int8[1,9,5,5] w) => (int8[1,9,5,5] y) ` + p + `{ d = DequantizeLinear (x, s, z) e = DequantizeLinear (w, r, u) t = Add (d, e) v = Relu (t) y = QuantizeLinear (v, a, z) }`,
		"mul":        `g (int8[1,9,5,5] x, uint8[1,9,1,1] w) => (int8[1,9,5,5] y) ` + p + `{ d = DequantizeLinear (x, s, z) e = DequantizeLinear (w, a, b) t = Mul (d, e) y = QuantizeLinear (t, r, u) }`,
		"floatJoin":  `g (int8[1,8,4,4] x, int8[1,9,4,4] w) => (float[1,17,4,4] y) ` + p + `{ d = DequantizeLinear (x, s, z) e = DequantizeLinear (w, r, u) y = Concat <axis: int = 1> (d, e) }`,
		"floatScale": `g (int8[1,2,4,4] x) => (int8[1,4,4,2] y) <float[2] s = {0.02,0.03}, float r = {0.02}> { d = DequantizeLinear <axis: int = 1> (x, s) t = Transpose <perm: ints = [0,2,3,1]> (d) y = QuantizeLinear <output_dtype: int = 3> (t, r) }`,
		"view":       `g (int8[1,8,6,6] x) => (int8[1,16,8,8] y, int8[1,16,6,6] v) ` + p + `<int64[8] k = {0,0,1,1,0,0,1,1}> { d = DequantizeLinear (x, s, z) t = Concat <axis: int = 1> (d, d) v = QuantizeLinear (t, s, z) h = Pad (t, k) y = QuantizeLinear (h, s, z) }`,
	}
}

// TestBetweenQuantizers compares what lies between quantizers with the embedded engine in integers, to the bit, and looks for steps that write
// floats.
func TestBetweenQuantizers(t *testing.T) {
	cc := compiler(t)
	dir := t.TempDir()
	ctx := context.Background()
	var done []*written
	for _, name := range slices.Sorted(maps.Keys(betweenQuantizers())) {
		m := model(t, `<ir_version: 10, opset_import: ["" : 21]> `+strings.ReplaceAll(betweenQuantizers()[name], "> <", ", "))
		w := &written{folder: &folder{dir: dir, base: name}, in: compare.Inputs(m, 1, compare.GenerateOptions{})[0]}
		s, err := native.Merging().Load(ctx, m, engine.Options{})
		require.NoError(t, err, name)
		w.want, err = s.Run(ctx, w.in)
		require.NoError(t, err, name)
		err = w.write(ctx, t, m, "", "")
		if name == "floatScale" {
			assert.ErrorContains(t, err, "a scale for each channel")
			continue
		}
		require.NoError(t, err, name)
		b, err := os.ReadFile(filepath.Join(dir, name+".c"))
		require.NoError(t, err)
		floats := strings.HasPrefix(name, "float")
		assert.Equal(t, floats, slices.ContainsFunc([]string{") float *restrict y0", ", float *restrict y0"}, func(s string) bool { return strings.Contains(string(b), s) }), name)
		done = append(done, w)
	}
	for _, flags := range [][]string{{"-O1", "-march=native"}, {"-O1", "-march=native", "-mno-avx512f"}, {"-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"}} {
		got := run(t, cc, append(flags, "-Wall", "-Wextra", "-Wconversion"), dir, done)
		for _, w := range done {
			for _, n := range w.outs {
				a, _ := w.want[n].(*ir.Tensor).Bytes()
				b, _ := got[w][n].(*ir.Tensor).Bytes()
				assert.Equal(t, a, b, "%s %v", w.base, flags)
			}
		}
	}
}
