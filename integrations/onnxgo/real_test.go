package onnxgo_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/onnxopt/onnxopt/integrations/onnxgo"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// TestReal runs real models both ways, with onnx-go's decoder and with this module's, and compares the outputs.
func TestReal(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/models/*.onnx")
	if len(files) == 0 {
		t.Skip("left out: the models of ../shared are not here; they come with the shared material")
	}
	ran, stated := 0, 0
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := onnxio.Read(b, onnxio.Options{FreezeDefaults: true})
		if err != nil {
			t.Fatal(err)
		}
		g, own := onnxgo.NewGraph(), onnxgo.NewGraph()
		theirs, ours := onnx.NewModel(g), onnxgo.NewModel(own)
		if err := decode(theirs, b); err != nil {
			t.Logf("left out: %s: onnx-go does not decode it: %.100v", filepath.Base(path), err)
			continue
		}
		if err := ours.UnmarshalBinary(b); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		fed := true
		for i, s := range f.Model.Main.Inputs() {
			x := random(s.Type())
			if x == nil {
				fed = false
				break
			}
			n, ok := theirs.GetNodeByName(s.Name())
			if !ok {
				t.Fatalf("%s: no node %s", path, s.Name())
			}
			// SetInput of onnx-go counts inputs that have an initializer, too.
			if err := n.(onnx.DataCarrier).SetTensor(x); err != nil {
				t.Fatal(err)
			}
			if err := ours.SetInput(i, x); err != nil {
				t.Fatal(err)
			}
		}
		if !fed {
			continue
		}
		if err := own.Run(); err != nil {
			t.Logf("left out: %s: %.150v", filepath.Base(path), err)
			continue
		}
		var several *onnxgo.OpsetError
		if err := g.Run(); errors.As(err, &several) { // Softmax, say
			stated++
			if f.Model.Opset("") > several.High || f.Model.Opset("") < 7 {
				t.Errorf("%s: %v", filepath.Base(path), err)
			}
			continue
		} else if err != nil {
			t.Errorf("%s: %.300v", filepath.Base(path), err)
			continue
		}
		want, err := ours.GetOutputTensors()
		if err != nil {
			t.Fatal(err)
		}
		got, err := theirs.GetOutputTensors()
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] == nil || !got[i].Shape().Eq(want[i].Shape()) {
				t.Errorf("%s: output %d: %v", path, i, got[i])
				continue
			}
			a, b := slice(got[i]), slice(want[i])
			worst, most := 0.0, 1e-6
			for k := range a.Len() {
				p, _ := number(a.Index(k))
				q, _ := number(b.Index(k))
				worst, most = max(worst, abs(p-q)), max(most, abs(q))
			}
			if !(worst/most < 1e-4) {
				t.Errorf("%s: output %d differs by %g", filepath.Base(path), i, worst/most)
			}
		}
		ran++
	}
	t.Logf("%d of %d models, %d more that need WithOpset", ran, len(files), stated)
	if ran < 7 {
		t.Fail()
	}
}

// decode is onnx-go's decoder, which panics on sizes of -1.
func decode(m *onnx.Model, b []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return m.UnmarshalBinary(b)
}

func abs(x float64) float64 { return max(x, -x) }

// random is a small tensor of a type; open sizes are 1, or 32 behind the second axis.
func random(t *ir.Type) tensor.Tensor {
	if t == nil || !t.IsTensor() {
		return nil
	}
	var shape []int
	n := 1
	for i, d := range t.TensorShape() {
		k := 1
		if d.IsStatic() {
			k = int(d.Size)
		} else if i > 1 {
			k = 32
		}
		shape = append(shape, k)
		n *= k
	}
	r := rand.New(rand.NewPCG(1, 2))
	switch t.Elem {
	case ir.Float32:
		v := make([]float32, n)
		for i := range v {
			v[i] = r.Float32()
		}
		return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
	case ir.Int64:
		v := make([]int64, n)
		for i := range v {
			v[i] = r.Int64N(2)
		}
		return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
	case ir.Int32:
		v := make([]int32, n)
		for i := range v {
			v[i] = r.Int32N(2)
		}
		return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
	}
	return nil
}
