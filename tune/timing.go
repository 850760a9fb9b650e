package tune

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/rounds"
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

// race times two sessions on the same input, in turns, so that both see the same state of the machine.
func race(ctx context.Context, original, candidate engine.Session, in map[string]ir.Datum, lasts time.Duration) (timing, error) {
	var took [2][]time.Duration
	sessions := [2]engine.Session{original, candidate}
	o := rounds.Options{WarmUp: warmUp, Least: leastRounds, Most: mostRounds, Time: lasts}
	err := o.Run(2, func(i int, counts bool) error {
		t, err := clocked(ctx, sessions[i], in)
		if err == nil && counts {
			took[i] = append(took[i], t)
		}
		return err
	})
	if err != nil {
		return timing{}, err
	}
	base, mine := rounds.Milliseconds(took[0]), rounds.Milliseconds(took[1])
	t := timing{p50: rounds.Quantile(mine, .5), p95: rounds.Quantile(mine, .95), base: rounds.Quantile(base, .5), speed: rounds.Quantile(base, .25) / rounds.Quantile(mine, .25)}
	if math.IsNaN(t.speed) || t.speed <= 0 {
		return t, fmt.Errorf("the clock is too coarse for a run of this model")
	}
	return t, nil
}
