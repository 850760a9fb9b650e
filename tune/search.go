package tune

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/onnxopt/onnxopt/tune/trial"
)

// Search is a run of strategies. Space, Goal, Runner, Strategies and Rungs are required.
type Search struct {
	Space      *Space
	Goal       *Goal
	Runner     Runner
	Strategies []Strategy
	Rungs      []Rung
	Seed       uint64
	// Log keeps measurements between runs; nil: there is none. Key is what all of them depend on, TimeKey what timed ones do besides.
	Log          *trial.Log
	Key, TimeKey []any
	// Time and Trials bound the search, 0: not at all. Trials counts those taken from the log, too, so that the same bound gives the same result.
	Time   time.Duration
	Trials int
	// Progress is told of each measurement; may be nil.
	Progress func(Event)

	state  *State
	done   int
	cached int
	begun  time.Time
}

// Event is a measurement, or the beginning of one (Begins).
type Event struct {
	Strategy string
	Result   *Result
	Begins   int // so many measurements begin; 0: one has ended
	Trials   int
	Cached   bool
	Best     bool // it is the best on all data so far
}

// ErrBudget says that the time, or the number of trials, is used up.
var ErrBudget = errors.New("the budget is used up")

// Missed says that the original itself does not hold the floor.
type Missed struct{ Text string }

func (m *Missed) Error() string { return m.Text }

// Run searches. The state holds what was measured whatever the error: nil when the strategies have nothing more to try, ErrBudget, or what
// stopped the search.
func (s *Search) Run(ctx context.Context) (*State, error) {
	s.begun = time.Now()
	s.state = &State{Space: s.Space, Goal: s.Goal, Seed: s.Seed, Rungs: s.Rungs, by: map[string]*Result{}}
	if err := s.originals(ctx); err != nil {
		return s.state, err
	}
	if s.Time > 0 {
		var cancel func()
		ctx, cancel = context.WithDeadlineCause(ctx, s.begun.Add(s.Time), ErrBudget)
		defer cancel()
	}
	for _, y := range s.Strategies {
		for {
			b := y.Next(s.state)
			if len(b.Genomes) == 0 {
				break
			}
			if err := s.race(ctx, y.Name(), b); err != nil {
				if cause := context.Cause(ctx); cause != nil && errors.Is(cause, ErrBudget) {
					err = ErrBudget
				}
				return s.state, err
			}
		}
	}
	return s.state, nil
}

// Counts are the measurements so far, and how many of them the log had.
func (s *Search) Counts() (done, cached int) { return s.done, s.cached }

// originals measures the model as it is on the data of each rung.
func (s *Search) originals(ctx context.Context) error {
	whole := s.Space.Whole()
	r := s.candidate(whole)
	for rung := range s.Rungs {
		if err := s.measure(ctx, "the original", []*Result{r}, rung); err != nil {
			return err
		}
		if r.Err != "" {
			return fmt.Errorf("the original cannot be measured: %s", r.Err)
		}
		if rung > 0 { // timed once: beside itself it takes the same time
			for _, o := range []string{Latency, P95, Throughput} {
				if x, ok := s.state.base[0][o]; ok {
					r.Values[o] = x
				}
			}
		}
		s.state.base = append(s.state.base, r.Values)
		r.Rung = rung
	}
	for _, c := range s.Goal.Floors {
		if c.What == Drop {
			continue
		}
		if miss := s.Goal.miss(c, r.Values, r.Values); miss > 0 {
			return &Missed{fmt.Sprintf("the original misses the floor %s itself: its %s is %.4f", c.Text, s.Goal.Metric, r.Values[Quality])}
		}
	}
	return nil
}

// candidate is the result of a genome, made where there is none yet. Genomes of one pipeline are one candidate.
func (s *Search) candidate(g Genome) *Result {
	if r := s.state.by[g.key()]; r != nil {
		return r
	}
	text := s.Space.Pipeline(g)
	r := s.state.by[text]
	if r == nil {
		r = &Result{Genome: g, Pipeline: text, Name: s.Space.Name(g), Rung: -1}
		s.state.results = append(s.state.results, r)
		s.state.by[text] = r
	}
	s.state.by[g.key()] = r
	return r
}

// third is the part of a round that goes on to the next, as in successive halving with a factor of three.
const third = 3

