package precision_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/precision"
)

func TestPass(t *testing.T) { passtest.Run(t, precision.Pass) }

// convert runs a pipeline and returns why nodes keep their type.
func convert(t *testing.T, m *ir.Model, pipeline string, data map[passes.Data]any) map[string]string {
	t.Helper()
	reg, err := passes.NewRegistry(precision.Pass)
	require.NoError(t, err)
	p, err := reg.Parse(pipeline)
	require.NoError(t, err)
	why := map[string]string{}
	_, err = p.Run(context.Background(), m, passes.Config{Data: data, Remarks: func(r passes.Remark) {
		if !r.Applied {
			why[r.Node] = r.Why
		}
	}})
	require.NoError(t, err)
	return why
}

const squares = `<ir_version: 8, opset_import: ["" : 17]>
main (float[1,4] x) => (float[1,4] y)
<float[4,4] w = {1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1}>
{
   a = MatMul (x, w)
   s = Mul (a, a)
   t = Tanh (s)
   y = MatMul (t, w)
}`

// TestMeasured lets data decide on a square, which is kept in float32 without any.
func TestMeasured(t *testing.T) {
	for _, c := range []struct {
		x    []float32
		want string // of s
	}{
		{nil, "squares overflow or vanish easily"},
		{[]float32{1, 2, 3, 4}, ""},
		{[]float32{1, 2, 3, 240}, "its results reach 5.76e+04"},
		{[]float32{1e-3, 2e-3, 0, 3}, "most of its results are below 6.1e-05, the precise range of float16"},
	} {
		m, err := text.Parse([]byte(squares))
		require.NoError(t, err)
		var data map[passes.Data]any
		if c.x != nil {
			in := map[string]ir.Datum{"x": ir.TensorOf(c.x, 1, 4)}
			data = map[passes.Data]any{"": measured.New(measured.Fixed(in), native.New(), 1)}
		}
		why := convert(t, m, "precision", data)
		assert.Equal(t, c.want, why["s"])
		require.NoError(t, ops.Verify(m))
	}
}

// TestModels converts real models, and loads what comes out.
func TestModels(t *testing.T) {
	paths, err := filepath.Glob("../../../shared/models/*.onnx")
	require.NoError(t, err)
	if len(paths) == 0 {
		t.Skip("left out: the models of ../shared, which are not there")
	}
	for _, path := range paths {
		st, err := os.Stat(path)
		require.NoError(t, err)
		if st.Size() > 6<<20 {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			for _, pipeline := range []string{"precision", "precision{keep-io=false}", "precision{weights-only=true}", "precision{to=float32 keep-io=false}"} {
				f, err := onnxio.Open(path, onnxio.Options{})
				require.NoError(t, err)
				defer f.Close()
				convert(t, f.Model, pipeline, nil)
				require.NoError(t, ir.Verify(f.Model))
				require.NoError(t, ops.Verify(f.Model), pipeline)
				noStrayCasts(t, f.Model)
				for _, e := range orttest.Engines(t) {
					s, err := e.Load(context.Background(), f.Model, engine.Options{})
					require.NoError(t, errors.Join(err), "%s in ONNX Runtime", pipeline)
					s.Close()
				}
			}
		})
	}
}

// noStrayCasts looks for a Cast to float16 of one that comes from float16.
func noStrayCasts(t *testing.T, m *ir.Model) {
	for n := range m.Nodes() {
		if !n.Is("Cast") || n.Operand(0).Node() == nil || !n.Operand(0).Node().Is("Cast") {
			continue
		}
		before := n.Operand(0).Node()
		if ir.DType(n.Int("to", 0)) == ir.Float16 && ir.DType(before.Int("to", 0)) == ir.Float32 && strings.HasPrefix(before.Name(), "Cast_") {
			assert.NotEqual(t, ir.Float16, before.Operand(0).Type().DType(), "%s", n)
		}
	}
}
