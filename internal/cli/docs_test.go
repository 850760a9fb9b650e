package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

// fence is a fenced block of a page: its language, the line before it, its text.
type fence struct{ lang, before, text string }

func fences(page string) (r []fence) {
	before := ""
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		lang, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			if strings.TrimSpace(lines[i]) != "" {
				before = lines[i]
			}
			continue
		}
		f := fence{lang: lang, before: before}
		for i++; i < len(lines) && lines[i] != "```"; i++ {
			f.text += lines[i] + "\n"
		}
		r = append(r, f)
	}
	return r
}

var (
	fileBefore = regexp.MustCompile("`([\\w.-]+\\.\\w+)`:$")
	fileInside = regexp.MustCompile(`^# ([\w.-]+\.\w+)\n`)
)

// TestDocs runs every command of the pages in docs/, in the order of each page, in a folder that has the files the page shows, the digits
// model as model.onnx, its data, and what testdata/docs/PAGE.txtar adds. The comment of that archive lists commands that something else tests,
// each with a reason, "skip: COMMAND: REASON", and models that a page wants, "model: NAME: FILE of ../shared/models"; the digits model stands
// in where these are not here.
func TestDocs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: the commands are for a POSIX shell, which Windows does not have by itself")
	}
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	dir := t.TempDir()
	python := pythonWithONNX()
	var scripts []string
	models := map[string]string{"model.onnx": ""}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		require.NoError(t, err)
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if name == "road" && testing.Short() {
			t.Log("left out with -short: road: it trains models")
			continue
		}
		script, n := docScript(t, name, string(b), python, models)
		if n == 0 {
			continue
		}
		file := filepath.Join(dir, name+".txtar")
		require.NoError(t, os.WriteFile(file, script, 0o666))
		scripts = append(scripts, file)
	}
	digits, err := os.ReadFile("../../testdata/digits/digits.onnx")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{Files: scripts, Setup: func(e *testscript.Env) error {
		e.Setenv("HOME", e.WorkDir)
		if python != "" {
			e.Setenv("PATH", filepath.Join(e.WorkDir, "bin")+string(os.PathListSeparator)+e.Getenv("PATH"))
			if err := os.Mkdir(filepath.Join(e.WorkDir, "bin"), 0o777); err != nil {
				return err
			}
			run := "#!/bin/sh\nexec '" + python + "' \"$@\"\n"
			if err := os.WriteFile(filepath.Join(e.WorkDir, "bin", "python3"), []byte(run), 0o777); err != nil {
				return err
			}
		}
		if err := os.CopyFS(filepath.Join(e.WorkDir, "testdata", "digits"), os.DirFS("../../testdata/digits")); err != nil {
			return err
		}
		for name, file := range models {
			b, err := os.ReadFile(filepath.Join("../../../shared/models", file))
			if err != nil {
				b = digits
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, name), b, 0o666); err != nil {
				return err
			}
		}
		return nil
	}, RequireExplicitExec: true})
}

// docScript makes a script of a page and says how many commands it runs. Models that it wants are added to models.
func docScript(t *testing.T, name, page, python string, models map[string]string) ([]byte, int) {
	a := &txtar.Archive{}
	extra, err := txtar.ParseFile("testdata/docs/" + name + ".txtar")
	if err == nil {
		a.Files = extra.Files
	} else {
		extra = &txtar.Archive{}
	}
	var skips, used []string
	for line := range strings.Lines(string(extra.Comment)) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(line), "skip: "); ok {
			skips = append(skips, s)
		}
		if m, ok := strings.CutPrefix(strings.TrimSpace(line), "model: "); ok {
			as, file, _ := strings.Cut(m, ": ")
			models[as] = file
		}
	}
	var script strings.Builder
	n := 0
	for _, f := range fences(page) {
		if m := fileBefore.FindStringSubmatch(f.before); m != nil && f.lang != "sh" {
			a.Files = append(a.Files, txtar.File{Name: m[1], Data: []byte(f.text)})
		} else if m := fileInside.FindStringSubmatch(f.text); m != nil && f.lang != "sh" {
			a.Files = append(a.Files, txtar.File{Name: m[1], Data: []byte(f.text)})
		}
		if f.lang != "sh" {
			continue
		}
		for _, line := range strings.Split(strings.ReplaceAll(f.text, "\\\n", " "), "\n") {
			line, _, _ = strings.Cut(line, "   #")
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if i := slices.IndexFunc(skips, func(s string) bool { return strings.HasPrefix(s, line+": ") }); i >= 0 {
				used = append(used, skips[i])
				continue
			}
			if strings.Contains(line, "python3") && python == "" {
				t.Logf("left out: %s: %s needs a Python with onnx", name, line)
				continue
			}
			n++
			fmt.Fprintf(&script, "exec sh -c '%s'\n", strings.ReplaceAll(line, "'", "''"))
		}
	}
	require.ElementsMatch(t, skips, used, "%s: a command that is skipped is not on the page", name)
	a.Comment = []byte(script.String())
	return txtar.Format(a), n
}

