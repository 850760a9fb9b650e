package coupling_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// model reads a text in which inputs whose names begin with w are weights: constants with random elements.
func model(t testing.TB, src string) *ir.Model {
	t.Helper()
	if !strings.HasPrefix(strings.TrimSpace(src), "<") {
		src = `<ir_version: 8, opset_import: ["" : 17]>` + "\n" + src
	}
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	for i := len(m.Main.Inputs()) - 1; i >= 0; i-- {
		v := m.Main.Inputs()[i].Value()
		if !strings.HasPrefix(v.Name(), "w") {
			continue
		}
		shape, ok := v.Type().TensorShape().Ints()
		require.True(t, ok)
		h := fnv.New64a()
		h.Write([]byte(v.Name()))
		rng := rand.New(rand.NewPCG(h.Sum64(), 1))
		e := make([]float32, ir.NumElements(shape))
		for k := range e {
			e[k] = float32(rng.NormFloat64()) * 0.5
		}
		c := m.Main.NamedConst(v.Name(), ir.TensorOf(e, shape...))
		if strings.HasPrefix(v.Name(), "wq") {
			q := make([]int8, len(e))
			for k := range q {
				q[k] = int8(rng.IntN(200) - 100)
			}
			m.Main.EraseConst(c)
			c = m.Main.NamedConst(v.Name(), ir.TensorOf(q, shape...))
		}
		if strings.HasPrefix(v.Name(), "wpos") {
			for k := range e {
				e[k] = max(e[k], -e[k]) + 0.1
			}
			m.Main.EraseConst(c)
			c = m.Main.NamedConst(v.Name(), ir.TensorOf(e, shape...))
		}
		v.ReplaceUses(c)
		m.Main.RemoveInput(i)
	}
	require.NoError(t, ir.Verify(m))
	return m
}

// silenced is m with the units' terms left out of all sums: the data of each contraction is multiplied with a mask.
func silenced(t testing.TB, m *ir.Model, pick func([]*coupling.Family) []*coupling.Unit) *ir.Model {
	m = m.Clone()
	g := coupling.New(m, infer.Model(m))
	sel := g.Select(pick(g.Families()))
	var edits []func()
	for i := range g.Contractions {
		c := &g.Contractions[i]
		for d, role := range c.Roles {
			if role == coupling.In && g.OperandAxis(c, d) != nil {
				edits = append(edits, silence(t, m, c, d, sel))
			}
		}
	}
	for _, e := range edits {
		e()
	}
	return m
}

// silence leaves out the terms of dimension d of the weights.
func silence(t testing.TB, m *ir.Model, c *coupling.Contraction, d int, sel *coupling.Selection) func() {
	if c.Data < 0 {
		keep := sel.KeptOperand(c.Node, c.Operand, d)
		if keep == nil {
			return func() {}
		}
		w := c.Node.Operand(c.Operand).Const()
		e, err := ir.Elements[float32](w)
		require.NoError(t, err)
		require.Equal(t, len(c.Roles)-1, d)
		e = slices.Clone(e)
		for k := range e {
			if !slices.Contains(keep, k%int(w.Shape()[d])) {
				e[k] = 0
			}
		}
		return func() { c.Node.SetOperand(c.Operand, m.Main.Const(ir.TensorOf(e, w.Shape()...))) }
	}
	at := c.DataDim[d]
	keep := sel.KeptOperand(c.Node, c.Data, at)
	if keep == nil {
		return func() {}
	}
	shape := make([]int64, len(sel.Shape(c.Node, c.Data)))
	for k := range shape {
		shape[k] = 1
	}
	shape[at] = int64(sel.Shape(c.Node, c.Data)[at])
	mask := make([]float32, shape[at])
	for _, k := range keep {
		mask[k] = 1
	}
	return func() {
		y := m.Main.New(c.Node, ir.Op("Mul"), []*ir.Value{c.Node.Operand(c.Data), m.Main.Const(ir.TensorOf(mask, shape...))})
		c.Node.SetOperand(c.Data, y.Result(0))
	}
}

