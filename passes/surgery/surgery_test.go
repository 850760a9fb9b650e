package surgery_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
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
	"github.com/onnxopt/onnxopt/passes/surgery"
)

func parse(t *testing.T, src string) *ir.Model {
	t.Helper()
	m, err := text.ParseGraph([]byte(src), ir.Opset{Version: 17})
	if strings.HasPrefix(strings.TrimSpace(src), "<") {
		m, err = text.Parse([]byte(src))
	}
	require.NoError(t, err, src)
	valid(t, m)
	return m
}

func valid(t *testing.T, m *ir.Model) {
	t.Helper()
	require.NoError(t, ir.Verify(m))
	require.NoError(t, ops.Verify(m))
}

func printed(t *testing.T, m *ir.Model) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, text.Print(&b, m, text.Options{}))
	_, body, _ := strings.Cut(b.String(), "\n>\n")
	return body
}

// reread writes m and reads it again, so that what crosses a cut has to survive in the file.
func reread(t *testing.T, m *ir.Model) *ir.Model {
	t.Helper()
	var b bytes.Buffer
	_, err := onnxio.Write(&b, m, onnxio.WriteOptions{})
	require.NoError(t, err)
	f, err := onnxio.Read(b.Bytes(), onnxio.Options{})
	require.NoError(t, err)
	return f.Model
}

// run evaluates m on what of the values it takes and adds what it gives.
func run(t *testing.T, m *ir.Model, values map[string]ir.Datum) {
	t.Helper()
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	defer s.Close()
	in := map[string]ir.Datum{}
	for _, slot := range m.Main.Inputs() {
		if d, ok := values[slot.Name()]; ok {
			in[slot.Name()] = d
		}
	}
	out, err := s.Run(context.Background(), in)
	require.NoError(t, err)
	maps.Copy(values, out)
}

// chained runs m and then, on the same inputs, the parts one after another, and compares.
func chained(t *testing.T, m *ir.Model, parts []*surgery.Part, in map[string]ir.Datum) {
	t.Helper()
	want, got := maps.Clone(in), maps.Clone(in)
	run(t, m, want)
	for _, p := range parts {
		run(t, reread(t, p.Model), got)
	}
	tolerances := compare.Tolerances(m)
	for _, s := range m.Main.Outputs() {
		require.NotNil(t, got[s.Name()], s.Name())
		require.NoError(t, tolerances[s.Name()].Check(compare.Datum(want[s.Name()], got[s.Name()])), s.Name())
	}
}

const skip = `main (float[N,2] x, float[N,2] other) => (float[N,2] early, float[N,2] y)
	<float[2] w = {1, 2}>
	{
	   k = Sqrt (w)
	   early = Relu (x)
	   a = Add (early, k)
	   s = Sigmoid (a)
	   b = Mul (a, k)
	   c = Sub (b, s)
	   y = Add (c, other)
	}`

// TestSplit: what crosses the cut beside it, an output that the first part gives, a constant that both compute.
func TestSplit(t *testing.T) {
	m := parse(t, skip)
	before := printed(t, m)
	parts, err := surgery.Split(m, [][]string{{"b"}})
	require.NoError(t, err)
	require.Equal(t, before, printed(t, m))
	require.Len(t, parts, 2)
	require.Equal(t, []string{"a"}, parts[0].Also)
	require.Equal(t, `main (float[N,2] x) => (float[N,2] early, float[N,2] a, float[N,2] b) 
   <float[2] w =  {1,2}>
{
   k = Sqrt (w)
   early = Relu (x)
   a = Add (early, k)
   b = Mul (a, k)
}
`, printed(t, parts[0].Model))
	require.Equal(t, `main (float[N,2] other, float[N,2] a, float[N,2] b) => (float[N,2] y) {
   s = Sigmoid (a)
   c = Sub (b, s)
   y = Add (c, other)
}
`, printed(t, parts[1].Model))
	for _, p := range parts {
		valid(t, p.Model)
	}
	chained(t, m, parts, compare.Inputs(m, 1, compare.GenerateOptions{})[0])

	parts, err = surgery.Split(m, [][]string{{"a"}, {"s", "b"}})
	require.NoError(t, err)
	require.Len(t, parts, 3)
	chained(t, m, parts, compare.Inputs(m, 1, compare.GenerateOptions{})[0])
}

