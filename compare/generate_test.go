package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// generate collects the sets that accept takes.
func generate(t *testing.T, m *ir.Model, o GenerateOptions, accept func(map[string]ir.Datum) bool) []Set {
	t.Helper()
	g := NewGenerator(m, o)
	var r []Set
	tried := 0
	for s, err := range g.Sets(context.Background()) {
		require.NoError(t, err)
		if tried++; accept == nil || accept(s.Inputs) {
			r = append(r, s)
		} else {
			assert.True(t, g.Refused(errors.New("no")))
		}
	}
	assert.LessOrEqual(t, tried, 96)
	return r
}

func ints(t *testing.T, d ir.Datum) []float64 {
	t.Helper()
	require.IsType(t, &ir.Tensor{}, d)
	v, err := numbers(d.(*ir.Tensor))
	require.NoError(t, err)
	return v
}

func shapeOf(d ir.Datum) []int64 { return d.(*ir.Tensor).Shape() }

func typ(d ir.DType, dims ...any) *ir.Type {
	s := ir.Shape{}
	for _, x := range dims {
		switch x := x.(type) {
		case int:
			s = append(s, ir.Static(int64(x)))
		case string:
			if x == "?" {
				s = append(s, ir.UnknownDim())
			} else {
				s = append(s, ir.Symbol(x))
			}
		}
	}
	return ir.TensorType(d, s)
}

func table(g *ir.Graph, rows int64) *ir.Value {
	return g.Const(ir.TensorOf(make([]float32, rows*2), rows, 2))
}

// An index is followed through casts, shapes, offsets, captures, loops and functions to its table.
func TestIndicesStayInsideTheirTables(t *testing.T) {
	for name, build := range map[string]func(m *ir.Model, x *ir.Value) *ir.Value{
		"directly": func(m *ir.Model, x *ir.Value) *ir.Value {
			return m.Main.New(nil, ir.Op("Gather"), []*ir.Value{table(m.Main, 5), x}).Result(0)
		},
		"two tables": func(m *ir.Model, x *ir.Value) *ir.Value {
			m.Main.New(nil, ir.Op("Gather"), []*ir.Value{table(m.Main, 100), x})
			return m.Main.New(nil, ir.Op("Gather"), []*ir.Value{table(m.Main, 5), x}).Result(0)
		},
		"cast and unsqueeze": func(m *ir.Model, x *ir.Value) *ir.Value {
			c := m.Main.New(nil, ir.Op("Cast"), []*ir.Value{x}).Result(0)
			u := m.Main.New(nil, ir.Op("Unsqueeze"), []*ir.Value{c}).Result(0)
			return m.Main.New(nil, ir.Op("GatherElements"), []*ir.Value{table(m.Main, 5), u}).Result(0)
		},
		"captured": func(m *ir.Model, x *ir.Value) *ir.Value {
			s := m.Main.NewSubgraph("then")
			s.AddOutput("", s.New(nil, ir.Op("Gather"), []*ir.Value{table(m.Main, 5), x}).Result(0), nil)
			return m.Main.New(nil, ir.Op("If"), []*ir.Value{nil}, ir.GraphAttr("then_branch", s)).Result(0)
		},
		"out of an If": func(m *ir.Model, x *ir.Value) *ir.Value {
			s := m.Main.NewSubgraph("then")
			s.AddOutput("", x, nil)
			i := m.Main.New(nil, ir.Op("If"), []*ir.Value{nil}, ir.GraphAttr("then_branch", s)).Result(0)
			return m.Main.New(nil, ir.Op("Gather"), []*ir.Value{table(m.Main, 5), i}).Result(0)
		},
		"into a Loop": func(m *ir.Model, x *ir.Value) *ir.Value {
			s := m.Main.NewSubgraph("body")
			s.AddInput("i", nil)
			s.AddInput("c", nil)
			b := s.AddInput("x", nil)
			s.AddOutput("", s.New(nil, ir.Op("Gather"), []*ir.Value{table(m.Main, 5), b}).Result(0), nil)
			return m.Main.New(nil, ir.Op("Loop"), []*ir.Value{nil, nil, x}, ir.GraphAttr("body", s)).Result(0)
		},
		"function": func(m *ir.Model, x *ir.Value) *ir.Value {
			f := m.NewFunction(ir.OpID{Domain: "l", Type: "F"})
			a := f.Graph.AddInput("a", nil)
			f.Graph.AddOutput("y", f.Graph.New(nil, ir.Op("Gather"), []*ir.Value{table(f.Graph, 5), a}).Result(0), nil)
			return m.Main.New(nil, f.ID(), []*ir.Value{x}).Result(0)
		},
		"a table that is computed": func(m *ir.Model, x *ir.Value) *ir.Value {
			c := m.Main.New(nil, ir.Op("Cast"), []*ir.Value{table(m.Main, 5)}, ir.IntAttr("to", int64(ir.Float64))).Result(0)
			return m.Main.New(nil, ir.Op("Gather"), []*ir.Value{c, x}).Result(0)
		},
		"one hot": func(m *ir.Model, x *ir.Value) *ir.Value {
			return m.Main.New(nil, ir.Op("OneHot"), []*ir.Value{x, m.Main.Const(ir.ScalarOf(int64(5)))}).Result(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := ir.NewModel(8, 17)
			x := m.Main.AddInput("x", typ(ir.Int64, "N", 100))
			m.Main.AddOutput("y", build(m, x), nil)
			v := ints(t, generate(t, m, GenerateOptions{}, nil)[0].Inputs["x"])
			assert.Equal(t, 0.0, slices.Min(v))
			assert.Equal(t, 4.0, slices.Max(v))
		})
	}
}

