package infer_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/stretchr/testify/require"
)

// found is what a model's values were found to be, by name; function bodies are left out.
type found struct {
	t      *testing.T
	model  *ir.Model
	result *infer.Result
	values map[string]*ir.Value
}

func inferText(t *testing.T, src string) *found {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	f := &found{t: t, model: m, result: infer.Model(m), values: map[string]*ir.Value{}}
	for n := range m.Nodes() {
		for _, v := range n.Results() {
			if v != nil && n.Graph().Function() == nil {
				f.values[v.Name()] = v
			}
		}
	}
	return f
}

// types checks the types of values, given as "name: type" lines.
func (f *found) types(lines string) {
	f.t.Helper()
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), ": ")
		require.Contains(f.t, f.values, name)
		require.Equal(f.t, want, f.result.Type(f.values[name]).String(), name)
	}
}

// dims is the shape of a value as expressions, private names included.
func (f *found) dims(name string) []infer.Int {
	d, ok := f.result.Dims(f.values[name])
	require.True(f.t, ok, name)
	return d
}

// remark checks that there is exactly one remark, of that severity and with that text in it.
func (f *found) remark(s infer.Severity, part string) {
	f.t.Helper()
	require.Len(f.t, f.result.Remarks(), 1)
	r := f.result.Remarks()[0]
	require.Equal(f.t, s, r.Severity, r.String())
	require.Contains(f.t, r.String(), part)
}

const head = `<ir_version: 10, opset_import: ["" : 21, "f" : 1]>
`

func TestShapeArithmetic(t *testing.T) {
	f := inferText(t, head+`g (float[N, S, 12] X, int64[1] I) => (float[] Y) {
		shape = Shape (X)
		zero = Constant <value_int = 0> ()
		one = Constant <value_ints = [1]> ()
		n = Gather (shape, zero)
		n1 = Unsqueeze (n, axis0)
		axis0 = Constant <value_ints = [0]> ()
		s1 = Shape <start = 1, end = 2> (X)
		heads = Constant <value_ints = [4, -1]> ()
		split = Concat <axis = 0> (n1, s1, heads)
		A = Reshape (X, split)
		B = Transpose <perm = [0, 2, 1, 3]> (A)
		axis3 = Constant <value_ints = [3]> ()
		end = Constant <value_ints = [9223372036854775807]> ()
		C = Slice (B, one, end, axis3)
		two = Constant <value_int = 2> ()
		half = Div (n, two)
		twice = Mul (n, two)
		limits = Range (zero, twice, two)
		flat = Constant <value_ints = [-1, 12]> ()
		D = Reshape (X, flat)
		dyn = Concat <axis = 0> (I, s1)
		E = Expand (n1, dyn)
		f = Cast <to = 1> (shape)
		scale = Constant <value_floats = [2.0, 0.5, 1.0]> ()
		g = Mul (f, scale)
		h = Cast <to = 7> (g)
		F = ConstantOfShape (h)
		same = Equal (n, n)
		more = Add (n, two)
		differ = Equal (n, more)
		Y = Identity (D)
	}`)
	f.types(`
		A: float[N,S,4,3]
		B: float[N,4,S,3]
		C: float[N,4,S,2]
		limits: int64[N]
		D: float[N*S,12]
		E: int64[?,S]
		Y: float[N*S,12]
		same: bool
	`)
	ints := func(name string) string {
		v, ok := f.result.Ints(f.values[name])
		require.True(t, ok, name)
		s := []string{}
		for _, x := range v {
			s = append(s, x.String())
		}
		return strings.Join(s, ",")
	}
	require.Equal(t, "N,S,12", ints("shape"))
	require.Equal(t, "N,S,4,-1", ints("split"))
	require.Equal(t, "floor(N/2)", ints("half"))
	require.Equal(t, "?,S", ints("dyn"))
	require.Equal(t, "2*N,?,12", ints("h"), "half of S may not be whole")
	require.Equal(t, "1", ints("same"))
	require.Equal(t, "0", ints("differ"))
	require.NotNil(t, f.result.Known(f.values["same"]))
	require.Nil(t, f.result.Known(f.values["n"]), "a dynamic dimension never becomes a number")
	require.Empty(t, f.result.Remarks())
}

