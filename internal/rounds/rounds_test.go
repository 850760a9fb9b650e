package rounds

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRun: the order turns around from round to round, the warm-up does not count, and the bounds hold.
func TestRun(t *testing.T) {
	run := func(o Options) (order []int, counted int) {
		require.NoError(t, o.Run(3, func(i int, counts bool) error {
			if order = append(order, i); counts {
				counted++
			}
			return nil
		}))
		return order, counted
	}
	order, counted := run(Options{WarmUp: 1, Least: 2, Most: 2, Time: time.Hour})
	require.Equal(t, []int{2, 1, 0, 0, 1, 2, 2, 1, 0}, order)
	require.Equal(t, 6, counted)
	_, counted = run(Options{Least: 4})
	require.Equal(t, 12, counted)
	_, counted = run(Options{Least: 1, Most: 7, Time: time.Hour})
	require.Equal(t, 21, counted)
	stop := errors.New("stop")
	require.ErrorIs(t, Options{Least: 9}.Run(1, func(int, bool) error { return stop }), stop)
}

func TestQuantile(t *testing.T) {
	v := Milliseconds([]time.Duration{4 * time.Millisecond, time.Millisecond, 2 * time.Millisecond})
	require.Equal(t, []float64{1, 2, 4}, v)
	require.InDelta(t, 2, Quantile(v, .5), 1e-12)
	require.InDelta(t, 1.5, Quantile(v, .25), 1e-12)
	require.InDelta(t, 4, Quantile(v, 1), 1e-12)
}