func outputs(t testing.TB, m *ir.Model, in map[string]ir.Datum) map[string]ir.Datum {
	t.Helper()
	s, err := native.Portable().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	require.NoError(t, err)
	return out
}

// holds removes what pick chooses, and compares with the silenced model.
func holds(t testing.TB, m *ir.Model, in map[string]ir.Datum, tol float64, pick func([]*coupling.Family) []*coupling.Unit) {
	t.Helper()
	want := outputs(t, silenced(t, m, pick), in)
	less := m.Clone()
	g := coupling.New(less, infer.Model(less))
	require.NoError(t, g.Remove(pick(g.Families())))
	require.NoError(t, ir.Verify(less))
	require.NoError(t, ops.Verify(less))
	for _, r := range infer.Model(less).Remarks() {
		require.Less(t, r.Severity, infer.Error, r.String())
	}
	got := outputs(t, less, in)
	for name, w := range want {
		d := compare.Datum(w, got[name])
		require.Empty(t, d.Unlike, name)
		require.LessOrEqual(t, d.Rel, tol, "%s: %s", name, d)
	}
}

// nets are networks of many kinds. families is what is expected: units × elements of the axis that the family is known by.
var nets = []struct {
	name, src string
	families  []string // "axis: units", of families in order
}{
	{"chain", `main (float[1,3,6,6] x, float[8,3,3,3] w1, float[8] w2, float[4,8,1,1] w3) => (float[1,4,4,4] y) {
		a = Conv (x, w1, w2)
		b = Relu (a)
		y = Conv (b, w3)
	}`, []string{"8x1"}},
	{"residual", `main (float[1,3,6,6] x, float[8,3,1,1] w1, float[8,8,3,3] w2, float[8] wpos1, float[8] w4, float[8] w5, float[8] wpos2, float[8,8,1,1] w6, float[5,8,1,1] w7) => (float[1,5,6,6] y) {
		s = Conv (x, w1)
		a = Conv <pads=[1,1,1,1]> (s, w2)
		b = BatchNormalization (a, wpos1, w4, w5, wpos2)
		c = Relu (b)
		d = Conv (c, w6)
		e = Add (s, d)
		y = Conv (e, w7)
	}`, []string{"8x1", "8x1"}},
	{"inverted residual", `main (float[N,4,H,W] x, float[4,4,1,1] w0, float[12,4,1,1] w1, float[12,1,3,3] w2, float[4,12,1,1] w3, float[3,12,1,1] ws1, float[12,3,1,1] ws2, float[2,4,1,1] w4) => (float[N,2,H,W] y) {
		x0 = Conv (x, w0)
		a = Conv (x0, w1)
		a6 = HardSwish (a)
		b = Conv <group = 12, pads = [1,1,1,1]> (a6, w2)
		p = GlobalAveragePool (b)
		q = Conv (p, ws1)
		r = Relu (q)
		s = Conv (r, ws2)
		g = HardSigmoid (s)
		m = Mul (b, g)
		c = Conv (m, w3)
		d = Add (x0, c)
		y = Conv (d, w4)
	}`, []string{"12x1", "4x1", "3x1"}},
	{"concat", `main (float[1,3,6,6] x, float[4,3,1,1] w1, float[6,3,1,1] w2, float[10] wpos1, float[10] w4, float[10] w5, float[10] wpos2, float[5,10,1,1] w6, float[2,11,1,1] w7) => (float[1,2,6,6] y) {
		a = Conv (x, w1)
		b = Conv (x, w2)
		c = Concat <axis = 1> (a, b)
		d = BatchNormalization (c, wpos1, w4, w5, wpos2)
		e = Relu (d)
		f = Conv (e, w6)
		g = Concat <axis = 1> (f, b)
		y = Conv (g, w7)
	}`, []string{"4x1", "6x1", "5x1"}},
	{"groups", `main (float[1,3,6,6] x, float[12,3,1,1] w1, float[18,4,3,3] w2, float[5,18,1,1] w3) => (float[1,5,6,6] y) {
		a = Conv (x, w1)
		b = Conv <group = 3, pads = [1,1,1,1]> (a, w2)
		r = Relu (b)
		y = Conv (r, w3)
	}`, []string{"3x6", "4x3", "6x3"}},
	{"channel shuffle", `main (float[1,3,6,6] x, float[8,3,1,1] w1, float[8,1,3,3] w2, float[8,4,1,1] w3, float[2,8,1,1] w4) => (float[1,2,6,6] y) {
		a = Conv (x, w1)
		s1 = Constant <value = int64[5] {1,2,4,6,6}> ()
		b = Reshape (a, s1)
		c = Transpose <perm = [0,2,1,3,4]> (b)
		s2 = Constant <value = int64[4] {0,-1,6,6}> ()
		d = Reshape (c, s2)
		e = Conv <group = 8, pads = [1,1,1,1]> (d, w2)
		f = Conv <group = 2> (e, w3)
		g = Relu (f)
		y = Conv (g, w4)
	}`, nil},
	{"shuffle by Gather", `main (float[1,3,6,6] x, float[8,3,1,1] w1, float[8,1,3,3] w2, float[2,8,1,1] w4) => (float[1,2,6,6] y) {
		a = Conv (x, w1)
		i = Constant <value = int64[8] {0,4,1,5,2,6,3,7}> ()
		d = Gather <axis = 1> (a, i)
		e = Conv <group = 8, pads = [1,1,1,1]> (d, w2)
		y = Conv (e, w4)
	}`, []string{"8x1"}},
	{"split and slice", `main (float[1,3,6,6] x, float[8,3,1,1] w1, float[4,4,1,1] w2, float[3,8,1,1] w3, float[3,2,1,1] w4) => (float[1,3,6,6] y) {
		a = Conv (x, w1)
		l, r = Split <axis = 1> (a)
		b = Conv (l, w2)
		c = Concat <axis = 1> (b, r)
		d = Conv (c, w3)
		st = Constant <value = int64[1] {2}> ()
		en = Constant <value = int64[1] {4}> ()
		ax = Constant <value = int64[1] {1}> ()
		e = Slice (a, st, en, ax)
		f = Conv (e, w4)
		y = Add (d, f)
	}`, nil},
	{"pixel shuffle", `main (float[1,3,6,6] x, float[12,3,3,3] w1, float[2,3,1,1] w2) => (float[1,2,8,8] y) {
		a = Conv (x, w1)
		b = DepthToSpace <blocksize = 2> (a)
		y = Conv (b, w2)
	}`, []string{"3x4"}},
	{"pixel shuffle CRD and back", `main (float[1,3,6,6] x, float[12,3,3,3] w1, float[3,3,1,1] w2, float[2,12,1,1] w3) => (float[1,2,4,4] y) {
		a = Conv (x, w1)
		b = DepthToSpace <blocksize = 2, mode = "CRD"> (a)
		c = Conv (b, w2)
		d = SpaceToDepth <blocksize = 2> (c)
		y = Conv (d, w3)
	}`, []string{"3x4", "3x4"}},
	{"pixel shuffle by Reshape", `main (float[1,3,6,6] x, float[12,3,3,3] w1, float[2,3,1,1] w2) => (float[1,2,8,8] y) {
		a = Conv (x, w1)
		s1 = Constant <value = int64[6] {1,3,2,2,4,4}> ()
		b = Reshape (a, s1)
		c = Transpose <perm = [0,1,4,2,5,3]> (b)
		s2 = Constant <value = int64[4] {1,3,8,8}> ()
		d = Reshape (c, s2)
		y = Conv (d, w2)
	}`, []string{"3x4"}},
	{"flatten", `main (float[N,2,4,4] x, float[6,2,3,3] w1, float[24,7] w2, float[7] w3, float[7,3] w4) => (float[N,3] y) {
		a = Conv (x, w1)
		r = Relu (a)
		f = Flatten (r)
		b = Gemm (f, w2, w3)
		c = Relu (b)
		y = MatMul (c, w4)
	}`, []string{"6x4", "7x1"}},
	{"transposed", `main (float[1,3,4,4] x, float[3,8,2,2] w1, float[8] w2, float[8,2,2,2] w3, float[2,4,1,1] w4) => (float[1,2,11,11] y) {
		a = ConvTranspose <strides = [2,2]> (x, w1, w2)
		b = Relu (a)
		c = ConvTranspose <group = 2, pads = [0,0,0,0]> (b, w3)
		p = Pad (c, pads)
		z = Conv (p, w4)
		y = Resize (z, , scales)
	}`, nil},
	{"attention", `main (float[B,S,8] x, float[8,12] w1, float[12] w1b, float[8,12] w2, float[8,12] w3, float[12,8] w4, float[8] wpos1, float[8] w5, float[8,20] w6, float[20] w7, float[20,8] w8, float[8,2] w9) => (float[B,S,2] y) {
		q0 = MatMul (x, w1)
		q = Add (q0, w1b)
		k = MatMul (x, w2)
		v = MatMul (x, w3)
		hs = Constant <value = int64[4] {0,0,3,4}> ()
		qh = Reshape (q, hs)
		kh = Reshape (k, hs)
		vh = Reshape (v, hs)
		qt = Transpose <perm = [0,2,1,3]> (qh)
		kt = Transpose <perm = [0,2,3,1]> (kh)
		vt = Transpose <perm = [0,2,1,3]> (vh)
		s = MatMul (qt, kt)
		half = Constant <value = float {0.5}> ()
		sc = Mul (s, half)
		p = Softmax <axis = -1> (sc)
		o = MatMul (p, vt)
		ot = Transpose <perm = [0,2,1,3]> (o)
		os = Constant <value = int64[3] {0,0,12}> ()
		oc = Reshape (ot, os)
		d = MatMul (oc, w4)
		e = Add (d, x)
		n = LayerNormalization (e, wpos1, w5)
		f = MatMul (n, w6)
		fb = Add (f, w7)
		g = Erf (fb)
		h = MatMul (g, w8)
		i = Add (h, n)
		y = MatMul (i, w9)
	}`, []string{"3x4", "4x3", "4x3", "20x1"}},
	{"qkv in one", `main (float[2,5,8] x, float[8,36] w1, float[36] w2, float[12,8] w3) => (float[2,5,8] y) {
		a = MatMul (x, w1)
		b = Add (a, w2)
		s1 = Constant <value = int64[5] {2,5,3,3,4}> ()
		c = Reshape (b, s1)
		d = Transpose <perm = [2,0,3,1,4]> (c)
		i0 = Constant <value = int64 {0}> ()
		i1 = Constant <value = int64 {1}> ()
		i2 = Constant <value = int64 {2}> ()
		q = Gather (d, i0)
		k = Gather (d, i1)
		v = Gather (d, i2)
		kt = Transpose <perm = [0,1,3,2]> (k)
		sc = MatMul (q, kt)
		p = Softmax (sc)
		o = MatMul (p, v)
		ot = Transpose <perm = [0,2,1,3]> (o)
		s2 = Constant <value = int64[3] {2,5,-1}> ()
		oc = Reshape (ot, s2)
		y = MatMul (oc, w3)
	}`, []string{"3x12", "4x9"}},
	{"quantize twins", `main (float[1,3,6,6] x, float[8,3,3,3] w1, float[8] w2, int8[4,8,1,1] wq3, float[4] wpos3, int8[4] wq4) => (float[1,4,4,4] y) {
		sx = Constant <value = float {0.1}> ()
		zx = Constant <value = int8 {3}> ()
		a = Conv (x, w1, w2)
		qa = QuantizeLinear (a, sx, zx)
		da = DequantizeLinear (qa, sx, zx)
		dw = DequantizeLinear <axis = 0> (wq3, wpos3, wq4)
		y = Conv (da, dw)
	}`, []string{"8x1"}},
	{"quantized per channel", `main (float[1,3,6,6] x, int8[8,3,3,3] wq1, float[8] wpos1, int8[8] wq2, float[4,8,1,1] w3) => (float[1,4,4,4] y) {
		dw = DequantizeLinear <axis = 0> (wq1, wpos1, wq2)
		a = Conv (x, dw)
		y = Conv (a, w3)
	}`, []string{"8x1"}},
	{"gru", `main (float[5,2,3] x, float[1,18,3] w1, float[1,18,6] w2, float[1,36] w3, float[1,1,6] wx, float[6,4] w4) => (float[5,1,2,4] y) {
		h = GRU <hidden_size = 6, linear_before_reset = 1> (x, w1, w2, w3)
		y = MatMul (h, w4)
	}`, []string{"6x6"}},
	{"lstm both ways", `main (float[5,2,3] x, float[2,24,3] w1, float[2,24,6] w2, float[2,48] w3, float[2,2,6] w5, float[2,2,6] w6, float[2,18] w7, float[12,4] w4, float[1,16,4] w8, float[1,16,4] w9, float[4,2] w10) => (float[5,1,2,2] y) {
		h, hn, cn = LSTM <hidden_size = 6, direction = "bidirectional"> (x, w1, w2, w3, , w5, w6, w7)
		t = Transpose <perm = [0,2,1,3]> (h)
		s = Constant <value = int64[3] {5,2,12}> ()
		r = Reshape (t, s)
		m = MatMul (r, w4)
		z = LSTM <hidden_size = 4> (m, w8, w9)
		y = MatMul (z, w10)
	}`, []string{"6x8", "4x4", "4x1"}},
	{"einsum", `main (float[2,5,6] x, float[3,4,6] w1, float[3,4,7] w2) => (float[2,5,7] y) {
		a = Einsum <equation = "bsd,hed->bshe"> (x, w1)
		b = Relu (a)
		y = Einsum <equation = "bshe,heo->bso"> (b, w2)
	}`, []string{"3x1", "4x1"}},
	{"channels last", `main (float[1,6,6,3] x, float[8,3,1,1] w1, float[8] w2, float[8,5] w3, float[5,2] w4) => (float[1,12,12,2] y) {
		a = Transpose <perm = [0,3,1,2]> (x)
		b = Conv (a, w1)
		c = Transpose <perm = [0,2,3,1]> (b)
		d = Add (c, w2)
		sz = Constant <value = int64[4] {1,12,12,8}> ()
		r = Resize <mode = "nearest"> (d, , , sz)
		e = MatMul (r, w3)
		f = Relu (e)
		y = MatMul (f, w4)
	}`, []string{"8x1", "5x1"}},
	{"mean over channels", `main (float[1,3,4,4] x, float[8,3,1,1] w1, float[2,8,1,1] w2) => (float[1,2,4,4] y, float[1,1,4,4] z) {
		a = Conv (x, w1)
		z = ReduceMean <axes = [1]> (a)
		y = Conv (a, w2)
	}`, []string{}},
	{"shared constants", `main (float[1,3,4,4] x, float[8,3,1,1] w1, float[8] wb, float[8,8,1,1] w2, float[2,8,1,1] w3) => (float[1,2,4,4] y) {
		a = Conv (x, w1, wb)
		b = Relu (a)
		c = Conv (b, w2, wb)
		d = Conv (c, w2)
		e = Relu (d)
		y = Conv (e, w3)
	}`, []string{"8x1", "8x1", "8x1"}},
	{"one hidden channel", `main (float[1,3,4,4] x, float[1,3,1,1] w1, float[2,1,1,1] w3) => (float[1,2,4,4] y) {
		a = Conv (x, w1)
		y = Conv (a, w3)
	}`, []string{}},
	{"norms", `main (float[1,3,4,4] x, float[8,3,1,1] w1, float[8] w2, float[8] w3, float[8,1,1] w4, float[2,8,1,1] w5) => (float[1,2,4,4] y) {
		a = Conv (x, w1)
		b = InstanceNormalization (a, w2, w3)
		c = PRelu (b, w4)
		d = ReduceMax <axes = [2,3], keepdims = 1> (c)
		e = Mul (c, d)
		f = Softmax <axis = 3> (e)
		y = Conv (f, w5)
	}`, []string{"8x1"}},
	{"heads that meet a barrier", `main (float[2,5,8] x, float[8,12] w1, float[12,3] w3) => (float[2,5,3] y) {
		a = MatMul (x, w1)
		s = Constant <value = int64[4] {2,5,3,4}> ()
		b = Reshape (a, s)
		c = Softmax <axis = -1> (b)
		s2 = Constant <value = int64[3] {2,5,12}> ()
		d = Reshape (c, s2)
		y = MatMul (d, w3)
	}`, []string{"3x4"}},
}

