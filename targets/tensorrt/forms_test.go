package tensorrt

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
)

// nowhere is an artifact that counts its files.
type nowhere struct{ files int }

func (a *nowhere) File(string) (io.Writer, error) { a.files++; return io.Discard, nil }
func (a *nowhere) Name(suffix string) string      { return "m" + suffix }
func (a *nowhere) Model(*ir.Model) error          { a.files++; return nil }
func (a *nowhere) Note(string)                    {}

// TestForms has for each form that is refused one near to it that is not.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		opset     int
		bad, good string
	}{
		{18, `(int32[2,2] x) => (int32[2,2] y) { y = MatMul (x, x) }`, `(float[2,2] x) => (float[2,2] y) { y = MatMul (x, x) }`},
		{18, `(float[2] x, float[3,2,2] w) => (float[3,2] y) { y = MatMul (x, w) }`, `(float[2] x, float[2,2] w) => (float[2] y) { y = MatMul (x, w) }`},
		{18, `(float[1,1,4,4] x) => (float[1,1,3,3] y, int64[1,1,3,3] i) { y, i = MaxPool <kernel_shape = [2,2]> (x) }`, `(float[1,1,4,4] x) => (float[1,1,3,3] y) { y = MaxPool <kernel_shape = [2,2]> (x) }`},
		{18, `(float[4,4] x, float[4] s) => (float[4,4] y, float[4,1] m) { y, m = LayerNormalization (x, s) }`, `(float[4,4] x, float[4] s) => (float[4,4] y) { y = LayerNormalization (x, s) }`},
		{18, `(float[2,2] x, int64[1] a) => (float[?,?] y) { y = ReduceSum (x, a) }`, `(float[2,2] x) => (float[1,2] y) <int64[1] a = {0}> { y = ReduceSum (x, a) }`},
		{18, `(float[1,1,4,4] x, float[4] s) => (float[?,?,?,?] y) { y = Resize (x, "", s) }`, `(float[1,1,4,4] x) => (float[1,1,8,8] y) <float[4] s = {1,1,2,2}> { y = Resize (x, "", s) }`},
		{18, `(float[2,2] x, int64[1,2] i, float[1] u) => (float[2,2] y) { y = ScatterND <reduction = "add"> (x, i, u) }`, `(float[2,2] x, int64[1,2] i, float[1] u) => (float[2,2] y) { y = ScatterND (x, i, u) }`},
		{18, `(float[2] x) => (float[2] y) { y = Softmax (x) }`, `(float[1,2] x) => (float[1,2] y) { y = Softmax (x) }`},
		{18, `(bool c, float[2] x) => (float[?] y) { y = If (c) <then_branch = a () => (float[2] p) { p = Relu (x) }, else_branch = b () => (float q) { q = ReduceSum <keepdims = 0> (x) }> }`,
			`(bool c, float[2] x) => (float[2] y) { y = If (c) <then_branch = a () => (float[2] p) { p = Relu (x) }, else_branch = b () => (float[2] q) { q = Abs (x) }> }`},
		{18, `(float[?,?] x, float[1,8,2] w, float[1,8,2] r) => (float[?,?,?,?] y) { y = LSTM <hidden_size = 2> (x, w, r) }`, `(float[3,1,2] x, float[1,8,2] w, float[1,8,2] r) => (float[3,1,1,2] y) { y = LSTM <hidden_size = 2> (x, w, r) }`},
		{23, `(float[1,2,4,8] q) => (float[1,2,4,8] y) { y = Attention <softcap = 2.0> (q, q, q) }`, `(float[1,2,4,8] q) => (float[1,2,4,8] y) { y = Attention <is_causal = 1> (q, q, q) }`},
		{21, `(float[2] x) => (uint8[2] y) <float s = {0.5}> { y = QuantizeLinear <output_dtype = 2> (x, s) }`, `(float[2] x) => (int8[2] y) <float s = {0.5}> { y = QuantizeLinear <output_dtype = 3> (x, s) }`},
		{18, `(uint64[2] x) => (float[2] y) { y = Cast <to = 1> (x) }`, `(int64[2] x) => (float[2] y) { y = Cast <to = 1> (x) }`},
	} {
		for i, src := range []string{c.bad, c.good} {
			m, err := text.Parse(fmt.Appendf(nil, `<ir_version: 10, opset_import: ["" : %d]> g %s`, c.opset, src))
			require.NoError(t, err, src)
			err = New().Check(m)
			if i == 0 {
				assert.Error(t, err, src)
				continue
			}
			assert.NoError(t, err, src)
		}
	}
}

// TestInputs refuses types of inputs that no node reads, too, all at once, and writes nothing.
func TestInputs(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 10, opset_import: ["" : 18]> g (float[2,n] x, uint16[2] unused, double d) => (float[2,n] y) { y = Relu (x) }`))
	require.NoError(t, err)
	a := &nowhere{}
	p, err := New().Emitter("tensorrt", a)
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.Error(t, err)
	for _, want := range []string{`"unused" (input): elements of type uint16`, `"d" (input): elements of type double`, `"x" (input): its shape [2,n] is not static`} {
		assert.Contains(t, err.Error(), want)
	}
	assert.Zero(t, a.files)
}
