package measured_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/ir"
)

// noise is a tensor of normal numbers.
func noise(r *rand.Rand, shape ...int64) *ir.Tensor {
	v := make([]float32, ir.NumElements(shape))
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return ir.TensorOf(v, shape...)
}

var declared = regexp.MustCompile(`(float\[([\d,]+)\] \w+)([,>])`)

// weighted parses a model whose weights are declared in the list behind its interface, and gives them random elements.
func weighted(t *testing.T, src string, seed uint64) *ir.Model {
	head, rest, _ := strings.Cut(src, "=>")
	interfaceEnd := strings.Index(rest, "<")
	r := rand.New(rand.NewPCG(seed, 1))
	list := declared.ReplaceAllStringFunc(rest[interfaceEnd:], func(d string) string {
		m := declared.FindStringSubmatch(d)
		n := 1
		for _, k := range strings.Split(m[2], ",") {
			v, err := strconv.Atoi(k)
			require.NoError(t, err)
			n *= v
		}
		var v []string
		for range n {
			v = append(v, strconv.FormatFloat(r.NormFloat64(), 'g', 8, 32))
		}
		return m[1] + " = {" + strings.Join(v, ",") + "}" + m[3]
	})
	return parse(t, head+"=>"+rest[:interfaceEnd]+list)
}

func randomSamples(n int, shape ...int64) *measured.Calibration {
	r := rand.New(rand.NewPCG(9, 9))
	var s []map[string]ir.Datum
	for range n {
		s = append(s, map[string]ir.Datum{"x": noise(r, shape...)})
	}
	return measured.New(measured.Fixed(s...), native.New(), 2)
}

// layersOf pairs every layer of the compressed copy with its original.
func layersOf(a, b *ir.Model) (r []measured.RefitLayer) {
	na, nb := a.Main.NodeList(), b.Main.NodeList()
	for i, n := range nb {
		if _, err := measured.LinearOf(n); err == nil {
			r = append(r, measured.RefitLayer{Node: n, Target: na[i].Result(0)})
		}
	}
	return r
}

// models whose layers are linear in what follows: with the right weights of each layer the original's outputs come back.
var refitModels = map[string]struct {
	src   string
	shape []int64
}{
	"conv": {`<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,9,9] x) => (float[1,4,H,W] y) <float[5,3,3,2] w, float[5] b, float[4,5,1,1] v>
{
   c = Conv <strides = [2,1], pads = [1,0,0,1], dilations = [1,2], auto_pad = "NOTSET"> (x, w, b)
   r = Relu (c)
   y = Conv (r, v)
}`, []int64{1, 3, 9, 9}},
	"same": {`<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,6,4,4] y) <float[6,3,3,3] w, float[6] b>
{
   y = Conv <strides = [2,2], auto_pad = "SAME_LOWER"> (x, w, b)
}`, []int64{1, 3, 8, 8}},
	"grouped": {`<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4,8] x) => (float[2,6,8] z) <float[4,1,3] w, float[6,2,1] v, float[6] b>
{
   y = Conv <group = 4, pads = [1,1]> (x, w)
   z = Conv <group = 2> (y, v, b)
}`, []int64{2, 4, 8}},
	"gemm": {`<ir_version: 8, opset_import: ["" : 17]>
g (float[8,5] x) => (float[8,3] z) <float[4,5] w, float[4] b, float[4,3] v, float[1] c>
{
   y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b)
   t = Tanh (y)
   z = Gemm (t, v, c)
}`, []int64{8, 5}},
	"matmul": {`<ir_version: 8, opset_import: ["" : 17]>
g (float[2,7,5] x) => (float[2,7,3] z) <float[5,4] w, float[4] b, float[4,3] v>
{
   p = MatMul (x, w)
   y = Add (b, p)
   t = Tanh (y)
   z = MatMul (t, v)
}`, []int64{2, 7, 5}},
	"transposed": {`<ir_version: 8, opset_import: ["" : 17]>
g (float[1,4,5,3] x) => (float[1,2,10,9] y) <float[4,2,2,3] w, float[2] b>
{
   y = ConvTranspose <strides = [2,3]> (x, w, b)
}`, []int64{1, 4, 5, 3}},
	"residual": {`<ir_version: 8, opset_import: ["" : 17]>
g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] s, float[4,4,3,3] w, float[4,4,3,3] v, float[4] b>
{
   i = Conv (x, s)
   c = Conv <pads = [1,1,1,1]> (x, w, b)
   r = Relu (c)
   d = Conv <pads = [1,1,1,1]> (r, v, b)
   y = Add (i, d)
}`, []int64{1, 4, 6, 6}},
}

