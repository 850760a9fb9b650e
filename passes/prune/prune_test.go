package prune_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/analysis/measured/measuredtest"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/prune"
)

func TestPass(t *testing.T) { passtest.Run(t, prune.Pass, passtest.Data(measuredtest.Generated(8))) }

// net is a small residual network over images whose channels are partly repeated, so that some can go without loss: conv, block of two
// convolutions, and a classifier.
func net(seed uint64) *ir.Model {
	rng := rand.New(rand.NewPCG(seed, 9))
	m := ir.NewModel(10, 17)
	g := m.Main
	constant := func(scale float64, shape ...int64) *ir.Value {
		e := make([]float32, ir.NumElements(shape))
		for i := range e {
			e[i] = float32(rng.NormFloat64() * scale)
		}
		return g.Const(ir.TensorOf(e, shape...))
	}
	op := func(typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
		return g.New(nil, ir.Op(typ), in, attrs...).Result(0)
	}
	same := ir.IntsAttr("pads", []int64{1, 1, 1, 1})
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(1, 3, 8, 8)))
	a := op("Relu", []*ir.Value{op("Conv", []*ir.Value{x, constant(0.3, 16, 3, 3, 3), constant(0.1, 16)}, same)})
	b := op("Relu", []*ir.Value{op("Conv", []*ir.Value{a, constant(0.1, 32, 16, 3, 3), constant(0.1, 32)}, same)})
	c := op("Conv", []*ir.Value{b, constant(0.1, 16, 32, 3, 3), constant(0.1, 16)}, same)
	r := op("Relu", []*ir.Value{op("Add", []*ir.Value{a, c})})
	p := op("Flatten", []*ir.Value{op("GlobalAveragePool", []*ir.Value{r})})
	y := op("Softmax", []*ir.Value{op("Gemm", []*ir.Value{p, constant(1, 16, 5), constant(0.1, 5)})})
	g.AddOutput("y", y, ir.TensorType(ir.Float32, ir.StaticShape(1, 5)))
	return m
}

// images are samples for net.
func images(n int) []map[string]ir.Datum {
	rng := rand.New(rand.NewPCG(5, 6))
	var r []map[string]ir.Datum
	for range n {
		e := make([]float32, 3*8*8)
		base := rng.NormFloat64()
		for i := range e {
			e[i] = float32(base + rng.NormFloat64())
		}
		r = append(r, map[string]ir.Datum{"x": ir.TensorOf(e, 1, 3, 8, 8)})
	}
	return r
}

func apply(t *testing.T, m *ir.Model, pipeline string, data []map[string]ir.Datum) (note string, err error) {
	t.Helper()
	reg, err := passes.NewRegistry(prune.Pass)
	require.NoError(t, err)
	p, err := reg.Parse(pipeline)
	require.NoError(t, err)
	cfg := passes.Config{Notes: func(_, text string) { note += text }}
	if data != nil {
		cfg.Data = map[passes.Data]any{"": measured.New(measured.Fixed(data...), native.New(), 2)}
	}
	_, err = p.Run(context.Background(), m, cfg)
	return note, err
}

// apart is the mean Kullback-Leibler divergence of b's classes from a's.
func apart(t *testing.T, a, b *ir.Model, data []map[string]ir.Datum) float64 {
	t.Helper()
	d, err := measured.New(measured.Fixed(data...), native.New(), 1).Divergence(context.Background(), a, b)
	require.NoError(t, err)
	require.Zero(t, d.Lost)
	return d.KL
}

// TestRepair holds that what is left fits the original better after the repair, on data that it was not fitted on, and that the budget is kept.
func TestRepair(t *testing.T) {
	all := images(120)
	data, fresh := all[:80], all[80:]
	for _, how := range []string{"macs=0.6", "macs=0.6 scope=layer", "ratio=0.3", "sparsity=0.6", "pattern=2:4", "sparsity=0.6 scope=global"} {
		t.Run(how, func(t *testing.T) {
			m := net(1)
			with, without := m.Clone(), m.Clone()
			note, err := apply(t, with, "prune{"+how+" prepare=false}", data)
			require.NoError(t, err)
			require.Contains(t, note, "fitted again")
			require.NoError(t, ir.Verify(with))
			require.NoError(t, ops.Verify(with))
			_, err = apply(t, without, "prune{"+how+" prepare=false repair=false}", data)
			require.NoError(t, err)
			require.Less(t, apart(t, m, with, fresh), 1.0)
			if with.Main.NumNodes() == without.Main.NumNodes() && apart(t, m, without, fresh) > 0.02 {
				require.Less(t, apart(t, m, with, fresh), apart(t, m, without, fresh))
			}
		})
	}
}

