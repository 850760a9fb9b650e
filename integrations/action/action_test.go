// Package action tests the GitHub Action and the hooks for pre-commit as far as that goes without GitHub: what they run, they run here.
package action

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	small = `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,4] x) => (float[1,4] y) <float[4] w = {1, 2, 3, 4}> { s = Add (x, w) y = Relu (s) }`
	grown = `<ir_version: 8, opset_import: ["" : 17]>
g (float[1,4] x) => (float[1,4] y) <float[4] w = {1, 2, 3, 4}> { s = Add (x, w) t = Abs (s) y = Relu (t) }`
	budgets = "models: [{path: net.onnxtxt, max-nodes: 2}]\n"
)

// command builds the command once and says in which folder it is.
var command = sync.OnceValues(func() (string, error) {
	bin, err := os.MkdirTemp("", "onnxopt-action")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "onnxopt"), "../../cmd/onnxopt").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := command(); err == nil {
		os.RemoveAll(bin)
	}
	os.Exit(code)
}

// repository is a clone with a model and its budget, and the command on the PATH.
func repository(t *testing.T) (dir string, run func(name string, args ...string) (string, error)) {
	if runtime.GOOS == "windows" {
		t.Skip("left out: the hooks are shell scripts, which Windows does not run by itself")
	}
	for _, tool := range []string{"bash", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("left out: there is no %s on the PATH; the system's package manager has it", tool)
		}
	}
	bin, err := command()
	require.NoError(t, err)
	dir = t.TempDir()
	here, err := os.Getwd()
	require.NoError(t, err)
	run = func(name string, args ...string) (string, error) {
		if name == "onnxopt" {
			name = filepath.Join(bin, name)
		}
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+dir, "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary.md"),
			"GITHUB_ACTION_PATH="+here, "CONFIG=onnxopt.yaml", "SARIF=o.sarif", "JUNIT=o.xml", "BASE=HEAD")
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	write(t, filepath.Join(dir, "net.onnxtxt"), small)
	write(t, filepath.Join(dir, "onnxopt.yaml"), budgets)
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "model"}} {
		out, err := run("git", args...)
		require.NoError(t, err, out)
	}
	return dir, run
}

func write(t *testing.T, name, text string) {
	require.NoError(t, os.WriteFile(name, []byte(text), 0o666))
}

// step is the last step of the action.
func step(t *testing.T) string {
	b, err := os.ReadFile("action.yml")
	require.NoError(t, err)
	var a struct {
		Inputs map[string]struct{ Description string }
		Runs   struct {
			Using string
			Steps []struct {
				Shell, Run, Uses string
				Env              map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(b, &a))
	require.Equal(t, "composite", a.Runs.Using)
	input := regexp.MustCompile(`\$\{\{ inputs\.(\w+) \}\}`)
	for _, s := range a.Runs.Steps {
		require.False(t, input.MatchString(s.Run), "inputs reach the shell through the environment only")
		for _, v := range s.Env {
			m := input.FindStringSubmatch(v)
			require.NotNil(t, m, v)
			require.Contains(t, a.Inputs, m[1])
		}
	}
	return a.Runs.Steps[len(a.Runs.Steps)-1].Run
}

func TestAction(t *testing.T) {
	run := step(t)
	dir, sh := repository(t)
	out, err := sh("bash", "-c", run)
	require.NoError(t, err, out)
	write(t, filepath.Join(dir, "net.onnxtxt"), grown)
	out, err = sh("bash", "-c", run)
	require.Error(t, err, "the budget is broken")
	require.Contains(t, out, "max-nodes: 3 nodes, 1 more than the budget of 2")
	summary, err := os.ReadFile(filepath.Join(dir, "summary.md"))
	require.NoError(t, err)
	require.Contains(t, string(summary), "added nodes (1)")
	require.Contains(t, string(summary), "1 more than the budget")
	b, err := os.ReadFile(filepath.Join(dir, "o.sarif"))
	require.NoError(t, err)
	require.True(t, json.Valid(b))
	require.FileExists(t, filepath.Join(dir, "o.xml"))
}

func TestHooks(t *testing.T) {
	b, err := os.ReadFile("../../.pre-commit-hooks.yaml")
	require.NoError(t, err)
	var hooks []struct{ ID, Name, Entry, Language, Files string }
	require.NoError(t, yaml.Unmarshal(b, &hooks))
	dir, sh := repository(t)
	write(t, filepath.Join(dir, "other.onnxtxt"), grown)
	out, err := sh("onnxopt", "-q", "-O0", "net.onnxtxt", "-o", "net.onnx")
	require.NoError(t, err, out)
	for _, h := range hooks {
		require.Equal(t, "golang", h.Language)
		files := regexp.MustCompile(h.Files)
		args := strings.Fields(h.Entry)
		for _, f := range []string{"net.onnx", "other.onnxtxt", "net.onnxtxt", "README.md"} {
			if files.MatchString(f) && (h.ID != "onnxopt-audit" || f == "net.onnx") {
				args = append(args, f)
			}
		}
		require.Greater(t, len(args), 2, h.ID)
		out, err := sh(args[0], args[1:]...)
		require.NoError(t, err, "%s: %s", h.ID, out)
	}
	write(t, filepath.Join(dir, "net.onnxtxt"), grown)
	out, err = sh("onnxopt", "check", "--ignore-uncovered", "net.onnxtxt")
	require.Error(t, err, out)
}

// TestTextconv: git diff shows models as text, as docs/ci.md says.
func TestTextconv(t *testing.T) {
	page, err := os.ReadFile("../../docs/ci.md")
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^git config diff\.onnx\.textconv '(.*)'$`).FindSubmatch(page)
	require.NotNil(t, m)
	dir, sh := repository(t)
	write(t, filepath.Join(dir, ".gitattributes"), "*.onnx diff=onnx\n")
	write(t, filepath.Join(dir, "grown.onnxtxt"), grown)
	for _, args := range [][]string{
		{"git", "config", "diff.onnx.textconv", string(m[1])},
		{"onnxopt", "-q", "-O0", "net.onnxtxt", "-o", "net.onnx"},
		{"git", "add", "."},
		{"git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "binary"},
		{"onnxopt", "-q", "-O0", "grown.onnxtxt", "-o", "net.onnx"},
	} {
		out, err := sh(args[0], args[1:]...)
		require.NoError(t, err, out)
	}
	out, err := sh("git", "diff", "net.onnx")
	require.NoError(t, err, out)
	require.Regexp(t, `(?m)^\+ *t = Abs \(s\)$`, out)
	require.Regexp(t, `(?m)^- *y = Relu \(s\)$`, out)
}
