package compare

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

var bg = context.Background()

// affine is y = x·k + c over x [N, 4].
func affine(k, c float32) *ir.Model {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", typ(ir.Float32, "N", 4))
	p := g.New(nil, ir.Op("Mul"), []*ir.Value{x, g.Const(f32(k))}).Result(0)
	p.SetName("p")
	g.AddOutput("y", g.New(nil, ir.Op("Add"), []*ir.Value{p, g.Const(f32(c))}).Result(0), typ(ir.Float32, "N", 4))
	return m
}

// unary is a chain of operators over x.
func unary(ops ...string) *ir.Model {
	m := ir.NewModel(8, 17)
	v := m.Main.AddInput("x", typ(ir.Float32, "N"))
	for _, op := range ops {
		v = m.Main.New(nil, ir.Op(op), []*ir.Value{v}).Result(0)
	}
	m.Main.AddOutput("y", v, typ(ir.Float32, "N"))
	return m
}

func models(t *testing.T, a, b *ir.Model, src Source, o Options) *Verdict {
	t.Helper()
	v, err := Models(bg, native.New(), a, b, src, o)
	require.NoError(t, err)
	return v
}

func TestEqualModelsAreVerifiedOnTwoSizes(t *testing.T) {
	v := models(t, affine(2, 1), affine(2, 1), nil, Options{})
	assert.Equal(t, "verified on 2 input sets", v.String())
	assert.True(t, v.Outputs["y"].Same())
	assert.False(t, v.Partial)
}

func TestDifferencesWithinAndBeyondTheTolerance(t *testing.T) {
	v := models(t, affine(2, 1), affine(2, 1.0001), nil, Options{})
	assert.Equal(t, Verified, v.State)
	assert.Greater(t, v.Outputs["y"].Rel, 0.0)
	v = models(t, affine(2, 1), affine(2, 1.0001), nil, Options{Tolerance: func(string) Tolerance { return Tolerance{Exact: true} }})
	assert.Equal(t, Mismatch, v.State)
	v = models(t, affine(2, 1), affine(2, 1.5), nil, Options{})
	assert.Equal(t, Mismatch, v.State)
	assert.Equal(t, "y", v.Output)
	assert.Contains(t, v.Why, "generated, seed 1, N=1")
	assert.NotNil(t, v.Set.Inputs["x"])
}

// wild is y = x + sin(k·relu(-x)): where x is negative and k large, a rounding error of x is as good as any other change.
func wild(k, c float32) *ir.Model {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", typ(ir.Float32, 4))
	v := x
	for _, op := range []string{"Neg", "Relu"} {
		v = g.New(nil, ir.Op(op), []*ir.Value{v}).Result(0)
	}
	v = g.New(nil, ir.Op("Mul"), []*ir.Value{v, g.Const(f32(k))}).Result(0)
	v = g.New(nil, ir.Op("Sin"), []*ir.Value{v}).Result(0)
	v = g.New(nil, ir.Op("Add"), []*ir.Value{v, x}).Result(0)
	g.AddOutput("y", g.New(nil, ir.Op("Add"), []*ir.Value{v, g.Const(f32(c))}).Result(0), typ(ir.Float32, 4))
	return m
}

func TestUnsteadySetsAreReplaced(t *testing.T) {
	const k, next = 1e6, 1e6 + 0.0625
	v := models(t, wild(k, 1), wild(next, 1), nil, Options{})
	require.Equal(t, Verified, v.State, v.Why)
	assert.Contains(t, v.Why, "generated, seed 1 was left out: the original is unsteady")
	assert.True(t, v.Outputs["y"].Same())

	v = models(t, wild(k, 1), wild(next, 1.01), nil, Options{})
	assert.Equal(t, Mismatch, v.State, "the other sets decide")
	assert.Nil(t, v.Unsteady)

	v = models(t, wild(k, 1), wild(next, 3), nil, Options{})
	assert.Equal(t, Mismatch, v.State, "larger than what rounding does")

	v = models(t, wild(k, 1), wild(next, 1), nil, Options{Tolerance: func(string) Tolerance { return Tolerance{Exact: true} }})
	assert.Equal(t, Mismatch, v.State, "bits are bits")

	given := Fixed(Set{Inputs: map[string]ir.Datum{"x": ir.TensorOf([]float32{-1, -2, -0.3, 4})}, Label: "given"})
	v = models(t, wild(k, 1), wild(next, 1), given, Options{})
	require.Equal(t, Mismatch, v.State, "what is given is not replaced")
	require.NotNil(t, v.Unsteady)
	assert.Equal(t, "y", v.Unsteady.Output)
}

