package kernel

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// castOp converts elements to the type of attribute to. Float to integer truncates towards zero and then wraps (values that
// int64 cannot hold, infinities and NaN give the smallest int64 before wrapping); anything but zero is true, NaN as well;
// narrowing a float rounds to nearest even, to float8 with saturation unless the attribute says otherwise.
func castOp(c *Call) ([]ir.Datum, error) {
	to := ir.DType(c.int("to", 0))
	if a := c.Attr("to"); a != nil && a.Kind == ir.AttrString { // version 1
		to, _ = ir.ParseDType(a.Str())
	}
	return castTo(c, to)
}

// castLikeOp converts to the type of the second operand.
func castLikeOp(c *Call) ([]ir.Datum, error) {
	like, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	return castTo(c, like.DType())
}

func castTo(c *Call, to ir.DType) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if !to.Valid() {
		return nil, fmt.Errorf("cast to type number %d", to)
	}
	return one(cast(c, x, to))
}

// cast converts a tensor to another element type.
func cast(c *Call, x *ir.Tensor, to ir.DType) (*ir.Tensor, error) {
	from := x.DType()
	switch {
	case from == to:
		return x, nil
	case from == ir.String:
		return castStrings(c, x, to)
	case to == ir.String:
		return castToStrings(c, x)
	case isComplex(from) || isComplex(to):
		return nil, c.badType(ir.Complex64)
	case from.IsFloat():
		v, err := floats(x)
		if err != nil {
			return nil, err
		}
		return convertFloats(c, to, x.Shape(), v)
	}
	if from.Bits() >= 8 {
		switch computeType(from) {
		case ir.Int8:
			if t, err := castDirect[int8](c, x, to); t != nil || err != nil {
				return t, err
			}
		case ir.Uint8:
			if t, err := castDirect[uint8](c, x, to); t != nil || err != nil {
				return t, err
			}
		case ir.Int32:
			if t, err := castDirect[int32](c, x, to); t != nil || err != nil {
				return t, err
			}
		case ir.Int64:
			if t, err := castDirect[int64](c, x, to); t != nil || err != nil {
				return t, err
			}
		}
	}
	v, err := ints(x)
	if err != nil {
		return nil, err
	}
	if from == ir.Uint64 && (to.IsFloat()) {
		u := make([]float64, len(v))
		for i, e := range v {
			u[i] = float64(uint64(e))
			if to == ir.Float32 { // one rounding, not two
				u[i] = float64(float32(uint64(e)))
			}
		}
		return convertFloats(c, to, x.Shape(), u)
	}
	return convertInts(c, to, x.Shape(), v)
}

// castDirect converts between common types in one step, and gives nil for others.
func castDirect[S int8 | uint8 | int32 | int64](c *Call, x *ir.Tensor, to ir.DType) (*ir.Tensor, error) {
	switch to {
	case ir.Float32:
		return castElements[S, float32](c, x, to)
	case ir.Int32:
		return castElements[S, int32](c, x, to)
	case ir.Int64:
		return castElements[S, int64](c, x, to)
	}
	return nil, nil
}

