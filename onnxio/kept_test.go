package onnxio

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
)

// text is a model as the protobuf library prints it, with single spaces.
func (o oracle) text(t *testing.T, b []byte) string {
	s := prototext.MarshalOptions{EmitUnknown: true}.Format(o.parse(t, b))
	return regexp.MustCompile(`\s+`).ReplaceAllString(s, " ")
}

func valueNamed(t *testing.T, g *ir.Graph, name string) *ir.Value {
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Name() == name {
				return v
			}
		}
	}
	for _, v := range g.Consts() {
		if v.Name() == name {
			return v
		}
	}
	for _, s := range g.Inputs() {
		if s.Name() == name {
			return s.Value()
		}
	}
	require.Fail(t, "no value "+name)
	return nil
}

// What refers to a value by its name follows the value.
func TestNamesFollowValues(t *testing.T) {
	b := everything(t)
	f := mustRead(t, b, Options{})
	g := f.Model.Main
	valueNamed(t, g, "a").SetName("activation")
	valueNamed(t, g, "w").SetName("weight")
	valueNamed(t, g, "zero").SetName("zero point")
	o := newOracle(t)
	before, after := o.text(t, b), o.text(t, bytesOf(t, f.Model))
	for _, r := range [][2]string{
		{`input:"x" input:"w" output:"a"`, `input:"x" input:"weight" output:"activation"`},
		{`input:"a" input:"b_in"`, `input:"activation" input:"b_in"`}, // a capture
		{`sharding_spec:{tensor_name:"a"`, `sharding_spec:{tensor_name:"activation"`},
		{`quantization_annotation:{tensor_name:"a"`, `quantization_annotation:{tensor_name:"activation"`},
		{`key:"ZERO_POINT_TENSOR" value:"zero"`, `key:"ZERO_POINT_TENSOR" value:"zero point"`},
		{`value_info:{name:"a"`, `value_info:{name:"activation"`},
		{`value_info:{name:"w"`, `value_info:{name:"weight"`},
		{`input:"w" input:"rate"`, `input:"weight" input:"rate"`},
		{`initialization_binding:{key:"w"`, `initialization_binding:{key:"weight"`},
		{`update_binding:{key:"w"`, `update_binding:{key:"weight"`},
	} {
		assert.Contains(t, squeeze(before), squeeze(r[0]))
		assert.Contains(t, squeeze(after), squeeze(r[1]))
		assert.NotContains(t, squeeze(after), squeeze(r[0]))
	}
	assert.Equal(t, strings.Count(before, "1000:"), strings.Count(after, "1000:"), "unknown fields")
	assert.Equal(t, 10, strings.Count(after, "1000:"))
}

func squeeze(s string) string { return strings.ReplaceAll(s, " ", "") }

// An annotation of a tensor that is gone goes, too; one of a name that nobody ever had stays.
func TestAnnotationGoesWithItsTensor(t *testing.T) {
	f := mustRead(t, everything(t), Options{})
	g := f.Model.Main
	g.EraseConst(valueNamed(t, g, "scale"))
	out := bytesOf(t, f.Model)
	assert.NotContains(t, string(out), "SCALE_TENSOR")
	assert.Contains(t, string(out), "nobody")
	mustRead(t, out, Options{})
}

func TestDefaultsOfInputs(t *testing.T) {
	b := everything(t)
	f := mustRead(t, b, Options{})
	d := valueNamed(t, f.Model.Main, "d")
	assert.True(t, d.IsInput())
	assert.NotNil(t, d.Default())
	assert.Nil(t, d.Const())

	f = mustRead(t, b, Options{FreezeDefaults: true})
	require.Len(t, f.Model.Main.Inputs(), 1)
	d = valueNamed(t, f.Model.Main, "d")
	require.NotNil(t, d.Const())
	again := mustRead(t, bytesOf(t, f.Model), Options{})
	require.Len(t, again.Model.Main.Inputs(), 1)
	assert.NotNil(t, valueNamed(t, again.Model.Main, "d").Const())
}

func TestSparseInitializer(t *testing.T) {
	f := mustRead(t, everything(t), Options{})
	got, err := ir.Elements[float32](valueNamed(t, f.Model.Main, "sp").Const())
	require.NoError(t, err)
	assert.Equal(t, []float32{0, 5, 0, 6}, got)
}

