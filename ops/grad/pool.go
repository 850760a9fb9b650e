package grad

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// maxPoolRule scatters to where the maxima were, which the operator itself can tell.
func maxPoolRule(b *builder) error {
	if !b.need(0) {
		return nil
	}
	if b.dy[0] == nil {
		return nil
	}
	indices := b.out(1)
	var attrs []*ir.Attr
	for _, a := range b.n.Attrs() {
		if a.Name != "storage_order" {
			attrs = append(attrs, a)
		}
	}
	if indices == nil || ops.Int(b.n, "storage_order") != 0 {
		indices = b.g.NewN(b.n, ir.Op("MaxPool"), []*ir.Value{b.in(0)}, 2, attrs...).Result(1)
	}
	return b.scatter(0, indices, b.dy[0])
}

// averagePoolRule is that of a convolution of each channel with ones, over the number of elements that were counted.
func averagePoolRule(b *builder) error {
	if !b.need(0) {
		return nil
	}
	x, y, d := b.in(0), b.out(0), b.dy[0]
	kernel := b.n.Ints("kernel_shape")
	w, err := b.windowOf(x, y, kernel)
	if err != nil {
		return err
	}
	if ops.Int(b.n, "ceil_mode") != 0 && !(b.spatial(x) && b.spatial(y)) {
		return fmt.Errorf("with ceil_mode the sizes must be known")
	}
	extra := make([]int64, len(kernel)) // by which the last window leaves even the padded operand
	if b.spatial(x) && b.spatial(y) {
		sx, sy := b.known(x), b.known(y)
		for i := range extra {
			extra[i] = max((sy[i+2]-1)*w.strides[i]+(kernel[i]-1)*w.dilations[i]+1-(sx[i+2]+w.begin[i]+w.end[i]), 0)
		}
	}
	if b.tiles(w, x, y) {
		b.pass(0, b.repeat(w, d, x))
		return nil
	}
	narrow := b.concat(0, b.ints(-1, 1), b.tail(y))
	ones := b.fill(b.ints(append([]int64{1, 1}, kernel...)...), b.one(b.elem(x), 1))
	// Of each window, how many elements count.
	sizes := b.concat(0, b.ints(1, 1), b.tail(x))
	mask := b.fill(sizes, b.one(b.elem(x), 1))
	pads := append(append([]int64(nil), w.begin...), w.end...)
	for i := range extra {
		pads[len(extra)+i] += extra[i]
	}
	if ops.Int(b.n, "count_include_pad") != 0 {
		in := append([]int64{0, 0}, w.begin...)
		in = append(append(in, 0, 0), w.end...)
		mask = b.with("Pad", []*ir.Value{mask, b.ints(in...), b.num(x, 1)})
		for i := range extra {
			pads[i], pads[len(extra)+i] = 0, extra[i]
		}
	}
	count := b.with("Conv", []*ir.Value{mask, ones}, ir.IntsAttr("strides", w.strides), ir.IntsAttr("dilations", w.dilations), ir.IntsAttr("pads", pads))
	share := b.reshape(b.op("Div", d, count), narrow)
	for i := range extra {
		w.end[i] += extra[i]
	}
	b.pass(0, b.like(b.wide(w, share, ones, x, y), x))
	return nil
}

// tiles reports whether the windows cover each element of x exactly once.
func (b *builder) tiles(w *window, x, y *ir.Value) bool {
	if !b.spatial(x) || !b.spatial(y) {
		return false
	}
	sx, sy := b.known(x), b.known(y)
	for i, k := range w.kernel {
		if w.strides[i] != k || w.dilations[i] != 1 || w.begin[i] != 0 || w.end[i] != 0 || sy[i+2]*k != sx[i+2] {
			return false
		}
	}
	return true
}

