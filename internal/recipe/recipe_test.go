package recipe

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const good = `
passes:
  - simplify
  - quantize: {mode: static, only: [conv1, "a,b"]}
  - fixpoint: {max: 4, passes: [cse, constfold: {max-growth: 1k}]}
  - prune:
options:
  calib: photos/
  seed: 3
  skip: [cse, constfold]
`

func TestParse(t *testing.T) {
	r, err := Parse([]byte(good))
	require.NoError(t, err)
	require.Equal(t, `simplify,quantize{mode="static" only=[conv1,"a,b"]},fixpoint{max="4"}(cse,constfold{max-growth="1k"}),prune`, r.Pipeline)
	require.Equal(t, []Option{{"calib", "photos/", 8}, {"seed", "3", 9}, {"skip", "cse", 10}, {"skip", "constfold", 10}}, r.Options)
	for src, want := range map[string]string{
		"":                                  "it is empty",
		"{}":                                "neither passes nor options",
		"steps: []":                         `line 1: there is no part "steps"`,
		"passes: cse":                       "no list of passes",
		"passes:\n - [cse]":                 "line 2: this is no pass",
		"passes:\n - cse: 3":                "line 2: this is no list of keys",
		"passes: [cse: {a: {b: c}}]":        "no value of an option",
		"options: {a: {b: c}}":              "option a has no plain value",
		"options: {a: 1, a: 2}":             "repeated",
		"a: [":                              "did not find expected",
		"passes: [cse]\n---\npasses: [cse]": "more than one document",
		"passes: &x [cse, fixpoint: {passes: *x}]": "no list of passes",
	} {
		_, err := Parse([]byte(src))
		require.ErrorContains(t, err, want, src)
		require.NotContains(t, err.Error(), "\n")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]\npasses: *a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Parse(b); err == nil {
			require.False(t, r.Pipeline == "" && len(r.Options) == 0)
		}
	})
}
