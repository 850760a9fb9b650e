package tune

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// Rounds of a timing: some that do not count, then as many as the time allows, but a few at least.
const (
	warmUp      = 3
	leastRounds = 9
	mostRounds  = 2000
)

// timing is what side-by-side runs of two models gave.
type timing struct {
	p50, p95 float64 // milliseconds of the candidate
	base     float64 // median milliseconds of the original meanwhile
	speed    float64 // original over candidate, of the lower quartiles: what else the machine does only adds to times
}

// Clock is a session that tells how long a run takes, where the time of Run holds more than that or it has none.
type Clock interface {
	Time(ctx context.Context, in map[string]ir.Datum) (time.Duration, error)
}

// clocked is how long a run of a session takes.
func clocked(ctx context.Context, s engine.Session, in map[string]ir.Datum) (took time.Duration, err error) {
	if c, ok := s.(Clock); ok {
		return c.Time(ctx, in)
	}
	begun := time.Now()
	err = onnxio.Guard(func() error { _, err := s.Run(ctx, in); return err })
	return time.Since(begun), err
}

// race times two sessions on the same input, in turns, so that both see the same state of the machine; every other round in reverse order.
func race(ctx context.Context, original, candidate engine.Session, in map[string]ir.Datum, lasts time.Duration) (timing, error) {
	var took [2][]float64
	var end time.Time
	sessions := [2]engine.Session{original, candidate}
	for k := -warmUp; k < mostRounds; k++ {
		if k == 0 {
			end = time.Now().Add(lasts)
		}
		if k >= leastRounds && time.Now().After(end) {
			break
		}
		for i := range 2 {
			if k%2 != 0 {
				i = 1 - i
			}
			t, err := clocked(ctx, sessions[i], in)
			if err != nil {
				return timing{}, err
			}
			if k >= 0 {
				took[i] = append(took[i], float64(t.Nanoseconds())/1e6)
			}
		}
	}
	t := timing{p50: quantile(took[1], .5), p95: quantile(took[1], .95), base: quantile(took[0], .5), speed: quantile(took[0], .25) / quantile(took[1], .25)}
	if math.IsNaN(t.speed) || t.speed <= 0 {
		return t, fmt.Errorf("the clock is too coarse for a run of this model")
	}
	return t, nil
}

// quantile of values, interpolated between neighbours.
func quantile(values []float64, q float64) float64 {
	v := slices.Sorted(slices.Values(values))
	at := q * float64(len(v)-1)
	i := int(math.Floor(at))
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}
