// Package picture turns photographs into what models take: it decodes, scales, crops and normalizes them, as a [Spec] declares.
package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // a decoder
	_ "image/jpeg" // a decoder
	_ "image/png"  // a decoder
	"io"
)

// Picture is an image of eight bits a channel, rows from the top, channels interleaved: one (grey) or three (red, green, blue).
type Picture struct {
	W, H, C int
	Pix     []byte // of length W·H·C
}

// maxPixels bounds what Decode makes room for: a header of a few bytes may claim any size.
const maxPixels = 1 << 26

// Decode reads a JPEG, PNG or GIF file (its first frame) with three channels. Transparency is left out; turns that EXIF data
// ask for are not made, as in Pillow and torchvision. Colours of JPEG are those of Go's decoder, which does not smooth
// chroma between pixels: single values may differ from libjpeg's by a few steps.
func Decode(r io.ReadSeeker) (*Picture, error) {
	c, _, err := image.DecodeConfig(r)
	switch {
	case errors.Is(err, image.ErrFormat):
		return nil, errors.New("no JPEG, PNG or GIF picture")
	case err != nil:
		return nil, err
	case c.Width <= 0 || c.Height <= 0 || c.Width > maxPixels/c.Height:
		return nil, fmt.Errorf("a picture of %d x %d pixels; the limit is %d in all", c.Width, c.Height, maxPixels)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, _, err := image.Decode(r)
	if err != nil {
		return nil, err
	}
	return FromImage(img), nil
}

// FromImage copies an image of Go's.
func FromImage(img image.Image) *Picture {
	b := img.Bounds()
	p := &Picture{W: b.Dx(), H: b.Dy(), C: 3, Pix: make([]byte, 0, 3*b.Dx()*b.Dy())}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			switch m := img.(type) {
			case *image.YCbCr:
				c := m.YCbCrAt(x, y)
				r, g, b := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
				p.Pix = append(p.Pix, r, g, b)
			case *image.Gray:
				v := m.GrayAt(x, y).Y
				p.Pix = append(p.Pix, v, v, v)
			default:
				c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
				p.Pix = append(p.Pix, c.R, c.G, c.B)
			}
		}
	}
	return p
}

// Planes makes a picture of bytes that hold one plane after the other, as CIFAR-10 does.
func Planes(b []byte, c, h, w int) *Picture {
	p := &Picture{W: w, H: h, C: c, Pix: make([]byte, len(b))}
	for k := range c {
		for i := range h * w {
			p.Pix[i*c+k] = b[k*h*w+i]
		}
	}
	return p
}

// Grey is the picture with one channel: the luma of ITU-R 601, (299 R + 587 G + 114 B) / 1000, in the fixed point of Pillow's mode L.
func (p *Picture) Grey() *Picture {
	if p.C == 1 {
		return p
	}
	q := &Picture{W: p.W, H: p.H, C: 1, Pix: make([]byte, p.W*p.H)}
	for i := range q.Pix {
		r, g, b := int(p.Pix[3*i]), int(p.Pix[3*i+1]), int(p.Pix[3*i+2])
		q.Pix[i] = byte((r*19595 + g*38470 + b*7471 + 0x8000) >> 16)
	}
	return q
}

// Colour is the picture with three channels.
func (p *Picture) Colour() *Picture {
	if p.C == 3 {
		return p
	}
	q := &Picture{W: p.W, H: p.H, C: 3, Pix: make([]byte, 0, 3*len(p.Pix))}
	for _, v := range p.Pix {
		q.Pix = append(q.Pix, v, v, v)
	}
	return q
}

// within is the part of p of w by h pixels whose corner is at x, y. Places outside of p are filled with pad.
func (p *Picture) within(x, y, w, h int, pad byte) *Picture {
	q := &Picture{W: w, H: h, C: p.C, Pix: bytes.Repeat([]byte{pad}, w*h*p.C)}
	from, to := max(x, 0), min(x+w, p.W)
	if from >= to {
		return q
	}
	for row := max(y, 0); row < min(y+h, p.H); row++ {
		copy(q.Pix[((row-y)*w+from-x)*p.C:], p.Pix[(row*p.W+from)*p.C:(row*p.W+to)*p.C])
	}
	return q
}
