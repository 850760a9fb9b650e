package infer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

func TestExtend(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N"), ir.Static(3)}))
	y := g.New(nil, ir.Op("Relu"), []*ir.Value{x}).Result(0)
	g.AddOutput("y", y, nil)
	r := infer.Model(m)

	two := g.Const(ir.TensorOf([]int64{-1, 1}))
	v := y
	for range 1000 { // deep chains need no recursion
		v = g.New(nil, ir.Op("Neg"), []*ir.Value{v}).Result(0)
	}
	v = g.New(nil, ir.Op("Reshape"), []*ir.Value{v, two}).Result(0)
	assert.Nil(t, r.Type(v))
	r.Extend(v)
	assert.Equal(t, "float[3*N,1]", r.Type(v).String())
	assert.Empty(t, r.Remarks())
	r.Extend(nil)
	r.Extend(x)

	// A size that is met later is not taken for one that was met before.
	a := g.New(nil, ir.Op("NonZero"), []*ir.Value{x}).Result(0)
	b := g.New(nil, ir.Op("NonZero"), []*ir.Value{y}).Result(0)
	r.Extend(a)
	r.Extend(b)
	assert.NotNil(t, r.Type(a))
	assert.False(t, r.SameShape(a, b))
}
