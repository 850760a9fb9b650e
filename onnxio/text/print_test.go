package text_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/stretchr/testify/require"
)

// everything is a text that has each construct, in the layout of the printer.
const everything = `<
   ir_version: 10,
   opset_import: ["" : 21, "loc" : 1, "my-dom" : 2],
   producer_name: "p",
   producer_version: b"1\x00",
   domain: "d",
   model_version: 7,
   doc_string: "two
lines",
   metadata_props: ["k": "v \"q\""]
>
#! doc "the graph\n"
#! meta "key" "\xff"
"a graph" (
   #! doc "an input"
   #! quant "SCALE_TENSOR" "k"
   #! denote 0 "IMAGE" "" "DATA_CHANNEL"
   float[N,3,?] x, seq(map(int64, optional(float))) s,
   #! denote 1 "INNER"
   seq(float[]) q, ? n,  u, float[1] d, bool c) => (float[N,3,?] y, float[] o, float[1] d2) 
   <float[1] d =  {1},
   #! doc "a tensor"
   float[6] k =  {nan,-nan,nan(0x1),-inf,-0,3.4028235e+38}, sparse_tensor(float[2,3]) sp = {float[2] sp {1,2}, int64[2,2] {0,1,1,2}}, float[2] ext = ["location": "w.bin", "offset": "0"], string[2] str = {"a", b"\x00"}, int4[3] i4 =  {-8,0,7}, complex64[1] c64 =  {1,-2},
   #! meta "a" "b"
   float[6] k, float[N] t1,
   #! doc "nobody"
   float[3] ghost>
{
   #! doc "a node"
   #! meta "k" "v"
   ["n/1"] t1, "" = "my-dom"."Op-1":"v-2" <
   #! doc "an attribute"
   i: int = 1, f: float = 1e-45, "s s": string = "", is: ints = [], fs: floats = [1, 2.5], ss: strings = [], t: tensor = float "a b" {2}, ts: tensors = [float[1] t {1},
   #! doc "unnamed"
   int64[1] {1}], tp: type_proto = seq(?), tps: type_protos = [
   #! denote 0 "X"
   float[1], opaque("a b".c,)], sv: sparse_tensor = sparse_tensor(int64[4]) {int64[1] {9}, int64[1] {3}}, svs: sparse_tensors = []> (x, "", k)
   y = loc.F:o <alpha: float = 2> (t1)
   o = If (c) <then_branch: graph =
      #! doc "inner"
      "nan" () => (float[] r) {
      r = Abs (x)
   }, else_branch: graph = e () => ( "float") 
      <float[1] w =  {1}>
{
      "float" = Add (w, t1)
   }, gs: graphs = []>
   [id] d2 = Identity (d)
}
#! meta "fk" "fv"
<
  domain: "loc",
  overload: "o",
  opset_import: ["" : 21],
  doc_string: "a function"
>
F <beta, alpha: float = 0.5>(float[N] a, b) => (z)
   <float[N] m>
{
   m = LeakyRelu <alpha: float = @alpha> (a)
   z = Elu <alpha = @beta> (m)
}
@training <initialization: ["k": "i"], update: ["gone": "j"]>
initialization init () => (float[1] i) {
   i = Identity (d)
}
algorithm alg () => (float[1] j) {
   j = Neg (d)
}
`

// Each construct reads back as it was printed.
func TestEverything(t *testing.T) {
	src := strings.Replace(everything, `opaque("a b".c,)`, `opaque("a b.c",)`, 1)
	m, err := text.Parse([]byte(everything))
	require.NoError(t, err)
	require.NoError(t, ir.Verify(m))
	require.Equal(t, src, printed(t, m))
	again := fixpoint(t, m)
	require.Empty(t, difference(m, again))

	g := again.Main
	require.Equal(t, "IMAGE", g.Inputs()[0].Type().Denotation)
	require.Equal(t, "DATA_CHANNEL", g.Inputs()[0].Type().Shape[1].Denotation)
	require.Equal(t, "INNER", g.Inputs()[2].Type().Of.Denotation)
	require.Equal(t, ir.KindNone, g.Inputs()[3].Type().Kind)
	require.Nil(t, g.Inputs()[4].Type())
	require.Equal(t, []ir.Prop{{Key: "SCALE_TENSOR", Value: "k"}}, g.Inputs()[0].Value().Extra.(keep.Quantization).Quantization())
	require.Equal(t, "ghost", g.Extra.(keep.Unbound).Unbound()[0].Name)
	name, _, _, _ := g.Outputs()[2].Extra.(keep.Identity).Identity()
	require.Equal(t, "id", name)
	require.Equal(t, "an attribute", g.NodeList()[0].Attr("i").Doc)
	require.Equal(t, "unnamed", g.NodeList()[0].Attr("ts").Tensors()[1].Meta().DocString())
	require.Same(t, g.Consts()[0], again.Training[0].InitBinding[0].Target)
	require.Equal(t, "gone", again.Training[0].UpdateBinding[0].TargetName)
	sp, err := ir.Elements[float32](g.Consts()[1].Const())
	require.NoError(t, err)
	require.Equal(t, []float32{0, 1, 0, 0, 0, 2}, sp)
	_, err = g.Consts()[2].Const().Bytes()
	require.ErrorContains(t, err, `external data in "w.bin" was not opened`)
}