// race measures a batch, ever fewer of it on ever more data.
func (s *Search) race(ctx context.Context, strategy string, b Batch) error {
	var field []*Result
	for _, g := range b.Genomes {
		if r := s.candidate(g); r.Rung < s.state.Top() && r.Err == "" {
			field = append(field, r)
		}
	}
	first := 0
	if !b.Low && len(field) <= b.Keep { // none can lose
		first = s.state.Top()
	}
	for rung := first; rung < len(s.Rungs); rung++ {
		var open []*Result // others were measured on as much before
		for _, r := range field {
			if r.Rung < rung {
				open = append(open, r)
			}
		}
		if err := s.measure(ctx, strategy, open, rung); err != nil {
			return err
		}
		if b.Low || rung == s.state.Top() {
			return nil
		}
		order := b.Order
		if order == nil {
			order = s.state.byMerit
		}
		var left []*Result
		for _, r := range order(field) {
			if r.Err == "" && len(left) < max(b.Keep, (len(field)+third-1)/third) {
				left = append(left, r)
			}
		}
		if rung+1 == s.state.Top() {
			left = left[:min(len(left), b.Keep)]
		}
		field = left
	}
	return nil
}

// trial is the measurement of a result on a rung.
func (s *Search) trial(r *Result, rung int) Trial {
	q := s.Rungs[rung]
	return Trial{Pipeline: r.Pipeline, Samples: q.Samples, Calib: q.Calib, Millis: q.Millis}
}

func (s *Search) key(t Trial) string {
	parts := append([]any{"tune 1", t}, s.Key...)
	if t.Millis > 0 {
		parts = append(parts, s.TimeKey...)
	}
	return trial.Key(parts...)
}

// measure measures results on a rung, those that the log has not.
func (s *Search) measure(ctx context.Context, strategy string, rs []*Result, rung int) error {
	var trials []Trial
	var open []*Result
	var over error
	for _, r := range rs {
		if s.Trials > 0 && s.done >= s.Trials+len(s.Rungs) { // the originals are not counted
			over = ErrBudget
			break
		}
		t := s.trial(r, rung)
		if s.Log != nil {
			if k, ok := s.Log.Get(s.key(t)); ok {
				s.cached++
				s.took(strategy, r, rung, Outcome{Values: k.Metrics, Err: k.Err}, true)
				continue
			}
		}
		s.done++ // here, so that a bound counts what is under way
		trials, open = append(trials, t), append(open, r)
	}
	if len(trials) == 0 {
		return cmp.Or(over, ctx.Err())
	}
	s.done -= len(trials)
	if s.Progress != nil {
		s.Progress(Event{Strategy: strategy, Begins: len(trials), Trials: s.done})
	}
	outcomes := make([]*Outcome, len(trials))
	err := s.Runner.Run(ctx, trials, func(i int, o Outcome) error {
		outcomes[i] = &o
		return s.keep(trials[i], o)
	})
	for i, o := range outcomes { // in order, so that results do not depend on who was first
		if o != nil {
			s.took(strategy, open[i], rung, *o, false)
		}
	}
	return cmp.Or(err, over)
}

// keep writes a measurement to the log.
func (s *Search) keep(t Trial, o Outcome) error {
	if s.Log == nil {
		return nil
	}
	params, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.Log.Put(trial.Record{Key: s.key(t), Kind: "tune", Params: params, Metrics: o.Values, Err: o.Err, Seconds: o.Seconds, Machine: trial.Machine()})
}

// took notes an outcome.
func (s *Search) took(strategy string, r *Result, rung int, o Outcome, cached bool) {
	s.done++
	r.Err = o.Err
	best := s.bestMerit()
	if r.Err == "" {
		r.Rung, r.Values = rung, s.scaled(o.Values)
	}
	if s.Progress != nil {
		full := r.Err == "" && rung == s.state.Top() && len(s.state.base) > rung
		s.Progress(Event{Strategy: strategy, Result: r, Trials: s.done, Cached: cached, Best: full && s.state.merit(r) < best})
	}
}

// bestMerit is that of the best result on all data.
func (s *Search) bestMerit() float64 {
	if len(s.state.base) < len(s.Rungs) {
		return math.Inf(-1)
	}
	if b := s.state.Best(); b != nil {
		return s.state.merit(b)
	}
	return math.Inf(1)
}

// scaled are values with times as shares of the original's when it was measured, by the ratio of runs side by side: the state of a machine
// changes between measurements.
func (s *Search) scaled(v Values) Values {
	r := Values{}
	for k, x := range v {
		r[k] = x
	}
	if speed := v["speed"]; speed > 0 && len(s.state.base) > 0 {
		base := s.state.base[0]
		r[Latency] = base[Latency] / speed
		r[P95] = v[P95] / v["beside"] * base[Latency]
		r[Throughput] = base[Throughput] * speed
	}
	return r
}