func TestMetadataChanges(t *testing.T) {
	f := mustRead(t, everything(t), Options{})
	m := f.Model
	m.Meta = m.Meta.With("tool", "onnxopt")
	m.SetOpset("com.microsoft", 1)
	for n := range m.Main.Nodes() {
		n.SetMeta(n.Meta().With("seen", "yes"))
		break
	}
	g := mustRead(t, bytesOf(t, m), Options{}).Model
	assert.Equal(t, m.Meta, g.Meta)
	assert.Equal(t, m.Opsets(), g.Opsets())
	for n := range g.Nodes() {
		assert.Equal(t, &ir.Meta{Doc: "calls a function", Props: []ir.Prop{{Key: "from_", Value: "exporter"}, {Key: "seen", Value: "yes"}}}, n.Meta())
		break
	}
}

func TestWhatIsRead(t *testing.T) {
	f := mustRead(t, everything(t), Options{})
	m := f.Model
	assert.Equal(t, "com.example", m.DomainName)
	assert.Equal(t, int64(7), m.Version)
	x := m.Main.Inputs()[0]
	assert.Equal(t, "TENSOR", x.Type().Denotation)
	assert.Equal(t, ir.Shape{{Size: -1, Param: "N", Denotation: "DATA_BATCH"}, ir.Static(4)}, x.Type().Shape)
	assert.Equal(t, "doc of x", x.Meta.DocString())
	n := m.Main.NodeList()[0]
	assert.Equal(t, ir.OpID{Domain: "local", Type: "Scale", Overload: "float"}, n.Op())
	assert.Equal(t, []*ir.Source{{Pos: 0, Name: "call", Op: n.Op()}}, n.Origin().Sources())
	fn := m.Functions[0]
	assert.Equal(t, n.Op(), fn.ID())
	assert.Equal(t, []string{"other"}, fn.Attrs)
	assert.InDelta(t, 1.0, fn.Defaults[0].Float(), 0)
	body := fn.Graph.NodeList()
	assert.Equal(t, "factor", body[0].Attr("value_float").Ref)
	assert.Equal(t, "f:local.Scale:float", body[1].Origin().Sources()[0].Graph)
	loop := m.Main.NodeList()[2].Attr("body").Graph()
	assert.Equal(t, "/loop/body", loop.NodeList()[0].Origin().Sources()[0].Graph)
	assert.Equal(t, "cond", loop.Outputs()[0].Value().Name(), "the Identity that only names an output is taken in")
	tr := m.Training[0]
	assert.Same(t, valueNamed(t, m.Main, "w"), tr.UpdateBinding[0].Target)
	op := m.Main.NodeList()[len(m.Main.NodeList())-1]
	assert.Nil(t, op.Result(0))
	assert.Equal(t, "\xff\x00", op.Attr("s").Str())
	assert.Equal(t, []int64{1, -1}, op.Attr("ints").Ints())
	assert.Equal(t, "map(string, float)", op.Attr("tps").Types()[2].String())
	assert.Equal(t, "weights", op.Attr("t").Tensor().Meta().DocString())
}

// The encoder states everything that the reader knows: a model whose attributes are made anew reads back the same.
func TestAttributesMadeAnew(t *testing.T) {
	b := everything(t)
	f := mustRead(t, b, Options{})
	for n := range f.Model.Nodes() {
		for _, a := range n.Attrs() {
			if a.Kind != ir.AttrGraph {
				c := *a
				c.Extra = nil
				n.SetAttr(&c)
			}
		}
	}
	o := newOracle(t)
	drop := regexp.MustCompile(` ?100[01]:("new"|9)`) // unknown fields of what was made anew are gone
	without := func(b []byte) string { return drop.ReplaceAllString(o.text(t, b), "") }
	assert.True(t, without(b) == without(bytesOf(t, f.Model)))
}

