package analysis

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/onnxopt/onnxopt/ir"
)

func TestSaturation(t *testing.T) {
	assert.EqualValues(t, 6, Mul(2, 3))
	assert.EqualValues(t, 0, Mul(0, math.MaxInt64))
	assert.EqualValues(t, math.MaxInt64, Mul(1<<40, 1<<40))
	assert.EqualValues(t, math.MaxInt64, Mul(1<<32, 1<<31))
	assert.EqualValues(t, math.MaxInt64, Add(math.MaxInt64, 1))
	assert.EqualValues(t, 5, Add(2, 3))
}

func TestBytes(t *testing.T) {
	o := Options{Sizes: map[string]int64{"N": 3}}
	for _, c := range []struct {
		t    *ir.Type
		want int64
		ok   bool
	}{
		{ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N"), ir.Static(2)}), 24, true},
		{ir.TensorType(ir.Int4, ir.Shape{ir.Symbol("N")}), 2, true},
		{ir.TensorType(ir.Float32, ir.Shape{}), 4, true},
		{ir.TensorType(ir.Float32, ir.Shape{ir.Static(0), ir.Static(9)}), 0, true},
		{ir.TensorType(ir.Float32, ir.StaticShape(1<<40, 1<<40)), math.MaxInt64, true},
		{ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("M")}), 0, false},
		{ir.TensorType(ir.Float32, nil), 0, false},
		{ir.TensorType(ir.String, ir.Shape{}), 0, false},
		{ir.SequenceOf(nil), 0, false},
		{nil, 0, false},
	} {
		n, ok := o.Bytes(c.t)
		assert.Equal(t, c.ok, ok, c.t.String())
		assert.Equal(t, c.want, n, c.t.String())
	}
	assert.Nil(t, o.Type(nil))
}
