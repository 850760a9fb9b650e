package native

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// The kernels of domain "t" are just enough to see what the interpreter does with them.
var testKernels = map[string]kernel.Func{
	"Add": func(c *kernel.Call) ([]ir.Datum, error) {
		var sum []float32
		for i := range c.In {
			t, err := c.Tensor(i)
			if err != nil || t == nil {
				return nil, errors.Join(err, errMissing)
			}
			v, err := ir.Elements[float32](t)
			if err != nil {
				return nil, err
			}
			if sum == nil {
				sum = make([]float32, len(v))
			}
			for k := range v {
				sum[k] += v[k]
			}
		}
		return []ir.Datum{ir.TensorOf(sum)}, nil
	},
	"Same":  func(c *kernel.Call) ([]ir.Datum, error) { return c.In[:1], nil },
	"Panic": func(c *kernel.Call) ([]ir.Datum, error) { return []ir.Datum{c.In[len(c.In)]}, nil },
	"None":  func(c *kernel.Call) ([]ir.Datum, error) { return nil, nil },
	"Has": func(c *kernel.Call) ([]ir.Datum, error) { // how many operands are there
		n := float32(0)
		for _, d := range c.In {
			if d != nil {
				n++
			}
		}
		return []ir.Datum{ir.TensorOf([]float32{n})}, nil
	},
	"Alpha": func(c *kernel.Call) ([]ir.Datum, error) {
		if c.Attr("alpha") == nil {
			return []ir.Datum{ir.TensorOf([]float32{-1})}, nil
		}
		return []ir.Datum{ir.TensorOf([]float32{c.Attr("alpha").Float()})}, nil
	},
	"Refuse": func(c *kernel.Call) ([]ir.Datum, error) {
		return nil, fmt.Errorf("shape [9]: %w", &kernel.LimitError{Elements: 9, Size: 4, Limit: c.Limit})
	},
	"Wanted": func(c *kernel.Call) ([]ir.Datum, error) {
		r := make([]ir.Datum, len(c.Out))
		for i := range r {
			if c.Out[i] {
				r[i] = ir.TensorOf([]float32{float32(len(c.Out))})
			}
		}
		return r, nil
	},
	"Repeat": func(c *kernel.Call) ([]ir.Datum, error) { // body(x) n times
		x := c.In
		for range max(c.Attr("n").Int(), 1) {
			var err error
			if x, err = c.Body(c.Attr("body").Graph(), x); err != nil {
				return nil, err
			}
		}
		return x, nil
	},
}

var errMissing = errors.New("operand is missing")

func testLookup(op ir.OpID, opset int64) kernel.Func {
	if op.Domain != "t" || opset != 1 {
		return nil
	}
	return testKernels[op.Type]
}

var testEngine = native{kernels: testLookup}

func t(typ string) ir.OpID { return ir.OpID{Domain: "t", Type: typ} }

func newModel() *ir.Model {
	m := ir.NewModel(10, 17)
	m.SetOpset("t", 1)
	return m
}

func vec(v ...float32) *ir.Tensor { return ir.TensorOf(v) }

func floats(tb testing.TB, d ir.Datum) []float32 {
	tb.Helper()
	require.IsType(tb, &ir.Tensor{}, d)
	v, err := ir.Elements[float32](d.(*ir.Tensor))
	require.NoError(tb, err)
	return v
}

func load(tb testing.TB, m *ir.Model, o engine.Options) engine.Session {
	tb.Helper()
	s, err := testEngine.Load(context.Background(), m, o)
	require.NoError(tb, err)
	return s
}

type feeds = map[string]ir.Datum

