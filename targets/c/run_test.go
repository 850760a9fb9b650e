package c_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets/c"
)

// folder is an artifact in a folder.
type folder struct {
	dir, base string
	files     []*os.File
	notes     []string
}

func (a *folder) Name(suffix string) string {
	if suffix == "" {
		suffix = ".c"
	}
	return a.base + suffix
}
func (a *folder) Note(s string)         { a.notes = append(a.notes, s) }
func (a *folder) Model(*ir.Model) error { panic("it writes no ONNX") }
func (a *folder) File(suffix string) (io.Writer, error) {
	f, err := os.Create(filepath.Join(a.dir, a.Name(suffix)))
	a.files = append(a.files, f)
	return f, err
}

// written is a model in C with inputs for it and what they give.
type written struct {
	*folder
	in, want map[string]ir.Datum
	bound    map[string]compare.Tolerance
	ins      []string // in order
	outs     []string
}

// emit writes a model after a pipeline, which may be empty.
func emit(t *testing.T, m *ir.Model, pipeline, options, dir, base string) (*written, error) {
	t.Helper()
	ctx := context.Background()
	w := &written{folder: &folder{dir: dir, base: base}, in: compare.Inputs(m, 1, compare.GenerateOptions{})[0], bound: compare.Tolerances(m)}
	s, err := native.New().Load(ctx, m, engine.Options{MaxMemory: 1 << 31})
	if err != nil {
		return nil, err
	}
	if w.want, err = s.Run(ctx, w.in); err != nil {
		return nil, err
	}
	return w, w.write(ctx, t, m, pipeline, options)
}

func (w *written) write(ctx context.Context, t *testing.T, m *ir.Model, pipeline, options string) error {
	return w.writeWith(ctx, t, m, pipeline, options, passes.Config{})
}

func (w *written) writeWith(ctx context.Context, t *testing.T, m *ir.Model, pipeline, options string, config passes.Config) error {
	r, err := passlist.Registry()
	require.NoError(t, err)
	if pipeline != "" {
		p, err := r.Parse(pipeline)
		require.NoError(t, err)
		if _, err := p.Run(ctx, m, passes.Config{}); err != nil {
			return err
		}
	}
	target := c.New()
	if err := target.Check(m); err != nil {
		return err
	}
	p, err := target.Emitter("c"+options, w.folder)
	require.NoError(t, err)
	defer func() {
		for _, f := range w.files {
			require.NoError(t, f.Close())
		}
	}()
	if _, err := p.Run(ctx, m, config); err != nil {
		return err
	}
	for _, s := range m.Main.Inputs() {
		if v := s.Value(); v.NumUses() > 0 || !v.IsInitializer() {
			w.ins = append(w.ins, s.Name())
		}
	}
	for _, s := range m.Main.Outputs() {
		w.outs = append(w.outs, s.Name())
	}
	return nil
}

// compiler is the machine's C compiler.
func compiler(t testing.TB) string {
	for _, cc := range []string{"cc", "gcc", "clang"} {
		if p, err := exec.LookPath(cc); err == nil {
			return p
		}
	}
	t.Skip("left out: there is no C compiler (cc, gcc or clang) on the PATH; .ci/run installs clang")
	return ""
}

