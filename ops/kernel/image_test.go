package kernel

import (
	archive "archive/zip"
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
)

// photo is a smooth picture as JPEG.
func photo(t *testing.T, w, h int, grey bool) []byte {
	var m interface {
		image.Image
		Set(x, y int, c color.Color)
	} = image.NewRGBA(image.Rect(0, 0, w, h))
	if grey {
		m = image.NewGray(image.Rect(0, 0, w, h))
	}
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(20 + 200*x/w), uint8(30 + 190*y/h), uint8(40 + 150*(x+y)/(w+h)), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestJPEG compares with the decoder of the standard library, whose inverse transform rounds otherwise.
func TestJPEG(t *testing.T) {
	near := func(a, b []uint8, astride, bstride, w, h int) bool {
		for y := range h {
			for x := range w {
				if d := int(a[y*astride+x]) - int(b[y*bstride+x]); d < -1 || d > 1 {
					return false
				}
			}
		}
		return true
	}
	for _, size := range [][2]int{{1, 1}, {8, 8}, {17, 23}, {64, 40}, {33, 16}} {
		w, h := size[0], size[1]
		b := photo(t, w, h, false)
		got, err := decodeJPEG(b)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := jpeg.Decode(bytes.NewReader(b))
		x, y := got.(*image.YCbCr), want.(*image.YCbCr)
		if x.SubsampleRatio != y.SubsampleRatio || !near(x.Y, y.Y, x.YStride, y.YStride, w, h) || !near(x.Cb, y.Cb, x.CStride, y.CStride, (w+1)/2, (h+1)/2) {
			t.Errorf("%d by %d: another picture", w, h)
		}
		b = photo(t, w, h, true)
		if got, err = decodeJPEG(b); err != nil {
			t.Fatal(err)
		}
		want, _ = jpeg.Decode(bytes.NewReader(b))
		if p, q := got.(*image.Gray), want.(*image.Gray); !near(p.Pix, q.Pix, p.Stride, q.Stride, w, h) {
			t.Errorf("%d by %d: another grey picture", w, h)
		}
	}
}

// jpeg2000File is a picture of internal/jpeg2000, with the colours that come out.
func jpeg2000File(t *testing.T, name string) (data, rgb []byte) {
	z, err := archive.OpenReader("../../internal/jpeg2000/testdata/pictures.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	read := func(name string) []byte {
		f, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return read(name + ".jp2"), read(name + ".rgb")
}

// TestJPEG2000 decodes to each of the pixel formats: a picture with its colours in another order and opacity, and a grey one.
func TestJPEG2000(t *testing.T) {
	for _, name := range []string{"alpha-first", "palette.cdef", "icc-grey-alpha", "depth-12"} {
		b, want := jpeg2000File(t, name)
		for _, format := range []string{"RGB", "BGR", "Grayscale"} {
			attr := func(string) *ir.Attr { return ir.StringAttr("pixel_format", format) }
			out, err := imageDecoderOp(NewCall(context.Background(), ir.Op("ImageDecoder"), 20, attr, []ir.Datum{ir.TensorOf(b)}, 1))
			if err != nil {
				t.Fatal(name, err)
			}
			got, err := out[0].(*ir.Tensor).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			channels := len(got) * 3 / len(want)
			if format == "Grayscale" != (channels == 1) {
				t.Fatalf("%s as %s: %d channels", name, format, channels)
			}
			for i := range len(want) / 3 {
				r, g, b := int(want[3*i]), int(want[3*i+1]), int(want[3*i+2])
				p := got[channels*i:][:channels]
				ok := false
				switch format {
				case "RGB":
					ok = int(p[0]) == r && int(p[1]) == g && int(p[2]) == b
				case "BGR":
					ok = int(p[0]) == b && int(p[1]) == g && int(p[2]) == r
				default:
					d := 1000*int(p[0]) - 299*r - 587*g - 114*b
					ok = -510 < d && d < 510
				}
				if !ok {
					t.Fatalf("%s as %s: pixel %d is %v of %v", name, format, i, p, want[3*i:][:3])
				}
			}
		}
	}
}

// TestDamagedPictures: whatever the bytes, decoding ends, without a panic and within the limit.
func TestDamagedPictures(t *testing.T) {
	files := [][]byte{photo(t, 40, 30, false), photo(t, 20, 20, true), []byte("P6 # a comment\n2 1\n255\nabcdef"), []byte("P5 3 1 255 abc")}
	for _, name := range []string{"alpha-first", "palette.cdef"} {
		b, _ := jpeg2000File(t, name)
		files = append(files, b)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for k := range 4000 {
		b := bytes.Clone(files[k%len(files)])
		for range r.IntN(4) {
			b[2+r.IntN(len(b)-2)] = byte(r.Uint32())
		}
		if r.IntN(3) == 0 {
			b = b[:r.IntN(len(b))]
		}
		c := NewCall(context.Background(), ir.Op("ImageDecoder"), 20, func(string) *ir.Attr { return nil }, []ir.Datum{ir.TensorOf(b)}, 1)
		c.Limit = 1 << 20
		out, err := imageDecoderOp(c)
		if k < len(files) && len(b) == len(files[k]) && bytes.Equal(b, files[k]) && err != nil {
			t.Errorf("file %d: %v", k, err)
		}
		if err == nil && out[0].(*ir.Tensor).Rank() != 3 {
			t.Errorf("a picture of type %s", out[0].Type())
		}
	}
}
