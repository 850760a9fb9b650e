package onnxgo_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx" // registers the tests
	"github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	"gorgonia.org/tensor"

	"github.com/onnxopt/onnxopt/integrations/onnxgo"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/ops/schema"
)

var update = flag.Bool("update", false, "write OPERATORS.md")

var _ backend.ComputationBackend = (*onnxgo.Graph)(nil)

// left are cases of onnx-go's tests that no backend can pass, and why.
func left(tc *testbackend.TestCase) string {
	for i, x := range tc.Input {
		f, err := onnxio.Read(tc.ModelB, onnxio.Options{})
		if err != nil {
			return err.Error()
		}
		if in := f.Model.Main.Inputs(); i < len(in) && in[i].Type().Elem != ir.Float32 && x.Dtype() == tensor.Float32 {
			return "an input of another type stands as a float32 in the test, because onnx-go's generator did not know the type"
		}
	}
	if strings.HasPrefix(tc.Title, "TestScan") {
		return "onnx-go's decoder refuses attributes that are graphs"
	}
	return ""
}

// apart are cases whose verdict in onnx-go is about its data: ONNX itself compares these within 1e-3 relatively, onnx-go within 1e-6 absolutely.
func apart() map[string]string {
	const rounding = "float32 has no 1e-6 at the size of these results"
	return map[string]string{
		"TestReduceL1DefaultAxesKeepdimsRandom": rounding, "TestReduceProdDefaultAxesKeepdimsRandom": rounding, "TestReduceSumDefaultAxesKeepdimsRandom": rounding,
		"TestReduceSumSquareDefaultAxesKeepdimsRandom": rounding, "TestPow": rounding, "TestRoialign": "its results are stored with four digits",
		"TestSize": "a scalar is stored as one element", "TestSizeExample": "a scalar is stored as one element",
	}
}

// cases are onnx-go's tests, in order, each as new.
func cases(t testing.TB) (list []func() *testbackend.TestCase) {
	list = testbackend.FindAllTestsMatching(regexp.MustCompile(""))
	slices.SortFunc(list, func(a, b func() *testbackend.TestCase) int { return strings.Compare(a().Title, b().Title) })
	if len(list) < 300 {
		t.Fatalf("%d tests are registered", len(list))
	}
	return list
}