func TestRefitRecovers(t *testing.T) {
	for name, m := range refitModels {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			a := weighted(t, m.src, 1)
			b := weighted(t, m.src, 2)
			c := randomSamples(120, m.shape...)
			var applied int
			res, err := measured.Refit(ctx, a, b, layersOf(a, b), c, measured.RefitOptions{Apply: func(_ measured.RefitLayer, edit func()) {
				applied++
				edit()
			}})
			require.NoError(t, err)
			for _, r := range res {
				require.Empty(t, r.Refused)
				require.Greater(t, r.Before, 0.1)
				require.Less(t, r.After, 1e-6)
			}
			require.Equal(t, len(res), applied)
			d, err := c.Divergence(ctx, a, b)
			require.NoError(t, err)
			require.Greater(t, d.SQNR, 50.0)
			require.NoError(t, ir.Verify(b))
		})
	}
}

// TestRefitCompensates: the branch that cannot be repaired is made up for by the other.
func TestRefitCompensates(t *testing.T) {
	ctx := context.Background()
	a := weighted(t, refitModels["residual"].src, 1)
	b := weighted(t, refitModels["residual"].src, 2)
	c := randomSamples(100, 1, 4, 6, 6)
	layers := layersOf(a, b)
	res, err := measured.Refit(ctx, a, b, layers[1:], c, measured.RefitOptions{})
	require.NoError(t, err)
	require.False(t, res[0].Compensated)
	require.True(t, res[1].Compensated)
	with, err := c.Divergence(ctx, a, b)
	require.NoError(t, err)
	require.Greater(t, with.SQNR, 5.0) // the wide window sees the pixel that the shortcut reads
}

func TestRefitKeepsChannels(t *testing.T) {
	ctx := context.Background()
	a := weighted(t, refitModels["same"].src, 1)
	b := weighted(t, `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,2,4,4] y) <float[2,3,3,3] w>
{
   y = Conv <strides = [2,2], auto_pad = "SAME_LOWER"> (x, w)
}`, 2)
	layer := measured.RefitLayer{Node: b.Main.NodeList()[0], Target: a.Main.NodeList()[0].Result(0), Keep: []int{5, 1}}
	c := randomSamples(60, 1, 3, 8, 8)
	res, err := measured.Refit(ctx, a, b, []measured.RefitLayer{layer}, c, measured.RefitOptions{})
	require.NoError(t, err)
	require.Empty(t, res[0].Refused)
	require.Less(t, res[0].After, 1e-6)
	la, err := measured.LinearOf(a.Main.NodeList()[0])
	require.NoError(t, err)
	lb, err := measured.LinearOf(layer.Node)
	require.NoError(t, err)
	wa, err := la.Weights()
	require.NoError(t, err)
	wb, err := lb.Weights()
	require.NoError(t, err)
	for i := range wb[0].Rows {
		require.InDelta(t, wa[0].Row(i)[5], wb[0].Row(i)[0], 1e-3)
		require.InDelta(t, wa[0].Row(i)[1], wb[0].Row(i)[1], 1e-3)
	}
	layer.Keep = []int{5, 6}
	res, err = measured.Refit(ctx, a, b, []measured.RefitLayer{layer}, c, measured.RefitOptions{})
	require.NoError(t, err)
	require.Equal(t, "its target has 6 channels", res[0].Refused)
	layer.Keep = nil
	res, err = measured.Refit(ctx, a, b, []measured.RefitLayer{layer}, c, measured.RefitOptions{})
	require.NoError(t, err)
	require.Equal(t, "its target has 6 channels and not 2", res[0].Refused)
}