// repeat gives each element of a window its share of d.
func (b *builder) repeat(w *window, d, x *ir.Value) *ir.Value {
	n, sx := len(w.kernel), b.known(x)
	axes, full := make([]int64, n), []int64{1, 1}
	count := 1.0
	for i, k := range w.kernel {
		axes[i] = int64(2*i + 3)
		full = append(full, sx[i+2]/k, k)
		count *= float64(k)
	}
	share := b.op("Mul", b.op("Unsqueeze", d, b.ints(axes...)), b.num(x, 1/count))
	return b.like(b.op("Expand", share, b.ints(full...)), x)
}

// globalAverageRule shares evenly.
func globalAverageRule(b *builder) error {
	if b.need(0) {
		b.pass(0, meanRule(b, nil, b.dy[0]))
	}
	return nil
}

func globalMaxRule(b *builder) error {
	x, y := b.in(0), b.out(0)
	r, err := b.rank(x)
	if err != nil {
		return err
	}
	var axes []int64
	for i := 2; i < r; i++ {
		axes = append(axes, int64(i))
	}
	hit := b.cast(b.op("Equal", x, y), b.elem(x))
	b.pass(0, b.op("Mul", hit, b.op("Div", b.dy[0], b.sum(hit, true, axes...))))
	return nil
}

// resizeRule: resizing is linear along each axis. Its matrix is what the same resizing makes of the unit matrix, and the derivative is the
// product with it.
func resizeRule(b *builder) error {
	x, d := b.in(0), b.dy[0]
	r, err := b.rank(x)
	if err != nil {
		return err
	}
	if ops.Str(b.n, "coordinate_transformation_mode") == "tf_crop_and_resize" {
		return fmt.Errorf("there is no derivative with tf_crop_and_resize")
	}
	if p := b.n.Str("keep_aspect_ratio_policy", "stretch"); p != "stretch" {
		return fmt.Errorf("there is no derivative with keep_aspect_ratio_policy %q", p)
	}
	axes := b.n.Ints("axes")
	if len(axes) == 0 {
		for i := range r {
			axes = append(axes, int64(i))
		}
	}
	var attrs []*ir.Attr
	for _, a := range b.n.Attrs() {
		if a.Name != "axes" && a.Name != "keep_aspect_ratio_policy" {
			attrs = append(attrs, a)
		}
	}
	sx, sy := b.known(x), b.known(b.out(0))
	for j, a := range axes {
		if a < 0 {
			a += int64(r)
		}
		scale, size := b.in(2), b.in(3)
		if scale != nil && scale.Const() != nil && scale.Const().Len() == 0 {
			scale = nil
		}
		if scale != nil && scale.Const() != nil {
			if e, err := ir.Elements[float32](scale.Const()); err == nil && e[j] == 1 {
				continue
			}
		} else if scale == nil && sx[a] >= 0 && sx[a] == sy[a] || scale == nil && b.infer.Type(x).TensorShape()[a].Same(b.infer.Type(b.out(0)).TensorShape()[a]) {
			continue
		}
		n := b.size(x, int(a))
		unit := b.cast(b.with("EyeLike", []*ir.Value{b.fill(b.concat(0, n, n), b.one(ir.Float32, 0))}), b.elem(x))
		in := []*ir.Value{unit, nil}
		j := int64(j)
		if scale != nil {
			in = append(in, b.concat(0, b.one(ir.Float32, 1), b.slice(scale, b.ints(j), b.ints(j+1), 0)))
		} else {
			in = append(in, nil, b.concat(0, n, b.slice(size, b.ints(j), b.ints(j+1), 0)))
		}
		matrix := b.with("Resize", in, attrs...) // [n, out]
		perm := make([]int64, r)
		for i := range perm {
			perm[i] = int64(i)
		}
		perm[a], perm[r-1] = perm[r-1], perm[a]
		d = b.transpose(b.op("MatMul", b.transpose(d, perm...), b.transpose(matrix, 1, 0)), perm...)
	}
	b.pass(0, d)
	return nil
}
