package passtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFromAnotherModule runs a pass with its fixtures, and passes that are broken, as tests of a module outside this one.
func TestFromAnotherModule(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: it compiles a module")
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/outside")))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o666))
	mod := "module example.com/outside\n\ngo 1.26.0\n\nrequire github.com/onnxopt/onnxopt v0.0.0\n\nreplace github.com/onnxopt/onnxopt => " + root + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o666))

	gotest := func(args ...string) (string, error) {
		cmd := exec.Command("go", append([]string{"test", "-mod=mod"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := gotest(".")
	require.NoError(t, err, out)

	out, err = gotest("-v", "./broken")
	require.Error(t, err)
	for test, want := range map[string]string{
		"TestWrongNumbers":       `mismatch: output "z"`,
		"TestMinusZero":          `with special values: mismatch: output "z"`,
		"TestNotIdempotent":      "a second run applies map[p:1]",
		"TestEditOutsideRewrite": "edited outside Context.Rewrite",
		"TestDependsOnOrder":     "shuffled with seed",
		"TestInvalidModel":       "Relu",
	} {
		report := section(out, test)
		assert.Contains(t, report, "--- FAIL: "+test)
		assert.Contains(t, report, want, test)
		if test != "TestInvalidModel" {
			assert.Contains(t, report, "no fixture that is a near miss of rule p", test)
		}
	}
}

// section is what the verbose output says of one test.
func section(out, test string) string {
	_, s, _ := strings.Cut(out, "=== RUN   "+test+"\n")
	s, _, _ = strings.Cut(s, "\n=== RUN   Test"+"\x00")
	if i := nextTest(s); i >= 0 {
		s = s[:i]
	}
	return s
}

// nextTest is where the next test at the top level begins.
func nextTest(s string) int {
	at := 0
	for line := range strings.Lines(s) {
		if name, ok := strings.CutPrefix(line, "=== RUN   "); ok && !strings.Contains(name, "/") {
			return at
		}
		at += len(line)
	}
	return -1
}