// TestConformance runs the tests that onnx-go has for its backends, as onnx-go runs them.
func TestConformance(t *testing.T) {
	ran, stated := 0, 0
	for _, c := range cases(t) {
		tc := c()
		f, err := onnxio.Read(tc.ModelB, onnxio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if left(tc) != "" {
			continue
		}
		g := onnxgo.NewGraph()
		if _, err := decodeAndRun(g, tc); errors.As(err, new(*onnxgo.OpsetError)) {
			stated++
			g = onnxgo.NewGraph(onnxgo.WithOpset(int(f.Model.Opset(""))))
		} else {
			g = onnxgo.NewGraph()
		}
		ran++
		if apart()[tc.Title] != "" {
			if out, err := decodeAndRun(g, tc); err != nil || !right(tc, out, 1e-3) {
				t.Errorf("%s: %v %v", tc.Title, out, err)
			}
			continue
		}
		t.Run(tc.Title, tc.RunTest(g, false))
		if !tc.Tested || tc.Skipped || tc.Failed {
			t.Errorf("%s: tested %v, skipped %v, failed %v", tc.Title, tc.Tested, tc.Skipped, tc.Failed)
		}
	}
	t.Logf("%d tests, of which %d need WithOpset", ran, stated)
	if ran < 330 || stated > 20 {
		t.Fail()
	}
}

// decodeAndRun is onnx-go's own way of use.
func decodeAndRun(b backend.ComputationBackend, tc *testbackend.TestCase) (out []tensor.Tensor, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	m := onnx.NewModel(b)
	if err := m.UnmarshalBinary(tc.ModelB); err != nil {
		return nil, err
	}
	for i, x := range tc.Input {
		if err := m.SetInput(i, x); err != nil {
			return nil, err
		}
	}
	if err := b.Run(); err != nil {
		return nil, err
	}
	return m.GetOutputTensors()
}

// right reports whether outputs are those of the test, within 1e-6 and rel of their size.
func right(tc *testbackend.TestCase, out []tensor.Tensor, rel float64) bool {
	if len(out) != len(tc.ExpectedOutput) {
		return false
	}
	for i, x := range out {
		want := tc.ExpectedOutput[i]
		if x == nil || !x.Shape().Eq(want.Shape()) && (rel == 0 || x.Shape().TotalSize() != want.Shape().TotalSize()) {
			return false
		}
		a, b := slice(x), slice(want)
		if a.Len() != b.Len() {
			return false
		}
		for k := range a.Len() {
			p, ok := number(a.Index(k))
			q, ok2 := number(b.Index(k))
			if !ok || !ok2 || math.Abs(p-q) > 1e-6+rel*math.Abs(q) && !(math.IsNaN(p) && math.IsNaN(q)) {
				return false
			}
		}
	}
	return true
}

// slice is what a tensor holds; gorgonia.org/tensor gives a scalar as such.
func slice(t tensor.Tensor) reflect.Value {
	v := reflect.ValueOf(t.Data())
	if v.Kind() == reflect.Slice {
		return v
	}
	one := reflect.MakeSlice(reflect.SliceOf(v.Type()), 1, 1)
	one.Index(0).Set(v)
	return one
}

func number(v reflect.Value) (float64, bool) {
	switch {
	case v.CanFloat():
		return v.Float(), true
	case v.Kind() == reflect.Bool:
		return map[bool]float64{true: 1}[v.Bool()], true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanInt():
		return float64(v.Int()), true
	}
	return 0, false
}

// TestGained lists the operators that programs gain over onnx-go's Gorgonia backend, and holds OPERATORS.md to it. An operator of Gorgonia's is one
// that it does not refuse as unknown.
func TestGained(t *testing.T) {
	seen := map[string]bool{}
	var gained, both, theirs []string
	for _, s := range schema.All() {
		op := s.Op()
		if op.Domain != "" || seen[op.Type] {
			continue
		}
		seen[op.Type] = true
		v := schema.Versions(op)
		ours := kernel.Lookup(op, v[len(v)-1].Since()) != nil
		switch gorgonia := knows(op.Type); {
		case ours && gorgonia:
			both = append(both, op.Type)
		case ours:
			gained = append(gained, op.Type)
		case gorgonia:
			theirs = append(theirs, op.Type)
		}
	}
	slices.Sort(gained)
	slices.Sort(both)
	passed, passedThere := 0, 0
	for _, c := range cases(t) {
		out, err := decodeAndRun(gorgonnx.NewGraph(), c())
		if err == nil && right(c(), out, 1e-3) {
			passedThere++
		}
		if left(c()) == "" {
			passed++ // TestConformance
		}
	}
	text := fmt.Sprintf(`# Operators gained

Made by `+"`go test -run TestGained -update`"+`: the operators of the ONNX standard that the embedded engine has, beside those that onnx-go's
Gorgonia backend does not refuse as unknown. Of onnx-go's own %d tests of backends %d pass here, and %d with Gorgonia; the others hold inputs of a
wrong type or a subgraph, which onnx-go does not decode. Operators with subgraphs (If, Loop, Scan, SequenceMap), sequences and float16 need the
decoder of this module, onnxgo.NewModel. Operators of ONNX Runtime (com.microsoft) come on top. Gorgonia's backend also takes names that are not in
the standard, as Square and ImageScaler.

Gained (%d): %s.

In both (%d): %s.
`, len(cases(t)), passed, passedThere, len(gained), strings.Join(gained, ", "), len(both), strings.Join(both, ", "))
	if len(theirs) > 0 {
		t.Errorf("Gorgonia's backend has operators that the engine does not: %v", theirs)
	}
	if *update {
		if err := os.WriteFile("OPERATORS.md", []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("OPERATORS.md")
	if err != nil || strings.ReplaceAll(string(b), "\r\n", "\n") != text {
		t.Errorf("OPERATORS.md is not what -update writes (%v):\n%s", err, text)
	}
	if len(gained) < 100 || len(both) < 25 || passedThere >= passed {
		t.Error(len(gained), len(both), passedThere, passed)
	}
}

// knows reports whether the Gorgonia backend knows an operator.
func knows(op string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = true // it tried
		}
	}()
	g := gorgonnx.NewGraph()
	in, out := g.NewNode(), (*gorgonnx.Node)(nil)
	g.AddNode(in)
	if err := in.(*gorgonnx.Node).SetTensor(tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float32))); err != nil {
		return false
	}
	out = g.NewNode().(*gorgonnx.Node)
	g.AddNode(out)
	g.SetWeightedEdge(g.NewWeightedEdge(out, in, 0))
	if err := g.ApplyOperation(onnx.Operation{Name: op, Attributes: map[string]any{}}, out); err != nil {
		return false
	}
	var unknown *onnx.ErrNotImplemented
	return !errors.As(g.Run(), &unknown) || unknown.Operator != op || unknown.Message+unknown.AttributeName != ""
}
