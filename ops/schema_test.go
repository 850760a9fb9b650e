package ops_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/stretchr/testify/require"
)

// parse reads a model in ONNX's textual syntax.
func parse(t *testing.T, src string) *ir.Model {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}

// node finds the node that makes the value of that name.
func node(t *testing.T, m *ir.Model, value string) *ir.Node {
	for n := range m.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Name() == value {
				return n
			}
		}
	}
	t.Fatalf("no node makes %q", value)
	return nil
}

func TestAttributeDefaults(t *testing.T) {
	m := parse(t, `<ir_version: 8, opset_import: ["" : 12, "x" : 1]>
	g (float[2, 3] X) => (float[2, 3] E) {
		A = Softmax (X)
		B = Softmax <axis = 0> (A)
		C = LeakyRelu (B)
		D = x.Mine <axis = 5> (C)
		E = Conv (D, D)
	}`)
	require.EqualValues(t, 1, ops.Int(node(t, m, "A"), "axis"))
	require.EqualValues(t, 0, ops.Int(node(t, m, "B"), "axis"))
	require.InDelta(t, 0.01, ops.Float(node(t, m, "C"), "alpha"), 1e-9)
	require.EqualValues(t, 5, ops.Int(node(t, m, "D"), "axis"))
	require.Zero(t, ops.Int(node(t, m, "D"), "other"))
	require.Equal(t, "NOTSET", ops.Str(node(t, m, "E"), "auto_pad"))
	require.Nil(t, ops.Ints(node(t, m, "E"), "pads"))
	require.Nil(t, ops.Of(node(t, m, "D")))
	m.SetOpset("", 13)
	require.EqualValues(t, -1, ops.Int(node(t, m, "A"), "axis"), "Softmax 13 has another default")
	m.SetOpset("", 29)
	require.Nil(t, ops.Of(node(t, m, "A")), "newer than the table")
}

func TestDeterministic(t *testing.T) {
	m := parse(t, `<ir_version: 8, opset_import: ["" : 17, "f" : 1]>
	g (float[2] X, bool c, bool train) => (float[2] Z) {
		A = Relu (X)
		B = Dropout (A)
		ratio = Constant <value_float = 0.5> ()
		C = Dropout (B, ratio, train)
		D = RandomNormalLike (C)
		E = If (c) <then_branch = t () => (float[2] T) { T = Neg (D) }, else_branch = e () => (float[2] F) { F = Abs (D) }>
		G = If (c) <then_branch = t2 () => (float[2] T2) { T2 = RandomUniformLike (D) }, else_branch = e2 () => (float[2] F2) { F2 = Abs (D) }>
		H = f.Pure (G)
		I = f.Noise (H)
		J = x.Unknown (I)
		Z = Add (I, J)
	}
	<domain: "f", opset_import: ["" : 17, "f" : 1]>
	Pure (x) => (y) { y = Neg (x) }
	<domain: "f", opset_import: ["" : 17, "f" : 1]>
	Noise (x) => (y) { z = f.Pure (x)
		y = RandomNormalLike (z) }`)
	for value, want := range map[string]bool{"A": true, "B": true, "C": false, "D": false, "E": true, "G": false, "H": true, "I": false, "J": false} {
		require.Equal(t, want, ops.Deterministic(node(t, m, value)), value)
	}
}
