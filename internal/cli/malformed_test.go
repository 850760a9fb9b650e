//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
)

// TestMalformed gives the command the malformed files of ../shared: what is to be rejected is, in one line, what is to be accepted is accepted, each
// within two seconds, and nothing is written of what is rejected. ../shared/accept/check.py does it with processes, and looks at their memory.
func TestMalformed(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: hundreds of files, three times")
	}
	dir := conformance.Unpack(t, conformance.MalformedArchive(t))
	n := 0
	for name, v := range conformance.Verdicts(t) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		n++
		out := filepath.Join(dir, "out.onnx")
		for _, args := range [][]string{{"-q", "-O2", path, "-o", out}, {"inspect", path}, {"lint", "--target", "onnxruntime", path}} {
			begun := time.Now()
			code, text := in(t, args...)
			assert.Less(t, time.Since(begun), 2*time.Second, args)
			assert.NotEqual(t, exitInternal, code, "%s: %s", args, text)
			switch {
			case v.Expected == "reject":
				assert.Equal(t, exitFailed, code, "%s: accepted", args)
				assert.Equal(t, 1, strings.Count(text, "\n"), "%s: %s", args, text)
				assert.Contains(t, text, path)
				assert.NoFileExists(t, out)
			case strings.HasPrefix(v.Expected, "accept"):
				assert.Equal(t, exitOK, code, "%s: %s", args, text)
			}
			os.Remove(out)
		}
	}
	require.Greater(t, n, 200)
}

// in runs a command line in this process and returns what it says on standard error.
func in(t *testing.T, args ...string) (code int, text string) {
	var stderr bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: bufio.NewWriter(io.Discard), stderr: &stderr}
	code = e.run(context.Background(), args)
	return code, stderr.String()
}