// TestSparsity counts zeros.
func TestSparsity(t *testing.T) {
	for _, data := range [][]map[string]ir.Datum{nil, images(40)} {
		for _, how := range []string{"sparsity=0.7", "sparsity=0.7 scope=layer", "sparsity=0.3 scope=global", "pattern=2:4"} {
			m := net(2)
			_, err := apply(t, m, "prune{"+how+" prepare=false}", data)
			require.NoError(t, err)
			zeros, total := 0, 0
			for _, v := range m.Main.Consts() {
				c := v.Const()
				if c.Rank() < 2 {
					continue
				}
				e, err := ir.Elements[float32](c)
				require.NoError(t, err)
				if how == "pattern=2:4" && c.Rank() == 4 && c.Shape()[1]%4 != 0 {
					continue
				}
				for i, x := range e {
					total++
					if x == 0 {
						zeros++
					}
					if how == "pattern=2:4" && c.Rank() == 4 {
						k := 0
						ch, at := int(c.Shape()[1]), i/9%int(c.Shape()[1])
						for d := range 4 {
							if e[i+(at/4*4+d-at)*9] != 0 {
								k++
							}
						}
						require.LessOrEqual(t, k, 2)
						require.Zero(t, ch%4)
					}
				}
			}
			want := 0.5
			if s, ok := strings.CutPrefix(how, "sparsity="); ok {
				want, _ = strconv.ParseFloat(strings.Fields(s)[0], 64)
			}
			require.InDelta(t, want, float64(zeros)/float64(total), 0.02, how)
		}
	}
}

// TestQuantizedWeights: what DequantizeLinear makes of constants is pruned as floats, and the report says so.
func TestQuantizedWeights(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 17]>
g (float[1,4] x) => (float[1,4] y) <int8[4,4] q = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float s = {0.5}>
{
   w = DequantizeLinear (q, s)
   y = MatMul (x, w)
}`))
	require.NoError(t, err)
	note, err := apply(t, m, "prune{sparsity=0.5 prepare=false}", nil)
	require.NoError(t, err)
	require.Contains(t, note, "1 quantized weights and biases are floats now")
	require.NoError(t, ops.Verify(m))
	require.Equal(t, 1, m.Main.NumNodes())
	w, err := ir.Elements[float32](m.Main.NodeList()[0].Operand(1).Const())
	require.NoError(t, err)
	require.Equal(t, []float32{0, 0, 0, 0, 0, 0, 0, 0, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8}, w)
}

// TestSharedWeights: layers that share a weight share what is left of it, unless data make them differ, which is said.
func TestSharedWeights(t *testing.T) {
	for _, data := range [][]map[string]ir.Datum{nil, images(40)} {
		m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,3,8,8] y, float[1,3,8,8] z) <float[3,3,1,1] w = {1,-2,3,-4,5,-6,7,-8,9}>
{
   y = Conv (x, w)
   r = Relu (y)
   z = Conv (r, w)
}`))
		require.NoError(t, err)
		original := m.Clone()
		note, err := apply(t, m, "prune{sparsity=0.4 scope=layer prepare=false}", data)
		require.NoError(t, err)
		require.NoError(t, ops.Verify(m))
		require.Equal(t, data != nil, strings.Contains(note, "1 layers shared their weights with others and have their own now"), note)
		if data == nil {
			require.Len(t, m.Main.Consts(), 1)
		}
		for _, n := range m.Main.NodeList() {
			if n.Is("Conv") {
				w, err := ir.Elements[float32](n.Operand(1).Const())
				require.NoError(t, err)
				zeros := 0
				for _, x := range w {
					if x == 0 {
						zeros++
					}
				}
				require.Equal(t, 4, zeros)
			}
		}
		w, err := ir.Elements[float32](original.Main.NodeList()[0].Operand(1).Const())
		require.NoError(t, err)
		require.Equal(t, []float32{1, -2, 3, -4, 5, -6, 7, -8, 9}, w)
	}
}

