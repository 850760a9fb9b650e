package audit_test

import (
	"encoding/csv"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnxopt/onnxopt/audit"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

const small = `<ir_version: 8, opset_import: ["" : 17]>
g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { y = Add (x, w) }`

// binary is a model in protobuf.
func binary(t *testing.T, src string) []byte {
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	var b strings.Builder
	_, err = onnxio.Write(&b, m, onnxio.WriteOptions{})
	require.NoError(t, err)
	return []byte(b.String())
}

// found are the findings as "severity code".
func found(r *audit.Report) (s []string) {
	s = []string{}
	for _, f := range r.Findings {
		s = append(s, string(f.Severity)+" "+f.Code)
	}
	return s
}

func TestClean(t *testing.T) {
	require.Empty(t, audit.Bytes(binary(t, small), audit.Options{}).Findings)
}

// TestHidden: what readers pass over is found, whatever the message.
func TestHidden(t *testing.T) {
	b := binary(t, small)
	unknown := protowire.AppendTag(nil, 900, protowire.BytesType)
	unknown = protowire.AppendBytes(unknown, make([]byte, 5000))
	r := audit.Bytes(append(b[:len(b):len(b)], unknown...), audit.Options{})
	require.Equal(t, []string{"danger hidden-data"}, found(r))
	require.Contains(t, r.Findings[0].Text, "5004 bytes in field 900")

	again := protowire.AppendTag(nil, 7, protowire.BytesType) // a second graph with a node
	again = protowire.AppendBytes(again, protowire.AppendBytes(protowire.AppendTag(nil, 10, protowire.BytesType), []byte("doc")))
	require.Equal(t, []string{"danger merged-twice"}, found(audit.Bytes(append(b[:len(b):len(b)], again...), audit.Options{})))

	require.Contains(t, found(audit.Bytes(append(b[:len(b):len(b)], 0xff, 0xff, 0xff), audit.Options{})), "danger unreadable")
	require.Equal(t, []string{"danger unreadable"}, found(audit.Bytes(b[:len(b)/2], audit.Options{})))
}

func TestModel(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"custom": {`<ir_version: 8, opset_import: ["" : 17, "my.dom" : 1]> g (float[4] x) => (float[4] y) { y = my.dom.F (x) }`, []string{"danger custom-op"}},
		"runtime": {`<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[4] x) => (float[4] y) { y = com.microsoft.Gelu (x) }`,
			[]string{"note custom-op"}},
		"function": {`<ir_version: 8, opset_import: ["" : 17, "my.dom" : 1]> g (float[4] x) => (float[4] y) { y = my.dom.F (x) }
<domain: "my.dom", opset_import: ["" : 17]> F (a) => (b) { b = Neg (a) }`, []string{}},
		"bomb":  {`<ir_version: 8, opset_import: ["" : 17]> g (float x) => (float[N] y) <int64[1] n = {1099511627776}> { y = Expand (x, n) }`, []string{"danger bomb"}},
		"below": {`<ir_version: 8, opset_import: ["" : 17]> g (float x) => (float[N] y) <int64[1] n = {1000000}> { y = Expand (x, n) }`, []string{}},
		"loop that counts": {`<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) <int64 n = {10}, bool c = {1}> {
  y = Loop (n, c, x) <body: graph = b (int64 i, bool go, float[1] a) => (bool on, float[1] z) { on = Identity (go) z = Neg (a) }> }`, []string{}},
		"loop without end": {`<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) <bool c = {1}> {
  y = Loop (, c, x) <body: graph = b (int64 i, bool go, float[1] a) => (bool on, float[1] z) { on = Identity (go) z = Neg (a) }> }`, []string{"danger bomb"}},
		"invalid": {`<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y) { y = Relu (x, x) }`, []string{"danger invalid"}},
		"unused":  {`<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) <float[1] w = {1}> { y = Neg (x) }`, []string{"note unused-data"}},
	} {
		m, err := text.Parse([]byte(c.src))
		require.NoError(t, err, name)
		require.Equal(t, c.want, found(audit.Model(m, audit.Options{})), name)
	}
}

