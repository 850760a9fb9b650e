package kernel

import (
	"context"
	"errors"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"pgregory.net/rapid"
)

// evaluate calls the kernel of an operator of the default domain.
func evaluate(op string, opset int64, attrs []*ir.Attr, in ...ir.Datum) ([]ir.Datum, error) {
	c := NewCall(context.Background(), ir.Op(op), opset, func(name string) *ir.Attr {
		for _, a := range attrs {
			if a.Name == name {
				return a
			}
		}
		return nil
	}, in, 1)
	return Lookup(ir.Op(op), opset)(c)
}

// first is the first result's elements.
func first[T ir.Scalar](t *testing.T, op string, opset int64, attrs []*ir.Attr, in ...ir.Datum) []T {
	t.Helper()
	out, err := evaluate(op, opset, attrs, in...)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	v, err := ir.Elements[T](out[0].(*ir.Tensor))
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return v
}

func fails(t *testing.T, want, op string, opset int64, attrs []*ir.Attr, in ...ir.Datum) {
	t.Helper()
	if _, err := evaluate(op, opset, attrs, in...); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want one with %q", op, err, want)
	}
}

func TestTablesAreSorted(t *testing.T) {
	for _, table := range [][]row{onnxTable[:], mlTable[:], contribTable[:], previewTable[:], trainingTable[:]} {
		if !sort.SliceIsSorted(table, func(i, j int) bool { return table[i].typ < table[j].typ }) {
			t.Error("a table is not sorted: Lookup searches it")
		}
	}
	if Lookup(ir.OpID{Domain: "com.example", Type: "Add"}, 1) != nil || Lookup(ir.Op("Nonesuch"), 1) != nil {
		t.Error("Lookup finds what is not there")
	}
}

// TestFloat16 converts every bit pattern to float32 and back, and every midpoint between neighbours.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		h := uint16(h)
		f := Float16ToFloat32(h)
		if got := Float32ToFloat16(f); got != h && f == f {
			t.Fatalf("%#04x becomes %g and then %#04x", h, f, got)
		}
		if f != f && Float32ToFloat16(f)&0x7fff <= 0x7c00 {
			t.Fatalf("NaN %#04x does not stay NaN", h)
		}
		if abs := h & 0x7fff; abs < 0x7bff {
			next := Float16ToFloat32(h + 1)
			mid := float32((float64(f) + float64(next)) / 2)
			if got, even := Float32ToFloat16(mid), h+h&1; got != even {
				t.Fatalf("the midpoint %g of %#04x and %#04x becomes %#04x", mid, h, h+1, got)
			}
			if got := Float32ToFloat16(math.Nextafter32(mid, next)); got != h+1 {
				t.Fatalf("just beyond the midpoint of %#04x is %#04x", h, got)
			}
		}
	}
	for f, want := range map[float32]uint16{65519.996: 0x7bff, 65520: 0x7c00, -1e30: 0xfc00, 2.9802322e-08: 0, 2.9802326e-08: 1} {
		if got := Float32ToFloat16(f); got != want {
			t.Errorf("%g becomes %#04x, want %#04x", f, got, want)
		}
	}
}

func TestBFloat16(t *testing.T) {
	for h := range 1 << 16 {
		h := uint16(h)
		f := BFloat16ToFloat32(h)
		if got := Float32ToBFloat16(f); got != h && f == f {
			t.Fatalf("%#04x becomes %g and then %#04x", h, f, got)
		}
		if b := math.Float32bits(f) | 0x8000; h&0x7fff < 0x7f7f && Float32ToBFloat16(math.Float32frombits(b)) != h+h&1 {
			t.Fatalf("the midpoint above %#04x does not round to even", h)
		}
	}
}