func TestElided(t *testing.T) {
	m, err := text.Parse([]byte(`g () => (w, s) <float[4] w = {1,2,3,4}, string[2] s = {"a", "b"}, float[2] v = {1,2}, complex64[3] c = {1,1,2,2,3,3}> { }`))
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, text.Print(&b, m, text.Options{MaxElements: 2}))
	require.Contains(t, b.String(), "w =  {1,2,...}")
	require.Contains(t, b.String(), "c =  {1,1,2,2,...}")
	require.Contains(t, b.String(), "v =  {1,2}")
	_, err = text.Parse([]byte(b.String()))
	require.ErrorContains(t, err, "the constant is elided")
}

func TestInline(t *testing.T) {
	src := []byte(`g () => (w) <float[2,2] w = ["location": "weights.bin", "offset": "4096", "length": "16", "checksum": "abc"]> { }`)
	m, err := text.ParseWith(src, text.ReadOptions{External: func(d ir.DType, shape []int64, props []ir.Prop) (ir.Payload, error) {
		p, err := weights(d, shape, props)
		return located{payload: p.(payload), props: props}, err
	}})
	require.NoError(t, err)
	require.Contains(t, printed(t, m), `w = ["location": "weights.bin", `)
	var b strings.Builder
	require.NoError(t, text.Print(&b, m, text.Options{Inline: true}))
	require.Contains(t, b.String(), "float[2,2] w =  {1,2,3,4}")
}

type located struct {
	payload
	props []ir.Prop
}

func (l located) External() []ir.Prop { return l.props }

func TestPrintNode(t *testing.T) {
	m, err := text.Parse([]byte(everything))
	require.NoError(t, err)
	n := m.Main.NodeList()
	require.Equal(t, "y = loc.F:o <alpha: float = 2> (t1)", text.PrintNode(n[1]))
	require.Equal(t, `o = If (c) <then_branch: graph = "nan" {...}, else_branch: graph = e {...}, gs: graphs = []>`, text.PrintNode(n[2]))
	require.NotContains(t, text.PrintNode(n[0]), "\n")

	big := m.Main.New(nil, ir.Op("Add"), []*ir.Value{n[1].Result(0), nil, m.Main.Const(ir.ScalarOf[float32](1))},
		ir.TensorAttr("t", ir.TensorOf(make([]float32, 1000))), ir.IntsAttr("i", make([]int64, 100)))
	s := text.PrintNode(big)
	require.True(t, strings.HasPrefix(s, `"%Add" = Add <t: tensor = float[1000] {0,0,0,0,0,0,0,0,...}, i: ints = [0, `), s)
	require.True(t, strings.HasSuffix(s, `, ...]> (y, "", "%const")`), s)
}

func TestPrintGraph(t *testing.T) {
	m, err := text.Parse([]byte(everything))
	require.NoError(t, err)
	g := m.Main.NodeList()[2].Attr("else_branch").Graph()
	require.Equal(t, "e () => ( \"float\") \n   <float[1] w =  {1}>\n{\n   \"float\" = Add (w, t1)\n}", text.PrintGraph(g))
}

// An error of the writer or of a constant is reported, not swallowed.
func TestPrintErrors(t *testing.T) {
	m, err := text.Parse([]byte(everything))
	require.NoError(t, err)
	require.ErrorIs(t, text.Print(broken{}, m, text.Options{}), errBroken)
	var b strings.Builder
	require.ErrorContains(t, text.Print(&b, m, text.Options{Inline: true}), "constant float[2]: external data")
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestLooks(t *testing.T) {
	for _, s := range []string{everything, "g () => (x) { }", "\xef\xbb\xbf <ir_version: 8>", "# only a comment\n\"a b\" (x", "\n\n\tg =>", "#! doc \"x\"\ng(float x)=>(x){}"} {
		require.True(t, text.Looks([]byte(s)), s)
	}
	for _, s := range []string{"", "<", "# a comment", "{}", "PK\x03\x04", "<html>", "g", "ir_version: 8\ngraph {", "\x08\x08\x12\x04B(ab:", "B\x02(\x15", "\n\x03abc(x"} {
		require.False(t, text.Looks([]byte(s)), s)
	}
}

// What a subgraph says of a value that it captures stays said, in text and in bytes.
func TestInfoOfCapture(t *testing.T) {
	src := `<
   ir_version: 8,
   opset_import: ["" : 17]
>
g (float[2] x, bool c) => (float[2] y) {
   y = If (c) <else_branch: graph = b () => (float[2] r) {
      r = Neg (x)
   }, then_branch: graph = b () => (float[2] r) 
      <float[2] x>
{
      r = Abs (x)
   }>
}
`
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	require.Equal(t, src, printed(t, m))
	require.Empty(t, difference(m, fixpoint(t, m)))
}
