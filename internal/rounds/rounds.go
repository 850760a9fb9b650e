// Package rounds times things side by side.
package rounds

import (
	"math"
	"slices"
	"time"
)

// Options say how many rounds there are.
type Options struct {
	WarmUp int           // that do not count
	Least  int           // that count whatever the time
	Most   int           // 0: as many as Time allows
	Time   time.Duration // behind the warm-up
	// Tell, if not nil, is told before each round; k counts from −WarmUp, end is when Time is over.
	Tell func(k int, end time.Time)
}

// Run runs n contenders in rounds, each once a round, so that all see the same state of the machine; every other round in reverse order.
func (o Options) Run(n int, run func(i int, counts bool) error) error {
	end := time.Now()
	for k := -o.WarmUp; ; k++ {
		if k == 0 {
			end = time.Now().Add(o.Time)
		}
		if k >= 0 && o.Most > 0 && k >= o.Most || k >= max(o.Least, 0) && time.Now().After(end) {
			return nil
		}
		if o.Tell != nil {
			o.Tell(k, end)
		}
		for i := range n {
			if k%2 != 0 {
				i = n - 1 - i
			}
			if err := run(i, k >= 0); err != nil {
				return err
			}
		}
	}
}

// Milliseconds of times, ascending.
func Milliseconds(times []time.Duration) []float64 {
	r := make([]float64, len(times))
	for i, t := range times {
		r[i] = float64(t.Nanoseconds()) / 1e6
	}
	slices.Sort(r)
	return r
}

// Quantile of ascending values, interpolated between neighbours.
func Quantile(v []float64, q float64) float64 {
	at := q * float64(len(v)-1)
	i := int(math.Floor(at))
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}
