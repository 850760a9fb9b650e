package picture

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// Frame is the place of a picture in a model's input.
type Frame struct {
	W, H, C int // 0 where the model leaves it open
	NHWC    bool
}

// FrameOf reads the shape of an input: [N,C,H,W] or [N,H,W,C], with or without N, or without C. layout is that of a Spec.
func FrameOf(s ir.Shape, layout string) Frame {
	size := func(i int) int {
		if s[i].IsStatic() {
			return int(min(s[i].Size, math.MaxInt32))
		}
		return 0
	}
	channels := func(i int) bool { return size(i) == 1 || size(i) == 3 }
	f := Frame{NHWC: layout == "nhwc"}
	n := len(s)
	switch {
	case n < 3 || n > 4:
		return f
	case n == 3 && !channels(0) && !channels(2): // [N,H,W]
		f.H, f.W, f.C = size(1), size(2), 1
		return f
	}
	if layout == "" {
		f.NHWC = channels(n-1) && !channels(n-3)
	}
	if f.NHWC {
		f.H, f.W, f.C = size(n-3), size(n-2), size(n-1)
	} else {
		f.C, f.H, f.W = size(n-3), size(n-2), size(n-1)
	}
	return f
}

// Apply makes the tensor of a picture: float, [1,C,H,W] or [1,H,W,C].
func (s *Spec) Apply(p *Picture, f Frame) (*ir.Tensor, error) {
	switch f.C {
	case 1:
		p = p.Grey()
	case 3:
		p = p.Colour()
	case 0:
	default:
		return nil, fmt.Errorf("the model takes %d channels; a picture has 1 or 3", f.C)
	}
	p, err := s.shape(p, f)
	if err != nil {
		return nil, err
	}
	if f.W > 0 && f.W != p.W || f.H > 0 && f.H != p.H {
		return nil, fmt.Errorf("%d x %d pixels where the model takes %d x %d; resize, letterbox or center-crop make them fit", p.W, p.H, f.W, f.H)
	}
	return s.tensor(p, f.NHWC), nil
}

// shape takes the steps that change the size.
func (s *Spec) shape(p *Picture, f Frame) (*Picture, error) {
	crop, err := s.Crop.in(f, "center-crop")
	if err != nil {
		return nil, err
	}
	switch z := s.Resize; {
	case z.Around && (crop.W == 0 || p.W == crop.W && p.H == crop.H):
	case z.Around:
		p, err = s.shorter(p, int(math.Round(float64(min(crop.W, crop.H))*256/224)))
	case z.Short:
		p, err = s.shorter(p, z.W)
	case !z.none():
		if z, err = z.in(f, "resize"); err == nil {
			p = s.scaled(p, z.W, z.H)
		}
	}
	if err == nil && !s.Letterbox.none() {
		p, err = s.letterbox(p, f)
	}
	if err != nil {
		return nil, err
	}
	if crop.W > 0 {
		p = p.within(middle(p.W, crop.W), middle(p.H, crop.H), crop.W, crop.H, 0)
	}
	return p, nil
}

// in resolves the size of the model.
func (z Size) in(f Frame, what string) (Size, error) {
	if !z.Model {
		return z, nil
	}
	if f.W == 0 || f.H == 0 || f.W > maxSide || f.H > maxSide {
		return z, fmt.Errorf("the model does not say which size it takes; give %s in pixels", what)
	}
	return Size{W: f.W, H: f.H}, nil
}

// middle is where a crop begins, rounded to even as torchvision's CenterCrop does.
func middle(have, want int) int { return int(math.RoundToEven(float64(have-want) / 2)) }

func (s *Spec) scaled(p *Picture, w, h int) *Picture {
	if s.OpenCV {
		return p.OpenCV(w, h)
	}
	return p.Pillow(w, h)
}

// shorter scales the shorter side to n; the other is rounded down, as torchvision's Resize does.
func (s *Spec) shorter(p *Picture, n int) (*Picture, error) {
	w, h := n, n
	if p.W > p.H {
		w = int(int64(n) * int64(p.W) / int64(p.H))
	} else {
		h = int(int64(n) * int64(p.H) / int64(p.W))
	}
	if w > maxPixels/h {
		return nil, fmt.Errorf("%d x %d pixels would become %d x %d", p.W, p.H, w, h)
	}
	return s.scaled(p, w, h), nil
}

// letterbox scales and pads as the YOLO programs do: half of the rest on each side, an odd pixel at the right or bottom.
func (s *Spec) letterbox(p *Picture, f Frame) (*Picture, error) {
	z, err := s.Letterbox.in(f, "letterbox")
	if err != nil {
		return nil, err
	}
	r := min(float64(z.W)/float64(p.W), float64(z.H)/float64(p.H))
	w := max(int(math.RoundToEven(float64(p.W)*r)), 1)
	h := max(int(math.RoundToEven(float64(p.H)*r)), 1)
	left := int(math.RoundToEven(float64(z.W-w)/2 - 0.1))
	top := int(math.RoundToEven(float64(z.H-h)/2 - 0.1))
	return s.scaled(p, w, h).within(-left, -top, z.W, z.H, s.Pad), nil
}

// tensor takes the steps that change values.
func (s *Spec) tensor(p *Picture, nhwc bool) *ir.Tensor {
	out := make([]float32, len(p.Pix))
	n := p.W * p.H
	for c := range p.C {
		from := c
		if s.BGR {
			from = p.C - 1 - c
		}
		var table [256]float32
		for v := range table {
			table[v] = s.value(v, c)
		}
		for i := range n {
			v := table[p.Pix[i*p.C+from]]
			if nhwc {
				out[i*p.C+c] = v
			} else {
				out[c*n+i] = v
			}
		}
	}
	w, h, c := int64(p.W), int64(p.H), int64(p.C)
	if nhwc {
		return ir.TensorOf(out, 1, h, w, c)
	}
	return ir.TensorOf(out, 1, c, h, w)
}

// value is what a pixel's value becomes in channel c.
func (s *Spec) value(v, c int) float32 {
	x := float64(v)
	if s.Scale != 0 {
		x *= s.Scale
	}
	return float32((x - pick(s.Mean, c, 0)) / pick(s.Std, c, 1))
}

// pick is the value of a channel; one value stands for all channels, none for the given one.
func pick(v []float64, c int, none float64) float64 {
	switch {
	case len(v) == 0:
		return none
	case c < len(v):
		return v[c]
	}
	return v[0]
}

// Rounds reports whether the values of s are computed, so that an integer input gets them rounded.
func (s *Spec) Rounds() bool { return !s.values() }
