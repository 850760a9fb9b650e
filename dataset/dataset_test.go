package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

// port is an input of floats; sizes below zero are open.
func port(name string, dims ...int64) Port { return portOf(name, ir.Float32, dims...) }

func portOf(name string, d ir.DType, dims ...int64) Port {
	s := make(ir.Shape, len(dims))
	for i, n := range dims {
		if s[i] = ir.Static(n); n < 0 {
			s[i] = ir.UnknownDim()
		}
	}
	return Port{Name: name, Type: ir.TensorType(d, s)}
}

// write makes a file in dir and returns its path.
func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, b, 0o666))
	return path
}

func npy(t *testing.T, x *ir.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, npz.WriteArray(&b, x))
	return b.Bytes()
}

func npzFile(t *testing.T, arrays map[string]*ir.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	w := npz.NewWriter(&b)
	for name, x := range arrays {
		require.NoError(t, w.Add(name, x))
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// idx is an IDX file of bytes.
func idx(dims []uint32, data ...byte) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, data...)
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return z.Bytes()
}

func pngFile(t *testing.T, w, h int, c color.Color) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, c)
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// collect reads a set whole.
func collect(t *testing.T, path string, o Options) ([]*Sample, error) {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var r []*Sample
	for x, err := range s.Samples(context.Background()) {
		if err != nil {
			return r, err
		}
		r = append(r, x)
	}
	if n := s.Len(); n >= 0 && !o.SkipBad {
		require.Len(t, r, n)
	}
	return r, nil
}

func values(t *testing.T, d ir.Datum) []float64 {
	t.Helper()
	v, err := Floats(d.(*ir.Tensor))
	require.NoError(t, err)
	return v
}

// TestNoBatchAxis: a model that takes one picture [3,H,W] gets one at a time, of arrays and of files.
func TestNoBatchAxis(t *testing.T) {
	dir := t.TempDir()
	v := make([]float32, 5*3*2*2)
	for i := range v {
		v[i] = float32(i)
	}
	in := []Port{port("x", 3, 2, 2)}
	for name, file := range map[string][]byte{
		"d.npz": npzFile(t, map[string]*ir.Tensor{"x": ir.TensorOf(v, 5, 3, 2, 2)}),
		"d.png": pngFile(t, 2, 2, color.White),
	} {
		s, err := Open(write(t, dir, name, file), Options{Inputs: in, Image: []Setting{{Key: "scale", Value: "1/255"}}})
		require.NoError(t, err)
		defer s.Close()
		n := 0
		for b, err := range s.Batches(context.Background(), 4) {
			require.NoError(t, err)
			require.Len(t, b.Samples, 1)
			require.Zero(t, b.Padded)
			require.Equal(t, []int64{3, 2, 2}, b.Inputs["x"].(*ir.Tensor).Shape())
			if name == "d.npz" {
				require.Equal(t, float64(12*n), values(t, b.Inputs["x"])[0])
			}
			n++
		}
		require.Equal(t, s.Len(), n)
	}
	_, err := collect(t, write(t, dir, "bad.npz", npzFile(t, map[string]*ir.Tensor{"x": ir.TensorOf(v, 5, 2, 3, 2)})), Options{Inputs: in})
	require.ErrorContains(t, err, "where the model takes [3,2,2]")
}

func TestNpzRows(t *testing.T) {
	path := write(t, t.TempDir(), "d.npz", npzFile(t, map[string]*ir.Tensor{
		"x": ir.TensorOf([]float32{1, 2, 3, 4, 5, 6}, 3, 2), "k": ir.ScalarOf[int64](9), "label": ir.TensorOf([]int64{0, 1, 2}),
	}))
	o := Options{Inputs: []Port{port("x", -1, 2), portOf("k", ir.Int64)}}
	r, err := collect(t, path, o)
	require.NoError(t, err)
	require.Len(t, r, 3)
	require.Equal(t, []float64{3, 4}, values(t, r[1].Inputs["x"]))
	require.Equal(t, []float64{9}, values(t, r[1].Inputs["k"]))
	require.Equal(t, 2.0, r[2].Label)
	s, err := Open(path, o)
	require.NoError(t, err)
	defer s.Close()
	var sizes []int64
	for b, err := range s.Batches(context.Background(), 2) {
		require.NoError(t, err)
		sizes = append(sizes, b.Inputs["x"].(*ir.Tensor).Shape()[0])
		require.Empty(t, b.Inputs["k"].(*ir.Tensor).Shape())
	}
	require.Equal(t, []int64{2, 1}, sizes)
}

