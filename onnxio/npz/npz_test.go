package npz

import (
	"archive/zip"
	"bytes"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// TestNumPy reads what NumPy wrote; testdata/make.py made it.
func TestNumPy(t *testing.T) {
	f, err := Open("testdata/numpy.npz")
	require.NoError(t, err)
	defer f.Close()
	want := map[string]*ir.Tensor{
		"i1": ir.TensorOf([]int8{0, 1, 2, 3, 4, 5}, 2, 3), "i2": ir.TensorOf([]int16{0, 1, 2, 3, 4, 5}, 2, 3),
		"i4": ir.TensorOf([]int32{0, 1, 2, 3, 4, 5}, 2, 3), "i8": ir.TensorOf([]int64{0, 1, 2, 3, 4, 5}, 2, 3),
		"u1": ir.TensorOf([]uint8{0, 1, 2, 3, 4, 5}, 2, 3), "u2": ir.TensorOf([]uint16{0, 1, 2, 3, 4, 5}, 2, 3),
		"u4": ir.TensorOf([]uint32{0, 1, 2, 3, 4, 5}, 2, 3), "u8": ir.TensorOf([]uint64{0, 1, 2, 3, 4, 5}, 2, 3),
		"f2": ir.NewTensor(ir.Float16, []int64{2, 3}, ir.AsBytes([]uint16{0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500})),
		"f4": ir.TensorOf([]float32{0, 1, 2, 3, 4, 5}, 2, 3), "f8": ir.TensorOf([]float64{0, 1, 2, 3, 4, 5}, 2, 3),
		"c8": ir.TensorOf([]complex64{0, 1, 2, 3, 4, 5}, 2, 3), "c16": ir.TensorOf([]complex128{0, 1, 2, 3, 4, 5}, 2, 3),
		"b1": ir.NewTensor(ir.Bool, []int64{2, 3}, []byte{0, 0, 0, 1, 1, 1}), "scalar": ir.ScalarOf[float32](7),
		"empty": ir.NewTensor(ir.Float32, []int64{0, 4}, nil),
	}
	want["fortran"], want["fortran_big"] = want["f4"], want["i4"]
	for big, little := range map[string]string{">i2": "i2", ">i8": "i8", ">f2": "f2", ">f4": "f4", ">f8": "f8", ">c8": "c8", ">u4": "u4"} {
		want[big] = want[little]
	}
	words := map[string][]string{"U": {"a", "Ünï", "", "😀", "b", "abc"}, "S": {"a", "bc", ""}}
	require.Len(t, f.Names(), len(want)+len(words))
	for _, name := range f.Names() {
		x, err := f.Read(name)
		require.NoError(t, err, name)
		if w, ok := words[name]; ok {
			s, err := x.Strings()
			require.NoError(t, err)
			require.Equal(t, w, s)
			continue
		}
		require.Equal(t, want[name].DType(), x.DType(), name)
		require.Equal(t, want[name].Shape(), x.Shape(), name)
		require.Equal(t, contents(t, want[name]), contents(t, x), name)
	}
}

// contents are the bytes of a tensor, never nil.
func contents(t *testing.T, x *ir.Tensor) []byte {
	t.Helper()
	b, err := x.Bytes()
	require.NoError(t, err)
	return append([]byte{}, b...)
}

func TestRoundTrip(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	tensors := map[string]*ir.Tensor{
		"x": ir.TensorOf([]float32{1, float32(math.Inf(1)), -0.5}, 3, 1), "scalar": ir.ScalarOf[int64](-3),
		"names": ir.NewStringTensor([]int64{2}, []string{"a", "Ü"}), "empty": ir.NewTensor(ir.Int8, []int64{3, 0}, nil),
		"bool": ir.NewTensor(ir.Bool, []int64{2}, []byte{1, 0}),
	}
	for name, x := range tensors {
		require.NoError(t, w.Add(name, x))
	}
	require.Error(t, w.Add("x", tensors["x"]), "twice")
	require.NoError(t, w.Close())
	f, err := NewFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	for name, x := range tensors {
		y, err := f.Read(name)
		require.NoError(t, err)
		require.Equal(t, x.Type().String(), y.Type().String())
		if x.DType() == ir.String {
			s, err := y.Strings()
			require.NoError(t, err)
			require.Equal(t, []string{"a", "Ü"}, s)
			continue
		}
		require.Equal(t, contents(t, x), contents(t, y), name)
	}
}

// TestWiden: types that NumPy lacks keep their values.
func TestWiden(t *testing.T) {
	for _, c := range []struct {
		d    ir.DType
		n    int64
		in   []byte
		want any
	}{
		{ir.BFloat16, 2, []byte{0x80, 0x3f, 0x20, 0xc0}, []float32{1, -2.5}},
		{ir.Int4, 3, []byte{0x8f, 0x07}, []int8{-1, -8, 7}},
		{ir.Uint4, 2, []byte{0xf1}, []uint8{1, 15}},
		{ir.Int2, 4, []byte{0b11_10_01_00}, []int8{0, 1, -2, -1}},
		{ir.Float8E4M3FN, 4, []byte{0x38, 0x7e, 0x01, 0xb8}, []float32{1, 448, 0x1p-9, -1}},
		{ir.Float8E5M2, 3, []byte{0x3c, 0x7b, 0x7c}, []float32{1, 57344, float32(math.Inf(1))}},
		{ir.Float8E4M3FNUZ, 2, []byte{0x40, 0x7f}, []float32{1, 240}},
		{ir.Float8E5M2FNUZ, 2, []byte{0x40, 0x7f}, []float32{1, 57344}},
		{ir.Float8E8M0, 2, []byte{127, 130}, []float32{1, 8}},
		{ir.Float4E2M1, 4, []byte{0x72, 0xf1}, []float32{1, 6, 0.5, -6}},
	} {
		x, err := Widen(ir.NewTensor(c.d, []int64{c.n}, c.in))
		require.NoError(t, err)
		var got any
		switch c.want.(type) {
		case []float32:
			got, err = ir.Elements[float32](x)
		case []int8:
			got, err = ir.Elements[int8](x)
		case []uint8:
			got, err = ir.Elements[uint8](x)
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.d.String())
	}
	for _, c := range []struct {
		d    ir.DType
		code byte
	}{{ir.Float8E4M3FN, 0x7f}, {ir.Float8E4M3FNUZ, 0x80}, {ir.Float8E5M2, 0x7d}, {ir.Float8E5M2FNUZ, 0x80}, {ir.Float8E8M0, 0xff}} {
		require.True(t, math.IsNaN(float64(small(c.d, c.code))), "%s %#x", c.d, c.code)
	}
}

// npy is a .npy file with the given header.
func npy(header string, data ...byte) []byte {
	b := []byte(magic + "\x01\x00")
	b = append(b, byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), data...)
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ header, err string }{
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", "more than the limit"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000,), }", "ends early"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "too large"},
		{"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "Python objects"},
		{"{'descr': '|V2', 'fortran_order': False, 'shape': (1,), }", "bfloat16"},
		{"{'descr': '<U0', 'fortran_order': False, 'shape': (100000000,), }", "no ONNX type"},
		{"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "structured"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "no size"},
		{"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }", "neither True nor False"},
		{"{'descr': '<f4', 'shape': (1,), }", "lacks"},
		{"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "twice"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", "goes on"},
		{"{'descr': '|b1', 'fortran_order': False, 'shape': (1,), }", "array of bools is 7"},
		{"__import__('os')", "missing"},
	} {
		_, err := ReadArray(bytes.NewReader(npy(c.header, 7)), 1<<20+1<<22)
		require.ErrorContains(t, err, c.err, c.header)
	}
	_, err := ReadArray(strings.NewReader("\x93NUMPY\x09\x00\x00\x00"), 0)
	require.ErrorContains(t, err, "version 9")
	_, err = ReadArray(bytes.NewReader(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", 1, 2)), 0)
	require.ErrorContains(t, err, "goes on behind")
}

func TestArchiveRefused(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	_, err := z.Create("data.pkl")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, err = NewFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.ErrorContains(t, err, `"data.pkl"`)
	_, err = Open(filepath.Join(t.TempDir(), "none.npz"))
	require.Error(t, err)
}

func TestRows(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteArray(&b, ir.TensorOf([]int32{0, 1, 2, 3, 4, 5}, 3, 2)))
	a, err := NewArray(&b)
	require.NoError(t, err)
	x, err := a.Rows(2)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 2}, x.Shape())
	x, err = a.Rows(2)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2}, x.Shape())
	v, err := ir.Elements[int32](x)
	require.NoError(t, err)
	require.Equal(t, []int32{4, 5}, v)
	_, err = a.Rows(1)
	require.Equal(t, io.EOF, err)
}

func FuzzNpy(f *testing.F) {
	f.Add(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", make([]byte, 24)...))
	f.Add(npy("{'descr': '>U2', 'fortran_order': False, 'shape': (1,), }", 0, 0, 0, 65, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ReadArray(bytes.NewReader(b), 1<<20)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteArray(&out, x); err != nil {
			return // strings that are no UTF-8
		}
		y, err := ReadArray(&out, 1<<22)
		if err != nil || y.DType() != x.DType() {
			t.Fatalf("%s was written and not read: %v", x.Type(), err)
		}
	})
}

func FuzzNpz(f *testing.F) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := w.Add("x", ir.TensorOf([]float32{1, 2})); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		z, err := NewFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		z.Limit = 1 << 20
		for _, name := range z.Names() {
			if x, err := z.Read(name); err == nil && x.DType() != ir.String {
				if _, err := x.Bytes(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
