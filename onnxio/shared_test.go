package onnxio

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
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

// untar calls f for the regular files of a .tar.gz.
func untar(t testing.TB, path string, f func(name string, b []byte)) {
	eachEntry(t, path, func(h *tar.Header, r io.Reader) {
		if h.Typeflag == tar.TypeReg {
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			f(h.Name, b)
		}
	})
}

func eachEntry(t testing.TB, path string, f func(h *tar.Header, r io.Reader)) {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	z, err := gzip.NewReader(file)
	require.NoError(t, err)
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		f(h, r)
	}
}

// eachModel calls f for the models of the conformance archives and, where they are, for the real ones of the shared material.
func eachModel(t testing.TB, f func(name string, b []byte)) {
	for archive, want := range map[string]int{"onnx-node-tests": 1884, "onnx-model-tests": 152} {
		n := 0
		untar(t, conformance(archive+".tar.gz"), func(name string, b []byte) {
			if strings.HasSuffix(name, ".onnx") {
				n++
				f(name, b)
			}
		})
		require.Equal(t, want, n, archive)
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "shared", "models", "*.onnx"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Log("the real models are not here")
	}
	for _, p := range files {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		f(filepath.Base(p), b)
	}
}

// conformance is a path below the archives of ONNX's own tests.
func conformance(name string) string { return filepath.Join("..", "testdata", "conformance", name) }

// verdicts is the table of malformed files: file to what is expected of it.
func verdicts(t testing.TB) map[string]string {
	f, err := os.Open(shared(t, "conformance/MALFORMED.tsv"))
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma = '\t'
	r.LazyQuotes = true
	rows, err := r.ReadAll()
	require.NoError(t, err)
	v := map[string]string{}
	for _, row := range rows[1:] {
		v[row[0]] = row[2]
	}
	return v
}

func mustRead(t testing.TB, b []byte, o Options) *File {
	t.Helper()
	f, err := Read(b, o)
	require.NoError(t, err)
	require.NoError(t, ir.Verify(f.Model))
	return f
}

// bytesOf writes m with every element where it is.
func bytesOf(t testing.TB, m *ir.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := Write(&b, m, WriteOptions{Data: DataKeep})
	require.NoError(t, err)
	return b.Bytes()
}

func everything(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/everything.onnx")
	require.NoError(t, err)
	return b
}
