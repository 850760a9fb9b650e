package native_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

// web is a graph whose values alias, branch, die at different times and leave as outputs.
func web(r *rand.Rand, nodes int) *ir.Model {
	m := ir.NewModel(10, 17)
	g := m.Main
	values := []*ir.Value{g.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(4, 100)))}
	shape, back := g.Const(ir.TensorOf([]int64{100, 4})), g.Const(ir.TensorOf([]int64{4, 100}))
	pick := func() *ir.Value { return values[max(0, len(values)-1-r.IntN(6))] }
	for range nodes {
		var v *ir.Value
		switch r.IntN(5) {
		case 0:
			v = g.New(nil, ir.Op("Tanh"), []*ir.Value{pick()}).Result(0)
		case 1:
			v = g.New(nil, ir.Op("Identity"), []*ir.Value{pick()}).Result(0)
		case 2: // two views of the same elements
			w := g.New(nil, ir.Op("Reshape"), []*ir.Value{pick(), shape}).Result(0)
			v = g.New(nil, ir.Op("Reshape"), []*ir.Value{w, back}).Result(0)
		case 3:
			v = g.New(nil, ir.Op("Cos"), []*ir.Value{pick()}).Result(0) // has no executor
		default:
			v = g.New(nil, ir.Op("Sub"), []*ir.Value{pick(), pick()}).Result(0)
		}
		values = append(values, v)
	}
	for i, name := range []string{"a", "b", "c"} {
		g.AddOutput(name, values[len(values)-1-2*i], nil)
	}
	return m
}

func TestBuffersAreNotReusedWhileSeen(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ctx := context.Background()
	for range 40 {
		m := web(r, 30)
		nodes := m.Main.NodeList()
		var taps []*ir.Value
		for range 3 {
			if v := nodes[r.IntN(len(nodes))].Result(0); v.NumUses() > 0 {
				taps = append(taps, v)
			}
		}
		x := source{r}.tensor(false, 4, 100)
		before := append([]float32{}, floatsOf(t, x)...)
		in := map[string]ir.Datum{"x": x}
		want, wantTaps := runTaps(t, native.Portable(), m, engine.Options{Taps: taps}, in)
		for _, o := range []engine.Options{{Taps: taps}, {Taps: taps, Threads: 2}, {Taps: taps, MaxMemory: 1 << 16}} {
			s, err := native.New().Load(ctx, m, o)
			require.NoError(t, err)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for range 3 {
						out, got, err := s.RunTaps(ctx, in)
						if !assert.NoError(t, err) {
							return
						}
						_, _, err = s.RunTaps(ctx, in) // must not touch what the first returned
						assert.NoError(t, err)
						for name, d := range want {
							assert.InDeltaSlice(t, floatsOf(t, d), floatsOf(t, out[name]), 1e-5)
						}
						for i, d := range wantTaps {
							assert.InDeltaSlice(t, floatsOf(t, d), floatsOf(t, got[i]), 1e-5)
						}
					}
				})
			}
			wg.Wait()
		}
		assert.Equal(t, before, floatsOf(t, x), "an input of the caller changed")
	}
}

func runTaps(t *testing.T, e engine.Engine, m *ir.Model, o engine.Options, in map[string]ir.Datum) (map[string]ir.Datum, []ir.Datum) {
	s, err := e.Load(context.Background(), m, o)
	require.NoError(t, err)
	out, taps, err := s.RunTaps(context.Background(), in)
	require.NoError(t, err)
	return out, taps
}

func floatsOf(t *testing.T, d ir.Datum) []float32 {
	v, err := ir.Elements[float32](d.(*ir.Tensor))
	require.NoError(t, err)
	return v
}

// TestMemoryLimitOfExecutors: a result that does not fit is the kernel's error, as without executors.
func TestMemoryLimitOfExecutors(t *testing.T) {
	m := ir.NewModel(10, 17)
	g := m.Main
	a := g.AddInput("a", nil)
	b := g.AddInput("b", nil)
	g.AddOutput("y", g.New(nil, ir.Op("MatMul"), []*ir.Value{a, b}).Result(0), nil)
	in := map[string]ir.Datum{"a": ir.TensorOf(make([]float32, 1000), 1000, 1), "b": ir.TensorOf(make([]float32, 1000), 1, 1000)}
	s, err := native.New().Load(context.Background(), m, engine.Options{MaxMemory: 1 << 20})
	require.NoError(t, err)
	_, err = s.Run(context.Background(), in)
	assert.ErrorIs(t, err, engine.ErrMemory)
	s, err = native.New().Load(context.Background(), m, engine.Options{MaxMemory: 5 << 20})
	require.NoError(t, err)
	_, err = s.Run(context.Background(), in)
	assert.NoError(t, err)
}

// TestClipIsFusedExactly has limits that cut much of the result.
func TestClipIsFusedExactly(t *testing.T) {
	r := source{rand.New(rand.NewPCG(5, 6))}
	for range 20 {
		m := ir.NewModel(10, 17)
		g := m.Main
		x := g.AddInput("x", nil)
		c := g.New(nil, ir.Op("Conv"), []*ir.Value{x, g.Const(r.tensor(false, 5, 3, 3, 3)), g.Const(r.tensor(false, 5))}).Result(0)
		lo, hi := g.Const(ir.ScalarOf(float32(-2))), g.Const(ir.ScalarOf(float32(3)))
		y := g.New(nil, ir.Op("Clip"), []*ir.Value{c, lo, hi}).Result(0)
		g.AddOutput("y", y, nil)
		in := map[string]ir.Datum{"x": r.tensor(true, 1, 3, 9, 8)}
		fused, _ := runTaps(t, native.New(), m, engine.Options{}, in)
		separate, _ := runTaps(t, native.New(), m, engine.Options{Taps: []*ir.Value{c}}, in)
		assert.Equal(t, bytesOf(t, separate["y"].(*ir.Tensor)), bytesOf(t, fused["y"].(*ir.Tensor)))
	}
}

// TestCancelInsideTheLastNode: a convolution over many pictures stops between them, and what it has is not handed out.
func TestCancelInsideTheLastNode(t *testing.T) {
	m := ir.NewModel(10, 17)
	g := m.Main
	x := g.AddInput("x", nil)
	w := g.Const(ir.TensorOf(make([]float32, 64*64*9), 64, 64, 3, 3))
	g.AddOutput("y", g.New(nil, ir.Op("Conv"), []*ir.Value{x, w}).Result(0), nil)
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	in := map[string]ir.Datum{"x": ir.TensorOf(make([]float32, 400*64*32*32), 400, 64, 32, 32)}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = s.Run(ctx, in)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}
