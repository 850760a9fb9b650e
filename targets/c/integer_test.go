package c_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
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
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
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

// TestUnfolded compares what nothing folds before the target does: normalizations that come before an activation, and weights from a shape.
func TestUnfolded(t *testing.T) {
	cc := compiler(t)
	dir := t.TempDir()
	var done []*written
	for name, src := range map[string]string{
		"norm": `g (float[2,9,4,5] x) => (float[2,9,4,5] y) <float[9] s = {1,2,3,-4,5,6,7,8,9}, float[9] b = {0,1,0,1,0,1,0,1,0}, float[9] m = {1,1,2,2,3,3,4,4,5}, float[9] v = {1,2,1,2,1,2,1,2,0}> {
			n = BatchNormalization <epsilon: float = 0.001> (x, s, b, m, v)  y = Relu (n) }`,
		"rows":   `g (float[3,2] x) => (float[3,2] y) <float[2] s = {1,2}, float[2] b = {0,1}, float[2] m = {1,1}, float[2] v = {1,2}> { y = BatchNormalization (x, s, b, m, v) }`,
		"filled": `g (float[1,3,6,6] x) => (float[1,9,4,4] y) <int64[4] h = {9,3,3,3}> { w = ConstantOfShape <value: tensor = float[1] {0.125}> (h)  y = Conv (x, w) }`,
	} {
		w, err := emit(t, model(t, `<ir_version: 10, opset_import: ["" : 21]> `+src), "", "", dir, name)
		require.NoError(t, err, name)
		done = append(done, w)
	}
	got := run(t, cc, []string{"-O1", "-Wall", "-Wextra", "-Wconversion"}, dir, done)
	for _, w := range done {
		assert.NoError(t, w.bound["y"].Check(compare.Datum(w.want["y"], got[w]["y"])), w.base)
	}
}