// run compiles models into one program with the given options, runs it, and returns each model's outputs.
func run(t *testing.T, cc string, flags []string, dir string, models []*written) map[*written]map[string]ir.Datum {
	t.Helper()
	var main strings.Builder
	main.WriteString("#include <stdio.h>\n#include <stdlib.h>\n")
	for _, w := range models {
		fmt.Fprintf(&main, "#include \"%s\"\n", w.Name(".h"))
	}
	main.WriteString("int main(void) {\n")
	for i, w := range models {
		types := parameters(t, filepath.Join(dir, w.Name(".h")))
		require.Len(t, types, len(w.ins)+len(w.outs), w.base)
		fmt.Fprintf(&main, "{\n")
		var in []byte
		var args []string
		fmt.Fprintf(&main, "FILE *f = fopen(\"%d.in\", \"rb\"), *g = fopen(\"%d.out\", \"wb\");\nif (!f || !g) return 1;\n", i, i)
		for j, n := range w.ins {
			b := raw(t, w.in[n].(*ir.Tensor))
			in = append(in, b...)
			fmt.Fprintf(&main, "void *i%d = malloc(%d); if (fread(i%d, 1, %d, f) != %d) return 1;\n", j, len(b), j, len(b), len(b))
			args = append(args, fmt.Sprintf("i%d", j))
		}
		for j, n := range w.outs {
			size := len(raw(t, w.want[n].(*ir.Tensor)))
			fmt.Fprintf(&main, "void *o%d = malloc(%d);\n", j, size)
			args = append(args, fmt.Sprintf("o%d", j))
		}
		fmt.Fprintf(&main, "%s_run(%s);\n%s_run(%s);\n", identifier(w), strings.Join(args, ", "), identifier(w), strings.Join(args, ", ")) // the second time on used memory
		for j, n := range w.outs {
			fmt.Fprintf(&main, "if (!fwrite(o%d, %d, 1, g)) return 1;\n", j, len(raw(t, w.want[n].(*ir.Tensor))))
			fmt.Fprintf(&main, "free(o%d);\n", j)
		}
		for j := range w.ins {
			fmt.Fprintf(&main, "free(i%d);\n", j)
		}
		main.WriteString("fclose(f);\nif (fclose(g)) return 1;\n}\n")
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.in", i)), in, 0o666))
	}
	main.WriteString("return 0;\n}\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all_main.c"), []byte(main.String()), 0o666))
	var wait sync.WaitGroup
	gate := make(chan bool, 2)
	objects := []string{"all_main.c"}
	failures := make([]string, len(models))
	for i, w := range models {
		object := w.base + ".o"
		objects = append(objects, object)
		wait.Add(1)
		go func() {
			defer wait.Done()
			gate <- true
			defer func() { <-gate }()
			cmd := exec.Command(cc, append(slices.Clone(flags), "-std=c99", "-I.", "-c", "-o", object, w.Name(""))...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				failures[i] = fmt.Sprintf("%s: %v\n%.4000s", w.base, err, out)
			}
		}()
	}
	wait.Wait()
	failures = slices.DeleteFunc(failures, func(f string) bool { return f == "" })
	require.Empty(t, strings.Join(failures, "\n"))
	link := exec.Command(cc, append(append(slices.Clone(flags), "-Wno-conversion", "-o", "all"), append(objects, "-lm")...)...)
	link.Dir = dir
	out, err := link.CombinedOutput()
	require.NoError(t, err, "%s", out)
	prog := exec.Command("./all")
	if strings.HasPrefix(filepath.Base(cc), "aarch64") {
		prog = exec.Command("qemu-aarch64-static", "./all")
	}
	prog.Dir = dir
	out, err = prog.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
	r := map[*written]map[string]ir.Datum{}
	for i, w := range models {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.out", i)))
		require.NoError(t, err)
		r[w] = map[string]ir.Datum{}
		for _, n := range w.outs {
			x := w.want[n].(*ir.Tensor)
			typ, size := x.DType(), int(x.ByteLen())
			if typ == ir.Float16 {
				typ, size = ir.Float32, 2*size
			}
			r[w][n] = ir.NewTensor(typ, x.Shape(), b[:size:size])
			b = b[size:]
		}
	}
	return r
}

// identifier is the prefix of the model's functions.
func identifier(w *written) string {
	return regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(w.base, "_")
}

// parameters are the types of the model's function.
func parameters(t *testing.T, header string) []string {
	b, err := os.ReadFile(header)
	require.NoError(t, err)
	m := regexp.MustCompile(`void \w+_run\((.*)\);`).FindSubmatch(b)
	require.NotNil(t, m)
	return strings.Split(string(m[1]), ", ")
}