// TestSplitMerge puts the parts together again.
func TestSplitMerge(t *testing.T) {
	m := parse(t, skip)
	parts, err := surgery.Split(m, [][]string{{"b"}})
	require.NoError(t, err)
	a := parts[0].Model
	_, err = surgery.Merge(a, parts[1].Model, surgery.MergeOptions{})
	require.NoError(t, err)
	valid(t, a)
	v, err := compare.Models(context.Background(), native.New(), m, a, nil, compare.Options{})
	require.NoError(t, err)
	require.Equal(t, compare.Verified, v.State, v.String())
}

func TestSplitErrors(t *testing.T) {
	for src, want := range map[string]string{
		"":            "no cut is named",
		"q":           `there is no value "q"`,
		"x":           `value "x" is no result that depends on an input`,
		"k":           `value "k" is no result that depends on an input`,
		"y;b":         "nothing is left to compute for the cut at b",
		"y":           "nothing is left behind the last cut",
		"early;eraly": `there is no value "eraly", did you mean "early"?`,
	} {
		var cuts [][]string
		for _, c := range strings.FieldsFunc(src, func(r rune) bool { return r == ';' }) {
			cuts = append(cuts, []string{c})
		}
		m := parse(t, `main (float[N,2] x) => (float[N,2] y) <float[2] w = {1, 2}>
			{ k = Sqrt (w) early = Relu (x) b = Mul (early, k) y = Add (b, k) }`)
		_, err := surgery.Split(m, cuts)
		require.ErrorContains(t, err, want, src)
	}
}

