package grad

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// window is how a convolution or a pool walks over the spatial axes.
type window struct {
	kernel, strides, dilations []int64
	begin, end                 []int64 // padding
	group                      int64
}

// windowOf reads the attributes of the node. wide is the value whose spatial axes the window walks over, narrow the one with an
// element a position.
func (b *builder) windowOf(wide, narrow *ir.Value, kernel []int64) (*window, error) {
	r, err := b.rank(wide)
	if err != nil {
		return nil, err
	}
	w := &window{kernel: kernel, strides: b.n.Ints("strides"), dilations: b.n.Ints("dilations"), group: b.n.Int("group", 1)}
	fill := func(s []int64, v int64) []int64 {
		for len(s) < r-2 {
			s = append(s, v)
		}
		return s
	}
	w.strides, w.dilations = fill(w.strides, 1), fill(w.dilations, 1)
	pads := b.n.Ints("pads")
	auto := ops.Str(b.n, "auto_pad")
	if len(pads) == 0 || auto != "NOTSET" && auto != "" {
		pads = make([]int64, 2*(r-2))
	}
	w.begin, w.end = append([]int64(nil), pads[:r-2]...), append([]int64(nil), pads[r-2:]...)
	if auto == "SAME_UPPER" || auto == "SAME_LOWER" || len(b.n.Ints("output_shape")) > 0 {
		sw, ok := b.dims(wide)
		sn, ok2 := b.dims(narrow)
		if !ok || !ok2 {
			ok = b.spatial(wide) && b.spatial(narrow)
			if !ok {
				return nil, fmt.Errorf("padding depends on sizes that are not known")
			}
			sw, sn = b.known(wide), b.known(narrow)
		}
		for i := range w.begin {
			total := max((sn[i+2]-1)*w.strides[i]+(kernel[i]-1)*w.dilations[i]+1-sw[i+2], 0)
			if b.n.Is("ConvTranspose") {
				total += at(b.n.Ints("output_padding"), i)
			}
			w.begin[i] = total / 2
			if auto == "SAME_LOWER" || auto != "SAME_UPPER" && b.n.Is("ConvTranspose") {
				w.begin[i] = total - total/2
			}
			w.end[i] = total - w.begin[i]
		}
	}
	return w, nil
}

func at(v []int64, i int) int64 {
	if i < len(v) {
		return v[i]
	}
	return 0
}

// spatial reports whether all sizes from the third axis on are known.
func (b *builder) spatial(v *ir.Value) bool {
	s := b.infer.Type(v).TensorShape()
	for i := 2; i < len(s); i++ {
		if !s[i].IsStatic() {
			return false
		}
	}
	return s != nil
}

// known are the sizes of v, -1 where they are not known.
func (b *builder) known(v *ir.Value) []int64 {
	var r []int64
	for _, d := range b.infer.Type(v).TensorShape() {
		if d.IsStatic() {
			r = append(r, d.Size)
		} else {
			r = append(r, -1)
		}
	}
	return r
}

// attrs are those of a Conv or ConvTranspose with the window.
func (w *window) attrs(more ...*ir.Attr) []*ir.Attr {
	return append([]*ir.Attr{ir.IntsAttr("strides", w.strides), ir.IntsAttr("dilations", w.dilations), ir.IntAttr("group", w.group)}, more...)
}

func (w *window) pads() *ir.Attr {
	return ir.IntsAttr("pads", append(append([]int64(nil), w.begin...), w.end...))
}

// wide is the derivative by the operand of a convolution with kernel k: d, the derivative by its result, spread by the transposed one
// and cut to the spatial size of x. Where a stride does not reach the end of x the rest is zero.
func (b *builder) wide(w *window, d, k, x, narrow *ir.Value) *ir.Value {
	n := len(w.strides)
	if r := b.turned(w, d, k); r != nil {
		return r
	}
	output := make([]int64, n)
	if b.spatial(x) && b.spatial(narrow) {
		sx, sn := b.known(x), b.known(narrow)
		fits := true
		for i := range output {
			output[i] = sx[i+2] + w.begin[i] + w.end[i] - ((sn[i+2]-1)*w.strides[i] + (w.kernel[i]-1)*w.dilations[i] + 1)
			fits = fits && output[i] >= 0 && output[i] < max(w.strides[i], 1)
		}
		if fits {
			return b.with("ConvTranspose", []*ir.Value{d, k}, w.attrs(w.pads(), ir.IntsAttr("output_padding", output))...)
		}
	}
	// As large as it can get, then cut.
	for i := range output {
		output[i] = w.strides[i] - 1
	}
	full := b.with("ConvTranspose", []*ir.Value{d, k}, w.attrs(ir.IntsAttr("output_padding", output))...)
	axes := make([]int64, n)
	var ends []*ir.Value
	for i := range axes {
		axes[i] = int64(i + 2)
		ends = append(ends, b.op("Add", b.size(x, i+2), b.ints(w.begin[i])))
	}
	return b.slice(full, b.ints(w.begin...), b.concat(0, ends...), axes...)
}

