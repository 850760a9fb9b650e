package infer

import (
	"math"
	"slices"
)

// inferResize: operand sizes gives the result's, or operand scales the ratio; from opset 18 on axes names the axes they are for.
func inferResize(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	scales, sizes := 2, 3
	if c.since() < 11 {
		scales, sizes = 1, -1
	}
	axes := make([]int, len(d))
	for i := range axes {
		axes[i] = i
	}
	if c.hasAttr("axes") {
		if axes, ok = c.axes(c.attrInts("axes"), len(d)); !ok {
			return
		}
	}
	r := vector(len(d))
	for i := range d {
		if !slices.Contains(axes, i) {
			r[i] = d[i]
		}
	}
	if sizes > 0 && c.has(scales) && c.has(sizes) && !c.countOf(scales).Is(0) && !c.countOf(sizes).Is(0) {
		c.set(0, r) // one of them is to be left out, and which counts is not said
		return
	}
	if want, ok := c.ints(max(sizes, 0)); sizes > 0 && ok && len(want) > 0 {
		if len(want) == len(axes) {
			c.resizeTo(r, d, axes, want)
		} else {
			c.errorf("%d sizes for %d axes", len(want), len(axes))
		}
	} else if s := c.data(scales); len(s) > 0 {
		if len(s) != len(axes) {
			c.errorf("%d scales for %d axes", len(s), len(axes))
			return
		}
		for i, k := range axes {
			r[k] = scaled(d[k], s[i])
		}
	}
	c.set(0, r)
}

// resizeTo sets the sizes, or under another policy than stretch the largest or smallest that keep the ratio.
func (c *call) resizeTo(r, d []Int, axes []int, want []Int) {
	policy := c.str("keep_aspect_ratio_policy")
	if policy == "" || policy == "stretch" {
		for i, k := range axes {
			r[k] = want[i]
		}
		return
	}
	scale := math.NaN()
	for i, k := range axes {
		n, ok := d[k].Const()
		w, ok2 := want[i].Const()
		if !ok || !ok2 || n == 0 {
			return
		}
		s := float64(float32(w) / float32(n))
		if scale != scale || policy == "not_larger" && s < scale || policy == "not_smaller" && s > scale {
			scale = s
		}
	}
	for _, k := range axes {
		n, _ := d[k].Const()
		r[k] = Num(int64(math.Round(scale * float64(n))))
	}
}

// scaled is floor(size * scale), in float32 as every implementation computes it. A size that is an expression is scaled by fractions with
// a small denominator.
func scaled(size Int, scale elem) Int {
	s, number := scale.value()
	if !number {
		if scale.known {
			return size.Mul(scale.Int)
		}
		return Int{}
	}
	if n, ok := size.Const(); ok {
		if v := math.Floor(float64(float32(n) * float32(s))); v >= 0 && v < 1<<53 {
			return Num(int64(v))
		}
		return Int{}
	}
	for den := int64(1); den <= 64; den *= 2 {
		if v := s * float64(den); v == math.Trunc(v) && v > 0 && v < 1<<31 {
			return size.Mul(Num(int64(v))).FloorDiv(Num(den))
		}
	}
	return Int{}
}

// inferUpsample: scales are an attribute before opset 9; opset 1 scaled width and height of [N, C, H, W].
func inferUpsample(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	r := vector(len(d))
	var scales []elem
	switch {
	case c.since() >= 9:
		scales = c.data(1)
	case c.since() >= 7:
		for _, s := range c.attr("scales").Floats() {
			scales = append(scales, number(float64(s)))
		}
	case len(d) == 4:
		scales = []elem{integer(1), integer(1), number(float64(c.attr("height_scale").Float())), number(float64(c.attr("width_scale").Float()))}
	}
	if scales != nil && len(scales) != len(d) {
		c.errorf("%d scales for a tensor of rank %d", len(scales), len(d))
		return
	}
	for i, s := range scales {
		r[i] = scaled(d[i], s)
	}
	c.set(0, r)
}

// inferGridSample: [N, C] of the data, spatial sizes of the grid [N, sizes..., rank].
func inferGridSample(c *call) {
	d, ok := c.dims(0)
	g, ok2 := c.dims(1)
	if !ok && !ok2 {
		return
	}
	rank := max(len(d), len(g))
	if ok && ok2 && len(d) != len(g) || rank < 3 {
		c.errorf("data of rank %d and a grid of rank %d", len(d), len(g))
		return
	}
	r := vector(rank)
	if ok2 {
		r[0] = g[0]
		copy(r[2:], g[1:rank-1])
	}
	if ok {
		r[0], r[1] = d[0], d[1]
	}
	c.set(0, r)
}

// inferAffineGrid: operand 1 is [N, C, sizes...]; the result [N, sizes..., number of sizes].
func inferAffineGrid(c *call) {
	size, ok := c.ints(1)
	if !ok {
		if n, counted := c.countOf(1).Const(); counted && (n == 4 || n == 5) {
			r := vector(int(n))
			r[n-1] = Num(n - 2)
			c.set(0, r)
		}
		return
	}
	if len(size) != 4 && len(size) != 5 {
		c.errorf("operand size has %d entries", len(size))
		return
	}
	r := []Int{size[0]}
	r = append(r, size[2:]...)
	c.set(0, append(r, Num(int64(len(size)-2))))
}