func TestNpzWhole(t *testing.T) {
	path := write(t, t.TempDir(), "d.npz", npzFile(t, map[string]*ir.Tensor{"arr_0": ir.TensorOf([]float32{1, 2, 3, 4}, 2, 2)}))
	r, err := collect(t, path, Options{Inputs: []Port{port("x", -1, 2)}, Whole: true})
	require.NoError(t, err)
	require.Len(t, r, 1)
	require.Equal(t, []int64{2, 2}, r[0].Inputs["x"].(*ir.Tensor).Shape())
}

// TestFixedBatch: a model of batch two gets a padded batch at the end.
func TestFixedBatch(t *testing.T) {
	path := write(t, t.TempDir(), "x.npy", npy(t, ir.TensorOf([]float32{1, 2, 3}, 3, 1)))
	s, err := Open(path, Options{Inputs: []Port{port("x", 2, 1)}})
	require.NoError(t, err)
	defer s.Close()
	var got [][]float64
	for b, err := range s.Batches(context.Background(), 1) {
		require.NoError(t, err)
		require.Equal(t, 2, b.Rows())
		require.Equal(t, 2, len(b.Samples)+b.Padded)
		got = append(got, values(t, b.Inputs["x"]))
	}
	require.Equal(t, [][]float64{{1, 2}, {3, 3}}, got)
}

func TestNpyFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.npy", npy(t, ir.TensorOf([]float32{1, 2})))
	write(t, dir, "b.npy", npy(t, ir.TensorOf([]float32{3, 4})))
	write(t, dir, "labels.npy", npy(t, ir.TensorOf([]int32{0, 1, 1, 0}, 2, 2)))
	r, err := collect(t, dir, Options{Inputs: []Port{port("a", -1), port("b", -1)}})
	require.NoError(t, err)
	require.Len(t, r, 2)
	require.Equal(t, []float64{4}, values(t, r[1].Inputs["b"]))
	require.Equal(t, []float64{1, 0}, []float64{r[0].Label, r[1].Label}) // one-hot
	// One file a sample, of any length, in the order of their numbers.
	dir = t.TempDir()
	write(t, dir, "s10.npy", npy(t, ir.TensorOf([]float32{1, 2, 3}, 1, 3)))
	write(t, dir, "s9.npy", npy(t, ir.TensorOf([]float32{4}, 1, 1)))
	write(t, dir, labelsFile, []byte("file,label\ns10.npy,10\ns9.npy,9\n"))
	r, err = collect(t, dir, Options{Inputs: []Port{port("x", -1, -1)}})
	require.NoError(t, err)
	require.Equal(t, []float64{4}, values(t, r[0].Inputs["x"]))
	require.Equal(t, []float64{9, 10}, []float64{r[0].Label, r[1].Label})
}

func TestTestData(t *testing.T) {
	dir := t.TempDir()
	for _, set := range []string{"test_data_set_0", "test_data_set_1"} {
		for _, name := range []string{"input_0.pb", "output_0.pb"} {
			var b bytes.Buffer
			require.NoError(t, onnxio.WriteDatum(&b, "any", ir.TensorOf([]float32{float32(len(name))}, 1, 1)))
			write(t, dir, filepath.Join(set, name), b.Bytes())
		}
	}
	o := Options{Inputs: []Port{port("x", -1, 1)}, Outputs: []Port{port("y", -1, 1)}}
	r, err := collect(t, dir, o)
	require.NoError(t, err)
	require.Len(t, r, 2)
	require.Equal(t, []float64{10}, values(t, r[0].Inputs["x"]))
	require.Equal(t, []float64{11}, values(t, r[0].Expect["y"]))
	r, err = collect(t, filepath.Join(dir, "test_data_set_1"), o)
	require.NoError(t, err)
	require.Len(t, r, 1)
}

