package refit

import (
	"context"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// Gather gives the normal equations of layers in their own model, by group: of what they are handed, and what they give. nil stands for one
// of which there are too few rows.
func Gather(ctx context.Context, m *ir.Model, layers []*Layer, samples []map[string]ir.Datum, e engine.Engine, pool *par.Pool, rows int, seed uint64) (map[*Layer][]*linalg.LeastSquares, error) {
	t, err := newTrack(m, e, pool, samples)
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		t.want(l.X, l.Y)
	}
	r := &runner{Task: Task{Pool: pool, Rows: rows, Seed: seed}, now: t, was: t}
	out := map[*Layer][]*linalg.LeastSquares{}
	for i, l := range layers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := t.advance(ctx, l.X, l.Y); err != nil {
			return nil, err
		}
		fit, held, why := r.equations(i, &problem{l: l, y: l.Y}, false)
		if why == "" {
			for g := range fit {
				if held[g].Rows > 0 {
					fit[g] = fit[g].Plus(held[g])
				}
			}
			out[l] = fit
		}
		t.release(l.X, l.Y)
	}
	return out, nil
}
