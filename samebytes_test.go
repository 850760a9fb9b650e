package onnxopt_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSameBytes holds the command to its promise that the same input gives the same bytes: on another run, with another number
// of threads, on a processor without vector extensions, and on arm64 where qemu-user can run it.
func TestSameBytes(t *testing.T) {
	bin := build(t)
	models := []string{"testdata/digits/digits.onnx"}
	if !testing.Short() {
		shared, _ := filepath.Glob("../shared/models/*.onnx")
		if len(shared) == 0 {
			t.Log("left out: the models of ../shared are not there")
		}
		models = append(models, shared...)
	}
	ways := []struct {
		name string
		cmd  []string
		env  string
	}{
		{"again", []string{bin, "--threads=1"}, ""},
		{"without vector extensions", []string{bin, "--threads=2"}, "GODEBUG=cpu.all=off"},
	}
	if arm := foreign(t); arm != nil {
		ways = append(ways, struct {
			name string
			cmd  []string
			env  string
		}{"arm64", arm, ""})
	}
	out := t.TempDir()
	for _, m := range models {
		first := optimized(t, []string{bin}, "", m, out)
		for _, w := range ways {
			require.Equal(t, first, optimized(t, w.cmd, w.env, m, out), "%s %s", m, w.name)
		}
	}
}

// optimized is the file that the command makes of a model.
func optimized(t *testing.T, cmd []string, env, model, dir string) []byte {
	to := filepath.Join(dir, "out.onnx")
	c := exec.Command(cmd[0], append(cmd[1:], "--verify=off", "-q", model, "-o", to)...)
	c.Env = append(os.Environ(), env)
	text, err := c.CombinedOutput()
	require.NoError(t, err, "%s: %s", model, text)
	b, err := os.ReadFile(to)
	require.NoError(t, err)
	return b
}

// foreign is the command line of an arm64 build, nil where it cannot be run.
func foreign(t *testing.T) []string {
	if runtime.GOOS != "linux" || runtime.GOARCH == "arm64" {
		return nil
	}
	for _, name := range []string{"qemu-aarch64-static", "qemu-aarch64"} {
		if qemu, err := exec.LookPath(name); err == nil {
			bin := filepath.Join(t.TempDir(), "onnxopt-arm64")
			// Static, because the emulator has no loader of that platform.
			c := exec.Command("go", "build", "-tags", "static", "-o", bin, "./cmd/onnxopt")
			c.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
			text, err := c.CombinedOutput()
			require.NoError(t, err, string(text))
			return []string{qemu, bin}
		}
	}
	t.Log("left out: arm64, because there is no qemu-aarch64 (Debian: qemu-user-static)")
	return nil
}
