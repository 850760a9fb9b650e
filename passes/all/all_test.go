package all_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
)

// TestListIsFresh runs the generator and compares.
func TestListIsFresh(t *testing.T) {
	want, err := exec.Command("go", "run", "./_gen", "..").Output()
	require.NoError(t, err)
	have, err := os.ReadFile("list_gen.go")
	require.NoError(t, err)
	require.Equal(t, string(want), string(have), "run go generate ./passes/all")
}

func TestRegistry(t *testing.T) {
	r, err := all.Registry()
	require.NoError(t, err)
	require.NoError(t, r.Check())
	for _, level := range []string{"O0", "O1", "O2", "O3"} {
		p, err := r.Parse(level)
		require.NoError(t, err, level)
		again, err := r.Parse(p.String())
		require.NoError(t, err, level)
		require.Equal(t, p.String(), again.String())
	}
}

// TestPresetPromises holds the presets to what the command says of them.
func TestPresetPromises(t *testing.T) {
	r, err := all.Registry()
	require.NoError(t, err)
	promise := func(text string) passes.Promise {
		p, err := r.Parse(text)
		require.NoError(t, err)
		return p.Promise()
	}
	require.Empty(t, mustNest(t, r, "O0"))
	require.True(t, promise("O1").Exact(), "O1 is %s", promise("O1"))
	for _, level := range []string{"O2", "O3"} {
		require.False(t, promise(level).Lossy, level)
		require.LessOrEqual(t, promise(level).RelTol, 1e-4, level)
	}
}

func mustNest(t *testing.T, r *passes.Registry, alias string) []*passes.Step {
	p, err := r.Parse(alias)
	require.NoError(t, err)
	require.Len(t, p.Steps(), 1)
	return p.Steps()[0].Nested().Steps()
}
