package quantize_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/quantize"
	"github.com/onnxopt/onnxopt/targets/onnxruntime"
)

// residual is a small network of the usual parts: a branch, a residual sum, a pool, a head.
const residual = `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,8,8] x) => (float[1,3] y)
<float[4,2,3,3] w = {0.11,-0.52,0.33,0.4,-0.25,0.16,0.7,-0.38,0.29,1.0,-1.1,0.12,0.13,0.14,-0.15,0.16,0.17,0.18,-0.2,0.21,0.22,0.23,-0.24,0.25,0.26,0.27,0.28,-0.31,0.32,0.33,0.34,-0.35,0.36,0.37,0.38,0.39,0.41,-0.42,0.43,0.44,0.45,-0.46,0.47,0.48,0.49,0.51,-0.52,0.53,0.54,0.55,-0.56,0.57,0.58,0.59,0.61,-0.62,0.63,0.64,0.65,-0.66,0.67,0.68,0.69,0.71,-0.72,0.73,0.74,0.75,-0.76,0.77,0.78,0.79},
 float[4] b = {0.1,-0.2,0.3,-0.4},
 float[4,4,1,1] v = {0.5,-0.25,0.125,0.7, -0.3,0.9,0.2,-0.1, 0.05,0.4,-0.6,0.3, 0.8,-0.7,0.6,-0.5},
 float[4,3] h = {1,-2,0.5, 0.3,0.7,-0.9, -1.5,0.2,0.4, 0.6,-0.8,1.1}, float[2] shape_unused = {0,0}, int64[2] flat = {1,-1}>
{
   c = Conv <pads=[1,1,1,1]> (x, w, b)
   r = Relu (c)
   d = Conv (r, v)
   s = Add (d, r)
   t = Relu (s)
   p = GlobalAveragePool (t)
   f = Reshape (p, flat)
   y = MatMul (f, h)
}`

type world struct {
	t    *testing.T
	reg  *passes.Registry
	data *measured.Calibration
	kept []byte
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	var err error
	w.reg, err = passes.NewRegistry(quantize.With(onnxruntime.Profiles()...))
	require.NoError(t, err)
	m := w.model()
	w.data = measured.New(open(m), native.New(), 2, measured.Named("data"), measured.Saving(func(_ string, b []byte) { w.kept = b }))
	return w
}

func (w *world) model() *ir.Model {
	m, err := text.Parse([]byte(residual))
	require.NoError(w.t, err)
	return m
}

func (w *world) run(options string, cfg passes.Config) (*ir.Model, []string, error) {
	m := w.model()
	p, err := w.reg.Parse("quantize{prepare=false objective=size profile=ort-cpu-vnni " + options + "}")
	require.NoError(w.t, err)
	var notes []string
	cfg.Notes = func(_, text string) { notes = append(notes, text) }
	_, err = p.Run(context.Background(), m, cfg)
	return m, notes, err
}

func (w *world) divergence(m *ir.Model) measured.Divergence {
	d, err := w.data.Divergence(context.Background(), w.model(), m)
	require.NoError(w.t, err)
	return d
}

// TestEveryMethodIsFaithful: outputs stay near the float model's whatever the calibration, in 8 and in 7 bits, and everything between the
// input and the head is in integers.
func TestEveryMethodIsFaithful(t *testing.T) {
	w := newWorld(t)
	cfg := passes.Config{Data: map[passes.Data]any{"": w.data}}
	for _, method := range []string{"auto", "minmax", "moving", "percentile", "entropy", "mse"} {
		for _, profile := range []string{"", "per-channel=false", "activations=s8", "bias=float", "round=false", "correct=false"} {
			m, notes, err := w.run(fmt.Sprintf("calibrate=%s protect=0 %s", method, profile), cfg)
			require.NoError(t, err)
			require.Len(t, notes, 1)
			require.Contains(t, notes[0], "1 of 1 Add, 2 of 2 Conv, 1 of 1 GlobalAveragePool, 1 of 1 MatMul, 1 of 1 Reshape")
			require.Greater(t, w.divergence(m).SQNR, 18.0, "%s %s", method, profile)
			n := 0
			for k := range m.Main.Nodes() {
				if k.Is("Relu") {
					n++
				}
				if k.Is("Conv", "MatMul") {
					require.Equal(t, ir.Op("DequantizeLinear"), k.Operand(0).Node().Op())
					require.Equal(t, ir.Op("DequantizeLinear"), k.Operand(1).Node().Op())
				}
			}
			require.Zero(t, n, "the quantizers stand for the Relus")
		}
	}
}

// TestCache: ranges of an earlier run make the same model without data, where nothing else looks at them.
func TestCache(t *testing.T) {
	w := newWorld(t)
	m, _, err := w.run("calibrate=mse protect=0 round=false correct=false", passes.Config{Data: map[passes.Data]any{"": w.data}})
	require.NoError(t, err)
	require.NotEmpty(t, w.kept)
	again, notes, err := w.run("calibrate=mse cache=r.json", passes.Config{Files: map[passes.File][]byte{"r.json": w.kept}})
	require.NoError(t, err)
	require.Contains(t, notes[0], "8 samples of data, as r.json has them")
	var want, have strings.Builder
	require.NoError(t, text.Print(&want, m, text.Options{}))
	require.NoError(t, text.Print(&have, again, text.Options{}))
	require.Equal(t, want.String(), have.String())
	_, _, err = w.run("cache=r.json", passes.Config{Files: map[passes.File][]byte{"r.json": []byte("{}")}})
	require.ErrorContains(t, err, "r.json: the file is not what --calib-out writes")
	_, _, err = w.run("", passes.Config{})
	require.ErrorIs(t, err, measured.ErrNoData)
}

