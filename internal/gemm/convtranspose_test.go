package gemm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxopt/onnxopt/internal/par"
)

// transposeNaive scatters each input as ONNX defines ConvTranspose, in float64.
func transposeNaive(p *ConvParams, weights, bias, src []float32, n, h, w, oh, ow int) []float32 {
	in, out := p.In/p.Groups, p.Out/p.Groups
	dst := make([]float64, n*p.Out*oh*ow)
	for i := range dst {
		if bias != nil {
			dst[i] = float64(bias[i/(oh*ow)%p.Out])
		}
	}
	for b := range n {
		for c := range p.In {
			for o := range out {
				for y := range h {
					for x := range w {
						for ky := range p.Kernel[0] {
							for kx := range p.Kernel[1] {
								ty, tx := y*p.Stride[0]+ky*p.Dilation[0]-p.Pad[0], x*p.Stride[1]+kx*p.Dilation[1]-p.Pad[1]
								if ty >= 0 && ty < oh && tx >= 0 && tx < ow {
									dst[((b*p.Out+c/in*out+o)*oh+ty)*ow+tx] += float64(weights[((c*out+o)*p.Kernel[0]+ky)*p.Kernel[1]+kx]) * float64(src[((b*p.In+c)*h+y)*w+x])
								}
							}
						}
					}
				}
			}
		}
	}
	r := make([]float32, len(dst))
	for i, v := range dst {
		if r[i] = float32(v); p.Clamp {
			r[i] = clamp(r[i], p.Lo, p.Hi)
		}
	}
	return r
}

func TestConvTranspose(t *testing.T) {
	for _, kernel := range float32Kernels() {
		t.Run(kernel.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			for range 120 {
				p, n, h, w := randomConv(r)
				if r.IntN(3) == 0 {
					p.Stride, p.Dilation, p.Pad = p.Kernel, [2]int{1, 1}, [4]int{}
				}
				h %= 12
				oh := max(0, (h-1)*p.Stride[0]+(p.Kernel[0]-1)*p.Dilation[0]+1-p.Pad[0]-p.Pad[2]+r.IntN(2)*r.IntN(3))
				ow := max(0, (w-1)*p.Stride[1]+(p.Kernel[1]-1)*p.Dilation[1]+1-p.Pad[1]-p.Pad[3]+r.IntN(2)*r.IntN(3))
				weights := fill(r, make([]float32, p.In*p.Out/p.Groups*p.Kernel[0]*p.Kernel[1]))
				var bias []float32
				if r.IntN(2) == 0 {
					bias = fill(r, make([]float32, p.Out))
				}
				src := fill(r, make([]float32, n*p.In*h*w))
				if len(src) > 0 && r.IntN(8) == 0 {
					src[r.IntN(len(src))] = float32(math.NaN())
				}
				want := transposeNaive(&p, weights, bias, src, n, h, w, oh, ow)
				c, err := newConvTranspose(kernel, p, weights, bias)
				if err != nil {
					t.Fatal(err)
				}
				var first []float32
				for workers := 1; workers <= 3; workers++ {
					scratch, checkScratch := guarded[float32](t, c.Scratch(h, w, workers))
					for i := range scratch {
						scratch[i] = float32(math.NaN())
					}
					dst, check := guarded[float32](t, len(want))
					c.Run(dst, src, n, h, w, oh, ow, scratch, par.New(workers))
					check()
					checkScratch()
					for i := range want {
						if !near(dst[i], want[i], p.In/p.Groups*p.Kernel[0]*p.Kernel[1]) {
							t.Fatalf("%+v, %d of %dx%d to %dx%d, %d workers: element %d is %v, want %v", p, n, h, w, oh, ow, workers, i, dst[i], want[i])
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
		})
	}
	p := ConvParams{In: 4, Out: 4, Groups: 2, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
	if _, err := NewConvTranspose(p, make([]float32, 7), nil); err == nil {
		t.Error("7 weights accepted for 8")
	}
}
