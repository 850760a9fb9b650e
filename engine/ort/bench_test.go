package ort_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
)

// BenchmarkCall measures what a call costs besides arithmetic: two additions of four elements.
func BenchmarkCall(b *testing.B) {
	m, _, _, _ := chain()
	for _, e := range []engine.Engine{native.New(), open(b, ort.Options{})} {
		b.Run(e.Name(), func(b *testing.B) {
			s := load(b, e, m, engine.Options{})
			in := feeds{"x": ir.TensorOf([]float32{1, 2, 3, 4})}
			b.ReportAllocs()
			for b.Loop() {
				_, err := s.Run(background, in)
				require.NoError(b, err)
			}
		})
	}
}
