package kernel

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// ordered lists the Go types in which kernels compute on numbers that have an order.
type ordered interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// integer lists the integers among them.
type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// float lists the floats among them.
type float interface{ float32 | float64 }

// computeType is the type in which kernels compute on elements of d: float32 for the narrower floats, (u)int8 for narrower
// integers, uint8 for bools, and else d itself.
func computeType(d ir.DType) ir.DType {
	switch d {
	case ir.Float16, ir.BFloat16, ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float8E8M0, ir.Float4E2M1:
		return ir.Float32
	case ir.Int4, ir.Int2:
		return ir.Int8
	case ir.Uint4, ir.Uint2, ir.Bool:
		return ir.Uint8
	}
	return d
}

// load reads the elements in their compute type, which T must be. The caller must not change them.
func load[T ir.Scalar](t *ir.Tensor) ([]T, error) {
	var r any
	var err error
	switch d := t.DType(); d {
	case ir.Float16, ir.BFloat16:
		r, err = load16(t)
	case ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float8E8M0, ir.Float4E2M1:
		r, err = load8(t)
	case ir.Int4, ir.Int2:
		b, e := unpackBits(t)
		signed := make([]int8, len(b))
		drop := 8 - d.Bits()
		for i, v := range b {
			signed[i] = int8(v<<drop) >> drop
		}
		r, err = signed, e
	case ir.Uint4, ir.Uint2:
		r, err = unpackBits(t)
	default:
		return ir.Elements[T](t)
	}
	if v, ok := r.([]T); ok || err != nil {
		return v, err
	}
	return nil, fmt.Errorf("tensor of type %s read as another type", t.DType())
}

func load16(t *ir.Tensor) ([]float32, error) {
	b, err := ir.Elements[uint16](t)
	r := make([]float32, len(b))
	if t.DType() == ir.Float16 {
		for i, h := range b {
			r[i] = Float16ToFloat32(h)
		}
		return r, err
	}
	for i, h := range b {
		r[i] = BFloat16ToFloat32(h)
	}
	return r, err
}

func load8(t *ir.Tensor) ([]float32, error) {
	b, err := unpackBits(t)
	if err != nil {
		return nil, err
	}
	var values [256]float32
	f, ok := format8(t.DType())
	for i := range values {
		if ok {
			values[i] = f.decode(uint8(i))
		} else {
			values[i] = e8m0ToFloat32(uint8(i))
		}
	}
	r := make([]float32, len(b))
	for i, v := range b {
		r[i] = values[v]
	}
	return r, nil
}

// unpackBits returns the elements of a type of at most eight bits, one a byte, in the low bits. It may return the tensor's
// own bytes.
func unpackBits(t *ir.Tensor) ([]uint8, error) {
	b, err := t.Bytes()
	bits := t.DType().Bits()
	if err != nil || bits >= 8 {
		return b, err
	}
	r := make([]uint8, t.Len())
	per, mask := 8/bits, uint8(1<<bits-1)
	for i := range r {
		r[i] = b[i/per] >> (i % per * bits) & mask
	}
	return r, nil
}

// packBits is the inverse: the low bits of each byte, the first element in the lowest.
func packBits(v []uint8, bits int) []byte {
	if bits >= 8 {
		return v
	}
	per, mask := 8/bits, uint8(1<<bits-1)
	r := make([]byte, (len(v)+per-1)/per)
	for i, x := range v {
		r[i/per] |= x & mask << (i % per * bits)
	}
	return r
}

// pack makes a tensor of type d from elements in its compute type: floats are rounded to nearest even (saturating below 16
// bits), integers wrap. NaNs become the one quiet NaN of positive sign, because machines differ in which they produce. pack
// takes v over and may change it.
func pack[T ir.Scalar](d ir.DType, shape []int64, v []T) *ir.Tensor {
	switch v := any(v).(type) {
	case []float32:
		canonical(v)
		return packFloats(d, shape, v, true, "up")
	case []float64:
		canonical(v)
	case []int8:
		return ir.NewTensor(d, shape, packBits(ir.AsBytes(v), d.Bits()))
	case []uint8:
		return ir.NewTensor(d, shape, packBits(v, d.Bits()))
	}
	return ir.NewTensor(d, shape, ir.AsBytes(v))
}

func canonical[T float](v []T) {
	for i, x := range v {
		if x != x {
			v[i] = T(math.NaN())
		}
	}
}

// packFloats rounds to d; saturate and mode matter to the types of eight bits alone.
func packFloats(d ir.DType, shape []int64, v []float32, saturate bool, mode string) *ir.Tensor {
	switch d {
	case ir.Float16, ir.BFloat16:
		r := make([]uint16, len(v))
		for i, x := range v {
			if d == ir.Float16 {
				r[i] = Float32ToFloat16(x)
			} else {
				r[i] = Float32ToBFloat16(x)
			}
		}
		return ir.NewTensor(d, shape, ir.AsBytes(r))
	case ir.Float8E8M0:
		r := make([]uint8, len(v))
		for i, x := range v {
			r[i] = float32ToE8M0(x, mode, saturate)
		}
		return ir.NewTensor(d, shape, r)
	}
	f, ok := format8(d)
	if !ok {
		return ir.NewTensor(d, shape, ir.AsBytes(v))
	}
	r := make([]uint8, len(v))
	for i, x := range v {
		r[i] = f.encode(x, saturate)
	}
	return ir.NewTensor(d, shape, packBits(r, d.Bits()))
}

