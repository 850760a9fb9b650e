package kernel

import (
	"context"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
)

// ramp is a tensor of small numbers that repeat.
func ramp(shape ...int64) *ir.Tensor {
	v := make([]float32, ir.NumElements(shape))
	for i := range v {
		v[i] = float32(i%97)/97 - 0.5
	}
	return ir.TensorOf(v, shape...)
}

func benchmark(b *testing.B, op string, opset, macs int64, attrs map[string]*ir.Attr, in ...ir.Datum) {
	f := Lookup(ir.Op(op), opset)
	for b.Loop() {
		c := NewCall(context.Background(), ir.Op(op), opset, func(n string) *ir.Attr { return attrs[n] }, in, 1)
		if _, err := f(c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(macs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
}

func BenchmarkConv3x3(b *testing.B) {
	attrs := map[string]*ir.Attr{"pads": ir.IntsAttr("pads", []int64{1, 1, 1, 1})}
	benchmark(b, "Conv", 11, 64*64*9*56*56, attrs, ramp(1, 64, 56, 56), ramp(64, 64, 3, 3))
}

func BenchmarkConv1x1(b *testing.B) {
	benchmark(b, "Conv", 11, 256*64*56*56, nil, ramp(1, 256, 56, 56), ramp(64, 256, 1, 1))
}

func BenchmarkConvDepthwise(b *testing.B) {
	attrs := map[string]*ir.Attr{"pads": ir.IntsAttr("pads", []int64{1, 1, 1, 1}), "group": ir.IntAttr("group", 128)}
	benchmark(b, "Conv", 11, 128*9*56*56, attrs, ramp(1, 128, 56, 56), ramp(128, 1, 3, 3))
}

func BenchmarkMatMul(b *testing.B) {
	benchmark(b, "MatMul", 13, 384*384*384, nil, ramp(384, 384), ramp(384, 384))
}

func BenchmarkSoftmax(b *testing.B) {
	benchmark(b, "Softmax", 13, 512*512, nil, ramp(512, 512))
}

func BenchmarkAdd(b *testing.B) {
	benchmark(b, "Add", 14, 1<<20, nil, ramp(1<<10, 1<<10), ramp(1<<10, 1<<10))
}

func BenchmarkTanh(b *testing.B) {
	benchmark(b, "Tanh", 14, 1<<20, nil, ramp(1<<10, 1<<10))
}
