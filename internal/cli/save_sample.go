package cli

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/picture"
	"github.com/onnxopt/onnxopt/ir"
)

// checkPicture finds out before the work whether a picture can be written.
func checkPicture(name string) error {
	switch {
	case name == "":
		return nil
	case !strings.EqualFold(filepath.Ext(name), ".png"):
		return usagef("--save-sample %s: pictures are written as .png", name)
	}
	return checkOutput(name)
}

// savePicture writes the first input that has the shape of a picture.
func savePicture(name string, s *dataset.Sample, inputs []*inputStat) error {
	var shapes []string
	for _, i := range inputs {
		t, ok := s.Inputs[i.Name].(*ir.Tensor)
		if !ok {
			continue
		}
		m, err := pictureOf(t)
		if err != nil {
			return &dataset.BadSampleError{Name: s.Name, Err: err}
		}
		if m != nil {
			return atomically(name, func(w io.Writer) error { return png.Encode(w, m) })
		}
		shapes = append(shapes, fmt.Sprintf("%s %s", i.Name, t.Type()))
	}
	return &dataset.BadSampleError{Name: s.Name, Err: fmt.Errorf(
		"no input has the shape of a picture, which --save-sample needs ([N,C,H,W], [N,H,W,C], with or without N, or [N,H,W], 1 or 3 channels): %s",
		strings.Join(shapes, ", "))}
}

// pictureOf makes a picture of a tensor [N,C,H,W], [N,H,W,C], with or without N, or [N,H,W]: the smallest element becomes 0, the largest
// 255. Channels keep their order, so that blue and red are swapped where the model takes blue first. It is nil where the shape
// is no picture's.
func pictureOf(t *ir.Tensor) (image.Image, error) {
	if t.DType() == ir.String || t.DType() == ir.Complex64 || t.DType() == ir.Complex128 {
		return nil, nil
	}
	f := picture.FrameOf(t.Type().TensorShape(), "")
	if f.C != 1 && f.C != 3 || f.W < 1 || f.H < 1 {
		return nil, nil
	}
	v, err := dataset.Floats(t)
	if err != nil {
		return nil, err
	}
	v = v[:f.W*f.H*f.C] // of the first, if there are several
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, x := range v {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			lo, hi = min(lo, x), max(hi, x)
		}
	}
	at := func(x, y, c int) uint8 {
		k := (c*f.H+y)*f.W + x
		if f.NHWC {
			k = (y*f.W+x)*f.C + c
		}
		if math.IsNaN(v[k]) || !(hi > lo) {
			return 0
		}
		return uint8(math.Round(255 * min(max((v[k]-lo)/(hi-lo), 0), 1)))
	}
	if f.C == 1 {
		m := image.NewGray(image.Rect(0, 0, f.W, f.H))
		for y := range f.H {
			for x := range f.W {
				m.SetGray(x, y, color.Gray{Y: at(x, y, 0)})
			}
		}
		return m, nil
	}
	m := image.NewNRGBA(image.Rect(0, 0, f.W, f.H))
	for y := range f.H {
		for x := range f.W {
			m.SetNRGBA(x, y, color.NRGBA{R: at(x, y, 0), G: at(x, y, 1), B: at(x, y, 2), A: 255})
		}
	}
	return m, nil
}