// TestSplitCaptures: a subgraph behind the cut returns a value before it, and the function it calls goes along.
func TestSplitCaptures(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["" : 21, "local" : 1]>
main (bool c, float[N] x) => (float[N] y) {
   a = Relu (x)
   b = local.f (a)
   d = Abs (b)
   e = If (c) <
      then_branch = g1 () => (float[N] t) { t = local.f (d) },
      else_branch = g2 () => (float[N] e1) { e1 = Identity (a) }
   >
   y = Sub (e, d)
}
<domain: "local", opset_import: ["" : 21]>
f (x) => (y) { y = Neg (x) }`)
	parts, err := surgery.Split(m, [][]string{{"d"}})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, parts[0].Also)
	for _, in := range compare.Inputs(m, 1, compare.GenerateOptions{}) {
		chained(t, m, parts, in)
	}
}

// TestMergeNames: everything that both models call alike by chance is kept apart.
func TestMergeNames(t *testing.T) {
	a := parse(t, `main (float[N,2] x) => (float[N,2] y, float[N,2] z)
		<float[2] w = {1, 2}>
		{ [n] t = Add (x, w) y = Neg (t) z = Relu (t) }`)
	b := parse(t, `main (float[B,2] in, float[N] x) => (float[B,2] z, float[N] t)
		<float[2] w = {3, 4}>
		{ [n] y = Mul (in, w) z = Abs (y) t = Neg (x) }`)
	before := printed(t, b)
	done, err := surgery.Merge(a, b, surgery.MergeOptions{Connect: []surgery.Connection{{From: "y", To: "in"}}, Prefix: "b_"})
	require.NoError(t, err)
	valid(t, a)
	require.Equal(t, before, printed(t, b))
	require.Equal(t, `main (float[N,2] x, float[N_2] b_x) => (float[N,2] z, float[N,2] b_z, float[N_2] t) 
   <float[2] w =  {1,2}, float[2] b_w =  {3,4}>
{
   [n] t_1 = Add (x, w)
   y = Neg (t_1)
   z = Relu (t_1)
   [b_n] b_y = Mul (y, b_w)
   b_z = Abs (b_y)
   t = Neg (b_x)
}
`, printed(t, reread(t, a)))
	require.Equal(t, map[string]string{"in": "y", "x": "b_x"}, done.Inputs)
	require.Equal(t, map[string]string{"z": "b_z", "t": "t"}, done.Outputs)
}

// TestMergeFunctions: one function of the same words, two of other words.
func TestMergeFunctions(t *testing.T) {
	model := func(input, f, g string) *ir.Model {
		return parse(t, `<ir_version: 10, opset_import: ["" : 21, "local" : 1]>
main (float[N] `+input+`) => (float[N] y) {
   a = local.f (`+input+`)
   y = local.g (a)
}
<domain: "local", opset_import: ["" : 21]>
f (x) => (y) { y = `+f+` (x) }
<domain: "local", opset_import: ["" : 21, "local" : 1]>
g (x) => (y) { t = `+g+` (x) y = local.f (t) }`)
	}
	a := model("x", "Neg", "Abs")
	_, err := surgery.Merge(a, model("x", "Neg", "Relu"), surgery.MergeOptions{Connect: []surgery.Connection{{From: "y", To: "x"}}})
	require.NoError(t, err)
	valid(t, a)
	var names []string
	for _, f := range a.Functions {
		names = append(names, f.Name)
	}
	require.Equal(t, []string{"f", "g", "g_2"}, names)
	values := map[string]ir.Datum{"x": ir.TensorOf([]float32{1, -2})}
	run(t, reread(t, a), values)
	require.Equal(t, []float32{-1, -2}, floats(t, values["y"]))
}

// TestMergeHidden: a function of one model that is called like an operator of the other.
func TestMergeHidden(t *testing.T) {
	function := `<ir_version: 10, opset_import: ["" : 21]>
main (float[N] x) => (float[N] y) { y = Relu (x) }
<domain: "", opset_import: ["" : 21]>
Relu (x) => (y) { y = Neg (x) }`
	plain := `<ir_version: 10, opset_import: ["" : 21]>
main (float[N] y) => (float[N] z) { z = Relu (y) }`
	_, err := surgery.Merge(parse(t, function), parse(t, plain), surgery.MergeOptions{})
	require.EqualError(t, err, "the first model has a function Relu, which is an operator in the second: inline it first")
	a := parse(t, plain)
	_, err = surgery.Merge(a, parse(t, function), surgery.MergeOptions{Connect: []surgery.Connection{{From: "z", To: "x"}}})
	require.NoError(t, err)
	valid(t, a)
	values := map[string]ir.Datum{"y": ir.TensorOf([]float32{3, -2})}
	run(t, reread(t, a), values)
	for name := range values {
		if name != "y" { // the output, whatever it is called now
			require.Equal(t, []float32{-3, 0}, floats(t, values[name]))
		}
	}
	require.Len(t, values, 2)
}

func floats(t *testing.T, d ir.Datum) []float32 {
	e, err := ir.Elements[float32](d.(*ir.Tensor))
	require.NoError(t, err)
	return slices.Clone(e)
}

func TestMergeErrors(t *testing.T) {
	header := func(opset int) string { return fmt.Sprintf(`<ir_version: 8, opset_import: ["" : %d]>`, opset) }
	a := `main (float[N,2] x) => (float[N,2] y) { y = Softmax (x) }`
	b := `main (float[N,2] z) => (float[N,2] v) { v = Relu (z) }`
	c := `main (float[N,3] z) => (float[N,3] v) { v = Relu (z) }`
	to := func(pairs ...string) []surgery.Connection {
		var r []surgery.Connection
		for _, p := range pairs {
			c, err := surgery.ParseConnection(p)
			require.NoError(t, err)
			r = append(r, c)
		}
		return r
	}
	for _, k := range []struct {
		a, b    string
		connect []surgery.Connection
		want    string
	}{
		{header(13) + a, header(13) + b, nil, "no output of the first model is called like an input of the second: y and z"},
		{header(13) + a, header(13) + b, to("yy=z"), `the first model has no output "yy", did you mean "y"?`},
		{header(13) + a, header(13) + b, to("y=zz"), `the second model has no input "zz", did you mean "z"?`},
		{header(13) + a, header(13) + b, to("y=z", "x=z"), `input "z" of the second model is connected twice`},
		{header(13) + a, header(13) + c, to("y=z"), `output "y" is float[N,2] and input "z" takes float[N,3]`},
		{header(11) + a, header(13) + b, to("y=z"), "Softmax of the first model may mean something else in operator set 13 of the other one than in its own, 11; convert it first, with opset{to=13}"},
		{header(13) + b, header(11) + a, to("v=x"), "Softmax of the second model may mean something else in operator set 13 of the other one than in its own, 11; convert it first, with opset{to=13}"},
	} {
		_, err := surgery.Merge(parse(t, k.a), parse(t, k.b), surgery.MergeOptions{Connect: k.connect})
		require.EqualError(t, err, k.want)
	}
	m := parse(t, header(14)+b) // Relu means the same from 14 on
	_, err := surgery.Merge(m, parse(t, header(17)+`main (float[N,2] z) => (float[N,2] u) { u = Neg (z) }`), surgery.MergeOptions{Connect: to("v=z")})
	require.NoError(t, err)
	require.EqualValues(t, 17, m.Opset(""))
	_, err = surgery.ParseConnection("a=")
	require.Error(t, err)
}

// TestSharedModels splits the real models at a third and two thirds of their nodes, runs the parts and merges them.
func TestSharedModels(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/models/*.onnx")
	switch {
	case testing.Short():
		t.Skip("left out with -short: the real models; run without it")
	case len(files) == 0:
		t.Skip("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if st, err := os.Stat(file); err != nil || st.Size() > 40<<20 {
				t.Skip("left out: a model of more than 40 MB takes too long here")
			}
			f, err := onnxio.Open(file, onnxio.Options{})
			require.NoError(t, err)
			defer f.Close()
			whole(t, f.Model)
		})
	}
}

// whole splits m, compares, merges and compares again.
func whole(t *testing.T, m *ir.Model) {
	var names []string
	for n := range m.Main.Nodes() {
		if v := n.Result(0); v != nil && v.Name() != "" && n.Op().Type != "Constant" && n.Op().Type != "Shape" {
			names = append(names, v.Name())
		}
	}
	var parts []*surgery.Part
	var err error
	for shift := range names { // a value of the first part may be a constant, or of unknown type
		i, j := len(names)/3+shift, 2*len(names)/3+shift
		if j >= len(names) {
			break
		}
		if parts, err = surgery.Split(m, [][]string{{names[i]}, {names[j]}}); err == nil {
			break
		}
	}
	require.NoError(t, err)
	for _, p := range parts {
		valid(t, p.Model)
	}
	var set map[string]ir.Datum
	src := compare.NewGenerator(m, compare.GenerateOptions{Seed: 1})
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	for k, err := range src.Sets(context.Background()) {
		require.NoError(t, err)
		if _, err := s.Run(context.Background(), k.Inputs); err == nil {
			set = k.Inputs
			break
		} else {
			src.Refused(err)
		}
	}
	require.NotNil(t, set)
	chained(t, m, parts, set)
	a := parts[0].Model
	for _, p := range parts[1:] {
		_, err := surgery.Merge(a, p.Model, surgery.MergeOptions{Connect: shared(a, p.Model), KeepOutputs: true})
		require.NoError(t, err)
		valid(t, a)
	}
	want, got := maps.Clone(set), maps.Clone(set)
	run(t, m, want)
	run(t, reread(t, a), got)
	tolerances := compare.Tolerances(m)
	for _, o := range m.Main.Outputs() {
		require.NoError(t, tolerances[o.Name()].Check(compare.Datum(want[o.Name()], got[o.Name()])), o.Name())
	}
}

// shared connects everything of one name, inputs too.
func shared(a, b *ir.Model) []surgery.Connection {
	var r []surgery.Connection
	for _, s := range b.Main.Inputs() {
		for _, o := range slices.Concat(a.Main.Outputs(), a.Main.Inputs()) {
			if o.Name() == s.Name() {
				r = append(r, surgery.Connection{From: s.Name(), To: s.Name()})
				break
			}
		}
	}
	return r
}
