package grad

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// batchNormRule: of y = s (x − m) / √(v + ε) + b; in training mode m and v are those of the batch (Ioffe and Szegedy, arXiv 1502.03167).
// Through the running mean and variance, results 1 and 2, nothing is passed on.
func batchNormRule(b *builder) error {
	x, s, d := b.in(0), b.in(1), b.dy[0]
	if d == nil {
		return nil
	}
	r, err := b.rank(x)
	if err != nil {
		return err
	}
	axes := []int64{0}
	for i := 2; i < r; i++ {
		axes = append(axes, int64(i))
	}
	shape := []int64{1, -1}
	for range axes[1:] {
		shape = append(shape, 1)
	}
	t := b.elem(x)
	wide := func(v *ir.Value) *ir.Value {
		if b.elem(v) != t {
			v = b.cast(v, t)
		}
		return b.reshape(v, b.ints(shape...))
	}
	train := b.n.Int("training_mode", 0) != 0
	var mean, variance, c *ir.Value
	if train {
		mean = b.reduce("ReduceMean", x, true, axes...)
		c = b.op("Sub", x, mean)
		variance = b.reduce("ReduceMean", b.op("Mul", c, c), true, axes...)
	} else {
		mean, variance = wide(b.in(3)), wide(b.in(4))
	}
	eps := b.num(x, float64(ops.Float(b.n, "epsilon")))
	inv := b.op("Reciprocal", b.op("Sqrt", b.op("Add", variance, eps)))
	if c == nil {
		c = b.op("Sub", x, mean)
	}
	// Σd and Σd n, n = (x − m) / √(v + ε), of each channel. Everything else is of the size of a channel, too, but for two products.
	sumD, sumDN := b.sum(d, true, axes...), b.op("Mul", b.sum(b.op("Mul", d, c), true, axes...), inv)
	back := func(i int, v *ir.Value) {
		v = b.reshape(v, b.ints(-1))
		if e := b.elem(b.in(i)); e != t {
			v = b.cast(v, e)
		}
		b.pass(i, v)
	}
	if b.need(1) {
		back(1, sumDN)
	}
	if b.need(2) {
		back(2, sumD)
	}
	k := b.op("Mul", wide(s), inv)
	if b.need(0) {
		g := b.op("Mul", d, k)
		if train { // k (d − (Σd + n Σd n) / count)
			count := b.op("Div", b.cast(b.op("Size", x), t), b.cast(b.op("Size", s), t))
			share := b.op("Div", k, count)
			g = b.op("Sub", g, b.op("Add", b.op("Mul", c, b.op("Mul", share, b.op("Mul", inv, sumDN))), b.op("Mul", share, sumD)))
		}
		b.pass(0, g)
	}
	if !train && b.need(3) {
		back(3, b.op("Neg", b.op("Mul", k, sumD)))
	}
	if !train && b.need(4) { // dy/dv = −s (x−m) / 2 (v+ε)^(3/2)
		back(4, b.op("Mul", b.op("Mul", b.op("Mul", k, inv), sumDN), b.num(x, -.5)))
	}
	return nil
}

// layerNormRule: of y = s n + b, n = (x − m) / √(v + ε) over the axes from axis on (Ba et al., arXiv 1607.06450).
func layerNormRule(b *builder) error {
	x, s, d := b.in(0), b.in(1), b.dy[0]
	if d == nil {
		return fmt.Errorf("there is no derivative by its mean and deviation")
	}
	axis, r, err := b.axisOf("axis", x)
	if err != nil {
		return err
	}
	var axes []int64
	for i := axis; i < int64(r); i++ {
		axes = append(axes, i)
	}
	norm, back := b.normed(x, axes)
	if err := both(b.passBroadcast(1, func() *ir.Value { return b.op("Mul", d, norm) }),
		b.passBroadcast(2, func() *ir.Value { return d })); err != nil {
		return err
	}
	if b.need(0) {
		b.pass(0, back(b.op("Mul", d, s)))
	}
	return nil
}

// normed is n = (x − m) / √(v + ε) with the mean and variance over the axes, and back leads a derivative by n to one by x.
func (b *builder) normed(x *ir.Value, axes []int64) (n *ir.Value, back func(*ir.Value) *ir.Value) {
	mean := b.reduce("ReduceMean", x, true, axes...)
	c := b.op("Sub", x, mean)
	variance := b.reduce("ReduceMean", b.op("Mul", c, c), true, axes...)
	inv := b.op("Reciprocal", b.op("Sqrt", b.op("Add", variance, b.num(x, float64(ops.Float(b.n, "epsilon"))))))
	n = b.op("Mul", c, inv)
	return n, func(g *ir.Value) *ir.Value {
		m := b.reduce("ReduceMean", g, true, axes...)
		mn := b.reduce("ReduceMean", b.op("Mul", g, n), true, axes...)
		return b.op("Mul", inv, b.op("Sub", b.op("Sub", g, m), b.op("Mul", n, mn)))
	}
}

// instanceNormRule: of y = s n + b by channel, n normalized over the spatial axes of each picture (Ulyanov et al., arXiv 1607.08022).
func instanceNormRule(b *builder) error {
	x, d := b.in(0), b.dy[0]
	r, err := b.rank(x)
	if err != nil {
		return err
	}
	var axes, each []int64
	shape := []int64{-1}
	for i := 2; i < r; i++ {
		axes, shape = append(axes, int64(i)), append(shape, 1)
	}
	each = append([]int64{0}, axes...)
	n, back := b.normed(x, axes)
	if b.need(1) {
		b.pass(1, b.sum(b.op("Mul", d, n), false, each...))
	}
	if b.need(2) {
		b.pass(2, b.sum(d, false, each...))
	}
	if b.need(0) {
		b.pass(0, back(b.op("Mul", d, b.reshape(b.in(1), b.ints(shape...)))))
	}
	return nil
}