// TestMinifloats converts every bit pattern to float32 and back, and checks that midpoints round to even.
func TestMinifloats(t *testing.T) {
	for _, d := range []ir.DType{ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float4E2M1} {
		m, _ := format8(d)
		for b := range 1 << d.Bits() {
			b := uint8(b)
			f := m.decode(b)
			if f != f {
				continue
			}
			if got := m.encode(f, true); got != b && !math.IsInf(float64(f), 0) {
				t.Errorf("%s: %#02x becomes %g and then %#02x", d, b, f, got)
			}
			if b&^m.sign < m.top {
				mid := (f + m.decode(b+1)) / 2
				if got := m.encode(mid, true); got != b+b&1 {
					t.Errorf("%s: the midpoint %g above %#02x becomes %#02x", d, mid, b, got)
				}
			}
		}
	}
	m, _ := format8(ir.Float8E4M3FN)
	for f, want := range map[float32]float32{448: 448, 1000: 448, float32(math.Inf(-1)): -448, 464: 448} {
		if got := m.decode(m.encode(f, true)); got != want {
			t.Errorf("float8e4m3fn: %g saturates to %g, want %g", f, got, want)
		}
	}
	if got := m.decode(m.encode(480.1, false)); got == got {
		t.Errorf("float8e4m3fn: 480.1 becomes %g without saturation, want NaN", got)
	}
}

// TestRoundOnce converts float64 to float16 directly where a step by way of float32 would round twice.
func TestRoundOnce(t *testing.T) {
	x := 1 + math.Ldexp(1, -11) + math.Ldexp(1, -40) // just above a midpoint of float16, which float32 cannot tell
	v := first[uint16](t, "Cast", 13, []*ir.Attr{ir.IntAttr("to", int64(ir.Float16))}, ir.TensorOf([]float64{x}))
	if v[0] != 0x3c01 {
		t.Errorf("%v becomes %#04x, want 0x3c01", x, v[0])
	}
}

func TestNarrowIntegersPack(t *testing.T) {
	x := ir.TensorOf([]int32{-8, 7, -1, 9, 3})
	out, err := evaluate("Cast", 21, []*ir.Attr{ir.IntAttr("to", int64(ir.Int4))}, x)
	if err != nil {
		t.Fatal(err)
	}
	b, err := out[0].(*ir.Tensor).Bytes()
	if err != nil || !slices.Equal(b, []byte{0x78, 0x9f, 0x03}) {
		t.Errorf("bytes %x, %v", b, err)
	}
	if v, _ := ints(out[0].(*ir.Tensor)); !slices.Equal(v, []int64{-8, 7, -1, -7, 3}) {
		t.Errorf("values %v: 9 should wrap to -7", v)
	}
}