// TestBudget: a goal that 8 bits do not reach keeps operators in float until it is.
func TestBudget(t *testing.T) {
	w := newWorld(t)
	m, _, err := w.run("protect=0", passes.Config{Data: map[passes.Data]any{"": w.data}})
	require.NoError(t, err)
	first := w.divergence(m).SQNR
	outer := passes.Define(passes.Info{Name: "outer", Doc: "sets a goal", Nests: true, Promise: passes.Promise{Lossy: true}, Example: "outer()"}, struct{}{},
		func(c *passes.Context, _ *ir.Model, _ struct{}) error {
			return c.NestedFor(0, passes.Goal{SQNR: first + 3, Drop: -1})
		})
	reg, err := passes.NewRegistry(quantize.With(onnxruntime.Profiles()...), outer)
	require.NoError(t, err)
	p, err := reg.Parse("outer(quantize{prepare=false objective=size profile=ort-cpu-vnni})")
	require.NoError(t, err)
	m = w.model()
	note := ""
	_, err = p.Run(context.Background(), m, passes.Config{Data: map[passes.Data]any{"": w.data}, Notes: func(_, s string) { note = s }})
	require.NoError(t, err)
	require.GreaterOrEqual(t, w.divergence(m).SQNR, first+3)
	require.Contains(t, note, "more operators in float")
}

func TestOverrides(t *testing.T) {
	w := newWorld(t)
	run := func(yaml string) (*ir.Model, error) {
		m, _, err := w.run("calibrate=minmax protect=0 overrides=o.yaml", passes.Config{Data: map[passes.Data]any{"": w.data}, Files: map[passes.File][]byte{"o.yaml": []byte(yaml)}})
		return m, err
	}
	m, err := run("x: {scale: 0.5, zero_point: 7}\nr: {float: true}")
	require.NoError(t, err)
	float := 0
	for n := range m.Main.Nodes() {
		switch {
		case n.Is("Conv") && n.Operand(0).Node().Is("Relu"):
			float++
		case n.Is("QuantizeLinear") && n.Operand(0).IsInput():
			require.EqualValues(t, []float32{0.5}, elements[float32](t, n.Operand(1)))
			require.EqualValues(t, []uint8{7}, elements[uint8](t, n.Operand(2)))
		}
	}
	require.Equal(t, 1, float, "the Conv that reads r")
	m, err = run("x: {range: [-2, 2], type: s8}")
	require.NoError(t, err)
	q := m.Main.NodeList()
	found := false
	for _, n := range q {
		if n.Is("QuantizeLinear") && n.Operand(0).IsInput() {
			found = true
			require.Equal(t, ir.Int8, n.Operand(2).Const().DType())
		}
	}
	require.True(t, found)
	_, notes, err := w.run("calibrate=minmax protect=0 overrides=o.yaml", passes.Config{Data: map[passes.Data]any{"": w.data}, Files: map[passes.File][]byte{"o.yaml": []byte("y: {type: s8}")}})
	require.NoError(t, err)
	require.Contains(t, notes[0], `overrides of "y" have no effect`)
	for yaml, want := range map[string]string{
		"q: {float: true}":                         `the model has no tensor "q"`,
		"x: {type: s4}":                            `type "s4" is none of u8, s8, u16, s16`,
		"x: {range: [1]}":                          "is not [low, high]",
		"x: {range: [-1, 1], scale: 1}":            "a range and a scale say the same",
		"x: {zero_point: 3}":                       "zero_point needs a scale",
		"x: {scael: 3}":                            "scael",
		"x: {scale: -1}":                           "is not positive",
		"x: {scale: 1e-60}":                        "is not between 1e-12",
		"x: {scale: 1, zero_point: 256}":           "zero_point 256 is not between 0 and 255",
		"x: {type: s8, scale: 1, zero_point: 128}": "zero_point 128 is not between -128 and 127",
		"x: {float: true, type: s8}":               "a tensor that stays float has no type, scale or range",
	} {
		_, err := run(yaml)
		require.ErrorContains(t, err, want, yaml)
	}
}

// TestListing: every operator of the main graph that gives floats is said to be in integers, kept in float with a reason, or unsupported.
func TestListing(t *testing.T) {
	w := newWorld(t)
	m, err := text.Parse([]byte(strings.NewReplacer("r = Relu (c)", "r = Elu (c)", "y = MatMul (f, h)", "k = Tanh (f) y = MatMul (k, h)").Replace(residual)))
	require.NoError(t, err)
	p, err := w.reg.Parse("quantize{prepare=false objective=size profile=ort-cpu-vnni protect=0}")
	require.NoError(t, err)
	note, said := "", map[string]string{}
	_, err = p.Run(context.Background(), m, passes.Config{
		Data:  map[passes.Data]any{"": w.data},
		Notes: func(_, s string) { note += s },
		Remarks: func(r passes.Remark) {
			if !r.Applied {
				said[r.Op.Type] = r.Why
			}
		},
	})
	require.NoError(t, err)
	require.Contains(t, note, "unsupported in integers: 1 Elu, 1 Relu, 1 Tanh")
	require.Contains(t, note, "left in float beside float operators: 1 Add, 1 GlobalAveragePool, 1 Reshape")
	require.Equal(t, "ort-cpu-vnni has no integer form of it", said["Tanh"])
}

func elements[T ir.Scalar](t *testing.T, v *ir.Value) []T {
	r, err := ir.Elements[T](v.Const())
	require.NoError(t, err)
	return r
}
