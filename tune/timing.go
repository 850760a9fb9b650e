package tune

import (
	"context"
	"fmt"
	"math"
	"slices"
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

// Parts that a timing is divided into, and by what factor their results may differ.
const (
	mostParts = 4
	agreed    = 1.15
)

// timing is what side-by-side runs of two models gave.
type timing struct {
	p50, p95 float64 // milliseconds of the candidate
	base     float64 // median milliseconds of the original meanwhile
	speed    float64 // original over candidate, of lower quartiles: what else the machine does only adds to times
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

// race times two sessions on the same input, in turns, so that both see the same state of the machine. Where parts of the time do not agree,
// because the machine does other things, it takes up to four times as long.
func race(ctx context.Context, original, candidate engine.Session, in map[string]ir.Datum, lasts time.Duration) (timing, error) {
	var took [2][]time.Duration
	sessions := [2]engine.Session{original, candidate}
	o := rounds.Options{WarmUp: warmUp, Least: leastRounds, Most: mostRounds, Time: lasts}
	var speed, spread float64
	for k := 0; k == 0 || k < mostParts && spread > agreed; k++ {
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
		o.WarmUp = 0
		speed, spread = byParts(took)
	}
	base, mine := rounds.Milliseconds(took[0]), rounds.Milliseconds(took[1])
	t := timing{p50: rounds.Quantile(mine, .5), p95: rounds.Quantile(mine, .95), base: rounds.Quantile(base, .5), speed: speed}
	if math.IsNaN(t.speed) || math.IsInf(t.speed, 0) || t.speed <= 0 {
		return t, fmt.Errorf("the clock is too coarse for a run of this model")
	}
	return t, nil
}

// byParts is the median over parts of the time of the ratio of lower quartiles, and the largest of these ratios over the least.
func byParts(took [2][]time.Duration) (speed, spread float64) {
	n := len(took[0])
	parts := min(mostParts, n/3)
	var r []float64
	for i := range parts {
		quarter := func(t []time.Duration) float64 {
			return rounds.Quantile(rounds.Milliseconds(t[i*n/parts:(i+1)*n/parts]), .25)
		}
		r = append(r, quarter(took[0])/quarter(took[1]))
	}
	slices.Sort(r)
	return rounds.Quantile(r, .5), r[len(r)-1] / r[0]
}