func TestRunChainWithTaps(tt *testing.T) {
	m := newModel()
	g := m.Main
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N")}))
	c := g.Const(vec(1, 2))
	a := g.New(nil, t("Add"), []*ir.Value{x, c}).Result(0)
	b := g.New(nil, t("Add"), []*ir.Value{a, a}).Result(0)
	unused := g.New(nil, t("Same"), []*ir.Value{b}).Result(0)
	g.AddOutput("y", b, nil)
	g.AddOutput("c", c, nil)
	s := load(tt, m, engine.Options{Taps: []*ir.Value{a, c, unused, x}})
	out, taps, err := s.RunTaps(context.Background(), feeds{"x": vec(3, 4)})
	require.NoError(tt, err)
	assert.Equal(tt, []float32{8, 12}, floats(tt, out["y"]))
	assert.Equal(tt, []float32{1, 2}, floats(tt, out["c"]))
	assert.Equal(tt, []float32{4, 6}, floats(tt, taps[0]))
	assert.Equal(tt, []float32{1, 2}, floats(tt, taps[1]))
	assert.Equal(tt, []float32{8, 12}, floats(tt, taps[2]))
	assert.Equal(tt, []float32{3, 4}, floats(tt, taps[3]))
}

func TestSubgraphsSeeEnclosingValues(tt *testing.T) {
	m := newModel()
	g := m.Main
	x := g.AddInput("x", nil)
	one := g.New(nil, t("Same"), []*ir.Value{g.Const(vec(1))}).Result(0)
	outer := g.NewSubgraph("outer")
	o := outer.AddInput("o", nil)
	inner := outer.NewSubgraph("inner")
	i := inner.AddInput("i", nil)
	sum := inner.New(nil, t("Add"), []*ir.Value{i, o, one}).Result(0)
	inner.AddOutput("", sum, nil)
	r := outer.New(nil, t("Repeat"), []*ir.Value{o}, ir.GraphAttr("body", inner), ir.IntAttr("n", 2)).Result(0)
	outer.AddOutput("", r, nil)
	y := g.New(nil, t("Repeat"), []*ir.Value{x}, ir.GraphAttr("body", outer), ir.IntAttr("n", 2)).Result(0)
	g.AddOutput("y", y, nil)
	// outer(o) = o + (o+1) + (o+1) = 3o+2; twice from 1: 5, 17.
	for _, limit := range []int64{0, 1000} {
		out, err := load(tt, m, engine.Options{MaxMemory: limit}).Run(context.Background(), feeds{"x": vec(1)})
		require.NoError(tt, err)
		assert.Equal(tt, []float32{17}, floats(tt, out["y"]))
	}
}

func TestBodyReturnsWhatItCaptures(tt *testing.T) {
	m := newModel()
	g := m.Main
	x := g.AddInput("x", nil)
	neverUsedAgain := g.New(nil, t("Add"), []*ir.Value{x, x}).Result(0)
	body := g.NewSubgraph("b")
	body.AddOutput("", neverUsedAgain, nil)
	g.AddOutput("y", g.New(nil, t("Repeat"), nil, ir.GraphAttr("body", body)).Result(0), nil)
	out, err := load(tt, m, engine.Options{MaxMemory: 100}).Run(context.Background(), feeds{"x": vec(1)})
	require.NoError(tt, err)
	assert.Equal(tt, []float32{2}, floats(tt, out["y"]))
}

