package text_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// readArchive reads text-syntax.tar.gz: models with the text that ONNX's own printer makes of them (NAME.onnx, NAME.onnxtxt), and
// where its parser reads that text as another model, that model (NAME.reparsed.onnx).
func readArchive(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for name, b := range conformance.Files(t, conformance.Archive(t, "text-syntax")) {
		files[strings.TrimPrefix(name, "text/")] = b
	}
	return files
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

func printed(t testing.TB, m *ir.Model) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, text.Print(&b, m, text.Options{}))
	return b.String()
}

// beyond lists texts that ONNX's parser rejects or takes only in part, and that we read as the model they were printed from.
var beyond = map[string]string{
	"attr_tensors":              "the items of a list of constants are dropped",
	"attr_graphs":               "the items of a list of graphs are dropped",
	"attr_type_protos":          "the items of a list of types are dropped",
	"attr_graph_nested_init":    "the quoted name of a graph is taken for a string",
	"attr_tensor_name_nonident": "the quoted name of a constant is not expected",
	"attr_tensor_external":      "external data is not expected behind a type",
	"elem_type_undefined":       "the printer's word undefined is not a type",
}

// rejected lists texts that both parsers reject, and the beginning of our message.
var rejected = map[string]string{
	"attr_string_nul": `NUL in a string: write b"\x00"`,
}

// untyped lists probes that are no models as files, because an input has no type. As text they are.
var untyped = []string{"input_no_type", "elem_type_undefined"}

// TestOfficialTexts parses what ONNX's printer wrote and compares with what ONNX's parser made of it.
func TestOfficialTexts(t *testing.T) {
	files := readArchive(t)
	verdict := verdicts(files)
	pairs, probes := 0, 0
	for file, src := range files {
		path, ok := strings.CutSuffix(file, ".onnxtxt")
		if !ok {
			continue
		}
		name, isProbe := strings.CutPrefix(path, "probe/")
		if isProbe {
			probes++
		} else {
			pairs++
		}
		t.Run(path, func(t *testing.T) {
			want := files[path+".reparsed.onnx"]
			if want == nil || beyond[name] != "" {
				want = files[path+".onnx"]
			}
			m, err := text.ParseWith(src, text.ReadOptions{External: weights})
			if verdict[path] == "parse_error" && beyond[name] == "" {
				require.ErrorContains(t, err, rejected[name])
				return
			}
			require.NoError(t, err)
			require.True(t, text.Looks(src))
			if slices.Contains(untyped, name) {
				require.NoError(t, ir.Verify(m))
				require.Equal(t, ir.Undefined, m.Main.Inputs()[0].Type().DType())
				fixpoint(t, m)
				return
			}
			if name == "no_ir_version" { // A model file has to have one; field 1 is added to both.
				require.Zero(t, m.IRVersion)
				want, m.IRVersion = append(want, 0x08, 10), 10
			}
			official := read(t, want)
			require.Equal(t, ir.Verify(official), ir.Verify(m))
			require.Empty(t, difference(official, m))
		})
	}
	require.Equal(t, 65, pairs)
	require.Equal(t, 169, probes, "of 171: two hold bytes that ONNX's printer cannot print")
}

// dataFile is the file that the probes with external data name: float32 1 to 4 stand at their offset.
func dataFile() []byte {
	b := make([]byte, 4096+16)
	copy(b[4096:], ir.AsBytes([]float32{1, 2, 3, 4}))
	return b
}

// weights finds the elements of external constants in dataFile.
func weights(d ir.DType, shape []int64, props []ir.Prop) (ir.Payload, error) {
	want := []ir.Prop{{Key: "location", Value: "weights.bin"}, {Key: "offset", Value: "4096"}, {Key: "length", Value: "16"}, {Key: "checksum", Value: "abc"}}
	if !slices.Equal(props, want) {
		return nil, fmt.Errorf("external data is at %v", props)
	}
	return payload(dataFile()[4096:]), nil
}

type payload []byte