func TestIDX(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "t-images-idx3-ubyte.gz", zipped(t, idx([]uint32{2, 2, 2}, 0, 1, 2, 3, 255, 5, 6, 7)))
	write(t, dir, "t-labels-idx1-ubyte.gz", zipped(t, idx([]uint32{2}, 7, 8)))
	for _, in := range []Port{port("x", -1, 1, 2, 2), port("x", 1, 2, 2), port("x", -1, 4), portOf("x", ir.Uint8, 1, 2, 2, 1)} {
		r, err := collect(t, dir, Options{Inputs: []Port{in}})
		require.NoError(t, err, in.Type)
		require.Len(t, r, 2)
		require.Equal(t, []float64{255, 5, 6, 7}, values(t, r[1].Inputs["x"]))
		require.Equal(t, 8.0, r[1].Label)
	}
	r, err := collect(t, dir, Options{Inputs: []Port{port("x", -1, 1, 2, 2)}, Image: []Setting{{"scale", "1/255"}}})
	require.NoError(t, err)
	require.Equal(t, 1.0, values(t, r[1].Inputs["x"])[0])
	_, err = collect(t, dir, Options{Inputs: []Port{portOf("x", ir.Int8, -1, 1, 2, 2)}})
	require.ErrorContains(t, err, "does not hold them all exactly")
	r, err = collect(t, dir, Options{Inputs: []Port{portOf("x", ir.Int8, -1, 1, 2, 2)}, Image: []Setting{{"mean", "128"}}})
	require.NoError(t, err)
	require.Equal(t, 127.0, values(t, r[1].Inputs["x"])[0])
}

func TestCIFAR(t *testing.T) {
	b := make([]byte, 2*cifarRow)
	b[0], b[cifarRow] = 3, 12
	b[1+1024], b[1+2048] = 20, 30 // green and blue of the first pixel
	path := write(t, t.TempDir(), "c.bin", b)
	o := Options{Inputs: []Port{port("x", -1, 32, 32, 3)}}
	_, err := collect(t, path, o)
	require.ErrorContains(t, err, "c.bin, sample 1: the label is 12")
	o.SkipBad = true
	r, err := collect(t, path, o)
	require.NoError(t, err)
	require.Len(t, r, 1)
	require.Equal(t, []float64{0, 20, 30}, values(t, r[0].Inputs["x"])[:3])
	require.Equal(t, 3.0, r[0].Label)
}

func TestCSV(t *testing.T) {
	for _, c := range []struct {
		name, text string
		in         []Port
		want       map[string][]float64 // of the second sample
		label      float64
	}{
		{"a.csv", "f1,f2,label\n1,2,0\n3,4.5,1\n", []Port{port("x", -1, 2)}, map[string][]float64{"x": {3, 4.5}}, 1},
		{"b.csv", "1,2\n3,4\n", []Port{port("x", -1, 2)}, map[string][]float64{"x": {3, 4}}, math.NaN()},
		{"c.csv", "b,a,y\n1,2,5\n3,4,0.5\n", []Port{port("a", -1, 1), portOf("b", ir.Int64, -1)}, map[string][]float64{"a": {4}, "b": {3}}, 0.5},
		{"d.tsv", "ids\n1 2 3\n4 5\n", []Port{portOf("ids", ir.Int64, -1, -1)}, map[string][]float64{"ids": {4, 5}}, math.NaN()},
		{"e.csv", "x[0],x[1],label\n1,2,0\n3,4,1\n", []Port{port("x", -1, 2)}, map[string][]float64{"x": {3, 4}}, 1},
	} {
		r, err := collect(t, write(t, t.TempDir(), c.name, []byte(c.text)), Options{Inputs: c.in})
		require.NoError(t, err, c.name)
		require.Len(t, r, 2, c.name)
		for name, v := range c.want {
			require.Equal(t, v, values(t, r[1].Inputs[name]), c.name)
		}
		if math.IsNaN(c.label) {
			require.False(t, r[1].Labelled(), c.name)
		} else {
			require.Equal(t, c.label, r[1].Label, c.name)
		}
	}
	r, err := collect(t, write(t, t.TempDir(), "s.csv", []byte("s,label\n\"a, b\",1\nc,0\n")), Options{Inputs: []Port{portOf("s", ir.String, -1, 1)}})
	require.NoError(t, err)
	s, err := r[0].Inputs["s"].(*ir.Tensor).Strings()
	require.NoError(t, err)
	require.Equal(t, []string{"a, b"}, s)
	path := write(t, t.TempDir(), "bad.csv", []byte("f1,f2,label\n1,2,0\n3,oops,1\n5,6\n7,8,1\n"))
	_, err = collect(t, path, Options{Inputs: []Port{port("x", -1, 2)}})
	require.ErrorContains(t, err, `bad.csv, line 3: input "x": "oops" is no number`)
	r, err = collect(t, path, Options{Inputs: []Port{port("x", -1, 2)}, SkipBad: true})
	require.NoError(t, err)
	require.Len(t, r, 2)
}

