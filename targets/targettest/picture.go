package targettest

import (
	"errors"
	"image"
	_ "image/jpeg" // the format of the photos
	"io/fs"
	"os"
	"path/filepath"

	"github.com/onnxopt/onnxopt/ir"
)

// photo is fed to a model whose outputs are next to zero on noise, where a relative difference says nothing; "" for others.
func photo(model string) string {
	if model == "ppocrv4-det" {
		return "ocr/text_det.jpg"
	}
	return ""
}

// photograph replaces a generated picture by a photo where the data folder beside the models' has one.
func (c *Case) photograph(m *ir.Model) error {
	name := photo(c.Name)
	if name == "" {
		return nil
	}
	f, err := os.Open(filepath.Join(filepath.Dir(c.Path), "..", "data", filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return err
	}
	slot := m.Main.Inputs()[0]
	dims, ok := slot.Type().Shape.Ints()
	if !ok || len(dims) != 4 {
		return nil
	}
	c.Inputs[slot.Name()] = ir.TensorOf(planes(img, int(dims[2]), int(dims[3])), dims...)
	return nil
}

// planes are blue, green and red of a picture, each the nearest pixel, from -1 to 1.
func planes(img image.Image, h, w int) []float32 {
	r := make([]float32, 3*h*w)
	b := img.Bounds()
	for y := range h {
		for x := range w {
			red, green, blue, _ := img.At(b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h).RGBA()
			for c, v := range []uint32{blue, green, red} {
				r[(c*h+y)*w+x] = float32(v>>8)/127.5 - 1
			}
		}
	}
	return r
}
