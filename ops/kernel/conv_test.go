package kernel

import (
	"math"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"pgregory.net/rapid"
)

// convCase is a random two-dimensional convolution.
type convCase struct {
	x, w, b *ir.Tensor
	attrs   []*ir.Attr
	pads    []int64
	strides []int64
	dil     []int64
	groups  int64
}

func drawConv(t *rapid.T) convCase {
	small := rapid.Int64Range(1, 3)
	pair := func(name string, g *rapid.Generator[int64]) []int64 { return []int64{g.Draw(t, name), g.Draw(t, name)} }
	k := convCase{groups: small.Draw(t, "groups"), strides: pair("stride", small), dil: pair("dilation", small)}
	kernel := pair("kernel", small)
	k.pads = append(pair("before", rapid.Int64Range(0, 3)), pair("after", rapid.Int64Range(0, 3))...)
	size := make([]int64, 2)
	for i := range size { // the kernel must fit
		need := max(1, (kernel[i]-1)*k.dil[i]+1-k.pads[i]-k.pads[i+2])
		size[i] = need + rapid.Int64Range(0, 9).Draw(t, "size")
	}
	c, m := small.Draw(t, "channels"), small.Draw(t, "maps")
	k.x = ramp(rapid.Int64Range(1, 2).Draw(t, "batch"), c*k.groups, size[0], size[1])
	k.w = ramp(m*k.groups, c, kernel[0], kernel[1])
	k.b = ramp(m * k.groups)
	k.attrs = []*ir.Attr{ir.IntsAttr("pads", k.pads), ir.IntsAttr("strides", k.strides), ir.IntsAttr("dilations", k.dil), ir.IntAttr("group", k.groups)}
	return k
}

// TestConvProperty compares with the definition, in float64.
func TestConvProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := drawConv(t)
		y := must(t, "Conv", k.attrs, k.x, k.w, k.b)
		got, _ := ir.Elements[float32](y)
		x, _ := ir.Elements[float32](k.x)
		w, _ := ir.Elements[float32](k.w)
		b, _ := ir.Elements[float32](k.b)
		xs, ws, ys := k.x.Shape(), k.w.Shape(), y.Shape()
		for i := range got {
			ox, oy := int64(i)%ys[3], int64(i)/ys[3]%ys[2]
			m, n := int64(i)/ys[3]/ys[2]%ys[1], int64(i)/ys[3]/ys[2]/ys[1]
			sum := float64(b[m])
			first := m / (ws[0] / k.groups) * ws[1] // channel of the group
			for c := range ws[1] {
				for ky := range ws[2] {
					for kx := range ws[3] {
						iy, ix := oy*k.strides[0]-k.pads[0]+ky*k.dil[0], ox*k.strides[1]-k.pads[1]+kx*k.dil[1]
						if iy >= 0 && iy < xs[2] && ix >= 0 && ix < xs[3] {
							sum += float64(x[((n*xs[1]+first+c)*xs[2]+iy)*xs[3]+ix]) * float64(w[((m*ws[1]+c)*ws[2]+ky)*ws[3]+kx])
						}
					}
				}
			}
			if math.Abs(sum-float64(got[i])) > 1e-5 {
				t.Fatalf("element %d is %g, want %g", i, got[i], sum)
			}
		}
	})
}

// TestConvTransposeProperty: the transposed convolution is the adjoint, <conv(x), y> = <x, conv'(y)>.
func TestConvTransposeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := drawConv(t)
		y := must(t, "Conv", k.attrs, k.x, k.w)
		z := ramp(y.Shape()...)
		xs := k.x.Shape()
		// The output padding makes up for input that the strides leave out.
		extra := make([]int64, 2)
		for i := range extra {
			full := k.strides[i]*(y.Shape()[2+i]-1) + (k.w.Shape()[2+i]-1)*k.dil[i] + 1 - k.pads[i] - k.pads[i+2]
			extra[i] = xs[2+i] - full
		}
		back := must(t, "ConvTranspose", append(k.attrs, ir.IntsAttr("output_padding", extra)), z, k.w)
		a, b := inner(t, y, z), inner(t, k.x, back)
		if math.Abs(a-b) > 1e-4*max(1, math.Abs(a)) {
			t.Fatalf("%g and %g", a, b)
		}
	})
}

func inner(t *rapid.T, a, b *ir.Tensor) float64 {
	x, _ := ir.Elements[float32](a)
	y, _ := ir.Elements[float32](b)
	if len(x) != len(y) {
		t.Fatalf("%s and %s", a.Type(), b.Type())
	}
	s := 0.0
	for i := range x {
		s += float64(x[i]) * float64(y[i])
	}
	return s
}

// TestMatMulOrder: narrow and wide products, and products of several blocks, sum in the same order, so that the bits agree.
func TestMatMulOrder(t *testing.T) {
	a, b := ramp(3, 300), ramp(300, 700)
	wide := first[float32](t, "MatMul", 13, nil, a, b)
	for _, j := range []int64{0, 1, 511, 512, 699} {
		v, _ := ir.Elements[float32](b)
		c := make([]float32, 300)
		for i := range c {
			c[i] = v[int64(i)*700+j]
		}
		narrow := first[float32](t, "MatMul", 13, nil, a, ir.TensorOf(c, 300, 1))
		for i := range int64(3) {
			if wide[i*700+j] != narrow[i] {
				t.Errorf("column %d, row %d: %g and %g", j, i, wide[i*700+j], narrow[i])
			}
		}
	}
}
