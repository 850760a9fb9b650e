package main

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// long skips what builds everything anew, unless .ci/run asks for it.
func long(t *testing.T) {
	if os.Getenv("ONNXOPT_RELEASE") == "" {
		t.Skip("left out: it builds the command several times; ONNXOPT_RELEASE=1, as .ci/run has it, asks for it")
	}
	for _, tool := range []string{"git", "tar", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("left out: there is no %s on the PATH; the system's package manager has it", tool)
		}
	}
}

// clone is a copy of what git knows of this checkout, with what is changed in it, below dir.
func clone(t *testing.T, dir string) string {
	out, err := exec.Command("git", "-C", "..", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	require.NoError(t, err)
	for _, name := range strings.Split(strings.Trim(string(out), "\x00"), "\x00") {
		if strings.HasPrefix(name, "testdata/conformance/") {
			continue // large, and not built
		}
		b, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o666))
	}
	return dir
}

func sh(t *testing.T, dir, script string, env ...string) string {
	t.Helper()
	c := exec.Command("sh", "-ec", script)
	c.Dir = dir
	c.Env = append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s: %s", script, out)
	return string(out)
}

func TestUsage(t *testing.T) {
	require.ErrorContains(t, release(t.TempDir(), []string{"plan9/amd64"}, nil), `no platform "plan9/amd64"`)
	require.ErrorContains(t, release(t.TempDir(), platforms(), []string{"x"}), "no argument")
}

// TestReproducible: the same sources in two folders give the same bytes, and the checksums are theirs. Of the static one nothing has to be there
// but the file: it runs in an empty root, as in the image of the Dockerfile.
func TestReproducible(t *testing.T) {
	long(t)
	dir := t.TempDir()
	host := runtime.GOOS + "/" + runtime.GOARCH
	var first []byte
	for _, where := range []string{"one", "a/longer/path"} {
		src := clone(t, filepath.Join(dir, where))
		sh(t, src, "go run ./release --out dist --only "+host)
		sums, err := os.ReadFile(filepath.Join(src, "dist", "SHA256SUMS"))
		require.NoError(t, err)
		require.Equal(t, 3, bytes.Count(sums, []byte("\n")))
		if first == nil {
			first = sums
			sum, err := sha(filepath.Join(src, "dist", strings.Fields(string(sums))[1]))
			require.NoError(t, err)
			require.Contains(t, string(sums), hex.EncodeToString(sum))
		}
		require.Equal(t, string(first), string(sums), "the bytes depend on the folder")
	}
	bin := filepath.Join(dir, "one", "dist", "onnxopt-static-"+runtime.GOOS+"-"+runtime.GOARCH)
	if runtime.GOOS == "windows" {
		return
	}
	version := sh(t, dir, bin+" version")
	require.NotContains(t, version, dir)
	if runtime.GOOS != "linux" {
		return
	}
	f, err := elf.Open(bin)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "it needs a dynamic linker")
	}
	if os.Getuid() != 0 {
		t.Log("left out: only root can run it in an empty root folder")
		return
	}
	root := t.TempDir()
	for from, to := range map[string]string{bin: "onnxopt", "../testdata/digits/digits.onnx": "model.onnx"} {
		b, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, to), b, 0o755))
	}
	sh(t, root, "chroot . /onnxopt -O2 /model.onnx -o /small.onnx", "TMPDIR=")
	require.FileExists(t, filepath.Join(root, "small.onnx"))
}

// TestAirGapped runs the commands of docs/air-gapped.md: the second machine has no module, no proxy and, where that can be done, no network.
func TestAirGapped(t *testing.T) {
	long(t)
	if runtime.GOOS != "linux" {
		t.Skip("left out: the page is for GNU tar and sha256sum")
	}
	page, err := os.ReadFile("../docs/air-gapped.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 3)
	dir := t.TempDir()
	src := clone(t, filepath.Join(dir, "src"))
	sh(t, src, "git init -q; git add -A; git -c user.name=a -c user.email=a@b commit -qm all")
	sh(t, src, blocks[0][1], "GOFLAGS=")
	far := filepath.Join(dir, "far")
	require.NoError(t, os.Mkdir(far, 0o777))
	require.NoError(t, os.Rename(filepath.Join(src, "onnxopt.tar"), filepath.Join(far, "onnxopt.tar")))
	second := blocks[1][1]
	if exec.Command("unshare", "-n", "true").Run() == nil {
		second = "exec unshare -n sh -ec '" + second + "'"
	} else {
		t.Log("left out: the network cannot be turned off here; there are only an empty module cache and GOPROXY=off")
	}
	out := sh(t, far, second, "GOFLAGS=", "GOMODCACHE="+filepath.Join(far, "modules"), "GONOSUMDB=", "GOPATH="+filepath.Join(far, "go"))
	require.Contains(t, out, "verified")
	require.NoDirExists(t, filepath.Join(far, "modules", "cache", "download"))
	sh(t, src, blocks[2][1], "GOFLAGS=")
}
