package rulefile_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rulefile"
)

const subNeg = `rule sub-neg "turns x - (-y) into x + y"
match {
   n: shared = Neg (y)
   z = Sub (x, n)
}
`

// TestRules: the example file of the documentation is right, and each rule of it can be tested.
func TestRules(t *testing.T) {
	src, err := os.ReadFile("testdata/good.onnxtxt")
	require.NoError(t, err)
	f, err := rulefile.Parse(src)
	require.NoError(t, err)
	require.NoError(t, f.Test(context.Background(), 1))
	require.NoError(t, f.Test(context.Background(), 2))
}

// TestWrong: rules that are nearly right are found out, whatever the seed.
func TestWrong(t *testing.T) {
	for name, src := range map[string]string{
		"sign":         subNeg + "replace { z = Sub (x, y) }",
		"operands":     `rule r "swaps a difference" match { z = Sub (x, y) } replace { z = Sub (y, x) }`,
		"minus zero":   `rule r "removes + 0" match { z = Add (x, 0) } replace { z = Identity (x) }`,
		"zero product": `rule r "0 * x is 0" match { z = Mul (x, 0) } replace { o = scalar <value = 0.0> (x) z = Mul (o, o) }`,
		"order":        `rule r "associates" match { a = Add (x, y) z = Add (a, w) } replace { b = Add (y, w) z = Add (x, b) }`,
		"axis":         `rule r "forgets the axis" match { z = Softmax <axis = @axis> (x) } replace { z = Softmax (x) }`,
		"perm":         `rule r "two transposes are one" match { a = Transpose <perm = @p> (x) z = Transpose <perm = @q> (a) } replace { z = Transpose <perm = @p> (x) }`,
		"shape":        `rule r "forgets to broadcast" match { a = Sub (x, y) z = Add (a, y) } where { same_type(x, y) } replace { z = Identity (x) }`,
		"division":     `rule r "x / x is 1" match { z = Div (x, x) } replace { o = scalar <value = 1.0> (x) z = Mul (o, o) }`,
		"relu":         `rule r "max is relu" match { z = Max (x, 0) } replace { a = Abs (x) z = Relu (a) }`,
		"condition":    `rule r "drops a reduction" match { z = ReduceSum <keepdims = 1> (x, a: const) } where { rank(x) >= 1 } replace { z = Identity (x) }`,
	} {
		f, err := rulefile.Parse([]byte(src))
		require.NoError(t, err, name)
		for seed := range uint64(20) {
			var wrong *rulefile.WrongError
			require.ErrorAs(t, f.Test(context.Background(), seed), &wrong, "%s, seed %d", name, seed)
			require.NotEmpty(t, wrong.Model)
			require.NotContains(t, wrong.Error(), "\n")
		}
	}
}

// TestUntested: what cannot be tried is not trusted.
func TestUntested(t *testing.T) {
	for src, want := range map[string]string{
		`rule r "of a strange operator" match { z = my.dom.F (x) } replace { z = my.dom.G (x) }`:                               "no engine here can run the model",
		`rule r "never" match { z = Neg (x) } where { rank(x) == 9 } replace { z = Abs (x) }`:                                  "rank(x) == 9 does not hold",
		`rule r "by samples" match { z = Neg (x) } where { rank(x) == 7 } samples { x: float[1,1,2] } replace { z = Abs (x) }`: "rank(x) == 7 does not hold",
	} {
		f, err := rulefile.Parse([]byte(src))
		require.NoError(t, err)
		var u *rulefile.UntestedError
		err = f.Test(context.Background(), 1)
		require.ErrorAs(t, err, &u, src)
		require.ErrorContains(t, err, want)
	}
	// With samples, what is rarely met by chance is tested, here with the result that it is wrong.
	f, err := rulefile.Parse([]byte(`rule r "by samples" match { z = Neg (x) } where { rank(x) == 7 } samples { x: float[1,1,2,1,1,1,3] } replace { z = Abs (x) }`))
	require.NoError(t, err)
	var wrong *rulefile.WrongError
	require.ErrorAs(t, f.Test(context.Background(), 1), &wrong)
}

// TestPass: the rules are a pass like others: remarks, counts, selection.
func TestPass(t *testing.T) {
	f, err := rulefile.Parse([]byte(subNeg + "where { rank(x) == 1 }\nreplace { z = Add (x, y) }"))
	require.NoError(t, err)
	r, err := passes.NewRegistry(f.Pass("mine"))
	require.NoError(t, err)
	p, err := r.Parse("mine")
	require.NoError(t, err)
	m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 17]>
