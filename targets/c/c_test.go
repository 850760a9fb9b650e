package c_test

import (
	"context"
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
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets/c"
)

const head = `<ir_version: 8, opset_import: ["" : 21]> `

// sample has what makes bodies differ: a planar input, blocks that are not full, an odd number of blocks, residuals, branches, broadcasts.
const sample = head + `g (float[1,3,13,11] x, float[1,1,1] gate) => (float[1,5] y, float[1,44,7,6] z) {
	a = Conv <pads: ints = [1,1,1,1], strides: ints = [2,2]> (x, w1, b1)  r = Relu (a)
	d = Conv <pads: ints = [1,1,1,1], group: int = 20> (r, w2)  h = HardSwish (d)
	e = Conv (h, w3)  s = Add (e, r)  t = Sigmoid (s)
	m = MaxPool <kernel_shape: ints = [3,3], pads: ints = [1,1,1,1], strides: ints = [1,1]> (t)
	k = Concat <axis: int = 1> (u, m)  u = Conv (t, w4)  z = Mul (k, gate)
	p = GlobalAveragePool (z)  f = Flatten (p)  o = Gemm (f, w5)  y = Softmax (o)
}`

// withWeights replaces the free names of weights by inputs that are constants.
func sampleModel(t *testing.T) *ir.Model {
	src := strings.Replace(sample, "float[1,1,1] gate)", "float[1,1,1] gate, float[20,3,3,3] w1, float[20] b1, float[20,1,3,3] w2, float[20,20,1,1] w3, float[24,20,1,1] w4, float[44,5] w5)", 1)
	m := model(t, src)
	in := compare.Inputs(m, 1, compare.GenerateOptions{})[0]
	slots := m.Main.Inputs()
	for i := len(slots) - 1; i > 1; i-- {
		slots[i].Value().ReplaceUses(m.Main.Const(in[slots[i].Name()].(*ir.Tensor)))
		m.Main.RemoveInput(i)
	}
	return m
}

// TestClean compiles with all warnings by each compiler there is, and runs under the sanitizers.
func TestClean(t *testing.T) {
	compiler(t)
	dir := t.TempDir()
	w, err := emit(t, sampleModel(t), "", "", dir, "sample")
	require.NoError(t, err)
	for _, cc := range []string{"gcc", "clang"} {
		if _, err := exec.LookPath(cc); err != nil {
			t.Logf("left out: %s is not here", cc)
			continue
		}
		for _, flags := range [][]string{{"-O2"}, {"-O1", "-march=native"}, {"-O1", "-mavx2", "-mfma"}, {"-O0", "-march=native", "-fsanitize=address,undefined"}, {"-O0", "-fsanitize=address,undefined"}} {
			if strings.Contains(strings.Join(flags, " "), "avx2") && !avx2() {
				continue
			}
			got := run(t, cc, append(flags, "-Wall", "-Wextra", "-Wconversion", "-Werror"), dir, []*written{w})
			for _, n := range w.outs {
				assert.NoError(t, w.bound[n].Check(compare.Datum(w.want[n], got[w][n])), "%s %v %s", cc, flags, n)
			}
		}
	}
}

func avx2() bool {
	b, _ := os.ReadFile("/proc/cpuinfo")
	return strings.Contains(string(b), " avx2 ")
}

// TestWeights runs the example program with the weights in each of the three places.
func TestWeights(t *testing.T) {
	cc := compiler(t)
	m := sampleModel(t)
	in := compare.Inputs(m, 1, compare.GenerateOptions{})[0]
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	want, err := s.Run(context.Background(), in)
	require.NoError(t, err)
	for _, weights := range []string{"incbin", "file", "array"} {
		dir := t.TempDir()
		w := &written{folder: &folder{dir: dir, base: "a net"}}
		require.NoError(t, w.write(context.Background(), t, m, "", "{weights="+weights+"}"))
		var args []string
		for _, n := range w.ins {
			b, _ := in[n].(*ir.Tensor).Bytes()
			require.NoError(t, os.WriteFile(filepath.Join(dir, n+".raw"), b, 0o666))
			args = append(args, n+".raw")
		}
		build := exec.Command(cc, "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-o", "net", "a net.c", "a net_main.c", "-lm")
		build.Dir = dir
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
		prog := exec.Command("./net", append(args, "out.raw")...)
		prog.Dir = dir
		out, err = prog.CombinedOutput()
		require.NoError(t, err, "%s", out)
		got, err := os.ReadFile(filepath.Join(dir, "out.raw"))
		require.NoError(t, err)
		for _, n := range w.outs {
			x := want[n].(*ir.Tensor)
			size := int(x.ByteLen())
			y := ir.NewTensor(x.DType(), x.Shape(), got[:size:size])
			got = got[size:]
			assert.NoError(t, compare.O2(ir.Float32).Check(compare.Datum(x, y)), "%s, output %s", weights, n)
		}
		assert.Empty(t, got)
		bad := exec.Command("./net", "nothing-here.raw")
		bad.Dir = dir
		out, err = bad.CombinedOutput()
		assert.Error(t, err)
		assert.Contains(t, string(out), "nothing-here.raw: cannot read")
	}
}

