package text_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/stretchr/testify/require"
)

// A text that names data files is a model with data files: written as protobuf it keeps them where they are, or takes the weights
// in, and both are the model it was printed from.
func TestDataFiles(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	m := ir.NewModel(8, 17)
	typ := ir.TensorType(ir.Float32, ir.StaticShape(4))
	x := m.Main.AddInput("x", typ)
	w := m.Main.NamedConst("w", ir.TensorOf([]float32{1, 2, 3, 4}))
	tied := m.Main.NamedConst("tied", w.Const())
	sum := m.Main.New(nil, ir.Op("Add"), []*ir.Value{x, w})
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Mul"), []*ir.Value{sum.Result(0), tied}).Result(0), typ)
	written, err := onnxio.WriteFile(filepath.Join(dir, "m.onnx"), m, onnxio.WriteOptions{Data: onnxio.DataExternal, Threshold: 1})
	require.NoError(t, err)
	require.Len(t, written.Data, 1)
	f, err := onnxio.Open(filepath.Join(dir, "m.onnx"), onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()

	s := printed(t, f.Model)
	require.Contains(t, s, written.Data[0])
	data := onnxio.NewDataFiles(onnxio.Options{DataDir: dir})
	defer data.Close()
	again, err := text.ParseWith([]byte(s), text.ReadOptions{External: data.Payload})
	require.NoError(t, err)
	data.Attach(again)
	require.Equal(t, inline(t, f.Model), inline(t, again))

	kept, err := onnxio.WriteFile(filepath.Join(other, "kept.onnx"), again, onnxio.WriteOptions{Data: onnxio.DataKeep})
	require.NoError(t, err)
	require.Equal(t, written.Data, kept.Data)
	moved, err := onnxio.WriteFile(filepath.Join(other, "moved.onnx"), again.Clone(), onnxio.WriteOptions{Threshold: 1, Align: 1})
	require.NoError(t, err)
	require.Len(t, moved.Data, 1)
	st, err := os.Stat(filepath.Join(other, moved.Data[0]))
	require.NoError(t, err)
	require.Equal(t, int64(16), st.Size(), "the tied weights are there once")
	for _, name := range []string{"kept.onnx", "moved.onnx"} {
		g, err := onnxio.Open(filepath.Join(other, name), onnxio.Options{})
		require.NoError(t, err)
		require.Equal(t, inline(t, f.Model), inline(t, g.Model), name)
		require.NoError(t, g.Close())
	}
	var b bytes.Buffer
	_, err = onnxio.Write(&b, again, onnxio.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, inline(t, f.Model), inline(t, read(t, b.Bytes())))
}

// The rules for places outside the model are those of protobuf.
func TestDataFilesOutside(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "w"), make([]byte, 8), 0o600))
	inner := filepath.Join(dir, "m")
	require.NoError(t, os.Mkdir(inner, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(inner, "w"), make([]byte, 8), 0o600))
	for place, want := range map[string]string{
		`"location": "../w"`:                            "is not below the model's folder",
		`"location": "/etc/passwd"`:                     "is not below the model's folder",
		`"location": "none"`:                            "no such file",
		`"location": ".", "offset": "0"`:                "not a regular file",
		`"location": "w", "offset": "8"`:                "has 8 bytes",
		`"location": "w", "offset": "-1"`:               "is no number of bytes",
		`"location": "w", "length": "9"`:                "external_data gives it 9",
		`"location": "w", "offset": "0", "offset": "4"`: "twice",
		`"location": "w"`:                               "",
	} {
		data := onnxio.NewDataFiles(onnxio.Options{DataDir: inner})
		_, err := text.ParseWith([]byte(`<ir_version: 8, opset_import: ["": 17]> g () => (float[2] w) <float[2] w = [`+place+`]> {}`),
			text.ReadOptions{External: data.Payload})
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want, place)
		}
		require.NoError(t, data.Close())
	}
}
