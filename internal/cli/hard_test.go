//go:build unix

package cli

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes/all"
)

// command is this binary under the name by which it is the command, and a folder with the digits model.
func command(t *testing.T) (bin, dir string) {
	dir = t.TempDir()
	bin = filepath.Join(dir, "bin", "onnxopt")
	require.NoError(t, os.MkdirAll(filepath.Dir(bin), 0o755))
	own, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(own)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(bin, b, 0o755))
	digits, err := os.ReadFile("../../testdata/digits/digits.onnx")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "digits.onnx"), digits, 0o644))
	return bin, dir
}

// listing is the names in a folder.
func listing(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// whole checks that a model is there with its data.
func whole(t *testing.T, path string) *ir.Model {
	f, err := onnxio.Open(path, onnxio.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	for _, v := range f.Model.Main.Consts() {
		_, err := v.Const().Bytes()
		require.NoError(t, err)
	}
	return f.Model
}

// TestFullDisk: where no more can be written the old model stays, with its data, and nothing else.
func TestFullDisk(t *testing.T) {
	bin, dir := command(t)
	out := filepath.Join(dir, "out")
	require.NoError(t, os.Mkdir(out, 0o755))
	path := filepath.Join(out, "m.onnx")
	run := func(limit string, args ...string) ([]byte, error) {
		script := limit + `exec "$0" "$@"`
		return exec.Command("sh", append([]string{"-c", script, bin, "-q", filepath.Join(dir, "digits.onnx"), "-o", path}, args...)...).CombinedOutput()
	}
	msg, err := run("", "--external-data", "all", "--external-threshold", "1")
	require.NoError(t, err, string(msg))
	before := listing(t, out)
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, args := range [][]string{{"-O1"}, {"-O1", "--external-data", "all"}, {"-O1", "--format", "text"}} {
		msg, err = run("ulimit -f 4; ", args...)
		require.Error(t, err, args)
		require.Equal(t, 1, bytes.Count(msg, []byte("\n")), string(msg))
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, old, now)
		require.Equal(t, before, listing(t, out), args)
	}
	whole(t, path)
}

// TestReadOnlyFolder: one line, exit 1, nothing changed.
func TestReadOnlyFolder(t *testing.T) {
	bin, dir := command(t)
	out := filepath.Join(dir, "out")
	require.NoError(t, os.Mkdir(out, 0o555))
	for p := dir; p != filepath.Dir(p) && strings.HasPrefix(p, os.TempDir()) && p != os.TempDir(); p = filepath.Dir(p) {
		require.NoError(t, os.Chmod(p, 0o755))
	}
	c := exec.Command(bin, "-q", filepath.Join(dir, "digits.onnx"), "-o", filepath.Join(out, "m.onnx"))
	c.Dir = out
	if os.Getuid() == 0 { // who may write anywhere
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	msg, err := c.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v: %s", err, msg)
	require.Equal(t, 1, exit.ExitCode(), string(msg))
	require.Equal(t, 1, bytes.Count(msg, []byte("\n")), string(msg))
	require.Contains(t, string(msg), "permission denied")
	require.Empty(t, listing(t, out))
}

// TestKilled: the command is killed at any moment while it replaces a model; what is there is whole.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: processes are killed")
	}
	bin, dir := command(t)
	path := filepath.Join(dir, "m.onnx")
	args := func(level string) []string {
		return []string{"-q", level, filepath.Join(dir, "digits.onnx"), "-o", path, "--external-data", "all", "--external-threshold", "1", "--verify", "off"}
	}
	var counts []int
	for _, level := range []string{"-O1", "-O2", "-O0"} {
		out, err := exec.Command(bin, args(level)...).CombinedOutput()
		require.NoError(t, err, string(out))
		counts = append(counts, whole(t, path).Main.NumNodes())
	}
	for i := range 40 {
		c := exec.Command(bin, args([]string{"-O1", "-O2", "-O0"}[i%3])...)
		require.NoError(t, c.Start())
		time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
		require.Contains(t, counts, whole(t, path).Main.NumNodes())
	}
}