func TestBadOptions(t *testing.T) {
	for how, want := range map[string]string{
		"":                               "say how much goes",
		"macs=1.5":                       "macs=1.5 is no share",
		"ratio=1":                        "would empty every layer",
		"sparsity=1":                     "would empty every layer",
		"macs=0.5 ratio=0.5":             "macs or ratio, not both",
		"macs=0.5 sparsity=0.5":          "give one kind",
		"sparsity=0.5 pattern=2:4":       "cannot be given with it",
		"macs=0.5 unit=weight":           "not weights",
		"sparsity=0.5 unit=channel":      "not channels",
		"macs=0.5 round-to=0":            "round-to=0",
		"macs=0.5 importance=magnitude":  "for channels l1 or l2",
		"sparsity=0.5 importance=l1":     "for weights magnitude",
		"macs=0.5 scope=lamp":            "for channels global or layer",
		"macs=0.5 importance=obs":        "calibration data",
		"sparsity=0.5 importance=taylor": "calibration data",
		"macs=0.001":                     "cannot be reached",
	} {
		_, err := apply(t, net(3), "prune{"+how+" prepare=false}", nil)
		require.ErrorContains(t, err, want, how)
	}
}

// TestNotFinite: weights that are not finite leave their layers alone.
func TestNotFinite(t *testing.T) {
	m := net(4)
	for _, v := range m.Main.Consts() {
		if c := v.Const(); c.Rank() == 4 && c.Shape()[0] == 32 {
			e, err := ir.Elements[float32](c)
			require.NoError(t, err)
			e = append([]float32{}, e...)
			e[7] = float32(math.NaN())
			v.ReplaceUses(m.Main.Const(ir.TensorOf(e, c.Shape()...)))
		}
	}
	note, err := apply(t, m.Clone(), "prune{sparsity=0.5 prepare=false}", nil)
	require.NoError(t, err)
	require.Contains(t, note, "NaN")
}

// TestNets prunes networks of other kinds, without data and with it: inverted residuals with gates, concatenations, shuffles of channels, groups,
// attention. What comes out is valid and runs, and the budget is kept.
func TestNets(t *testing.T) {
	for name, src := range nets {
		t.Run(name, func(t *testing.T) {
			m, err := text.Parse([]byte("<ir_version: 8, opset_import: [\"\" : 17]>\n" + src))
			require.NoError(t, err)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := len(m.Main.Inputs()) - 1; i > 0; i-- { // all inputs but the first are weights
				v := m.Main.Inputs()[i].Value()
				shape, ok := v.Type().TensorShape().Ints()
				require.True(t, ok)
				e := make([]float32, ir.NumElements(shape))
				for k := range e {
					e[k] = float32(rng.NormFloat64()) * 0.3
				}
				v.ReplaceUses(m.Main.NamedConst(v.Name(), ir.TensorOf(e, shape...)))
				m.Main.RemoveInput(i)
			}
			var data []map[string]ir.Datum
			for seed := range uint64(24) {
				for set, err := range compare.NewGenerator(m, compare.GenerateOptions{Seed: seed}).Sets(context.Background()) {
					require.NoError(t, err)
					data = append(data, set.Inputs)
					break
				}
			}
			for _, d := range [][]map[string]ir.Datum{nil, data} {
				less := m.Clone()
				note, err := apply(t, less, "prune{macs=0.8 round-to=2 prepare=false}", d)
				require.NoError(t, err)
				require.NoError(t, ir.Verify(less))
				require.NoError(t, ops.Verify(less))
				require.Contains(t, note, "of the multiply-accumulates remain")
				v, err := measured.New(measured.Fixed(data...), native.New(), 1).Divergence(context.Background(), m, less)
				require.NoError(t, err)
				require.Zero(t, v.Lost)
			}
		})
	}
}

