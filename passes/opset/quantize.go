package opset

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// limits is the range of a quantized type that clipping reaches; ok is false for types that are not spelled out.
func limits(d ir.DType) (least, most float64, ok bool) {
	switch d {
	case ir.Uint8:
		return 0, 255, true
	case ir.Int8:
		return -128, 127, true
	case ir.Uint16:
		return 0, 65535, true
	case ir.Int16:
		return -32768, 32767, true
	}
	return 0, 0, false
}

// quantizePrecisionDown drops the precision of the division where it is that of the scale.
func quantizePrecisionDown(s *site) {
	if p := s.int("precision"); p != 0 && ir.DType(p) != s.dtype(s.in(1)) {
		if ir.DType(p) != ir.Float32 {
			s.refuse("attribute precision came with opset 23")
			return
		}
		s.tolerant()
		s.operand(0, s.cast(s.in(0), ir.Float32))
		s.operand(1, s.cast(s.in(1), ir.Float32))
	}
	s.n.RemoveAttr("precision")
}

// dequantizeOutputDown casts the result where it is not of the type of the scale.
func dequantizeOutputDown(s *site) {
	o := ir.DType(s.int("output_dtype"))
	s.n.RemoveAttr("output_dtype")
	if s.narrowWeights() {
		return
	}
	if o == ir.Undefined || o == s.dtype(s.in(1)) {
		return
	}
	s.tolerant()
	list := s.n.Attrs()
	s.replace(s.cast(s.opa("DequantizeLinear", list, s.in(0), s.cast(s.in(1), ir.Float32), s.in(2)), o))
}

// quantized is the type that n quantizes to.
func (s *site) quantized() ir.DType {
	if z := s.in(2); z != nil {
		return s.needDType(z)
	}
	if a := s.n.Attr("output_dtype"); a != nil && a.Int() != 0 {
		return ir.DType(a.Int())
	}
	return ir.Uint8
}

// quantizeBlocksDown spells out blocks and 16 bits, which came with version 21.
func quantizeBlocksDown(s *site) {
	to := s.quantized()
	old := to == ir.Uint8 || to == ir.Int8 || !to.IsInt()
	if s.int("block_size") != 0 || !old {
		if !to.IsInt() {
			s.refuse("blocks of %s came with opset 21", to)
			return
		}
		s.quantizeSpelled(to)
		return
	}
	s.n.RemoveAttr("block_size")
	s.n.RemoveAttr("output_dtype")
	if s.in(2) == nil && to != ir.Uint8 {
		zero := numberOf(to, 0)
		if zero == nil {
			s.refuse("quantization to %s without a zero point came with opset 21", to)
			return
		}
		z := s.constant(zero)
		if r := s.rank(s.in(1)); r != 0 {
			z = s.op("Expand", z, s.shapeOf(s.in(1)))
		}
		s.operand(2, z)
	}
}

// narrowWeights gives constant weights of a type that the version does not have a wider one. It reports whether n was replaced.
func (s *site) narrowWeights() (done bool) {
	x, z := s.in(0), s.in(2)
	now := schema.Lookup(s.n.Op(), s.to)
	d := s.dtype(x)
	if d == ir.Undefined || x.Const() == nil || z != nil && z.Const() == nil || now.Inputs()[0].Types().Tensor>>d&1 != 0 {
		return false
	}
	w := ir.Int8
	switch {
	case !d.IsInt():
		s.dequantizeSpelled()
		return true
	case d.IsUnsigned():
		w = ir.Uint8
	}
	s.operand(0, s.castConst(x, w))
	s.drop(x)
	if z != nil {
		s.operand(2, s.castConst(z, w))
		s.drop(z)
	}
	return false
}

// dequantizeWeightsDown is for versions that brought types only.
func dequantizeWeightsDown(s *site) { s.narrowWeights() }

func dequantizeBlocksDown(s *site) {
	if s.narrowWeights() {
		return
	}
	d := s.dtype(s.in(0))
	if s.int("block_size") != 0 || d == ir.Int16 || d == ir.Uint16 {
		s.dequantizeSpelled()
		return
	}
	s.n.RemoveAttr("block_size")
}

// quantizeTypesDown computes in float32, the only float type before version 19.
func quantizeTypesDown(s *site) {
	if t := s.quantized(); !t.IsInt() {
		s.refuse("quantization to %s came with opset 19", t)
		return
	}
	if d := s.dtype(s.in(1)); d == ir.Int32 {
		s.refuse("a scale of type int32 came with opset 19")
		return
	}
	for i := range 2 {
		if d := s.dtype(s.in(i)); d == ir.Float16 || d == ir.BFloat16 {
			s.tolerant()
			s.operand(i, s.cast(s.in(i), ir.Float32))
		}
	}
	s.n.RemoveAttr("saturate")
}

