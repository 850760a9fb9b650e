package picture

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// Spec declares how pictures become inputs. The steps are taken in this order: Resize or Letterbox, Crop, the order of the
// channels, (value · Scale − Mean) / Std with a mean and a deviation a channel, Layout. The zero Spec takes pixels as they are.
type Spec struct {
	Resize    Size
	Letterbox Size // scaled to fit inside, and padded evenly on both sides
	Pad       byte // what Letterbox pads with
	Crop      Size // out of the middle; a smaller picture is padded with zeros
	Scale     float64
	Mean, Std []float64 // in the order in which the model gets the channels
	BGR       bool      // blue first
	Layout    string    // "nchw", "nhwc", or "" for the one that the model's shape fits
	DType     ir.DType  // Undefined: what the model takes
	OpenCV    bool      // scale as OpenCV does, instead of Pillow
}

// Size is a size of a picture. The zero Size is none.
type Size struct {
	W, H int
	// Short gives the shorter side in W; the other side keeps the proportions.
	Short bool
	// Model is the size that the model takes.
	Model bool
	// Around is for Resize: the shorter side is 256/224 of the crop, as it is usual for ImageNet; a picture of the crop's size
	// stays as it is.
	Around bool
}

func (s Size) none() bool { return s == Size{} }

// Plain reports whether s takes pixels as they are.
func (s *Spec) Plain() bool {
	return s.Resize.none() && s.Letterbox.none() && s.Crop.none() && s.values()
}

// values reports whether the numbers stay as they are.
func (s *Spec) values() bool { return (s.Scale == 0 || s.Scale == 1) && s.Mean == nil && s.Std == nil }

// Keys lists the settings that Set knows, with what they mean.
func Keys() [][2]string {
	return [][2]string{
		{"preset", "one of " + strings.Join(Presets(), ", ")},
		{"resize", "256 for the shorter side, 320x240 (width x height), model, or crop: 256/224 of the crop unless the picture has its size"},
		{"letterbox", "640x640 or model: scale to fit, pad the rest"},
		{"pad", "what letterbox pads with, 0 to 255"},
		{"center-crop", "224, 320x240, or model"},
		{"scale", "factor of the values 0 to 255, like 1/255"},
		{"mean", "subtracted next, one number or one a channel"},
		{"std", "divided by last, one number or one a channel"},
		{"layout", "nchw or nhwc; otherwise the one that the model's shape fits"},
		{"bgr", "true for blue first"},
		{"dtype", "element type, like float16; otherwise the model's"},
		{"filter", "pillow (a triangle that widens when the picture shrinks) or opencv (four neighbours)"},
	}
}

// presets are settings by name.
func presets() map[string]Spec {
	imagenet := Spec{Resize: Size{Around: true}, Crop: Size{Model: true}}
	torch, tf, caffe := imagenet, imagenet, imagenet
	torch.Scale, torch.Mean, torch.Std = 1.0/255, []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225}
	tf.Scale, tf.Mean = 1/127.5, []float64{1}
	caffe.Mean, caffe.BGR = []float64{103.939, 116.779, 123.68}, true
	return map[string]Spec{
		"imagenet-torch": torch, "imagenet-tf": tf, "caffe-bgr": caffe,
		"yolo": {Letterbox: Size{Model: true}, Pad: 114, Scale: 1.0 / 255, OpenCV: true},
	}
}

// Presets lists the names of the presets.
func Presets() []string { return []string{"imagenet-torch", "imagenet-tf", "caffe-bgr", "yolo"} }

// Set changes one setting, by its key. A preset replaces all others, so that it comes first.
func (s *Spec) Set(key, value string) (err error) {
	value = strings.TrimSpace(value)
	switch key {
	case "preset":
		p, ok := presets()[value]
		if !ok {
			return fmt.Errorf("there is no preset %q; there are %s", value, strings.Join(Presets(), ", "))
		}
		*s = p
	case "resize":
		s.Resize, err = parseSize(value)
		if value == "crop" {
			s.Resize, err = Size{Around: true}, nil
		}
	case "letterbox":
		s.Letterbox, err = square(value)
	case "center-crop":
		s.Crop, err = square(value)
	case "pad":
		var n uint64
		n, err = strconv.ParseUint(value, 10, 8)
		s.Pad = byte(n)
	case "scale":
		s.Scale, err = number(value)
		if err == nil && s.Scale == 0 {
			err = errors.New("a scale of 0 leaves nothing")
		}
	case "mean":
		s.Mean, err = list(value)
	case "std":
		s.Std, err = list(value)
		if slices.Contains(s.Std, 0) {
			err = errors.New("a deviation of 0")
		}
	case "bgr":
		s.BGR, err = strconv.ParseBool(value)
	case "layout":
		if s.Layout = strings.ToLower(value); s.Layout != "nchw" && s.Layout != "nhwc" {
			err = errors.New("neither nchw nor nhwc")
		}
	case "dtype":
		var ok bool
		if s.DType, ok = ir.ParseDType(dtypeNames(value)); !ok || !s.DType.IsFloat() && !s.DType.IsInt() {
			err = errors.New("no element type of numbers, like float16")
		}
	case "filter":
		s.OpenCV = value == "opencv"
		if value != "opencv" && value != "pillow" {
			err = errors.New("neither pillow nor opencv")
		}
	default:
		return fmt.Errorf("there is no setting %q", key)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", key, value, unwrapNumber(err))
	}
	return nil
}

// dtypeNames takes NumPy's names where ONNX has others.
func dtypeNames(s string) string {
	switch s {
	case "float32":
		return "float"
	case "float64":
		return "double"
	}
	return s
}

// unwrapNumber takes away what strconv repeats.
func unwrapNumber(err error) error {
	var n *strconv.NumError
	if errors.As(err, &n) {
		return errors.New("no such number")
	}
	return err
}

// maxSide bounds the sizes that may be asked for.
const maxSide = 1 << 14

func parseSize(s string) (Size, error) {
	if s == "model" {
		return Size{Model: true}, nil
	}
	w, h, both := strings.Cut(s, "x")
	a, err := strconv.Atoi(w)
	b := a
	if err == nil && both {
		b, err = strconv.Atoi(h)
	}
	if err != nil || a <= 0 || b <= 0 || a > maxSide || b > maxSide {
		return Size{}, fmt.Errorf("neither a size like 224 or 320x240, with sides up to %d, nor model", maxSide)
	}
	return Size{W: a, H: b, Short: !both}, nil
}

// square is a size of which one number means both sides.
func square(s string) (Size, error) {
	z, err := parseSize(s)
	z.Short = false
	return z, err
}

// number reads a finite number or a fraction of two.
func number(s string) (float64, error) {
	a, b, fraction := strings.Cut(s, "/")
	v, err := strconv.ParseFloat(strings.TrimSpace(a), 64)
	if err == nil && fraction {
		var d float64
		d, err = strconv.ParseFloat(strings.TrimSpace(b), 64)
		v /= d
	}
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = errors.New("no finite number")
	}
	return v, err
}

func list(s string) ([]float64, error) {
	var r []float64
	for _, part := range strings.Split(strings.Trim(s, "[]"), ",") {
		v, err := number(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		r = append(r, v)
	}
	if len(r) != 1 && len(r) != 3 {
		return nil, errors.New("neither one number nor three")
	}
	return r, nil
}
