package strip_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/strip"
)

func TestPass(t *testing.T) { passtest.Run(t, strip.Pass) }

// documented has a doc string and a property at every place that can have them.
func documented() *ir.Model {
	meta := func(place string) *ir.Meta {
		return &ir.Meta{Doc: "DOC " + place, Props: []ir.Prop{{Key: "PROP " + place, Value: "v"}}}
	}
	m := ir.NewModel(10, 21)
	m.Meta, m.Main.Meta = meta("model"), meta("graph")
	typ := ir.TensorType(ir.Float32, ir.StaticShape(2))
	x := m.Main.AddInput("x", typ)
	m.Main.Inputs()[0].Meta = meta("input")
	w := m.Main.NamedConst("w", ir.TensorOf([]float32{1, 2}).WithName("w", meta("initializer")))
	a := ir.TensorAttr("value", ir.TensorOf([]float32{1, 2}).WithName("", meta("tensor")))
	a.Doc = "DOC attribute"
	k := m.Main.New(nil, ir.Op("Constant"), nil, a)
	n := m.Main.New(nil, ir.Op("Add"), []*ir.Value{x, w})
	n.SetMeta(meta("node"))
	n.Result(0).SetName("s")
	n.Result(0).SetType(typ)
	n.Result(0).Meta = meta("value")
	f := m.NewFunction(ir.OpID{Domain: "local", Type: "f"}, ir.Opset{Version: 21})
	m.SetOpset("local", 1)
	f.Meta = meta("function")
	p, q := f.Graph.AddInput("p", nil), f.Graph.AddInput("q", nil)
	d := f.Graph.New(nil, ir.Op("Sub"), []*ir.Value{p, q})
	d.SetMeta(meta("node of a function"))
	f.Graph.AddOutput("r", d.Result(0), nil)
	c := m.Main.New(nil, ir.OpID{Domain: "local", Type: "f"}, []*ir.Value{n.Result(0), k.Result(0)})
	m.Main.AddOutput("y", c.Result(0), typ).Meta = meta("output")
	return m
}

// TestEverywhere writes a model, reads, strips and writes it again: nothing may be left in the bytes.
func TestEverywhere(t *testing.T) {
	var before bytes.Buffer
	_, err := onnxio.Write(&before, documented(), onnxio.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, 11, strings.Count(before.String(), "DOC ")-strings.Count(before.String(), "DOC nothing"))
	for _, c := range []struct {
		text       string
		docs, keys int
	}{{"strip", 0, 10}, {"strip{metadata=true}", 0, 0}, {"strip{doc=false metadata=true}", 11, 0}} {
		f, err := onnxio.Read(before.Bytes(), onnxio.Options{})
		require.NoError(t, err)
		r, err := passes.NewRegistry(strip.Pass)
		require.NoError(t, err)
		p, err := r.Parse(c.text)
		require.NoError(t, err)
		_, err = p.Run(context.Background(), f.Model, passes.Config{})
		require.NoError(t, err)
		require.NoError(t, ir.Verify(f.Model))
		var after bytes.Buffer
		_, err = onnxio.Write(&after, f.Model, onnxio.WriteOptions{})
		require.NoError(t, err)
		require.Equal(t, c.docs, strings.Count(after.String(), "DOC "), c.text)
		require.Equal(t, c.keys, strings.Count(after.String(), "PROP "), c.text)
	}
}
