package optimize_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/report"
)

const chain = `<ir_version: 8, opset_import: ["" : 18]>
g (float[2,3] x) => (float[2,3] y)
<float[3] w = {1, 2, 3}, float[3] b = {0.5, 0.25, 4}>
{
   s = Mul(x, w)
   t = Mul(s, w)
   u = Add(t, b)
   y = Add(u, b)
}`

func parse(t *testing.T, src string) *ir.Model {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}

// toSub turns Add nodes into Sub: a pass that is wrong.
var toSub = passes.Define(passes.Info{Name: "to-sub", Doc: "is wrong"}, struct{}{},
	func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			if n.Is("Add") {
				c.Rewrite("to-sub", n, nil, func() { n.SetOp(ir.Op("Sub")) })
			}
		}
		return nil
	})

func pipeline(t *testing.T, text string) *passes.Pipeline {
	r, err := all.Registry(toSub)
	require.NoError(t, err)
	p, err := r.Parse(text)
	require.NoError(t, err)
	return p
}

func TestMismatchNamesTheFirstBadRewrite(t *testing.T) {
	m := parse(t, chain)
	_, err := optimize.Run(context.Background(), optimize.Request{Model: m, Pipeline: pipeline(t, "to-sub"), Verify: optimize.Auto})
	var f *optimize.FailedError
	require.ErrorAs(t, err, &f)
	require.False(t, f.Crash)
	require.Equal(t, 0, f.Culprit.Number)
	require.Equal(t, "to-sub", f.Culprit.Rule)
	require.Equal(t, "to-sub", f.Reproducer.Pipeline)
	require.Empty(t, f.Note)
}

func TestUndoGivesTheModelBack(t *testing.T) {
	m := parse(t, chain)
	res, err := optimize.Run(context.Background(), optimize.Request{
		Model: m, Pipeline: pipeline(t, "to-sub"), Verify: optimize.Auto, Undo: true,
	})
	require.NoError(t, err)
	require.Len(t, res.Undone, 2)
	require.Equal(t, optimize.Verified, res.Verification.State)
	for n := range m.Nodes() {
		require.NotEqual(t, "Sub", n.Op().Type)
	}
	require.NoError(t, ir.Verify(m))
}

// flickering is an engine whose results change from run to run.
type flickering struct{ n float32 }

func (*flickering) Name() string { return "flickering" }
func (f *flickering) Load(context.Context, *ir.Model, engine.Options) (engine.Session, error) {
	return f, nil
}
func (f *flickering) Run(context.Context, map[string]ir.Datum) (map[string]ir.Datum, error) {
	f.n++
	return map[string]ir.Datum{"y": ir.TensorOf([]float32{f.n, f.n, f.n, f.n, f.n, f.n}, 2, 3)}, nil
}
func (f *flickering) RunTaps(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, []ir.Datum, error) {
	out, err := f.Run(ctx, in)
	return out, nil, err
}
func (*flickering) Close() error { return nil }

// TestNoRewriteIsBlamedForAnUnsteadyModel: bisection has to notice that the original differs from itself.
func TestNoRewriteIsBlamedForAnUnsteadyModel(t *testing.T) {
	_, err := optimize.Run(context.Background(), optimize.Request{
		Model: parse(t, chain), Pipeline: pipeline(t, "to-sub"), Verify: optimize.Auto, Engine: &flickering{},
	})
	var f *optimize.FailedError
	require.ErrorAs(t, err, &f)
	require.Nil(t, f.Culprit)
	require.Contains(t, f.Note, "the original does not agree with itself")
}