// raw are a tensor's bytes as the model in C takes them: halves are floats.
func raw(t *testing.T, x *ir.Tensor) []byte {
	b, err := x.Bytes()
	require.NoError(t, err)
	if x.DType() != ir.Float16 {
		return b
	}
	h, err := ir.Elements[uint16](x)
	require.NoError(t, err)
	f := make([]float32, len(h))
	for i, v := range h {
		f[i] = kernel.Float16ToFloat32(v)
	}
	return ir.AsBytes(f)
}

// halves makes a float tensor one of halves if the other is that.
func halves(got, want ir.Datum) ir.Datum {
	g, w := got.(*ir.Tensor), want.(*ir.Tensor)
	if w.DType() != ir.Float16 {
		return got
	}
	f, _ := ir.Elements[float32](g)
	h := make([]uint16, len(f))
	for i, x := range f {
		h[i] = kernel.Float32ToFloat16(x)
	}
	return ir.NewTensor(ir.Float16, g.Shape(), ir.AsBytes(h))
}

// models are the real models that the target takes, with the sizes of their open dimensions.
func models() map[string]string {
	return map[string]string{
		"mnist-8": "", "resnet8-cifar10": "input_1=[1,32,32,3]", "ultraface-RFB-320": "", "fastestdet": "", "ppocr-cls-v2": "x=[1,3,48,192]",
		"super-resolution-10": "input=[1,1,224,224]", "magika-standard-v3_3": "bytes=[1,2048]", "squeezenet-fp16-winml": "", "minilm-l2-trimvocab-fp32": "batch=1 seq=32",
		"ppocrv4-rec": "x=[1,3,48,320]", "ppocrv4-det": "x=[1,3,320,320]", "tract-byte-bidi-lstm": "batch=1 length=16", "basic-pitch-nmp": "unk__749=1",
		"mnist-winml-opset": "", "mnist-ort-dynquant": "", "resnet8-cifar10-int8qdq": "input_1_int8=[1,32,32,3]",
		"light_densenet121": "", "light_inception_v2": "", "light_resnet50": "", "light_shufflenet": "",
	}
}

