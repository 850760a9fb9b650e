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
	for _, s := range [][3]int{{64, 64, 64}, {256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}, {256, 784, 256}, {64, 3136, 64}, {512, 49, 512}, {1, 1024, 1024}, {16, 12544, 96}} {
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
