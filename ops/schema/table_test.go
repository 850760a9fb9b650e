package schema

import (
	"math"

	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/require"
)

func TestTableIsFresh(t *testing.T) {
	want, err := exec.Command("go", "run", "../_gen").Output()
	require.NoError(t, err)
	got, err := os.ReadFile("table_gen.go")
	require.NoError(t, err)
	require.True(t, string(want) == string(got), "table_gen.go is stale: run go generate ./ops/schema")
}

// standard is the part of op-schemas.json that the table holds, decoded without the generator's code.
type standard struct {
	Ops []struct {
		Domain, Name    string
		SinceVersion    int64 `json:"since_version"`
		MinInput        int   `json:"min_input"`
		MaxInput        int   `json:"max_input"`
		MinOutput       int   `json:"min_output"`
		MaxOutput       int   `json:"max_output"`
		Inputs, Outputs []struct {
			Name, Option string
			TypeStr      string `json:"type_str"`
			MinArity     int    `json:"min_arity"`
			Homogeneous  *bool
		}
		Attributes []struct {
			Name, Type string
			Required   bool
			Default    any
		}
		TypeConstraints []struct {
			Param string
			Types []string
		} `json:"type_constraints"`
		Deprecated bool
	}
}

// TestTableSaysWhatTheStandardSays compares every entry of the table with the source it was made from.
func TestTableSaysWhatTheStandardSays(t *testing.T) {
	b, err := os.ReadFile("../_gen/op-schemas.json")
	require.NoError(t, err)
	var std standard
	require.NoError(t, json.Unmarshal(b, &std))
	require.Len(t, std.Ops, 659)
	b, err = os.ReadFile("../_gen/contrib-schemas.json")
	require.NoError(t, err)
	var contrib standard
	require.NoError(t, json.Unmarshal(b, &contrib))
	require.Len(t, contrib.Ops, 32)
	std.Ops = append(std.Ops, contrib.Ops...)
	require.Equal(t, 659+32, len(All()))
	names := map[ir.OpID]bool{}
	limit := func(n int) int {
		if n < 0 || n > Unbounded {
			return Unbounded
		}
		return n
	}
	for _, o := range std.Ops {
		op := ir.OpID{Domain: o.Domain, Type: o.Name}
		names[op] = true
		s := Lookup(op, o.SinceVersion)
		require.NotNil(t, s, op)
		require.Equal(t, op, s.Op())
		require.Equal(t, o.SinceVersion, s.Since(), op)
		require.Equal(t, o.Deprecated, s.Deprecated(), op)
		least, most := s.NumInputs()
		require.Equal(t, []int{o.MinInput, limit(o.MaxInput)}, []int{least, most}, op)
		least, most = s.NumOutputs()
		require.Equal(t, []int{o.MinOutput, limit(o.MaxOutput)}, []int{least, most}, op)
		types := func(v string) string {
			for _, c := range o.TypeConstraints {
				if c.Param == v {
					return sorted(c.Types)
				}
			}
			return v
		}
		for k, list := range [][]Param{s.Inputs(), s.Outputs()} {
			want := o.Inputs
			if k == 1 {
				want = o.Outputs
			}
			require.Len(t, list, len(want), op)
			for i, p := range want {
				option := map[string]Option{"": Single, "optional": Optional, "variadic": Variadic}[p.Option]
				require.Equal(t, []any{p.Name, p.TypeStr, option, p.MinArity}, []any{list[i].Name, list[i].Var, list[i].Option, int(list[i].MinArity)}, op)
				require.Equal(t, p.Homogeneous != nil && !*p.Homogeneous, list[i].Mixed, op)
				require.Equal(t, types(p.TypeStr), sorted(strings.Split(strings.ReplaceAll(list[i].Types().String(), "), ", ")\n"), "\n")), "%s %s", op, p.Name)
			}
		}
		require.Len(t, s.Attrs(), len(o.Attributes), op)
		for _, a := range o.Attributes {
			got := s.Attr(a.Name)
			require.NotNil(t, got, "%s %s", op, a.Name)
			require.Equal(t, a.Required, got.Required)
			require.Equal(t, strings.ToLower(a.Type), got.Kind.String(), "%s %s", op, a.Name)
			require.Equal(t, a.Default != nil, got.HasDefault())
			requireDefault(t, a.Default, got)
		}
	}
	require.Len(t, names, 227+32)
}

func sorted(s []string) string {
	s = slices.Clone(s)
	slices.Sort(s)
	return strings.Join(s, "; ")
}

func requireDefault(t *testing.T, want any, got *AttrSpec) {
	switch d := want.(type) {
	case nil:
		require.Nil(t, got.Default())
	case float64:
		if got.Kind == ir.AttrInt {
			require.Equal(t, int64(d), got.Default().Int())
		} else {
			require.Equal(t, math.Float32bits(float32(d)), math.Float32bits(got.Default().Float()))
		}
	case string:
		require.Equal(t, d, got.Default().Str())
	case []any:
		var have []any
		for _, v := range got.Ints() {
			have = append(have, float64(v))
		}
		for _, v := range got.Strs() {
			have = append(have, v)
		}
		require.Equal(t, d, have)
	default:
		t.Fatalf("default %v", want)
	}
}

func TestLookup(t *testing.T) {
	since := func(typ string, opset int64) int64 {
		if s := Lookup(ir.Op(typ), opset); s != nil {
			return s.Since()
		}
		return 0
	}
	require.Equal(t, []int64{0, 1, 1, 11, 22, 22}, []int64{since("Conv", 0), since("Conv", 1), since("Conv", 10), since("Conv", 11), since("Conv", 22), since("Conv", 99)})
	require.Zero(t, since("Einsum", 11))
	require.Zero(t, since("NoSuchOp", 11))
	require.Nil(t, Lookup(ir.OpID{Type: "Conv", Overload: "x"}, 11))
	require.NotNil(t, Lookup(ir.OpID{Domain: "ai.onnx", Type: "Conv"}, 11))
	require.Equal(t, []int64{28, 28, 5, 1, 0}, []int64{Newest(""), Newest("ai.onnx"), Newest("ai.onnx.ml"), Newest("com.microsoft"), Newest("no.such")})
	require.True(t, Complete("ai.onnx") && Complete("ai.onnx.ml"))
	require.False(t, Complete("com.microsoft") || Complete("no.such"))
}

func TestTraitsOfVersions(t *testing.T) {
	has := func(typ string, opset int64, tr Trait) bool { return Lookup(ir.Op(typ), opset).Has(tr) }
	require.True(t, has("Add", 7, Commutative|Broadcast))
	require.False(t, has("Add", 6, Commutative), "broadcasts by attribute")
	require.True(t, has("ScatterElements", 13, Movement))
	require.False(t, has("ScatterElements", 16, Movement), "may reduce")
	require.True(t, has("Relu", 14, Unary|Idempotent))
	require.True(t, has("Shape", 1, ShapeOnly))
	require.True(t, has("RandomNormalLike", 1, ShapeOnly|Random))
	require.False(t, (*Schema)(nil).Has(Unary))
}

// TestElementwiseShapes: operators that are said to be unary or to broadcast have a schema that allows it.
func TestElementwiseShapes(t *testing.T) {
	for i := range All() {
		s := &All()[i]
		least, most := s.NumInputs()
		switch {
		case s.Has(Unary):
			require.GreaterOrEqual(t, least, 1, s.Op())
		case s.Has(Broadcast):
			require.GreaterOrEqual(t, most, 2, s.Op())
		case s.Has(Commutative):
			t.Errorf("%s is commutative, but does not broadcast", s.Op())
		}
	}
}
