package picture

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// TestResize holds both scalers to what Pillow and OpenCV gave; testdata/make.py made the cases.
func TestResize(t *testing.T) {
	b, err := os.ReadFile("testdata/resize.txt")
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var p Picture
		var w, h int
		f := strings.Fields(line)
		_, err := fmt.Sscan(strings.Join(f[:5], " "), &p.W, &p.H, &p.C, &w, &h)
		require.NoError(t, err)
		p.Pix, err = hex.DecodeString(f[5])
		require.NoError(t, err)
		name := strings.Join(f[:5], " ")
		require.Equal(t, f[6], hex.EncodeToString(p.Pillow(w, h).Pix), "Pillow %s", name)
		want, err := hex.DecodeString(f[7])
		require.NoError(t, err)
		for i, v := range p.OpenCV(w, h).Pix { // its vector code rounds some values the other way
			require.InDelta(t, want[i], v, 1, "OpenCV %s at %d", name, i)
		}
	}
}

// spec makes a Spec of key=value pairs.
func spec(t *testing.T, settings ...string) *Spec {
	t.Helper()
	s := &Spec{}
	for _, k := range settings {
		key, value, _ := strings.Cut(k, "=")
		require.NoError(t, s.Set(key, value))
	}
	return s
}

// ramp is a picture whose pixel x, y, c is 10y + x + 100c.
func ramp(w, h int) *Picture {
	p := &Picture{W: w, H: h, C: 3}
	for y := range h {
		for x := range w {
			for c := range 3 {
				p.Pix = append(p.Pix, byte(10*y+x+100*c))
			}
		}
	}
	return p
}

func floats(t *testing.T, x *ir.Tensor) []float32 {
	t.Helper()
	v, err := ir.Elements[float32](x)
	require.NoError(t, err)
	return v
}

func TestApplyLayouts(t *testing.T) {
	nchw, err := spec(t).Apply(ramp(2, 2), Frame{})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 3, 2, 2}, nchw.Shape())
	require.Equal(t, []float32{0, 1, 10, 11, 100, 101, 110, 111, 200, 201, 210, 211}, floats(t, nchw))
	nhwc, err := spec(t, "bgr=true").Apply(ramp(2, 2), Frame{NHWC: true})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 2, 3}, nhwc.Shape())
	require.Equal(t, []float32{200, 100, 0, 201, 101, 1, 210, 110, 10, 211, 111, 11}, floats(t, nhwc))
}

// TestMeanFollowsOrder: a mean is that of the channel as the model gets it.
func TestMeanFollowsOrder(t *testing.T) {
	x, err := spec(t, "mean=200,100,0", "std=2", "bgr=true").Apply(ramp(1, 1), Frame{})
	require.NoError(t, err)
	require.Equal(t, []float32{0, 0, 0}, floats(t, x))
	x, err = spec(t, "scale=1/100", "mean=0,1,2", "std=1,2,4").Apply(ramp(2, 1), Frame{})
	require.NoError(t, err)
	require.InDeltaSlice(t, []float32{0, 0.01, 0, 0.005, 0, 0.0025}, floats(t, x), 1e-6)
}

func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		settings []string
		w, h     int
		frame    Frame
		shape    []int64
		err      string
	}{
		{[]string{"resize=4"}, 8, 16, Frame{}, []int64{1, 3, 8, 4}, ""},
		{[]string{"resize=6x2"}, 8, 16, Frame{}, []int64{1, 3, 2, 6}, ""},
		{[]string{"center-crop=4"}, 8, 16, Frame{}, []int64{1, 3, 4, 4}, ""},
		{[]string{"center-crop=20"}, 8, 16, Frame{}, []int64{1, 3, 20, 20}, ""},
		{[]string{"letterbox=model"}, 8, 16, Frame{W: 5, H: 5}, []int64{1, 3, 5, 5}, ""},
		{[]string{"letterbox=model"}, 8, 16, Frame{}, nil, "does not say which size"},
		{[]string{"preset=imagenet-torch"}, 300, 500, Frame{W: 224, H: 224}, []int64{1, 3, 224, 224}, ""},
		{[]string{"preset=yolo"}, 30, 50, Frame{W: 64, H: 32, C: 3}, []int64{1, 3, 32, 64}, ""},
		{nil, 8, 16, Frame{W: 224, H: 224}, nil, "8 x 16 pixels where the model takes 224 x 224"},
		{nil, 8, 16, Frame{C: 4}, nil, "4 channels"},
		{nil, 8, 16, Frame{C: 1}, []int64{1, 1, 16, 8}, ""},
	} {
		x, err := spec(t, c.settings...).Apply(ramp(c.w, c.h), c.frame)
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err, c.settings)
		require.Equal(t, c.shape, x.Shape(), c.settings)
	}
}

