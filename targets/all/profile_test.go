package all_test

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// bottleneck has what the profiles tell apart: a depthwise convolution, a residual sum, Concat, pools of both kinds, a transposed
// convolution and a head.
const bottleneck = `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,5] y, float[1,4,16,16] z)
{
   zero = Constant <value_float = 0.0> ()
   six = Constant <value_float = 6.0> ()
   a = Conv <pads=[1,1,1,1]> (x, w1, b1)
   r = Clip (a, zero, six)
   d = Conv <pads=[1,1,1,1], group=8> (r, w2, b2)
   e = Relu (d)
   p = Conv (e, w3)
   s = Add (p, r)
   m = MaxPool <kernel_shape=[2,2], strides=[2,2]> (s)
   v = AveragePool <kernel_shape=[2,2], strides=[2,2]> (s)
   c = Concat <axis=1> (m, v)
   q = Conv (c, w4, b4)
   z = ConvTranspose <strides=[4,4]> (q, w5, b5)
   l = GlobalAveragePool (q)
   f = Flatten (l)
   y = Gemm (f, w6, b6)
}`

// bottleneckModel is it with weights that are deterministic and not alike.
func bottleneckModel(t *testing.T) *ir.Model {
	src := strings.Replace(bottleneck, "\n{\n", "\n<"+func() string {
		var parts []string
		for i, w := range []struct{ name, dims string }{
			{"w1", "8,3,3,3"}, {"b1", "8"}, {"w2", "8,1,3,3"}, {"b2", "8"}, {"w3", "8,8,1,1"}, {"w4", "6,16,1,1"}, {"b4", "6"}, {"w5", "6,4,4,4"}, {"b5", "4"}, {"w6", "6,5"}, {"b6", "5"},
		} {
			n := 1
			for _, d := range strings.Split(w.dims, ",") {
				k := 0
				for _, c := range d {
					k = 10*k + int(c-'0')
				}
				n *= k
			}
			v := make([]string, n)
			for j := range v {
				v[j] = strconv.FormatFloat(math.Sin(float64(37*i+13*j*j+j))*0.4, 'f', 4, 32)
			}
			parts = append(parts, "float["+w.dims+"] "+w.name+" = {"+strings.Join(v, ",")+"}")
		}
		return strings.Join(parts, ", ")
	}()+">\n{\n", 1)
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}

// samples are inputs of a model.
func samples(m *ir.Model, n int) []map[string]ir.Datum {
	var r []map[string]ir.Datum
	for seed := range n {
		r = append(r, compare.Inputs(m, uint64(seed)+1, compare.GenerateOptions{})[0])
	}
	return r
}

// profiled quantizes a model for a profile.
func profiled(t *testing.T, m *ir.Model, profile string) {
	r, err := passlist.RegistryFor(all.Profiles())
	require.NoError(t, err)
	p, err := r.Parse("quantize{mode=static objective=size protect=0 profile=" + profile + "}")
	require.NoError(t, err)
	data := measured.New(measured.Fixed(samples(m, 16)...), native.New(), 1)
	note := ""
	_, err = p.Run(context.Background(), m, passes.Config{Data: map[passes.Data]any{"": data}, Notes: func(_, s string) { note += s }})
	require.NoError(t, err)
	require.Contains(t, note, "in integers for "+profile)
}

// sqnr is the ratio of signal to error of an output in dB.
func sqnr(t *testing.T, want, got ir.Datum) float64 {
	a, err := ir.Elements[float32](want.(*ir.Tensor))
	require.NoError(t, err)
	b, err := ir.Elements[float32](got.(*ir.Tensor))
	require.NoError(t, err)
	require.Len(t, b, len(a))
	signal, noise := 0.0, 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		signal, noise = signal+float64(a[i])*float64(a[i]), noise+d*d
	}
	return 10 * math.Log10(signal/noise)
}

// written quantizes the model for a profile and writes it for the target of that name; the case has what the float model computes.
func written(t *testing.T, name, dir string) (*targettest.Case, *targettest.Emitted) {
	ctx := context.Background()
	m := bottleneckModel(t)
	in := samples(m, 1)[0]
	s, err := native.New().Load(ctx, m, engine.Options{})
	require.NoError(t, err)
	defer s.Close()
	want, err := s.Run(ctx, in)
	require.NoError(t, err)
	profiled(t, m, name)
	path := filepath.Join(dir, "m.onnx")
	_, err = onnxio.WriteFile(path, m, onnxio.WriteOptions{})
	require.NoError(t, err)
	target, _ := all.Lookup(name)
	c := &targettest.Case{Name: "out", Path: path, Inputs: in, Want: want, Shapes: map[string][]int64{}}
	e, err := c.Emit(ctx, target, "", dir)
	require.NoError(t, err)
	return c, e
}

// TestProfiles: every profile makes a model that both engines of this module understand and that stays near the float one. Every
// convolution is in integers.
func TestProfiles(t *testing.T) {
	ctx := context.Background()
	for _, p := range all.Profiles() {
		m := bottleneckModel(t)
		ref := bottleneckModel(t)
		profiled(t, m, p.Name)
		weights := 0
		for n := range m.Nodes() {
			switch {
			case n.Is("Conv", "Gemm") || n.Is("ConvTranspose") && slices.Contains(p.Weighted, "ConvTranspose"):
				weights++
				require.Equal(t, ir.Op("DequantizeLinear"), n.Operand(0).Node().Op(), "%s: %s", p.Name, n)
				require.Equal(t, ir.Op("DequantizeLinear"), n.Operand(1).Node().Op(), "%s: %s", p.Name, n)
			case n.Is("QuantizeLinear"):
				require.Equal(t, p.Activations, n.Operand(2).Const().DType())
				if p.Symmetric {
					b, err := n.Operand(2).Const().Bytes()
					require.NoError(t, err)
					require.Equal(t, []byte{0}, b)
				}
			}
		}
		require.GreaterOrEqual(t, weights, 5, p.Name)
		d, err := measured.New(measured.Fixed(samples(ref, 16)...), native.New(), 1).Divergence(ctx, ref, m)
		require.NoError(t, err)
		require.Greater(t, d.SQNR, 25.0, p.Name)
	}
}

// TestTFLiteProfile runs what profile tflite makes in LiteRT.
func TestTFLiteProfile(t *testing.T) {
	litert := consumer.Lookup("litert")
	p := python(t, litert)
	c, e := written(t, "tflite", t.TempDir())
	for _, mode := range append([]string{""}, litert.Modes...) {
		_, got, err := c.Run(context.Background(), litert, p, mode, e.Path(""))
		if differs := (*targettest.OutputError)(nil); !errors.As(err, &differs) { // by more than a float model may: sqnr judges
			require.NoError(t, err, mode)
		}
		for name, want := range c.Want {
			assert.Greater(t, sqnr(t, want, got[name]), 25.0, "%s, output %s", mode, name)
		}
	}
}

// TestTensorRTProfile builds an engine of what profile tensorrt makes.
func TestTensorRTProfile(t *testing.T) {
	python := os.Getenv("ONNXOPT_TENSORRT")
	if python == "" {
		t.Skip("left out: TensorRT for RTX is not here; .ci/run installs it, or ONNXOPT_TENSORRT names a Python that has tensorrt_rtx_bindings")
	}
	_, e := written(t, "tensorrt", t.TempDir())
	out, err := exec.Command(python, e.Path(".build.py")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}
