package relayout_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/surgery/relayout"
)

// random makes a model of operators that are moved over and of some that are not.
func random(r *rand.Rand) *ir.Model {
	m := ir.NewModel(8, 17)
	g := m.Main
	dims := func(v *ir.Value) []int64 {
		s, _ := infer.Model(m).Shape(v).Ints()
		return s
	}
	perms := [][]int64{{0, 2, 3, 1}, {0, 3, 1, 2}, {0, 1, 3, 2}}
	values := []*ir.Value{
		g.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(1, 2, 3, 4))),
		g.AddInput("z", ir.TensorType(ir.Float32, ir.StaticShape(1, 2, 3, 4))),
	}
	add := func(op string, in []*ir.Value, attrs ...*ir.Attr) {
		values = append(values, g.New(nil, ir.Op(op), in, attrs...).Result(0))
	}
	for range 3 + r.IntN(12) {
		v := values[r.IntN(len(values))]
		d := dims(v)
		axis := int64(r.IntN(4))
		switch r.IntN(12) {
		case 0, 1:
			add("Relu", []*ir.Value{v})
		case 2:
			shape := []int64{d[2], d[3]}
			if r.IntN(2) == 0 {
				shape = []int64{d[1], 1, 1}
			}
			e := make([]float32, ir.NumElements(shape))
			for i := range e {
				e[i] = float32(r.IntN(9))
			}
			add([]string{"Add", "Mul", "Sub"}[r.IntN(3)], []*ir.Value{g.Const(ir.TensorOf(e, shape...)), v})
		case 3, 4, 5:
			add("Transpose", []*ir.Value{v}, ir.IntsAttr("perm", perms[r.IntN(3)]))
		case 6:
			add("Concat", []*ir.Value{v, v}, ir.IntAttr("axis", axis-4))
		case 7:
			p := make([]int64, 8)
			p[r.IntN(8)] = 1
			add("Pad", []*ir.Value{v, g.Const(ir.TensorOf(p))})
		case 8:
			add("ReduceMax", []*ir.Value{v}, ir.IntsAttr("axes", []int64{axis}))
		case 9:
			one := func(n int64) *ir.Value { return g.Const(ir.TensorOf([]int64{n})) }
			add("Slice", []*ir.Value{v, one(0), one(max(1, d[axis]-1)), one(axis)})
		case 10:
			for _, w := range values {
				if w != v && fmt.Sprint(dims(w)) == fmt.Sprint(d) {
					add("Sub", []*ir.Value{v, w})
					break
				}
			}
		case 11:
			add("Einsum", []*ir.Value{v}, ir.StringAttr("equation", "abcd->abcd")) // keeps its order of axes
		}
	}
	g.AddOutput("y", values[len(values)-1], ir.TensorType(ir.Float32, ir.StaticShape(dims(values[len(values)-1])...)))
	w := values[r.IntN(len(values))]
	g.AddOutput("w", w, ir.TensorType(ir.Float32, ir.StaticShape(dims(w)...)))
	return m
}

func transposes(m *ir.Model) int {
	n := 0
	for k := range m.Nodes() {
		if k.Is("Transpose") {
			n++
		}
	}
	return n
}

// TestRandom holds random models to the original on transposed data, bit for bit, and to no more Transposes than one a relaid input or
// output would cost.
func TestRandom(t *testing.T) {
	reg, err := passes.NewRegistry(relayout.Pass)
	require.NoError(t, err)
	fewer := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		m := random(r)
		options, slots := "", 0
		for _, name := range []string{"x", "z", "y", "w"} {
			if k := r.IntN(4); k < 3 {
				options += name + "=" + []string{"nhwc", "nchw", "[0,1,3,2]"}[k] + " "
				slots++
			}
		}
		var b bytes.Buffer
		require.NoError(t, text.Print(&b, m, text.Options{}))
		what := fmt.Sprintf("seed %d, %s\n%s", seed, options, b.String())
		p, err := reg.Parse("relayout{" + options + "}")
		require.NoError(t, err)
		c := m.Clone()
		report, err := p.Run(context.Background(), c, passes.Config{})
		require.NoError(t, err, what)
		require.NoError(t, ir.Verify(c), what)
		require.NoError(t, ops.Verify(c), what)
		rel, err := compare.Relate(m, c, report.Border)
		require.NoError(t, err, what)
		v, err := compare.Models(context.Background(), native.New(), rel.Original, c, nil, compare.Options{
			Relation: rel, Tolerance: func(string) compare.Tolerance { return compare.Tolerance{Exact: true} },
		})
		require.NoError(t, err, what)
		require.Equal(t, compare.Verified, v.State, "%s\n%s", v, what)
		require.LessOrEqual(t, transposes(c), transposes(m)+slots, what)
		if transposes(c) < transposes(m) {
			fewer++
		}
	}
	require.Greater(t, fewer, 10) // most random models have nothing that cancels
}