func TestImages(t *testing.T) {
	in := Options{Inputs: []Port{port("x", -1, 3, 2, 2)}}
	red, blue := color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}
	dir := t.TempDir()
	write(t, dir, "cat/1.png", pngFile(t, 2, 2, red))
	write(t, dir, "ant/1.png", pngFile(t, 4, 4, blue))
	write(t, dir, "cat/2.png", []byte("\x89PNG broken"))
	_, err := collect(t, dir, in)
	require.ErrorContains(t, err, "preset: imagenet-torch")
	write(t, dir, sidecarFile, []byte("resize: 2\nscale: 1/255\nbgr: true\n"))
	_, err = collect(t, dir, in)
	require.ErrorContains(t, err, filepath.Join("cat", "2.png"))
	in.SkipBad = true
	r, err := collect(t, dir, in)
	require.NoError(t, err)
	require.Len(t, r, 2)
	require.Equal(t, []float64{0, 1}, []float64{r[0].Label, r[1].Label}) // ant, cat
	require.Equal(t, []float64{1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0}, values(t, r[0].Inputs["x"]))
	write(t, dir, sidecarFile, []byte("resize: 2\nclasses: [cat, ant]\n"))
	r, err = collect(t, dir, in)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 0}, []float64{r[0].Label, r[1].Label})
	// A table of labels in the folder above, and options that win over the sidecar.
	write(t, dir, labelsFile, []byte("file,label\ncat/1.png,7\n"))
	in.Image = []Setting{{"resize", "2x2"}}
	r, err = collect(t, filepath.Join(dir, "cat"), in)
	require.NoError(t, err)
	require.Len(t, r, 1)
	require.Equal(t, 7.0, r[0].Label)
	write(t, dir, sidecarFile, []byte("resize: 2\nsharpen: 3\n"))
	_, err = collect(t, dir, in)
	require.ErrorContains(t, err, `line 2: there is no setting "sharpen"`)
	write(t, dir, labelsFile, []byte("file,label\n../../secret.png,7\n"))
	write(t, dir, sidecarFile, nil)
	_, err = collect(t, dir, in)
	require.ErrorContains(t, err, "leads out of the folder")
}

