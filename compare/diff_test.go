package compare

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/onnxopt/onnxopt/ir"
)

func f32(v ...float32) *ir.Tensor { return ir.TensorOf(v) }

var (
	nan  = float32(math.NaN())
	inf  = float32(math.Inf(1))
	zero = float32(math.Copysign(0, -1))
)

func TestRelativeDifference(t *testing.T) {
	d := Datum(f32(1, -4, 2), f32(1, -4, 3))
	assert.Equal(t, 0.25, d.Rel)
	assert.Equal(t, 1.0, d.Abs)
	assert.Equal(t, "[2]", d.Where)
	assert.InDelta(t, 10*math.Log10(21), d.SQNR, 1e-12)
	assert.InDelta(t, 23/math.Sqrt(21*26), d.Cosine, 1e-12)
	assert.False(t, d.Bits)
	assert.NoError(t, Tolerance{Rel: 0.25}.Check(d))
	assert.NoError(t, Tolerance{Abs: 1}.Check(d))
	assert.EqualError(t, Tolerance{Rel: 0.2}.Check(d), "relative difference 0.25 (absolute 1) at [2], admitted is 0.2")

	// Small values are measured against 1e-6.
	assert.InDelta(t, 1e-2, Datum(f32(0), f32(1e-8)).Rel, 1e-9)
	// An empty tensor and a scalar.
	assert.True(t, Datum(ir.TensorOf([]float32{}), ir.TensorOf([]float32{})).Same())
	assert.Equal(t, 1.0, Datum(ir.ScalarOf(float32(2)), ir.ScalarOf(float32(0))).Rel)
}

func TestSpecialValues(t *testing.T) {
	same := Datum(f32(nan, inf, -inf, 1), f32(-nan, inf, -inf, 1))
	assert.True(t, same.Same())
	assert.EqualValues(t, 1, same.NaNs)
	assert.EqualValues(t, 4, same.Floats)
	for _, b := range []*ir.Tensor{f32(1, inf, -inf, 1), f32(nan, -inf, -inf, 1), f32(nan, inf, 3e38, 1), f32(nan, inf, -inf, nan)} {
		d := Datum(f32(nan, inf, -inf, 1), b)
		assert.NotEmpty(t, d.Unlike)
		assert.Error(t, Tolerance{Rel: math.Inf(1)}.Check(d))
	}
	// -0 has the value of 0 and other bits.
	d := Datum(f32(0, 1), f32(zero, 1))
	assert.NoError(t, Tolerance{}.Check(d))
	assert.Error(t, Tolerance{Exact: true}.Check(d))
	assert.NoError(t, Tolerance{Exact: true}.Check(Datum(f32(zero), f32(zero))))
}

func TestIntegersAreEqualOrNot(t *testing.T) {
	big := int64(math.MaxInt64)
	d := Datum(ir.TensorOf([]int64{big, math.MinInt64}), ir.TensorOf([]int64{big - 1, math.MinInt64}))
	assert.Equal(t, 1.0, d.Steps)
	assert.EqualError(t, Tolerance{Rel: 1}.Check(d), "int64 off by 1 at [0], admitted is 0")
	assert.NoError(t, Tolerance{Steps: 1}.Check(d))
	d = Datum(ir.TensorOf([]int64{math.MinInt64}), ir.TensorOf([]int64{big}))
	assert.Equal(t, math.Pow(2, 64), d.Steps)
	d = Datum(ir.NewTensor(ir.Int4, []int64{3}, []byte{0x8f, 0x07}), ir.NewTensor(ir.Int4, []int64{3}, []byte{0x7f, 0x07}))
	assert.Equal(t, 15.0, d.Steps, "-8 and 7")
	assert.Equal(t, "[1]", d.Where)
	d = Datum(ir.NewTensor(ir.Uint2, []int64{3}, []byte{0b100100}), ir.NewTensor(ir.Uint2, []int64{3}, []byte{0b110100}))
	assert.Equal(t, 1.0, d.Steps)
	d = Datum(ir.NewTensor(ir.Bool, []int64{2}, []byte{0, 1}), ir.NewTensor(ir.Bool, []int64{2}, []byte{1, 1}))
	assert.Equal(t, "bool off by 1 at [0]", d.String())
}

