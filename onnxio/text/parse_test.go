package text_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/stretchr/testify/require"
)

func TestErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"", "1:1: expected the name of a graph, found the end of the text"},
		{"g (float[N] x) => (float[N] y) {\n   y = Relu (x)\n", "3:1: expected a node or '}', found the end of the text"},
		{"g (float[N] x) = > (float[N] y) { }", "1:16: expected '=>', found '='"},
		{"g (float[N] x) => (float[N] y) {\n  y = Relu (z)\n}", "2:13: z is not defined, did you mean"},
		{"g (float[N] inpt) => (float[N] y) {\n  y = Relu (input)\n}", `2:13: input is not defined, did you mean "inpt"?`},
		{"g (x) => (y) { y = Relu (x) y = Abs (x) }", "1:29: y is defined twice"},
		{"g (x, x) => (x) { }", "1:7: x is defined twice"},
		{"g (x) => (y) { a = Relu (b) b = Relu (a) y = Abs (a) }", "1:1: the nodes of this graph form a cycle through"},
		{"g (x) => (y) { y = Relu <a = 1> (x) <b = 2> }", "1:37: attributes stand before or after the operands, not both"},
		{"g (x) => (y) { y = Relu <a = 1, a = 2> (x) }", "1:33: attribute a is given twice"},
		{"g (x) => (y) { y = Relu <a: int = 1.5> (x) }", "1:35: the attribute is declared as int and its value is of kind float"},
		{"g (x) => (y) { y = Relu <a: int = [1]> (x) }", "1:35: the attribute is declared as int and its value is a list"},
		{"g (x) => (y) { y = Relu <a = []> (x) }", "1:30: an empty list needs a kind, as in a: ints = []"},
		{"g (x) => (y) { y = Relu <a = [1, 2.5]> (x) }", "1:34: the attribute is declared as int and its value is of kind float"},
		{"g (x) => (y) { y = Relu <a: number = 1> (x) }", "1:29: expected the kind of the attribute"},
		{"g (x) => (y) { y = Relu <a = 99999999999999999999> (x) }", "1:30: 99999999999999999999 does not fit into 64 bits"},
		{"g (x) => (y) { y = Relu <a = 1e50> (x) }", "1:30: 1e50 does not fit into 32 bits"},
		{"g (x) => (y) { y = Relu <a = 0x10> (x) }", `1:30: malformed number "0x"`},
		{"g (x) => (y) { y = Relu <a = +1> (x) }", `1:30: unexpected "+"`},
		{"g (x) => (y) { y = Relu <a = .5> (x) }", `1:30: expected the value of an attribute, found '.'`},
		{"g (x) => (y) { y = Relu <a = 1e> (x) }", `1:30: malformed number "1e>"`},
		{"g (x) => (y) { y = Relu <a = \"b> (x) }", "1:30: string is not closed"},
		{"g (x) => (y) { y = \"\" (x) }", "the operator's name is empty"},
		{"g (x) => (x) <float[2] w = {1}> { }", "1:24: 1 elements, type float[2] needs 2"},
		{"g (x) => (x) <float[2] w = {1,2,3}> { }", "1:33: more elements than the 2 of type float[2]"},
		{"g (x) => (x) <float[2] w = {1,2,...}> { }", "the constant is elided"},
		{"g (x) => (x) <float[N] w = {1}> { }", "1:24: a constant needs a tensor type with numeric dimensions, not float[N]"},
		{"g (x) => (x) <float[] w = {1}> { }", "a constant needs a tensor type with numeric dimensions, not float[]"},
		{"g (x) => (x) <w = {1}> { }", "a constant needs a tensor type with numeric dimensions, not ?"},
		{"g (x) => (x) <float[-1] w = {1}> { }", "a constant needs a tensor type with numeric dimensions"},
		{"g (float[-2] x) => (x) { }", "1:10: a dimension is -2"},
		{"g (x) => (x) <float[9223372036854775807,4] w = {1}> { }", "the dimensions of a constant are negative or too large"},
		{"g (x) => (x) <int8[1] w = {128}> { }", "1:28: 128 does not fit into int8"},
		{"g (x) => (x) <uint4[1] w = {-1}> { }", "1:29: -1 does not fit into uint4"},
		{"g (x) => (x) <float16[1] w = {1.5}> { }", "1:31: expected the bit pattern of a float16 as an integer, found number 1.5"},
		{"g (x) => (x) <string[1] w = {1}> { }", "1:30: expected a string, found number 1"},
		{"g (x) => (x) <float[1] w = {nan(0x0)}> { }", "malformed NaN"},
		{"<ir_version: 8, ir_version: 9> g (x) => (x) { }", "1:17: ir_version is given twice"},
		{"<ir_versoin: 8> g (x) => (x) { }", "1:2: unknown key ir_versoin in the header of a model"},
		{`<opset_import: ["" : 0]> g (x) => (x) { }`, `1:17: domain "" has version 0`},
		{`<opset_import: ["" : 20, "ai.onnx" : 21]> g (x) => (x) { }`, `1:26: domain "ai.onnx" is imported in versions 20 and 21`},
		{"g (x) => (x) { } F (a) => (a) { } F (a) => (a) { }", "1:35: function F is defined twice"},
		{"g (x) => (x) { } F (a) => (b) { b = G (a) } G (a) => (b) { b = F (a) }", "1:18: function F calls itself"},
		{"g (x) => (x) {\n}\n#! doc \"late\"\n", "3:1: nothing follows this note"},
		{"g #! doc \"x\"\n (x) => (x) { }", "1:3: this note stands before '(', which cannot carry it"},
		{"#! dok \"x\"\ng (x) => (x) { }", `1:1: unknown note dok "x"`},
		{"#! doc 'x'\ng (x) => (x) { }", "1:1: malformed note: strings are written as in Go"},
		{"g (\n#! denote 0 \"A\" \"B\"\nfloat x) => (x) { }", "2:1: the denotation does not fit the type float"},
		{"g (x) => (x) <sparse_tensor(float[4]) w = {float[1] {1}, int64[2] {0,1}}> { }", "the indices of a sparse tensor of rank 1 with 1 values have shape [2]"},
		{"g (x) => (x) { } @train", "1:19: expected training, found name train"},
	} {
		_, err := text.Parse([]byte(c.src))
		var e *text.Error
		require.ErrorAs(t, err, &e, c.src)
		require.Contains(t, err.Error(), c.want, c.src)
		require.NotContains(t, err.Error(), "\n", c.src)
	}
}

