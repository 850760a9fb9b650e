package fuzz

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// image is a value of batch, channels and space.
func (g *generator) image() *value {
	if x := g.any(floats(3)); x != nil && x.rank() <= 5 {
		return x
	}
	if g.depth > 0 {
		return nil
	}
	return g.input(ir.Float32, 3+g.IntN(2))
}

func (g *generator) conv() bool {
	x := g.image()
	if x == nil {
		return false
	}
	s := x.shape()
	in, out := s[1], g.between(1, 3)
	group := int64(1)
	if g.odds(4) {
		group, out = in, in
	}
	typ := pick(g.random, []string{"Conv", "Conv", "Conv", "ConvTranspose"})
	w := []int64{out, in / max(group, 1)}
	if typ == "ConvTranspose" {
		w = []int64{in, out / max(group, 1)}
	}
	for range s[2:] {
		w = append(w, g.between(1, 2))
	}
	operands := []*value{x, g.weights(x.dtype(), w...)}
	if g.odds(2) {
		operands = append(operands, g.weights(x.dtype(), out))
	}
	n, window := int64(len(s)), int64(len(s)-2)
	attrs := []*ir.Attr{}
	if group > 1 {
		attrs = append(attrs, ir.IntAttr("group", group))
	}
	for _, name := range []string{"pads", "strides", "dilations", "kernel_shape"} {
		if g.odds(3) {
			k := g.listOf(name, n, window)
			if name == "kernel_shape" {
				k = w[2:]
			}
			attrs = append(attrs, ir.IntsAttr(name, k))
		}
	}
	if g.odds(8) {
		attrs = slices.DeleteFunc(attrs, func(a *ir.Attr) bool { return a.Name == "pads" })
		attrs = append(attrs, ir.StringAttr("auto_pad", pick(g.random, words["auto_pad"])))
	}
	y := g.op(typ, operands, attrs...)
	if y != nil && g.odds(3) {
		g.normalize(y)
	}
	return y != nil
}

func (g *generator) batchNorm() bool {
	x := g.any(floats(2))
	return x != nil && g.normalize(x) != nil
}

func (g *generator) normalize(x *value) *value {
	if x.rank() < 2 || x.shape()[1] == 0 {
		return nil
	}
	c := x.shape()[1]
	in := []*value{x}
	for range 3 {
		in = append(in, g.weights(x.dtype(), c))
	}
	v := make([]float64, c)
	for i := range v {
		v[i] = 0.5 + g.Float64()
	}
	in = append(in, g.constant(encode(g.random, x.dtype(), []int64{c}, v, nil)))
	var attrs []*ir.Attr
	if g.odds(3) {
		attrs = append(attrs, ir.FloatAttr("epsilon", pick(g.random, []float32{1e-3, 0, 1e-5})))
	}
	return g.op("BatchNormalization", in, attrs...)
}

func (g *generator) pool() bool {
	x := g.image()
	if x == nil {
		return false
	}
	if g.odds(3) {
		return g.op(pick(g.random, []string{"GlobalAveragePool", "GlobalMaxPool"}), []*value{x}) != nil
	}
	n, window := int64(x.rank()), int64(x.rank()-2)
	attrs := []*ir.Attr{ir.IntsAttr("kernel_shape", g.listOf("kernel_shape", n, window))}
	for _, name := range []string{"pads", "strides"} {
		if g.odds(2) {
			attrs = append(attrs, ir.IntsAttr(name, g.listOf(name, n, window)))
		}
	}
	if g.odds(4) && g.opset() >= 10 {
		attrs = append(attrs, ir.IntAttr("ceil_mode", 1))
	}
	typ := pick(g.random, []string{"MaxPool", "AveragePool"})
	if typ == "AveragePool" && g.odds(2) {
		attrs = append(attrs, ir.IntAttr("count_include_pad", 1))
	}
	return g.op(typ, []*value{x}, attrs...) != nil
}

func (g *generator) product() bool {
	x := g.any(floats(1))
	if x == nil {
		return false
	}
	k := x.shape()[x.rank()-1]
	n := g.between(1, 3)
	if x.rank() == 2 && g.odds(2) {
		w := []int64{k, n}
		var attrs []*ir.Attr
		if g.odds(2) {
			w = []int64{n, k}
			attrs = append(attrs, ir.IntAttr("transB", 1))
		}
		if g.odds(3) {
			attrs = append(attrs, ir.FloatAttr("alpha", pick(g.random, []float32{2, 0.5, 0})))
		}
		in := []*value{x, g.weights(x.dtype(), w...)}
		if g.opset() < 11 || g.odds(2) {
			in = append(in, g.weights(x.dtype(), pick(g.random, [][]int64{{n}, {1}, {}, {1, n}})...))
		}
		return g.op("Gemm", in, attrs...) != nil
	}
	y := g.op("MatMul", []*value{x, g.weights(x.dtype(), k, n)})
	if y != nil && g.odds(2) {
		g.op("Add", []*value{y, g.weights(x.dtype(), pick(g.random, [][]int64{{n}, {1}, {1, n}})...)})
	}
	return y != nil
}

func (g *generator) reduce() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	typ := pick(g.random, []string{"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSumSquare"})
	since := int64(18)
	if typ == "ReduceSum" {
		since = 13
	}
	in, attrs := []*value{x}, []*ir.Attr(nil)
	if !g.odds(4) && x.rank() > 0 {
		axes := g.axes(int64(x.rank()))
		if g.opset() < 11 {
			for i := range axes {
				axes[i] = (axes[i] + int64(x.rank())) % int64(x.rank())
			}
		}
		in, attrs = g.list(in, since, "axes", axes...)
	}
	if g.odds(2) {
		attrs = append(attrs, ir.IntAttr("keepdims", g.between(0, 1)))
	}
	if g.odds(12) && g.opset() >= since {
		attrs = append(attrs, ir.IntAttr("noop_with_empty_axes", 1))
	}
	return g.op(typ, in, attrs...) != nil
}
