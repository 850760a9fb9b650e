package onnxio

import (
	"errors"
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

// racePath tells the child process of TestTwoWriters where to write, raceModel which model, and racePause that it waits in the middle.
const racePath, raceModel, racePause = "ONNXIO_TEST_RACE_PATH", "ONNXIO_TEST_RACE_MODEL", "ONNXIO_TEST_RACE_PAUSE"

// TestTwoWriters: processes that write one model at the same time, some of them killed, leave one of their models, whole and with its data. One of
// them writes what is there already, whose data file has the same name: it is not to be removed as the predecessor's of another. That it would be
// without the lock of the folder takes a meeting: the one has found its data file to be there and has not yet written the model, when
// the other replaces the model and clears up.
func TestTwoWriters(t *testing.T) {
	if path := os.Getenv(racePath); path != "" {
		raceChild(t, path, int(os.Getenv(raceModel)[0]-'0'), os.Getenv(racePause))
		return
	}
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("left out with -short, and on Windows, where folders have no lock: several processes write one file")
	}
	dir := t.TempDir()
	path, paused, resume := filepath.Join(dir, "out", "m.onnx"), filepath.Join(dir, "paused"), filepath.Join(dir, "resume")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o777))
	child := func(model int, pause string) *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestTwoWriters$")
		c.Env = append(os.Environ(), racePath+"="+path, raceModel+"="+string(rune('0'+model)), racePause+"="+pause)
		require.NoError(t, c.Start())
		t.Cleanup(func() { c.Process.Kill() })
		return c
	}
	mustWrite(t, path, crashModel(1), WriteOptions{Data: DataExternal})
	slow := child(1, dir)
	require.Eventually(t, func() bool { _, err := os.Stat(paused); return err == nil }, 20*time.Second, 5*time.Millisecond)
	other := child(2, "")
	time.Sleep(300 * time.Millisecond)
	require.NoError(t, os.WriteFile(resume, nil, 0o666))
	require.NoError(t, slow.Wait())
	require.NoError(t, other.Wait())
	wholeModel(t, path)

	for round := range 4 {
		mustWrite(t, path, crashModel(1), WriteOptions{Data: DataExternal})
		var children []*exec.Cmd
		for k := range 3 {
			children = append(children, child(k+1, ""))
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

// raceChild writes a model, once with a pause between the data and the model if there is a folder to tell of it in, or else many times.
func raceChild(t *testing.T, path string, model int, pause string) {
	if pause == "" {
		for range 15 {
			mustWrite(t, path, crashModel(model), WriteOptions{Data: DataExternal})
		}
		return
	}
	mustWrite(t, path, crashModel(model), WriteOptions{Data: DataExternal, Stop: func() error {
		if begun, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".m.onnx.*.tmp")); len(begun) == 0 {
			return nil
		}
		if os.WriteFile(filepath.Join(pause, "paused"), nil, 0o666) != nil {
			return errors.New("the parent is gone")
		}
		for {
			if _, err := os.Stat(filepath.Join(pause, "resume")); err == nil {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
	}})
}