// Whatever is nested or long ends in an error or in a model, and in time that grows with the length of the text.
func TestHostileTexts(t *testing.T) {
	deep := func(n int) string {
		return "g (c) => (y) { " + strings.Repeat("y = If (c) <then_branch = s () => (y) { ", n)
	}
	for name, src := range map[string]string{
		"graphs":      deep(100_000),
		"types":       "g (" + strings.Repeat("seq(", 1_000_000),
		"maps":        "g (" + strings.Repeat("map(int64,", 1_000_000),
		"lists":       "g (x) => (y) { y = Relu <a = " + strings.Repeat("[", 1_000_000),
		"strings":     strings.Repeat(`"`, 1_000_001),
		"escape":      `"\`,
		"domain":      "g (x) => (y) { y = " + strings.Repeat("a.", 1_000_000),
		"digits":      "g (x) => (y) { y = Relu <a = " + strings.Repeat("9", 1_000_000),
		"float":       "g (x) => (y) { y = Relu <a = 1." + strings.Repeat("9", 1_000_000) + "e99",
		"huge tensor": "g (x) => (x) <double[1000000000000000000] w = {1}> { }",
		"headers":     strings.Repeat("<", 1_000_000),
		"notes":       strings.Repeat("#! doc \"\"\n", 1_000_000),
		"name":        "g (x) => (y) { y = Relu (" + strings.Repeat("z", 1_000_000) + ") }",
		"functions":   "g (x) => (x) { } " + strings.Repeat("F ", 1_000_000),
	} {
		start := time.Now()
		_, err := text.Parse([]byte(src))
		require.Error(t, err, name)
		require.Less(t, len(err.Error()), 300, name)
		require.Less(t, time.Since(start), 20*time.Second, name)
	}
}

func TestLexicalCorners(t *testing.T) {
	parse := func(value string) *ir.Attr {
		t.Helper()
		m, err := text.Parse([]byte("g (x) => (y) { y = d.F <a = " + value + "> (x) }"))
		require.NoError(t, err, value)
		return m.Main.NodeList()[0].Attr("a")
	}
	require.Equal(t, `nt"\`, parse(`"\nt\"\\"`).Str(), "a backslash takes the next byte as it is")
	require.Equal(t, "l1\nl2\t", parse("\"l1\nl2\t\"").Str())
	require.Equal(t, "a\x00\xff\n\"", parse(`b"a\x00\xff\n\""`).Str())
	require.Equal(t, float32(1), parse("1.").Float())
	require.Equal(t, float32(1e-45), parse("1e-45").Float())
	require.Zero(t, parse("1e-60").Float(), "underflow is no error")
	require.Equal(t, int64(math.MinInt64), parse("-9223372036854775808").Int())
	require.True(t, math.IsInf(float64(parse("-INFINITY").Float()), -1))
	require.Equal(t, uint32(0x7fc00000), math.Float32bits(parse("NaN").Float()))
	require.Equal(t, uint32(0xffc00000), math.Float32bits(parse("-nan").Float()))
	require.Equal(t, uint32(0xff800001), math.Float32bits(parse("-nan(0x1)").Float()))
	require.Equal(t, uint32(0x80000000), math.Float32bits(parse("-0.0").Float()))
	require.Equal(t, []float32{2.5, 1}, parse("[2.5, 1]").Floats(), "the first item says the kind")
	require.Equal(t, "nan", parse(`"nan" () => (x) { }`).Graph().Name())
	require.Equal(t, ir.AttrUndefined, parse("@alpha").Kind)

	m, err := text.Parse([]byte("\xef\xbb\xbf# comment\r\ng (float x, x2 , seq) => (y,) { , y, = F (,x,) z = G () <a=1> }"))
	require.ErrorContains(t, err, "expected a type or the name of a value, found ')'")
	require.Nil(t, m)
	m, err = text.Parse([]byte("\xef\xbb\xbf# comment\r\ng (float x, x2 , seq) => (y) { , y, = F (,x,) z = G () <a=1> }"))
	require.NoError(t, err)
	n := m.Main.NodeList()
	require.Equal(t, []int{2, 2, 1, 0}, []int{n[0].NumResults(), n[0].NumOperands(), n[1].NumResults(), n[1].NumOperands()})
	require.Nil(t, n[0].Result(0))
	require.Equal(t, "seq", m.Main.Inputs()[2].Name())
}

func TestElements(t *testing.T) {
	for src, want := range map[string][]byte{
		"int4[3] w = {-8,7,-1}":                {0x78, 0x0f},
		"uint2[5] w = {0,1,2,3,2}":             {0xe4, 0x02},
		"float4e2m1[2] w = {7,8}":              {0x87},
		"bool[2] w = {1,0}":                    {1, 0},
		"float16[1] w = {15360}":               {0x00, 0x3c},
		"float16[2] w = {-1,65535}":            {255, 255, 255, 255},
		"complex64[1] w = {1,-2}":              {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0},
		"uint64[1] w = {18446744073709551615}": {255, 255, 255, 255, 255, 255, 255, 255},
		"float w = {1}":                        {0, 0, 0x80, 0x3f},
		"float[0,3] w = {}":                    {},
		"float[1] w = {nan(0x200000)}":         {0, 0, 0xa0, 0x7f},
		"double[1] w = {0.1}":                  {0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f},
	} {
		m, err := text.Parse([]byte("g () => (w) <" + src + "> { }"))
		require.NoError(t, err, src)
		got, err := m.Main.Consts()[0].Const().Bytes()
		require.NoError(t, err, src)
		require.Equal(t, want, append([]byte{}, got...), src)
	}
}

// The syntax tree alone serves patterns: names are not resolved, positions are kept.
func TestNodesWithoutAModel(t *testing.T) {
	ns, err := text.ParseNodes([]byte("c = Conv <group: int = 1> (x, w, b)\n  y = com.microsoft.Gelu:v2 (c)"))
	require.NoError(t, err)
	require.Len(t, ns, 2)
	require.Equal(t, text.Pos{Line: 1, Col: 28}, ns[0].Inputs[0].Pos)
	require.Equal(t, "group", ns[0].Attrs[0].Name.Text)
	require.Equal(t, int64(1), ns[0].Attrs[0].Value)
	a, err := ns[0].Attrs[0].Attr()
	require.NoError(t, err)
	require.Equal(t, int64(1), a.Int())
	require.Equal(t, ir.OpID{Domain: "com.microsoft", Type: "Gelu", Overload: "v2"}, ns[1].Op)
	require.Equal(t, text.Pos{Line: 2, Col: 7}, ns[1].OpPos)
}

func TestOrderOfTheTextDoesNotMatter(t *testing.T) {
	m, err := text.ParseGraph([]byte("g (x) => (y) { y = Abs (a) a = Relu (x) }"), ir.Opset{Version: 21})
	require.NoError(t, err)
	require.NoError(t, ir.Verify(m))
	require.Equal(t, "Relu", m.Main.NodeList()[0].Op().Type)
}

// Below IR version 4 inputs that an initializer has the name of are constants.
func TestListedConstants(t *testing.T) {
	const src = "<\n   ir_version: 3,\n   opset_import: [\"\" : 8]\n>\ng (float[N] x, float[1] w) => (float[N] y) \n   <float[1] w =  {1}>\n{\n   y = Add (x, w)\n}\n"
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	require.Len(t, m.Main.Inputs(), 1)
	require.Len(t, m.Main.Consts(), 1)
	require.Equal(t, src, printed(t, m))

	m, err = text.Parse([]byte(strings.Replace(src, "3", "8", 1)))
	require.NoError(t, err)
	require.Len(t, m.Main.Inputs(), 2)
	require.NotNil(t, m.Main.Inputs()[1].Value().Default())
}

// Text of 50 times the nodes takes about 50 times as long to parse and print.
func TestLinear(t *testing.T) {
	took := func(n int) time.Duration {
		var b strings.Builder
		b.WriteString("g (float[N] v0) => (float[N] y) {\n")
		for i := range n {
			fmt.Fprintf(&b, "   [n%d] v%d = Add (v%d, v0)\n", i, i+1, i)
		}
		fmt.Fprintf(&b, "   y = Identity (v%d)\n}\n", n)
		start := time.Now()
		m, err := text.Parse([]byte(b.String()))
		require.NoError(t, err)
		require.Contains(t, printed(t, m), b.String())
		return time.Since(start)
	}
	small, large := took(2_000), took(100_000)
	require.Less(t, large, 500*small+2*time.Second)
}