// TestExponential: 40 functions, each of which calls the next twice.
func TestExponential(t *testing.T) {
	src := "<ir_version: 8, opset_import: [\"\" : 17, \"d\" : 1]> g (float[4] x) => (float[4] y) { y = d.f0 (x) }\n"
	for i := range 40 {
		next := string(rune('0'+(i+1)%10)) + strings.Repeat("x", (i+1)/10)
		own := string(rune('0'+i%10)) + strings.Repeat("x", i/10)
		src += "<domain: \"d\", opset_import: [\"\" : 17, \"d\" : 1]> f" + own + " (a) => (c) { b = d.f" + next + " (a) c = d.f" + next + " (b) }\n"
	}
	src += "<domain: \"d\", opset_import: [\"\" : 17]> f0xxxx (a) => (b) { b = Neg (a) }\n"
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	require.Equal(t, []string{"danger bomb"}, found(audit.Model(m, audit.Options{})))
}

// TestWeights: the bits of NaN and infinities in each type.
func TestWeights(t *testing.T) {
	inf := float32(math.Inf(-1))
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		t    *ir.Tensor
		want []string
	}{
		"finite":   {ir.TensorOf([]float32{1, -2, math.MaxFloat32, -math.MaxFloat32}), []string{}},
		"nan":      {ir.TensorOf([]float32{1, nan, 0, 0}), []string{"danger nan-weights"}},
		"inf":      {ir.TensorOf([]float32{1, inf, 0, 0}), []string{"danger inf-weights"}},
		"mask":     {ir.TensorOf([]float32{0, inf, 0, inf}), []string{"note inf-weights"}},
		"double":   {ir.TensorOf([]float64{1, math.Inf(1), 0, math.NaN()}), []string{"danger nan-weights", "danger inf-weights"}},
		"half":     {ir.NewTensor(ir.Float16, []int64{4}, ir.AsBytes([]uint16{0x7bff, 0x7c00, 0x3c00, 0})), []string{"danger inf-weights"}},
		"half nan": {ir.NewTensor(ir.Float16, []int64{4}, ir.AsBytes([]uint16{0x7bff, 0xfe00, 0x3c00, 0})), []string{"danger nan-weights"}},
		"bfloat":   {ir.NewTensor(ir.BFloat16, []int64{4}, ir.AsBytes([]uint16{0x7f7f, 0x7f80, 0x3c00, 0})), []string{"danger inf-weights"}},
		"integers": {ir.TensorOf([]int32{1, 0x7f800000, 0x7fc00000, 0}), []string{}},
	} {
		m := ir.NewModel(8, 17)
		v := m.Main.NamedConst("w", c.t)
		m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Shape"), []*ir.Value{v}).Result(0), nil)
		require.Equal(t, c.want, found(audit.Model(m, audit.Options{})), name)
	}
	m := ir.NewModel(8, 17)
	v := m.Main.NamedConst("w", ir.TensorOf([]float32{nan}))
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Neg"), []*ir.Value{v}).Result(0), nil)
	require.Empty(t, audit.Model(m, audit.Options{Allow: []string{audit.NaN}}).Findings)
}

// external is a model with two weights of 16 bytes in data files.
func external(t *testing.T, dir string, places ...[3]string) string {
	entry := func(k, v string) (b []byte) {
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), []byte(k))
		return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), []byte(v))
	}
	var inits []byte
	for i, p := range places {
		var w []byte
		w = protowire.AppendVarint(protowire.AppendTag(w, 1, protowire.VarintType), 4)
		w = protowire.AppendVarint(protowire.AppendTag(w, 2, protowire.VarintType), 1)
		w = protowire.AppendBytes(protowire.AppendTag(w, 8, protowire.BytesType), []byte{'w', byte('0' + i)})
		for k, key := range []string{"location", "offset", "length"} {
			w = protowire.AppendBytes(protowire.AppendTag(w, 13, protowire.BytesType), entry(key, p[k]))
		}
		w = protowire.AppendVarint(protowire.AppendTag(w, 14, protowire.VarintType), 1)
		inits = protowire.AppendBytes(protowire.AppendTag(inits, 5, protowire.BytesType), w)
	}
	b := binary(t, small)
	b = protowire.AppendBytes(protowire.AppendTag(b, 7, protowire.BytesType), inits) // merged with the graph
	path := filepath.Join(dir, "m.onnx")
	require.NoError(t, os.WriteFile(path, b, 0o666))
	return path
}

