package infer_test

import (
	"fmt"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExpressionsAgreeWithNumbers infers real models twice: with every open dimension of the inputs as a symbol, and with numbers in place of
// the symbols. Each expression of the first must have the value that the second finds, for sizes and for elements of small tensors.
func TestExpressionsAgreeWithNumbers(t *testing.T) {
	compared := 0
	sharedModels(t, func(name string, m *ir.Model) {
		for _, base := range []int64{64, 96, 224} {
			sizes := map[string]int64{}
			open := func(number bool) {
				for i, in := range m.Main.Inputs() {
					typ := in.Type()
					s := make(ir.Shape, len(typ.TensorShape()))
					for j, d := range typ.TensorShape() {
						if !d.IsStatic() || d.Denotation == "open" {
							symbol := fmt.Sprintf("D%d_%d", i, j)
							if _, ok := sizes[symbol]; !ok {
								sizes[symbol] = base
								if j == 0 {
									sizes[symbol] = 2
								}
							}
							d = ir.Dim{Size: -1, Param: symbol, Denotation: "open"}
							if number {
								d = ir.Dim{Size: sizes[symbol], Denotation: "open"}
							}
						}
						s[j] = d
					}
					if typ.TensorShape() != nil {
						in.SetType(ir.TensorType(typ.DType(), s))
					}
				}
			}
			open(false)
			symbolic := infer.Model(m)
			open(true)
			numeric := infer.Model(m)
			for n := range m.Nodes() {
				for _, v := range n.Results() {
					if v != nil {
						compared += sameValue(t, name, v, symbolic, numeric, sizes)
					}
				}
			}
		}
	})
	t.Logf("%d expressions compared", compared)
	require.Greater(t, compared, 1000)
}

// sameValue compares what two results say of v and returns the number of expressions that are no numbers.
func sameValue(t *testing.T, name string, v *ir.Value, symbolic, numeric *infer.Result, sizes map[string]int64) (compared int) {
	check := func(what string, xs, ys []infer.Int) {
		if len(xs) != len(ys) {
			return
		}
		for i, x := range xs {
			a, ok := x.Eval(sizes)
			b, ok2 := ys[i].Const()
			if !ok || !ok2 {
				continue
			}
			if _, number := x.Const(); !number {
				compared++
			}
			assert.Equal(t, b, a, "%s: %s: %s %d of %q is %s under %v", name, v.Node(), what, i, v.Name(), x, sizes)
		}
	}
	xs, ok := symbolic.Dims(v)
	ys, ok2 := numeric.Dims(v)
	if ok && ok2 {
		require.Len(t, xs, len(ys), "%s: %s", name, v.Node())
		check("dimension", xs, ys)
	}
	xs, ok = symbolic.Ints(v)
	ys, ok2 = numeric.Ints(v)
	if ok && ok2 {
		check("element", xs, ys)
	}
	return compared
}

// TestExpressionsAgreeWithNumbersInTests does the same with the conformance tests: every size of their inputs is made a symbol.
func TestExpressionsAgreeWithNumbersInTests(t *testing.T) {
	compared := 0
	check := func(name string, files map[string][]byte) {
		m := read(t, name, files["model.onnx"])
		for n := range m.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
		}
		numeric := infer.Model(m)
		sizes := map[string]int64{}
		for i, in := range m.Main.Inputs() {
			if typ := in.Type(); typ.TensorShape() != nil {
				s := make(ir.Shape, len(typ.TensorShape()))
				for j, d := range typ.TensorShape() {
					if s[j] = d; d.IsStatic() {
						s[j] = ir.Symbol(fmt.Sprintf("D%d_%d", i, j))
						sizes[s[j].Param] = d.Size
					}
				}
				in.SetType(ir.TensorType(typ.DType(), s))
			}
		}
		symbolic := infer.Model(m)
		for n := range m.Main.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					compared += sameValue(t, name, v, symbolic, numeric, sizes)
				}
			}
		}
	}
	nodeTests(t, check)
	modelTests(t, check)
	t.Logf("%d expressions compared", compared)
	require.Greater(t, compared, 5000)
}