g (float[4] x, float[4] y, float[2,4] u) => (float[4] z, float[2,4] v) { n = Neg (y) z = Sub (x, n) k = Neg (u) v = Sub (u, k) }`))
	require.NoError(t, err)
	var why []string
	rep, err := p.Run(context.Background(), m, passes.Config{Remarks: func(x passes.Remark) {
		if !x.Applied {
			why = append(why, x.Rule+": "+x.Why)
		}
	}})
	require.NoError(t, err)
	require.Equal(t, 1, rep.Rewrites)
	require.Equal(t, []string{"sub-neg: rank(x) == 1 does not hold"}, why)
	require.Contains(t, text.PrintGraph(m.Main), "z = Add (x, y)")
}

func TestMistakes(t *testing.T) {
	const match, replace = "match { z = Neg (x) }\n", "replace { z = Abs (x) }"
	for src, want := range map[string]string{
		"":                                       "1:1: there is no rule",
		"rul r":                                  `1:1: expected the word rule, found "rul"`,
		"rule R \"d\"":                           `"R" is no name of a rule`,
		"rule r":                                 "expected a description",
		"rule r \"d\"\n" + match:                 "rule r has no part replace",
		"rule r \"d\"\n" + replace:               "rule r has no part match",
		"rule r \"d\" match { z = Neg (x) " + "": "this '{' is not closed",
		"rule r \"d\"\nmatch {\n z = Neg (x\n}\n" + replace:                              "4:",
		"rule r \"d\"\n" + match + "replace { y = Abs (x) }":                             `does not define "z"`,
		"rule r \"d\"\n" + match + "replace {\n z = Abs (y) }":                           `4:11: "y" is neither`,
		"rule r \"d\"\n" + match + "replace { z = Abss (x) }":                            "there is no operator Abss",
		"rule r \"d\"\n" + match + "where { rnk(x) == 1 }" + replace:                     `3:1: there is no function "rnk", did you mean "rank"?`,
		"rule r \"d\"\n" + match + "where {\n rank(y) == 1 }" + replace:                  `4:1: rank: the pattern has no value "y"`,
		"rule r \"d\"\n" + match + "where { axis == 1 }" + replace:                       `captures no attribute "axis"`,
		"rule r \"d\"\n" + match + "where { x == 1 }" + replace:                          "x is a value; conditions are about",
		"rule r \"d\"\n" + match + "where { rank(x) == }" + replace:                      "it ends too early",
		"rule r \"d\"\n" + match + "where { rank(x) = 1 }" + replace:                     "cannot stand in a condition",
		"rule r \"d\"\n" + match + "samples { y: float[2] }" + replace:                   `captures no value "y"`,
		"rule r \"d\"\n" + match + "samples { x: floaty[2] }" + replace:                  "is no element type",
		"rule r \"d\"\n" + match + "samples { x: float[99999,99999] }" + replace:         "has more than",
		"rule r \"d\"\n" + match + "promise 7 " + replace:                                "promise needs a bound",
		"rule r \"d\"\n" + match + "unless {}" + replace:                                 `there is no part "unless"`,
		"rule r \"d\"\n" + match + match + replace:                                       "two parts match",
		"rule r \"d\"\n" + match + replace + "\nrule r \"d\"\n" + match + replace:        "two rules r",
		"rule r \"d\"\n" + match + "where { " + strings.Repeat("(", 999) + "}" + replace: "nests too deep",
		"rule r \"d\"\n" + match + "replace { z = Abs <a = @b> (x) }":                    `captures no attribute "b"`,
	} {
		_, err := rulefile.Parse([]byte(src))
		require.ErrorContains(t, err, want, src)
		require.NotContains(t, err.Error(), "\n")
	}
}

func FuzzParse(f *testing.F) {
	src, err := os.ReadFile("testdata/good.onnxtxt")
	require.NoError(f, err)
	f.Add(src)
	for _, s := range strings.SplitAfter(string(src), "\n\n") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := rulefile.Parse(b)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NotEmpty(t, r.Rules)
		_, err = passes.NewRegistry(r.Pass("mine"))
		require.NoError(t, err)
	})
}
