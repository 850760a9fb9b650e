package ops_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/stretchr/testify/require"
)

// shared is a path below the material that is shared beside the repository; the test is skipped where it is not there.
func shared(t testing.TB, name string) string {
	p := filepath.Join("..", "..", "shared", name)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("left out: %s is not here", p)
	}
	return p
}

// untar calls f for the regular files of a .tar.gz whose name ends in suffix.
func untar(t testing.TB, path, suffix string, f func(name string, b []byte)) {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	z, err := gzip.NewReader(file)
	require.NoError(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		if h.Typeflag == tar.TypeReg && strings.HasSuffix(h.Name, suffix) {
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			f(h.Name, b)
		}
	}
}

func TestModelsVerify(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t, "models"), "*.onnx"))
	require.NoError(t, err)
	require.Len(t, files, 22)
	for _, p := range files {
		f, err := onnxio.Open(p, onnxio.Options{})
		require.NoError(t, err)
		if err := ops.Verify(f.Model); err != nil {
			t.Errorf("%s: %v", filepath.Base(p), err)
		}
		require.NoError(t, f.Close())
	}
}

func TestConformanceTestsVerify(t *testing.T) {
	for archive, want := range map[string]int{"onnx-node-tests.tar.gz": 1884, "onnx-model-tests.tar.gz": 152} {
		n := 0
		untar(t, filepath.Join("..", "testdata", "conformance", archive), ".onnx", func(name string, b []byte) {
			f, err := onnxio.Read(b, onnxio.Options{})
			require.NoError(t, err, name)
			if err := ops.Verify(f.Model); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			n++
		})
		require.Equal(t, want, n, archive)
	}
}

// TestMalformed holds the reader, ir.Verify and ops.Verify together to the verdicts on malformed files.
func TestMalformed(t *testing.T) {
	f, err := os.Open(shared(t, "conformance/MALFORMED.tsv"))
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	expected, why := map[string]string{}, map[string]string{}
	for _, row := range rows[1:] {
		expected["malformed/"+row[0]], why["malformed/"+row[0]] = row[2], row[3]
	}
	dir := t.TempDir() // holds no external data; those cases are the reader's
	n := 0
	untar(t, shared(t, "conformance/malformed.tar.gz"), ".onnx", func(name string, b []byte) {
		if strings.Contains(name, "/external/") {
			return
		}
		n++
		err := func() error {
			f, err := onnxio.Read(b, onnxio.Options{DataDir: dir})
			if err != nil {
				return err
			}
			if err := ir.Verify(f.Model); err != nil {
				return err
			}
			return ops.Verify(f.Model)
		}()
		switch {
		case expected[name] == "reject" && err == nil:
			t.Errorf("%s (%s) is accepted", name, why[name])
		case strings.HasPrefix(expected[name], "accept") && err != nil:
			t.Errorf("%s (%s) is rejected: %v", name, why[name], err)
		}
	})
	require.Greater(t, n, 150)
}
