package onnxgo_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	"gorgonia.org/tensor"

	"github.com/onnxopt/onnxopt/integrations/onnxgo"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// model is the file of a model in text.
func model(t testing.TB, src string) []byte {
	m, err := text.Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := onnxio.Write(&b, m, onnxio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func floats(n int) tensor.Tensor { return floatsOf(1, n) }

func floatsOf(shape ...int) tensor.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i) - float32(n)/2
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
}

const squares = `<ir_version: 8, opset_import: ["" : 12]>
g (float[N,4] x) => (float[N,4] y, float[N,4] r) <float[4] w = {1, 2, 3, 4}> {
   s = Add (x, w)
   r = Relu (s)
   q = Mul (r, r)
   y = Sub (q, x)
}`

// TestUse is onnx-go's own way of use, with one line changed.
func TestUse(t *testing.T) {
	backend := onnxgo.NewGraph(onnxgo.WithVerify(), onnxgo.WithThreads(2))
	m := onnx.NewModel(backend)
	if err := m.UnmarshalBinary(model(t, squares)); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{1, 3, 5, 3} { // the batch is open
		x := floatsOf(rows, 4)
		if err := m.SetInput(0, x); err != nil {
			t.Fatal(err)
		}
		if err := backend.Run(); err != nil {
			t.Fatal(err)
		}
		out, err := m.GetOutputTensors()
		if err != nil {
			t.Fatal(err)
		}
		var y, r []float32
		for i, v := range x.Data().([]float32) {
			s := max(0, v+float32(i%4+1))
			r = append(r, s)
			y = append(y, s*s-v)
		}
		// r is an output that another operator uses; Gorgonia's backend gives no value for it.
		if !slices.Equal(out[0].Data().([]float32), y) || out[1] == nil || !slices.Equal(out[1].Data().([]float32), r) {
			t.Fatalf("%d rows: %v", rows, out)
		}
	}
	n, ok := m.GetNodeByName("q")
	if !ok {
		t.Fatal("q")
	}
	if q := n.(*onnxgo.Node).GetTensor(); q == nil || q.Data().([]float32)[11] != 81 {
		t.Fatal(q)
	}
}

// TestModel decodes what onnx-go does not: subgraphs, other domains, float16, and the operator set.
func TestModel(t *testing.T) {
	b := model(t, `<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>
g (float16[N,4] x, bool c) => (float16[N,4] y) {
   z = If (c) <then_branch: graph = a () => (float16[N,4] u) { u = Softmax (x) }, else_branch: graph = b () => (float16[N,4] v) { v = com.microsoft.QuickGelu <alpha = 1.0> (x) }>
   y = Neg (z)
}`)
	if onnx.NewModel(onnxgo.NewGraph()).UnmarshalBinary(b) == nil {
		t.Error("onnx-go decodes it: say so in doc.go")
	}
	g := onnxgo.NewGraph()
	m := onnxgo.NewModel(g)
	if err := m.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if _, err := m.GetOutputTensors(); err == nil {
		t.Error("outputs before a run")
	}
	x := tensor.New(tensor.WithShape(1, 4), tensor.WithBacking([]float32{0, 0, 0, 0}))
	for i, in := range []tensor.Tensor{x, tensor.New(tensor.FromScalar(true))} {
		if err := m.SetInput(i, in); err != nil {
			t.Fatal(err)
		}
	}
	if m.SetInput(2, x) == nil || g.Run() != nil {
		t.Fatal("SetInput, Run")
	}
	out, err := m.GetOutputTensors()
	if err != nil || !slices.Equal(out[0].Data().([]float32), []float32{-0.25, -0.25, -0.25, -0.25}) {
		t.Fatal(out, err)
	}
}