func TestConvolutionsOfSymbols(t *testing.T) {
	f := inferText(t, head+`g (float[1, 3, H, W] X, float[8, 3, 3, 3] K) => (float[] Y) {
		A = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (X, K)
		B = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (A)
		C = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (X, K)
		D = Conv (X, K)
		E = AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (X)
		two = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
		F = Resize (B, , two)
		G = GlobalAveragePool (F)
		T = ConvTranspose <strides = [2, 2]> (A, K)
		Y = Add (A, C)
	}`)
	f.types(`
		A: float[1,8,floor((H + 1)/2),floor((W + 1)/2)]
		B: float[1,8,floor((H + 1)/4),floor((W + 1)/4)]
		C: float[1,8,floor((H + 1)/2),floor((W + 1)/2)]
		D: float[1,8,H - 2,W - 2]
		E: float[1,3,floor(H/2),floor(W/2)]
		F: float[1,8,2*floor((H + 1)/4),2*floor((W + 1)/4)]
		G: float[1,8,1,1]
		Y: float[1,8,floor((H + 1)/2),floor((W + 1)/2)]
	`)
}

func TestPrivateSizes(t *testing.T) {
	f := inferText(t, head+`g (float[?, 4] X, float[?, 4] Z, float[] U) => (float[] Y) {
		A = Relu (X)
		B = Add (A, Z)
		C = NonZero (X)
		D = NonZero (X)
		E = Neg (C)
		V = Relu (U)
		Y = Exp (B)
	}`)
	f.types(`
		A: float[?,4]
		B: float[?,4]
		C: int64[2,?]
		V: float[]
	`)
	same := func(a, b string) bool { return f.result.SameShape(f.values[a], f.values[b]) }
	require.True(t, same("B", "Y"))
	require.False(t, same("A", "B"))
	require.True(t, same("C", "E"))
	require.False(t, same("C", "D"), "two counts are two sizes, as far as is known")
	require.False(t, same("V", "V"), "the rank is not known")
}

func TestBranches(t *testing.T) {
	src := head + `g (float[N, 4] X, bool c) => (float[] Y) {
		yes = Constant <value = bool {1}> ()
		Y = If (COND) <
			then_branch = t () => (A) { A = Concat <axis = 0> (X, X) },
			else_branch = e () => (B) { k = Constant <value_ints = [5, -1]> ()
				B = Reshape (X, k) } >
	}`
	f := inferText(t, strings.Replace(src, "COND", "c", 1))
	f.types("Y: float[?,?]")
	f = inferText(t, strings.Replace(src, "COND", "yes", 1))
	f.types("Y: float[2*N,4]")
	require.Empty(t, f.result.Remarks())
}

func TestLoops(t *testing.T) {
	f := inferText(t, head+`g (float[N, 4] X, int64 M, bool go) => (float[] Y) {
		grown, kept, all = Loop (M, go, X, X) <body = b (int64 i, bool c, float[N, 4] g_in, float[N, 4] k_in) => (bool c_out, float[] g_out, float[] k_out, float[] s) {
			c_out = Identity (c)
			g_out = Concat <axis = 0> (g_in, X)
			k_out = Relu (k_in)
			s = Neg (k_in)
		} >
		three = Constant <value_int = 3> ()
		k2, all2 = Loop (three, , X) <body = b2 (int64 i2, bool c2, k2_in) => (bool c2_out, k2_out, s2) {
			c2_out = Identity (c2)
			k2_out = Relu (k2_in)
			s2 = Neg (k2_in)
		} >
		last, mapped = Scan <num_scan_inputs = 1, body = b3 (st, el) => (st_out, el_out) { st_out = Add (st, el)
			el_out = Neg (el) }> (X, X3)
		sh = Constant <value_ints = [6, 1, 4]> ()
		X3 = Expand (one, sh)
		one = Constant <value_float = 1.0> ()
		Y = Identity (kept)
	}`)
	f.types(`
		grown: float[?,4]
		kept: float[N,4]
		all: float[?,?,4]
		k2: float[N,4]
		all2: float[3,N,4]
		last: float[N,4]
		mapped: float[6,1,4]
		g_out: float[?,4]
	`)
	require.Empty(t, f.result.Remarks(), "attempts that were wrong leave no remarks")
}

func TestFunctions(t *testing.T) {
	f := inferText(t, head+`g (float[N, 4] X, float[M, 7] Z) => (float[] Y) {
		A = f.Flat <axis = 1> (X)
		B = f.Flat <axis = 0> (X)
		C = f.Flat (Z)
		D = f.Twice (Z)
		E = f.Count (X)
		F = f.Count (X)
		G = f.Maybe (X)
		Y = Identity (A)
	}
	<domain: "f", opset_import: ["" : 21]>
	Flat <axis: int = 2> (x) => (y) { y = Flatten <axis: int = @axis> (x) }
	<domain: "f", opset_import: ["" : 21, "f" : 1]>
	Twice (x) => (y) { a = f.Flat (x)
		y = Concat <axis = 0> (a, a) }
	<domain: "f", opset_import: ["" : 21]>
	Count (x) => (y) { y = NonZero (x) }
	<domain: "f", opset_import: ["" : 21]>
	Maybe (x, lo) => (y) { y = Clip (x, lo) }`)
	f.types(`
		A: float[N,4]
		B: float[1,4*N]
		C: float[7*M,1]
		D: float[14*M,1]
		E: int64[2,?]
		G: float[N,4]
	`)
	require.False(t, f.result.SameShape(f.values["E"], f.values["F"]), "what one call counts says nothing of another")
	for _, fn := range f.model.Functions {
		if fn.Name == "Flat" {
			y := fn.Graph.Outputs()[0].Value()
			require.Nil(t, f.result.Shape(y), "a function by itself knows nothing of its callers")
		}
	}
}