func TestRefitKeepsZeros(t *testing.T) {
	a := weighted(t, refitModels["gemm"].src, 1)
	b := weighted(t, refitModels["gemm"].src, 2)
	layers := layersOf(a, b)[:1]
	layers[0].Choose = func(eq []*linalg.LeastSquares, w []linalg.Matrix[float64]) ([][]bool, []linalg.Matrix[float64]) {
		require.Len(t, eq, 1)
		require.Equal(t, int64(48*8), eq[0].Rows) // a fifth of the samples is kept back
		mask := make([]bool, len(w[0].Data))
		for i := range mask {
			mask[i] = i%3 != 0 || i >= 5*4 // the bias stays
			if !mask[i] {
				w[0].Data[i] = 0
			}
		}
		return [][]bool{mask}, nil
	}
	c := randomSamples(60, 8, 5)
	res, err := measured.Refit(context.Background(), a, b, layers, c, measured.RefitOptions{Unguarded: true}) // the other layer is another one altogether
	require.NoError(t, err)
	require.Empty(t, res[0].Refused)
	require.Less(t, res[0].After, res[0].Before)
	w, err := measured.Floats(layers[0].Node.Operand(1).Const())
	require.NoError(t, err)
	for i, v := range w { // [outputs, inputs], for transB
		require.Equal(t, (i%5*4+i/5)%3 == 0, v == 0)
	}
}

func TestRefitRefuses(t *testing.T) {
	ctx := context.Background()
	a := weighted(t, refitModels["gemm"].src, 1)
	b := weighted(t, refitModels["gemm"].src, 2)
	layers := layersOf(a, b)
	res, err := measured.Refit(ctx, a, b, layers, randomSamples(3, 1, 5), measured.RefitOptions{})
	require.NoError(t, err)
	require.Equal(t, "3 rows of data are too few for 6 unknowns", res[0].Refused)
	// Data with NaN.
	nan := measured.New(measured.Fixed(map[string]ir.Datum{"x": ir.TensorOf([]float32{float32(math.NaN()), 1, 2, 3, 4}, 1, 5)}), native.New(), 1)
	res, err = measured.Refit(ctx, a, b, layers, nan, measured.RefitOptions{})
	require.NoError(t, err)
	require.Equal(t, "values on the data are NaN or infinite", res[0].Refused)
	// Weights that are right already gain nothing.
	c := weighted(t, refitModels["gemm"].src, 1)
	res, err = measured.Refit(ctx, a, c, layersOf(a, c)[:1], randomSamples(50, 8, 5), measured.RefitOptions{})
	require.NoError(t, err)
	require.InDelta(t, 0, res[0].Before, 1e-9)
	require.False(t, res[0].Same)
}

// TestRefitLeavesWhatIsSame: layers before the first change keep their weights and are not looked at; those behind it are repaired, with a record
// of the original's values as without.
func TestRefitLeavesWhatIsSame(t *testing.T) {
	ctx := context.Background()
	a := weighted(t, refitModels["residual"].src, 1)
	c := randomSamples(100, 1, 4, 6, 6)
	record, err := c.Record(ctx, a)
	require.NoError(t, err)
	var first []float32
	for _, o := range []measured.RefitOptions{{}, {Record: record}} {
		b := a.Clone()
		r := rand.New(rand.NewPCG(3, 3))
		layers := layersOf(a, b)
		n := layers[1].Node // the first of the branch; the shortcut before it stays, for its sum is made good by the last
		n.SetOperand(1, b.Main.Const(noise(r, 4, 4, 3, 3)))
		res, err := measured.Refit(ctx, a, b, layers, c, o)
		require.NoError(t, err)
		require.Len(t, res, 3)
		require.True(t, res[0].Same)
		require.False(t, res[1].Same)
		require.Less(t, res[1].After, 1e-6)
		same, err := a.Main.NodeList()[0].Operand(1).Const().Bytes()
		require.NoError(t, err)
		kept, err := b.Main.NodeList()[0].Operand(1).Const().Bytes()
		require.NoError(t, err)
		require.Equal(t, same, kept)
		w, err := measured.Floats(n.Operand(1).Const())
		require.NoError(t, err)
		if first == nil {
			first = w
		}
		require.Equal(t, first, w)
	}
}

