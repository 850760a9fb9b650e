package decompose

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// formCase is a layer whose weights have a low rank of some kind, so that the decomposition must give the same numbers.
type formCase struct {
	name   string
	kind   kind
	op     string
	x      []int64
	groups int
	size   size
	window []int64 // kernel_shape; nil for products
	rank   rank
	attrs  []*ir.Attr
	bias   bool
	ops    []string // what it becomes
}

func ints(name string, v ...int64) *ir.Attr { return ir.IntsAttr(name, v) }

var formCases = []formCase{
	{"1x1", svd, "Conv", []int64{1, 32, 8, 8}, 1, size{32, 1, 1, 32}, []int64{1, 1}, rank{8, 0}, nil, true, []string{"Conv", "Conv"}},
	{"strided 1x1 without bias", svd, "Conv", []int64{2, 32, 8, 8}, 1, size{32, 1, 1, 48}, []int64{1, 1}, rank{8, 0}, []*ir.Attr{ints("strides", 2, 2)}, false, []string{"Conv", "Conv"}},
	{"3x3 svd", svd, "Conv", []int64{1, 16, 9, 9}, 1, size{16, 3, 3, 32}, []int64{3, 3}, rank{8, 0}, []*ir.Attr{ints("strides", 2, 1), ints("pads", 1, 0, 1, 2), ints("dilations", 1, 2)}, true, []string{"Conv", "Conv"}},
	{"1-D svd", svd, "Conv", []int64{1, 16, 20}, 1, size{16, 1, 5, 32}, []int64{5}, rank{8, 0}, []*ir.Attr{ints("pads", 2, 2)}, true, []string{"Conv", "Conv"}},
	{"3-D svd", svd, "Conv", []int64{1, 8, 4, 5, 6}, 1, size{8, 1, 12, 32}, []int64{2, 2, 3}, rank{8, 0}, []*ir.Attr{ints("pads", 1, 0, 1, 0, 1, 1)}, true, []string{"Conv", "Conv"}},
	{"grouped svd", svd, "Conv", []int64{1, 32, 8, 8}, 2, size{16, 3, 3, 16}, []int64{3, 3}, rank{4, 0}, []*ir.Attr{ir.IntAttr("group", 2), ints("pads", 1, 1, 1, 1)}, true, []string{"Conv", "Conv"}},
	{"gemm", svd, "Gemm", []int64{12, 64}, 1, size{64, 1, 1, 48}, nil, rank{8, 0}, []*ir.Attr{ir.FloatAttr("beta", 0.5)}, true, []string{"MatMul", "Gemm"}},
	{"gemm transposed", svd, "Gemm", []int64{12, 64}, 1, size{64, 1, 1, 48}, nil, rank{8, 0}, []*ir.Attr{ir.IntAttr("transB", 1), ir.FloatAttr("alpha", 2)}, true, []string{"MatMul", "Gemm"}},
	{"matmul", svd, "MatMul", []int64{2, 7, 64}, 1, size{64, 1, 1, 64}, nil, rank{8, 0}, nil, false, []string{"MatMul", "MatMul"}},
	{"transposed", svd, "ConvTranspose", []int64{1, 64, 6, 6}, 1, size{64, 1, 1, 16 * 9}, []int64{3, 3}, rank{8, 0}, []*ir.Attr{ints("strides", 2, 2), ints("pads", 1, 1, 0, 0), ints("output_padding", 1, 0)}, true, []string{"Conv", "ConvTranspose"}},
	{"transposed apart", svd, "ConvTranspose", []int64{1, 64, 6, 6}, 1, size{64, 1, 1, 16 * 4}, []int64{2, 2}, rank{8, 0}, []*ir.Attr{ints("strides", 2, 2)}, true, []string{"Conv", "ConvTranspose"}},
	{"spatial", spatialSVD, "Conv", []int64{1, 16, 9, 11}, 1, size{16, 3, 3, 16}, []int64{3, 3}, rank{8, 0}, []*ir.Attr{ints("strides", 2, 1), ints("pads", 1, 0, 1, 2), ints("dilations", 1, 2)}, true, []string{"Conv", "Conv"}},
	{"spatial same", spatialSVD, "Conv", []int64{1, 16, 9, 11}, 1, size{16, 5, 3, 16}, []int64{5, 3}, rank{8, 0}, []*ir.Attr{ints("strides", 2, 2), ir.StringAttr("auto_pad", "SAME_LOWER")}, false, []string{"Conv", "Conv"}},
	{"spatial grouped", spatialSVD, "Conv", []int64{2, 32, 9, 9}, 2, size{16, 3, 3, 16}, []int64{3, 3}, rank{8, 0}, []*ir.Attr{ir.IntAttr("group", 2), ints("pads", 1, 1, 1, 1)}, true, []string{"Conv", "Conv"}},
	{"tucker", tucker, "Conv", []int64{1, 32, 9, 9}, 1, size{32, 3, 3, 32}, []int64{3, 3}, rank{8, 8}, []*ir.Attr{ints("strides", 2, 1), ints("pads", 1, 0, 1, 2)}, true, []string{"Conv", "Conv", "Conv"}},
	{"tucker 1-D grouped", tucker, "Conv", []int64{1, 64, 19}, 2, size{32, 1, 5, 32}, []int64{5}, rank{8, 8}, []*ir.Attr{ir.IntAttr("group", 2), ints("strides", 2)}, true, []string{"Conv", "Conv", "Conv"}},
	{"cp", cp, "Conv", []int64{1, 16, 9, 11}, 1, size{16, 3, 3, 16}, []int64{3, 3}, rank{3, 0}, []*ir.Attr{ints("strides", 2, 1), ints("pads", 1, 0, 1, 2), ints("dilations", 1, 2)}, true, []string{"Conv", "Conv", "Conv", "Conv"}},
	{"cp same", cp, "Conv", []int64{1, 32, 9, 9}, 2, size{16, 3, 5, 16}, []int64{3, 5}, rank{3, 0}, []*ir.Attr{ir.IntAttr("group", 2), ir.StringAttr("auto_pad", "SAME_UPPER")}, false, []string{"Conv", "Conv", "Conv", "Conv"}},
}

