package infer_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestAgainstRuns runs real models with two sizes of each open dimension and holds what was inferred of every value of the main graph to what
// was computed: types, sizes and the elements of small tensors of integers, each expression evaluated at the sizes of the run.
func TestAgainstRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: runs of real models; run without it")
	}
	compared := 0
	sharedModels(t, func(name string, m *ir.Model) {
		for i, in := range m.Main.Inputs() { // every open dimension gets a name
			typ := in.Type()
			s := make(ir.Shape, len(typ.TensorShape()))
			for k, d := range typ.TensorShape() {
				if s[k] = d; !d.IsStatic() && (d.Param == "" || d.Param == "?") {
					s[k] = ir.Symbol(fmt.Sprintf("D%d_%d", i, k))
				}
			}
			if typ.TensorShape() != nil {
				in.SetType(ir.TensorType(typ.DType(), s))
			}
		}
		compared += againstRuns(t, name, m, 3)
	})
	t.Logf("%d sizes and elements compared that are expressions", compared)
	require.Greater(t, compared, 5000)
}

// againstRuns does that for one model and at most that many sets of inputs.
func againstRuns(t *testing.T, name string, m *ir.Model, sets int) (compared int) {
	r := infer.Model(m)
	var taps []*ir.Value
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				taps = append(taps, v)
			}
		}
	}
	ctx := context.Background()
	s, err := native.New().Load(ctx, m, engine.Options{Taps: taps})
	if err != nil {
		t.Logf("%s: %v", name, err)
		return 0
	}
	defer s.Close()
	g := compare.NewGenerator(m, compare.GenerateOptions{Seed: 1, Memory: 1 << 20})
	for set, err := range g.Sets(ctx) {
		require.NoError(t, err, name)
		_, values, err := s.RunTaps(ctx, set.Inputs)
		if err != nil {
			if !g.Refused(err) {
				break
			}
			continue
		}
		sizes := map[string]int64{}
		for _, in := range m.Main.Inputs() {
			if x, ok := set.Inputs[in.Name()].(*ir.Tensor); ok {
				for k, d := range in.Type().TensorShape() {
					if d.Param != "" {
						sizes[d.Param] = x.Shape()[k]
					}
				}
			}
		}
		for i, v := range taps {
			if x, ok := values[i].(*ir.Tensor); ok {
				compared += holds(t, name, r, v, x, sizes)
			} else if values[i] != nil {
				assert.Empty(t, disagree(r.Type(v), values[i].Type()), "%s: %s", name, v.Name())
			}
		}
		if sets--; sets == 0 {
			break
		}
	}
	return compared
}

// holds checks what r says of v against the tensor that a run computed, and returns the number of expressions that were compared.
func holds(t *testing.T, name string, r *infer.Result, v *ir.Value, x *ir.Tensor, sizes map[string]int64) (compared int) {
	if why := disagree(r.Type(v), x.Type()); why != "" {
		t.Errorf("%s: %s is %s, inferred %s: %s", name, v.Node(), x.Type(), r.Type(v), why)
		return 0
	}
	check := func(what string, i int, e infer.Int, want int64) {
		got, ok := e.Eval(sizes)
		if !ok {
			return
		}
		if _, number := e.Const(); !number {
			compared++
		}
		if got != want {
			t.Errorf("%s: %s: %s %d is %d, inferred %s under %v", name, v.Node(), what, i, want, e, sizes)
		}
	}
	if dims, ok := r.Dims(v); ok {
		for i, d := range dims {
			check("dimension", i, d, x.Shape()[i])
		}
	}
	if ints, ok := r.Ints(v); ok && (x.DType() == ir.Int64 || x.DType() == ir.Int32) {
		for i, e := range ints {
			want, err := integerAt(x, i)
			require.NoError(t, err)
			check("element", i, e, want)
		}
	}
	return compared
}

func integerAt(x *ir.Tensor, i int) (int64, error) {
	if x.DType() == ir.Int32 {
		v, err := ir.Elements[int32](x)
		if err != nil {
			return 0, err
		}
		return int64(v[i]), nil
	}
	v, err := ir.Elements[int64](x)
	if err != nil {
		return 0, err
	}
	return v[i], nil
}

// TestAgainstRunsOfTests does the same with the conformance tests, whose inputs are made anew with the sizes of their dimensions open where the
// model takes others.
func TestAgainstRunsOfTests(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: runs of the conformance tests; run without it")
	}
	compared, runs := 0, 0
	nodeTests(t, func(name string, files map[string][]byte) {
		m := read(t, name, files["model.onnx"])
		sizes := map[string]int64{}
		inputs := map[string]ir.Datum{}
		for i, in := range m.Main.Inputs() {
			b := files[fmt.Sprintf("test_data_set_0/input_%d.pb", i)]
			if b == nil {
				return
			}
			d, _, err := onnxio.ReadDatum(b, in.Type())
			require.NoError(t, err, name)
			inputs[in.Name()] = d
			if x, ok := d.(*ir.Tensor); ok {
				s := make(ir.Shape, x.Rank())
				for k, n := range x.Shape() {
					s[k] = ir.Symbol(fmt.Sprintf("D%d_%d", i, k))
					sizes[s[k].Param] = n
				}
				in.SetType(ir.TensorType(x.DType(), s))
			}
		}
		var taps []*ir.Value
		for n := range m.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
					if n.Graph() == m.Main {
						taps = append(taps, v)
					}
				}
			}
		}
		s, err := native.New().Load(context.Background(), m, engine.Options{Taps: taps})
		if err != nil {
			return
		}
		defer s.Close()
		_, values, err := s.RunTaps(context.Background(), inputs)
		if err != nil {
			return
		}
		runs++
		r := infer.Model(m)
		for i, v := range taps {
			if x, ok := values[i].(*ir.Tensor); ok {
				compared += holds(t, name, r, v, x, sizes)
			}
		}
	})
	t.Logf("%d runs, %d sizes and elements compared that are expressions", runs, compared)
	require.Greater(t, runs, 1500)
	require.Greater(t, compared, 10000)
}
