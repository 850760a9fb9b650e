package tune

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// clock is a session that says how long it takes.
type clock struct {
	engine.Session
	took time.Duration
}

func (c *clock) Time(context.Context, map[string]ir.Datum) (time.Duration, error) { return c.took, nil }

// TestClock: where sessions tell the time it is theirs.
func TestClock(t *testing.T) {
	r, err := race(t.Context(), &clock{took: 30 * time.Millisecond}, &clock{took: 10 * time.Millisecond}, nil, time.Millisecond)
	require.NoError(t, err)
	require.InDelta(t, 3, r.speed, 1e-9)
	require.InDelta(t, 10, r.p50, 1e-9)
	require.InDelta(t, 10, r.p95, 1e-9)
	require.InDelta(t, 30, r.base, 1e-9)
}