// TestTwoProcesses: two commands with one output leave the result of one of them.
func TestTwoProcesses(t *testing.T) {
	bin, dir := command(t)
	path := filepath.Join(dir, "m.onnx")
	for range 5 {
		var cs []*exec.Cmd
		for _, level := range []string{"-O2", "-O0", "-O2"} {
			c := exec.Command(bin, "-q", level, filepath.Join(dir, "digits.onnx"), "-o", path, "--external-data", "all", "--external-threshold", "1")
			require.NoError(t, c.Start())
			cs = append(cs, c)
		}
		for _, c := range cs {
			require.NoError(t, c.Wait())
		}
		whole(t, path)
	}
}

// TestManyOptimizations: ten thousand in one process leave no memory and no goroutine behind.
func TestManyOptimizations(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: ten thousand optimizations")
	}
	src := []byte(`<ir_version: 8, opset_import: ["" : 17]>
g (float[N,4] x) => (float[N,4] y) <float[4] w = {1, 2, 3, 4}, float[4] v = {1, 2, 3, 4}>
{ i = Identity (x) a = Add (i, w) b = Add (i, v) c = Mul (a, b) d = Transpose <perm = [1, 0]> (c) e = Transpose <perm = [1, 0]> (d) y = Relu (e) }`)
	registry, err := all.Registry()
	require.NoError(t, err)
	once := func() {
		m, err := text.Parse(src)
		require.NoError(t, err)
		p, err := registry.Parse("O2")
		require.NoError(t, err)
		res, err := optimize.Run(context.Background(), optimize.Request{Model: m, Pipeline: p, Verify: optimize.Auto, Threads: 2})
		require.NoError(t, err)
		require.Equal(t, optimize.State("verified"), res.Verification.State)
	}
	memory := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	for range 500 {
		once()
	}
	heap, routines := memory(), runtime.NumGoroutine()
	for range 9500 {
		once()
	}
	require.Less(t, memory(), heap+1<<20, "bytes of the heap")
	require.LessOrEqual(t, runtime.NumGoroutine(), routines)
}

// TestCancellation: a run that is cancelled at any moment ends soon.
func TestCancellation(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: it measures time")
	}
	var b strings.Builder
	b.WriteString("<ir_version: 8, opset_import: [\"\" : 17]>\ng (float[N,16] x0) => (float[N,16] y) <float[16] w = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}> {\n")
	const nodes = 4000
	for i := range nodes {
		b.WriteString(strings.NewReplacer("$", itoa(i), "%", itoa(i+1)).Replace("a$ = Add (x$, w)\nb$ = Transpose <perm = [1,0]> (a$)\nc$ = Transpose <perm = [1,0]> (b$)\nx% = Relu (c$)\n"))
	}
	b.WriteString("y = Neg (x" + itoa(nodes) + ")\n}\n")
	m, err := text.Parse([]byte(b.String()))
	require.NoError(t, err)
	registry, err := all.Registry()
	require.NoError(t, err)
	p, err := registry.Parse("O2")
	require.NoError(t, err)
	run := func(ctx context.Context) error {
		_, err := optimize.Run(ctx, optimize.Request{Model: m.Clone(), Pipeline: p, Verify: optimize.Auto, Threads: 1})
		return err
	}
	begun := time.Now()
	require.NoError(t, run(context.Background()))
	whole := time.Since(begun)
	for i := range 12 {
		after := whole * time.Duration(i+1) / 13
		best := time.Hour
		for range 3 { // others use the machine, too
			ctx, cancel := context.WithCancel(context.Background())
			var at time.Time
			timer := time.AfterFunc(after, func() { at = time.Now(); cancel() })
			err := run(ctx)
			took := time.Since(at)
			if timer.Stop() || err == nil {
				best = 0 // it was done before
				continue
			}
			require.ErrorIs(t, err, context.Canceled)
			best = min(best, took)
		}
		require.Less(t, best, 100*time.Millisecond, "cancelled after %s of %s", after, whole)
	}
}

func itoa(i int) string { return strconv.Itoa(i) }