func castElements[S int8 | uint8 | int32 | int64, T float32 | int32 | int64](c *Call, x *ir.Tensor, to ir.DType) (*ir.Tensor, error) {
	v, err := ir.Elements[S](x)
	if err != nil {
		return nil, err
	}
	r, err := result[T](c, x.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range v {
		r[i] = T(e)
	}
	return ir.NewTensor(to, x.Shape(), ir.AsBytes(r)), nil
}

func isComplex(d ir.DType) bool { return d == ir.Complex64 || d == ir.Complex128 }

// convertFloats makes a tensor of type to.
func convertFloats(c *Call, to ir.DType, shape []int64, v []float64) (*ir.Tensor, error) {
	switch {
	case to == ir.Bool:
		b, err := alloc[uint8](c, shape)
		if err != nil {
			return nil, err
		}
		for i, x := range v {
			b[i] = truth(x != 0)
		}
		return boolTensor(shape, b), nil
	case to == ir.Float64:
		return pack(to, shape, append([]float64{}, v...)), nil
	case to.IsFloat():
		f, err := alloc[float32](c, shape)
		if err != nil {
			return nil, err
		}
		for i, x := range v {
			if to == ir.Float32 {
				f[i] = float32(x)
			} else {
				f[i] = oddFloat32(x)
			}
		}
		canonical(f)
		return packFloats(to, shape, f, c.int("saturate", 1) != 0, c.str("round_mode", "up")), nil
	}
	n, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	for i, x := range v {
		n[i] = truncate(x)
	}
	return convertInts(c, to, shape, n)
}

// truncate is the integer part modulo 2**64 where uint64 can hold it, else the smallest int64, as x86 converts.
func truncate(x float64) int64 {
	switch {
	case x >= -1<<63 && x < 1<<63:
		return int64(x)
	case x >= 1<<63 && x < 1<<64:
		return int64(uint64(x-1<<63)) + math.MinInt64
	}
	return math.MinInt64
}

// convertInts makes a tensor of type to; narrower integers wrap.
func convertInts(c *Call, to ir.DType, shape []int64, v []int64) (*ir.Tensor, error) {
	switch computeType(to) {
	case ir.Int64, ir.Uint64:
		return ir.NewTensor(to, shape, ir.AsBytes(v)), nil
	case ir.Float64:
		return narrow[float64](c, to, shape, v)
	case ir.Float32:
		return intsToFloats(c, to, shape, v)
	case ir.Int8:
		return narrow[int8](c, to, shape, v)
	case ir.Int16:
		return narrow[int16](c, to, shape, v)
	case ir.Int32:
		return narrow[int32](c, to, shape, v)
	case ir.Uint8:
		if to == ir.Bool {
			b, err := alloc[uint8](c, shape)
			for i := range b {
				b[i] = truth(v[i] != 0)
			}
			return boolTensor(shape, b), err
		}
		return narrow[uint8](c, to, shape, v)
	case ir.Uint16:
		return narrow[uint16](c, to, shape, v)
	case ir.Uint32:
		return narrow[uint32](c, to, shape, v)
	}
	return nil, c.badType(to)
}

func narrow[T ordered](c *Call, to ir.DType, shape []int64, v []int64) (*ir.Tensor, error) {
	r, err := alloc[T](c, shape)
	for i := range r {
		r[i] = T(v[i])
	}
	return pack(to, shape, r), err
}

// intsToFloats rounds once: to float32 directly, to narrower types by way of a float32 rounded to odd.
func intsToFloats(c *Call, to ir.DType, shape []int64, v []int64) (*ir.Tensor, error) {
	r, err := alloc[float32](c, shape)
	for i := range r {
		if x := float64(v[i]); to == ir.Float32 || v[i] > 1<<53 || v[i] < -1<<53 {
			r[i] = float32(v[i])
		} else {
			r[i] = oddFloat32(x)
		}
	}
	return packFloats(to, shape, r, c.int("saturate", 1) != 0, c.str("round_mode", "up")), err
}

// castStrings parses numbers as C++ streams and Python do: decimal, exponents, inf, nan.
func castStrings(c *Call, x *ir.Tensor, to ir.DType) (*ir.Tensor, error) {
	s, err := x.Strings()
	if err != nil {
		return nil, err
	}
	if to.IsInt() || to == ir.Bool {
		v, err := alloc[int64](c, x.Shape())
		if err != nil {
			return nil, err
		}
		for i, e := range s {
			if v[i], err = parseInt(strings.TrimSpace(e)); err != nil {
				return nil, fmt.Errorf("string %q is no integer", e)
			}
		}
		return convertInts(c, to, x.Shape(), v)
	}
	v, err := alloc[float64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range s {
		bits := 64
		if to == ir.Float32 {
			bits = 32
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(e), bits)
		if err != nil && !math.IsInf(f, 0) {
			return nil, fmt.Errorf("string %q is no number", e)
		}
		v[i] = f
	}
	return convertFloats(c, to, x.Shape(), v)
}

func parseInt(s string) (int64, error) {
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		return v, nil
	}
	if v, err := strconv.ParseUint(s, 10, 64); err == nil {
		return int64(v), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	return truncate(f), err
}

// castToStrings writes numbers as NumPy does: shortest digits that read back, exponents of at least two digits.
func castToStrings(c *Call, x *ir.Tensor) (*ir.Tensor, error) {
	r, err := alloc[string](c, x.Shape())
	if err != nil {
		return nil, err
	}
	d := x.DType()
	switch {
	case d.IsFloat():
		v, err := floats(x)
		if err != nil {
			return nil, err
		}
		for i, f := range v {
			r[i] = formatFloat(f, d)
		}
	case d == ir.Bool:
		v, err := load[uint8](x)
		if err != nil {
			return nil, err
		}
		for i, b := range v {
			if r[i] = "False"; b != 0 {
				r[i] = "True"
			}
		}
	default:
		v, err := ints(x)
		if err != nil {
			return nil, err
		}
		for i, n := range v {
			if r[i] = strconv.FormatInt(n, 10); d == ir.Uint64 {
				r[i] = strconv.FormatUint(uint64(n), 10)
			}
		}
	}
	return ir.NewStringTensor(x.Shape(), r), nil
}

func formatFloat(f float64, d ir.DType) string {
	switch {
	case f != f:
		return "NaN"
	case math.IsInf(f, 1):
		return "INF"
	case math.IsInf(f, -1):
		return "-INF"
	}
	bits := 32
	if d == ir.Float64 {
		bits = 64
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, bits)
	}
	s := strconv.FormatFloat(f, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// bitCastOp reads the same bits as another type of the same size.
func bitCastOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	to := ir.DType(c.int("to", 0))
	if to.Bits() == 0 || to.Bits() != x.DType().Bits() {
		return nil, fmt.Errorf("bits of type %s read as %s", x.DType(), to)
	}
	b, err := x.Bytes()
	return one(ir.NewTensor(to, x.Shape(), b), err)
}