func TestInterfacesHaveToAgree(t *testing.T) {
	rename := affine(2, 1)
	rename.Main.Inputs()[0].SetName("z")
	extra := affine(2, 1)
	extra.Main.AddOutput("more", extra.Main.Inputs()[0].Value(), nil)
	retyped := affine(2, 1)
	retyped.Main.Outputs()[0].SetType(typ(ir.Float16, "N", 4))
	reshaped := affine(2, 1)
	reshaped.Main.Inputs()[0].SetType(typ(ir.Float32, "N", 5))
	defaulted := affine(2, 1)
	defaulted.Main.Inputs()[0].Value().SetDefault(f32(1))
	for _, c := range []struct {
		m    *ir.Model
		want string
	}{
		{rename, `input 0 is "x" and "z"`},
		{extra, `1 and 2 outputs`},
		{retyped, `output "y" is float[N,4] and float16[N,4]`},
		{reshaped, `input "x" is float[N,4] and float[N,5]`},
		{defaulted, `input "x" has a default in one model only`},
	} {
		v := models(t, affine(2, 1), c.m, nil, Options{})
		assert.Equal(t, Mismatch, v.State)
		assert.Equal(t, "the interface differs: "+c.want, v.Why)
	}
	known := affine(2, 1)
	known.Main.Outputs()[0].SetType(typ(ir.Float32, 1, 4))
	assert.NoError(t, Interface(affine(2, 1), known), "b may know more")
}

