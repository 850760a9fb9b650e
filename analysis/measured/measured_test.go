package measured_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
)

const model = `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3] x) => (float[1,3] y) <float[3] w = {1, 2, 3}>
{
   s = Mul(x, w)
   y = Neg(s)
}`

func parse(t *testing.T, src string) *ir.Model {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}

func samples(n int) measured.Samples {
	var s []map[string]ir.Datum
	for i := range n {
		s = append(s, map[string]ir.Datum{"x": ir.TensorOf([]float32{float32(i), 1, -1}, 1, 3)})
	}
	return measured.Fixed(s...)
}

func TestTapsComeInOrder(t *testing.T) {
	m := parse(t, model)
	s := m.Main.NodeList()[0].Result(0)
	for _, threads := range []int{1, 3} {
		c := measured.New(samples(40), native.New(), threads)
		next := 0
		err := c.Taps(context.Background(), m, []*ir.Value{s, m.Main.Inputs()[0].Value()}, func(i int, taps []*ir.Tensor) error {
			require.Equal(t, next, i)
			next++
			v, err := measured.Floats(taps[0])
			require.NoError(t, err)
			require.Equal(t, []float32{float32(i), 2, -3}, v)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 40, next)
	}
}

func TestErrorsEndTheRuns(t *testing.T) {
	m := parse(t, model)
	boom := errors.New("boom")
	c := measured.New(samples(100), native.New(), 2)
	require.ErrorIs(t, c.Taps(context.Background(), m, nil, func(i int, _ []*ir.Tensor) error {
		if i == 5 {
			return boom
		}
		return nil
	}), boom)
	bad := measured.New(measured.Fixed(map[string]ir.Datum{"x": ir.TensorOf([]float32{1, 2}, 1, 2)}), native.New(), 2, measured.Named("photos"))
	require.ErrorContains(t, bad.Taps(context.Background(), m, nil, func(int, []*ir.Tensor) error { return nil }), "photos, sample 1: ")
	require.ErrorContains(t, measured.New(samples(0), native.New(), 2).Taps(context.Background(), m, nil, nil), "there are no samples")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, c.Taps(ctx, m, nil, func(int, []*ir.Tensor) error { return nil }), context.Canceled)
}

func firsts(t *testing.T, c *measured.Calibration) (r []float32) {
	for in, err := range c.Each(context.Background()) {
		require.NoError(t, err)
		v, err := measured.Floats(in["x"].(*ir.Tensor))
		require.NoError(t, err)
		r = append(r, v[0])
	}
	require.Equal(t, len(r), c.Len())
	return r
}

func TestParts(t *testing.T) {
	c := measured.New(samples(10), native.New(), 1)
	require.Equal(t, []float32{2, 4, 7, 9}, firsts(t, c.Limit(4)))
	require.Len(t, firsts(t, c.Limit(20)), 10)
	fit, held := c.Split(0.25)
	require.Equal(t, []float32{3, 7}, firsts(t, held))
	require.Equal(t, []float32{0, 1, 2, 4, 5, 6, 8, 9}, firsts(t, fit))
	_, held = c.Limit(4).Split(0.5)
	require.Len(t, firsts(t, held), 2)
	_, one := c.Limit(1).Split(0.1)
	require.Len(t, firsts(t, one), 1)
}

func TestDivergence(t *testing.T) {
	a, b := parse(t, model), parse(t, model)
	c := measured.New(samples(10), native.New(), 2)
	d, err := c.Divergence(context.Background(), a, b)
	require.NoError(t, err)
	require.Equal(t, 1.0, d.Agreement)
	require.True(t, math.IsInf(d.SQNR, 1))
	require.Zero(t, d.KL)
	b.Main.NodeList()[1].SetOp(ir.Op("Abs"))
	d, err = c.Divergence(context.Background(), a, b)
	require.NoError(t, err)
	require.Equal(t, 10, d.Samples)
	require.Equal(t, 0.3, d.Agreement, "the largest of (-i,-2,3) and (i,2,3) is the third element for i below 3; of equal ones the first counts")
	require.Equal(t, 0.3, d.Whole)
	require.Positive(t, d.KL)
	require.Equal(t, 18.0, d.MaxDiff)
	r, err := c.Reference(context.Background(), a)
	require.NoError(t, err)
	e, err := r.Divergence(context.Background(), b)
	require.NoError(t, err)
	require.Equal(t, d, e)
}

func TestForSaysHowToGiveData(t *testing.T) {
	want := measured.New(samples(1), native.New(), 1)
	var got *measured.Calibration
	var err error
	p := passes.Define(passes.Info{Name: "look", Doc: "looks", Promise: passes.Promise{Lossy: true}}, struct{}{},
		func(c *passes.Context, _ *ir.Model, _ struct{}) error {
			got, err = measured.For(c, "")
			return nil
		})
	r, regErr := passes.NewRegistry(p)
	require.NoError(t, regErr)
	pipe, parseErr := r.Parse("look")
	require.NoError(t, parseErr)
	_, runErr := pipe.Run(context.Background(), parse(t, model), passes.Config{})
	require.NoError(t, runErr)
	require.ErrorIs(t, err, measured.ErrNoData)
	require.ErrorContains(t, err, "--calib PATH")
	_, runErr = pipe.Run(context.Background(), parse(t, model), passes.Config{Data: map[passes.Data]any{"": want}})
	require.NoError(t, runErr)
	require.NoError(t, err)
	require.Same(t, want, got)
}

func TestPick(t *testing.T) {
	a, b := parse(t, model), parse(t, model)
	b.Main.NodeList()[1].SetOp(ir.Op("Abs"))
	c := measured.New(samples(10), native.New(), 2)
	require.Equal(t, []float32{1, 4, 9}, firsts(t, c.Pick([]int{1, 4, 9})))
	require.Equal(t, []float32{4}, firsts(t, c.Pick([]int{1, 4, 9}).Pick([]int{1})))
	r, err := c.Reference(context.Background(), a)
	require.NoError(t, err)
	each, err := r.Samples(context.Background(), b)
	require.NoError(t, err)
	require.Len(t, each, 10)
	require.Equal(t, 1.0, each[2].Agreement)
	require.Zero(t, each[3].Agreement)
	d, err := r.Pick([]int{2, 3}).Divergence(context.Background(), b)
	require.NoError(t, err)
	require.Equal(t, 0.5, d.Agreement)
}
