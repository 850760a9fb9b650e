package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"github.com/onnxopt/onnxopt/internal/jpeg2000"
	"github.com/onnxopt/onnxopt/ir"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// imageFormats lists what an ImageDecoder reads by the bytes that files begin with; ? stands for any byte. Decoders that bound their
// own memory are given the bytes that they may take.
var imageFormats = []struct {
	magic  string
	size   func(b []byte) (image.Config, error)
	decode func(b []byte, limit int64) (image.Image, error)
}{
	{"\xff\xd8", config(jpeg.DecodeConfig), unlimited(decodeJPEG)},
	{"\x89PNG", config(png.DecodeConfig), reader(png.Decode)},
	{"GIF8", config(gif.DecodeConfig), reader(gif.Decode)},
	{"BM", config(bmp.DecodeConfig), reader(bmp.Decode)},
	{"RIFF????WEBP", config(webp.DecodeConfig), reader(webp.Decode)},
	{"II*\x00", config(tiff.DecodeConfig), reader(tiff.Decode)},
	{"MM\x00*", config(tiff.DecodeConfig), reader(tiff.Decode)},
	{"P5", pnmConfig, unlimited(decodePNM)},
	{"P6", pnmConfig, unlimited(decodePNM)},
	{jpeg2000.Magic, jpeg2000.DecodeConfig, jpeg2000.Decode},
	{jpeg2000.Codestream, jpeg2000.DecodeConfig, jpeg2000.Decode},
}

func config[R any](f func(R) (image.Config, error)) func([]byte) (image.Config, error) {
	return func(b []byte) (image.Config, error) { return f(any(bytes.NewReader(b)).(R)) }
}

func reader[R any](f func(R) (image.Image, error)) func([]byte, int64) (image.Image, error) {
	return func(b []byte, _ int64) (image.Image, error) { return f(any(bytes.NewReader(b)).(R)) }
}

func unlimited(f func([]byte) (image.Image, error)) func([]byte, int64) (image.Image, error) {
	return func(b []byte, _ int64) (image.Image, error) { return f(b) }
}

// imageDecoderOp decodes the bytes of a file to uint8 [height, width, channels]; pixel_format is RGB, BGR or Grayscale. JPEG and WebP
// store colours at half the resolution, which are interpolated as libjpeg and libwebp do.
func imageDecoderOp(c *Call) ([]ir.Datum, error) {
	t, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if t.DType() != ir.Uint8 || t.Rank() != 1 {
		return nil, c.badOperand(0, t)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	format := c.str("pixel_format", "RGB")
	if format != "RGB" && format != "BGR" && format != "Grayscale" {
		return nil, fmt.Errorf("unknown pixel format %q", format)
	}
	for _, f := range imageFormats {
		if !hasMagic(b, f.magic) {
			continue
		}
		size, err := f.size(b)
		if err != nil {
			return nil, err
		}
		shape := []int64{int64(size.Height), int64(size.Width), 3}
		if !sane(shape) {
			return nil, fmt.Errorf("a picture of %d by %d", size.Height, size.Width)
		}
		before := c.used
		if err := c.reserve(ir.NumElements(shape), 4); err != nil { // of the decoder
			return nil, err
		}
		rgb, err := alloc[uint8](c, shape)
		if err != nil {
			return nil, err
		}
		m, err := f.decode(b, c.limit()-before-int64(len(rgb)))
		if err != nil {
			return nil, err
		}
		if m.Bounds().Dx() != size.Width || m.Bounds().Dy() != size.Height {
			return nil, errors.New("the picture has another size than its header says")
		}
		pixels(rgb, m, f.magic[0] == 'R')
		return one(pixelTensor(c, rgb, shape, format))
	}
	return nil, errors.New("the picture is of no known format")
}

func hasMagic(b []byte, magic string) bool {
	if len(b) < len(magic) {
		return false
	}
	for i := range magic {
		if magic[i] != '?' && b[i] != magic[i] {
			return false
		}
	}
	return true
}

// pixels writes the colours of m without their opacity.
func pixels(rgb []uint8, m image.Image, isWebP bool) {
	switch y := m.(type) {
	case *image.YCbCr:
		if isWebP {
			webPixels(rgb, y)
		} else {
			jpegPixels(rgb, y)
		}
		return
	case *image.NYCbCrA:
		webPixels(rgb, &y.YCbCr)
		return
	case *image.NRGBA:
		w := m.Bounds().Dx()
		for i := range len(rgb) / 3 {
			copy(rgb[3*i:], y.Pix[i/w*y.Stride+i%w*4:][:3])
		}
		return
	}
	r, i := m.Bounds(), 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			p := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			rgb[i], rgb[i+1], rgb[i+2] = p.R, p.G, p.B
			i += 3
		}
	}
}

// pixelTensor brings the colours into the order asked for; grey is 0.299 R + 0.587 G + 0.114 B as ITU-R 601-2 has it.
func pixelTensor(c *Call, rgb []uint8, shape []int64, format string) (*ir.Tensor, error) {
	switch format {
	case "BGR":
		for i := 0; i < len(rgb); i += 3 {
			rgb[i], rgb[i+2] = rgb[i+2], rgb[i]
		}
	case "Grayscale":
		shape = []int64{shape[0], shape[1], 1}
		grey, err := alloc[uint8](c, shape)
		if err != nil {
			return nil, err
		}
		for i := range grey {
			p := rgb[3*i : 3*i+3]
			grey[i] = uint8((uint32(p[0])*19595 + uint32(p[1])*38470 + uint32(p[2])*7471 + 1<<15) >> 16)
		}
		rgb = grey
	}
	return ir.NewTensor(ir.Uint8, shape, rgb), nil
}

// pnmHeader reads the header of a binary PGM or PPM file: width, height and greatest value, apart by spaces and comments.
func pnmHeader(b []byte) (w, h int, data []byte, err error) {
	var n [3]int
	at := 2
	for i := range n {
		for at < len(b) && (b[at] <= ' ' || b[at] == '#') {
			if b[at] == '#' {
				for at < len(b) && b[at] != '\n' {
					at++
				}
			} else {
				at++
			}
		}
		start := at
		for ; at < len(b) && b[at] >= '0' && b[at] <= '9' && n[i] < 1<<30; at++ {
			n[i] = n[i]*10 + int(b[at]-'0')
		}
		if at == start || at >= len(b) {
			return 0, 0, nil, errors.New("the header of a PNM file is not complete")
		}
	}
	if n[0] < 1 || n[1] < 1 || n[2] != 255 {
		return 0, 0, nil, fmt.Errorf("a PNM file of %d by %d with values up to %d", n[0], n[1], n[2])
	}
	return n[0], n[1], b[at+1:], nil
}

func pnmConfig(b []byte) (image.Config, error) {
	w, h, _, err := pnmHeader(b)
	return image.Config{Width: w, Height: h}, err
}

func decodePNM(b []byte) (image.Image, error) {
	w, h, data, err := pnmHeader(b)
	if err != nil {
		return nil, err
	}
	channels := 1
	if b[1] == '6' {
		channels = 3
	}
	if len(data)/channels/w < h {
		return nil, errors.New("a PNM file ends early")
	}
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		p := data[i*channels:][:channels]
		copy(m.Pix[4*i:], []uint8{p[0], p[channels/2], p[channels-1], 255})
	}
	return m, nil
}