// TestRefitBehindARectifier: where Relu takes the result, a smaller layer is closer to what comes behind Relu than the plain fit is.
func TestRefitBehindARectifier(t *testing.T) {
	ctx := context.Background()
	const src = `<ir_version: 8, opset_import: ["" : 17]>
g (float[64,3] x) => (float[64,5] y) <float[3,6] u, float[6,5] w, float[5] b>
{
   z = Constant <value_float = 0.0> ()
   m = MatMul (x, u)
   t = Tanh (m)
   p = Gemm (t, w, b)
   y = %s
}`
	loss := map[string]float64{}
	for _, op := range []string{"Relu (p)", "Max (p, z)"} { // the second is the same, and not known as a rectifier
		a := weighted(t, strings.Replace(src, "%s", op, 1), 1)
		b := a.Clone()
		layers := layersOf(a, b)[1:]
		layers[0].Choose = func(_ []*linalg.LeastSquares, w []linalg.Matrix[float64]) ([][]bool, []linalg.Matrix[float64]) {
			mask := make([]bool, len(w[0].Data))
			for i := range mask {
				if mask[i] = i >= 6*5 || i%4 != 0; !mask[i] {
					w[0].Data[i] = 0
				}
			}
			return [][]bool{mask}, nil
		}
		c := randomSamples(60, 64, 3)
		res, err := measured.Refit(ctx, a, b, layers, c, measured.RefitOptions{})
		require.NoError(t, err)
		require.Empty(t, res[0].Refused)
		d, err := c.Divergence(ctx, a, b)
		require.NoError(t, err)
		loss[op] = math.Pow(10, -d.SQNR/10)
	}
	require.Less(t, loss["Relu (p)"], 0.99*loss["Max (p, z)"])
}

func TestRefitSameForAnyThreads(t *testing.T) {
	var first []byte
	for _, threads := range []int{1, 4} {
		a := weighted(t, refitModels["conv"].src, 1)
		b := weighted(t, refitModels["conv"].src, 2)
		c := measured.New(randomSamples(50, 1, 3, 9, 9).Each, native.New(), threads)
		_, err := measured.Refit(context.Background(), a, b, layersOf(a, b), c, measured.RefitOptions{Rows: 900})
		require.NoError(t, err)
		var all []byte
		for _, n := range b.Main.NodeList() {
			if n.Is("Conv") {
				w, err := n.Operand(1).Const().Bytes()
				require.NoError(t, err)
				all = append(all, w...)
			}
		}
		if first == nil {
			first = all
		}
		require.Equal(t, first, all)
	}
}

