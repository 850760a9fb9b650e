package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// nchwcRules holds operators of domain com.microsoft.nchwc: ONNX Runtime's highest level computes convolutions and pools on channels in
// blocks, [N, C/block, spatial..., block], and describes such a tensor as [N, C rounded up, spatial...]. The block depends on the CPU.
var nchwcRules = []contribRow{
	{"AveragePool", "AveragePool", 1, blocked(inferPool)},
	{"Conv", "Conv", 2, blockedConv},
	{"GlobalAveragePool", "GlobalAveragePool", 1, blocked(inferGlobalPool)},
	{"GlobalMaxPool", "GlobalMaxPool", 1, blocked(inferGlobalPool)},
	{"MaxPool", "MaxPool", 1, blocked(inferPool)},
	{"ReorderInput", "Identity", 1, contribReorderInput},
	{"ReorderOutput", "Identity", 1, contribReorderOutput},
	{"Upsample", "Identity", 1, contribUpsample},
}

// blocked is a rule on channels in blocks, which stay as they are.
func blocked(r rule) rule {
	return func(c *call) {
		c.like0(0)
		r(c)
	}
}

// blockedConv is a convolution whose weights have all channels rounded up; those of the data may be padding in part.
func blockedConv(c *call) {
	c.like0(0)
	if d, ok := c.dims(0); ok && len(d) > 1 {
		d = slices.Clone(d)
		d[1] = c.a.fresh()
		c.in = slices.Clone(c.in)
		c.withDims(0, d)
	}
	c.conv(0, 1)
}

// contribReorderInput: [N, C, spatial...], or [N, spatial..., C] with channels_last, to [N, C rounded up, spatial...].
func contribReorderInput(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	if !ok || len(d) < 3 {
		return
	}
	if c.int("channels_last") != 0 {
		d = channelsFirst(d)
	}
	d = slices.Clone(d)
	d[1] = Int{}
	c.set(0, d)
}

// contribReorderOutput: the way back, to the number of channels that attribute channels states.
func contribReorderOutput(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	if !ok || len(d) < 3 || c.int("channels") < 1 {
		return
	}
	d = slices.Clone(d)
	d[1] = Num(c.int("channels"))
	if c.int("channels_last") != 0 {
		d = channelsLast(d)
	}
	c.set(0, d)
}

// contribUpsample: each size times its entry of attribute scales.
func contribUpsample(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	scales := c.attrInts("scales")
	if !ok || len(scales) != len(d) {
		return
	}
	r := make([]Int, len(d))
	for i, s := range scales {
		r[i] = d[i].Mul(Num(s))
	}
	c.set(0, r)
}

// channelsFirst is [N, spatial..., C] as [N, C, spatial...].
func channelsFirst(d []Int) []Int {
	n := len(d)
	return slices.Concat(d[:1], d[n-1:], d[1:n-1])
}

// channelsLast is [N, C, spatial...] as [N, spatial..., C].
func channelsLast(d []Int) []Int { return slices.Concat(d[:1], d[2:], d[1:2]) }

// onChannelsFirst applies r as if operand 0 had its channels after the batch, and moves those of the result to the end again.
func (c *call) onChannelsFirst(r func()) {
	d, ok := c.dims(0)
	if !ok || len(d) < 3 {
		return
	}
	c.in = slices.Clone(c.in)
	c.withDims(0, channelsFirst(d))
	r()
	if x := c.result(0); x.ranked && len(x.dims) == len(d) {
		c.set(0, channelsLast(x.dims))
	}
}

// contribNhwc is a convolution or pool of [N, spatial..., C].
func contribNhwc(r rule) rule {
	return func(c *call) {
		c.like0(0)
		c.onChannelsFirst(func() { r(c) })
	}
}

// contribQLinearConv has the data's channels at the end with channels_last; the weights are the same either way.
func contribQLinearConv(c *call) {
	c.like0(7)
	if c.elem(7) == ir.Undefined {
		c.like0(0)
	}
	if c.int("channels_last") == 0 {
		c.conv(0, 3)
		return
	}
	c.onChannelsFirst(func() { c.conv(0, 3) })
}