func TestFunctions(tt *testing.T) {
	m := newModel()
	f := m.NewFunction(ir.OpID{Domain: "local", Type: "F"}, ir.Opset{Domain: "t", Version: 1}, ir.Opset{Domain: "local", Version: 1})
	f.Attrs, f.Defaults = []string{"a"}, []*ir.Attr{ir.FloatAttr("b", 7)}
	fx := f.Graph.AddInput("x", nil)
	fy := f.Graph.AddInput("y", nil)
	alpha := f.Graph.New(nil, t("Alpha"), nil, ir.RefAttr("alpha", ir.AttrFloat, "a")).Result(0)
	beta := f.Graph.New(nil, t("Alpha"), nil, ir.RefAttr("alpha", ir.AttrFloat, "b")).Result(0)
	f.Graph.AddOutput("s", f.Graph.New(nil, t("Add"), []*ir.Value{fx, alpha, beta}).Result(0), nil)
	f.Graph.AddOutput("n", f.Graph.New(nil, t("Has"), []*ir.Value{fx, fy}).Result(0), nil)
	// An overload hands its own attribute on under another name.
	h := m.NewFunction(ir.OpID{Domain: "local", Type: "F", Overload: "v2"}, ir.Opset{Domain: "local", Version: 1})
	h.Attrs = []string{"outer"}
	hx := h.Graph.AddInput("x", nil)
	h.Graph.AddOutput("s", h.Graph.New(nil, f.ID(), []*ir.Value{hx}, ir.RefAttr("a", ir.AttrFloat, "outer")).Result(0), nil)

	g := m.Main
	m.SetOpset("local", 1)
	x := g.AddInput("x", nil)
	n1 := g.NewN(nil, f.ID(), []*ir.Value{x}, 2, ir.FloatAttr("a", 1), ir.FloatAttr("b", 2))
	n2 := g.New(nil, h.ID(), []*ir.Value{x}, ir.FloatAttr("outer", 20))
	n3 := g.New(nil, f.ID(), []*ir.Value{x, x})
	g.AddOutput("y1", n1.Result(0), nil)
	g.AddOutput("c1", n1.Result(1), nil)
	g.AddOutput("y2", n2.Result(0), nil)
	g.AddOutput("y3", n3.Result(0), nil)
	out, err := load(tt, m, engine.Options{}).Run(context.Background(), feeds{"x": vec(100)})
	require.NoError(tt, err)
	assert.Equal(tt, []float32{103}, floats(tt, out["y1"]))
	assert.Equal(tt, []float32{1}, floats(tt, out["c1"]), "the second operand is omitted inside, too")
	assert.Equal(tt, []float32{127}, floats(tt, out["y2"]))
	assert.Equal(tt, []float32{106}, floats(tt, out["y3"]), "without a value and a default the attribute is absent")

	n1.SetAttr(ir.IntAttr("a", 1))
	_, err = load(tt, m, engine.Options{}).Run(context.Background(), feeds{"x": vec(100)})
	assert.ErrorContains(tt, err, "attribute alpha is a float and refers to a, a int")
}

func TestGraphAttributeOfFunctionLooksIntoTheCaller(tt *testing.T) {
	m := newModel()
	f := m.NewFunction(ir.OpID{Domain: "local", Type: "Twice"}, ir.Opset{Domain: "t", Version: 1})
	f.Attrs = []string{"what"}
	fx := f.Graph.AddInput("x", nil)
	f.Graph.AddOutput("y", f.Graph.New(nil, t("Repeat"), []*ir.Value{fx}, ir.RefAttr("body", ir.AttrGraph, "what"), ir.IntAttr("n", 2)).Result(0), nil)
	g := m.Main
	x := g.AddInput("x", nil)
	k := g.New(nil, t("Add"), []*ir.Value{x, x}).Result(0)
	body := g.NewSubgraph("body")
	b := body.AddInput("b", nil)
	body.AddOutput("", body.New(nil, t("Add"), []*ir.Value{b, k}).Result(0), nil)
	g.AddOutput("y", g.New(nil, f.ID(), []*ir.Value{x}, ir.GraphAttr("what", body)).Result(0), nil)
	out, err := load(tt, m, engine.Options{MaxMemory: 1000}).Run(context.Background(), feeds{"x": vec(1)})
	require.NoError(tt, err)
	assert.Equal(tt, []float32{5}, floats(tt, out["y"]))
}

