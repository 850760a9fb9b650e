package onnxio

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counting is a vector of n floats, first, first+1, and so on.
func counting(n int, first float32) *ir.Tensor {
	s := make([]float32, n)
	for i := range s {
		s[i] = first + float32(i)
	}
	return ir.TensorOf(s)
}

// weighted is a model that adds constants of 1000 floats to its input: w0 and w1, a Constant node, and a small one.
func weighted() *ir.Model {
	m := ir.NewModel(8, 17)
	g := m.Main
	typ := ir.TensorType(ir.Float32, ir.StaticShape(1000))
	v := g.AddInput("x", typ)
	add := func(w *ir.Value) { v = g.New(nil, ir.Op("Add"), []*ir.Value{v, w}).Result(0) }
	add(g.NamedConst("w0", counting(1000, 0)))
	add(g.NamedConst("w1", counting(1000, 7)))
	add(g.New(nil, ir.Op("Constant"), nil, ir.TensorAttr("value", counting(1000, 9))).Result(0))
	add(g.NamedConst("small", counting(1, 3)))
	g.AddOutput("y", v, typ)
	return m
}

func files(t *testing.T, dir string) []string {
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	var r []string
	for _, e := range es {
		r = append(r, e.Name())
	}
	return r
}

// constants are the values of every constant that a node of the main graph reads, in order.
func constants(t *testing.T, m *ir.Model) (r [][]float32) {
	for n := range m.Main.Nodes() {
		for _, v := range n.Operands() {
			if c := v.Const(); c != nil {
				e, err := ir.Elements[float32](c)
				require.NoError(t, err)
				r = append(r, append([]float32(nil), e...))
			}
		}
	}
	return r
}

func mustOpen(t *testing.T, path string, o Options) *File {
	t.Helper()
	f, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	require.NoError(t, ir.Verify(f.Model))
	return f
}

func mustWrite(t *testing.T, path string, m *ir.Model, o WriteOptions) *Written {
	t.Helper()
	w, err := WriteFile(path, m, o)
	require.NoError(t, err)
	return w
}

func TestDataFileAndBack(t *testing.T) {
	want := constants(t, weighted())
	for _, o := range []WriteOptions{{Data: DataExternal}, {Data: DataExternal, Align: 64, Shard: 5000}, {Limit: 9000}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "m.onnx")
		w := mustWrite(t, path, weighted(), o)
		shards := 1
		if o.Shard > 0 {
			shards = 3
		}
		assert.Len(t, w.Data, shards)
		assert.Len(t, files(t, dir), shards+1)
		f := mustOpen(t, path, Options{})
		assert.Equal(t, want, constants(t, f.Model))
		for _, c := range f.Model.Main.Consts() {
			if r := recordOf(c.Const()); r.ext != nil {
				assert.Zero(t, r.ext.offset%max(o.Align, 64))
			} else {
				assert.Equal(t, "small", c.Name())
			}
		}

		// Into one file again, and the data file stays with the model it belongs to.
		one := filepath.Join(dir, "one.onnx")
		assert.Empty(t, mustWrite(t, one, f.Model, WriteOptions{Data: DataInline}).Data)
		assert.Equal(t, want, constants(t, mustOpen(t, one, Options{}).Model))
		assert.Len(t, files(t, dir), shards+2)

		// A copy in another folder that keeps every place is the same model with the same files.
		other := t.TempDir()
		assert.ElementsMatch(t, w.Data, mustWrite(t, filepath.Join(other, "m.onnx"), f.Model, WriteOptions{Data: DataKeep}).Data)
		for _, name := range append(w.Data, "m.onnx") {
			a, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			b, err := os.ReadFile(filepath.Join(other, name))
			require.NoError(t, err)
			assert.True(t, bytes.Equal(a, b), name)
		}
	}
}

func TestTiedWeightsStayTied(t *testing.T) {
	dir := t.TempDir()
	m := weighted()
	w := m.Main.Consts()[0]
	m.Main.NodeList()[1].SetOperand(1, m.Main.NamedConst("tied", w.Const()))
	path := filepath.Join(dir, "m.onnx")
	mustWrite(t, path, m, WriteOptions{Data: DataExternal})
	f := mustOpen(t, path, Options{})
	mustWrite(t, path, f.Model, WriteOptions{})
	again := mustOpen(t, path, Options{})
	places := map[int64]int{}
	for _, c := range again.Model.Main.Consts() {
		if r := recordOf(c.Const()); r.ext != nil {
			places[r.ext.offset]++
		}
	}
	assert.Equal(t, 2, places[0], "w0 and its twin lie in the same place")
}

