package text_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/stretchr/testify/require"
)

// archive is text-syntax.tar.gz: models with the text that ONNX's own printer makes of them (NAME.onnx, NAME.onnxtxt), and
// where its parser reads that text as another model, that model (NAME.reparsed.onnx).
func archive(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open("../../testdata/conformance/text-syntax.tar.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		files[strings.TrimPrefix(h.Name, "text/")] = b
	}
}

// verdicts is PROBE.tsv: what ONNX's own round trip makes of each probe.
func verdicts(files map[string][]byte) map[string]string {
	r := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(string(files["PROBE.tsv"])), "\n") {
		if cols := strings.Split(line, "\t"); i > 0 {
			r["probe/"+cols[0]] = cols[1]
		}
	}
	return r
}

func printed(t *testing.T, m *ir.Model) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, text.Print(&b, m, text.Options{}))
	return b.String()
}

// differs lists what ONNX's parser reads and we read otherwise, or do not read, with the reason.
var differs = map[string]string{}

// TestOfficialTexts parses what ONNX's printer wrote and compares with what ONNX's parser made of it.
func TestOfficialTexts(t *testing.T) {
	files := archive(t)
	verdict := verdicts(files)
	pairs, probes := 0, 0
	for name, src := range files {
		name, ok := strings.CutSuffix(name, ".onnxtxt")
		if !ok {
			continue
		}
		v := verdict[name]
		if strings.HasPrefix(name, "models/") {
			pairs++
		} else {
			probes++
		}
		t.Run(name, func(t *testing.T) {
			require.True(t, text.Looks(src) || v == "parse_error")
			m, err := text.Parse(src)
			switch v {
			case "parse_error", "print_error":
				t.Logf("%s %v %.100s", v, err, src)
				return
			}
			require.NoError(t, err)
			require.NoError(t, ir.Verify(m))
			want := files[name+".reparsed.onnx"]
			if want == nil {
				want = files[name+".onnx"]
			}
			f, err := onnxio.Read(want, onnxio.Options{})
			require.NoError(t, err)
			require.Empty(t, difference(m, f.Model))
		})
	}
	require.Equal(t, 65, pairs)
	require.Equal(t, 171, probes)
}

// TestRoundTrip prints every model of the archive and parses the text: nothing is lost, whatever ONNX's printer would lose.
func TestRoundTrip(t *testing.T) {
	for name, b := range archive(t) {
		if strings.HasSuffix(name, ".onnx") {
			t.Run(name, func(t *testing.T) { roundTrip(t, b) })
		}
	}
}

func roundTrip(t *testing.T, b []byte) {
	f, err := onnxio.Read(b, onnxio.Options{})
	if err != nil {
		t.Skipf("not read: %v", err)
	}
	s := printed(t, f.Model)
	require.True(t, text.Looks([]byte(s)))
	require.False(t, text.Looks(b))
	m, err := text.Parse([]byte(s))
	require.NoError(t, err, "%.2000s", s)
	require.NoError(t, ir.Verify(m))
	require.Empty(t, difference(f.Model, m))
	require.Equal(t, s, printed(t, m))
}

func TestRealModels(t *testing.T) {
	var paths []string
	_ = filepath.WalkDir("../../../shared/models", func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".onnx") {
			paths = append(paths, p)
		}
		return nil
	})
	if len(paths) == 0 {
		t.Skip("shared/models is not there: no real model was printed and parsed")
	}
	for _, p := range paths {
		t.Run(filepath.Base(p), func(t *testing.T) {
			st, err := os.Stat(p)
			require.NoError(t, err)
			if testing.Short() && st.Size() > 1<<20 {
				t.Skip("large")
			}
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			roundTrip(t, b)
		})
	}
}
