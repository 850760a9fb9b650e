// Package jpeg2000 decodes pictures of JPEG 2000, Part 1 (Recommendation ITU-T T.800, ISO/IEC 15444-1), as JP2 files and as bare
// codestreams. It is written from the standard; comments name its clauses and tables.
//
// What is read: all of the codestream of Part 1 with samples of up to 16 bits. JP2 files are greyscale, sRGB or sYCC, with or without a
// palette; ICC profiles are not applied. Opacity is dropped. Where layers are missing a coefficient is taken as the middle of its
// interval.
//
// Data that are cut off or contradict themselves are an error. Time is bounded by the number of samples that the picture declares and
// the length of the data, memory by a limit of the caller. Results are the same bits on every machine.
package jpeg2000

import (
	"errors"
	"fmt"
	"image"
	"image/color"
)

// Magic begins a JP2 file, Codestream a bare codestream.
const (
	Magic      = "\x00\x00\x00\x0cjP  \r\n\x87\n"
	Codestream = "\xff\x4f\xff\x51"
)

// DecodeConfig reads the size of a picture.
func DecodeConfig(b []byte) (image.Config, error) {
	f, err := readFile(b)
	if err != nil {
		return image.Config{}, fmt.Errorf("JPEG 2000: %w", err)
	}
	return image.Config{Width: f.size.x1 - f.size.x0, Height: f.size.y1 - f.size.y0, ColorModel: color.NRGBAModel}, nil
}

// Decode decodes a picture: an *image.Gray, or an *image.NRGBA whose pixels are opaque. Samples of other depths are scaled to the full
// range of 8 bits, samples of components of a lower resolution are repeated. What it takes beyond a multiple of the input stays below limit, in bytes.
func Decode(b []byte, limit int64) (image.Image, error) {
	f, err := readFile(b)
	if err != nil {
		return nil, fmt.Errorf("JPEG 2000: %w", err)
	}
	p, err := decode(f.codestream, limit-4*int64(f.size.x1-f.size.x0)*int64(f.size.y1-f.size.y0))
	if err != nil {
		return nil, fmt.Errorf("JPEG 2000: %w", err)
	}
	m, err := f.picture(p)
	if err != nil {
		return nil, fmt.Errorf("JPEG 2000: %w", err)
	}
	return m, nil
}

// plane holds the samples of a component; signed ones are half their range higher, so that none is negative.
type plane struct {
	component
	area    rect
	samples []uint16
}

// decode decodes a codestream.
func decode(b []byte, limit int64) ([]plane, error) {
	c, err := readCodestream(b)
	if err != nil {
		return nil, err
	}
	planes := make([]plane, len(c.components))
	for i, k := range c.components {
		p := &planes[i]
		p.component, p.area = k, k.area(rect{c.x0, c.y0, c.x1, c.y1})
		if !p.area.empty() {
			limit -= 2 * int64(p.area.w()) * int64(p.area.h())
		}
		if limit < 0 {
			return nil, errLimit
		}
	}
	for i := range planes {
		if p := &planes[i]; !p.area.empty() {
			p.samples = make([]uint16, p.area.w()*p.area.h())
		}
	}
	d := &blockDecoder{}
	for i := range c.tiles {
		if err := c.decodeTile(i, planes, d, limit); err != nil {
			return nil, fmt.Errorf("tile %d: %w", i, err)
		}
	}
	return planes, nil
}

// decodeTile writes a tile to the planes.
func (c *codestream) decodeTile(index int, planes []plane, d *blockDecoder, limit int64) error {
	data := &c.tiles[index]
	p, packed, err := c.coding.forTile(data)
	if err != nil {
		return err
	}
	bytes := 0
	for _, b := range append(data.bodies[:len(data.bodies):len(data.bodies)], packed...) {
		bytes += len(b)
	}
	t, err := newTile(c, index, p, budget{packets: bytes / p.layers, memory: limit})
	if err != nil {
		return err
	}
	if err := t.read(data.bodies, packed); err != nil {
		return err
	}
	for i := range t.components {
		k := &t.components[i]
		if k.area.empty() {
			continue
		}
		if err := k.decodeBlocks(d); err != nil {
			return err
		}
		for r := range k.resolutions {
			k.resolutions[r].precincts = nil // no longer needed
		}
		if k.ints != nil {
			synthesize(k, k.ints, reversible())
		} else {
			synthesize(k, k.floats, irreversible())
		}
	}
	if p.transform {
		if err := t.unmix(); err != nil {
			return err
		}
	}
	for i := range t.components {
		if k := &t.components[i]; !k.area.empty() {
			k.store(&planes[i])
		}
	}
	return nil
}

// unmix undoes the transform of the first three components (Annex G).
func (t *tile) unmix() error {
	if len(t.components) < 3 {
		return errors.New("a transform of three components, of which there are not as many")
	}
	a, b, c := &t.components[0], &t.components[1], &t.components[2]
	if len(a.ints) != len(b.ints) || len(a.ints) != len(c.ints) || len(a.floats) != len(b.floats) || len(a.floats) != len(c.floats) {
		return errors.New("a transform of components that differ")
	}
	for i, y := range a.ints { // G.2.2
		u, v := b.ints[i], c.ints[i]
		g := y - (u+v)>>2
		a.ints[i], b.ints[i], c.ints[i] = v+g, g, u+g
	}
	for i, y := range a.floats { // G.3.2
		u, v := b.floats[i], c.floats[i]
		a.floats[i] = y + float32(1.402*v)
		b.floats[i] = y - float32(0.344136*u) - float32(0.714136*v)
		c.floats[i] = y + float32(1.772*u)
	}
	return nil
}

// store writes the samples of a tile with the shift of their level (G.1), bounded by the depth.
func (k *tileComponent) store(p *plane) {
	half, top := int32(1)<<(p.depth-1), int32(1)<<p.depth-1
	w := k.area.w()
	for y := k.area.y0; y < k.area.y1; y++ {
		dst := p.samples[(y-p.area.y0)*p.area.w()+k.area.x0-p.area.x0:][:w]
		at := (y - k.area.y0) * w
		if k.ints != nil {
			for x, v := range k.ints[at:][:w] {
				dst[x] = uint16(max(-half, min(top-half, v)) + half)
			}
			continue
		}
		for x, v := range k.floats[at:][:w] {
			dst[x] = uint16(roundClamped(v, -half, top-half) + half)
		}
	}
}

// roundClamped is the integer nearest to v, of the even ones where there are two, within bounds.
func roundClamped(v float32, low, high int32) int32 {
	switch {
	case !(v > float32(low)): // NaN as well
		return low
	case v >= float32(high):
		return high
	}
	// The spacing of float32 is 1 there: the addition rounds.
	const shift = 3 << 22
	return int32(float32(v+shift)) - shift
}