func TestShiftedIndices(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", typ(ir.Float32, 200))
	a := m.Main.New(nil, ir.Op("Sub"), []*ir.Value{m.Main.Const(ir.ScalarOf(float32(3))), x}).Result(0)
	b := m.Main.New(nil, ir.Op("Mul"), []*ir.Value{a, m.Main.Const(ir.ScalarOf(float32(2)))}).Result(0)
	c := m.Main.New(nil, ir.Op("Cast"), []*ir.Value{b}).Result(0)
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Gather"), []*ir.Value{table(m.Main, 10), c}).Result(0), nil)
	v := ints(t, generate(t, m, GenerateOptions{}, nil)[0].Inputs["x"]) // 0 <= 2(3-x) <= 9
	assert.Equal(t, -1.0, slices.Min(v))
	assert.Equal(t, 3.0, slices.Max(v))
}

func TestMasksAreZeroAndOneAndNoRowIsEmpty(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("what", typ(ir.Int64, 50, 8))
	m.Main.AddInput("attention_mask", typ(ir.Float32, 50, 8))
	f := m.Main.New(nil, ir.Op("Cast"), []*ir.Value{x}).Result(0)
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Sub"), []*ir.Value{m.Main.Const(ir.ScalarOf(float32(1))), f}).Result(0), nil)
	in := generate(t, m, GenerateOptions{}, nil)[0].Inputs
	for _, name := range []string{"what", "attention_mask"} {
		v := ints(t, in[name])
		for i, e := range v {
			assert.True(t, e == 1 || e == 0 && i%8 != 0)
		}
		assert.Contains(t, v, 0.0)
	}
}

func TestTwoSizesForEachFreeDimension(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", typ(ir.Float32, "batch", "seq", 4, "?"))
	m.Main.AddInput("z", typ(ir.Float32, "seq", "batch"))
	m.Main.AddOutput("y", x, nil)
	sets := generate(t, m, GenerateOptions{}, nil)
	require.Len(t, sets, 2)
	a, b := shapeOf(sets[0].Inputs["x"]), shapeOf(sets[1].Inputs["x"])
	for _, s := range sets {
		x, z := shapeOf(s.Inputs["x"]), shapeOf(s.Inputs["z"])
		assert.Equal(t, []int64{x[1], x[0]}, z)
	}
	assert.Equal(t, int64(4), a[2])
	for _, i := range []int{0, 1, 3} {
		assert.NotEqual(t, a[i], b[i])
	}
}

