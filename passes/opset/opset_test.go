package opset_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/internal/conformance/execute"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/opset"
)

// convert runs the pass. exact is what it promises for the model.
func convert(m *ir.Model, to int64) (exact bool, err error) {
	reg, err := passes.NewRegistry(opset.Pass)
	if err != nil {
		return false, err
	}
	p, err := reg.Parse(fmt.Sprintf("opset{to=%d}", to))
	if err != nil {
		return false, err
	}
	r, err := p.Run(context.Background(), m, passes.Config{})
	if err != nil {
		return false, err
	}
	for _, s := range r.Steps {
		for _, x := range s.Rewrites {
			if x.Rule == "expand" {
				return false, nil
			}
		}
	}
	return true, nil
}

func model(t *testing.T, c conformance.Test) *ir.Model {
	f, err := onnxio.Read(c["model.onnx"], onnxio.Options{})
	require.NoError(t, err)
	return f.Model
}

// reread writes m and reads it again.
func reread(m *ir.Model) (*ir.Model, error) {
	var b bytes.Buffer
	if _, err := onnxio.Write(&b, m, onnxio.WriteOptions{}); err != nil {
		return nil, err
	}
	f, err := onnxio.Read(b.Bytes(), onnxio.Options{})
	if err != nil {
		return nil, err
	}
	return f.Model, nil
}

// checkTest verifies m, runs it on every data set of the test, and holds it to the promise against the model it was made of.
func checkTest(c conformance.Test, m *ir.Model, exact bool, before []map[string]ir.Datum) error {
	if err := ir.Verify(m); err != nil {
		return err
	}
	if err := ops.Verify(m); err != nil {
		return err
	}
	m, err := reread(m)
	if err != nil {
		return err
	}
	after, err := run(c, m)
	if err != nil {
		return err
	}
	for i := range before {
		for _, o := range m.Main.Outputs() {
			d := compare.Datum(before[i][o.Name()], after[i][o.Name()])
			tolerance := compare.Tolerance{Exact: true}
			if !exact {
				tolerance = compare.O2(d.DType)
			}
			if err := tolerance.Check(d); err != nil {
				return fmt.Errorf("promise (exact %t), output %q: %w", exact, o.Name(), err)
			}
		}
	}
	return nil
}

// run runs m on every data set of a test and compares with what was recorded.
func run(c conformance.Test, m *ir.Model) ([]map[string]ir.Datum, error) {
	return execute.Model(native.New(), m, c, engine.Options{MaxMemory: 1 << 30})
}
