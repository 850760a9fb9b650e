package blockwise

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

func randomMatrix(k, n, inputs int) *matrix {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, k*n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	shape := []int64{int64(k), int64(n)}
	if inputs == 1 {
		shape = []int64{int64(n), int64(k)}
	}
	return newMatrix(ir.TensorOf(v, shape...), inputs)
}

func BenchmarkRun(b *testing.B) {
	m := randomMatrix(2048, 5632, 0)
	for _, search := range []bool{false, true} {
		j := &job{m: m, spec: Spec{Bits: 4, Block: 32, Search: search}, layout: padded}
		b.Run(map[bool]string{false: "plain", true: "search"}[search], func(b *testing.B) {
			b.SetBytes(2048 * 5632)
			for b.Loop() {
				_, err := j.run()
				require.NoError(b, err)
			}
		})
	}
}

var _ = math.Abs
