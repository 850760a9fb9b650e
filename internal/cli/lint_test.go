package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/onnxio"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	targetlist "github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/lint"
)

// TestLintMalformed gives lint the malformed files of ../shared: what is to be rejected is, what is to be accepted is linted, for every
// target, behind its pipeline and as it is, without a crash.
func TestLintMalformed(t *testing.T) {
	verdicts := conformance.Verdicts(t)
	reg, err := passlist.Registry()
	require.NoError(t, err)
	dir, n := t.TempDir(), 0
	for name, b := range conformance.Files(t, conformance.MalformedArchive(t)) {
		want := verdicts[name].Expected
		if !strings.HasSuffix(name, ".onnx") || strings.Contains(name, "/external/") || want == "" {
			continue
		}
		n++
		for _, target := range targetlist.Targets() {
			for _, asIs := range []bool{false, true} {
				pipeline := target.Pipeline
				if asIs {
					pipeline = ""
				}
				p, err := reg.Parse(pipeline)
				require.NoError(t, err)
				err = func() error {
					m, err := onnxio.Read(b, onnxio.Options{DataDir: dir})
					if err != nil {
						return err
					}
					l := linted{target: target}
					return l.look(context.Background(), m.Model, p, lint.Options{Target: target.Name, AsIs: asIs})
				}()
				if want == "reject" {
					assert.Error(t, err, "%s for %s is accepted", name, target.Name)
				} else if strings.HasPrefix(want, "accept") {
					assert.NoError(t, err, "%s for %s", name, target.Name)
				}
			}
		}
	}
	require.Greater(t, n, 150)
}
