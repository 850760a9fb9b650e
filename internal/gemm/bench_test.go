package gemm

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func gflops(b *testing.B, flop float64) {
	b.ReportMetric(flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkGemm(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	shapes := [][3]int{
		{64, 64, 64}, {256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}, // squares
		{256, 784, 256}, {64, 3136, 64}, {512, 49, 512}, {16, 12544, 96}, // pointwise convolutions
		{1, 1024, 1024}, {4, 1024, 1024}, // few rows
	}
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		av, bv := RowMajor(fill(r, make([]float32, m*k)), m, k), RowMajor(fill(r, make([]float32, k*n)), k, n)
		c := RowMajor(make([]float32, m*n), m, n)
		for _, kernel := range float32Kernels() {
			if kernel.plain != nil && m*n*k > 1<<24 {
				continue
			}
			scratch := make([]float32, scratchLen(kernel, m, n, k, 1))
			pa, pb := packA(kernel, av), packB(kernel, bv)
			for _, mode := range []struct {
				name string
				a    operandA[float32]
				b    operandB[float32]
			}{{"none", operandA[float32]{view: av}, operandB[float32]{view: bv}}, {"A", operandA[float32]{packed: pa}, operandB[float32]{view: bv}}, {"B", operandA[float32]{view: av}, operandB[float32]{packed: pb}}} {
				b.Run(fmt.Sprintf("%dx%dx%d/%s/packed=%s", m, n, k, kernel.name, mode.name), func(b *testing.B) {
					for b.Loop() {
						product(kernel, c, mode.a, mode.b, Options[float32]{Scratch: scratch})
					}
					gflops(b, 2*float64(m)*float64(n)*float64(k))
				})
			}
		}
	}
}

func BenchmarkGemmFloat64(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 384
	x, y, z := RowMajor(fill(r, make([]float64, n*n)), n, n), RowMajor(fill(r, make([]float64, n*n)), n, n), RowMajor(make([]float64, n*n), n, n)
	for _, kernel := range float64Kernels() {
		b.Run(kernel.name, func(b *testing.B) {
			for b.Loop() {
				product(kernel, z, operandA[float64]{view: x}, operandB[float64]{view: y}, Options[float64]{})
			}
			gflops(b, 2*n*n*n)
		})
	}
}

// benchConvs are input and output channels, groups, kernel, stride and image size, with padding of half the kernel.
var benchConvs = [][6]int{
	{64, 64, 1, 3, 1, 56}, {128, 128, 1, 3, 2, 56}, {512, 512, 1, 3, 1, 7}, {3, 64, 1, 7, 2, 224}, {256, 256, 1, 1, 1, 28}, {256, 512, 1, 1, 2, 28},
	{192, 192, 192, 3, 1, 28}, {96, 96, 96, 3, 2, 112}, {240, 240, 240, 5, 1, 28}, {128, 128, 32, 3, 1, 56},
	{128, 128, 1, 3, 1, 28}, {256, 256, 1, 3, 1, 14}, {64, 32, 1, 3, 1, 224}, {16, 16, 1, 3, 1, 32}, {16, 64, 1, 3, 1, 55}, {3, 64, 1, 3, 2, 224},
}

func benchParams(v [6]int) ConvParams {
	k, s := v[3], v[4]
	return ConvParams{In: v[0], Out: v[1], Groups: v[2], Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Dilation: [2]int{1, 1}, Pad: [4]int{k / 2, k / 2, k / 2, k / 2}}
}

func convFlops(p ConvParams, oh, ow int) float64 {
	return 2 * float64(p.Out*oh*ow) * float64(p.In/p.Groups*p.Kernel[0]*p.Kernel[1])
}

func BenchmarkConv(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range benchConvs {
		p, size := benchParams(v), v[5]
		oh, ow := p.OutputSize(size, size)
		weights := fill(r, make([]float32, p.Out*p.In/p.Groups*p.Kernel[0]*p.Kernel[1]))
		src, dst := fill(r, make([]float32, p.In*size*size)), make([]float32, p.Out*oh*ow)
		for _, kernel := range float32Kernels() {
			c, err := newConv(kernel, p, weights, nil)
			if err != nil {
				b.Fatal(err)
			}
			scratch := make([]float32, c.Scratch(size, size, 1))
			b.Run(fmt.Sprintf("%v/%s", v, kernel.name), func(b *testing.B) {
				for b.Loop() {
					c.Run(dst, src, 1, size, size, scratch, nil)
				}
				gflops(b, convFlops(p, oh, ow))
			})
		}
	}
}

func BenchmarkIntConv(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range benchConvs {
		p, size := benchParams(v), v[5]
		oh, ow := p.OutputSize(size, size)
		weights := bytesOf[int8](r, p.Out*p.In/p.Groups*p.Kernel[0]*p.Kernel[1])
		src, dst := bytesOf[uint8](r, p.In*size*size), make([]int32, p.Out*oh*ow)
		for _, kernel := range intKernels() {
			c, err := newIntConv(kernel, p, weights, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			scratch := make([]int32, c.Scratch(size, size, 1))
			b.Run(fmt.Sprintf("%v/%s", v, kernel.name), func(b *testing.B) {
				for b.Loop() {
					RunIntConv(c, dst, src, 128, 1, size, size, scratch, nil)
				}
				gflops(b, convFlops(p, oh, ow))
			})
		}
	}
}

func BenchmarkVector(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	src, dst := fill(r, make([]float32, 4096)), make([]float32, 4096)
	for _, f := range []struct {
		name string
		fast func(dst, src []float32)
	}{{"exp", Exp}, {"tanh", Tanh}, {"erf", Erf}, {"sigmoid", Sigmoid}, {"gelu", Gelu}, {"hardswish", HardSwish}, {"softmax", SoftmaxRow}} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				f.fast(dst, src)
			}
			b.ReportMetric(float64(len(src))*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
		})
	}
	b.Run("plain exp", func(b *testing.B) {
		for b.Loop() {
			for i, x := range src {
				dst[i] = plainExp(x)
			}
		}
		b.ReportMetric(float64(len(src))*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
	})
}