func (p payload) Bytes() ([]byte, error)     { return p, nil }
func (p payload) Strings() ([]string, error) { return nil, errors.New("numbers") }

// read reads a model file.
func read(t *testing.T, b []byte) *ir.Model {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "weights.bin"), dataFile(), 0o600))
	f, err := onnxio.Read(b, onnxio.Options{DataDir: dir})
	require.NoError(t, err)
	return f.Model
}

// TestRoundTrip prints every model of the archive and parses the text: nothing is lost, whatever ONNX's printer would lose.
func TestRoundTrip(t *testing.T) {
	for name, b := range readArchive(t) {
		base := strings.TrimSuffix(filepath.Base(name), ".onnx")
		switch {
		case !strings.HasSuffix(name, ".onnx") || slices.Contains(untyped, base):
		case name == "probe/init_segment.onnx":
			t.Run(name, func(t *testing.T) { // the elements are elsewhere, and the format does not say where
				require.ErrorContains(t, text.Print(io.Discard, read(t, b), text.Options{}), "segment")
			})
		default:
			if name == "probe/no_ir_version.onnx" {
				b = append(b, 0x08, 10)
			}
			t.Run(name, func(t *testing.T) { roundTrip(t, b) })
		}
	}
}

func roundTrip(t *testing.T, b []byte) {
	original := read(t, b)
	require.False(t, text.Looks(b))
	m := fixpoint(t, original)
	require.Equal(t, ir.Verify(original), ir.Verify(m))
	require.Empty(t, difference(original, m))
}

// fixpoint prints m, parses the text, expects the result to print the same, and returns it.
func fixpoint(t *testing.T, m *ir.Model) *ir.Model {
	t.Helper()
	s := printed(t, m)
	require.True(t, text.Looks([]byte(s)))
	again, err := text.Parse([]byte(s))
	require.NoError(t, err, "%.2000s", s)
	require.Equal(t, s, printed(t, again))
	return again
}

// TestThroughProtobuf takes every model from protobuf to text, from text to protobuf and back to text: what either notation
// knows, the other one keeps.
func TestThroughProtobuf(t *testing.T) {
	files := readArchive(t)
	everything, err := os.ReadFile("../testdata/everything.onnx")
	require.NoError(t, err)
	files["everything.onnx"] = everything
	for name, b := range files {
		base := strings.TrimSuffix(filepath.Base(name), ".onnx")
		if !strings.HasSuffix(name, ".onnx") || slices.Contains(untyped, base) || base == "init_segment" {
			continue
		}
		if base == "no_ir_version" {
			b = append(b, 0x08, 10)
		}
		t.Run(name, func(t *testing.T) {
			original := read(t, b)
			s := printed(t, original)
			m, err := text.ParseWith([]byte(s), text.ReadOptions{External: weights})
			require.NoError(t, err)
			require.Empty(t, difference(original, m))
			var out bytes.Buffer
			_, err = onnxio.Write(&out, m, onnxio.WriteOptions{})
			require.NoError(t, err)
			again := read(t, out.Bytes())
			if strings.HasPrefix(base, "init_") { // some have element types that are newer than their IR version
				require.GreaterOrEqual(t, again.IRVersion, m.IRVersion)
				again.IRVersion = m.IRVersion
			}
			require.Empty(t, difference(m, again))
			require.Equal(t, inline(t, m), inline(t, again))
		})
	}
}

// inline is the text of m without references to data files.
func inline(t *testing.T, m *ir.Model) string {
	var b strings.Builder
	require.NoError(t, text.Print(&b, m, text.Options{Inline: true}))
	return b.String()
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
		t.Skip("left out: ../shared/models is not here, no real model was printed and parsed")
	}
	for _, p := range paths {
		t.Run(filepath.Base(p), func(t *testing.T) {
			st, err := os.Stat(p)
			require.NoError(t, err)
			if testing.Short() && st.Size() > 1<<20 {
				t.Skip("left out: too large as text for -short")
			}
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			roundTrip(t, b)
		})
	}
}