// sharedModel is a model of ../shared/models with the sizes of models.
func sharedModel(t *testing.T, name string) *ir.Model {
	f, err := onnxio.Open("../../../shared/models/"+name+".onnx", onnxio.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	if sizes := models()[name]; sizes != "" {
		r, err := passlist.Registry()
		require.NoError(t, err)
		p, err := r.Parse("set-shape{" + sizes + "}")
		require.NoError(t, err)
		_, err = p.Run(context.Background(), f.Model, passes.Config{})
		require.NoError(t, err)
	}
	return f.Model
}

// TestModels writes the real models, compiles them for this machine, and with vectors of other widths, and compares what they compute with the
// embedded engine.
func TestModels(t *testing.T) {
	cc := compiler(t)
	shared, _ := filepath.Glob("../../../shared/models/*.onnx")
	if len(shared) == 0 {
		t.Skip("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	dir := t.TempDir()
	var done []*written
	for _, name := range slices.Sorted(maps.Keys(models())) {
		if testing.Short() && name != "mnist-8" && name != "resnet8-cifar10" {
			continue
		}
		if !*whole && name != "light_shufflenet" && strings.HasPrefix(name, "light_") { // what is special about them is the same in all
			t.Logf("left out: %s, which -args -whole compiles", name)
			continue
		}
		w, err := emit(t, sharedModel(t, name), c.New().Pipeline, "", dir, name)
		if !assert.NoError(t, err, name) {
			continue
		}
		done = append(done, w)
		t.Logf("%-26s %s", name, w.notes[len(w.notes)-1])
	}
	for _, flags := range [][]string{{"-O1", "-march=native"}, {"-O1", "-march=native", "-mno-avx512f"}, {"-O1"}} {
		got := run(t, cc, flags, dir, done)
		for _, w := range done {
			worst := 0.0
			for _, n := range w.outs {
				d := compare.Datum(w.want[n], halves(got[w][n], w.want[n]))
				assert.NoError(t, w.bound[n].Check(d), "%s %v, output %s", w.base, flags, n)
				worst = max(worst, d.Rel)
			}
			t.Logf("%-26s %v differs by %.1e", w.base, flags, worst)
		}
	}
}

// TestNodes writes the models of ONNX's node tests, each as it is and with all inputs but the first as constants, compiles them into one
// program, and compares what it computes with the embedded engine.
func TestNodes(t *testing.T) {
	cc := compiler(t)
	dir := t.TempDir()
	tests := maps.Collect(conformance.Models(t, conformance.Archive(t, "onnx-node-tests")))
	var done []*written
	operators := map[string]bool{}
	refused := map[string]int{}
	for i, name := range slices.Sorted(maps.Keys(tests)) {
		if only := os.Getenv("ONNXOPT_NODES"); only != "" && !regexp.MustCompile(only).MatchString(name) || testing.Short() && i%5 != 0 {
			continue
		}
		for _, frozen := range []bool{false, true} {
			f, err := onnxio.Read(tests[name], onnxio.Options{})
			require.NoError(t, err)
			defer f.Close()
			ops := map[string]bool{}
			for n := range f.Model.Main.Nodes() {
				ops[n.Op().Type] = true
			}
			id := fmt.Sprintf("%s_%v", strings.ReplaceAll(name, "-", "_"), frozen)
			w, err := node(t, f.Model, frozen, dir, id)
			if err != nil {
				refused[err.Error()]++
			}
			if w != nil && err == nil {
				done = append(done, w)
				maps.Copy(operators, ops)
			}
		}
	}
	got := run(t, cc, []string{"-O0", "-Wall", "-Wextra", "-Wconversion"}, dir, done)
	for _, w := range done {
		for _, n := range w.outs {
			want := w.want[n].(*ir.Tensor)
			d := compare.Datum(want, halves(got[w][n], want))
			assert.NoError(t, compare.O2(want.DType()).Check(d), "%s, output %s", w.base, n)
		}
	}
	t.Logf("%d models of %d operators agree", len(done), len(operators))
	if os.Getenv("ONNXOPT_REFUSED") != "" {
		for _, k := range slices.Sorted(maps.Keys(refused)) {
			t.Log(refused[k], k)
		}
	}
	assert.False(t, os.Getenv("ONNXOPT_NODES") == "" && !testing.Short() && len(done) < 400, "%d models", len(done))
}

// node writes a model of a node test; nil where it is not for the target.
func node(t *testing.T, m *ir.Model, frozen bool, dir, name string) (*written, error) {
	if len(m.Functions) > 0 || c.New().Check(m) != nil {
		return nil, c.New().Check(m)
	}
	sets := compare.Inputs(m, 1, compare.GenerateOptions{})
	if len(sets) == 0 {
		return nil, nil
	}
	w := &written{folder: &folder{dir: dir, base: name}, in: sets[0]}
	for _, d := range w.in {
		if x, ok := d.(*ir.Tensor); !ok || x.Len() == 0 || x.DType() == ir.String {
			return nil, nil
		}
	}
	if frozen {
		slots := m.Main.Inputs()
		for i := len(slots) - 1; i > 0; i-- {
			slots[i].Value().ReplaceUses(m.Main.Const(w.in[slots[i].Name()].(*ir.Tensor)))
			delete(w.in, slots[i].Name())
			m.Main.RemoveInput(i)
		}
	}
	ctx := context.Background()
	s, err := native.New().Load(ctx, m, engine.Options{MaxMemory: 1 << 28})
	if err != nil {
		return nil, nil
	}
	if w.want, err = s.Run(ctx, w.in); err != nil {
		return nil, nil
	}
	for _, d := range w.want {
		if x, ok := d.(*ir.Tensor); !ok || x.Len() == 0 {
			return nil, nil
		}
	}
	return w, w.write(ctx, t, m, "opset{to=21}", "{weights=array}")
}

// model parses a model in text.
func model(t *testing.T, src string) *ir.Model {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}