func TestSpecialValues(t *testing.T) {
	nan, inf, zero := float32(math.NaN()), float32(math.Inf(1)), float32(math.Copysign(0, -1))
	same := func(name string, got, want []float32) {
		t.Helper()
		if !slices.EqualFunc(got, want, func(a, b float32) bool { return a != a && b != b || math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	x, y := ir.TensorOf([]float32{nan, 1, zero, -inf}), ir.TensorOf([]float32{1, nan, 0, inf})
	same("Max", first[float32](t, "Max", 13, nil, x, y), []float32{nan, nan, 0, inf})
	same("Min", first[float32](t, "Min", 13, nil, x, y), []float32{nan, nan, zero, -inf})
	same("Relu", first[float32](t, "Relu", 14, nil, x), []float32{nan, 1, zero, 0})
	same("Abs", first[float32](t, "Abs", 13, nil, x), []float32{nan, 1, 0, inf})
	same("Neg", first[float32](t, "Neg", 13, nil, x), []float32{nan, -1, 0, inf})
	same("Clip", first[float32](t, "Clip", 13, nil, x, ir.ScalarOf(float32(-2)), ir.ScalarOf(float32(0.5))), []float32{nan, 0.5, zero, -2})
	same("Clip with min above max", first[float32](t, "Clip", 13, nil, ir.TensorOf([]float32{0}), ir.ScalarOf(float32(3)), ir.ScalarOf(float32(1))), []float32{1})
	same("Div", first[float32](t, "Div", 14, nil, ir.TensorOf([]float32{1, -1, 0}), ir.TensorOf([]float32{0, 0, 0})), []float32{inf, -inf, nan})
	same("Sqrt", first[float32](t, "Sqrt", 13, nil, ir.TensorOf([]float32{-1, zero})), []float32{nan, zero})
	same("Pow", first[float32](t, "Pow", 15, nil, ir.TensorOf([]float32{0, -2, -8, nan}), ir.TensorOf([]float32{0, 3, 0.5, 0})), []float32{1, -8, nan, 1})
	same("Mul after NaN", first[float32](t, "Mul", 14, nil, ir.TensorOf([]float32{inf}), ir.TensorOf([]float32{0})), []float32{nan})
	same("Softmax", first[float32](t, "Softmax", 13, nil, ir.TensorOf([]float32{-inf, 0})), []float32{0, 1})
}

func TestIntegers(t *testing.T) {
	if v := first[int8](t, "Add", 14, nil, ir.TensorOf([]int8{127, -128}), ir.TensorOf([]int8{1, -1})); !slices.Equal(v, []int8{-128, 127}) {
		t.Errorf("Add does not wrap: %v", v)
	}
	if v := first[int32](t, "Div", 14, nil, ir.TensorOf([]int32{-7, 7, 5}), ir.TensorOf([]int32{2, -2, -1})); !slices.Equal(v, []int32{-3, -3, -5}) {
		t.Errorf("Div does not truncate: %v", v)
	}
	fails(t, "division by zero", "Div", 14, nil, ir.TensorOf([]int64{1}), ir.TensorOf([]int64{0}))
	fails(t, "overflows", "Div", 14, nil, ir.TensorOf([]int64{math.MinInt64}), ir.TensorOf([]int64{-1}))
	fails(t, "division by zero", "Mod", 13, nil, ir.TensorOf([]uint8{1}), ir.TensorOf([]uint8{0}))
	x, y := ir.TensorOf([]int32{-7, 7, -7, math.MinInt32}), ir.TensorOf([]int32{3, -3, -3, -1})
	if v := first[int32](t, "Mod", 13, nil, x, y); !slices.Equal(v, []int32{2, -2, -1, 0}) {
		t.Errorf("Mod takes the sign of the divisor: %v", v)
	}
	if v := first[int32](t, "Mod", 13, []*ir.Attr{ir.IntAttr("fmod", 1)}, x, y); !slices.Equal(v, []int32{-1, 1, -1, 0}) {
		t.Errorf("Mod with fmod takes the sign of the dividend: %v", v)
	}
	if v := first[int64](t, "Pow", 15, nil, ir.TensorOf([]int64{3, -1, 2}), ir.TensorOf([]int64{40, -3, -1})); !slices.Equal(v, []int64{12157665459056928801 - 1<<63 - 1<<63, -1, 0}) {
		t.Errorf("Pow: %v", v)
	}
}

func TestLimits(t *testing.T) {
	huge := ir.TensorOf([]int64{1 << 20, 1 << 20})
	fails(t, "1048576 1048576", "ConstantOfShape", 9, nil, huge)
	fails(t, "1048576 1048576", "Expand", 13, nil, ir.ScalarOf(float32(1)), huge)
	fails(t, "1099511627776", "Range", 11, nil, ir.ScalarOf(int64(0)), ir.ScalarOf(int64(1<<40)), ir.ScalarOf(int64(1)))
	fails(t, "pads 9223372036854775807", "Pad", 13, nil, ir.TensorOf([]float32{1}), ir.TensorOf([]int64{math.MaxInt64, 0}))
	fails(t, "exceed", "Tile", 13, nil, ir.TensorOf([]float32{1, 2}), ir.TensorOf([]int64{1 << 40}))
	c := NewCall(context.Background(), ir.Op("Add"), 14, func(string) *ir.Attr { return nil }, []ir.Datum{ramp(100), ramp(100)}, 1)
	c.Limit = 399
	if _, err := addOp(c); err == nil {
		t.Error("100 floats fit into 399 bytes")
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, op := range []string{"MatMul", "Tanh", "Add"} {
		n := int64(1200)
		c := NewCall(ctx, ir.Op(op), 14, func(string) *ir.Attr { return nil }, []ir.Datum{ramp(n, n), ramp(n, n)}, 1)
		if _, err := Lookup(c.Op, 14)(c); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestVersions(t *testing.T) {
	x := ramp(2, 3, 4)
	// Below opset 7 the second operand lies at an axis of the first.
	legacy := []*ir.Attr{ir.IntAttr("broadcast", 1), ir.IntAttr("axis", 1)}
	got := first[float32](t, "Add", 6, legacy, x, ir.TensorOf([]float32{1, 2, 3}))
	want := first[float32](t, "Add", 7, nil, x, ir.TensorOf([]float32{1, 2, 3}, 3, 1))
	if !slices.Equal(got, want) {
		t.Errorf("Add 6 gives %v, want %v", got, want)
	}
	// Softmax below opset 13 flattens to a matrix.
	if v := first[float32](t, "Softmax", 11, nil, ramp(1, 2, 2)); math.Abs(float64(v[0]+v[1]+v[2]+v[3])-1) > 1e-6 {
		t.Errorf("Softmax 11 gives %v", v)
	}
	if v := first[float32](t, "Clip", 6, []*ir.Attr{ir.FloatAttr("max", 1)}, ir.TensorOf([]float32{-5, 5})); !slices.Equal(v, []float32{-5, 1}) {
		t.Errorf("Clip 6 gives %v", v)
	}
	for opset, attr := range map[int64][]*ir.Attr{1: {ir.IntsAttr("axes", []int64{1})}, 13: nil} {
		var in []ir.Datum
		if in = []ir.Datum{ramp(2, 1)}; opset >= 13 {
			in = append(in, ir.TensorOf([]int64{1}))
		}
		out, err := evaluate("Squeeze", opset, attr, in...)
		if err != nil || out[0].(*ir.Tensor).Rank() != 1 {
			t.Errorf("Squeeze %d: %v, %v", opset, out, err)
		}
	}
}

// TestBroadcastProperty compares Sub with a loop over coordinates, for shapes with ones, zeros and missing axes.
func TestBroadcastProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		out := rapid.SliceOfN(rapid.Int64Range(0, 4), 0, 4).Draw(t, "shape")
		part := func(name string) []int64 {
			s := slices.Clone(out[rapid.IntRange(0, len(out)).Draw(t, name+" missing"):])
			for i := range s {
				if rapid.Bool().Draw(t, name+" one") {
					s[i] = 1
				}
			}
			return s
		}
		as, bs := part("a"), part("b")
		shape, err := broadcast(as, bs)
		if err != nil {
			t.Fatal(err)
		}
		if as == nil || bs == nil {
			t.Skip("nil shapes are vectors to TensorOf")
		}
		a, b := rampInts(as), rampInts(bs)
		res, err := evaluate("Sub", 14, nil, a, b)
		if err != nil {
			t.Fatal(err)
		}
		r := res[0].(*ir.Tensor)
		if !slices.Equal(r.Shape(), shape) {
			t.Fatalf("shape %v, want %v", r.Shape(), shape)
		}
		av, _ := ir.Elements[int64](a)
		bv, _ := ir.Elements[int64](b)
		rv, _ := ir.Elements[int64](r)
		for i, x := range rv {
			if want := av[place(i, shape, as)] - bv[place(i, shape, bs)]; x != want {
				t.Fatalf("element %d of %v - %v is %d, want %d", i, as, bs, x, want)
			}
		}
	})
}

func rampInts(shape []int64) *ir.Tensor {
	v := make([]int64, ir.NumElements(shape))
	for i := range v {
		v[i] = int64(i*i + 1)
	}
	return ir.TensorOf(v, shape...)
}

// place is the element of an operand that belongs to element i of the result.
func place(i int, shape, operand []int64) int {
	at, step := 0, 1
	for k := len(shape) - 1; k >= 0; k-- {
		c := i % int(shape[k])
		i /= int(shape[k])
		if j := k - len(shape) + len(operand); j >= 0 {
			if operand[j] != 1 {
				at += c * step
			}
			step *= int(operand[j])
		}
	}
	return at
}

// TestMovementProperty: transposing twice, splitting and joining, padding and slicing give the tensor back, for types of all widths.
func TestMovementProperty(t *testing.T) {
	types := []ir.DType{ir.Int2, ir.Uint4, ir.Bool, ir.Float16, ir.Float32, ir.Int64, ir.Complex128, ir.String}
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.Int64Range(0, 5), 1, 4).Draw(t, "shape")
		x := sample(rapid.SampledFrom(types).Draw(t, "type"), shape)
		rank := len(shape)
		axes := make([]int64, rank)
		for i := range axes {
			axes[i] = int64(i)
		}
		perm := rapid.Permutation(axes).Draw(t, "perm")
		inverse := make([]int64, rank)
		for i, p := range perm {
			inverse[p] = int64(i)
		}
		y := must(t, "Transpose", []*ir.Attr{ir.IntsAttr("perm", perm)}, x)
		sameTensor(t, x, must(t, "Transpose", []*ir.Attr{ir.IntsAttr("perm", inverse)}, y))

		before := rapid.SliceOfN(rapid.Int64Range(0, 3), rank, rank).Draw(t, "before")
		after := rapid.SliceOfN(rapid.Int64Range(0, 3), rank, rank).Draw(t, "after")
		y = must(t, "Pad", nil, x, ir.TensorOf(slices.Concat(before, after)))
		ends := slices.Clone(before)
		for i := range ends {
			ends[i] += shape[i]
		}
		sameTensor(t, x, must(t, "Slice", nil, y, ir.TensorOf(before), ir.TensorOf(ends)))

		reversed := must(t, "Slice", nil, x, ir.TensorOf([]int64{-1}), ir.TensorOf([]int64{math.MinInt64}), ir.TensorOf([]int64{0}), ir.TensorOf([]int64{-1}))
		sameTensor(t, x, must(t, "Slice", nil, reversed, ir.TensorOf([]int64{-1}), ir.TensorOf([]int64{math.MinInt64}), ir.TensorOf([]int64{0}), ir.TensorOf([]int64{-1})))

		at := rapid.Int64Range(0, shape[0]).Draw(t, "cut")
		cut := func(from, to int64) *ir.Tensor {
			return must(t, "Slice", nil, x, ir.TensorOf([]int64{from}), ir.TensorOf([]int64{to}))
		}
		sameTensor(t, x, must(t, "Concat", []*ir.Attr{ir.IntAttr("axis", 0)}, cut(0, at), cut(at, shape[0])))
	})
}

