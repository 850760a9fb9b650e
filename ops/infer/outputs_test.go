package infer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/stretchr/testify/require"
)

// TestNeverContradictsOutputs: what is inferred of the outputs of a test's model, and what is computed of them, agrees with the outputs that
// the test has recorded. Declared types are taken away first, so that inference cannot copy them.
func TestNeverContradictsOutputs(t *testing.T) {
	known := 0
	check := func(name string, files map[string][]byte) {
		m := read(t, name, files["model.onnx"])
		for n := range m.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
		}
		r := infer.Model(m)
		for i, s := range m.Main.Outputs() {
			b := files[fmt.Sprintf("test_data_set_0/output_%d.pb", i)]
			if b == nil {
				continue
			}
			d, _, err := onnxio.ReadDatum(b, s.Type())
			require.NoError(t, err, name)
			typ := r.Type(s.Value())
			if why := disagree(typ, d.Type()); why != "" {
				t.Errorf("%s: output %d is %s, inferred %s: %s", name, i, d.Type(), typ, why)
			}
			got, isTensor := d.(*ir.Tensor)
			if want := r.Known(s.Value()); want != nil && isTensor && want.DType() != ir.String {
				known++
				a, err := want.Bytes()
				require.NoError(t, err)
				b, err := got.Bytes()
				require.NoError(t, err)
				require.Equal(t, b, a, "%s: value of output %d", name, i)
			}
		}
	}
	nodeTests(t, check)
	modelTests(t, check)
	t.Logf("%d outputs are known without running the model", known)
}

// disagree says how an inferred type cannot be that of a value of type actual.
func disagree(t, actual *ir.Type) string {
	w, t := inner(t)
	w2, u := inner(actual)
	switch {
	case t == nil:
		return ""
	case w != w2 || t.Kind != u.Kind:
		return "constructor"
	case t.DType() != ir.Undefined && t.DType() != u.DType():
		return "element type"
	case t.TensorShape() == nil || u.TensorShape() == nil:
		return ""
	case len(t.TensorShape()) != len(u.TensorShape()):
		return "rank"
	}
	sizes := map[string]int64{}
	for i, d := range t.TensorShape() {
		n := u.TensorShape()[i].Size
		if d.IsStatic() && n >= 0 && d.Size != n {
			return fmt.Sprintf("dimension %d", i)
		}
		if d.Param != "" && strings.Trim(d.Param, "?") != "" {
			if k, ok := sizes[d.Param]; ok && k != n {
				return fmt.Sprintf("dimension %d, %s, is %d and %d", i, d.Param, k, n)
			}
			sizes[d.Param] = n
		}
	}
	return ""
}