// TestMake builds by the make file.
func TestMake(t *testing.T) {
	cc := compiler(t)
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("left out: there is no make on the PATH; the system's package manager has it")
	}
	for _, name := range []string{"net", "a net", "größe-1.5+2@,~x"} {
		dir := t.TempDir()
		_, err := emit(t, sampleModel(t), "", "", dir, name)
		require.NoError(t, err)
		out, err := exec.Command("make", "-C", dir, "-f", name+".mk", "CC="+cc, "CFLAGS=-O1").CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.FileExists(t, filepath.Join(dir, name))
	}
}

// TestSame writes the same bytes twice.
func TestSame(t *testing.T) {
	var first map[string]string
	for range 3 {
		dir := t.TempDir()
		_, err := emit(t, sampleModel(t), "", "", dir, "net")
		require.NoError(t, err)
		files := map[string]string{}
		for _, suffix := range []string{".c", ".h", ".bin", "_main.c", ".mk", ".cmake"} {
			b, err := os.ReadFile(filepath.Join(dir, "net"+suffix))
			require.NoError(t, err)
			files[suffix] = string(b)
		}
		if first == nil {
			first = files
		}
		assert.Equal(t, first, files)
	}
}

// TestNames escapes what is no name in C, and keeps names apart.
func TestNames(t *testing.T) {
	cc := compiler(t)
	dir := t.TempDir()
	m := model(t, head+`g (float[2] "a/b", float[2] "a:b", float[2] "while") => (float[2] "*/ %d \"x", float[2] "3") { "*/ %d \"x" = Add ("a/b", "a:b")  "3" = Sub ("while", "a/b") }`)
	w, err := emit(t, m, "", "{weights=array}", dir, "1 if-then")
	require.NoError(t, err)
	h, err := os.ReadFile(filepath.Join(dir, "1 if-then.h"))
	require.NoError(t, err)
	assert.Contains(t, string(h), "void m1_if_then_run(const float *a_b, const float *a_b_2, const float *m_while, float *d__x, float *m3);")
	for _, f := range []string{w.Name(""), w.Name("_main.c")} {
		cmd := exec.Command(cc, "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsyntax-only", f)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"operators that there are not, all of them", head + `g (float[2,2] x) => (float y, float[2,2] z) { [one] y = Det (x)  [two] z = Hardmax (x) }`,
			`c cannot run 2 nodes: "one" (Det): there is no such operator; "two" (Hardmax): there is no such operator`},
		{"sizes that are open", head + `g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }`, `"x" (input): its shape [n,2] is not static; set-shape{n=1} states it`},
		{"weights that are computed", head + `g (float[1,1,4,4] x, float[1,1,3,3] w) => (float[1,1,2,2] y) { [c] y = Conv (x, w) }`, `"c" (Conv): parameters that are no float constants`},
		{"a normalization by the batch", head + `g (float[2,2] x, float[2] s) => (float[2,2] y) { [n] y = BatchNormalization (x, s, s, s, s) }`, `"n" (BatchNormalization): parameters that are no float constants`},
		{"doubles", head + `g (double[2] x) => (double[2] y) { [a] y = Add (x, x) }`, `"x" (input): elements of type double`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &folder{dir: t.TempDir(), base: "m"}
			assert.ErrorContains(t, refusal(t, model(t, c.src), a), c.want)
			assert.Empty(t, a.files, "something was written")
		})
	}
}

func refusal(t *testing.T, m *ir.Model, a *folder) error {
	if err := c.New().Check(m); err != nil {
		return err
	}
	p, err := c.New().Emitter("c", a)
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	return err
}

// TestArm runs on arm64 in an emulator.
func TestArm(t *testing.T) {
	const cc = "aarch64-linux-gnu-gcc"
	_, err := exec.LookPath(cc)
	if emulator := "qemu-aarch64-static"; err == nil {
		_, err = exec.LookPath(emulator)
	}
	if err != nil {
		t.Skip("left out: aarch64-linux-gnu-gcc or qemu-aarch64-static is missing; .ci/run installs both")
	}
	dir := t.TempDir()
	w, err := emit(t, sampleModel(t), "", "", dir, "sample")
	require.NoError(t, err)
	got := run(t, cc, []string{"-O2", "-static", "-Wall", "-Wextra", "-Wconversion", "-Werror"}, dir, []*written{w})
	for _, n := range w.outs {
		assert.NoError(t, w.bound[n].Check(compare.Datum(w.want[n], got[w][n])), n)
	}
	b, err := exec.Command("aarch64-linux-gnu-objdump", "-d", filepath.Join(dir, "sample.o")).Output()
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(strings.Split(string(b), "\n"), func(l string) bool { return strings.Contains(l, "fmla") }), "no vector instructions")
}
