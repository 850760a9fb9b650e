package ort_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/ort"
)

// registers is a library of operators that has none. It answers with an error that holds the library's version, if FAIL is
// defined, through the table it is handed.
const registers = `
typedef struct { void *const *(*GetApi)(unsigned); const char *(*GetVersionString)(void); } Base;
void *RegisterCustomOps(void *options, const Base *base) {
#ifdef FAIL
	return ((void *(*)(int, const char *))base->GetApi(17)[0])(1, base->GetVersionString());
#endif
	return 0;
}
`

func TestCustomOpsLibraryIsAsked(t *testing.T) {
	e := open(t, ort.Options{})
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("left out: there is no C compiler (cc) to make a library of operators with")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "ops.c")
	require.NoError(t, os.WriteFile(source, []byte(registers), 0o644))
	build := func(name string, flags ...string) string {
		file := filepath.Join(dir, name)
		out, err := exec.Command(cc, append(flags, "-shared", "-fPIC", "-o", file, source)...).CombinedOutput()
		require.NoError(t, err, string(out))
		return file
	}
	m, _, _, _ := chain()
	load(t, open(t, ort.Options{CustomOps: []string{build("good.so")}}), m, engine.Options{})
	_, err = open(t, ort.Options{CustomOps: []string{build("bad.so", "-DFAIL")}}).Load(background, m, engine.Options{})
	assert.ErrorContains(t, err, "bad.so: ONNX Runtime: "+e.Info().Version)
}