func TestWhatCannotBeVerifiedIsSaid(t *testing.T) {
	strange := unary("Relu")
	strange.Main.New(nil, ir.OpID{Domain: "x", Type: "Y"}, nil)
	broken := affine(2, 1)
	broken.Main.NodeList()[0].SetOperand(1, broken.Main.Const(f32(1, 2, 3)))
	nothing := unary("Relu")
	nothing.Main.Inputs()[0].SetType(typ(ir.Float32, 1<<40))
	empty := unary("Relu")
	never := empty.Main.Const(ir.NewTensor(ir.Bool, []int64{1}, []byte{0}))
	empty.Main.Outputs()[0].SetValue(empty.Main.New(nil, ir.Op("Compress"), []*ir.Value{empty.Main.Inputs()[0].Value(), never}).Result(0))
	wide := unary("Relu")
	expand := wide.Main.New(nil, ir.Op("Expand"), []*ir.Value{wide.Main.Outputs()[0].Value(), wide.Main.Const(ir.TensorOf([]int64{1000, 1000, 1}))})
	wide.Main.Outputs()[0].SetValue(expand.Result(0))
	random := unary("Relu", "RandomNormalLike")
	for _, c := range []struct {
		m    *ir.Model
		o    Options
		want string
	}{
		{empty, Options{}, "the original gives only empty outputs"},
		{random, Options{}, "RandomNormalLike is random"},
		{strange, Options{}, "no kernel for x.Y"},
		{broken, Options{}, "the original does not run: node"},
		{unary("Abs", "Neg", "Sqrt"), Options{}, "the original gives only NaN"},
		{affine(2, 1), Options{Budget: Budget{Time: time.Nanosecond}}, "the time budget ended"},
		{affine(2, 1), Options{Budget: Budget{Memory: 8 << 10}, MaxSets: 1}, ""},
		{wide, Options{Budget: Budget{Memory: 1 << 20}}, "the memory budget ended"},
		{nothing, Options{}, "there are no inputs to compare on"},
	} {
		v := models(t, c.m, c.m, nil, c.o)
		if c.want == "" {
			assert.Equal(t, Verified, v.State)
			continue
		}
		assert.Equal(t, NotVerified, v.State)
		assert.Contains(t, v.Why, c.want)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	_, err := Models(ctx, native.New(), affine(2, 1), affine(2, 1), nil, Options{})
	assert.Equal(t, context.Canceled, err)
}

// Where there can be no elements, type and shape are compared.
func TestEmptyByDeclaration(t *testing.T) {
	m := unary("Relu")
	m.Main.Inputs()[0].SetType(typ(ir.Float32, 0, 3))
	m.Main.Outputs()[0].SetType(nil)
	assert.Equal(t, Verified, models(t, m, m, nil, Options{}).State)
}

func TestAResultThatFailsIsAMismatch(t *testing.T) {
	broken := affine(2, 1)
	broken.Main.NodeList()[0].SetOperand(1, broken.Main.Const(f32(1, 2, 3)))
	v := models(t, affine(2, 1), broken, nil, Options{})
	assert.Equal(t, Mismatch, v.State)
	assert.Contains(t, v.Why, "the result does not run where the original does: node")
	v = models(t, unary("Abs"), unary("Abs", "Neg", "Sqrt"), nil, Options{})
	assert.Equal(t, Mismatch, v.State)
	assert.Contains(t, v.Why, `output "y": `)
	assert.Contains(t, v.Why, `NaN at [0]`)
}

func TestGivenData(t *testing.T) {
	row := func(v ...float32) Set {
		return Set{Inputs: map[string]ir.Datum{"x": f32(v...)}, Label: "row"}
	}
	// The middle row gives only NaN and is left out.
	v := models(t, unary("Sqrt"), unary("Sqrt"), Fixed(row(1), row(-1), row(4, 9)), Options{})
	assert.Equal(t, "verified on 2 input sets: row was left out: the original gives only NaN", v.String())
	v = models(t, unary("Sqrt"), unary("Sqrt"), Fixed(row(-1)), Options{})
	assert.Equal(t, NotVerified, v.State)
	v = models(t, unary("Sqrt"), unary("Sqrt"), Fixed(row(1), row(2)), Options{MaxSets: 1})
	assert.True(t, v.Partial)
	assert.Equal(t, 1, v.Sets)
	bad := errors.New("row 2 cannot be read")
	_, err := Models(bg, native.New(), unary("Sqrt"), unary("Sqrt"), Data(func(yield func(Set, error) bool) {
		_ = yield(row(1), nil) && yield(Set{}, bad)
	}), Options{})
	assert.Equal(t, bad, err)
}

// The budget that ends after a set leaves what was found, and says so.
func TestBudgetThatEndsBetweenSets(t *testing.T) {
	slow := Data(func(yield func(Set, error) bool) {
		if yield(Set{Inputs: map[string]ir.Datum{"x": f32(1)}}, nil) {
			time.Sleep(300 * time.Millisecond)
			yield(Set{Inputs: map[string]ir.Datum{"x": f32(2)}}, nil)
		}
	})
	v := models(t, unary("Sqrt"), unary("Sqrt"), slow, Options{Budget: Budget{Time: 200 * time.Millisecond}})
	assert.Equal(t, "verified on 1 input set: the time budget ended before further sets", v.String())
	assert.True(t, v.Partial)
}

var _ Source = Data(iter.Seq2[Set, error](nil))

func TestTolerancesKnowTheQuantizationStep(t *testing.T) {
	m := ir.NewModel(10, 21)
	g := m.Main
	x := g.AddInput("x", typ(ir.Float32, 4))
	plain := g.New(nil, ir.Op("Relu"), []*ir.Value{x}).Result(0)
	half := g.New(nil, ir.Op("Cast"), []*ir.Value{x}).Result(0)
	q := g.New(nil, ir.Op("QuantizeLinear"), []*ir.Value{plain, g.Const(ir.ScalarOf(float32(0.5))), g.Const(ir.ScalarOf(int8(0)))}).Result(0)
	r := g.New(nil, ir.Op("Reshape"), []*ir.Value{q, g.Const(ir.TensorOf([]int64{2, 2}))}).Result(0)
	d := g.New(nil, ir.Op("DequantizeLinear"), []*ir.Value{r, g.Const(f32(0.25, 0.5)), nil}).Result(0)
	s := g.New(nil, ir.Op("Softmax"), []*ir.Value{d}).Result(0)
	a := g.New(nil, ir.Op("ArgMax"), []*ir.Value{d}).Result(0)
	body := g.NewSubgraph("then")
	body.AddOutput("", body.New(nil, ir.Op("QLinearConv"), nil).Result(0), nil)
	in := g.New(nil, ir.Op("If"), nil, ir.GraphAttr("then_branch", body)).Result(0)
	for name, v := range map[string]*ir.Value{"plain": plain, "q": r, "d": d, "s": s, "a": a, "in": in} {
		g.AddOutput(name, v, nil)
	}
	again := s
	for range 4 { // grids of computed scales one behind the other: their differences add up as independent ones do
		grid := g.New(nil, ir.Op("DynamicQuantizeLinear"), []*ir.Value{again}).Result(0)
		again = g.New(nil, ir.Op("Sqrt"), []*ir.Value{g.New(nil, ir.Op("Cast"), []*ir.Value{grid}).Result(0)}).Result(0)
	}
	g.AddOutput("four", again, nil)
	g.AddOutput("half", half, typ(ir.Float16, 4))
	g.AddOutput("inferred", g.New(nil, ir.Op("Identity"), []*ir.Value{g.AddInput("h", typ(ir.Float16, 4))}).Result(0), nil)
	want := map[string]Tolerance{
		"plain": {Rel: 1e-4},
		"half":  {Rel: 5e-3},

		"inferred": {Rel: 5e-3},
		"q":        {Rel: 1e-4, Steps: 1},
		"d":        {Rel: 1e-4, Abs: 0.5},
		"s":        {Rel: 1.0 / 128},
		"a":        {Rel: 1.0 / 128},
		"in":       {Rel: 1.0 / 128},
		"four":     {Rel: 2.0 / 128},
	}
	assert.Equal(t, want, Tolerances(m))
}

func TestFirstDivergence(t *testing.T) {
	sourced := func(m *ir.Model) *ir.Model {
		for i, n := range m.Main.NodeList() {
			n.SetOrigin(ir.SourceOrigin(&ir.Source{Pos: i, Op: n.Op()}))
		}
		return m
	}
	set := Set{Inputs: map[string]ir.Datum{"x": ir.TensorOf([]float32{1, 2, 3, 4}, 1, 4)}}
	find := func(a, b *ir.Model) *Divergence {
		d, err := FirstDivergence(bg, native.New(), a, b, set, engine.Options{}, nil)
		require.NoError(t, err)
		return d
	}
	a := sourced(affine(2, 1))
	assert.Nil(t, find(a, sourced(affine(2, 1))))
	d := find(a, sourced(affine(2, 1.5)))
	require.NotNil(t, d)
	assert.Equal(t, "Add", d.B.Node().Op().Type)
	assert.Equal(t, 2, d.Matched)
	d = find(a, sourced(affine(3, 1)))
	assert.Equal(t, `value "p" of node "" (Mul): relative difference 0.5 (absolute 4) at [0 3]`, d.String())

	// Under a memory limit fewer values are held at a time.
	long := []string{"Relu", "Relu", "Relu", "Relu", "Relu", "Relu"}
	set = Set{Inputs: map[string]ir.Datum{"x": f32(1, 2, 3, 4)}}
	d, err := FirstDivergence(bg, native.New(), sourced(unary(long...)), sourced(unary(append(long, "Neg")...)), set, engine.Options{MaxMemory: 48}, nil)
	require.NoError(t, err)
	assert.Nil(t, d, "the values that match agree")
	x, y := sourced(unary(long...)), sourced(unary(long...))
	y.Main.NodeList()[5].SetOp(ir.Op("Neg"))
	y.Main.NodeList()[5].Result(0).SetName("last")
	x.Main.NodeList()[5].Result(0).SetName("last")
	d, err = FirstDivergence(bg, native.New(), x, y, set, engine.Options{MaxMemory: 48}, nil)
	require.NoError(t, err)
	assert.Equal(t, 6, d.Matched)
	set = Set{Inputs: map[string]ir.Datum{"x": ir.TensorOf([]float32{1, 2, 3, 4}, 1, 4)}}

	// A rewrite turned both nodes into one; its result stands for that of the second.
	fused := affine(1, 9)
	nodes := fused.Main.NodeList()
	o := ir.DerivedOrigin("fuse-both", a.Main.NodeList()[0].Origin(), a.Main.NodeList()[1].Origin())
	n := fused.Main.New(nil, ir.Op("Neg"), []*ir.Value{fused.Main.Inputs()[0].Value()})
	n.SetOrigin(o)
	nodes[1].Result(0).ReplaceUses(n.Result(0))
	fused.Main.Erase(nodes[1])
	fused.Main.Erase(nodes[0])
	d = find(a, fused)
	require.NotNil(t, d)
	assert.Same(t, n, d.B.Node())
	assert.Equal(t, 1, d.Matched)
	assert.Contains(t, d.String(), "made by [fuse-both]")
}