func TestFunctionsThatCallThemselvesAreRefused(tt *testing.T) {
	m := newModel()
	f := m.NewFunction(ir.OpID{Domain: "local", Type: "F"})
	h := m.NewFunction(ir.OpID{Domain: "local", Type: "H"})
	f.Graph.AddOutput("y", f.Graph.New(nil, h.ID(), nil).Result(0), nil)
	h.Graph.AddOutput("y", h.Graph.New(nil, f.ID(), nil).Result(0), nil)
	m.Main.AddOutput("y", m.Main.New(nil, f.ID(), nil).Result(0), nil)
	_, err := testEngine.Load(context.Background(), m, engine.Options{})
	assert.ErrorContains(tt, err, "function local.F calls itself")
}

func TestUnsupportedListsEveryOperatorOnce(tt *testing.T) {
	m := newModel()
	g := m.Main
	f := m.NewFunction(ir.OpID{Domain: "local", Type: "F"})
	f.Graph.AddOutput("y", f.Graph.New(nil, t("Add"), nil).Result(0), nil) // the function imports no version of t
	body := g.NewSubgraph("b")
	body.AddOutput("", body.New(nil, ir.Op("Deep"), nil).Result(0), nil)
	g.AddOutput("y", g.New(nil, t("Repeat"), nil, ir.GraphAttr("body", body)).Result(0), nil)
	g.AddOutput("z", g.New(nil, f.ID(), nil).Result(0), nil)
	g.AddOutput("w", g.New(nil, ir.Op("Deep"), nil).Result(0), nil)
	_, err := testEngine.Load(context.Background(), m, engine.Options{})
	var u *engine.UnsupportedError
	require.ErrorAs(tt, err, &u)
	assert.Equal(tt, []ir.OpID{ir.Op("Deep"), t("Add")}, u.Ops)
}

func TestFaultsOfKernelsNameTheNode(tt *testing.T) {
	for _, c := range []struct{ op, want string }{
		{"Panic", "internal: runtime error"},
		{"None", "result 0 was not computed"},
	} {
		m := newModel()
		body := m.Main.NewSubgraph("b")
		n := body.New(nil, t(c.op), nil)
		n.SetName("inside")
		body.AddOutput("", n.Result(0), nil)
		m.Main.AddOutput("y", m.Main.New(nil, t("Repeat"), nil, ir.GraphAttr("body", body)).Result(0), nil)
		_, err := load(tt, m, engine.Options{}).Run(context.Background(), nil)
		var ne *engine.NodeError
		require.ErrorAs(tt, err, &ne)
		assert.ErrorContains(tt, err, c.want)
		assert.ErrorContains(tt, err, `node "inside" (t.`+c.op+`)`)
	}
}

func TestMemoryLimit(tt *testing.T) {
	m := newModel()
	g := m.Main
	x := g.AddInput("x", nil)
	v := x
	for range 50 { // a chain needs two values at a time
		v = g.New(nil, t("Add"), []*ir.Value{v}).Result(0)
		v = g.New(nil, t("Same"), []*ir.Value{v}).Result(0) // and this costs nothing
	}
	g.AddOutput("y", v, nil)
	in := feeds{"x": ir.TensorOf(make([]float32, 1000))}
	_, err := load(tt, m, engine.Options{MaxMemory: 8000}).Run(context.Background(), in)
	require.NoError(tt, err)
	_, err = load(tt, m, engine.Options{MaxMemory: 7999}).Run(context.Background(), in)
	assert.ErrorIs(tt, err, engine.ErrMemory)
	_, err = load(tt, m, engine.Options{MaxMemory: 8000, Taps: []*ir.Value{g.NodeList()[0].Result(0)}}).Run(context.Background(), in)
	assert.ErrorIs(tt, err, engine.ErrMemory, "a tap is held to the end")

	m = newModel()
	m.Main.AddOutput("y", m.Main.New(nil, t("Refuse"), nil).Result(0), nil)
	_, err = load(tt, m, engine.Options{MaxMemory: 7}).Run(context.Background(), nil)
	assert.ErrorIs(tt, err, engine.ErrMemory)
	assert.ErrorContains(tt, err, "exceed the limit of 7 bytes")
	_, err = load(tt, m, engine.Options{}).Run(context.Background(), nil)
	assert.NotErrorIs(tt, err, engine.ErrMemory, "nobody set a limit: the shape is bad")
}