// Files below IR version 4 list constants as inputs: those of the file stay, a new one is listed, too.
func TestOldInitializers(t *testing.T) {
	m := ir.NewModel(3, 8)
	f32 := ir.TensorType(ir.Float32, ir.StaticShape(2))
	x := m.Main.AddInput("x", f32)
	w := m.Main.NamedConst("w", ir.TensorOf([]float32{1, 2}))
	add := m.Main.New(nil, ir.Op("Add"), []*ir.Value{x, w})
	m.Main.AddOutput("y", add.Result(0), f32)
	b := bytesOf(t, m)
	read := mustRead(t, b, Options{}).Model
	require.Len(t, read.Main.Inputs(), 1)
	assert.NotNil(t, valueNamed(t, read.Main, "w").Const())
	assert.Equal(t, b, bytesOf(t, read))
	assert.Contains(t, squeeze(newOracle(t).text(t, b)), `input:{name:"x"`)
	assert.Contains(t, squeeze(newOracle(t).text(t, b)), `input:{name:"w"`)

	cond := read.Main.NamedConst("c", ir.NewTensor(ir.Bool, []int64{}, []byte{1}))
	branch := read.Main.NewSubgraph("then")
	branch.AddOutput("r", branch.Const(ir.TensorOf([]float32{3, 4})), f32)
	other := read.Main.NewSubgraph("else")
	other.AddOutput("r", valueNamed(t, read.Main, "w"), f32)
	n := read.Main.New(nil, ir.Op("If"), []*ir.Value{cond}, ir.GraphAttr("then_branch", branch), ir.GraphAttr("else_branch", other))
	read.Main.Outputs()[0].SetValue(n.Result(0))
	again := mustRead(t, bytesOf(t, read), Options{}).Model
	nodes := valueNamed(t, again.Main, "y").Node().Attr("then_branch").Graph().NodeList()
	require.Len(t, nodes, 1, "a subgraph of an old model has no initializers of its own")
	assert.Equal(t, "Constant", nodes[0].Op().Type)
}

// A constant in a function becomes a Constant node.
func TestConstantInFunction(t *testing.T) {
	f := mustRead(t, everything(t), Options{})
	g := f.Model.Functions[0].Graph
	mul := g.NodeList()[1]
	mul.SetOperand(1, g.Const(ir.ScalarOf(float32(3))))
	again := mustRead(t, bytesOf(t, f.Model), Options{}).Model
	c := valueNamed(t, again.Functions[0].Graph, "m").Node().Operand(1)
	got, err := ir.Elements[float32](c.Const())
	require.NoError(t, err)
	assert.Equal(t, []float32{3}, got)
}

// New names avoid those of all graphs, and an inner value makes way for an outer one that takes an output's name.
func TestNewNames(t *testing.T) {
	m := ir.NewModel(8, 17)
	f32 := ir.TensorType(ir.Float32, ir.StaticShape(2))
	x := m.Main.AddInput("x", f32)
	c := m.Main.NamedConst("Relu_0", ir.NewTensor(ir.Bool, []int64{}, []byte{1}))
	a := m.Main.New(nil, ir.Op("Relu"), []*ir.Value{x})
	branch := m.Main.NewSubgraph("then")
	inner := branch.New(nil, ir.Op("Neg"), []*ir.Value{a.Result(0)})
	inner.Result(0).SetName("y")
	use := branch.New(nil, ir.Op("Add"), []*ir.Value{inner.Result(0), a.Result(0)})
	branch.AddOutput("r", use.Result(0), f32)
	other := m.Main.NewSubgraph("else")
	other.AddOutput("r", a.Result(0), f32)
	n := m.Main.New(nil, ir.Op("If"), []*ir.Value{c}, ir.GraphAttr("then_branch", branch), ir.GraphAttr("else_branch", other))
	m.Main.AddOutput("y", a.Result(0), f32)
	m.Main.AddOutput("z", n.Result(0), f32)
	unused := m.Main.New(nil, ir.Op("Relu"), []*ir.Value{x})
	b := bytesOf(t, m)
	assert.Empty(t, unused.Result(0).Name(), "writing changes nothing")
	again := mustRead(t, b, Options{}).Model
	g := valueNamed(t, again.Main, "z").Node().Attr("then_branch").Graph()
	assert.Equal(t, "y_1", g.NodeList()[0].Result(0).Name())
	assert.Equal(t, "y", g.NodeList()[1].Operand(1).Name())
	valueNamed(t, again.Main, "Relu_1")
	e := valueNamed(t, again.Main, "z").Node().Attr("else_branch").Graph()
	assert.Equal(t, "y", e.Outputs()[0].Value().Name(), "an outer value as output goes through an Identity")
	assert.Zero(t, e.NumNodes())
	assert.Contains(t, string(b), "Identity")
	assert.Equal(t, b, bytesOf(t, again))
}

