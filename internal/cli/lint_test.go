package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/onnxio"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	targetlist "github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/lint"
)

// TestLintMalformed gives lint the malformed files of ../shared: what is to be rejected is, what is to be accepted is linted, for every
// target, behind its pipeline and as it is, without a crash.
func TestLintMalformed(t *testing.T) {
	folder := filepath.Join("..", "..", "..", "shared", "conformance")
	f, err := os.Open(filepath.Join(folder, "MALFORMED.tsv"))
	if err != nil {
		t.Skip("left out: the malformed files of ../shared/conformance are not here; they come with the shared material")
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	expected := map[string]string{}
	for _, row := range rows[1:] {
		expected["malformed/"+row[0]] = row[2]
	}
	reg, err := passlist.Registry()
	require.NoError(t, err)
	archive, err := os.Open(filepath.Join(folder, "malformed.tar.gz"))
	require.NoError(t, err)
	defer archive.Close()
	z, err := gzip.NewReader(archive)
	require.NoError(t, err)
	dir, n := t.TempDir(), 0
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		want := expected[h.Name]
		if !strings.HasSuffix(h.Name, ".onnx") || strings.Contains(h.Name, "/external/") || want == "" {
			continue
		}
		b, err := io.ReadAll(a)
		require.NoError(t, err)
		n++
		for _, target := range targetlist.Targets() {
			for _, asIs := range []bool{false, true} {
				pipeline := target.Pipeline
				if asIs {
					pipeline = ""
				}
				p, err := reg.Parse(pipeline)
				require.NoError(t, err)
				err = func() error {
					m, err := onnxio.Read(b, onnxio.Options{DataDir: dir})
					if err != nil {
						return err
					}
					l := linted{target: target}
					return l.look(context.Background(), m.Model, p, lint.Options{Target: target.Name, AsIs: asIs})
				}()
				if want == "reject" {
					assert.Error(t, err, "%s for %s is accepted", h.Name, target.Name)
				} else if strings.HasPrefix(want, "accept") {
					assert.NoError(t, err, "%s for %s", h.Name, target.Name)
				}
			}
		}
	}
	require.Greater(t, n, 150)
}
