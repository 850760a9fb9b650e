package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

// pages are where the manual of passes is published.
const passPages = "../../docs/passes"

// TestPassPages: docs/passes has a page for each pass, made of its descriptor and of a fixture of its tests. go generate ./internal/cli writes
// them anew.
func TestPassPages(t *testing.T) {
	r, err := (&env{}).registry()
	require.NoError(t, err)
	dirs := passDirs(t)
	index := "# Passes\n\nGenerated from the passes themselves. `onnxopt passes NAME` prints the same.\n\n| pass | promise | |\n|---|---|---|\n"
	want := map[string][]byte{}
	var names []string
	for _, p := range r.Passes() {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		p, _ := r.Lookup(name)
		j := passToJSON(p)
		want[name+".md"] = passPage(j, dirs[name])
		index += fmt.Sprintf("| [%s](%s.md) | %s | %s |\n", name, name, j.Promise, cell(j.Doc))
	}
	index += "\n| preset | |\n|---|---|\n"
	for _, a := range r.Aliases() {
		index += fmt.Sprintf("| %s | %s |\n", a.Name, cell(a.Doc))
	}
	want["README.md"] = []byte(index)
	if *update {
		require.NoError(t, os.RemoveAll(passPages))
		require.NoError(t, os.MkdirAll(passPages, 0o777))
	}
	for name, text := range want {
		file := filepath.Join(passPages, name)
		if *update {
			require.NoError(t, os.WriteFile(file, text, 0o666))
			continue
		}
		have, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(text), string(have), "%s: run go generate ./internal/cli", file)
	}
	have, err := os.ReadDir(passPages)
	require.NoError(t, err)
	require.Len(t, have, len(want), "a page of a pass that there is no more")
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s) }

// passDirs are the directories of passes by their names.
func passDirs(t *testing.T) map[string]string {
	r := map[string]string{}
	named := regexp.MustCompile(`\bName:\s+"([a-z0-9-]+)"`)
	err := filepath.WalkDir("../../passes", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "testdata" {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(p)
		if i := bytes.Index(b, []byte("passes.Info{")); err == nil && i >= 0 {
			if m := named.FindSubmatch(b[i:]); m != nil {
				r[string(m[1])] = filepath.Dir(p)
			}
		}
		return err
	})
	require.NoError(t, err)
	return r
}

// passPage is the page of one pass.
func passPage(j passJSON, dir string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n%s.\n", j.Name, strings.ToUpper(j.Doc[:1])+j.Doc[1:])
	if j.Long != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(j.Long))
	}
	fmt.Fprintf(&b, "\nPromise: %s.\n", j.Promise)
	if j.Example != "" {
		fmt.Fprintf(&b, "\n    onnxopt -p '%s' model.onnx -o out.onnx\n", j.Example)
	}
	if len(j.Options) > 0 {
		fmt.Fprint(&b, "\n| option | type | default | |\n|---|---|---|---|\n")
		for _, o := range j.Options {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.Name, cell(optionType(o)), cell(o.Default), cell(o.Doc))
		}
	}
	if len(j.Rules) > 0 {
		fmt.Fprint(&b, "\n| rule | promise | |\n|---|---|---|\n")
		for _, r := range j.Rules {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.Name, r.Promise, cell(r.Doc))
		}
	}
	for _, o := range j.After {
		fmt.Fprintf(&b, "\nIt comes after %s, because %s.\n", o.Pass, o.Reason)
	}
	if in, out := shortest(dir); in != "" {
		fmt.Fprintf(&b, "\nBefore:\n\n```\n%s```\n\nAfter:\n\n```\n%s```\n", in, out)
	}
	return b.Bytes()
}

// shortest is the shortest fixture of a directory in which the model changes, without directives.
func shortest(dir string) (in, out string) {
	if dir == "" {
		return "", ""
	}
	files, _ := filepath.Glob(filepath.Join(dir, "testdata", "*.txtar"))
	best := 30 * 100
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			continue
		}
		sections := map[string]string{}
		for _, s := range a.Files {
			sections[s.Name] = string(s.Data)
		}
		for _, s := range a.Files {
			name, ok := strings.CutSuffix(s.Name, "/in")
			after := sections[name+"/out"]
			if !ok || after == "" || len(s.Data)+len(after) >= best {
				continue
			}
			best = len(s.Data) + len(after)
			in, out = "", after
			for line := range strings.Lines(string(s.Data)) {
				if !strings.HasPrefix(line, "# ") {
					in += line
				}
			}
		}
	}
	return in, out
}