// TestViews: slices and transposed tensors go in as they are seen.
func TestViews(t *testing.T) {
	whole := floatsOf(4, 3).(*tensor.Dense)
	if err := whole.T(); err != nil {
		t.Fatal(err)
	}
	g := onnxgo.NewGraph()
	m := onnx.NewModel(g)
	if err := m.UnmarshalBinary(model(t, `<ir_version: 8, opset_import: ["" : 12]> g (float[3,4] x) => (float[3,4] y) { y = Neg (x) }`)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.SetInput(0, whole), g.Run()); err != nil {
		t.Fatal(err)
	}
	out, err := m.GetOutputTensors()
	if err != nil || !slices.Equal(out[0].Data().([]float32), []float32{6, 3, 0, -3, 5, 2, -1, -4, 4, 1, -2, -5}) {
		t.Fatal(out, err)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{`<ir_version: 8, opset_import: ["" : 12]> g (float[1,4,2] x) => (float[1,4,2] y) { y = Softmax (x) }`, "one thing in version 12 and another in 13 (Softmax)"},
		{`<ir_version: 8, opset_import: ["" : 12]> g (float[1,4] x) => (float[1,4] y) { a = Softmax (x) b = Clip <max = 0.5> (a) y = Relu (b) }`, ""},
		{`<ir_version: 8, opset_import: ["" : 12]> g (float[1,4] x, float[1,5] z) => (float[1,4] y) { y = Add (x, z) }`, `input "z" has no value`},
		{`<ir_version: 8, opset_import: ["" : 12]> g (float[1,4] x) => (float[1,4] y) { y = MatMul (x, x) }`, "no version of the operator set in which the model is valid"},
	} {
		g := onnxgo.NewGraph()
		m := onnx.NewModel(g)
		if err := m.UnmarshalBinary(model(t, c.src)); err != nil {
			t.Fatal(err)
		}
		x := floats(4)
		if strings.Contains(c.src, "[1,4,2]") {
			x = floatsOf(1, 4, 2)
		}
		if err := m.SetInput(0, x); err != nil {
			t.Fatal(err)
		}
		err := g.Run()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.src, err)
		}
	}
	if err := onnxgo.NewGraph().Run(); err == nil {
		t.Error("an empty graph ran")
	}
	var unknown *onnx.ErrNotImplemented
	if err := onnxgo.NewGraph().ApplyOperation(onnx.Operation{Name: "Frobnicate"}); !errors.As(err, &unknown) {
		t.Error(err)
	}
}

// digits is the model of the README and one of its samples.
func digits(t testing.TB) ([]byte, tensor.Tensor) {
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "digits", "digits.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return b, floatsOf(1, 1, 16, 16)
}

// TestDigits compares the three ways on a model with all of its parts.
func TestDigits(t *testing.T) {
	b, x := digits(t)
	g := onnxgo.NewGraph(onnxgo.WithPipeline(""))
	m := onnxgo.NewModel(g)
	if err := errors.Join(m.UnmarshalBinary(b), m.SetInput(0, x), g.Run()); err != nil {
		t.Fatal(err)
	}
	want, err := m.GetOutputTensors()
	if err != nil {
		t.Fatal(err)
	}
	g2 := onnxgo.NewGraph()
	m2 := onnx.NewModel(g2)
	if err := errors.Join(m2.UnmarshalBinary(b), m2.SetInput(0, x), g2.Run()); err != nil {
		t.Fatal(err)
	}
	out, err := m2.GetOutputTensors()
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range out[0].Data().([]float32) {
		if d := v - want[0].Data().([]float32)[i]; d > 1e-4 || d < -1e-4 {
			t.Fatal(out, want)
		}
	}
}

// BenchmarkRun times both backends on a model that Gorgonia can run.
func BenchmarkRun(b *testing.B) {
	src := model(b, `<ir_version: 8, opset_import: ["" : 9]>
g (float[1,8,64,64] x, float[16,8,3,3] w, float[16,16,3,3] v) => (float[1,16,32,32] y) {
   a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
   r = Relu (a)
   c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, v)
   s = Relu (c)
   y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (s)
}`)
	in := []tensor.Tensor{floatsOf(1, 8, 64, 64), floatsOf(16, 8, 3, 3), floatsOf(16, 16, 3, 3)}
	for _, x := range []struct {
		name string
		g    backend.ComputationBackend
	}{{"onnxopt", onnxgo.NewGraph()}, {"gorgonia", gorgonnx.NewGraph()}} {
		b.Run(x.name, func(b *testing.B) {
			m := onnx.NewModel(x.g)
			if err := m.UnmarshalBinary(src); err != nil {
				b.Fatal(err)
			}
			for i, v := range in {
				if err := m.SetInput(i, v); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if err := x.g.Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