func TestCancel(tt *testing.T) {
	m := newModel()
	g := m.Main
	body := g.NewSubgraph("b")
	b := body.AddInput("b", nil)
	body.AddOutput("", body.New(nil, t("Same"), []*ir.Value{b}).Result(0), nil)
	x := g.AddInput("x", nil)
	g.AddOutput("y", g.New(nil, t("Repeat"), []*ir.Value{x}, ir.GraphAttr("body", body), ir.IntAttr("n", 1<<60)).Result(0), nil)
	s := load(tt, m, engine.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := s.Run(ctx, feeds{"x": vec(1)})
		done <- err
	}()
	cancel()
	assert.Equal(tt, context.Canceled, <-done)
	_, err := testEngine.Load(ctx, m, engine.Options{})
	assert.ErrorIs(tt, err, context.Canceled)
}

func TestInputsAreChecked(tt *testing.T) {
	m := newModel()
	g := m.Main
	N := ir.Symbol("N")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{N, ir.Static(2)}))
	g.AddInput("z", ir.TensorType(ir.Int64, ir.Shape{N})).SetDefault(ir.TensorOf([]int64{5}))
	g.AddInput("s", ir.SequenceOf(ir.TensorType(ir.Float32, ir.Shape{N})))
	g.AddInput("o", ir.OptionalOf(ir.TensorType(ir.Float32, nil)))
	g.AddOutput("y", x, nil)
	s := load(tt, m, engine.Options{})
	good := func() feeds {
		return feeds{"x": ir.TensorOf([]float32{1, 2}, 1, 2), "s": &ir.Sequence{Items: []ir.Datum{vec(1, 2, 3)}}, "o": &ir.Optional{}}
	}
	_, err := s.Run(context.Background(), good())
	require.NoError(tt, err)
	for _, c := range []struct {
		name string
		d    ir.Datum
		want string
	}{
		{"x", nil, `input "x" is missing`},
		{"x", (*ir.Tensor)(nil), `input "x" is missing`},
		{"x", ir.TensorOf([]int64{1, 2}, 1, 2), `input "x": elements are int64 where the model takes float`},
		{"x", vec(1, 2), `input "x": shape [2] where the model takes [N,2]`},
		{"x", ir.TensorOf([]float32{1, 2, 3}, 1, 3), `input "x": shape [1 3] where the model takes [N,2]`},
		{"x", ir.NewTensor(ir.Float32, []int64{1, 2}, []byte{1}), `input "x": tensor of type float and shape [1 2] needs 8 bytes and has 1`},
		{"x", &ir.Sequence{}, `input "x": a sequence is given where the model takes float[N,2]`},
		{"z", ir.TensorOf([]int64{1, 2}), `input "z": dimension N is 2 here and 1 in input "x"`},
		{"s", &ir.Sequence{Items: []ir.Datum{vec(1), nil}}, `input "s": item 1 is missing`},
		{"o", &ir.Optional{Item: ir.TensorOf([]int64{1})}, `input "o": elements are int64 where the model takes float`},
		{"q", vec(1), `the model has no input "q"`},
	} {
		in := good()
		in[c.name] = c.d
		_, err := s.Run(context.Background(), in)
		assert.EqualError(tt, err, c.want)
	}
}

func TestOnlyWantedResultsAreAsked(tt *testing.T) {
	m := newModel()
	g := m.Main
	n := g.NewN(nil, t("Wanted"), nil, 3)
	n.OmitResult(0)
	g.AddOutput("y", n.Result(2), nil)
	out, err := load(tt, m, engine.Options{}).Run(context.Background(), nil)
	require.NoError(tt, err)
	assert.Equal(tt, []float32{3}, floats(tt, out["y"]))
}

