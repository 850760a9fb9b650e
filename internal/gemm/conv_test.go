package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

func TestDepthwiseLayout(t *testing.T) {
	var a depthwiseArgs
	got := []uintptr{unsafe.Offsetof(a.dst), unsafe.Offsetof(a.src), unsafe.Offsetof(a.rows), unsafe.Offsetof(a.vectors), unsafe.Offsetof(a.dstStride),
		unsafe.Offsetof(a.srcStride), unsafe.Offsetof(a.offsets), unsafe.Offsetof(a.weights), unsafe.Offsetof(a.taps), unsafe.Offsetof(a.bias), unsafe.Offsetof(a.lo), unsafe.Offsetof(a.hi)}
	for i, want := range []uintptr{0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 76, 80} {
		if unsafe.Sizeof(uintptr(0)) == 8 && got[i] != want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, got[i], want)
		}
	}
}

// convNaive is convolution as ONNX defines it, summed in float64.
func convNaive(p *ConvParams, weights, bias, src []float32, n, h, w int) []float32 {
	oh, ow := p.OutputSize(h, w)
	k, m := p.In/p.Groups, p.Out/p.Groups
	dst := make([]float32, 0, n*p.Out*oh*ow)
	for b := range n {
		for o := range p.Out {
			for y := range oh {
				for x := range ow {
					var s float64
					if bias != nil {
						s = float64(bias[o])
					}
					for c := range k {
						for ky := range p.Kernel[0] {
							for kx := range p.Kernel[1] {
								iy, ix := y*p.Stride[0]+ky*p.Dilation[0]-p.Pad[0], x*p.Stride[1]+kx*p.Dilation[1]-p.Pad[1]
								if iy >= 0 && iy < h && ix >= 0 && ix < w {
									s += float64(weights[((o*k+c)*p.Kernel[0]+ky)*p.Kernel[1]+kx]) * float64(src[((b*p.In+o/m*k+c)*h+iy)*w+ix])
								}
							}
						}
					}
					if p.Clamp {
						s = clamp(s, float64(p.Lo), float64(p.Hi))
					}
					dst = append(dst, float32(s))
				}
			}
		}
	}
	return dst
}

func randomConv(r *rand.Rand) (p ConvParams, n, h, w int) {
	side := func() (k, s, d, before, after int) {
		return 1 + r.IntN(4), 1 + r.IntN(3), 1 + r.IntN(2)*r.IntN(3), r.IntN(3), r.IntN(3)
	}
	p.Groups = 1 + r.IntN(2)*r.IntN(5)
	p.In, p.Out = p.Groups*(1+r.IntN(5)), p.Groups*(1+r.IntN(30))
	switch r.IntN(4) {
	case 0: // depthwise
		p.Groups = 2 + r.IntN(6)
		p.In, p.Out = p.Groups, p.Groups*(1+r.IntN(2))
	case 1: // long sums
		p.In, p.Groups = 70, 1
	}
	p.Kernel[0], p.Stride[0], p.Dilation[0], p.Pad[0], p.Pad[2] = side()
	p.Kernel[1], p.Stride[1], p.Dilation[1], p.Pad[1], p.Pad[3] = side()
	switch r.IntN(5) {
	case 0: // pointwise
		p.Kernel, p.Stride, p.Pad = [2]int{1, 1}, [2]int{1, 1}, [4]int{}
	case 1: // 3x3
		p.Kernel, p.Dilation = [2]int{3, 3}, [2]int{1, 1}
	}
	if r.IntN(3) > 0 {
		p.Clamp, p.Lo, p.Hi = true, 0, 2
	}
	return p, 1 + r.IntN(2), r.IntN(21), 1 + r.IntN(40)
}

func TestConv(t *testing.T) {
	for _, kernel := range float32Kernels() {
		t.Run(kernel.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for range 160 {
				p, n, h, w := randomConv(r)
				weights := fill(r, make([]float32, p.Out*p.In/p.Groups*p.Kernel[0]*p.Kernel[1]))
				var bias []float32
				if r.IntN(2) == 0 {
					bias = fill(r, make([]float32, p.Out))
				}
				src := fill(r, make([]float32, n*p.In*h*w))
				if len(src) > 0 && r.IntN(8) == 0 {
					src[r.IntN(len(src))] = float32(math.NaN())
				}
				checkConv(t, kernel, p, weights, bias, src, n, h, w)
			}
		})
	}
}

// checkConv compares with the definition, and the numbers of workers with each other.
func checkConv(t *testing.T, kernel *microkernel, p ConvParams, weights, bias, src []float32, n, h, w int) {
	t.Helper()
	want := convNaive(&p, weights, bias, src, n, h, w)
	c, err := newConv(kernel, p, weights, bias)
	if err != nil {
		t.Fatal(err)
	}
	var first []float32
	for workers := 1; workers <= 3; workers++ {
		scratch, checkScratch := guarded[float32](t, c.Scratch(h, w, workers))
		for i := range scratch {
			scratch[i] = float32(math.NaN()) // what a previous user left
		}
		dst, check := guarded[float32](t, len(want))
		c.Run(dst, src, n, h, w, scratch, par.New(workers))
		check()
		checkScratch()
		for i := range want {
			if !near(dst[i], want[i], len(weights)/p.Out) {
				t.Fatalf("%+v, %d of %dx%d, %d workers: element %d is %v, want %v", p, n, h, w, workers, i, dst[i], want[i])
			}
			if workers > 1 && math.Float32bits(dst[i]) != math.Float32bits(first[i]) {
				t.Fatalf("%+v: element %d is %v with %d workers, %v with one", p, i, dst[i], workers, first[i])
			}
		}
		if workers == 1 {
			first = append([]float32(nil), dst...)
		}
	}
}

// TestConvChunks has copies that are too large to be made at once.
func TestConvChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	kernel := float32Best
	for range 12 {
		p := ConvParams{In: 160, Out: 3, Groups: 1, Kernel: [2]int{1 + r.IntN(5), 1 + r.IntN(3)}, Stride: [2]int{1 + r.IntN(2), 1 + r.IntN(2)},
			Dilation: [2]int{1 + r.IntN(3), 1}, Pad: [4]int{r.IntN(9), r.IntN(3), r.IntN(9), r.IntN(3)}}
		h, w := 90+r.IntN(40), 90+r.IntN(40)
		weights, src := fill(r, make([]float32, p.Out*p.In*p.Kernel[0]*p.Kernel[1])), fill(r, make([]float32, p.In*h*w))
		c, err := newConv(kernel, p, weights, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(c.plan(h, w, 1).chunks); n < 2 {
			t.Fatalf("%+v, %dx%d: %d chunk", p, h, w, n)
		}
		checkConv(t, kernel, p, weights, nil, src, 1, h, w)
	}
}

func TestConvRejects(t *testing.T) {
	good := ConvParams{In: 4, Out: 4, Groups: 2, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
	for i, change := range []func(p *ConvParams){
		func(p *ConvParams) { p.Groups = 3 }, func(p *ConvParams) { p.Stride[0] = 0 }, func(p *ConvParams) { p.Kernel[1] = 0 },
		func(p *ConvParams) { p.Pad[2] = -1 }, func(p *ConvParams) { p.In = 0 }, func(p *ConvParams) { p.Out = 6 },
	} {
		p := good
		change(&p)
		if _, err := NewConv(p, make([]float32, 8), nil); err == nil {
			t.Errorf("case %d accepted: %+v", i, p)
		}
	}
	if _, err := NewConv(good, make([]float32, 8), nil); err != nil {
		t.Error(err)
	}
}
