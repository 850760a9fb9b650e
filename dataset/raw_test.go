package dataset

import (
	"bytes"
	"image/color"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// TestRaw reads sets of all formats without a model.
func TestRaw(t *testing.T) {
	two := ir.TensorOf([]int32{1, 2, 3, 4}, 2, 2)
	var proto bytes.Buffer
	require.NoError(t, onnxio.WriteDatum(&proto, "x", two))
	pb := proto.Bytes()
	for _, c := range []struct {
		name   string // of the set
		files  map[string][]byte
		n      int
		inputs map[string]string // types in the last sample
		label  float64
	}{
		{"a.npz", map[string][]byte{"a.npz": npzFile(t, map[string]*ir.Tensor{"u": two, "y": ir.TensorOf([]int64{5, 6}, 2)})}, 2, map[string]string{"u": "int32[1,2]"}, 6},
		{"b.npz", map[string][]byte{"b.npz": npzFile(t, map[string]*ir.Tensor{"u": two, "v": ir.TensorOf([]float32{1}, 1)})}, 1,
			map[string]string{"u": "int32[2,2]", "v": "float[1]"}, math.NaN()},
		{"a.npy", map[string][]byte{"a.npy": npy(t, two)}, 2, map[string]string{"data": "int32[1,2]"}, math.NaN()},
		{"columns", map[string][]byte{"columns/u.npy": npy(t, two), "columns/labels.npy": npy(t, ir.TensorOf([]int64{5, 6}, 2))}, 2, map[string]string{"u": "int32[1,2]"}, 6},
		{"files", map[string][]byte{"files/s1.npy": npy(t, two), "files/s2.npy": npy(t, two)}, 2, map[string]string{"data": "int32[2,2]"}, math.NaN()},
		{"proto", map[string][]byte{"proto/input_0.pb": pb, "proto/input_1.pb": pb}, 1, map[string]string{"input_0": "int32[2,2]", "input_1": "int32[2,2]"}, math.NaN()},
		{"a.idx", map[string][]byte{"a.idx": idx([]uint32{2, 1, 2}, 1, 2, 3, 4)}, 2, map[string]string{"data": "uint8[1,1,2,1]"}, math.NaN()},
		{"a.csv", map[string][]byte{"a.csv": []byte("u,word,v[0],v[1],label\n1,a b,3,4,7\n2,c,5,6,8\n")}, 2,
			map[string]string{"u": "float[1,1]", "word": "string[1,1]", "v": "float[1,2]"}, 8},
		{"b.csv", map[string][]byte{"b.csv": []byte("1,2\n3,4\n")}, 2, map[string]string{"data": "float[1,2]"}, math.NaN()},
		{"a.tsv", map[string][]byte{"a.tsv": []byte("1 2\t3 4 5\t0.5\n")}, 1, map[string]string{"tokens": "int64[2,3]", "mask": "int64[2,3]"}, 0.5},
		{"photos", map[string][]byte{"photos/a/1.png": pngFile(t, 4, 3, color.White), "photos/b/1.png": pngFile(t, 2, 3, color.White)}, 2,
			map[string]string{"data": "uint8[1,3,2,3]"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range c.files {
				write(t, dir, name, b)
			}
			r, err := collect(t, filepath.Join(dir, c.name), Options{Raw: true})
			require.NoError(t, err)
			require.Len(t, r, c.n)
			got := map[string]string{}
			for name, d := range r[c.n-1].Inputs {
				got[name] = d.Type().String()
			}
			require.Equal(t, c.inputs, got)
			if math.IsNaN(c.label) {
				require.False(t, r[c.n-1].Labelled())
			} else {
				require.Equal(t, c.label, r[c.n-1].Label)
			}
		})
	}
}

// TestMixedFolder has pictures in a folder and in folders below it. A folder below without pictures does no harm.
func TestMixedFolder(t *testing.T) {
	in := Options{Inputs: []Port{port("x", -1, 3, 2, 2)}, Image: []Setting{{"resize", "2x2"}}}
	dir := t.TempDir()
	p := pngFile(t, 2, 2, color.White)
	write(t, dir, "1.png", p)
	write(t, dir, "notes/a.txt", []byte("text"))
	r, err := collect(t, dir, in)
	require.NoError(t, err)
	require.Len(t, r, 1)
	require.False(t, r[0].Labelled())
	write(t, dir, "cat/1.png", p)
	_, err = collect(t, dir, in)
	require.ErrorContains(t, err, "there are pictures here (1.png) and in the folder cat, so that folders are no classes")
	write(t, dir, labelsFile, []byte("file,label\n1.png,7\ncat/1.png,2\n"))
	r, err = collect(t, dir, in)
	require.NoError(t, err)
	require.Equal(t, []float64{7, 2}, []float64{r[0].Label, r[1].Label})
}
