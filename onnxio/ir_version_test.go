package onnxio

import (
	"bytes"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// old is a model of IR version 3 with an initializer, which is listed as an input, and an If whose branches add constants.
func old() *ir.Model {
	m := ir.NewModel(3, 8)
	g := m.Main
	typ := ir.TensorType(ir.Float32, ir.StaticShape(2))
	x := g.AddInput("x", typ)
	c := g.AddInput("c", ir.TensorType(ir.Bool, ir.StaticShape(1)))
	branch := func(name string, k float32) *ir.Graph {
		b := g.NewSubgraph(name)
		n := b.New(nil, ir.Op("Add"), []*ir.Value{x, b.NamedConst("k", ir.TensorOf([]float32{k, k}))})
		b.AddOutput(name+"_out", n.Result(0), typ)
		return b
	}
	choice := g.New(nil, ir.Op("If"), []*ir.Value{c}, ir.GraphAttr("then_branch", branch("yes", 1)), ir.GraphAttr("else_branch", branch("no", 2)))
	sum := g.New(nil, ir.Op("Add"), []*ir.Value{choice.Result(0), g.NamedConst("w", ir.TensorOf([]float32{3, 4}))})
	g.AddOutput("y", sum.Result(0), typ)
	return m
}

// Below IR version 4 an initializer is listed as an input and is a constant all the same, new ones too; in subgraphs, whose inputs are
// positional, new constants are nodes, because checkers refuse an initializer that is no input.
func TestConstantsOfOldModels(t *testing.T) {
	m := mustRead(t, bytesOf(t, old()), Options{}).Model
	require.Len(t, m.Main.Inputs(), 2)
	w := valueNamed(t, m.Main, "w")
	require.NotNil(t, w.Const())
	w.ReplaceUses(m.Main.NamedConst("new", ir.TensorOf([]float32{5, 6})))
	m.Main.EraseConst(w)
	then := m.Main.NodeList()[0].Attr("then_branch").Graph()
	assert.Empty(t, then.Consts())
	k := then.NodeList()[0]
	require.Equal(t, "Constant", k.Op().Type)
	k.Result(0).ReplaceUses(then.Const(ir.TensorOf([]float32{7, 8})))
	then.Erase(k)

	var b bytes.Buffer
	done, err := Write(&b, m, WriteOptions{})
	require.NoError(t, err)
	assert.Empty(t, done.Remarks)
	p := pb{newOracle(t).parse(t, b.Bytes()).ProtoReflect()}
	assert.Equal(t, int64(3), p.num("ir_version"))
	var inputs, inits []string
	for _, v := range p.msg("graph").msgs("input") {
		inputs = append(inputs, v.str("name"))
	}
	for _, v := range p.msg("graph").msgs("initializer") {
		inits = append(inits, v.str("name"))
	}
	assert.Equal(t, []string{"x", "c", "new"}, inputs)
	assert.Equal(t, []string{"new"}, inits)
	for _, n := range p.msg("graph").msgs("node") {
		for _, a := range n.msgs("attribute") {
			assert.Empty(t, a.msg("g").msgs("initializer"))
			assert.Equal(t, "Constant", a.msg("g").msgs("node")[0].str("op_type"))
		}
	}
	mustRead(t, b.Bytes(), Options{})
}

// The IR version rises where something made since reading needs it, and only there.
func TestIRVersionRises(t *testing.T) {
	int4 := ir.NewTensor(ir.Int4, []int64{3}, []byte{0x21, 3})
	for name, c := range map[string]struct {
		edit   func(m *ir.Model)
		want   int64
		remark string
	}{
		"nothing":  {func(*ir.Model) {}, 3, ""},
		"constant": {func(m *ir.Model) { m.Main.Const(int4) }, 10, "ir_version rises from 3 to 10, which type int4 needs"},
		"attribute": {func(m *ir.Model) { m.Main.New(nil, ir.Op("Constant"), nil, ir.TensorAttr("value", int4)) }, 10,
			"ir_version rises from 3 to 10, which type int4 needs"},
		"result": {func(m *ir.Model) {
			n := m.Main.New(nil, ir.Op("Cast"), []*ir.Value{m.Main.Inputs()[0].Value()}, ir.IntAttr("to", int64(ir.BFloat16)))
			n.Result(0).SetType(ir.TensorType(ir.BFloat16, nil))
		}, 4, "ir_version rises from 3 to 4, which type bfloat16 needs"},
		"output": {func(m *ir.Model) {
			m.Main.AddOutput("o", m.Main.Inputs()[0].Value(), ir.OptionalOf(ir.TensorType(ir.Float32, nil)))
		}, 8, "ir_version rises from 3 to 8, which type optional(float[]) needs"},
		"function": {func(m *ir.Model) { m.NewFunction(ir.OpID{Domain: "f", Type: "F", Overload: "v"}, ir.Opset{Version: 8}) }, 10,
			"ir_version rises from 3 to 10, which an overloaded function needs"},
	} {
		m := mustRead(t, bytesOf(t, old()), Options{}).Model
		c.edit(m)
		var b bytes.Buffer
		w, err := Write(&b, m, WriteOptions{})
		require.NoError(t, err, name)
		if c.remark == "" {
			assert.Empty(t, w.Remarks, name)
		} else {
			assert.Equal(t, []string{c.remark}, w.Remarks, name)
		}
		assert.Equal(t, c.want, mustRead(t, b.Bytes(), Options{}).Model.IRVersion, name)
		assert.Equal(t, int64(3), m.IRVersion, name)
	}
	// What the file has itself is its own affair.
	b := []byte(bytesOf(t, func() *ir.Model {
		m := ir.NewModel(10, 21)
		m.Main.AddOutput("y", m.Main.NamedConst("y", int4), nil)
		return m
	}()))
	b[1] = 8 // ir_version is the first field
	m := mustRead(t, b, Options{}).Model
	require.Equal(t, int64(8), m.IRVersion)
	assert.Equal(t, b, bytesOf(t, m))
}

// A model without operators of the default domain imports it where the notation needs one.
func TestDefaultDomainIsImported(t *testing.T) {
	m := ir.NewModel(8, 0)
	m.SetOpset("", 0)
	m.SetOpset("ai.onnx.ml", 3)
	m.SetOpset("local", 1)
	typ := ir.TensorType(ir.Float32, ir.StaticShape(2))
	f := m.NewFunction(ir.OpID{Domain: "local", Type: "F"}, ir.Opset{Domain: "ai.onnx.ml", Version: 3})
	k := f.Graph.Const(ir.TensorOf([]float32{1, 2}))
	f.Graph.AddOutput("b", f.Graph.New(nil, ir.OpID{Domain: "ai.onnx.ml", Type: "Scaler"}, []*ir.Value{f.Graph.AddInput("a", typ), k}).Result(0), nil)
	call := m.Main.New(nil, f.ID(), []*ir.Value{m.Main.AddInput("x", typ)})
	m.Main.AddOutput("y", call.Result(0), typ)
	m.Main.AddOutput("z", call.Result(0), typ)
	var b bytes.Buffer
	w, err := Write(&b, m, WriteOptions{})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		`graph "main": the default domain is imported in version 15, which Identity needs`,
		`function local.F: the default domain is imported in version 15, which Constant needs`,
	}, w.Remarks)
	again := mustRead(t, b.Bytes(), Options{}).Model
	assert.Equal(t, int64(15), again.Opset(""))
	assert.Equal(t, int64(15), again.Functions[0].Graph.Opset(""))
	assert.Zero(t, m.Opset(""), "writing changes nothing")
	assert.Equal(t, b.Bytes(), bytesOf(t, again))
}