func TestManyCalls(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<ir_version: 10, opset_import: ["" : 21, "f" : 1]>
g (float[N] X) => (float[] Y) { Y = f.F0 (X) }
`)
	for i := range 40 { // 2^40 calls when inlined
		next := "F" + string(rune('0'+(i+1)/10)) + string(rune('0'+(i+1)%10))
		name := "F" + string(rune('0'+i/10)) + string(rune('0'+i%10))
		if i == 0 {
			name = "F0"
		}
		b.WriteString("<domain: \"f\", opset_import: [\"\" : 21, \"f\" : 1]>\n" + name + " (x) => (y) {\n")
		if i == 39 {
			b.WriteString("y = Neg (x) }\n")
		} else {
			b.WriteString("a = f." + next + " (x)\n b = f." + next + " (a)\n y = Add (a, b) }\n")
		}
	}
	f := inferText(t, b.String())
	f.types("Y: float[N]")
}

func TestRecordedTypes(t *testing.T) {
	value := func(line string) *found {
		return inferText(t, head+`g (float[N, 4] X) => (float[] Y) <`+line+`> { V = Relu (X)
			W = x.Unknown (X)
			Y = Add (V, W)
		}`)
	}
	f := value("float[7, 4] V")
	f.types("V: float[N,4]")
	require.Empty(t, f.result.Remarks(), "N may be 7, but it is not taken for it")
	f = value("float[N, 5] V")
	f.types("V: float[N,4]")
	f.remark(infer.Warning, "recorded as float[N,5]")
	f = value("double[N, 4] V")
	f.remark(infer.Warning, "element type is float")
	f = value("float[8, ?] W")
	f.types("W: float[8,?]")
	f = value("float[A, B] W")
	f.types("W: float[A,B]")

	f = inferText(t, head+`g (float[2, 4] X) => (float[2, 5] Y) { Y = Relu (X) }`)
	f.remark(infer.Warning, "declared as float[2,5]")
	f = inferText(t, head+`g (float[2, 4] X) => (int64[2, 4] Y) { Y = Relu (X) }`)
	f.remark(infer.Error, "declared as int64[2,4]")
}

func TestErrors(t *testing.T) {
	for node, part := range map[string]string{
		"Y = Add (X, Z)":                               "sizes 2 and 3 cannot be broadcast",
		"Y = MatMul (X, X)":                            "inner sizes 4 and 2",
		"Y = Transpose <perm = [0]> (X)":               "perm has 1 entries",
		"Y = Softmax <axis = 2> (X)":                   "axis 2 is outside",
		"Y = Concat <axis = 1> (X, Z)":                 "another one",
		"Y, V = Split <axis = 1, num_outputs = 3> (X)": "3 parts for 2 results",
	} {
		f := inferText(t, head+`g (float[2, 4] X, float[3, 3] Z) => (float[] Y) { `+node+` }`)
		f.remark(infer.Error, part)
	}
	// In a branch that may never be taken the same is a warning.
	f := inferText(t, head+`g (float[2, 4] X, float[3, 3] Z, bool c) => (float[] Y) {
		Y = If (c) <then_branch = t () => (A) { A = Add (X, Z) }, else_branch = e () => (B) { B = Neg (X) } > }`)
	f.remark(infer.Warning, "cannot be broadcast")
}

func TestNamesThatAreNoIdentifiers(t *testing.T) {
	f := inferText(t, head+`g (float["2*N", N, "?", "?"] X) => (float[] Y) {
		A = Flatten <axis = 2> (X)
		two = Constant <value_ints = [2]> ()
		n = Shape <start = 1, end = 2> (X)
		m = Mul (n, two)
		B = ConstantOfShape (m)
		Y = Relu (X)
	}`)
	f.types(`
		Y: float[2*N,N,?,?]
		A: float['2*N'*N,?]
		B: float[?]
	`)
	require.False(t, f.dims("Y")[2].Same(f.dims("Y")[3]), "some exporters write ? for all they do not know")
}

func TestAnnotate(t *testing.T) {
	f := inferText(t, head+`g (float[N, 4] X) => (float[] Y) <float[N, 5] V, float[K, 4] W> { V = Relu (X)
		W = Neg (V)
		Y = Flatten (W)
	}`)
	infer.Annotate(f.model, f.result)
	require.Equal(t, "float[N,4]", f.values["V"].Type().String(), "what contradicts is replaced")
	require.Equal(t, "float[K,4]", f.values["W"].Type().String(), "another name for a size stays")
	require.Equal(t, "float[N,4]", f.values["Y"].Type().String())
	epoch := f.model.Epoch(ir.Types)
	infer.Annotate(f.model, infer.Model(f.model))
	require.Equal(t, epoch, f.model.Epoch(ir.Types), "the second time there is nothing to add")
}

// TestOrderDoesNotMatter infers under another order of independent nodes.
func TestOrderDoesNotMatter(t *testing.T) {
	sharedModels(t, func(name string, m *ir.Model) {
		a := infer.Model(m)
		m.Shuffle(42)
		b := infer.Model(m)
		for n := range m.Nodes() {
			for _, v := range n.Results() {
				require.Equal(t, a.Type(v).String(), b.Type(v).String(), "%s: %s", name, n)
			}
		}
		require.Equal(t, len(a.Remarks()), len(b.Remarks()), name)
	})
}

// TestPadIdiom: PyTorch's exporter reverses pairs of pads by reshaping, slicing backwards and transposing.
func TestPadIdiom(t *testing.T) {
	f := inferText(t, head+`g (float[N, 3, H, W] X) => (float[] Y) {
		pads = Constant <value_ints = [1, 2, 3, 4]> ()
		rest = Constant <value_ints = [4]> ()
		zeros = ConstantOfShape <value = int64[1] {0}> (rest)
		all = Concat <axis = 0> (pads, zeros)
		pairs = Constant <value_ints = [-1, 2]> ()
		rows = Reshape (all, pairs)
		first = Constant <value_ints = [0]> ()
		last = Constant <value_ints = [-1]> ()
		low = Constant <value_ints = [-9223372036854775807]> ()
		back = Slice (rows, last, low, first, last)
		turned = Transpose <perm = [1, 0]> (back)
		flat = Reshape (turned, last)
		Y = Pad (X, flat)
	}`)
	f.types("Y: float[N,3,H + 7,W + 3]")
}

// TestKnownNumbers: what is computed of constants has the bits that IEEE 754 gives it, negative zeros included.
func TestKnownNumbers(t *testing.T) {
	f := inferText(t, head+`g (float[N] X) => (float[] Y) {
		a = Constant <value_floats = [0.0, -3.0, 0.1, -0.5]> ()
		b = Constant <value_floats = [-2.0, 0.0, 0.2, 1.0]> ()
		product = Mul (a, b)
		negative = Neg (a)
		sum = Add (a, b)
		quotient = Div (b, a)
		up = Ceil (a)
		whole = Cast <to = 7> (a)
		i = Constant <value_ints = [-7, 7, 5, -1]> ()
		two = Constant <value_ints = [2]> ()
		third = Div (i, two)
		rest = Mod (i, two)
		narrow = Cast <to = 2> (i)
		Y = Relu (X)
	}`)
	floats := func(name string) []float32 {
		v := f.result.Known(f.values[name])
		require.NotNil(t, v, name)
		s, err := ir.Elements[float32](v)
		require.NoError(t, err)
		return s
	}
	a, b := []float32{0, -3, 0.1, -0.5}, []float32{-2, 0, 0.2, 1}
	for name, op := range map[string]func(x, y float32) float32{
		"product":  func(x, y float32) float32 { return x * y },
		"negative": func(x, _ float32) float32 { return -x },
		"sum":      func(x, y float32) float32 { return x + y },
		"quotient": func(x, y float32) float32 { return y / x },
		"up":       func(x, _ float32) float32 { return float32(math.Ceil(float64(x))) },
	} {
		for i, got := range floats(name) {
			want := op(a[i], b[i])
			require.Equal(t, math.Float32bits(want), math.Float32bits(got), "%s of %v and %v is %v", name, a[i], b[i], got)
		}
	}
	ints := func(name string) string {
		v, _ := f.result.Ints(f.values[name])
		return fmt.Sprint(v)
	}
	require.Equal(t, "[0 -3 0 0]", ints("whole"))
	require.Equal(t, "[-3 3 2 0]", ints("third"), "integers divide towards zero")
	require.Equal(t, "[1 1 1 1]", ints("rest"), "the remainder has the divisor's sign")
	require.Equal(t, "[? 7 5 ?]", ints("narrow"), "what a type does not hold is not followed")
}
