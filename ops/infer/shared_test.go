package infer_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/stretchr/testify/require"
)

// shared is a path below the material that is shared beside the repository; the test is skipped where it is not there.
func shared(t testing.TB, name string) string {
	p := filepath.Join("..", "..", "..", "shared", name)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("left out: %s is not here", p)
	}
	return p
}

// readJSON decodes a .json.gz file.
func readJSON(t testing.TB, path string, v any) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(z).Decode(v))
}

// nodeTests calls f for each node test: its name and its files by name within its folder.
func nodeTests(t testing.TB, f func(name string, files map[string][]byte)) {
	require.Equal(t, 1884, eachTest(t, "onnx-node-tests.tar.gz", f), "node tests")
}

// modelTests is nodeTests for the model tests.
func modelTests(t testing.TB, f func(name string, files map[string][]byte)) {
	require.Equal(t, 152, eachTest(t, "onnx-model-tests.tar.gz", f), "model tests")
}

func eachTest(t testing.TB, archive string, f func(name string, files map[string][]byte)) (n int) {
	file, err := os.Open(filepath.Join("..", "..", "testdata", "conformance", archive))
	require.NoError(t, err)
	defer file.Close()
	z, err := gzip.NewReader(file)
	require.NoError(t, err)
	last, files := "", map[string][]byte{}
	flush := func() {
		if last != "" {
			n++
			f(last, files)
		}
		files = map[string][]byte{}
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		parts := strings.SplitN(strings.TrimPrefix(h.Name, "./"), "/", 3)
		if h.Typeflag != tar.TypeReg || len(parts) != 3 {
			continue
		}
		if name := parts[0] + "/" + parts[1]; name != last {
			flush()
			last = name
		}
		files[parts[2]], err = io.ReadAll(r)
		require.NoError(t, err)
	}
	flush()
	return n
}

// sharedModels calls f for the real models.
func sharedModels(t testing.TB, f func(name string, m *ir.Model)) {
	files, err := filepath.Glob(filepath.Join(shared(t, "models"), "*.onnx"))
	require.NoError(t, err)
	require.Len(t, files, 22)
	for _, p := range files {
		file, err := onnxio.Open(p, onnxio.Options{})
		require.NoError(t, err, p)
		f(filepath.Base(p), file.Model)
		require.NoError(t, file.Close())
	}
}

// read reads a model that must be well-formed.
func read(t testing.TB, name string, b []byte) *ir.Model {
	f, err := onnxio.Read(b, onnxio.Options{})
	require.NoError(t, err, name)
	return f.Model
}
