// Package conformance gives tests the suites of conformance files: ONNX's own tests and others, which are archives below
// testdata/conformance, and the material that is shared beside the repository, where it is.
package conformance

import (
	"archive/tar"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The numbers of ONNX's tests, so that none is lost unseen.
const (
	NodeTests  = 1884
	ModelTests = 152
)

// root is the root of the module that holds the test.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		require.NotEqual(t, dir, parent, "no go.mod above the test")
		dir = parent
	}
}

// Archive is the path of an archive of testdata/conformance: "onnx-node-tests" or "onnx-model-tests", for two.
func Archive(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(root(t), "testdata", "conformance", name+".tar.gz")
}

// Shared is a path below the material that is shared beside the repository; the test is skipped where it is not there.
func Shared(t testing.TB, name string) string {
	t.Helper()
	p := filepath.Join(root(t), "..", "shared", filepath.FromSlash(name))
	if _, err := os.Stat(p); err != nil {
		t.Skipf("left out: ../shared/%s is not here; it comes with the shared material", name)
	}
	return p
}

// entries yields what an archive (.tar.gz) holds. The reader gives the contents of the entry at hand.
func entries(t testing.TB, archive string) iter.Seq2[*tar.Header, io.Reader] {
	return func(yield func(*tar.Header, io.Reader) bool) {
		t.Helper()
		f, err := os.Open(archive)
		require.NoError(t, err)
		defer f.Close()
		z, err := gzip.NewReader(f)
		require.NoError(t, err)
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			require.NoError(t, err)
			if !yield(h, r) {
				return
			}
		}
	}
}

// Files yields the regular files of an archive, by cleaned path, in their order.
func Files(t testing.TB, archive string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		t.Helper()
		for h, r := range entries(t, archive) {
			if h.Typeflag != tar.TypeReg {
				continue
			}
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			if !yield(path.Clean(h.Name), b) {
				return
			}
		}
	}
}

// Test is one of ONNX's tests: the files of its folder by path within it, "model.onnx" and "test_data_set_0/input_0.pb".
type Test map[string][]byte

// Tests yields the tests of an archive by the path of their folder, "node/test_abs", in the archive's order. One is in memory at a time.
func Tests(t testing.TB, archive string) iter.Seq2[string, Test] {
	return func(yield func(string, Test) bool) {
		t.Helper()
		last, test := "", Test{}
		for name, b := range Files(t, archive) {
			parts := strings.SplitN(name, "/", 3)
			if len(parts) < 3 {
				continue
			}
			if folder := parts[0] + "/" + parts[1]; folder != last {
				if last != "" && !yield(last, test) {
					return
				}
				last, test = folder, Test{}
			}
			test[parts[2]] = b
		}
		if last != "" {
			yield(last, test)
		}
	}
}

// Models yields the models of an archive's tests by the name of their folder, "test_abs".
func Models(t testing.TB, archive string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		t.Helper()
		for h, r := range entries(t, archive) {
			if path.Base(h.Name) != "model.onnx" {
				continue
			}
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			if !yield(path.Base(path.Dir(h.Name)), b) {
				return
			}
		}
	}
}

// Unpack unpacks an archive, with its links and FIFOs, into a folder that the test removes.
func Unpack(t testing.TB, archive string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for h, r := range entries(t, archive) {
		p := filepath.Join(dir, filepath.FromSlash(h.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o777))
		switch h.Typeflag {
		case tar.TypeReg:
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(p, b, 0o666))
		case tar.TypeSymlink:
			require.NoError(t, os.Symlink(h.Linkname, p))
		case tar.TypeLink:
			require.NoError(t, os.Link(filepath.Join(dir, h.Linkname), p))
		case tar.TypeFifo:
			require.NoError(t, mkfifo(p))
		}
	}
	return dir
}

// MalformedArchive is the archive of malformed files; the test is skipped where it is not there.
func MalformedArchive(t testing.TB) string {
	t.Helper()
	return Shared(t, "conformance/malformed.tar.gz")
}

// Verdict is what is expected of a malformed file.
type Verdict struct {
	Expected string // "reject", or begins with "accept"
	Why      string
}

// Verdicts is the table of malformed files by their path in MalformedArchive; the test is skipped where it is not there.
func Verdicts(t testing.TB) map[string]Verdict {
	t.Helper()
	f, err := os.Open(Shared(t, "conformance/MALFORMED.tsv"))
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	v := map[string]Verdict{}
	for _, row := range rows[1:] {
		v["malformed/"+row[0]] = Verdict{row[2], row[3]}
	}
	return v
}
