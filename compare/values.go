package compare

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// newRand is the generator of random numbers for one purpose.
func newRand(seed uint64, purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// choices lists what a scalar input is set to in turn: the constants it is compared with and, if there is only one,
// another value. It is nil for inputs that are free.
func (in genInput) choices() []float64 {
	c := in.role.choices
	if len(c) == 0 || in.role.mask || !in.typ.IsTensor() || in.typ.Elem == ir.Bool || in.typ.Elem == ir.String {
		return nil
	}
	if s := in.typ.Shape; s == nil || len(s) > 1 || len(s) == 1 && s[0].Size != 1 {
		return nil
	}
	if len(c) == 1 {
		other := math.Trunc(c[0] / 2)
		if other == c[0] {
			other++
		}
		return []float64{c[0], other}
	}
	return c
}

// set makes the inputs of a configuration.
func (g *Generator) set(c config, label string) (Set, error) {
	s := Set{Inputs: make(map[string]ir.Datum, len(g.inputs)), Label: label, Seed: g.o.Seed}
	left := g.o.Memory
	for i, in := range g.inputs {
		f := filler{g: g, in: in, c: c, choice: c.choice[i], left: &left, rng: newRand(g.o.Seed, label+"/"+in.slot.Name())}
		d, err := f.datum(in.typ)
		if err != nil {
			return s, fmt.Errorf("input %q: %w", in.slot.Name(), err)
		}
		s.Inputs[in.slot.Name()] = d
	}
	return s, nil
}

// filler makes one input.
type filler struct {
	g      *Generator
	in     genInput
	c      config
	choice int
	left   *int64
	rng    *rand.Rand
}

func (f *filler) datum(t *ir.Type) (ir.Datum, error) {
	if t == nil || t.Kind == ir.KindNone {
		t = ir.TensorType(ir.Float32, nil)
	}
	switch t.Kind {
	case ir.KindTensor:
		return f.tensor(t)
	case ir.KindSequence:
		s := &ir.Sequence{Elem: t.Of}
		for range 2 {
			d, err := f.datum(t.Of)
			if err != nil {
				return nil, err
			}
			s.Items = append(s.Items, d)
		}
		return s, nil
	case ir.KindOptional:
		d, err := f.datum(t.Of)
		return &ir.Optional{Elem: t.Of, Item: d}, err
	case ir.KindMap:
		m := &ir.Map{Of: t.Of, Keys: ir.NewStringTensor([]int64{2}, words[:2])}
		if t.Elem != ir.String {
			var err error
			if m.Keys, err = encode(t.Elem, []int64{2}, []float64{0, 1}); err != nil {
				return nil, err
			}
		}
		for range 2 {
			d, err := f.datum(t.Of)
			if err != nil {
				return nil, err
			}
			m.Values = append(m.Values, d)
		}
		return m, nil
	}
	return nil, fmt.Errorf("no values can be made for type %s", t)
}

// overhead is what a tensor takes besides its elements. It bounds the number of items in nested sequences, too.
const overhead = 512

var words = []string{"a", "b", "word", "Ünïcode", "", "42"}

func (f *filler) tensor(t *ir.Type) (*ir.Tensor, error) {
	axes := f.in.axes(f.c)
	shape := make([]int64, len(axes))
	for i, a := range axes {
		if shape[i] = a; a < 0 {
			shape[i] = f.g.size(f.c, int(^a))
		}
	}
	dtype := t.Elem
	if dtype == ir.Undefined {
		dtype = ir.Float32
	}
	n := ir.NumElements(shape)
	if n < 0 || n > (*f.left-overhead)/16 {
		return nil, errTooLarge
	}
	*f.left -= n*16 + overhead // eight bytes an element while they are made, eight for the widest type
	if dtype == ir.String {
		s := make([]string, n)
		for i := range s {
			s[i] = words[f.rng.IntN(len(words))]
		}
		return ir.NewStringTensor(shape, s), nil
	}
	parts := int64(1)
	if dtype == ir.Complex64 || dtype == ir.Complex128 {
		parts = 2
	}
	v := make([]float64, n*parts)
	last := int64(1)
	if len(shape) > 0 {
		last = shape[len(shape)-1]
	}
	for i := range v {
		v[i] = f.value(dtype, int64(i), n, last)
	}
	return encode(dtype, shape, v)
}

// value is element i of n, in rows of length last.
func (f *filler) value(d ir.DType, i, n, last int64) float64 {
	r := f.in.role
	switch {
	case r.form != formNone:
		return r.form.value(i, n)
	case len(f.in.choices()) > 0:
		return f.in.choices()[f.choice]
	case r.mask && !d.IsFloat(), r.mask && !r.index, d == ir.Bool:
		if r.mask && last > 0 && i%last == 0 { // no row is masked out as a whole
			return 1
		}
		return float64(f.rng.IntN(2))
	case r.index && r.hi < r.lo:
		return r.lo
	case r.index:
		return r.lo + float64(f.rng.Int64N(int64(min(r.hi-r.lo, 1<<40))+1))
	case len(r.choices) > 0 && f.rng.IntN(2) == 0:
		return r.choices[f.rng.IntN(len(r.choices))]
	case d.IsInt():
		return f.integer(d)
	case f.c.style == styleNormal:
		return f.rng.NormFloat64()
	}
	return f.rng.Float64() + float64(f.c.style-styleUnit)
}

// integer is an integer that nothing restricts: any value of the small types, which carry quantized numbers. Divisors are
// not zero.
func (f *filler) integer(d ir.DType) float64 {
	v := float64(f.rng.IntN(10))
	switch {
	case f.c.style != styleNormal:
		v = float64(f.rng.IntN(2)) + float64(f.c.style-styleUnit)
	case d.Bits() <= 8:
		v = float64(f.rng.IntN(1 << d.Bits()))
		if d.IsSigned() {
			v -= float64(int(1) << (d.Bits() - 1))
		}
	}
	if v == 0 && f.in.role.divisor {
		return 1
	}
	return v
}

// value is element i of n of an operand that steers an operator.
func (f form) value(i, n int64) float64 {
	switch f {
	case formShape:
		if i == n-1 {
			return -1
		}
		return 1
	case formOnes:
		return 1
	case formAxes:
		return float64(i)
	case formEnds:
		return math.MaxInt32
	case formCount:
		return 3
	}
	return 0
}

// encode makes a tensor of numbers; integers saturate, floats are rounded to the nearest.
func encode(d ir.DType, shape []int64, v []float64) (*ir.Tensor, error) {
	switch d {
	case ir.Float32, ir.Complex64:
		return ir.NewTensor(d, shape, ir.AsBytes(convert(v, func(x float64) float32 { return float32(x) }))), nil
	case ir.Float64, ir.Complex128:
		return ir.NewTensor(d, shape, ir.AsBytes(v)), nil
	case ir.Float16:
		return ir.NewTensor(d, shape, ir.AsBytes(convert(v, func(x float64) uint16 { return kernel.Float32ToFloat16(float32(x)) }))), nil
	case ir.BFloat16:
		return ir.NewTensor(d, shape, ir.AsBytes(convert(v, func(x float64) uint16 { return kernel.Float32ToBFloat16(float32(x)) }))), nil
	}
	if d.IsFloat() {
		return packed(d, shape, convert(v, nearest(d)))
	}
	switch d.Bits() {
	case 16:
		return ir.NewTensor(d, shape, ir.AsBytes(convert(v, func(x float64) uint16 { return uint16(saturate(d, x)) }))), nil
	case 32:
		return ir.NewTensor(d, shape, ir.AsBytes(convert(v, func(x float64) uint32 { return uint32(saturate(d, x)) }))), nil
	case 64:
		return ir.NewTensor(d, shape, ir.AsBytes(convert(v, func(x float64) uint64 { return saturate(d, x) }))), nil
	case 2, 4, 8:
		return packed(d, shape, convert(v, func(x float64) uint8 { return uint8(saturate(d, x)) }))
	}
	return nil, fmt.Errorf("no values can be made for elements of type %s", d)
}

func convert[T any](v []float64, f func(float64) T) []T {
	r := make([]T, len(v))
	for i, x := range v {
		r[i] = f(x)
	}
	return r
}

// packed stores the low bits of each code, as many as d has.
func packed(d ir.DType, shape []int64, codes []uint8) (*ir.Tensor, error) {
	bits := d.Bits()
	if bits == 8 {
		return ir.NewTensor(d, shape, codes), nil
	}
	per := 8 / bits
	b := make([]byte, (len(codes)+per-1)/per)
	for i, c := range codes {
		b[i/per] |= c & (1<<bits - 1) << (bits * (i % per))
	}
	return ir.NewTensor(d, shape, b), nil
}

// saturate is x as an integer of type d, in the low bits.
func saturate(d ir.DType, x float64) uint64 {
	bits := d.Bits()
	switch {
	case d == ir.Bool:
		return uint64(min(max(x, 0), 1))
	case d.IsSigned():
		top := math.Ldexp(1, bits-1)
		if x >= top {
			return 1<<(bits-1) - 1
		}
		return uint64(int64(max(x, -top)))
	}
	if top := math.Ldexp(1, bits); x >= top {
		return math.MaxUint64
	}
	return uint64(max(x, 0))
}

// nearest returns the function that finds the code of the nearest value of a float type of eight bits or less.
func nearest(d ir.DType) func(float64) uint8 {
	at := realDecoder(d)
	table := make([]float64, 1<<d.Bits())
	for i := range table {
		table[i] = at([]byte{byte(i)}, 0)
	}
	return func(x float64) uint8 {
		best, dist := 0, math.Inf(1)
		for i, y := range table {
			if e := math.Abs(x - y); e < dist {
				best, dist = i, e
			}
		}
		return uint8(best)
	}
}
