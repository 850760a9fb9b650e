package quantize_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/quantize"
	"github.com/onnxopt/onnxopt/targets/onnxruntime"
)

// values are n deterministic numbers between -1 and 1.
func values(n int) []float32 {
	r := make([]float32, n)
	for i := range r {
		r[i] = float32(math.Sin(float64(i*i + 3*i)))
	}
	return r
}

// TestBadInput: what is odd in models and data is handled, with a result that is valid and near the float model, or refused in a line.
func TestBadInput(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,6,6] x) => (float[a,b,c,d] y) `
	const weights = `<float[4,2,1,1] w = {0.5,-1,0.25,2,1,1,-0.75,0.5}, float[2,4,1,1] v = {1,0.5,-0.5,2,0.25,1,1,-1}>`
	for _, c := range []struct {
		name, model string
		fill        float32 // of the input; 0: different values
		zero        bool
		want, fails string
		float       int // products that stay float
	}{
		{name: "NaN among activations", model: head + weights + `{ a = Conv (x, w) b = Sqrt (a) y = Conv (b, v) }`, fails: "values are NaN at node of"},
		{name: "NaN in the data", model: head + weights + `{ a = Conv (x, w) y = Conv (a, v) }`, fill: float32(math.NaN()), fails: `values are NaN at input "x" on data; NaN has no place among integers`},
		{name: "channels of zeros", model: head + `<float[4,2,1,1] w = {0,0,0.25,2,0,0,-0.75,0.5}, float[2,4,1,1] v = {0,0,0,0,0,0,0,0}>{ a = Conv (x, w) y = Conv (a, v) }`},
		{name: "activations that are constant", model: head + weights + `{ z = Constant <value_float = 0.0> () a = Conv (x, w) b = Mul (a, z) y = Conv (b, v) }`},
		{name: "weights that are not finite", model: head + `<float[4,2,1,1] w = {0.5,-1,0.25,2,1,1,-0.75,0.5}, float[2,4,1,1] v = {1,0.5,-0.5,2,0.25,1,1,-1}, float[2,2,1,1] k = {inf,0,0,1}>
{ a = Conv (x, w) b = Conv (x, k) zero = Constant <value_float = 0.0> () one = Constant <value_float = 1.0> () n = Clip (b, zero, one) c = Conv (a, v) y = Add (c, n) }`, want: "its weights are not finite", float: 1},
		{name: "weights read along both axes", model: `<ir_version: 8, opset_import: ["" : 17]>
g (float[3,4] x) => (float[3,4] y) <float[4,4] s = {1,2,3,4, -1,0.5,0.25,0.1, 8,-8,4,2, 0.01,0.02,-0.03,1}> { a = MatMul (x, s) b = Gemm <transB=1> (a, s) y = MatMul (b, s) }`},
		{name: "a subgraph", model: `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,6,6] x) => (float[a,b,c,d] y) <float[4,2,1,1] w = {0.5,-1,0.25,2,1,1,-0.75,0.5}, float[2,4,1,1] v = {1,0.5,-0.5,2,0.25,1,1,-1}, bool c = {1}>
{ a = Conv (x, w) y = If (c) <then_branch = t () => (float[a,b,c,d] p) { p = Conv (a, v) }, else_branch = e () => (float[a,b,c,d] q) { q = Neg (a) }> }`, want: "calibration sees the main graph alone", float: 1},
		{name: "an opset without scales by channel", model: `<ir_version: 8, opset_import: ["" : 12]>
g (float[1,2,6,6] x) => (float[a,b,c,d] y) ` + weights + `{ a = Conv (x, w) y = Conv (a, v) }`, fails: "the model's opset 12 is too old for what is asked for; opset{to=13} before quantize raises it"},
		{name: "an input of zeros", model: head + weights + `{ a = Conv (x, w) y = Conv (a, v) }`, zero: true, want: `input "x" is zero everywhere in the data`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := text.Parse([]byte(c.model))
			require.NoError(t, err)
			ref := m.Clone()
			var sets []map[string]ir.Datum
			shape, _ := m.Main.Inputs()[0].Type().Shape.Ints()
			for k := range 4 {
				v := values(int(ir.NumElements(shape)) + 4)[k:][:ir.NumElements(shape)]
				for i := range v {
					if c.fill != 0 || c.zero {
						v[i] = c.fill
					}
				}
				sets = append(sets, map[string]ir.Datum{"x": ir.TensorOf(v, shape...)})
			}
			data := measured.New(measured.Fixed(sets...), native.New(), 1, measured.Named("data"))
			reg, err := passes.NewRegistry(quantize.With(onnxruntime.Profiles()...))
			require.NoError(t, err)
			p, err := reg.Parse("quantize{mode=static objective=size prepare=false profile=ort-cpu-vnni}")
			require.NoError(t, err)
			note := ""
			_, err = p.Run(context.Background(), m, passes.Config{Data: map[passes.Data]any{"": data}, Notes: func(_, s string) { note += s }})
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			require.Contains(t, note, c.want)
			require.NoError(t, ops.Verify(m))
			float := 0
			for n := range m.Nodes() {
				if n.Is("Conv", "MatMul", "Gemm") && n.Operand(1).Const() != nil {
					float++
				}
			}
			require.Equal(t, c.float, float, "products in float")
			d, err := data.Divergence(context.Background(), ref, m)
			require.NoError(t, err)
			require.Zero(t, d.Lost)
			require.True(t, d.SQNR > 25 || math.IsNaN(d.SQNR), "%s", d)
		})
	}
}