// turned is wide where all strides are one: a convolution with the kernel turned around, in which operand and result channels change
// places, which engines are faster at. It is nil elsewhere.
func (b *builder) turned(w *window, d, k *ir.Value) *ir.Value {
	n := len(w.strides)
	t := &window{kernel: w.kernel, strides: w.strides, dilations: w.dilations, group: w.group}
	axes, from, to, by := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	flips := false
	for i := range n {
		reach := (w.kernel[i] - 1) * w.dilations[i]
		if w.strides[i] != 1 || w.begin[i] > reach || w.end[i] > reach {
			return nil
		}
		t.begin, t.end = append(t.begin, reach-w.begin[i]), append(t.end, reach-w.end[i])
		axes[i], from[i], to[i], by[i] = int64(i+2), -1, math.MinInt64, -1
		flips = flips || w.kernel[i] > 1
	}
	turned := k
	if flips {
		turned = b.op("Slice", k, b.ints(from...), b.ints(to...), b.ints(axes...), b.ints(by...))
	}
	if w.group == 1 {
		perm := append([]int64{1, 0}, axes...)
		return b.with("Conv", []*ir.Value{d, b.transpose(turned, perm...)}, t.attrs(t.pads())...)
	}
	// [G·m, c, ...] -> [G·c, m, ...]
	c, spatial := b.size(k, 1), b.ints(w.kernel...)
	perm := []int64{0, 2, 1}
	for _, a := range axes {
		perm = append(perm, a+1)
	}
	turned = b.transpose(b.reshape(turned, b.concat(0, b.ints(w.group, -1), c, spatial)), perm...)
	turned = b.reshape(turned, b.concat(0, b.op("Mul", c, b.ints(w.group)), b.ints(-1), spatial))
	return b.with("Conv", []*ir.Value{d, turned}, t.attrs(t.pads())...)
}

// kernelOf is the derivative by the kernel [M, C/group, k...] of a convolution of x with the derivative d by its result: itself a
// convolution, over x with d as the kernel, in which batch and channels change places, and strides and dilations.
func (b *builder) kernelOf(w *window, x, d *ir.Value) *ir.Value {
	n := len(w.strides)
	perm := []int64{1, 0}
	for i := range n {
		perm = append(perm, int64(i+2))
	}
	tx, td := b.transpose(x, perm...), b.transpose(d, perm...)
	if w.group > 1 { // [N, G·c, ...] -> [c, G·N, ...]; the kernel [G·m, N, ...] is the transposed d
		split := b.concat(0, b.size(x, 0), b.ints(w.group), b.ints(-1), b.tail(x))
		p := []int64{2, 1, 0}
		for i := range n {
			p = append(p, int64(i+3))
		}
		merged := b.transpose(b.reshape(x, split), p...)
		into := b.concat(0, b.perGroup(x, w.group), b.ints(-1), b.tail(x))
		tx = b.reshape(merged, into)
	}
	pads := w.pads()
	r := b.with("Conv", []*ir.Value{tx, td}, ir.IntsAttr("strides", w.dilations), ir.IntsAttr("dilations", w.strides), ir.IntAttr("group", w.group), pads)
	r = b.transpose(r, perm...)
	axes, zero := make([]int64, n), make([]int64, n)
	for i := range axes {
		axes[i] = int64(i + 2)
	}
	return b.slice(r, b.ints(zero...), b.ints(w.kernel...), axes...)
}

// tail are the sizes of the spatial axes.
func (b *builder) tail(v *ir.Value) *ir.Value {
	if b.spatial(v) {
		return b.ints(b.known(v)[2:]...)
	}
	return b.with("Shape", []*ir.Value{v}, ir.IntAttr("start", 2))
}

// perGroup is the number of channels of v in a group.
func (b *builder) perGroup(v *ir.Value, group int64) *ir.Value {
	if c := staticAt(b, v, 1); c >= 0 {
		return b.ints(c / group)
	}
	return b.op("Div", b.size(v, 1), b.ints(group))
}

// kernelSize are the spatial sizes of a kernel.
func (b *builder) kernelSize(k *ir.Value) ([]int64, error) {
	if a := b.n.Ints("kernel_shape"); len(a) > 0 {
		return a, nil
	}
	if !b.spatial(k) {
		return nil, fmt.Errorf("the size of the kernel is not known")
	}
	return b.known(k)[2:], nil
}

// channelSum is the derivative by a bias.
func (b *builder) channelSum(d *ir.Value) *ir.Value {
	axes := []int64{0}
	r, _ := b.rank(b.out(0))
	for i := 2; i < r; i++ {
		axes = append(axes, int64(i))
	}
	return b.sum(d, false, axes...)
}

func convRule(b *builder) error {
	x, k, d := b.in(0), b.in(1), b.dy[0]
	size, err := b.kernelSize(k)
	if err != nil {
		return err
	}
	w, err := b.windowOf(x, b.out(0), size)
	if err != nil {
		return err
	}
	if b.need(0) {
		b.pass(0, b.wide(w, d, k, x, b.out(0)))
	}
	if b.need(1) {
		b.pass(1, b.kernelOf(w, x, d))
	}
	if b.need(2) {
		b.pass(2, b.channelSum(d))
	}
	return nil
}

// convTransposeRule: a transposed convolution is the derivative of a convolution, so that its own derivatives are those of that one with
// operand and result exchanged.
func convTransposeRule(b *builder) error {
	x, k, d := b.in(0), b.in(1), b.dy[0]
	size, err := b.kernelSize(k)
	if err != nil {
		return err
	}
	w, err := b.windowOf(b.out(0), x, size)
	if err != nil {
		return err
	}
	if b.need(0) {
		r := b.with("Conv", []*ir.Value{d, k}, w.attrs(w.pads())...)
		axes, zero := make([]int64, len(w.strides)), make([]int64, len(w.strides))
		for i := range axes {
			axes[i] = int64(i + 2)
		}
		b.pass(0, b.slice(r, b.ints(zero...), b.tail(x), axes...)) // an output_padding may leave room for more
	}
	if b.need(1) {
		b.pass(1, b.kernelOf(w, d, x))
	}
	if b.need(2) {
		b.pass(2, b.channelSum(d))
	}
	return nil
}
