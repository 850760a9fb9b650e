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

// busy is a clock that another process disturbs for a while.
type busy struct {
	clock
	from, to, runs int
}

func (c *busy) Time(context.Context, map[string]ir.Datum) (time.Duration, error) {
	if c.runs++; c.runs > c.from && c.runs <= c.to {
		return 3 * c.took, nil
	}
	return c.took, nil
}

// TestDisturbed: where the machine is busy for a part of the time it is timed for longer, and the part does not count.
func TestDisturbed(t *testing.T) {
	c := &busy{clock: clock{took: 10 * time.Millisecond}, from: warmUp, to: warmUp + leastRounds/3}
	r, err := race(t.Context(), &clock{took: 20 * time.Millisecond}, c, nil, 0)
	require.NoError(t, err)
	require.InDelta(t, 2, r.speed, 1e-9)
	require.Greater(t, c.runs, warmUp+leastRounds)
	steady := &busy{clock: clock{took: 10 * time.Millisecond}}
	_, err = race(t.Context(), &clock{took: 20 * time.Millisecond}, steady, nil, 0)
	require.NoError(t, err)
	require.Equal(t, warmUp+leastRounds, steady.runs)
}

// TestClock: where sessions tell the time it is theirs.
func TestClock(t *testing.T) {
	r, err := race(t.Context(), &clock{took: 30 * time.Millisecond}, &clock{took: 10 * time.Millisecond}, nil, time.Millisecond)
	require.NoError(t, err)
	require.InDelta(t, 3, r.speed, 1e-9)
	require.InDelta(t, 10, r.p50, 1e-9)
	require.InDelta(t, 10, r.p95, 1e-9)
	require.InDelta(t, 30, r.base, 1e-9)
}