// model is Relu, the layer, Relu, with weights made of random factors, which it also returns.
func (f *formCase) model(rng *rand.Rand) (*ir.Model, []*factors) {
	m := ir.NewModel(8, 17)
	m.Main = m.NewGraph("g")
	shape := make(ir.Shape, len(f.x))
	for i, d := range f.x {
		shape[i] = ir.Static(d)
	}
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, shape))
	g := m.Main
	outs := f.groups * f.size.o
	var data []float32
	var dims []int64
	var fs []*factors
	for range f.groups {
		fs = append(fs, f.random(rng))
		w := fs[len(fs)-1].expand()
		if f.op == "Conv" || // outputs first
			f.op == "Gemm" && len(f.attrs) > 1 {
			w = w.T()
		}
		for _, v := range w.Data {
			data = append(data, float32(v))
		}
	}
	switch {
	case f.op == "Conv":
		dims = append([]int64{int64(outs), int64(f.size.c)}, f.window...)
	case f.op == "ConvTranspose":
		outs /= int(ir.NumElements(f.window))
		dims = append([]int64{int64(f.size.c), int64(outs)}, f.window...)
	case f.op == "Gemm" && len(f.attrs) > 1:
		dims = []int64{int64(f.size.o), int64(f.size.c)}
	default:
		dims = []int64{int64(f.size.c), int64(f.size.o)}
	}
	in := []*ir.Value{g.New(nil, ir.Op("Relu"), []*ir.Value{x}).Result(0), g.NamedConst("w", ir.TensorOf(data, dims...))}
	if f.bias {
		b := make([]float32, outs)
		for i := range b {
			b[i] = float32(rng.NormFloat64())
		}
		in = append(in, g.NamedConst("b", ir.TensorOf(b, int64(outs))))
	}
	y := g.New(nil, ir.Op(f.op), in, f.attrs...).Result(0)
	z := g.New(nil, ir.Op("Relu"), []*ir.Value{y}).Result(0)
	g.AddOutput("y", y, ir.TensorType(ir.Float32, nil))
	g.AddOutput("z", z, ir.TensorType(ir.Float32, nil))
	return m, fs
}

// random are factors of independent normal numbers.
func (f *formCase) random(rng *rand.Rand) *factors {
	g := func(r, c int) matrix { return linalg.Gaussian[float64](rng, r, c) }
	s, r := f.size, f.rank
	q := &factors{kind: f.kind, size: s, rank: r}
	switch f.kind {
	case svd:
		q.f = []matrix{g(s.columns(), r.r), g(r.r, s.o)}
	case spatialSVD:
		q.f = []matrix{g(s.c*s.h, r.r), g(r.r, s.w*s.o)}
	case tucker:
		q.f = []matrix{g(s.c, r.r), g(r.r, s.h*s.w*r.p), g(r.p, s.o)}
	default:
		q.f = []matrix{g(s.c, r.r), g(s.h, r.r), g(s.w, r.r), g(s.o, r.r)}
	}
	return q
}

func (f *formCase) samples(rng *rand.Rand, n int) []map[string]ir.Datum {
	var r []map[string]ir.Datum
	for range n {
		v := make([]float32, ir.NumElements(f.x))
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		r = append(r, map[string]ir.Datum{"x": ir.TensorOf(v, f.x...)})
	}
	return r
}

