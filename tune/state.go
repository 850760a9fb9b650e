package tune

import (
	"cmp"
	"math"
	"slices"
)

// Result is what is known of a candidate: its latest measurement, the one on most data.
type Result struct {
	Genome   Genome
	Pipeline string
	Name     string // in words
	Rung     int    // of the measurement; -1: there is none
	Values   Values
	Err      string // why there is none
}

// Rung is the part of the data, of those to measure on and of those that passes look at, that a round of the race takes, and for how long
// a candidate is timed there.
type Rung struct {
	Samples, Calib int
	Millis         int
}

// State is what a strategy sees: what was measured so far. The same measurements make the same state.
type State struct {
	Space *Space
	Goal  *Goal
	Seed  uint64
	Rungs []Rung

	base    []Values // of the original, by rung
	results []*Result
	by      map[string]*Result
}

// Top is the last rung, on all data.
func (s *State) Top() int { return len(s.Rungs) - 1 }

// Base is what was measured of the original on the data of a rung, nil before it was.
func (s *State) Base(rung int) Values {
	if rung >= len(s.base) {
		return nil
	}
	return s.base[rung]
}

// Results lists what was measured, in the order in which it first was, the original first.
func (s *State) Results() []*Result { return s.results }

// Result is what is known of a genome, nil for one that was not tried.
func (s *State) Result(g Genome) *Result { return s.by[g.key()] }

// Seen reports whether a genome was tried, or another one with the same pipeline.
func (s *State) Seen(g Genome) bool {
	return s.by[g.key()] != nil || s.by[s.Space.Pipeline(g)] != nil
}

// Loss is the points of the metric that a result lost, beside the original on the same data.
func (s *State) Loss(r *Result) float64 { return s.Goal.loss(s.base[r.Rung], r.Values) }

// Full lists the results on all data.
func (s *State) Full() (r []*Result) {
	for _, x := range s.results {
		if x.Err == "" && x.Rung == s.Top() {
			r = append(r, x)
		}
	}
	return r
}

// slack is what a loss may be off on the part of the data that a rung has: the standard error of a share, of the samples whose answer changed,
// in points.
func (s *State) slack(r *Result) float64 {
	n := s.Rungs[r.Rung].Samples
	if n == 0 || r.Rung == s.Top() {
		return 0
	}
	return 100 * math.Sqrt(math.Max(math.Abs(s.Loss(r)), 1)/100/float64(n))
}

// merit is what the goal makes of a result, lower is better: first floors and limits, then the objectives.
func (s *State) merit(r *Result) float64 {
	if r.Err != "" || r.Rung < 0 {
		return math.Inf(1)
	}
	base := s.base[r.Rung]
	m := s.Goal.weight(base, r.Values)
	if len(s.Goal.Floors) == 0 {
		m += math.Max(s.Loss(r), 0) / 10 // ten points are worth a factor of e
	}
	if f := s.Goal.Floored(base, r.Values) - s.slack(r); f > 0 {
		return 1000 + f
	}
	if l := s.Goal.Limited(base, r.Values); l > 0 {
		return 100 + 10*l + m
	}
	return m
}

// byMerit sorts results, the best first; equal ones keep their order.
func (s *State) byMerit(rs []*Result) []*Result {
	r := slices.Clone(rs)
	slices.SortStableFunc(r, func(a, b *Result) int { return cmp.Compare(s.merit(a), s.merit(b)) })
	return r
}

// Best is the result on all data that the goal prefers; Met says whether it holds every condition.
func (s *State) Best() *Result {
	all := s.byMerit(s.Full())
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// Met reports whether a result holds every condition of the goal.
func (s *State) Met(r *Result) bool { return s.Goal.Met(s.base[r.Rung], r.Values) }

// Front lists the results on all data that no other beats in every objective and in the metric, the most accurate first.
func (s *State) Front() []*Result {
	all := s.Full()
	axes := make([][]float64, len(all))
	for i, r := range all {
		axes[i] = s.Goal.axes(s.base[r.Rung], r.Values)
	}
	var front []*Result
	for i, r := range all {
		beaten := slices.ContainsFunc(axes, func(a []float64) bool { return dominates(a, axes[i]) })
		for j := 0; j < i && !beaten; j++ { // of equals the first
			beaten = slices.Equal(axes[i], axes[j])
		}
		if !beaten {
			front = append(front, r)
		}
	}
	slices.SortStableFunc(front, func(a, b *Result) int {
		return cmp.Or(cmp.Compare(s.Loss(a), s.Loss(b)), cmp.Compare(s.Goal.weight(s.base[a.Rung], a.Values), s.Goal.weight(s.base[b.Rung], b.Values)))
	})
	return front
}