func parse(t testing.TB, name, src string) *ir.Model {
	if name == "transposed" {
		src = strings.Replace(src, "{\n", `{
		pads = Constant <value = int64[8] {0,0,1,1,0,0,1,1}> ()
		scales = Constant <value = float[4] {1.0,1.0,1.0,1.0}> ()
`, 1)
	}
	return model(t, src)
}

func describe(fs []*coupling.Family) []string {
	r := []string{}
	for _, f := range fs {
		most := 0
		for _, s := range f.Units[0].Slices {
			if s.Value != nil || s.Const() != nil {
				most = max(most, len(s.Elements))
			}
		}
		r = append(r, fmt.Sprintf("%dx%d", len(f.Units), most))
	}
	return r
}

func TestNets(t *testing.T) {
	for _, n := range nets {
		t.Run(n.name, func(t *testing.T) {
			m := parse(t, n.name, n.src)
			require.NoError(t, ops.Verify(m))
			fs := coupling.New(m, infer.Model(m)).Families()
			t.Log(describe(fs))
			random(t, m, 12, 1e-5)
		})
	}
}

// random removes units at random: one, or several of several families.
func random(t testing.TB, m *ir.Model, rounds int, tol float64) {
	t.Helper()
	in := compare.Inputs(m, 7, compare.GenerateOptions{})
	require.NotEmpty(t, in)
	fs := coupling.New(m, infer.Model(m)).Families()
	if len(fs) == 0 {
		return
	}
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(uint64(seed), 3))
		type choice struct{ family, unit int }
		var chosen []choice
		for range 1 + seed%3 {
			f := rng.IntN(len(fs))
			for range 1 + rng.IntN(max(1, len(fs[f].Units)-1)) {
				chosen = append(chosen, choice{f, rng.IntN(len(fs[f].Units))})
			}
		}
		pick := func(fs []*coupling.Family) (r []*coupling.Unit) {
			for _, c := range chosen {
				r = append(r, fs[c.family].Units[c.unit])
			}
			return r
		}
		probe := m.Clone()
		g := coupling.New(probe, infer.Model(probe))
		if g.Remove(pick(g.Families())) != nil {
			chosen = chosen[:1]
		}
		holds(t, m, in[0], tol, pick)
	}
}

