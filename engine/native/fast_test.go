package native_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

// tolerance is the largest difference of an executor from its kernel, relative to the largest element.
const tolerance = 1e-5

// single is one node and its operands; an operand that is nil is omitted.
type single struct {
	domain string
	op     string
	opset  int64
	attrs  []*ir.Attr
	in     []*ir.Tensor
	out    int // the result that is looked at; it is the last one
}

func (s single) String() string {
	r := fmt.Sprintf("%s %s-%d(", s.domain, s.op, s.opset)
	for _, t := range s.in {
		if t != nil {
			r += fmt.Sprint(t.Type(), " ")
		}
	}
	for _, a := range s.attrs {
		r += fmt.Sprint(a.Name, "=", a.Int(), a.Ints(), a.Float(), a.Str(), " ")
	}
	return r + ")"
}

// form is a way to put the same node with the same values into a model.
type form struct {
	constants bool   // all operands but the first are constants
	computed  bool   // the float operands are results that die at the node, so that it may work in place
	then      string // a node that takes the result
	tap       bool   // the result is looked at
	threads   int
}

// evaluate runs the form twice and returns the last result of each, which must be the same.
func (s single) evaluate(t *testing.T, e engine.Engine, f form) (*ir.Tensor, error) {
	m := ir.NewModel(10, s.opset)
	g, feeds := m.Main, map[string]ir.Datum{}
	in := make([]*ir.Value, len(s.in))
	for i, x := range s.in {
		switch {
		case x == nil:
			continue
		case f.constants && i > 0:
			in[i] = g.Const(x)
		default:
			name := fmt.Sprint("x", i)
			in[i] = g.AddInput(name, x.Type())
			feeds[name] = x
			if f.computed && x.DType() == ir.Float32 {
				in[i] = g.New(nil, ir.Op("Mul"), []*ir.Value{in[i], g.Const(ir.ScalarOf(float32(1)))}).Result(0)
			}
		}
	}
	op := ir.Op(s.op)
	if op.Domain = s.domain; s.domain != "" {
		m.SetOpset(s.domain, 1)
	}
	y := g.NewN(nil, op, in, s.out+1, s.attrs...).Result(s.out)
	o := engine.Options{Threads: f.threads}
	if f.tap {
		o.Taps = []*ir.Value{y}
	}
	if f.then != "" {
		y = g.New(nil, ir.Op(f.then), []*ir.Value{y}).Result(0)
	}
	g.AddOutput("y", y, nil)
	session, err := e.Load(context.Background(), m, o)
	require.NoError(t, err)
	defer session.Close()
	first, err := session.Run(context.Background(), feeds)
	if err != nil {
		return nil, err
	}
	before := bytesOf(t, first["y"].(*ir.Tensor))
	second, err := session.Run(context.Background(), feeds)
	require.NoError(t, err)
	assert.Equal(t, before, bytesOf(t, second["y"].(*ir.Tensor)), "%v: two runs", s)
	assert.Equal(t, before, bytesOf(t, first["y"].(*ir.Tensor)), "%v: the second run changed a result of the first", s)
	return second["y"].(*ir.Tensor), nil
}

// bytesOf is a copy of the bits of x, in which all NaN are the same.
func bytesOf(t *testing.T, x *ir.Tensor) []byte {
	b, err := x.Bytes()
	require.NoError(t, err)
	if x.DType() != ir.Float32 {
		return append([]byte{}, b...)
	}
	v, err := ir.Elements[float32](x)
	require.NoError(t, err)
	r := append([]float32{}, v...)
	for i, e := range r {
		if e != e {
			r[i] = float32(math.NaN())
		}
	}
	return append([]byte{}, ir.AsBytes(r)...)
}

// check compares the node with the kernels, and its bits between all forms.
func (s single) check(t *testing.T) {
	want, err := s.evaluate(t, native.Portable(), form{})
	if err != nil {
		_, got := s.evaluate(t, native.New(), form{})
		assert.EqualError(t, got, err.Error(), "%v", s)
		return
	}
	got, err := s.evaluate(t, native.New(), form{})
	if !assert.NoError(t, err, "%v", s) {
		return
	}
	near(t, s, want, got)
	for _, f := range []form{{constants: true}, {computed: true}, {constants: true, computed: true}, {threads: 3}, {tap: true}} {
		other, err := s.evaluate(t, native.New(), f)
		if assert.NoError(t, err, "%v", s) {
			assert.Equal(t, bytesOf(t, got), bytesOf(t, other), "%v as %+v", s, f)
		}
	}
	fused, err := s.evaluate(t, native.New(), form{constants: true, then: "Relu"})
	require.NoError(t, err)
	separate, err := s.evaluate(t, native.New(), form{constants: true, then: "Relu", tap: true})
	require.NoError(t, err)
	assert.Equal(t, bytesOf(t, separate), bytesOf(t, fused), "%v before Relu", s)
}

// near checks that got differs from want by at most the tolerance, with NaN and infinities in the same places.
func near(t *testing.T, s single, want, got *ir.Tensor) {
	if !assert.Equal(t, want.Shape(), got.Shape(), "%v", s) {
		return
	}
	require.Equal(t, want.DType(), got.DType())
	if want.DType() != ir.Float32 {
		assert.Equal(t, positiveZeros(t, want), positiveZeros(t, got), "%v", s)
		return
	}
	a, err := ir.Elements[float32](want)
	require.NoError(t, err)
	b, err := ir.Elements[float32](got)
	require.NoError(t, err)
	largest := 1e-6
	for _, e := range a {
		if x := math.Abs(float64(e)); !math.IsInf(x, 0) && x > largest {
			largest = x
		}
	}
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		if x == y || x != x && y != y {
			continue
		}
		if !(math.Abs(x-y) <= tolerance*largest) {
			t.Errorf("%v: element %d is %v where the kernel has %v", s, i, y, x)
			return
		}
	}
}

// positiveZeros are the bits of a float16 tensor without the signs of zeros, which Relu may keep.
func positiveZeros(t *testing.T, x *ir.Tensor) []uint16 {
	require.Equal(t, ir.Float16, x.DType())
	h, err := ir.Elements[uint16](x)
	require.NoError(t, err)
	r := append([]uint16{}, h...)
	for i, e := range r {
		if e == 0x8000 {
			r[i] = 0
		}
	}
	return r
}

// source makes random operands.
type source struct{ *rand.Rand }

func newSource() source { return source{rand.New(rand.NewPCG(1, 2))} }

// tensor has elements from -3 to 3; a few are zeros of either sign, and with odd set NaN and infinities.
func (r source) tensor(odd bool, shape ...int64) *ir.Tensor {
	v := make([]float32, ir.NumElements(shape))
	special := []float32{0, float32(math.Copysign(0, -1)), 1e-39, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	if !odd {
		special = special[:3]
	}
	for i := range v {
		v[i] = r.Float32()*6 - 3
		if r.IntN(16) == 0 {
			v[i] = special[r.IntN(len(special))]
		}
	}
	return ir.TensorOf(v, append([]int64{}, shape...)...)
}

// size is from least on, mostly small.
func (r source) size(least, most int64) int64 { return least + r.Int64N(most-least+1) }

// either is one of its arguments.
func either[T any](r source, options ...T) T { return options[r.IntN(len(options))] }

// many runs random cases.
func many(t *testing.T, n int, f func(r source) single) {
	if testing.Short() {
		n /= 4
	}
	r := newSource()
	for range n {
		f(r).check(t)
	}
}
