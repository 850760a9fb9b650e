package jpeg2000

import (
	"errors"
	"image"
)

// channel is a plane as 8-bit values of its samples.
type channel struct {
	*plane
	values []uint8
}

// row writes the values at row y of the reference grid from x0 on: at each place that of the last sample up to there.
func (c *channel) row(dst []uint8, x0, y int) {
	row := c.plane.samples[max(0, min(c.area.h()-1, y/c.dy-c.area.y0))*c.area.w():][:c.area.w()]
	if c.dx == 1 {
		for x, v := range row {
			dst[x] = c.values[v]
		}
		return
	}
	for x := range dst {
		dst[x] = c.values[row[max(0, min(len(row)-1, (x0+x)/c.dx-c.area.x0))]]
	}
}

// scaled maps samples of a depth to the full range of 8 bits.
func scaled(depth int) []uint8 {
	top := 1<<depth - 1
	r := make([]uint8, top+1)
	for i := range r {
		r[i] = uint8((i*255 + top/2) / top)
	}
	return r
}

// channel is channel i, from a component itself or through the palette (I.5.3.4, I.5.3.5).
func (f *file) channel(planes []plane, i int) (channel, error) {
	m := channelMap{component: i, direct: true}
	if f.palette != nil {
		if i < 0 || i >= len(f.mapping) {
			return channel{}, errBox
		}
		m = f.mapping[i]
	}
	if m.component < 0 || m.component >= len(planes) || planes[m.component].area.empty() {
		return channel{}, errors.New("a colour has no samples")
	}
	c := channel{&planes[m.component], scaled(planes[m.component].depth)}
	if !m.direct {
		if m.column >= len(f.palette.depths) {
			return channel{}, errBox
		}
		entries, table := f.palette.entries[m.column], scaled(f.palette.depths[m.column])
		for v := range c.values {
			c.values[v] = table[entries[min(v, len(entries)-1)]]
		}
	}
	return c, nil
}

// channels are those of the colours in order (I.5.3.6): one channel, or three.
func (f *file) channels(planes []plane) (r []channel, err error) {
	n := len(planes)
	if f.palette != nil {
		n = len(f.mapping)
	}
	if n < 3 || f.space == spaceGrey {
		n = 1
	}
	for i := range min(n, 3) {
		if f.colours != nil {
			i = f.colours[i]
		}
		c, err := f.channel(planes, i)
		if err != nil {
			return nil, err
		}
		r = append(r, c)
	}
	return r, nil
}

// picture makes the picture of the planes.
func (f *file) picture(planes []plane) (image.Image, error) {
	c, err := f.channels(planes)
	if err != nil {
		return nil, err
	}
	w, h := f.size.x1-f.size.x0, f.size.y1-f.size.y0
	if len(c) == 1 {
		m := image.NewGray(image.Rect(0, 0, w, h))
		for y := range h {
			c[0].row(m.Pix[y*m.Stride:][:w], f.size.x0, f.size.y0+y)
		}
		return m, nil
	}
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	// Without a colour space, coarser second and third components are those of YCC.
	ycc := f.space == spaceSYCC || f.space == spaceUnknown && c[0].dx*c[0].dy == 1 && c[1].dx*c[1].dy > 1 && c[2].dx*c[2].dy > 1
	rows := make([]uint8, 3*w)
	r, g, b := rows[:w], rows[w:2*w], rows[2*w:]
	for y := range h {
		for i, dst := range [][]uint8{r, g, b} {
			c[i].row(dst, f.size.x0, f.size.y0+y)
		}
		dst := m.Pix[y*m.Stride:][:4*w]
		for x := range w {
			p := [3]uint8{r[x], g[x], b[x]}
			if ycc {
				p = yccToRGB(p)
			}
			dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = p[0], p[1], p[2], 255
		}
	}
	return m, nil
}

// yccToRGB converts sYCC, whose matrix is that of ITU-R BT.601 at full range, with 16 bits behind the point.
func yccToRGB(p [3]uint8) [3]uint8 {
	y, u, v := int32(p[0])<<16+1<<15, int32(p[1])-128, int32(p[2])-128
	clamp := func(x int32) uint8 { return uint8(max(0, min(255, x>>16))) }
	return [3]uint8{clamp(y + 91881*v), clamp(y - 22554*u - 46802*v), clamp(y + 116130*u)}
}