var nets = map[string]string{
	"inverted residual": `main (float[1,8,6,6] x, float[8,8,1,1] w0, float[32,8,1,1] w1, float[32,1,3,3] w2, float[8,32,1,1] w3, float[8,32,1,1] s1, float[32,8,1,1] s2, float[2,8,1,1] w4) => (float[1,2,6,6] y) {
		x0 = Conv (x, w0)
		a = Conv (x0, w1)
		a6 = HardSwish (a)
		b = Conv <group = 32, pads = [1,1,1,1]> (a6, w2)
		p = GlobalAveragePool (b)
		q = Conv (p, s1)
		r = Relu (q)
		s = Conv (r, s2)
		g = HardSigmoid (s)
		m = Mul (b, g)
		c = Conv (m, w3)
		d = Add (x0, c)
		y = Conv (d, w4)
	}`,
	"dense concatenations": `main (float[1,4,6,6] x, float[8,4,3,3] w1, float[8,8,3,3] w2, float[8,16,3,3] w3, float[4,24,1,1] w4) => (float[1,4,6,6] y) {
		a = Conv <pads = [1,1,1,1]> (x, w1)
		b0 = Relu (a)
		b = Conv <pads = [1,1,1,1]> (b0, w2)
		c0 = Concat <axis = 1> (b0, b)
		c = Conv <pads = [1,1,1,1]> (c0, w3)
		d = Concat <axis = 1> (c0, c)
		y = Conv (d, w4)
	}`,
	"channel shuffle": `main (float[1,4,6,6] x, float[16,4,1,1] w1, float[16,1,3,3] w2, float[16,8,1,1] w3, float[4,16,1,1] w4) => (float[1,4,6,6] y) {
		a = Conv (x, w1)
		s1 = Constant <value = int64[5] {1,2,8,6,6}> ()
		b = Reshape (a, s1)
		c = Transpose <perm = [0,2,1,3,4]> (b)
		s2 = Constant <value = int64[4] {0,-1,6,6}> ()
		d = Reshape (c, s2)
		e = Conv <group = 16, pads = [1,1,1,1]> (d, w2)
		f = Conv <group = 2> (e, w3)
		g = Relu (f)
		y = Conv (g, w4)
	}`,
	"attention": `main (float[1,5,8] x, float[8,16] w1, float[16] w1b, float[8,16] w2, float[8,16] w3, float[16,8] w4, float[8] n1, float[8] n2, float[8,32] w6, float[32] w7, float[32,8] w8) => (float[1,5,8] y) {
		q0 = MatMul (x, w1)
		q = Add (q0, w1b)
		k = MatMul (x, w2)
		v = MatMul (x, w3)
		hs = Constant <value = int64[4] {0,0,4,4}> ()
		qh = Reshape (q, hs)
		kh = Reshape (k, hs)
		vh = Reshape (v, hs)
		qt = Transpose <perm = [0,2,1,3]> (qh)
		kt = Transpose <perm = [0,2,3,1]> (kh)
		vt = Transpose <perm = [0,2,1,3]> (vh)
		s = MatMul (qt, kt)
		p = Softmax <axis = -1> (s)
		o = MatMul (p, vt)
		ot = Transpose <perm = [0,2,1,3]> (o)
		os = Constant <value = int64[3] {0,0,16}> ()
		oc = Reshape (ot, os)
		d = MatMul (oc, w4)
		e = Add (d, x)
		n = LayerNormalization (e, n1, n2)
		f = MatMul (n, w6)
		fb = Add (f, w7)
		g = Relu (fb)
		h = MatMul (g, w8)
		y = Add (h, n)
	}`,
	"recurrent": `main (float[6,1,4] x, float[1,24,4] w1, float[1,24,8] r1, float[1,48] b1, float[8,4] w2) => (float[6,1,1,4] y) {
		h = GRU <hidden_size = 8, linear_before_reset = 1> (x, w1, r1, b1)
		y = MatMul (h, w2)
	}`,
}
