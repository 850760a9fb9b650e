package rewrite_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// observer is asked before each rewrite, as hooks of tests are.
type observer struct{}

func (observer) Before(*passes.StepRun) bool            { return true }
func (observer) After(_ *passes.StepRun, e error) error { return e }
func (observer) Rewrite(int, string, *ir.Node) bool     { return true }

// TestAlternativesReadWhenNeeded: an alternative is read when a model has all its operators, those of inner nodes included; under a hook
// that observes rewrites all are, so that a wrong one does not wait for a model in the hands of a user.
func TestAlternativesReadWhenNeeded(t *testing.T) {
	pass := rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, &rewrite.Rule{
		Name:  "one-of-two",
		Doc:   "removes a negation of a negation",
		Match: rewrite.MustParse("y = Neg (x)\nz = Neg (y)", "y = Exp (x\nz = {Neg, Abs} (y)"), // the second lacks a parenthesis
		Replace: func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			return []*ir.Value{m.Value("x")}
		},
	})
	reg, err := passes.NewRegistry(pass)
	require.NoError(t, err)
	p, err := reg.Parse("test")
	require.NoError(t, err)
	const negs = "g (float[N] x) => (float[N] z) { a = Relu (x) y = Neg (a) z = Neg (y) }"
	run := func(src string, hooks ...passes.Hook) (int, error) {
		r, err := p.Run(context.Background(), parse(t, src), passes.Config{Hooks: hooks})
		return r.Rewrites, err
	}
	n, err := run(negs)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	var internal *passes.InternalError
	_, err = run(negs, observer{})
	require.ErrorAs(t, err, &internal)
	_, err = run("g (float[N] x) => (float[N] z) { y = Exp (x) z = Abs (y) }")
	require.ErrorAs(t, err, &internal, "the model has all operators of the second alternative")
	_, err = run("g (float[N] x) => (float[N] z) { z = Abs (x) }")
	require.NoError(t, err, "it has the root alone")
}
