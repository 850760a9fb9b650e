package all_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/passes/all"
)

// FuzzPipeline: no text makes the parser of pipelines fail but by an error of one line, and what parses is spelled so that it parses to the same.
func FuzzPipeline(f *testing.F) {
	r, err := all.Registry()
	require.NoError(f, err)
	for _, p := range all.Passes() {
		f.Add(p.Example)
	}
	for _, s := range []string{"", "O2", "simplify,fuse", "fixpoint{max=4}(cse,constfold)", `quantize{only="a,b" except=x*}`, "cse{", "(", "fixpoint(fixpoint(cse))", `cse{only="\""}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := r.Parse(s)
		if err != nil {
			require.NotContains(t, err.Error(), "\n\n")
			return
		}
		again, err := r.Parse(p.String())
		require.NoError(t, err, p.String())
		require.Equal(t, p.String(), again.String())
	})
}