// TestReadme runs the commands of the README that call onnxopt, to see that none is wrong usage: verbs, options and pipelines are those that
// there are. What they need beside the model is not there for most.
func TestReadme(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: the commands are for a POSIX shell, which Windows does not have by itself")
	}
	b, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var script strings.Builder
	n := 0
	for line := range strings.Lines(string(b)) {
		line, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    onnxopt ")
		if !ok {
			continue
		}
		line, _, _ = strings.Cut(line, "  #")
		line = regexp.MustCompile(`\s+#.*$`).ReplaceAllString(line, "")
		fmt.Fprintf(&script, "exec sh -c '%s; test $? -ne 2 -a $? -ne 3'\n", strings.ReplaceAll("onnxopt "+strings.TrimSpace(line), "'", "''"))
		n++
	}
	require.Greater(t, n, 40)
	digits, err := os.ReadFile("../../testdata/digits/digits.onnx")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "readme.txtar")
	require.NoError(t, os.WriteFile(file, []byte(script.String()), 0o666))
	testscript.Run(t, testscript.Params{Files: []string{file}, RequireExplicitExec: true, Setup: func(e *testscript.Env) error {
		for _, name := range []string{"model.onnx", "a.onnx", "b.onnx", "small.onnx"} {
			if err := os.WriteFile(filepath.Join(e.WorkDir, name), digits, 0o666); err != nil {
				return err
			}
		}
		return nil
	}})
}

// TestExamples runs the examples of each verb's help where none of the files is there, to see that none is wrong usage, and that each verb has some.
func TestExamples(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: the commands are for a POSIX shell, which Windows does not have by itself")
	}
	if testing.Short() {
		t.Skip("left out with -short: a process for each example")
	}
	e := &env{stdin: strings.NewReader(""), stdout: bufio.NewWriter(io.Discard), stderr: io.Discard}
	var script strings.Builder
	for _, c := range append(e.root().Commands(), e.root()) {
		if c.Hidden {
			continue
		}
		require.NotEmpty(t, c.Example, "%s -h has no example", c.Name())
		for line := range strings.Lines(c.Example) {
			line = regexp.MustCompile(`\s{2,}\S.*$`).ReplaceAllString(strings.TrimSpace(line), "") // the words behind it
			if strings.Contains(line, "|") {
				line, _, _ = strings.Cut(line, "|") // what takes the output need not be there
			}
			if !strings.HasPrefix(line, "onnxopt ") {
				continue
			}
			fmt.Fprintf(&script, "exec sh -c '%s </dev/null; test $? -ne 2 -a $? -ne 3'\n", strings.ReplaceAll(line, "'", "''"))
		}
	}
	require.Greater(t, strings.Count(script.String(), "\n"), 60)
	file := filepath.Join(t.TempDir(), "examples.txtar")
	require.NoError(t, os.WriteFile(file, []byte(script.String()), 0o666))
	testscript.Run(t, testscript.Params{Files: []string{file}, RequireExplicitExec: true})
}