// TestIntegers compares models in QDQ form with the embedded engine that computes them in integers, too: what convolutions give is equal to
// the bit, and so is what is between them.
func TestIntegers(t *testing.T) {
	cc := compiler(t)
	dir := t.TempDir()
	const head = `<ir_version: 8, opset_import: ["" : 21]> `
	sources := map[string]*ir.Model{}
	for name, src := range map[string]string{
		"plain": `g (int8[1,5,7,9] x) => (int8[1,6,7,9] y) <float s = {0.02}, int8 z = {-3}, float r = {0.11}, int8 u = {5}, float[6] t = {0.01,0.02,0.011,0.013,0.007,0.03}, int8[6] n = {0,0,0,0,0,0}, float[6] b = {0.1,-0.2,0.3,0,1,-1}> {
			d = DequantizeLinear (x, s, z)  v = DequantizeLinear <axis: int = 0> (w, t, n)  c = Conv <pads: ints = [1,1,1,1]> (d, v, b)  r1 = Relu (c)  y = QuantizeLinear (r1, r, u) }`,
		"bytes": `g (uint8[2,17,5,6] x) => (uint8[2,24,2,3] y) <float s = {0.02}, uint8 z = {131}, float r = {0.31}, uint8 u = {77}, float t = {0.01}, int8 n = {0}> {
			d = DequantizeLinear (x, s, z)  v = DequantizeLinear (w, t, n)  c = Conv <pads: ints = [1,1,0,1], strides: ints = [2,2]> (d, v)  y = QuantizeLinear (c, r, u) }`,
		"depthwise": `g (uint8[1,12,8,8] x) => (uint8[1,12,8,8] y) <float s = {0.02}, uint8 z = {9}, float r = {0.05}, uint8 u = {100}, float t = {0.01}, int8 n = {0}, float lo = {-1.5}, float hi = {6}> {
			d = DequantizeLinear (x, s, z)  v = DequantizeLinear (w, t, n)  c = Conv <pads: ints = [1,1,1,1], group: int = 12> (d, v)  e = Clip (c, lo, hi)  y = QuantizeLinear (e, r, u) }`,
		"gemm": `g (int8[1,21] x) => (int8[1,13] y) <float s = {0.02}, int8 z = {-3}, float r = {0.11}, int8 u = {5}, float t = {0.01}, int8 n = {0}, float[13] b = {0.1,-0.2,0.3,0,1,-1,0.5,0.2,-0.4,0.9,-0.7,0.6,2}> {
			d = DequantizeLinear (x, s, z)  v = DequantizeLinear (w, t, n)  c = Gemm <transB: int = 1> (d, v, b)  r1 = Relu (c)  y = QuantizeLinear (r1, r, u) }`,
		"rows": `g (uint8[2,7,24] x) => (uint8[2,7,16] y) <float s = {0.02}, uint8 z = {131}, float r = {0.31}, uint8 u = {77}, float[16] t = {0.01,0.02,0.011,0.013,0.007,0.03,0.01,0.02,0.011,0.013,0.007,0.03,0.01,0.02,0.011,0.013}, int8[16] n = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}> {
			d = DequantizeLinear (x, s, z)  v = DequantizeLinear <axis: int = 1> (w, t, n)  c = MatMul (d, v)  y = QuantizeLinear (c, r, u) }`,
		"pool": `g (int8[1,5,9,9] x) => (int8[1,8,5,5] y) <float s = {0.02}, int8 z = {-3}, float r = {0.11}, int8 u = {5}, float t = {0.01}, int8 n = {0}> {
			d = DequantizeLinear (x, s, z)  v = DequantizeLinear (w, t, n)  c = Conv (d, v)  q = QuantizeLinear (c, r, u)  e = DequantizeLinear (q, r, u)
			p = MaxPool <kernel_shape: ints = [3,3], strides: ints = [2,2], pads: ints = [1,1,1,1]> (e)  y = QuantizeLinear (p, r, u) }`,
		"grouped": `g (int8[1,16,8,8] x) => (int8[1,32,8,8] y) <float s = {0.02}, int8 z = {9}, float r = {0.05}, int8 u = {0}, float t = {0.01}, int8 n = {0}> {
			d = DequantizeLinear (x, s, z)  v = DequantizeLinear (w, t, n)  c = Conv <pads: ints = [0,2,4,2], dilations: ints = [2,2], group: int = 2> (d, v)  y = QuantizeLinear (c, r, u) }`,
	} {
		shape := map[string][]int64{"plain": {6, 5, 3, 3}, "bytes": {24, 17, 3, 3}, "depthwise": {12, 1, 3, 3}, "grouped": {32, 8, 3, 3}, "gemm": {13, 21}, "rows": {24, 16}, "pool": {8, 5, 1, 1}}[name]
		data := make([]int8, ir.NumElements(shape))
		for i := range data {
			data[i] = int8(i*37%255 - 127)
		}
		list := strings.Trim(strings.ReplaceAll(fmt.Sprint(data), " ", ","), "[]")
		weights := fmt.Sprintf("<int8%s w = {%s}, ", strings.ReplaceAll(fmt.Sprint(shape), " ", ","), list)
		i := strings.Index(src, "<float s")
		sources[name] = model(t, head+src[:i]+weights+src[i+1:])
	}
	const quantized = "../../../shared/models/resnet8-cifar10-int8qdq.onnx"
	if _, err := os.Stat(quantized); err == nil {
		f, err := onnxio.Open(quantized, onnxio.Options{})
		require.NoError(t, err)
		defer f.Close()
		r, err := passlist.Registry()
		require.NoError(t, err)
		p, err := r.Parse("set-shape{input_1_int8=[1,32,32,3]},requantize{form=qdq},opset{to=21},O2")
		require.NoError(t, err)
		_, err = p.Run(context.Background(), f.Model, passes.Config{})
		require.NoError(t, err)
		sources["resnet8"] = f.Model
	} else {
		t.Log("left out: the quantized model of ../shared/models is not here")
	}
	ctx := context.Background()
	var done []*written
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		m := sources[name]
		w := &written{folder: &folder{dir: dir, base: name}, in: compare.Inputs(m, 1, compare.GenerateOptions{})[0]}
		s, err := native.Merging().Load(ctx, m, engine.Options{})
		require.NoError(t, err)
		w.want, err = s.Run(ctx, w.in)
		require.NoError(t, err)
		require.NoError(t, w.write(ctx, t, m, "", ""))
		b, err := os.ReadFile(filepath.Join(dir, name+".c"))
		require.NoError(t, err)
		assert.Regexp(t, `_dot\d+\(|\(int32_t\)w\[`, string(b), "%s is not computed in integers", name)
		done = append(done, w)
	}
	for _, flags := range [][]string{{"-O1", "-march=native"}, {"-O1", "-march=native", "-mno-avx512f"}, {"-O1", "-march=native", "-mno-avx512vnni"}, {"-O1"}, {"-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover"}} {
		got := run(t, cc, append(flags, "-Wall", "-Wextra", "-Wconversion"), dir, done)
		for _, w := range done {
			for _, n := range w.outs {
				a, _ := w.want[n].(*ir.Tensor).Bytes()
				b, _ := got[w][n].(*ir.Tensor).Bytes()
				assert.Equal(t, a, b, "%s %v", w.base, flags)
			}
		}
	}
	const arm = "aarch64-linux-gnu-gcc"
	if _, err := exec.LookPath(arm); err != nil {
		t.Log("left out: aarch64-linux-gnu-gcc is missing; .ci/run installs it")
		return
	}
	if _, err := exec.LookPath("qemu-aarch64-static"); err != nil {
		t.Log("left out: qemu-aarch64-static is missing; .ci/run installs it")
		return
	}
	done = slices.DeleteFunc(done, func(w *written) bool { return w.base == "resnet8" }) // which takes an emulator long
	for march, instruction := range map[string]string{"armv8-a": "smull", "armv8.2-a+dotprod": "sdot", "armv8.6-a+i8mm": "usdot"} {
		got := run(t, arm, []string{"-O1", "-static", "-march=" + march, "-Wall", "-Wextra", "-Wconversion", "-Werror"}, dir, done)
		for _, w := range done {
			for _, n := range w.outs {
				a, _ := w.want[n].(*ir.Tensor).Bytes()
				b, _ := got[w][n].(*ir.Tensor).Bytes()
				assert.Equal(t, a, b, "%s %s", w.base, march)
			}
		}
		code, err := exec.Command("aarch64-linux-gnu-objdump", "-d", filepath.Join(dir, "plain.o")).Output()
		require.NoError(t, err)
		assert.Contains(t, string(code), "\t"+instruction+"\t", march)
	}
}
