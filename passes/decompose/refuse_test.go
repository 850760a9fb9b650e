package decompose

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// layerModel is a model of one node over x with the given weights.
func layerModel(op string, x ir.Shape, w *ir.Tensor, attrs ...*ir.Attr) *ir.Model {
	m := ir.NewModel(8, 17)
	m.Main = m.NewGraph("g")
	in := m.Main.AddInput("x", ir.TensorType(ir.Float32, x))
	y := m.Main.New(nil, ir.Op(op), []*ir.Value{in, m.Main.NamedConst("w", w)}, attrs...).Result(0)
	m.Main.AddOutput("y", y, ir.TensorType(ir.Float32, nil))
	return m
}

func noise32(seed uint64, shape ...int64) *ir.Tensor {
	r := rand.New(rand.NewPCG(seed, 2))
	v := make([]float32, ir.NumElements(shape))
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return ir.TensorOf(v, shape...)
}

func static(d ...int64) (s ir.Shape) {
	for _, n := range d {
		s = append(s, ir.Static(n))
	}
	return s
}

const plainRank = "decompose{method=svd rank=8 prepare=false cost=macs}"

// TestNearMisses: layers that look like those that are decomposed, and why they are not.
func TestNearMisses(t *testing.T) {
	nan := noise32(1, 64, 64)
	v, err := ir.Elements[float32](nan)
	require.NoError(t, err)
	bad := append([]float32(nil), v...)
	bad[7] = float32(math.NaN())
	pads := ir.IntsAttr("pads", []int64{1, 1, 1, 1})
	for name, c := range map[string]struct {
		m        *ir.Model
		pipeline string
		why      string
	}{
		"depthwise":          {layerModel("Conv", static(1, 32, 8, 8), noise32(1, 32, 1, 3, 3), pads, ir.IntAttr("group", 32)), plainRank, "it is depthwise"},
		"nan":                {layerModel("MatMul", static(4, 64), ir.TensorOf(bad, 64, 64)), plainRank, "its weights hold NaN or an infinity"},
		"rank above maximum": {layerModel("MatMul", static(4, 64), noise32(1, 64, 64)), "decompose{method=svd rank=65 prepare=false}", "rank 65 is above the largest, 64"},
		"rank saves nothing": {layerModel("MatMul", static(4, 64), noise32(1, 64, 64)), "decompose{method=svd rank=40 prepare=false}", "no rank saves operations"},
		"a column":           {layerModel("MatMul", static(4, 64), noise32(1, 64, 1)), plainRank, "its weights are 64 by 1"},
		"three dimensions":   {layerModel("MatMul", static(4, 64), noise32(1, 2, 64, 64)), plainRank, "its weights have 3 dimensions"},
		"transposed input":   {layerModel("Gemm", static(64, 4), noise32(1, 64, 64), ir.IntAttr("transA", 1)), plainRank, "its input is transposed"},
		"1x1 is no window":   {layerModel("Conv", static(1, 64, 8, 8), noise32(1, 64, 64, 1, 1)), "decompose{method=spatial-svd rank=8 prepare=false}", "spatial-svd is for convolutions with a window of two dimensions"},
		"line is no window":  {layerModel("Conv", static(1, 64, 8, 8), noise32(1, 64, 64, 1, 5)), "decompose{method=cp rank=8 prepare=false}", "cp is for convolutions with a window of two dimensions"},
		"product":            {layerModel("MatMul", static(4, 64), noise32(1, 64, 64)), "decompose{method=tucker rank=8 prepare=false}", "tucker is for convolutions with a window"},
		"groups":             {layerModel("ConvTranspose", static(1, 64, 8, 8), noise32(1, 64, 16, 3, 3), ir.IntAttr("group", 2)), plainRank, "it is a ConvTranspose with groups"},
		"slower":             {layerModel("MatMul", static(1, 24), noise32(1, 24, 24)), "decompose{method=svd rank=8 prepare=false}", "it would take longer on the target (as modelled) at every rank that saves operations"},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.m.String()
			remarks, notes, err := apply(t, c.m, c.pipeline, nil)
			require.NoError(t, err)
			require.Contains(t, strings.Join(remarks, "\n"), "decompose: "+c.why)
			require.Contains(t, strings.Join(notes, "\n"), "no layer can be decomposed: of 1 layers, 1 because "+c.why)
			require.Equal(t, before, c.m.String())
		})
	}
}

func TestComputedWeights(t *testing.T) {
	m := ir.NewModel(8, 17)
	m.Main = m.NewGraph("g")
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, static(4, 64)))
	w := m.Main.AddInput("w", ir.TensorType(ir.Float32, static(64, 64)))
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("MatMul"), []*ir.Value{x, w}).Result(0), nil)
	remarks, _, err := apply(t, m, plainRank, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"decompose: its weights are computed"}, remarks)
}

// TestSharedWeights: two layers with one constant, one of which is excepted and keeps it.
func TestSharedWeights(t *testing.T) {
	m := layerModel("MatMul", static(4, 64), noise32(1, 64, 64))
	first := m.Main.NodeList()[0]
	second := m.Main.New(nil, ir.Op("MatMul"), []*ir.Value{first.Result(0), first.Operand(1)})
	first.SetName("first")
	second.SetName("second")
	m.Main.AddOutput("z", second.Result(0), nil)
	_, _, err := apply(t, m, "decompose{method=svd rank=8 prepare=false cost=macs except=[first]}", nil)
	require.NoError(t, err)
	require.False(t, first.Dead())
	require.True(t, second.Dead())
	require.Len(t, m.Main.NodeList(), 3)
	require.EqualValues(t, 64, first.Operand(1).Const().Shape()[1])
}

