package infer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestContrib infers the results of operators of ONNX Runtime from the types of their operands, and holds them to what ONNX Runtime
// computed: type and shape are all there, but for caches whose length is a value.
func TestContrib(t *testing.T) {
	n := eachTest(t, "../../ops/kernel/testdata/ort-contrib-cases.tar.gz", func(name string, files map[string][]byte) {
		m := read(t, name, files["model.onnx"])
		for n := range m.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
		}
		r := infer.Model(m)
		assert.Empty(t, r.Remarks(), name)
		for i, s := range m.Main.Outputs() {
			d, _, err := onnxio.ReadDatum(files[fmt.Sprintf("test_data_set_0/output_%d.pb", i)], s.Type())
			require.NoError(t, err, name)
			typ := r.Type(s.Value())
			require.NotNil(t, typ, "%s: output %d", name, i)
			assert.Empty(t, disagree(typ, d.Type()), "%s: output %d is %s, inferred %s", name, i, d.Type(), typ)
			if !strings.Contains(name, "GroupQueryAttention") || i == 0 {
				assert.Equal(t, d.(*ir.Tensor).Type().String(), typ.String(), "%s: output %d", name, i)
			}
		}
	})
	require.Greater(t, n, 300)
}