func TestTypesShapesStrings(t *testing.T) {
	for _, c := range []struct {
		a, b ir.Datum
		want string
	}{
		{f32(1), ir.TensorOf([]float64{1}), "float[1] and double[1]"},
		{f32(1), ir.ScalarOf(float32(1)), "float[1] and float"},
		{f32(1), nil, "float[1] and nothing"},
		{nil, f32(1), "nothing and float[1]"},
		{f32(1), &ir.Sequence{}, "float[1] and a sequence"},
		{ir.NewTensor(ir.Float32, []int64{2}, []byte{1}), f32(1, 2), "tensor of type float and shape [2] needs 8 bytes and has 1"},
		{ir.NewStringTensor([]int64{1, 2}, []string{"a", "b"}), ir.NewStringTensor([]int64{1, 2}, []string{"a", "c"}), `"b" and "c" at [0 1]`},
		{&ir.Sequence{Items: []ir.Datum{f32(1)}}, &ir.Sequence{}, "1 and 0 items"},
		{&ir.Sequence{Items: []ir.Datum{f32(1), f32(1)}}, &ir.Sequence{Items: []ir.Datum{f32(1), f32(nan)}}, "item 1: 1 and NaN at [0]"},
		{&ir.Optional{Item: f32(1)}, &ir.Optional{}, "content: float[1] and nothing"},
		{&ir.Map{Keys: ir.TensorOf([]int64{1}), Values: []ir.Datum{f32(1)}}, &ir.Map{Keys: ir.TensorOf([]int64{1}), Values: nil}, "1 and 0 values"},
	} {
		assert.Equal(t, c.want, Datum(c.a, c.b).Unlike)
	}
	m := func(k int64, v float32) *ir.Map {
		return &ir.Map{Keys: ir.TensorOf([]int64{k}), Values: []ir.Datum{f32(v)}}
	}
	assert.True(t, Datum(m(1, 2), m(1, 2)).Same())
	d := Datum(m(1, 2), m(2, 4))
	assert.Equal(t, 1.0, d.Steps)
	assert.Equal(t, 1.0, d.Rel)
	assert.Equal(t, "keys, [0]", d.Where)
	assert.True(t, Datum(nil, nil).Same())
	assert.True(t, Datum(&ir.Optional{}, &ir.Optional{}).Same())
}

// The worst item of a sequence counts, each measured against its own size.
func TestSequencesAreAsFarAsTheirWorstItem(t *testing.T) {
	d := Datum(&ir.Sequence{Items: []ir.Datum{f32(100), f32(1)}}, &ir.Sequence{Items: []ir.Datum{f32(101), f32(1.5)}})
	assert.Equal(t, 0.5, d.Rel)
	assert.Equal(t, 1.0, d.Abs)
	assert.Equal(t, "item 1, [0]", d.Where)
}

func TestDecoders(t *testing.T) {
	for _, c := range []struct {
		d    ir.DType
		b    []byte
		i    int64
		want float64
	}{
		{ir.Float16, []byte{0, 0, 0x00, 0x3c}, 1, 1},
		{ir.Float16, []byte{0xff, 0x7b}, 0, 65504},
		{ir.Float16, []byte{0x01, 0x80}, 0, -math.Pow(2, -24)},
		{ir.Float16, []byte{0x00, 0xfc}, 0, math.Inf(-1)},
		{ir.Float16, []byte{0x01, 0x7c}, 0, math.NaN()},
		{ir.BFloat16, []byte{0x80, 0x3f}, 0, 1},
		{ir.Float8E5M2, []byte{0x7b}, 0, 57344},
		{ir.Float8E5M2, []byte{0x7c}, 0, math.Inf(1)},
		{ir.Float8E4M3FN, []byte{0x7e}, 0, 448},
		{ir.Float8E4M3FN, []byte{0xff}, 0, math.NaN()},
		{ir.Float8E4M3FN, []byte{0x01}, 0, math.Pow(2, -9)},
		{ir.Float8E4M3FNUZ, []byte{0x7f}, 0, 240},
		{ir.Float8E4M3FNUZ, []byte{0x80}, 0, math.NaN()},
		{ir.Float8E5M2FNUZ, []byte{0x7f}, 0, 57344},
		{ir.Float8E8M0, []byte{130}, 0, 8},
		{ir.Float4E2M1, []byte{0xf1}, 0, 0.5},
		{ir.Float4E2M1, []byte{0xf1}, 1, -6},
		{ir.Complex64, ir.AsBytes([]complex64{1 + 2i}), 1, 2},
	} {
		got := realDecoder(c.d)(c.b, c.i)
		if math.IsNaN(c.want) {
			assert.True(t, math.IsNaN(got), "%s %x", c.d, c.b)
		} else {
			assert.Equal(t, c.want, got, "%s %x", c.d, c.b)
		}
	}
	d := Datum(ir.TensorOf([]complex64{1 + 2i, 3}), ir.TensorOf([]complex64{1 + 2i, 3 + 1i}))
	assert.Equal(t, "[1]", d.Where)
	assert.Equal(t, 1.0, d.Abs)
	assert.EqualValues(t, 2, d.Floats)
}