// A sequence cannot go through an Identity below opset 14.
func TestIdentityOfSequence(t *testing.T) {
	m := ir.NewModel(7, 13)
	seq := ir.SequenceOf(ir.TensorType(ir.Float32, nil))
	m.Main.AddInput("s", seq)
	m.Main.AddOutput("t", m.Main.Inputs()[0].Value(), seq)
	_, err := Write(new(bytes.Buffer), m, WriteOptions{})
	require.ErrorContains(t, err, `output "t" needs an Identity of a value of type seq(float[])`)
	m.SetOpset("", 14)
	bytesOf(t, m)
}

// Nodes out of order are sorted, and the model says so.
func TestUnsorted(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, nil))
	a := m.Main.New(nil, ir.Op("Relu"), []*ir.Value{x})
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Neg"), []*ir.Value{a.Result(0)}).Result(0), nil)
	b := bytesOf(t, m)
	graph, _ := wire.One(b, modelGraph)
	var nodes, rest []byte
	for f := range wire.Fields(graph.Body) {
		if f.Num == graphNodes {
			nodes = append(append([]byte(nil), f.Raw...), nodes...) // backwards
		} else {
			rest = append(rest, f.Raw...)
		}
	}
	swapped := wire.NewMessage(b)
	swapped.Set(modelGraph, wire.Sub(modelGraph, wire.Of(append(nodes, rest...)), wire.Field{}))
	r := swapped.Rope()
	bad, err := r.Bytes()
	require.NoError(t, err)
	require.NotEqual(t, b, bad)
	f := mustRead(t, bad, Options{})
	assert.Equal(t, []string{`graph "main": the nodes were not in order and have been sorted`}, f.Remarks)
	assert.Equal(t, b, bytesOf(t, f.Model))
}

// An Identity that the reader took in comes after what it copies, also where that is a new node.
func TestIdentityWaitsForItsOperand(t *testing.T) {
	f := mustRead(t, everything(t), Options{})
	g := f.Model.Main
	y := valueNamed(t, g, "y")
	relu := g.New(nil, ir.Op("Relu"), []*ir.Value{y})
	y.ReplaceUsesIf(relu.Result(0), func(u ir.Use) bool { return u.Node != relu })
	again := mustRead(t, bytesOf(t, f.Model), Options{})
	assert.Len(t, again.Remarks, 1, "in order")
	outs := again.Model.Main.Outputs()
	assert.Equal(t, "Relu", outs[0].Value().Node().Op().Type)
	assert.Same(t, outs[0].Value(), outs[1].Value())
}

// What the file says of a name that nobody has is not said of a value that gets the name later.
func TestStrayValueInfo(t *testing.T) {
	f := mustRead(t, everything(t), Options{})
	valueNamed(t, f.Model.Main, "b").SetName("nobody")
	again := mustRead(t, bytesOf(t, f.Model), Options{})
	assert.Nil(t, valueNamed(t, again.Model.Main, "nobody").Type())
}

// The type of a function's input stands in value_info; it is read, and written where a function is made anew.
func TestTypesOfFunctionInputs(t *testing.T) {
	m := ir.NewModel(10, 21)
	typ := ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N"), ir.Static(3)})
	f := m.NewFunction(ir.OpID{Domain: "local", Type: "F"}, ir.Opset{Version: 21})
	x := f.Graph.AddInput("a", typ)
	neg := f.Graph.New(nil, ir.Op("Neg"), []*ir.Value{x})
	k := f.Graph.Const(ir.TensorOf([]float32{1, 2, 3}))
	f.Graph.AddOutput("b", f.Graph.New(nil, ir.Op("Add"), []*ir.Value{neg.Result(0), k}).Result(0), nil)
	m.SetOpset("local", 1)
	y := m.Main.New(nil, f.ID(), []*ir.Value{m.Main.AddInput("x", typ)})
	m.Main.AddOutput("y", y.Result(0), typ)
	b := bytesOf(t, m)
	newOracle(t).sameListing(t, "made", b, mustRead(t, b, Options{}).Model)

	again := mustRead(t, b, Options{}).Model
	body := again.Functions[0].Graph
	assert.True(t, typ.Equal(body.Inputs()[0].Type()))
	assert.Equal(t, "Constant", body.NodeList()[0].Op().Type, "functions have no initializers")
	body.Inputs()[0].SetType(ir.TensorType(ir.Float16, nil))
	assert.Equal(t, ir.Float16, mustRead(t, bytesOf(t, again), Options{}).Model.Functions[0].Graph.Inputs()[0].Type().Elem)
	assert.Equal(t, b, bytesOf(t, mustRead(t, b, Options{}).Model))
}