// TestUnsteadyModelIsTold: the sine of a large number turns a rounding error into anything, and a rewrite that only rounds otherwise is not what
// a user should look at.
func TestUnsteadyModelIsTold(t *testing.T) {
	double := passes.Define(passes.Info{Name: "double", Doc: "multiplies in another order", Promise: passes.Promise{RelTol: 1e-6}}, struct{}{},
		func(c *passes.Context, m *ir.Model, _ struct{}) error {
			for n := range m.Nodes() {
				if n.Is("Mul") && n.Operand(1).Const() != nil {
					c.Rewrite("double", n, nil, func() { n.SetOperand(1, m.Main.Const(ir.ScalarOf(float32(1000000.0625)))) })
				}
			}
			return nil
		})
	r, err := all.Registry(double)
	require.NoError(t, err)
	p, err := r.Parse("double")
	require.NoError(t, err)
	for last, told := range map[string]bool{"Sin": true, "Abs": false} {
		m := parse(t, `<ir_version: 8, opset_import: ["" : 18]>
g (float[20] x) => (float[20] y) <float w = {1000000}> {
   s = Mul (x, w)
   y = `+last+` (s)
}`)
		_, err = optimize.Run(context.Background(), optimize.Request{Model: m, Pipeline: p, Verify: optimize.Auto})
		if !told { // by a rounding error
			require.NoError(t, err)
			continue
		}
		var f *optimize.FailedError
		require.ErrorAs(t, err, &f)
		require.Equal(t, "double", f.Culprit.Rule)
		require.Contains(t, f.Note, "the original is unsteady")
	}
}

func TestInvalidInput(t *testing.T) {
	for src, want := range map[string]string{
		`<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Ad(x, x) }`:                "no such operator",
		`<ir_version: 8, opset_import: ["" : 18]> g (float[2] x, float[3] z) => (float[2] y) { y = Add(x, z) }`:   "broadcast",
		`<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = nowhere.Op(x) }`:           "not imported",
		`<ir_version: 8, opset_import: ["" : 18]> g (float[2] x, int64[2] z) => (float[2] y) { y = Add(x, z) }`:   "int64",
		`<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { z = Add(x, y)  y = Add(z, z)}`: "cycle",
	} {
		m, err := text.Parse([]byte(src))
		if err == nil {
			_, err = optimize.Run(context.Background(), optimize.Request{Model: m, Pipeline: pipeline(t, "O1")})
			var in *optimize.InputError
			require.ErrorAs(t, err, &in, src)
		}
		require.ErrorContains(t, err, want)
	}
}

// TestWrongStatements: what a file states wrongly of intermediate values and outputs is a warning.
func TestWrongStatements(t *testing.T) {
	const src = `<ir_version: 8, opset_import: ["" : 18]> g (float[2,3] x) => (float[2,5] y) <float[7] s> { s = Abs(x)  y = Neg(s) }`
	m := parse(t, src)
	res, err := optimize.Run(context.Background(), optimize.Request{Model: m, Pipeline: pipeline(t, "O0")})
	require.NoError(t, err)
	require.Len(t, res.Warnings, 2)
	s := m.Main.NodeList()[0].Result(0)
	require.Equal(t, "float[7]", s.Type().String(), "a run without passes changes nothing")
	_, err = optimize.Run(context.Background(), optimize.Request{Model: m, Pipeline: pipeline(t, "O1")})
	require.NoError(t, err)
	require.Nil(t, s.Type())
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := optimize.Run(ctx, optimize.Request{Model: parse(t, chain), Pipeline: pipeline(t, "O2"), Verify: optimize.Auto})
	require.True(t, errors.Is(err, context.Canceled), "%v", err)
}

// TestDryRunAddsUp: the changes of the single rewrites sum up to the difference between the models.
func TestDryRunAddsUp(t *testing.T) {
	f, err := onnxio.Open("../../testdata/digits/digits.onnx", onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	before, err := report.Summarize(f.Model, report.Options{})
	require.NoError(t, err)
	d := &optimize.DryRun{}
	_, err = optimize.Run(context.Background(), optimize.Request{Model: f.Model, Pipeline: pipeline(t, "O2"), Hooks: []passes.Hook{d}})
	require.NoError(t, err)
	d.Close()
	after, err := report.Summarize(f.Model, report.Options{})
	require.NoError(t, err)
	var sum optimize.Planned
	for _, p := range d.Rewrites {
		sum.Nodes += p.Nodes
		sum.Bytes += p.Bytes
		sum.MACs += p.MACs
	}
	require.NotEmpty(t, d.Rewrites)
	require.Equal(t, after.Nodes-before.Nodes, sum.Nodes)
	require.Equal(t, after.Bytes-before.Bytes, sum.Bytes)
	require.Equal(t, after.MACs-before.MACs, sum.MACs)
}