// TestQuantizedWeights: what DequantizeLinear makes of constants is decomposed as floats.
func TestQuantizedWeights(t *testing.T) {
	m := ir.NewModel(8, 17)
	m.Main = m.NewGraph("g")
	g := m.Main
	x := g.AddInput("x", ir.TensorType(ir.Float32, static(4, 64)))
	q := make([]int8, 64*64)
	for i := range q {
		q[i] = int8(i*37%255 - 127)
	}
	d := g.New(nil, ir.Op("DequantizeLinear"), []*ir.Value{g.NamedConst("q", ir.TensorOf(q, 64, 64)), g.NamedConst("s", ir.ScalarOf(float32(0.01)))})
	g.AddOutput("y", g.New(nil, ir.Op("MatMul"), []*ir.Value{x, d.Result(0)}).Result(0), nil)
	_, _, err := apply(t, m, plainRank, nil)
	require.NoError(t, err)
	ns := m.Main.NodeList()
	require.Len(t, ns, 2)
	require.True(t, ns[0].Is("MatMul") && ns[1].Is("MatMul"))
}

// TestOpenSizes: neither the batch nor the picture has a known size; the output of the layer is one of the model's.
func TestOpenSizes(t *testing.T) {
	shape := ir.Shape{ir.Symbol("n"), ir.Static(32), ir.UnknownDim(), ir.Symbol("w")}
	for _, with := range []bool{false, true} {
		m := layerModel("Conv", shape, noise32(1, 32, 32, 3, 3), ir.IntsAttr("pads", []int64{1, 1, 1, 1}))
		var data *measured.Calibration
		if with {
			var s []map[string]ir.Datum
			for i := range 8 {
				s = append(s, map[string]ir.Datum{"x": noise32(uint64(i), 1, 32, 9, int64(10+i%3))})
			}
			data = measured.New(measured.Fixed(s...), native.New(), 2)
		}
		_, notes, err := apply(t, m, "decompose{method=spatial-svd macs=0.5 max-drift=0 prepare=false cost=macs}", data)
		require.NoError(t, err)
		require.Len(t, m.Main.NodeList(), 2, "%v", notes)
		require.Equal(t, "y", m.Main.Outputs()[0].Name())
	}
}

// TestDriftRefuses: noise of full rank under an output that tells its classes apart.
func TestDriftRefuses(t *testing.T) {
	m := layerModel("MatMul", static(1, 64), noise32(1, 64, 64))
	var s []map[string]ir.Datum
	for i := range 200 {
		s = append(s, map[string]ir.Datum{"x": noise32(uint64(i+5), 1, 64)})
	}
	data := measured.New(measured.Fixed(s...), native.New(), 2)
	remarks, notes, err := apply(t, m.Clone(), "decompose{macs=0.3 max-drift=0.01 prepare=false cost=macs}", data)
	require.NoError(t, err)
	require.Contains(t, strings.Join(remarks, "\n"), "alone it would move the outputs by")
	require.Contains(t, strings.Join(notes, "\n"), "the budget is not met")
}

// TestDriftOfAllRefuses: two layers of noise, each of which would do alone, but not both.
func TestDriftOfAllRefuses(t *testing.T) {
	m := layerModel("MatMul", static(128, 64), noise32(1, 64, 64))
	first := m.Main.NodeList()[0]
	m.Main.RemoveOutput(0)
	tanh := m.Main.New(nil, ir.Op("Tanh"), []*ir.Value{first.Result(0)}).Result(0)
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("MatMul"), []*ir.Value{tanh, m.Main.NamedConst("v", noise32(2, 64, 64))}).Result(0), nil)
	var s []map[string]ir.Datum
	for i := range 40 {
		s = append(s, map[string]ir.Datum{"x": noise32(uint64(i+5), 128, 64)})
	}
	data := measured.New(measured.Fixed(s...), native.New(), 2)
	found := false
	for drift := 0.5; drift < 100 && !found; drift *= 1.2 {
		n := m.Clone()
		remarks, notes, err := apply(t, n, "decompose{macs=0.6 max-drift="+strconv.FormatFloat(drift, 'g', 4, 64)+" prepare=false cost=macs}", data)
		require.NoError(t, err)
		if found = strings.Contains(strings.Join(remarks, "\n"), "with the others it would move the outputs by"); found {
			require.Contains(t, strings.Join(notes, "\n"), "the budget is not met")
			require.Less(t, n.Main.NumNodes(), 5)
		}
	}
	require.True(t, found)
}

func TestOptions(t *testing.T) {
	m := layerModel("MatMul", static(4, 64), noise32(1, 64, 64))
	for text, why := range map[string]string{
		"decompose{macs=1.5}":            "macs=1.5 is not between 0 and 1",
		"decompose{energy=-1}":           "energy=-1 is not between 0 and 1",
		"decompose{macs=0.5 rank=4}":     "exclude each other",
		"decompose{round-to=0}":          "round-to=0 is not at least 1",
		"decompose{max-drift=-1 rank=4}": "max-drift=-1 is negative",
	} {
		_, _, err := apply(t, m, strings.Replace(text, "{", "{prepare=false ", 1), nil)
		require.ErrorContains(t, err, why, text)
	}
	r, err := passes.NewRegistry(Pass)
	require.NoError(t, err)
	for _, text := range []string{"decompose{rank=0}", "decompose{rank=x}", "decompose{method=qr}"} {
		_, err := r.Parse(text)
		require.Error(t, err, text)
	}
	for _, text := range []string{"decompose{rank=vbmf}", "decompose{rank=12}", "decompose{energy=0.9}"} {
		p, err := r.Parse(text)
		require.NoError(t, err)
		require.Equal(t, text, p.String())
		_, _, err = apply(t, m.Clone(), strings.Replace(text, "{", "{prepare=false ", 1), nil)
		require.NoError(t, err)
	}
}
