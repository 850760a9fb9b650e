package ops_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
)

func TestModelsVerify(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(conformance.Shared(t, "models"), "*.onnx"))
	require.NoError(t, err)
	require.Len(t, files, 22)
	for _, p := range files {
		f, err := onnxio.Open(p, onnxio.Options{})
		require.NoError(t, err)
		if err := ops.Verify(f.Model); err != nil {
			t.Errorf("%s: %v", filepath.Base(p), err)
		}
		require.NoError(t, f.Close())
	}
}

func TestConformanceTestsVerify(t *testing.T) {
	for archive, want := range map[string]int{"onnx-node-tests": conformance.NodeTests, "onnx-model-tests": conformance.ModelTests} {
		n := 0
		for name, b := range conformance.Models(t, conformance.Archive(t, archive)) {
			f, err := onnxio.Read(b, onnxio.Options{})
			require.NoError(t, err, name)
			if err := ops.Verify(f.Model); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			n++
		}
		require.Equal(t, want, n, archive)
	}
}

// TestMalformed holds the reader, ir.Verify and ops.Verify together to the verdicts on malformed files.
func TestMalformed(t *testing.T) {
	verdicts := conformance.Verdicts(t)
	dir := t.TempDir() // holds no external data; those cases are the reader's
	n := 0
	for name, b := range conformance.Files(t, conformance.MalformedArchive(t)) {
		if !strings.HasSuffix(name, ".onnx") || strings.Contains(name, "/external/") {
			continue
		}
		n++
		err := func() error {
			f, err := onnxio.Read(b, onnxio.Options{DataDir: dir})
			if err != nil {
				return err
			}
			if err := ir.Verify(f.Model); err != nil {
				return err
			}
			return ops.Verify(f.Model)
		}()
		switch v := verdicts[name]; {
		case v.Expected == "reject" && err == nil:
			t.Errorf("%s (%s) is accepted", name, v.Why)
		case strings.HasPrefix(v.Expected, "accept") && err != nil:
			t.Errorf("%s (%s) is rejected: %v", name, v.Why, err)
		}
	}
	require.Greater(t, n, 150)
}

func TestVerify(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["" : 17, "f" : 1, "x" : 1]>
	g (float[2, 4] X, int64[4] I, bool c) => (float[] Y) {`
	for body, want := range map[string]string{
		`Y = Relu (X) }`:                      ``,
		`Y = x.Anything <foo = 1> (X, , I) }`: ``,
		`Y = y.Anything (X) }`:                `graph "g": node of "Y" (y.Anything): domain "y" is not imported`,
		`Y = Relu (X, X) }`:                   `graph "g": node of "Y" (Relu): it has 2 operands, the operator takes 1`,
		`Y = Clip () }`:                       `it has 0 operands, the operator takes 1 to 3`,
		`Y = Concat <axis = 0> () }`:          `it has 0 operands, the operator takes 1 or more`,
		`Y, Z = Relu (X) }`:                   `it has 2 results, the operator takes 1`,
		`Y = Add (, X) }`:                     `operand 0 (A) is missing`,
		`Y = Clip (X, , X) }`:                 ``,
		`Y = Cast (X) }`:                      `attribute to is missing`,
		`Y = Elu <beta = 1.0> (X) }`:          `the operator has no attribute "beta" in version 6`,
		`Y = Elu <alpha = 1> (X) }`:           `attribute alpha is of type int, not float`,
		`Y = Elu <alpha: float = @a> (X) }`:   `attribute alpha refers to attribute "a" of a function, but is in none`,
		`Y = Gelu (X) }`:                      `the operator came with version 20 of its domain; version 17 is imported`,
		`Y = Gleu (X) }`:                      `the standard has no such operator`,
		`Y = Scatter (X, I, X) }`:             `version 11 of the operator set withdrew this operator; version 17 is imported`,
		`Y = Sin (I) }`:                       `operand 0 (input) is of type int64[4]; the operator takes tensor(float), tensor(float16), tensor(double)`,
		`Y = Add (X, I) }`:                    `operand 1 (B) is of type int64[4], another one of float[2,4]; the operator takes the same type T for both`,
		`Y = If (c) <then_branch = t () => (A) { A = Add (X, I) }, else_branch = e () => (B) { B = Neg (X) }> }`: `then_branch of node of "Y" (If): node of "A" (Add): operand 1`,
		`Y = f.F (X) } <domain: "f", opset_import: ["" : 17]> F (a) => (b) { b = Sin (a, a) }`:                   `function f.F: node of "b" (Sin): it has 2 operands, the operator takes 1`,
		`Y = f.F (X, X) } <domain: "f", opset_import: ["" : 17]> F (a) => (b) { b = Sin (a) }`:                   `it passes 2 operands to a function of 1`,
		`Y = Relu (X) } <domain: "", opset_import: ["" : 17]> Relu (a, q) => (b) { b = Neg (a) }`:                ``,
		`Y = Constant () }`: `it has 0 attributes; exactly one gives the value`,
	} {
		err := ops.Verify(parse(t, head+body))
		if want == "" {
			require.NoError(t, err, body)
			continue
		}
		require.ErrorContains(t, err, want, body)
		var p *ops.Problem
		require.ErrorAs(t, err, &p)
	}
}

func TestExperimentalOperators(t *testing.T) {
	const src = `<ir_version: 4, opset_import: ["" : %d]> g (float[1, 3, 4, 4] x) => (float[1, 3, 4, 4] y) {
		a = %s <scale = 0.5> (x)
		y = Relu (a)
	}`
	require.NoError(t, ops.Verify(parse(t, fmt.Sprintf(src, 9, "ImageScaler"))))
	require.ErrorContains(t, ops.Verify(parse(t, fmt.Sprintf(src, 10, "ImageScaler"))), "no such operator")
	require.ErrorContains(t, ops.Verify(parse(t, fmt.Sprintf(src, 9, "ImageScalar"))), "no such operator")
}

func TestProblems(t *testing.T) {
	m := parse(t, `<ir_version: 8, opset_import: ["" : 17]> g (float[2, 4] X) => (float[] Y) {
		A = Relu (X, X)
		B = Cast (A)
		Y = Softmax <axis = 7> (X)
	}`)
	require.Len(t, ops.Problems(m, nil, 0), 3)
	require.Len(t, ops.Problems(m, nil, 2), 2)
}

func TestInterfaceTypes(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", nil)
	m.Main.AddOutput("y", x, nil)
	require.ErrorContains(t, ops.Verify(m), `input "x" has no type`)
	x.SetType(ir.TensorType(ir.Undefined, nil))
	require.ErrorContains(t, ops.Verify(m), `no valid element type`)
	x.SetType(ir.TensorType(ir.Float32, nil))
	require.NoError(t, ops.Verify(m))
	x.SetDefault(ir.TensorOf([]int64{1}))
	require.ErrorContains(t, ops.Verify(m), `its default of type int64[1]`)
	m.SetOpset("", 9999)
	m.Main.New(nil, ir.Op("Relu"), []*ir.Value{x})
	require.ErrorContains(t, ops.Verify(m), `version 9999 of domain "" is newer than 28`)
}
