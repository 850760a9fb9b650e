package text_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/stretchr/testify/require"
)

func BenchmarkConstant(b *testing.B) {
	m := ir.NewModel(10, 21)
	r := rand.New(rand.NewPCG(1, 2))
	fs := make([]float32, 1_000_000)
	for i := range fs {
		fs[i] = float32(r.NormFloat64())
	}
	m.Main.AddOutput("w", m.Main.NamedConst("w", ir.TensorOf(fs)), nil)
	bench(b, m)
}

func BenchmarkNodes(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := ir.NewModel(10, 21)
			v := m.Main.AddInput("x", nil)
			for i := range n {
				v = m.Main.New(nil, ir.Op("Add"), []*ir.Value{v, m.Main.Inputs()[0].Value()}, ir.IntAttr("axis", int64(i))).Result(0)
				v.SetName(fmt.Sprint("/layer/", i))
			}
			m.Main.AddOutput("y", v, nil)
			bench(b, m)
		})
	}
}

func bench(b *testing.B, m *ir.Model) {
	b.Run("print", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, text.Print(io.Discard, m, text.Options{}))
		}
	})
	src := []byte(printed(b, m))
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		b.ReportAllocs()
		for b.Loop() {
			_, err := text.Parse(src)
			require.NoError(b, err)
		}
	})
}