// Output may be the input; the old data file goes once the new model stands, if it is ours and has no other name.
func TestOverwrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	old := mustWrite(t, path, weighted(), WriteOptions{Data: DataExternal}).Data
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m-other.onnxdata"), nil, 0o666))
	f := mustOpen(t, path, Options{})
	v := f.Model.Main.Consts()[0]
	v.ReplaceUses(f.Model.Main.Const(counting(1000, 50)))
	f.Model.Main.EraseConst(v)
	want := constants(t, f.Model)
	w := mustWrite(t, path, f.Model, WriteOptions{})
	assert.NotEqual(t, old, w.Data)
	assert.ElementsMatch(t, []string{"m.onnx", "m-other.onnxdata", w.Data[0]}, files(t, dir))
	again := mustOpen(t, path, Options{})
	assert.Equal(t, want, constants(t, again.Model))

	// The same again: the same names.
	assert.Equal(t, w.Data, mustWrite(t, path, again.Model, WriteOptions{}).Data)
	assert.Len(t, files(t, dir), 3)

	// A data file with a second name stays.
	require.NoError(t, os.Link(filepath.Join(dir, w.Data[0]), filepath.Join(dir, "second name")))
	mustWrite(t, path, weighted(), WriteOptions{Data: DataInline})
	if runtime.GOOS != "windows" {
		assert.Len(t, files(t, dir), 4)
	}
}

// broken is a payload that cannot be read.
type broken struct{}

func (broken) Bytes() ([]byte, error)     { return nil, errors.New("the disk is gone") }
func (broken) Strings() ([]string, error) { return nil, errors.New("the disk is gone") }

// A write that fails leaves the old model and nothing else.
func TestFailedWriteLeavesNothing(t *testing.T) {
	for _, layout := range []DataLayout{DataInline, DataExternal} {
		dir := t.TempDir()
		path := filepath.Join(dir, "m.onnx")
		mustWrite(t, path, weighted(), WriteOptions{})
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		m := weighted()
		m.Main.NodeList()[1].SetOperand(1, m.Main.Const(ir.NewLazyTensor(ir.Float32, []int64{100000}, broken{})))
		_, err = WriteFile(path, m, WriteOptions{Data: layout})
		require.ErrorContains(t, err, "the disk is gone")
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(before, after))
		assert.Equal(t, []string{"m.onnx"}, files(t, dir))
	}
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("left out: /dev/full is not here")
	}
	_, err := WriteFile("/dev/full", weighted(), WriteOptions{})
	require.ErrorContains(t, err, "no space left")
}

func TestWriteFileErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := WriteFile(dir, weighted(), WriteOptions{})
	require.ErrorContains(t, err, "is a directory")
	_, err = WriteFile(filepath.Join(dir, "none", "m.onnx"), weighted(), WriteOptions{})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Write(new(bytes.Buffer), weighted(), WriteOptions{Limit: 5000})
	require.ErrorContains(t, err, "more than 5000 need data files")
	_, err = Write(new(bytes.Buffer), weighted(), WriteOptions{Data: DataExternal})
	require.Error(t, err)
}

// Another model's data file in the way is not touched.
func TestKeepDoesNotOverwriteData(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	data := mustWrite(t, path, weighted(), WriteOptions{Data: DataExternal}).Data[0]
	f := mustOpen(t, path, Options{})
	require.NoError(t, os.WriteFile(filepath.Join(other, data), []byte("precious"), 0o666))
	_, err := WriteFile(filepath.Join(other, "m.onnx"), f.Model, WriteOptions{Data: DataKeep})
	require.ErrorContains(t, err, "another file of that name")
	assert.Equal(t, []string{data}, files(t, other))
}

// A weight of another model's data file goes into the model.
func TestWeightOfAnotherModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	mustWrite(t, path, weighted(), WriteOptions{Data: DataExternal})
	from := mustOpen(t, path, Options{}).Model
	m := weighted()
	m.Main.NodeList()[1].SetOperand(1, m.Main.Const(from.Main.Consts()[0].Const()))
	m.Main.NodeList()[2].SetAttr(ir.TensorAttr("value", from.Main.Consts()[1].Const()))
	again := mustRead(t, bytesOf(t, m), Options{}).Model
	assert.Equal(t, constants(t, m), constants(t, again))
}

