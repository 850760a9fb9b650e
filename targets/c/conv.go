package c

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerConv is a convolution with what follows it.
func lowerConv(b *builder, n *ir.Node) error {
	if m := b.mergedConv(n); m != nil {
		if err := m.lower(b, n); err == nil {
			return nil
		}
	}
	w, err := b.floats(n.Operand(1))
	if err != nil {
		return err
	}
	shape := b.shape(n.Operand(1))
	win, err := b.windowOf(n, shape[2:])
	if err != nil {
		return err
	}
	outputs, inputs, group := shape[0], shape[1], int(n.Int("group", 1))
	var bias []float32
	if v := n.Operand(2); v != nil {
		if bias, err = b.floats(v); err != nil {
			return err
		}
	}
	c := &conv{b: b, n: n, win: win, outputs: outputs, inputs: inputs, group: group, batch: b.shape(n.Operand(0))[0], w: w}
	c.f = b.follow(n.Result(0), c.geometry())
	c.bias = make([]float32, blocksOf(outputs)*block)
	copy(c.bias, bias)
	if group > 1 && !c.isDepthwise() && (inputs%block != 0 || outputs/group%block != 0) {
		if err := c.spread(); err != nil {
			return err
		}
	}
	if w, strip := c.fast(); w != nil {
		c.transformed(w, strip)
		return nil
	}
	v := n.Operand(0)
	planar := c.group == 1 && c.inputs < block && !c.isDepthwise() && b.hasPlain(v)
	first := c.stage(planar)
	if second := b.intoRows(c.f.last, c.win.out, c.batch, first.key, c.work()); second != nil {
		return b.fuseRows(c.source(planar), first, second)
	}
	y := b.alloc(c.f.last.Name(), float, imageShape(b.shape(c.f.last)), true)
	b.define(c.f.last, y)
	b.addStage(c.source(planar), y, first)
	return nil
}

// work is how often the convolution multiplies.
func (c *conv) work() float64 {
	w := c.win
	return float64(c.batch) * float64(w.out[0]*w.out[1]) * float64(c.outputs*c.inputs*w.kernel[0]*w.kernel[1])
}

func (c *conv) isDepthwise() bool { return c.group > 1 && c.inputs == 1 && c.outputs == c.group }

// geometry describes the convolution but for what follows it.
func (c *conv) geometry() string {
	w := c.win
	return fmt.Sprintf("conv %dx%dx%dx%d w%dx%dx%dx%d s%s p%s d%s g%d", c.batch, c.inputs*c.group, w.in[0], w.in[1], c.outputs, c.inputs, w.kernel[0], w.kernel[1],
		dims(w.strides[:]), dims(w.pads[:]), dims(w.dilations[:]), c.group)
}

// stage is the convolution over an input in either order.
func (c *conv) stage(planar bool) *stage {
	if c.isDepthwise() {
		return c.depthwise()
	}
	return c.dense(planar)
}

// source is the input with the halo that is read.
func (c *conv) source(planar bool) *tensor {
	v := c.n.Operand(0)
	if planar {
		return c.input(image(c.b.plain(v)))
	}
	return c.input(c.b.blocked(v))
}

// conv is a convolution under translation. inputs are those of one group.
type conv struct {
	b                      *builder
	n                      *ir.Node
	win                    window
	outputs, inputs, group int
	batch                  int
	w, bias                []float32
	f                      fused
	at                     *site
}

// spread makes groups that do not fall on blocks one convolution with zeros between them.
func (c *conv) spread() error {
	k := c.win.kernel[0] * c.win.kernel[1]
	in := c.inputs * c.group
	if in*c.outputs*k > 1<<26 {
		return errors.New("groups of that size")
	}
	w := make([]float32, c.outputs*in*k)
	for o := range c.outputs {
		g := o / (c.outputs / c.group)
		copy(w[(o*in+g*c.inputs)*k:], c.w[o*c.inputs*k:(o+1)*c.inputs*k])
	}
	c.w, c.inputs, c.group = w, in, 1
	return nil
}

// input is the convolution's input with the halo that it reads.
func (c *conv) input(t *tensor) *tensor {
	h := c.win.halo()
	if h == [4]int{} || t.grow(h) {
		return t
	}
	u := c.b.alloc(c.n.Operand(0).Name(), float, t.shape, t.blocked)
	u.halo = h
	c.b.copy(t, u)
	return u
}

// addends are the tensors that are added to the sums.
func (b *builder) addends(f fused) []*tensor {
	var adds []*tensor
	for _, op := range f.ops {
		if op.add != nil {
			adds = append(adds, b.blocked(op.add))
		}
	}
	return adds
}

// epilogues are what follows, with the places of some output pixels relative to the function's pointers.
func epilogues(ops []fusedOp, adds []*tensor, at func(t *tensor, p int) int, plane func(t *tensor) int, spots int) []epilogue {
	var r []epilogue
	n := 0
	for _, op := range ops {
		e := epilogue{act: op.act}
		if op.add != nil {
			t := adds[n]
			n++
			e.tensor, e.plane = true, plane(t)
			for p := range spots {
				e.spots = append(e.spots, at(t, p))
			}
		}
		r = append(r, e)
	}
	return r
}

// hasPlain reports whether v lies in row-major order, or only so.
func (b *builder) hasPlain(v *ir.Value) bool {
	p := b.placed(v)
	return p.plain != nil
}