// boolTensor makes a tensor of bools from bytes that are 0 or 1.
func boolTensor(shape []int64, v []uint8) *ir.Tensor { return ir.NewTensor(ir.Bool, shape, v) }

// floats reads elements of any real type as float64.
func floats(t *ir.Tensor) ([]float64, error) {
	switch computeType(t.DType()) {
	case ir.Float32:
		return loadAs[float32, float64](t)
	case ir.Float64:
		return load[float64](t)
	case ir.Int8:
		return loadAs[int8, float64](t)
	case ir.Int16:
		return loadAs[int16, float64](t)
	case ir.Int32:
		return loadAs[int32, float64](t)
	case ir.Int64:
		return loadAs[int64, float64](t)
	case ir.Uint8:
		return loadAs[uint8, float64](t)
	case ir.Uint16:
		return loadAs[uint16, float64](t)
	case ir.Uint32:
		return loadAs[uint32, float64](t)
	case ir.Uint64:
		return loadAs[uint64, float64](t)
	}
	return nil, fmt.Errorf("elements of type %s are no numbers", t.DType())
}

// ints reads elements of any integer type or bools as int64; uint64 wraps.
func ints(t *ir.Tensor) ([]int64, error) {
	switch computeType(t.DType()) {
	case ir.Int8:
		return loadAs[int8, int64](t)
	case ir.Int16:
		return loadAs[int16, int64](t)
	case ir.Int32:
		return loadAs[int32, int64](t)
	case ir.Int64:
		return load[int64](t)
	case ir.Uint8:
		return loadAs[uint8, int64](t)
	case ir.Uint16:
		return loadAs[uint16, int64](t)
	case ir.Uint32:
		return loadAs[uint32, int64](t)
	case ir.Uint64:
		return loadAs[uint64, int64](t)
	}
	return nil, fmt.Errorf("elements of type %s are no integers", t.DType())
}

// floats32 reads elements of a float type other than double as float32.
func floats32(t *ir.Tensor) ([]float32, error) {
	if computeType(t.DType()) != ir.Float32 {
		return nil, fmt.Errorf("elements of type %s where float is needed", t.DType())
	}
	return load[float32](t)
}

func loadAs[S, T ordered](t *ir.Tensor) ([]T, error) {
	v, err := load[S](t)
	if err != nil {
		return nil, err
	}
	r := make([]T, len(v))
	for i, x := range v {
		r[i] = T(x)
	}
	return r, nil
}

// floats is [floats], whose result counts against the limit where it is no view of the tensor.
func (c *Call) floats(t *ir.Tensor) ([]float64, error) {
	if t.DType() != ir.Float64 {
		if err := c.reserve(t.Len(), 8); err != nil {
			return nil, err
		}
	}
	return floats(t)
}

// floats32 is [floats32] likewise.
func (c *Call) floats32(t *ir.Tensor) ([]float32, error) {
	if t.DType() != ir.Float32 {
		if err := c.reserve(t.Len(), 4); err != nil {
			return nil, err
		}
	}
	return floats32(t)
}

// ints is [ints] likewise.
func (c *Call) ints(t *ir.Tensor) ([]int64, error) {
	if t.DType() != ir.Int64 {
		if err := c.reserve(t.Len(), 8); err != nil {
			return nil, err
		}
	}
	return ints(t)
}

// room is an empty slice for n elements, which count against the limit.
func room(c *Call, n int) ([]float64, error) {
	v, err := alloc[float64](c, []int64{int64(n)})
	return v[:0], err
}

// clone is a copy that counts against the limit.
func clone[T any](c *Call, v []T) ([]T, error) {
	r, err := alloc[T](c, []int64{int64(len(v))})
	copy(r, v)
	return r, err
}

// intsOperand is operand i as a list of integers; ok is false if it is omitted.
func (c *Call) intsOperand(i int) (v []int64, ok bool, err error) {
	t, err := c.Tensor(i)
	if t == nil || err != nil {
		return nil, false, err
	}
	v, err = c.ints(t)
	return v, true, err
}

// scalarInt is operand i as one integer; ok is false if it is omitted.
func (c *Call) scalarInt(i int) (v int64, ok bool, err error) {
	l, ok, err := c.intsOperand(i)
	if err != nil || !ok {
		return 0, false, err
	}
	if len(l) != 1 {
		return 0, false, fmt.Errorf("operand %d has %d elements where one is needed", i, len(l))
	}
	return l[0], true, nil
}

// scalarFloat is operand i as one number; ok is false if it is omitted.
func (c *Call) scalarFloat(i int) (v float64, ok bool, err error) {
	t, err := c.Tensor(i)
	if t == nil || err != nil {
		return 0, false, err
	}
	l, err := floats(t)
	if err == nil && len(l) != 1 {
		err = fmt.Errorf("operand %d has %d elements where one is needed", i, len(l))
	}
	if err != nil {
		return 0, false, err
	}
	return l[0], true, nil
}