func dequantizeTypesDown(s *site) {
	if s.narrowWeights() {
		return
	}
	if d := s.dtype(s.in(0)); d != ir.Undefined && !d.IsInt() {
		s.refuse("dequantization of %s came with opset 19", d)
		return
	}
	if d := s.dtype(s.in(1)); d == ir.Float16 || d == ir.BFloat16 {
		s.tolerant()
		s.replace(s.cast(s.opa("DequantizeLinear", s.n.Attrs(), s.in(0), s.cast(s.in(1), ir.Float32), s.in(2)), d))
	}
}

// quantizeAxisDown: version 10 has one scale.
func quantizeAxisDown(s *site) {
	if s.oneScale() {
		s.n.RemoveAttr("axis")
		return
	}
	s.quantizeSpelled(s.quantized())
}

func dequantizeAxisDown(s *site) {
	if s.oneScale() {
		s.n.RemoveAttr("axis")
		return
	}
	s.dequantizeSpelled()
}

// oneScale reports whether the scale is a scalar.
func (s *site) oneScale() bool { return s.rank(s.in(1)) == 0 }

// along gives a scale or zero point the form in which it broadcasts to x: repeated in blocks, or along one axis.
func (s *site) along(v *ir.Value) *ir.Value {
	x := s.in(0)
	switch r := s.rank(s.in(1)); {
	case r == 0:
		return v
	case r == 1 && s.int("block_size") == 0:
		rx := s.needRank(x)
		if s.why != "" {
			return v
		}
		if d := s.shape(s.in(1)); d[0].IsStatic() && d[0].Size == 1 {
			return s.squeeze(v, 0)
		}
		k, ok := s.axis(s.int("axis"), rx)
		if !ok {
			return v
		}
		axes := []int64{}
		for a := range rx {
			if a != k {
				axes = append(axes, int64(a))
			}
		}
		return s.unsqueeze(v, axes...)
	case r < 0 || s.int("block_size") == 0:
		s.refuse("the rank of its scale is not known")
		return v
	default:
		k, ok := s.axis(s.int("axis"), r)
		if !ok {
			return v
		}
		b := s.int("block_size")
		shape := s.shapeOf(v)
		head, tail := s.slice(shape, 0, 0, int64(k+1), 1), s.slice(shape, 0, int64(k+1), int64(r), 1)
		wide := s.op("Expand", s.unsqueeze(v, int64(k+1)), s.concat(0, head, s.vec(b), tail))
		flat := s.keepEmpty(wide, s.concat(0, s.slice(shape, 0, 0, int64(k), 1), s.op("Mul", s.dim(v, int64(k)), s.vec(b)), tail))
		return s.op("Slice", flat, s.vec(0), s.dim(x, int64(k)), s.vec(int64(k)))
	}
}

// quantizeSpelled is clip(round(x/scale) + zero point) in float32.
func (s *site) quantizeSpelled(to ir.DType) {
	s.tolerant()
	least, most, ok := limits(to)
	if !ok {
		s.refuse("quantization to %s is not spelled out", to)
		return
	}
	f := func(v *ir.Value) *ir.Value { return s.cast(v, ir.Float32) }
	y := s.op("Round", s.op("Div", f(s.in(0)), s.along(f(s.in(1)))))
	if z := s.in(2); z != nil {
		y = s.op("Add", y, s.along(f(z)))
	}
	y = s.op("Clip", y, s.number(ir.Float32, least), s.number(ir.Float32, most))
	s.replace(s.cast(y, to))
}

// dequantizeSpelled is (x - zero point) * scale in the type of the scale.
func (s *site) dequantizeSpelled() {
	s.tolerant()
	d := s.needDType(s.n.Result(0))
	if s.why != "" {
		return
	}
	y := s.cast(s.in(0), ir.Float32)
	if z := s.in(2); z != nil {
		y = s.op("Sub", y, s.along(s.cast(z, ir.Float32)))
	}
	y = s.op("Mul", y, s.along(s.cast(s.in(1), ir.Float32)))
	s.replace(s.cast(y, d))
}

// qLinearMatMulDown gives the scales the only type before version 21.
func qLinearMatMulDown(s *site) {
	for _, i := range []int{1, 4, 6} {
		if d := s.dtype(s.in(i)); d == ir.Float16 || d == ir.BFloat16 {
			s.tolerant()
			s.operand(i, s.cast(s.in(i), ir.Float32))
		}
	}
}
