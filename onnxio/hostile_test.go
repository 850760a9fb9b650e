package onnxio

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnxopt/onnxopt/ir"
)

// placed is a model whose weights lie at places of a data file: location, offset, length.
func placed(t *testing.T, dir string, places ...[3]string) string {
	m := ir.NewModel(8, 17)
	m.Main.AddOutput("y", m.Main.AddInput("y0", ir.TensorType(ir.Float32, nil)), nil)
	path := filepath.Join(dir, "m.onnx")
	mustWrite(t, path, m, WriteOptions{})
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	field := func(b []byte, n protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	var inits []byte
	for i, p := range places {
		var w []byte
		w = protowire.AppendVarint(protowire.AppendTag(w, tensorDims, protowire.VarintType), 4)
		w = protowire.AppendVarint(protowire.AppendTag(w, tensorDType, protowire.VarintType), uint64(ir.Float32))
		w = field(w, tensorName, []byte{'w', byte('0' + i)})
		for k, key := range []string{"location", "offset", "length"} {
			w = field(w, tensorExternal, field(field(nil, entryKey, []byte(key)), entryValue, []byte(p[k])))
		}
		w = protowire.AppendVarint(protowire.AppendTag(w, tensorLocation, protowire.VarintType), 1)
		inits = field(inits, graphInits, w)
	}
	require.NoError(t, os.WriteFile(path, field(b, modelGraph, inits), 0o666))
	return path
}

// TestOverlap: parts of a data file are the same or apart.
func TestOverlap(t *testing.T) {
	for name, c := range map[string]struct {
		places [][3]string
		good   bool
	}{
		"apart":       {[][3]string{{"d", "0", "16"}, {"d", "16", "16"}}, true},
		"backwards":   {[][3]string{{"d", "16", "16"}, {"d", "0", "16"}}, true},
		"tied":        {[][3]string{{"d", "4", "16"}, {"d", "4", "16"}}, true},
		"two files":   {[][3]string{{"d", "4", "16"}, {"e", "8", "16"}}, true},
		"overlap":     {[][3]string{{"d", "0", "16"}, {"d", "8", "16"}}, false},
		"from behind": {[][3]string{{"d", "8", "16"}, {"d", "0", "16"}}, false},
		"between":     {[][3]string{{"d", "0", "16"}, {"d", "32", "16"}, {"d", "28", "16"}}, false},
	} {
		dir := t.TempDir()
		for _, f := range []string{"d", "e"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, f), make([]byte, 64), 0o666))
		}
		f, err := Open(placed(t, dir, c.places...), Options{})
		if c.good {
			require.NoError(t, err, name)
			f.Close()
			continue
		}
		require.ErrorContains(t, err, "overlaps that of another tensor", name)
	}
}

// TestHostileFolder: a copy that keeps its data files writes only below its own folder, and does not wait for a FIFO.
func TestHostileFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: Windows has no FIFOs, and links take a privilege there")
	}
	src := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(src, "sub"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(src, "sub", "d"), make([]byte, 16), 0o666))
	f := mustOpen(t, placed(t, src, [3]string{"sub/d", "0", "16"}), Options{})
	outside := t.TempDir()
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    string
	}{
		"link out of the folder": {func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "sub")) }, "leads out of it"},
		"link to nothing outside": {func(dir string) error {
			return os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "sub"))
		}, "leads nowhere"},
		"file that is a link": {func(dir string) error {
			_ = os.Mkdir(filepath.Join(dir, "sub"), 0o777)
			return os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "sub", "d"))
		}, "leads nowhere"},
		"FIFO": {func(dir string) error {
			_ = os.Mkdir(filepath.Join(dir, "sub"), 0o777)
			return exec.Command("mkfifo", filepath.Join(dir, "sub", "d")).Run()
		}, "not a regular file"},
	} {
		dir := t.TempDir()
		require.NoError(t, c.prepare(dir), name)
		done := make(chan error, 1)
		go func() {
			_, err := WriteFile(filepath.Join(dir, "m.onnx"), f.Model, WriteOptions{Data: DataKeep})
			done <- err
		}()
		select {
		case err := <-done:
			require.ErrorContains(t, err, c.want, name)
		case <-time.After(10 * time.Second):
			t.Fatal(name, "it waits")
		}
		assert.NoFileExists(t, filepath.Join(dir, "m.onnx"))
		assert.Empty(t, files(t, outside), name)
	}
	dir := t.TempDir()
	mustWrite(t, filepath.Join(dir, "m.onnx"), f.Model, WriteOptions{Data: DataKeep})
	assert.FileExists(t, filepath.Join(dir, "sub", "d"))
}

// racePath tells the child process of TestTwoWriters where to write, and raceModel which model.
const racePath, raceModel = "ONNXIO_TEST_RACE_PATH", "ONNXIO_TEST_RACE_MODEL"

// TestTwoWriters: processes that write one model at the same time, some of them killed, leave one of their models, whole and with its data. One of
// them writes what is there already, whose data file has the same name: it is not to be removed as the predecessor's of another.
func TestTwoWriters(t *testing.T) {
	if path := os.Getenv(racePath); path != "" {
		for range 15 {
			mustWrite(t, path, crashModel(int(os.Getenv(raceModel)[0]-'0')), WriteOptions{Data: DataExternal})
		}
		return
	}
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("left out with -short, and on Windows, where folders have no lock: several processes write one file")
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	for round := range 6 {
		mustWrite(t, path, crashModel(1), WriteOptions{Data: DataExternal})
		var children []*exec.Cmd
		for k := range 3 {
			c := exec.Command(os.Args[0], "-test.run=^TestTwoWriters$")
			c.Env = append(os.Environ(), racePath+"="+path, raceModel+"="+string(rune('1'+k)))
			require.NoError(t, c.Start())
			children = append(children, c)
		}
		if round%2 == 1 {
			time.Sleep(100 * time.Millisecond)
			require.NoError(t, children[0].Process.Kill())
		}
		for i, c := range children {
			if err := c.Wait(); i > 0 || round%2 == 0 {
				require.NoError(t, err)
			}
		}
		wholeModel(t, path)
	}
}