func TestLetterboxPads(t *testing.T) {
	x, err := spec(t, "letterbox=4x3", "pad=7").Apply(ramp(2, 3), Frame{})
	require.NoError(t, err)
	require.Equal(t, []float32{7, 0, 1, 7, 7, 10, 11, 7, 7, 20, 21, 7}, floats(t, x)[:12])
}

// TestAroundKeepsFitting: the presets of ImageNet leave a picture of the model's size alone.
func TestAroundKeepsFitting(t *testing.T) {
	x, err := spec(t, "preset=caffe-bgr", "mean=0", "bgr=false").Apply(ramp(3, 3), Frame{W: 3, H: 3})
	require.NoError(t, err)
	require.Equal(t, []float32{0, 1, 2, 10, 11, 12, 20, 21, 22}, floats(t, x)[:9])
}

func TestFrameOf(t *testing.T) {
	for _, c := range []struct {
		shape  ir.Shape
		layout string
		want   Frame
	}{
		{ir.StaticShape(1, 3, 5, 7), "", Frame{W: 7, H: 5, C: 3}},
		{ir.StaticShape(1, 5, 7, 3), "", Frame{W: 7, H: 5, C: 3, NHWC: true}},
		{ir.StaticShape(1, 3, 7, 3), "", Frame{W: 3, H: 7, C: 3}},
		{ir.StaticShape(1, 3, 7, 3), "nhwc", Frame{W: 7, H: 3, C: 3, NHWC: true}},
		{ir.Shape{ir.Symbol("N"), ir.Static(3), ir.UnknownDim(), ir.UnknownDim()}, "", Frame{C: 3}},
		{ir.StaticShape(9, 28, 28), "", Frame{W: 28, H: 28, C: 1}},
		{ir.StaticShape(3, 28, 28), "", Frame{W: 28, H: 28, C: 3}},
		{nil, "", Frame{}},
	} {
		require.Equal(t, c.want, FrameOf(c.shape, c.layout), "%s %s", c.shape, c.layout)
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, k := range []string{"preset=vgg", "resize=0", "resize=3x", "resize=99999999", "pad=256", "scale=0", "scale=1/0", "scale=x",
		"mean=1,2", "std=1,0,1", "layout=hw", "bgr=maybe", "dtype=string", "filter=nearest", "sharpen=1", "mean=NaN"} {
		key, value, _ := strings.Cut(k, "=")
		require.Error(t, (&Spec{}).Set(key, value), k)
	}
}

func TestDecode(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	img.Set(0, 0, color.NRGBA{10, 20, 30, 255})
	img.Set(1, 0, color.NRGBA{40, 50, 60, 7}) // transparency is left out
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	p, err := Decode(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	require.Equal(t, &Picture{W: 2, H: 1, C: 3, Pix: []byte{10, 20, 30, 40, 50, 60}}, p)
	_, err = Decode(strings.NewReader("text"))
	require.ErrorContains(t, err, "no JPEG, PNG or GIF")
	// A GIF header that claims 65535 x 65535 pixels.
	_, err = Decode(strings.NewReader("GIF89a\xff\xff\xff\xff\x00\x00\x00"))
	require.ErrorContains(t, err, "65535 x 65535")
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00"))
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(bytes.NewReader(b))
		if err == nil && len(p.Pix) != p.W*p.H*p.C {
			t.Fatalf("%d bytes for %d x %d x %d", len(p.Pix), p.W, p.H, p.C)
		}
	})
}