// TestRefitIsJudgedByTheOutputs: a fit that lowers its layer's error and moves the outputs away is taken back, to the last bit.
func TestRefitIsJudgedByTheOutputs(t *testing.T) {
	ctx := context.Background()
	const src = `<ir_version: 8, opset_import: ["" : 17]>
g (float[8,3] x) => (float[8,1] y) <float[3,2] w, float[2] b, float[2,1] v>
{
   p = Gemm (x, w, b)
   y = MatMul (p, v)
}`
	for _, unguarded := range []bool{false, true} {
		a := weighted(t, src, 1)
		nodes := a.Main.NodeList()
		nodes[1].SetOperand(1, a.Main.Const(ir.TensorOf([]float32{1, 1e-3}, 2, 1))) // the first column is what matters
		b := a.Clone()
		node := b.Main.NodeList()[0]
		l, err := measured.LinearOf(node)
		require.NoError(t, err)
		whole, err := l.Weights()
		require.NoError(t, err)
		without := func(column int, scale float64) []linalg.Matrix[float64] {
			w := []linalg.Matrix[float64]{whole[0].Clone()}
			for i := range w[0].Rows {
				w[0].Row(i)[column] *= scale
			}
			return w
		}
		require.NoError(t, l.SetWeights(without(1, 3))) // now the second is far off
		before := node.Operand(1).Const()
		fit := without(0, 0.5) // this fit errs less, but in the first
		layer := measured.RefitLayer{Node: node, Target: nodes[0].Result(0), Chain: &measured.Chain{
			Input: node.Operand(0), Form: nodes[0], Lambdas: []float64{1}, Now: l.Weights,
			Solve: func([]*linalg.LeastSquares, []linalg.Matrix[float64], float64) ([]linalg.Matrix[float64], func() error, error) {
				return fit, func() error { return l.SetWeights(fit) }, nil
			},
		}}
		res, err := measured.Refit(ctx, a, b, []measured.RefitLayer{layer}, randomSamples(60, 8, 3), measured.RefitOptions{Unguarded: unguarded})
		require.NoError(t, err)
		require.Less(t, res[0].After, res[0].Before)
		if unguarded {
			require.Empty(t, res[0].Refused)
			require.NotSame(t, before, node.Operand(1).Const())
			continue
		}
		require.Equal(t, "the model's outputs on the data kept back are nearer to the original's without it", res[0].Refused)
		require.Same(t, before, node.Operand(1).Const())
		require.NoError(t, ir.Verify(b))
	}
}

// TestRefitSolvesOnAllSamplesInTheEnd: what only samples tell that were kept back is in the weights, and not in those of the model that was judged.
func TestRefitSolvesOnAllSamplesInTheEnd(t *testing.T) {
	const src = `<ir_version: 8, opset_import: ["" : 17]>
g (float[8,3] x) => (float[8,2] r) <float[3,2] w, float[2] b>
{
   y = Gemm (x, w, b)
   r = %s (y)
}`
	for _, behind := range []string{"Tanh", "Relu"} { // Relu: with targets that are set anew
		a, b := weighted(t, fmt.Sprintf(src, behind), 1), weighted(t, fmt.Sprintf(src, behind), 2)
		row := func(m *ir.Model) []float64 {
			l, err := measured.LinearOf(m.Main.NodeList()[0])
			require.NoError(t, err)
			w, err := l.Weights()
			require.NoError(t, err)
			return w[0].Row(2)
		}
		r := rand.New(rand.NewPCG(3, 3))
		var samples []map[string]ir.Datum
		for i := range 25 {
			x := noise(r, 8, 3)
			v, err := ir.Elements[float32](x)
			require.NoError(t, err)
			for k := 2; k < len(v) && i%5 != 4; k += 3 {
				v[k] = 0 // but in every fifth sample, which is kept back
			}
			samples = append(samples, map[string]ir.Datum{"x": ir.TensorOf(v, 8, 3)})
		}
		c := measured.New(measured.Fixed(samples...), native.New(), 1)
		was := append([]float64{}, row(b)...)
		var judged []float64
		res, err := measured.Refit(context.Background(), a, b, layersOf(a, b), c, measured.RefitOptions{Judged: func(m *ir.Model) error {
			judged = row(m)
			return nil
		}})
		require.NoError(t, err)
		require.Empty(t, res[0].Refused)
		require.InDeltaSlice(t, was, judged, 1e-6)
		if behind == "Tanh" {
			require.InDeltaSlice(t, row(a), row(b), 0.15)
		}
		require.Less(t, math.Abs(row(a)[1]-row(b)[1]), 0.8*math.Abs(row(a)[1]-was[1]))
	}
}
