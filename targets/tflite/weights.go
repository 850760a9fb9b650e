package tflite

import (
	bits "encoding/binary"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Values of the option weights.
const (
	weightsFloat32 = "float32"
	weightsFloat16 = "float16"
	weightsInt8    = "int8"
)

// smallWeights have so few elements that nothing is gained by storing them narrow.
const smallWeights = 1024

// halve stores float constants as float16, with a DEQUANTIZE behind each, which the runtime folds when it loads the file. Numbers that
// float16 does not hold keep their constant as it is.
func (f *file) halve() {
	var ops []*operation
	for _, t := range append([]*tensor(nil), f.tensors...) {
		if t.data == nil || t.typ != typeFloat32 || t.quant != nil || len(t.data) < 4*smallWeights {
			continue
		}
		half, ok := halves(t.data)
		if !ok {
			continue
		}
		narrow := &tensor{name: t.name + "_float16", typ: typeFloat16, shape: t.shape, data: half}
		t.data = nil
		f.tensors = append(f.tensors, narrow)
		ops = append(ops, &operation{code: opDequantize, version: 3, in: []*tensor{narrow}, out: []*tensor{t}})
	}
	f.ops = append(ops, f.ops...)
}

// halves rounds float32 to float16; false if one overflows.
func halves(data []byte) ([]byte, bool) {
	h := make([]uint16, len(data)/4)
	for i := range h {
		x := math.Float32frombits(bits.LittleEndian.Uint32(data[4*i:]))
		h[i] = kernel.Float32ToFloat16(x)
		if y := kernel.Float16ToFloat32(h[i]); math.IsInf(float64(y), 0) && !math.IsInf(float64(x), 0) {
			return nil, false
		}
	}
	return ir.AsBytes(h), true
}

// dynamicRange stores the weights of convolutions and products as int8, symmetric, with a scale for each output channel; activations are
// float, and the runtime quantizes them for each run.
func (f *file) dynamicRange() {
	uses := map[*tensor]int{}
	for _, o := range f.ops {
		for _, t := range o.in {
			uses[t]++
		}
	}
	done := map[*tensor]int{}
	axes := map[opcode]int{opConv: 0, opDepthwiseConv: 3, opFullyConnected: 0}
	versions := map[opcode]int32{opConv: 5, opDepthwiseConv: 6, opFullyConnected: 12}
	for _, o := range f.ops { // weights that another kind of operator reads, too, stay
		if axis, ok := axes[o.code]; ok && len(o.in) > 1 && o.in[0].typ == typeFloat32 && len(o.in[1].shape) > axis {
			done[o.in[1]]++
		}
	}
	for _, o := range f.ops {
		axis, ok := axes[o.code]
		if !ok || len(o.in) < 2 || o.in[0].typ != typeFloat32 {
			continue
		}
		w := o.in[1]
		if w.quant != nil && w.typ == typeInt8 && done[w] == uses[w] { // by an operator before
			o.version = versions[o.code]
			continue
		}
		if w.data == nil || w.typ != typeFloat32 || len(w.data) < 4*smallWeights || done[w] != uses[w] {
			continue
		}
		if q, scales, ok := narrowed(w.data, w.shape, axis); ok {
			w.data, w.typ = q, typeInt8
			w.quant = &quant{scale: scales, zero: make([]int64, len(scales)), axis: axis}
			o.version = versions[o.code]
		}
	}
}

// narrowed quantizes float32 to int8 from -127 to 127, with a scale for each slice along an axis; false if there are numbers that are not
// finite.
func narrowed(data []byte, shape []int, axis int) (q []byte, scales []float32, ok bool) {
	inner := 1
	for _, d := range shape[axis+1:] {
		inner *= d
	}
	n := shape[axis]
	at := func(i int) float64 { return float64(math.Float32frombits(bits.LittleEndian.Uint32(data[4*i:]))) }
	largest := make([]float64, n)
	count := len(data) / 4
	for i := range count {
		x := math.Abs(at(i))
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, nil, false
		}
		c := i / inner % n
		largest[c] = max(largest[c], x)
	}
	scales = make([]float32, n)
	for c, x := range largest {
		if scales[c] = float32(x / 127); scales[c] == 0 {
			scales[c] = 1
		}
	}
	q = make([]byte, count)
	for i := range q {
		v := math.RoundToEven(at(i) / float64(scales[i/inner%n]))
		q[i] = byte(int8(max(-127, min(127, v))))
	}
	return q, scales, true
}
