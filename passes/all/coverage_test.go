package all_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/passes/all"
)

// TestCoverage holds docs/coverage.tsv to what it says: it has the passes of the peers, in their order; each rule that a row names
// is registered, and fires in the fixture beside it; a row without a rule has a reason.
func TestCoverage(t *testing.T) {
	rules := map[string]bool{}
	for _, p := range all.Passes() {
		for _, r := range p.Rules {
			rules[p.Name+"/"+r.Name] = true
		}
	}
	peers, rows := table(t, "testdata/peers.tsv"), table(t, "../../docs/coverage.tsv")
	require.Equal(t, []string{"peer", "pass", "ours", "fixture", "note"}, rows[0])
	require.Len(t, rows, len(peers))
	for i, row := range rows[1:] {
		require.Len(t, row, 5, "row %d", i+1)
		require.Equal(t, peers[i+1], row[:2], "row %d", i+1)
		ours, fixtures := strings.Fields(row[2]), strings.Fields(row[3])
		require.Len(t, fixtures, len(ours), "row %d: a fixture for each rule", i+1)
		for k, rule := range ours {
			require.True(t, rules[rule], "row %d: there is no rule %s", i+1, rule)
			fires(t, fixtures[k], rule)
		}
		if len(ours) == 0 {
			require.Greater(t, len(strings.Fields(row[4])), 5, "row %d: %s of %s has neither a rule nor a reason", i+1, row[1], row[0])
		}
	}
}

// TestPeers compares the list of the peers' passes with the one it was copied from.
func TestPeers(t *testing.T) {
	want, err := os.ReadFile("../../../shared/PEER_PASSES.tsv")
	if err != nil {
		t.Skip("left out: ../shared/PEER_PASSES.tsv is not here, testdata/peers.tsv was not compared with it")
	}
	have, err := os.ReadFile("testdata/peers.tsv")
	require.NoError(t, err)
	require.Equal(t, string(want), string(have))
}

func table(t *testing.T, name string) (rows [][]string) {
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

// fires holds a fixture, path#case, to having that pass/rule applied.
func fires(t *testing.T, fixture, rule string) {
	file, name, ok := strings.Cut(fixture, "#")
	require.True(t, ok, "%s names no case", fixture)
	pass, rule, _ := strings.Cut(rule, "/")
	require.True(t, declares(t, filepath.Join("../..", filepath.Dir(filepath.Dir(file))), pass), "%s is no fixture of pass %s", file, pass)
	archive, err := txtar.ParseFile(filepath.Join("../..", file))
	require.NoError(t, err)
	for _, f := range archive.Files {
		if f.Name != name+"/in" {
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			if list, ok := strings.CutPrefix(strings.TrimSpace(line), "# fires:"); ok {
				for _, r := range strings.Split(list, ",") {
					if strings.TrimSpace(r) == rule {
						return
					}
				}
			}
		}
		t.Fatalf("%s does not say that %s/%s fires", fixture, pass, rule)
	}
	t.Fatalf("there is no case %s", fixture)
}

// declares reports whether a Go file of the directory names the pass.
func declares(t *testing.T, dir, pass string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.Contains(strings.Join(strings.Fields(string(b)), " "), `Name: "`+pass+`"`) {
			return true
		}
	}
	return false
}
