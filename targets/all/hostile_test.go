package all_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets/all"
)

// hostile are names that would run something, or end a text, if a script held them as they are.
var hostile = []string{
	`"; import os; os.system("touch owned"); x = "`, `'; touch owned; '`, "$(touch owned)", "`touch owned`", "a\nimport os; os.system('touch owned')", `\`, `"""`, `*/ system("touch owned"); /*`,
	`"><script>`, `]]>`, "é\u2028漢", `%s%d`,
}

// inMemory is an artifact of files in memory, with a main name of one's choice.
type inMemory struct {
	base  string
	files map[string]*bytes.Buffer
}

func (a *inMemory) Name(suffix string) string { return a.base + suffix }
func (a *inMemory) Note(string)               {}
func (a *inMemory) Model(*ir.Model) error     { return nil }
func (a *inMemory) File(suffix string) (io.Writer, error) {
	b := &bytes.Buffer{}
	a.files[suffix] = b
	return b, nil
}

// TestHostileNames writes a model for every target under names that would run something in a script: of the file, of inputs, nodes and
// values. Python scripts have the syntax tree of one with harmless names but for the texts, and shell scripts call the same command with
// the names as they are.
func TestHostileNames(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("left out: there is no python3 on the PATH; the system's package manager has it")
	}
	var scripts, wants, who []string
	for _, target := range all.Targets() {
		plain := write(t, target.Name, "model", "x")
		for _, name := range hostile {
			file := name
			if target.Name == "c" { // which refuses them: TestHostileFiles
				file = "model"
			}
			got := write(t, target.Name, file, name)
			require.Len(t, got, len(plain), target.Name)
			for suffix, b := range got {
				switch {
				case strings.HasSuffix(suffix, ".py"):
					scripts, wants, who = append(scripts, b.String()), append(wants, plain[suffix].String()), append(who, target.Name+suffix+" of "+name)
				case strings.HasSuffix(suffix, ".sh"):
					runShell(t, b.String(), name)
				case target.Name == "c" && suffix != ".bin":
					assert.Equal(t, tokens(t, plain[suffix].String()), tokens(t, b.String()), "%s of %q", suffix, name)
				case strings.HasSuffix(suffix, ".json"):
					assert.True(t, json.Valid(b.Bytes()), "%s", b)
				case strings.HasSuffix(suffix, ".txt"):
					assert.Equal(t, plain[suffix].String(), b.String())
				}
			}
		}
	}
	require.Greater(t, len(scripts), 4*len(hostile)-1)
	got, want := shapes(t, python, scripts), shapes(t, python, wants)
	for i := range got {
		assert.Equal(t, want[i], got[i], who[i])
	}
}

// tokens are what a compiler, make or CMake sees of a text: comments are gone, texts and names of values are equal.
func tokens(t *testing.T, src string) string {
	src = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(src, " ")
	src = regexp.MustCompile(`"(\\.|[^"\\\n])*"`).ReplaceAllString(src, `""`)
	require.NotContains(t, src, "touch owned")
	src = regexp.MustCompile(`\b(in|out|IN|OUT|MODEL_IN|MODEL_OUT)(_[A-Za-z0-9_]+)?\b`).ReplaceAllString(src, "port")
	return src
}

// TestHostileFiles has target c refuse names of files that make, a shell or the compiler would take for something else, and write nothing.
func TestHostileFiles(t *testing.T) {
	d, _ := all.Lookup("c")
	for _, name := range append(slices.Clone(hostile), "a:b", "a=b", "a%b", "a#b", "a;b", "a&b", "a'b", "a(b", "a\tb") {
		m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 18]> g (float[1,2] x) => (float[1,2] y) { y = Relu (x) }`))
		require.NoError(t, err)
		a := &inMemory{base: name, files: map[string]*bytes.Buffer{}}
		p, err := d.Emitter("c", a)
		require.NoError(t, err)
		_, err = p.Run(context.Background(), m, passes.Config{})
		if assert.Error(t, err, "%q", name) {
			assert.Contains(t, err.Error(), "the name of the file")
		}
		assert.Empty(t, a.files)
	}
}

func write(t *testing.T, target, file, name string) map[string]*bytes.Buffer {
	m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 18]> g (float[n,2] x) => (float[n,2] y) { [a] v = Relu (x)  [b] y = Sigmoid (v) }`))
	require.NoError(t, err)
	if target == "tvm" || target == "c" { // which take static sizes only
		s := m.Main.Inputs()[0]
		s.SetType(ir.TensorType(ir.Float32, ir.Shape{ir.Static(1), ir.Static(2)}))
	}
	m.Main.Inputs()[0].SetName(name)
	i := 0
	for n := range m.Main.Nodes() {
		n.SetName(name)
		if i++; i == 1 {
			n.Result(0).SetName(name + "value")
		}
	}
	d, _ := all.Lookup(target)
	a := &inMemory{base: file, files: map[string]*bytes.Buffer{}}
	p, err := d.Emitter(d.Name, a)
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.NoError(t, err, "%s, %q", target, name)
	return a.files
}

// shapes are the syntax trees of Python scripts with all texts made equal.
func shapes(t *testing.T, python string, scripts []string) []string {
	cmd := exec.Command(python, "-c", `
import ast, json, sys
for script in json.load(sys.stdin):
    tree = ast.parse(script)
    for n in ast.walk(tree):
        if isinstance(n, ast.Constant) and isinstance(n.value, str): n.value = ''
    print(ast.dump(tree))`)
	in, err := json.Marshal(scripts)
	require.NoError(t, err)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	r := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, r, len(scripts))
	return r
}

// runShell runs a script whose commands are replaced by one that prints its arguments.
func runShell(t *testing.T, script, name string) {
	if _, err := exec.LookPath("sh"); err != nil {
		return
	}
	dir := t.TempDir()
	for _, c := range []string{"trtexec"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, c), []byte("#!/bin/sh\nfor a in \"$@\"; do printf '%s\\0' \"$a\"; done\n"), 0o777))
	}
	file := filepath.Join(dir, "run.sh")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o777))
	cmd := exec.Command("sh", file)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	args := strings.Split(string(out), "\x00")
	assert.Contains(t, args, "--onnx="+name)
	assert.NoFileExists(t, filepath.Join(dir, "owned"))
}