func TestFamilies(t *testing.T) {
	for _, n := range nets {
		if n.families == nil {
			continue
		}
		t.Run(n.name, func(t *testing.T) {
			m := parse(t, n.name, n.src)
			require.ElementsMatch(t, n.families, describe(coupling.New(m, infer.Model(m)).Families()))
		})
	}
}

func TestSharedModels(t *testing.T) {
	files, err := filepath.Glob("../../../../shared/models/*.onnx")
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("left out: removing units of the real models, which are in ../shared/models")
	}
	for _, p := range files {
		t.Run(filepath.Base(p), func(t *testing.T) {
			f, err := onnxio.Open(p, onnxio.Options{})
			require.NoError(t, err)
			defer f.Close()
			g := coupling.New(f.Model, infer.Model(f.Model))
			fs := g.Families()
			t.Log(describe(fs))
			for _, f := range fs {
				var a []string
				for _, x := range f.Axes() {
					a = append(a, x.String())
				}
				t.Log(len(f.Units), a)
			}
			for i := range g.Contractions {
				c := &g.Contractions[i]
				for d, r := range c.Roles {
					if a := g.OperandAxis(c, d); r == coupling.Out && a != nil && g.Why(a) != "" {
						t.Log(coupling.NodeLabel(c.Node), c.Operand, d, g.Why(a))
					}
				}
			}
		})
	}
}