func TestModeAndLinkOfOutput(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: modes and links")
	}
	dir := t.TempDir()
	path, link := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "link.onnx")
	mustWrite(t, path, weighted(), WriteOptions{})
	require.NoError(t, os.Chmod(path, 0o640))
	require.NoError(t, os.Symlink("m.onnx", link))
	mustWrite(t, link, weighted(), WriteOptions{})
	st, err := os.Lstat(link)
	require.NoError(t, err)
	assert.NotZero(t, st.Mode()&os.ModeSymlink)
	st, err = os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), st.Mode().Perm())
}

// A source that changes while it is in use is an error.
func TestSourceChanges(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: mapped files cannot be changed there")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	m := weighted()
	m.Main.NodeList()[1].SetOperand(1, m.Main.Const(counting(1<<20, 0)))
	mustWrite(t, path, m, WriteOptions{})
	f := mustOpen(t, path, Options{})
	var big *ir.Tensor
	for _, c := range f.Model.Main.Consts() {
		if c.Const().Len() == 1<<20 {
			big = c.Const()
		}
	}
	b, err := big.Bytes()
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 100))
	err = Guard(func() error {
		sum := byte(0)
		for _, x := range b {
			sum += x
		}
		return errors.New("read to the end: " + strconv.Itoa(int(sum)))
	})
	require.ErrorContains(t, err, "a file changed or was closed while it was read")
	_, err = big.Bytes()
	require.ErrorContains(t, err, "changed while it was in use")
	_, err = WriteFile(filepath.Join(dir, "out.onnx"), f.Model, WriteOptions{})
	require.ErrorContains(t, err, "changed while it was in use")
	assert.Equal(t, []string{"m.onnx"}, files(t, dir))
}

func TestClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	mustWrite(t, path, weighted(), WriteOptions{})
	f, err := Open(path, Options{})
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err = f.Model.Main.Consts()[0].Const().Bytes()
	require.ErrorIs(t, err, errClosed)
	_, err = Write(new(bytes.Buffer), f.Model, WriteOptions{})
	require.ErrorIs(t, err, errClosed)
}

// Links that leave the folder are refused unless the folder they lead to is named.
func TestDataRoot(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: links")
	}
	base := t.TempDir()
	blobs, snap := filepath.Join(base, "blobs"), filepath.Join(base, "snapshot")
	require.NoError(t, os.Mkdir(blobs, 0o777))
	require.NoError(t, os.Mkdir(snap, 0o777))
	path := filepath.Join(snap, "m.onnx")
	data := mustWrite(t, path, weighted(), WriteOptions{Data: DataExternal}).Data[0]
	require.NoError(t, os.Rename(filepath.Join(snap, data), filepath.Join(blobs, "0a1b")))
	require.NoError(t, os.Symlink("../blobs/0a1b", filepath.Join(snap, data)))
	_, err := Open(path, Options{})
	require.ErrorContains(t, err, "escapes")
	f := mustOpen(t, path, Options{DataRoot: base})
	assert.Equal(t, constants(t, weighted()), constants(t, f.Model))
	_, err = Open(path, Options{DataRoot: snap})
	require.Error(t, err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = Read(b, Options{})
	require.ErrorContains(t, err, "the model has no folder")
	_, err = Read(b, Options{DataDir: snap, DataRoot: base})
	require.NoError(t, err)
}

// Many data files do not exhaust the descriptors.
func TestManyDataFiles(t *testing.T) {
	dir := t.TempDir()
	m := weighted()
	v := m.Main.Outputs()[0].Value()
	for i := range 1100 {
		v = m.Main.New(nil, ir.Op("Add"), []*ir.Value{v, m.Main.Const(counting(300, float32(i)))}).Result(0)
	}
	m.Main.Outputs()[0].SetValue(v)
	path := filepath.Join(dir, "m.onnx")
	w := mustWrite(t, path, m, WriteOptions{Data: DataExternal, Shard: 1})
	assert.Len(t, w.Data, 1103)
	f := mustOpen(t, path, Options{})
	assert.Equal(t, constants(t, m), constants(t, f.Model))
	assert.True(t, strings.HasSuffix(w.Data[0], dataSuffix))
}