func TestConcurrentRuns(tt *testing.T) {
	m := newModel()
	g := m.Main
	v := g.AddInput("x", nil)
	for range 100 {
		v = g.New(nil, t("Add"), []*ir.Value{v, g.Const(vec(1))}).Result(0)
	}
	g.AddOutput("y", v, nil)
	s := load(tt, m, engine.Options{MaxMemory: 1 << 10})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			out, err := s.Run(context.Background(), feeds{"x": vec(float32(i))})
			if assert.NoError(tt, err) {
				assert.Equal(tt, []float32{float32(100 + i)}, floats(tt, out["y"]))
			}
		})
	}
	wg.Wait()
}

func TestEvalOneNode(tt *testing.T) {
	m := newModel()
	g := m.Main
	x := g.AddInput("x", nil)
	k := g.Const(vec(10))
	n := g.New(nil, t("Add"), []*ir.Value{x, x})
	body := g.NewSubgraph("b")
	b := body.AddInput("b", nil)
	sum := body.New(nil, t("Add"), []*ir.Value{b, k})
	body.AddOutput("", sum.Result(0), nil)
	loop := g.New(nil, t("Repeat"), []*ir.Value{n.Result(0)}, ir.GraphAttr("body", body), ir.IntAttr("n", 3))
	ctx := context.Background()
	r, err := eval(ctx, testLookup, n, []ir.Datum{vec(1), vec(2)}, engine.Options{})
	require.NoError(tt, err)
	assert.Equal(tt, []float32{3}, floats(tt, r[0]))
	r, err = eval(ctx, testLookup, loop, []ir.Datum{vec(1)}, engine.Options{MaxMemory: 100})
	require.NoError(tt, err)
	assert.Equal(tt, []float32{31}, floats(tt, r[0]))

	_, err = eval(ctx, testLookup, n, []ir.Datum{vec(1, 2, 3), vec(4, 5, 6)}, engine.Options{MaxMemory: 20})
	assert.ErrorIs(tt, err, engine.ErrMemory)
	_, err = eval(ctx, testLookup, n, []ir.Datum{vec(1)}, engine.Options{})
	assert.ErrorContains(tt, err, "has 2 operands and is given 1")
	_, err = eval(ctx, testLookup, n, []ir.Datum{vec(1), nil}, engine.Options{})
	assert.ErrorIs(tt, err, errMissing)
	_, err = eval(ctx, testLookup, g.New(nil, ir.Op("Odd"), nil), nil, engine.Options{})
	assert.ErrorAs(tt, err, new(*engine.UnsupportedError))
	sum.SetOperand(1, x)
	_, err = eval(ctx, testLookup, loop, []ir.Datum{vec(1)}, engine.Options{})
	assert.ErrorContains(tt, err, `value "x" is not computed where it is used`)
}

// Loading and running cost the same per node in small and large models; the chain would overflow a recursive walk.
func BenchmarkChain(b *testing.B) {
	for _, size := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			m := newModel()
			v := m.Main.AddInput("x", nil)
			for range size {
				v = m.Main.New(nil, t("Same"), []*ir.Value{v}).Result(0)
			}
			m.Main.AddOutput("y", v, nil)
			for b.Loop() {
				if _, err := load(b, m, engine.Options{MaxMemory: 1000}).Run(context.Background(), feeds{"x": vec(1)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/node")
		})
	}
}

func TestErrorsReadWell(tt *testing.T) {
	m := newModel()
	n := m.Main.New(nil, t("Add"), []*ir.Value{nil})
	n.SetName("a1")
	m.Main.AddOutput("y", n.Result(0), nil)
	_, err := load(tt, m, engine.Options{}).Run(context.Background(), nil)
	assert.EqualError(tt, err, `node "a1" (t.Add): `+errMissing.Error())
	assert.False(tt, strings.Contains(err.Error(), "\n"))
}
