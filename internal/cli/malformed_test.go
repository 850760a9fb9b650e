//go:build unix

package cli

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMalformed gives the command the malformed files of ../shared: what is to be rejected is, in one line, what is to be accepted is accepted, each
// within two seconds, and nothing is written of what is rejected. ../shared/accept/check.py does it with processes, and looks at their memory.
func TestMalformed(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: hundreds of files, three times")
	}
	folder := filepath.Join("..", "..", "..", "shared", "conformance")
	table, err := os.ReadFile(filepath.Join(folder, "MALFORMED.tsv"))
	if err != nil {
		t.Skip("left out: the malformed files of ../shared/conformance are not here; they come with the shared material")
	}
	dir := unpack(t, filepath.Join(folder, "malformed.tar.gz"))
	n := 0
	for i, line := range strings.Split(strings.TrimSpace(string(table)), "\n") {
		row := strings.Split(line, "\t")
		path := filepath.Join(dir, "malformed", row[0])
		if _, err := os.Lstat(path); i == 0 || err != nil {
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
			case row[2] == "reject":
				assert.Equal(t, exitFailed, code, "%s: accepted", args)
				assert.Equal(t, 1, strings.Count(text, "\n"), "%s: %s", args, text)
				assert.Contains(t, text, path)
				assert.NoFileExists(t, out)
			case strings.HasPrefix(row[2], "accept"):
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

// unpack unpacks an archive with its links and FIFOs.
func unpack(t *testing.T, archive string) string {
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	dir := t.TempDir()
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		require.NoError(t, err)
		p := filepath.Join(dir, filepath.FromSlash(h.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o777))
		switch h.Typeflag {
		case tar.TypeReg:
			b, err := io.ReadAll(a)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(p, b, 0o666))
		case tar.TypeSymlink:
			require.NoError(t, os.Symlink(h.Linkname, p))
		case tar.TypeLink:
			require.NoError(t, os.Link(filepath.Join(dir, h.Linkname), p))
		case tar.TypeFifo:
			require.NoError(t, syscall.Mkfifo(p, 0o666))
		}
	}
}