// apply runs a pipeline of this pass, with data or without.
func apply(t *testing.T, m *ir.Model, pipeline string, data *measured.Calibration) (remarks, notes []string, err error) {
	t.Helper()
	r, err := passes.NewRegistry(Pass)
	require.NoError(t, err)
	p, err := r.Parse(pipeline)
	require.NoError(t, err)
	cfg := passes.Config{Remarks: func(r passes.Remark) {
		if !r.Applied {
			remarks = append(remarks, r.Rule+": "+r.Why)
		}
	}}
	if data != nil {
		cfg.Data = map[passes.Data]any{"": data}
	}
	cfg.Notes = func(_, text string) { notes = append(notes, text) }
	_, err = p.Run(context.Background(), m, cfg)
	if err == nil {
		require.NoError(t, ir.Verify(m))
		require.NoError(t, ops.Verify(m))
	}
	return remarks, notes, err
}

func outputs(t *testing.T, m *ir.Model, in map[string]ir.Datum) map[string]ir.Datum {
	t.Helper()
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	out, err := s.Run(context.Background(), in)
	require.NoError(t, err)
	return out
}

func TestFormsKeepTheNumbers(t *testing.T) {
	for _, f := range formCases {
		for _, with := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s data=%v", f.name, with), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(3, 5))
				m, _ := f.model(rng)
				before := m.Clone()
				samples := f.samples(rng, 24)
				var data *measured.Calibration
				tol := 1e-4
				if with {
					data = measured.New(measured.Fixed(samples...), native.New(), 2)
					tol = 2e-3 // the ridge, and CP's end
				}
				if f.kind == cp {
					tol = 0.05 // alternating least squares ends before the last digit
				}
				remarks, _, err := apply(t, m, fmt.Sprintf("decompose{method=%s rank=%d prepare=false round-to=1 max-drift=0 cost=macs}", f.kind, f.rank.r), data)
				require.NoError(t, err)
				var made []string
				for n := range m.Main.Nodes() {
					if !n.Is("Relu") {
						made = append(made, n.Op().Type)
					}
				}
				require.Equal(t, f.ops, made, "%v", remarks)
				a, b := outputs(t, before, samples[0]), outputs(t, m, samples[0])
				for name := range a {
					d := compare.Datum(a[name], b[name])
					require.Empty(t, d.Unlike)
					require.Less(t, d.Rel, tol, name)
				}
			})
		}
	}
}

// TestPlace: the nodes compute what the factors stand for, to the last digits, whatever found the factors.
func TestPlace(t *testing.T) {
	for _, f := range formCases {
		t.Run(f.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(4, 5))
			m, fs := f.model(rng)
			in := f.samples(rng, 1)[0]
			a := outputs(t, m, in)
			n := m.Main.NodeList()[1]
			types := infer.Model(m).Type
			l, err := newLayer(n, m.Clone().Main.NodeList()[1], types, nil)
			require.NoError(t, err)
			for g := range fs {
				// The layer's own weights carry the alpha of a Gemm.
				if f.op == "Gemm" {
					scale := float64(n.Float("alpha", 1))
					for i := range fs[g].f[1].Data {
						fs[g].f[1].Data[i] *= scale
					}
				}
			}
			ts, err := l.tensors(l.parts(fs))
			require.NoError(t, err)
			l.place(fs, ts)
			require.NoError(t, ir.Verify(m))
			require.NoError(t, ops.Verify(m))
			b := outputs(t, m, in)
			for name := range a {
				d := compare.Datum(a[name], b[name])
				require.Empty(t, d.Unlike)
				require.Less(t, d.Rel, 2e-5, name)
			}
		})
	}
}

// TestAdjoint: ⟨expand(D), R⟩ = ⟨D, adjoint(R)⟩ for each factor, and the last one solved for exactly gives the weights back.
func TestAdjoint(t *testing.T) {
	for _, f := range formCases {
		rng := rand.New(rand.NewPCG(6, 7))
		q := f.random(rng)
		r := linalg.Gaussian[float64](rng, f.size.columns(), f.size.o)
		for k := range q.f {
			d := linalg.Gaussian[float64](rng, q.f[k].Rows, q.f[k].Cols)
			p := *q
			p.f = append([]matrix(nil), q.f...)
			p.f[k] = d
			left, right := dot(p.expand().Data, r.Data), dot(d.Data, q.adjoint(k, r).Data)
			require.InEpsilon(t, left, right, 1e-9, "%s factor %d", f.name, k)
		}
		want := q.expand()
		x := linalg.Gaussian[float64](rng, 2*f.size.columns(), f.size.columns())
		p := &problem{h: linalg.Gram(x, nil), channels: f.size.c}
		p.g = p.weigh(want).Clone()
		require.NoError(t, p.solve())
		q.f[len(q.f)-1] = linalg.New[float64](q.f[len(q.f)-1].Rows, q.f[len(q.f)-1].Cols)
		require.NoError(t, p.last(q))
		require.Less(t, p.excess(q.expand()), 1e-8*p.power(), f.name)
	}
}
