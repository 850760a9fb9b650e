package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const model = `<ir_version: 8, opset_import: ["" : 17]>
g (float[4] x, float[4] y) => (float[4] z)
{
   a = Abs (y)
   n = Neg (a)
   z = Sub (x, n)
}`

// build compiles one of the commands of this module.
func build(t *testing.T, pkg string) (run func(args ...string) (string, error), dir string) {
	dir = t.TempDir()
	bin := filepath.Join(dir, "onnxopt.exe")
	if out, err := exec.Command("go", "build", "-o", bin, pkg).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "m.onnxtxt"), []byte(model), 0o666); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (string, error) {
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}, dir
}

func contains(t *testing.T, s, part string) {
	t.Helper()
	if !strings.Contains(s, part) {
		t.Errorf("%q is not in:\n%s", part, s)
	}
}

// TestCommand: the pass is there beside the others, is listed, explained, run and verified.
func TestCommand(t *testing.T) {
	run, dir := build(t, ".")
	out, err := run("passes")
	if err != nil {
		t.Fatal(out)
	}
	contains(t, out, "turns the difference to a negation into a sum")
	out, err = run("-p", "sub-neg,cse", "--remarks", "m.onnxtxt", "-o", "out.onnxtxt")
	if err != nil {
		t.Fatal(out)
	}
	contains(t, out, "verified")
	contains(t, out, "sub-neg")
	b, err := os.ReadFile(filepath.Join(dir, "out.onnxtxt"))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(b), "z = Add (x, a)")
}

// TestMistake: a wrong rewrite is found, nothing is written, and the reproducer shows it again.
func TestMistake(t *testing.T) {
	run, dir := build(t, "./broken")
	out, err := run("-p", "cse,sub-neg", "m.onnxtxt", "-o", "out.onnxtxt")
	if err == nil {
		t.Fatal("a wrong rewrite passes: " + out)
	}
	contains(t, out, "sub-neg")
	contains(t, out, "reproducer: out.repro.onnxtxt")
	if _, err := os.Stat(filepath.Join(dir, "out.onnxtxt")); err == nil {
		t.Error("the wrong model was written")
	}
	if out, err = run("out.repro.onnxtxt"); err == nil {
		t.Fatal("the reproducer reproduces nothing: " + out)
	}
	contains(t, out, "sub-neg")
	if out, err = run("-p", "cse,sub-neg", "--on-mismatch=undo", "m.onnxtxt", "-o", "out.onnxtxt"); err != nil {
		t.Fatal(out)
	}
	contains(t, out, "was left out")
}