func must(t *rapid.T, op string, attrs []*ir.Attr, in ...ir.Datum) *ir.Tensor {
	out, err := evaluate(op, 21, attrs, in...)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return out[0].(*ir.Tensor)
}

// sample is a tensor whose elements differ where the type allows.
func sample(d ir.DType, shape []int64) *ir.Tensor {
	n := ir.NumElements(shape)
	if d == ir.String {
		s := make([]string, n)
		for i := range s {
			s[i] = strings.Repeat("x", i%7)
		}
		return ir.NewStringTensor(shape, s)
	}
	b := make([]byte, d.ByteLen(n))
	for i := range b {
		b[i] = byte(i*37 + i/5)
	}
	if spare := int(n) * d.Bits() % 8; spare != 0 { // bits behind the last element are zero
		b[len(b)-1] &= 1<<spare - 1
	}
	return ir.NewTensor(d, shape, b)
}

func sameTensor(t *rapid.T, want, got *ir.Tensor) {
	t.Helper()
	if want.DType() != got.DType() || !slices.Equal(want.Shape(), got.Shape()) {
		t.Fatalf("%s, want %s", got.Type(), want.Type())
	}
	if want.DType() == ir.String {
		a, _ := want.Strings()
		if b, _ := got.Strings(); !slices.Equal(a, b) {
			t.Fatalf("%q, want %q", b, a)
		}
		return
	}
	a, _ := want.Bytes()
	if b, _ := got.Bytes(); !slices.Equal(a, b) {
		t.Fatalf("%x, want %x", b, a)
	}
}