// TestClearErrors: what is wrong is named, and the file.
func TestClearErrors(t *testing.T) {
	x := []Port{port("x", -1, 2)}
	for _, c := range []struct {
		name string
		file []byte
		in   []Port
		err  string
	}{
		{"d.npz", npzFile(t, map[string]*ir.Tensor{"x": ir.TensorOf([]float32{1, 2, 3}, 1, 3)}), x, "shape [1 3] where the model takes [?,2]"},
		{"d.npz", npzFile(t, map[string]*ir.Tensor{"x": ir.TensorOf([]float64{0.1, 2}, 1, 2)}), x, "double where the model takes float"},
		{"d.npz", npzFile(t, map[string]*ir.Tensor{"x": ir.TensorOf([]float32{1, 2}, 1, 2), "z": ir.ScalarOf[int8](1)}), x, `"z" is for no input of the model, which takes x`},
		{"d.npz", npzFile(t, map[string]*ir.Tensor{"x": ir.TensorOf([]float32{1, 2}, 1, 2)}), append(x, port("h", 1)), `nothing for input "h"`},
		{"d.npz", npzFile(t, map[string]*ir.Tensor{"x": ir.NewTensor(ir.Float32, []int64{1 << 50, 0}, nil)}), x, "no elements"},
		{"d.npz", npzFile(t, map[string]*ir.Tensor{"x": ir.TensorOf([]float32{1, 2}, 1, 2), "y": ir.TensorOf([]int8{1, 2, 3})}), x, "3 labels for 1 samples"},
		{"d.npy", npy(t, ir.TensorOf([]float32{1, 2}, 1, 2)), append(x, port("h", 1)), "several inputs: x, h"},
		{"d.npy", npy(t, ir.TensorOf([]float32{1, 2}, 1, 2))[:130], x, "ends early"},
		{"d-images.idx3", idx([]uint32{3, 1, 2}, 1, 2, 3, 4), x, "sample 2: the file ends early"},
		{"d-images.idx3", idx([]uint32{1, 1, 2}, 1, 2, 3, 4), x, "goes on behind its last sample"},
		{"d-images.idx3", idx([]uint32{1 << 31, 1 << 31, 1 << 31}), x, "too large"},
		{"d-images.idx3", idx([]uint32{1 << 31, 0, 4}), x, "empty or too large"},
		{"d.bin", make([]byte, 100), x, "CIFAR-10"},
		{"d.csv", nil, x, "the file is empty"},
		{"d.xyz", []byte("what"), x, "the format is not known"},
		{"d.png", []byte("what"), x, "pictures need to be told"},
	} {
		path := write(t, t.TempDir(), c.name, c.file)
		_, err := collect(t, path, Options{Inputs: c.in})
		require.ErrorContains(t, err, c.err, c.name)
		require.ErrorContains(t, err, path)
	}
	_, err := Open(t.TempDir(), Options{Inputs: x})
	require.ErrorContains(t, err, "no data are in this folder")
	_, err = Open(filepath.Join(t.TempDir(), "none"), Options{Inputs: x})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCancel(t *testing.T) {
	path := write(t, t.TempDir(), "x.npy", npy(t, ir.TensorOf(make([]float32, 100), 100, 1)))
	s, err := Open(path, Options{Inputs: []Port{port("x", -1, 1)}})
	require.NoError(t, err)
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for _, err := range s.Samples(ctx) {
		if n++; n == 3 {
			cancel()
		} else if n > 3 {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	require.Equal(t, 4, n)
}

func TestParseValue(t *testing.T) {
	for _, c := range []struct {
		text string
		in   Port
		want []int64
		err  string
	}{
		{"3", portOf("k", ir.Int64), []int64{}, ""},
		{"3", port("k", 1), []int64{1}, ""},
		{"1,2,3,4", port("k", -1, 2), []int64{2, 2}, ""},
		{"[[1,2],[3,4],[5,6]]", port("k", -1, 2), []int64{3, 2}, ""},
		{"[[1,2],[3]]", port("k", -1, 2), nil, "differ in length"},
		{"[1,2", port("k", -1), nil, "do not match"},
		{"1,2,3", port("k", -1, 2), nil, "where the model takes"},
		{"1.5", portOf("k", ir.Int64), nil, "no whole number"},
		{"true, false", portOf("k", ir.Bool, 2), []int64{2}, ""},
		{"some words", portOf("k", ir.String, 1, 1), []int64{1, 1}, ""},
		{"x", port("k"), nil, "no number"},
	} {
		x, err := ParseValue(c.text, &c.in)
		if c.err != "" {
			require.ErrorContains(t, err, c.err, c.text)
			continue
		}
		require.NoError(t, err, c.text)
		require.Equal(t, c.want, x.Shape(), c.text)
	}
}

// FuzzOpen opens arbitrary files under each of the names that lead to a format.
func FuzzOpen(f *testing.F) {
	f.Add(0, idx([]uint32{1, 2, 2}, 1, 2, 3, 4))
	f.Add(1, []byte("a,b,label\n1,2,3\n"))
	f.Add(1, []byte("0,A\n00A\""))
	f.Add(2, make([]byte, cifarRow))
	f.Add(3, []byte("\x93NUMPY\x01\x00"))
	f.Add(5, []byte("1 2\t3 4 5\t0.5\n6 7\t8 9\t1\n"))
	names := []string{"d-images.idx3", "d.csv", "d.bin", "d.npz", sidecarFile, "d.tsv"}
	f.Fuzz(func(t *testing.T, name int, b []byte) {
		if name < 0 || name >= len(names) || strings.Contains(string(b[:min(len(b), 4)]), "\x1f\x8b") {
			return
		}
		dir := t.TempDir()
		path := filepath.Join(dir, names[name])
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{Inputs: []Port{port("x", -1, -1)}}, {Inputs: encoder(-1)}, {Raw: true}} {
			o.SkipBad = true
			s, err := Open(path, o)
			if err != nil {
				continue
			}
			n := 0
			for range s.Samples(context.Background()) {
				if n++; n > 1000 {
					break
				}
			}
			s.Close()
		}
	})
}