func TestExternal(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), make([]byte, 64), 0o666))
	for name, c := range map[string]struct {
		size   int64
		places [][3]string
		want   []string
	}{
		"fine":      {32, [][3]string{{"d", "0", "16"}, {"d", "16", "16"}}, []string{}},
		"tied":      {16, [][3]string{{"d", "0", "16"}, {"d", "0", "16"}}, []string{}},
		"overlap":   {32, [][3]string{{"d", "0", "16"}, {"d", "8", "16"}}, []string{"danger external-data", "note hidden-data"}},
		"short":     {20, [][3]string{{"d", "0", "16"}, {"d", "16", "16"}}, []string{"danger external-data", "note hidden-data"}},
		"behind":    {100_000, [][3]string{{"d", "0", "16"}}, []string{"danger hidden-data"}},
		"gap":       {100_016, [][3]string{{"d", "0", "16"}, {"d", "100000", "16"}}, []string{"danger hidden-data"}},
		"missing":   {16, [][3]string{{"e", "0", "16"}}, []string{"danger external-data"}},
		"out":       {16, [][3]string{{"../d", "0", "16"}, {"/etc/passwd", "0", "16"}}, []string{"danger path", "danger path"}},
		"link":      {16, [][3]string{{"link", "0", "16"}}, []string{"danger path"}},
		"no number": {16, [][3]string{{"d", "0x10", "16"}}, []string{"danger external-data"}},
		"length":    {16, [][3]string{{"d", "0", "12"}}, []string{"danger external-data"}},
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "d"), make([]byte, c.size), 0o666))
		if runtime.GOOS != "windows" {
			require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")))
		} else if name == "link" {
			continue
		}
		r, err := audit.File(external(t, dir, c.places...), audit.Options{Allow: []string{audit.Twice, audit.Unused}})
		require.NoError(t, err, name)
		require.Equal(t, c.want, found(r), "%s: %v", name, r.Findings)
	}
}

// TestMalformed: no file of the malformed suite that has to be rejected passes, and neither does one of its bombs.
func TestMalformed(t *testing.T) {
	shared := "../../shared/conformance"
	list, err := os.Open(filepath.Join(shared, "MALFORMED.tsv"))
	if err != nil {
		t.Skip("left out: the malformed suite, ../shared/conformance/malformed.tar.gz, is not here; it comes with the shared material")
	}
	defer list.Close()
	dir := t.TempDir()
	tar, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("left out: there is no tar to unpack the malformed suite; the system's package manager has one")
	}
	if out, err := exec.Command(tar, "xzf", filepath.Join(shared, "malformed.tar.gz"), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("the malformed suite does not unpack: %s", out)
	}
	rows := csv.NewReader(list)
	rows.Comma, rows.LazyQuotes = '\t', true
	all, err := rows.ReadAll()
	require.NoError(t, err)
	checked := 0
	for _, row := range all[1:] {
		name, category, expected := row[0], row[1], row[2]
		r, err := audit.File(filepath.Join(dir, "malformed", name), audit.Options{})
		switch bad := err != nil || r.Dangers > 0; {
		case expected == "reject" && !bad:
			t.Errorf("%s passes: %s", name, row[3])
		case category == "bomb" && !bad && name != "bomb_chain_20000_nodes.onnx":
			t.Errorf("%s passes: %s", name, row[3])
		case category == "valid" && bad:
			t.Errorf("%s does not pass: %v", name, r.Findings)
		}
		checked++
	}
	require.Greater(t, checked, 200)
}
