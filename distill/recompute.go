package distill

import (
	"context"

	"github.com/onnxopt/onnxopt/ir"
)

func (t *training) recompute(ctx context.Context, m *ir.Model) (int, error) { return 0, nil }
