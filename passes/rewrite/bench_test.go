package rewrite_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// BenchmarkParse is what a rule costs when a program starts.
func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		rewrite.MustParse(`
			y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
			z = BatchNormalization <epsilon = @epsilon, momentum = @momentum>
				(y, scale: const, bias: const, mean: const, var: const)`)
	}
}

// BenchmarkApply rewrites a chain in which one node of three goes. Time per node should not depend on the number of nodes.
func BenchmarkApply(b *testing.B) {
	src, err := text.ParseGraph([]byte(`g (float[N] x) => (float[N] y) { y = Relu (x) }`), ir.Opset{Version: 17})
	require.NoError(b, err)
	pass := rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, doubleNeg)
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				m := src.Clone()
				g := m.Main
				v := g.Outputs()[0].Value()
				for i := range n {
					v = g.New(nil, ir.Op([]string{"Neg", "Neg", "Relu"}[i%3]), []*ir.Value{v}).Result(0)
				}
				g.Outputs()[0].SetValue(v)
				b.StartTimer()
				_, err := apply(b, m, pass)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/node")
		})
	}
}