// Decoders are exported with sizes like these.
func TestSizesThatAreSums(t *testing.T) {
	m := ir.NewModel(8, 17)
	m.Main.AddInput("mask", typ(ir.Int64, "batch", "past + seq + 1"))
	m.Main.AddInput("kv", typ(ir.Float32, "batch", 2, "past", 4))
	m.Main.AddInput("ids", typ(ir.Int64, "batch", "seq"))
	sets := generate(t, m, GenerateOptions{}, func(in map[string]ir.Datum) bool {
		return shapeOf(in["mask"])[1] == shapeOf(in["kv"])[2]+shapeOf(in["ids"])[1]+1
	})
	require.Len(t, sets, 2)
	assert.NotEqual(t, shapeOf(sets[0].Inputs["mask"]), shapeOf(sets[1].Inputs["mask"]))
}

// Only 256 is taken, and the batch only if it is even: the search finds both and varies what can be varied.
func TestRefusedSizesAreReplaced(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", typ(ir.Float32, "N", "L"))
	m.Main.AddOutput("y", x, nil)
	sets := generate(t, m, GenerateOptions{}, func(in map[string]ir.Datum) bool {
		s := shapeOf(in["x"])
		return s[1] == 256 && s[0]%2 == 0
	})
	require.Len(t, sets, 2)
	assert.NotEqual(t, shapeOf(sets[0].Inputs["x"])[0], shapeOf(sets[1].Inputs["x"])[0])
	assert.Empty(t, generate(t, m, GenerateOptions{}, func(map[string]ir.Datum) bool { return false }))
}

func TestWeightsSayWhichSizeFits(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", typ(ir.Float32, "?", "?"))
	r := m.Main.New(nil, ir.Op("Relu"), []*ir.Value{x}).Result(0)
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("MatMul"), []*ir.Value{r, m.Main.Const(ir.TensorOf(make([]float32, 77*3), 77, 3))}).Result(0), nil)
	img := m.Main.AddInput("img", nil)
	w := m.Main.Const(ir.TensorOf(make([]float32, 4*3*9), 4, 3, 3, 3))
	m.Main.AddOutput("z", m.Main.New(nil, ir.Op("Conv"), []*ir.Value{img, w}).Result(0), nil)
	in := generate(t, m, GenerateOptions{}, nil)[0].Inputs
	assert.Equal(t, int64(77), shapeOf(in["x"])[1])
	assert.Equal(t, []int64{1, 3, 64, 64}, shapeOf(in["img"]))
}

func TestScalarsTakeTheConstantsTheyAreComparedWith(t *testing.T) {
	m := ir.NewModel(8, 17)
	sr := m.Main.AddInput("sr", typ(ir.Int64))
	c := m.Main.New(nil, ir.Op("Equal"), []*ir.Value{sr, m.Main.Const(ir.ScalarOf(int64(16000)))}).Result(0)
	m.Main.AddOutput("y", c, nil)
	x := m.Main.AddInput("x", typ(ir.Float32, "L"))
	m.Main.AddOutput("z", x, nil)
	var got []string
	for _, s := range generate(t, m, GenerateOptions{}, nil) {
		got = append(got, fmt.Sprint(ints(t, s.Inputs["sr"])[0], shapeOf(s.Inputs["x"])))
	}
	assert.Equal(t, []string{"16000 [8]", "16000 [5]", "8000 [8]"}, got)
}

