package dataset_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/ir"
)

func TestParts(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "d.csv")
	require.NoError(t, os.WriteFile(file, []byte("x,label\n0,0\n1,1\n2,0\n3,1\n"), 0o666))
	in := []dataset.Port{{Name: "x", Type: ir.TensorType(ir.Float32, ir.StaticShape(1, 1))}}
	for part, want := range map[string][]float64{"": {0, 1, 2, 3}, "[1:3]": {1, 2}, "[:1]": {0}, "[3:]": {3}, "[2:9]": {2, 3}, "[7:]": nil, "[:]": {0, 1, 2, 3}} {
		s, err := dataset.Open(file+part, dataset.Options{Inputs: in})
		require.NoError(t, err, part)
		var got []float64
		for range 2 { // it may be read more than once
			got = nil
			for b, err := range s.Samples(context.Background()) {
				require.NoError(t, err)
				v, err := dataset.Floats(b.Inputs["x"].(*ir.Tensor))
				require.NoError(t, err)
				got = append(got, v...)
			}
		}
		require.Equal(t, want, got, part)
		if n := s.Len(); n >= 0 {
			require.Equal(t, len(want), n, part)
		}
		require.NoError(t, s.Close())
	}
	odd := filepath.Join(dir, "e[0:1]") // there is such a file
	require.NoError(t, os.WriteFile(odd, nil, 0o666))
	path, from, to := dataset.Split(odd)
	require.Equal(t, odd, path)
	require.Equal(t, []int{0, -1}, []int{from, to})
	_, err := dataset.Open(file+"[1:x]", dataset.Options{Inputs: in})
	require.ErrorContains(t, err, "d.csv[1:x]")
}
