package gemm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxopt/onnxopt/internal/par"
)

// TestCorrelation holds random correlations against the definition, with pictures and kernels of several blocks among them, and the bits of several
// workers against those of one.
func TestCorrelation(t *testing.T) {
	for _, kernel := range float32Kernels() {
		t.Run(kernel.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 8))
			cases := []ConvParams{
				{In: 2, Out: 16, Groups: 1, Kernel: [2]int{70, 33}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Pad: [4]int{1, 1, 1, 1}},
				{In: 3, Out: 33, Groups: 1, Kernel: [2]int{2, 1100}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Pad: [4]int{0, 1, 0, 1}},
			}
			if !testing.Short() { // so many sums that pictures are divided, not channels
				cases = append(cases, ConvParams{In: 3, Out: 1200, Groups: 1, Kernel: [2]int{4, 4}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Pad: [4]int{1, 1, 1, 1}})
			}
			for range 40 {
				p, _, _, _ := randomConv(r)
				p.Kernel, p.Clamp = [2]int{1 + r.IntN(9), 1 + r.IntN(40)}, false
				cases = append(cases, p)
			}
			for _, p := range cases {
				n := 1 + r.IntN(30)
				if p.Out == 1200 {
					n = 100
				}
				h := max(1, (p.Kernel[0]-1)*p.Dilation[0]+1-p.Pad[0]-p.Pad[2]+r.IntN(4))
				w := max(1, (p.Kernel[1]-1)*p.Dilation[1]+1-p.Pad[1]-p.Pad[3]+r.IntN(4))
				oh, ow := p.OutputSize(h, w)
				if oh*ow == 0 {
					continue
				}
				weights := fill(r, make([]float32, p.Out*p.In/p.Groups*p.Kernel[0]*p.Kernel[1]))
				src := fill(r, make([]float32, n*p.In*h*w))
				if r.IntN(8) == 0 {
					src[r.IntN(len(src))] = float32(math.NaN())
				}
				want := convNaive(&p, weights, nil, src, n, h, w)
				c := newCorrelation(kernel, p, n, h, w)
				var first []float32
				for workers := 1; workers <= 3; workers++ {
					scratch, checkScratch := guarded[float32](t, c.Scratch(workers))
					for i := range scratch {
						scratch[i] = float32(math.NaN())
					}
					dst, check := guarded[float32](t, len(want))
					c.Run(dst, src, weights, scratch, par.New(workers), func() bool { return true })
					check()
					checkScratch()
					for i := range want {
						if !near(dst[i], want[i], p.In/p.Groups*p.Kernel[0]*p.Kernel[1]) {
							t.Fatalf("%+v, %d pictures of %dx%d: element %d is %g, not %g", p, n, h, w, i, dst[i], want[i])
						}
						if workers > 1 && math.Float32bits(dst[i]) != math.Float32bits(first[i]) {
							t.Fatalf("%+v: element %d is %g with one worker and %g with %d", p, i, first[i], dst[i], workers)
						}
					}
					if workers == 1 {
						first = slices.Clone(dst)
					}
				}
			}
		})
	}
}