func TestOtherKindsOfInput(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	g.AddInput("s", typ(ir.String, 3))
	g.AddInput("b", typ(ir.Bool, 100))
	g.AddInput("seq", ir.SequenceOf(typ(ir.Float32, 2, "N")))
	g.AddInput("opt", ir.OptionalOf(typ(ir.Int8, 100)))
	g.AddInput("map", ir.MapOf(ir.Int64, typ(ir.Float32)))
	g.AddInput("h", typ(ir.Float16, 3))
	g.AddInput("c", typ(ir.Complex64, 3))
	g.AddInput("i4", typ(ir.Int4, 3))
	g.AddInput("f8", typ(ir.Float8E4M3FN, 3))
	g.AddInput("unknown", nil)
	g.AddInput("with default", typ(ir.Float32, 1)).SetDefault(f32(1))
	shape := g.AddInput("shape", typ(ir.Int64, 3))
	g.AddOutput("y", g.New(nil, ir.Op("Reshape"), []*ir.Value{g.Const(f32(1)), shape}).Result(0), nil)
	sets := generate(t, m, GenerateOptions{}, nil)
	in := sets[0].Inputs
	assert.Len(t, in, 11)
	for _, s := range g.Inputs() {
		if d := in[s.Name()]; d != nil {
			_, ok := s.Type().Merge(d.Type())
			assert.True(t, ok || s.Type().Kind == ir.KindSequence, "%s: %s", s.Name(), d.Type())
		}
	}
	assert.Len(t, in["seq"].(*ir.Sequence).Items, 2)
	assert.Equal(t, []float64{1, 1, -1}, ints(t, in["shape"]))
	assert.Contains(t, ints(t, in["b"]), 1.0)
	assert.Less(t, slices.Min(ints(t, in["opt"].(*ir.Optional).Item)), -50.0)
}

// A model that takes only rank 3 gets it, and nothing is offered twice.
func TestUnknownRanksAreTried(t *testing.T) {
	m := ir.NewModel(8, 17)
	m.Main.AddOutput("y", m.Main.AddInput("x", ir.TensorType(ir.Float32, nil)), nil)
	sets := generate(t, m, GenerateOptions{}, func(in map[string]ir.Datum) bool { return len(shapeOf(in["x"])) == 3 })
	require.Len(t, sets, 2)
	seen := map[string]bool{}
	g := NewGenerator(m, GenerateOptions{})
	for s := range g.Sets(context.Background()) {
		assert.False(t, seen[s.Label], s.Label)
		seen[s.Label] = true
		g.Refused(errMissing)
	}
}

var errMissing = errors.New("refused")

func TestGeneratedInputsDependOnTheSeedOnly(t *testing.T) {
	m := ir.NewModel(8, 17)
	m.Main.AddOutput("y", m.Main.AddInput("x", typ(ir.Float32, "N", 3)), nil)
	a, b, c := Inputs(m, 1, GenerateOptions{}), Inputs(m, 1, GenerateOptions{}), Inputs(m, 2, GenerateOptions{})
	require.Len(t, a, 2)
	for i := range a {
		assert.True(t, Datum(a[i]["x"], b[i]["x"]).Same())
		assert.False(t, Datum(a[i]["x"], c[i]["x"]).Same())
	}
}

func TestInputsLargerThanTheBudgetAreNotMade(t *testing.T) {
	m := ir.NewModel(8, 17)
	m.Main.AddOutput("y", m.Main.AddInput("x", typ(ir.Float32, 1<<40, 1<<40)), nil)
	assert.Empty(t, generate(t, m, GenerateOptions{}, nil))

	deep := typ(ir.Float32, 1)
	for range 60 { // two items at each level
		deep = ir.SequenceOf(deep)
	}
	m = ir.NewModel(8, 17)
	m.Main.AddOutput("y", m.Main.AddInput("x", deep), nil)
	assert.Empty(t, generate(t, m, GenerateOptions{Memory: 1 << 20}, nil))
}

// TestOddTranspose: any number but zero transposes.
func TestOddTranspose(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N"), ir.Symbol("M")}))
	w := m.Main.Const(ir.TensorOf(make([]float32, 15), 5, 3))
	n := m.Main.New(nil, ir.Op("Gemm"), []*ir.Value{x, w}, ir.IntAttr("transB", 2))
	m.Main.AddOutput("y", n.Result(0), nil)
	sets := generate(t, m, GenerateOptions{}, nil)
	require.Equal(t, int64(3), sets[0].Inputs["x"].(*ir.Tensor).Shape()[1])
}
