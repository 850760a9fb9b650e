package budget_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/budget"
)

// TestGoal: a pass inside sees the goal, one behind does not.
func TestGoal(t *testing.T) {
	var seen []*passes.Goal
	look := passes.Define(passes.Info{Name: "look", Doc: "looks", Promise: passes.Promise{Lossy: true}}, struct{}{},
		func(c *passes.Context, _ *ir.Model, _ struct{}) error {
			seen = append(seen, c.Goal())
			return nil
		})
	r, err := passes.NewRegistry(budget.Pass, look)
	require.NoError(t, err)
	run := func(text string) error {
		p, err := r.Parse(text)
		require.NoError(t, err)
		require.True(t, p.Promise().Lossy)
		_, err = p.Run(context.Background(), ir.NewModel(8, 17), passes.Config{})
		return err
	}
	require.NoError(t, run("budget{drop=0.5}(look),look"))
	require.Equal(t, []*passes.Goal{{Drop: 0.5, Metric: "top1"}, nil}, seen)
	seen = nil
	require.NoError(t, run("budget{sqnr=30}(budget{drop=1 metric=agreement}(look),look)"))
	require.Equal(t, []*passes.Goal{{Drop: 1, Metric: "agreement"}, {Drop: -1, Metric: "top1", SQNR: 30}}, seen)
	require.ErrorContains(t, run("budget(look)"), "needs drop= or sqnr=")
}
