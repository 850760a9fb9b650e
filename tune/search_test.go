package tune_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/tune"
	"github.com/onnxopt/onnxopt/tune/trial"
)

// made is a runner whose candidates are made up: each pass of a pipeline has a factor for latency and points it loses. Passes in pairs undo what
// they cost.
type made struct {
	lat, lose map[string]float64
	runs      int
	fail      error // after so many runs
	after     int
}

func (m *made) Run(ctx context.Context, trials []tune.Trial, each func(int, tune.Outcome) error) error {
	for i, t := range trials {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if m.runs++; m.fail != nil && m.runs > m.after {
			return m.fail
		}
		latency, lost := 10.0, 0.0
		for _, step := range strings.FieldsFunc(t.Pipeline, func(r rune) bool { return r == ',' }) {
			if step == "broken" {
				latency = math.NaN()
			}
			if f, ok := m.lat[step]; ok {
				latency *= f
			}
			lost += m.lose[step]
		}
		if strings.Contains(t.Pipeline, "prune") && strings.Contains(t.Pipeline, "quantize") {
			lost -= 1.5 // together they lose less than apart
		}
		o := tune.Outcome{Values: tune.Values{tune.Latency: latency, tune.P95: latency, tune.Throughput: 1000 / latency, tune.Size: 100 * latency, tune.Quality: .9 - lost/100}}
		if math.IsNaN(latency) {
			o = tune.Outcome{Err: "it does not run"}
		}
		if err := each(i, o); err != nil {
			return err
		}
	}
	return nil
}

func space() *tune.Space {
	gene := func(name string, k tune.Kind, levels ...string) tune.Gene {
		g := tune.Gene{Name: name, Group: -1, Kind: k, Level: []tune.Level{{Name: "as it is"}}}
		for _, l := range levels {
			g.Level = append(g.Level, tune.Level{Name: l, Pass: l})
		}
		return g
	}
	return &tune.Space{Genes: []tune.Gene{
		gene("a", tune.Prune, "prune1", "prune2", "prune3"), gene("b", tune.Decompose, "decompose1", "decompose2"),
		gene("c", tune.Quantize, "quantize1"), gene("d", tune.Fusion, "fuse1", "broken"), gene("e", tune.Precision, "half1"),
	}}
}

func runner() *made {
	return &made{
		lat:  map[string]float64{"prune1": .9, "prune2": .75, "prune3": .5, "decompose1": .8, "decompose2": .7, "quantize1": .55, "fuse1": .97, "half1": 1.1},
		lose: map[string]float64{"prune1": .2, "prune2": .9, "prune3": 4, "decompose1": .6, "decompose2": 2.5, "quantize1": 1.2, "half1": .1},
	}
}

func goal(t *testing.T, floor string, limits ...string) *tune.Goal {
	t.Helper()
	g := &tune.Goal{Objectives: []string{tune.Latency}, Metric: "top1"}
	c, err := tune.ParseCondition(floor, true)
	require.NoError(t, err)
	g.Floors = []tune.Condition{c}
	for _, l := range limits {
		c, err := tune.ParseCondition(l, false)
		require.NoError(t, err)
		g.Limits = append(g.Limits, c)
	}
	return g
}

var rungs = []tune.Rung{{Samples: 200, Calib: 16, Millis: 10}, {Samples: 600, Calib: 32, Millis: 20}, {Samples: 2000, Calib: 64, Millis: 50}}

func search(t *testing.T, r tune.Runner, g *tune.Goal, strategy string) *tune.Search {
	t.Helper()
	return &tune.Search{Space: space(), Goal: g, Runner: r, Strategies: tune.Strategies(strategy), Rungs: rungs, Seed: 7}
}

// every tries all combinations and returns the least latency that holds the floor.
func every(t *testing.T, drop float64) float64 {
	t.Helper()
	s, r := space(), runner()
	best := math.Inf(1)
	var walk func(g tune.Genome, i int)
	walk = func(g tune.Genome, i int) {
		if i == len(g) {
			require.NoError(t, r.Run(t.Context(), []tune.Trial{{Pipeline: s.Pipeline(g)}}, func(_ int, o tune.Outcome) error {
				if o.Err == "" && 90-100*o.Values[tune.Quality] <= drop+1e-9 {
					best = math.Min(best, o.Values[tune.Latency])
				}
				return nil
			}))
			return
		}
		for l := range s.Genes[i].Level {
			g[i] = uint8(l)
			walk(g, i+1)
		}
		g[i] = 0
	}
	walk(s.Whole(), 0)
	return best
}

// TestFindsTheBest: the strategies find what trying everything finds, though single choices do not add up, with fewer measurements on all data.
func TestFindsTheBest(t *testing.T) {
	for _, drop := range []float64{.5, 1, 2, 6} {
		want := every(t, drop)
		for _, strategy := range []string{"greedy", "nsga2", "auto"} {
			s := search(t, runner(), goal(t, fmt.Sprintf("drop<=%g", drop+1e-6)), strategy)
			state, err := s.Run(t.Context())
			require.NoError(t, err)
			best := state.Best()
			require.True(t, state.Met(best))
			within := 1.0
			if strategy != "auto" {
				within = 1.15 // each by itself comes near
			}
			require.LessOrEqual(t, best.Values[tune.Latency], want*within+1e-9, "%s, %g points: %s", strategy, drop, best.Name)
			require.Less(t, len(state.Full()), 60)
			for _, r := range state.Front() {
				require.Empty(t, r.Err)
			}
		}
	}
}

// listing is what a search found, in text.
func listing(s *tune.State) (r string) {
	for _, x := range s.Results() {
		r += fmt.Sprintf("%d %q %v %s\n", x.Rung, x.Pipeline, x.Values, x.Err)
	}
	for _, x := range s.Front() {
		r += x.Pipeline + "\n"
	}
	return r
}

// TestResume: the same measurements and seed give the same result, and what the log has is not measured again; another seed differs.
func TestResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trials.jsonl")
	run := func(r *made, seed uint64, trials int, logged bool) (string, int, error) {
		s := search(t, r, goal(t, "drop<=1.0"), "auto")
		s.Seed, s.Trials = seed, trials
		if logged {
			l, err := trial.Open(path)
			require.NoError(t, err)
			defer l.Close()
			s.Log, s.Key = l, []any{"model", "data"}
		}
		state, err := s.Run(t.Context())
		_, cached := s.Counts()
		return listing(state), cached, err
	}
	whole, _, err := run(runner(), 7, 50, false)
	require.ErrorIs(t, err, tune.ErrBudget)
	again, _, _ := run(runner(), 7, 50, false)
	require.Equal(t, whole, again)

	stop := errors.New("the power is gone")
	broken := runner()
	broken.fail, broken.after = stop, 20
	_, _, err = run(broken, 7, 50, true)
	require.ErrorIs(t, err, stop)
	rest := runner()
	resumed, cached, err := run(rest, 7, 50, true)
	require.ErrorIs(t, err, tune.ErrBudget)
	require.Equal(t, whole, resumed)
	require.Equal(t, 20, cached)
	require.Equal(t, 50+len(rungs)-20, rest.runs)
	third := runner()
	full, _, _ := run(third, 7, 50, true)
	require.Equal(t, whole, full)
	require.Zero(t, third.runs)

	all, _, err := run(runner(), 7, 0, false)
	require.NoError(t, err)
	other, _, err := run(runner(), 8, 0, false)
	require.NoError(t, err)
	require.NotEqual(t, all, other)
}

// TestMissed: a floor that the original misses is said before anything is tried, a goal that cannot be met leaves the nearest first.
func TestMissed(t *testing.T) {
	r := runner()
	_, err := search(t, r, goal(t, "top1>=0.95"), "auto").Run(t.Context())
	var missed *tune.Missed
	require.ErrorAs(t, err, &missed)
	require.ErrorContains(t, err, "0.9000")
	require.Equal(t, len(rungs), r.runs)

	state, err := search(t, runner(), goal(t, "drop<=1.0", "latency<=10%"), "auto").Run(t.Context())
	require.NoError(t, err)
	best := state.Best()
	require.False(t, state.Met(best))
	require.LessOrEqual(t, state.Loss(best), 1.0)
	require.InDelta(t, every(t, 1), best.Values[tune.Latency], 1e-9)
}

// TestStopped: time that is used up, and an interrupt, leave what was measured.
func TestStopped(t *testing.T) {
	slow := &waiting{runner()}
	s := search(t, slow, goal(t, "drop<=1.0"), "auto")
	s.Time = 300 * time.Millisecond
	state, err := s.Run(t.Context())
	require.ErrorIs(t, err, tune.ErrBudget)
	require.NotEmpty(t, state.Full())

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	state, err = search(t, slow, goal(t, "drop<=1.0"), "auto").Run(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotEmpty(t, state.Full())
}

type waiting struct{ *made }

func (w *waiting) Run(ctx context.Context, trials []tune.Trial, each func(int, tune.Outcome) error) error {
	return w.made.Run(ctx, trials, func(i int, o tune.Outcome) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		return each(i, o)
	})
}

func TestConditions(t *testing.T) {
	for text, want := range map[string]tune.Condition{
		"latency<=60%":     {What: tune.Latency, Most: true, Bound: .6, Share: true},
		"p95 <= 3 ms":      {What: tune.P95, Most: true, Bound: 3},
		"size<=200k":       {What: tune.Size, Most: true, Bound: 200 << 10},
		"macs<=1.5M":       {What: tune.MACs, Most: true, Bound: 1.5e6},
		"throughput>=150%": {What: tune.Throughput, Bound: 1.5, Share: true},
	} {
		c, err := tune.ParseCondition(text, false)
		require.NoError(t, err, text)
		want.Text = text
		require.Equal(t, want, c)
	}
	for text, why := range map[string]string{
		"latency": "neither <= nor >=", "latncy<=1": `did you mean "latency"`, "latency>=5": "is bound by <=", "throughput<=5": "is bound by >=",
		"size<=x": "no number that fits", "size<=-5": "no number that fits", "latency<=NaN": "no number that fits", "drop<=1": "is none of",
	} {
		_, err := tune.ParseCondition(text, false)
		require.ErrorContains(t, err, why, text)
	}
	c, err := tune.ParseCondition("drop<=1.5%", true)
	require.NoError(t, err)
	require.Equal(t, 1.5, c.Bound)
	_, err = tune.ParseCondition("agreement<=1", true)
	require.ErrorContains(t, err, "is bound by >=")
}

// TestPipeline: groups with one choice are one step, and what stays float stays out of the quantizer.
func TestPipeline(t *testing.T) {
	s := &tune.Space{
		Groups: []tune.Group{{Layers: []string{"a", "b c"}}, {Layers: []string{"d"}}},
		Genes: []tune.Gene{
			{Name: "q", Group: -1, Kind: tune.Quantize, Level: []tune.Level{{}, {Pass: "quantize{mode=static}"}}},
			{Name: "p1", Group: 0, Kind: tune.Prune, Level: []tune.Level{{}, {Pass: "prune{ratio=0.5}"}}},
			{Name: "p2", Group: 1, Kind: tune.Prune, Level: []tune.Level{{}, {Pass: "prune{ratio=0.5}"}}},
			{Name: "k", Group: 1, Kind: tune.Keep, Level: []tune.Level{{}, {}}},
		},
	}
	require.Equal(t, "", s.Pipeline(s.Whole()))
	require.Equal(t, `prune{only=[a,"b c",d] ratio=0.5},quantize{except=[d] mode=static}`, s.Pipeline(tune.Genome{1, 1, 1, 1}))
	require.Equal(t, `prune{only=[d] ratio=0.5}`, s.Pipeline(tune.Genome{0, 0, 1, 1}))
	s.Genes[0].Level[1].Pass = "budget{drop=1}(quantize)"
	require.Equal(t, `budget{except=[d] drop=1}(quantize)`, s.Pipeline(tune.Genome{1, 0, 0, 1}))
}

// layered is a runner of a model of four layers, of which a quantizer spoils some: each loses points and wins time.
type layered struct {
	lose, win [4]float64
	runs      []string
}

func (m *layered) Run(_ context.Context, trials []tune.Trial, each func(int, tune.Outcome) error) error {
	for i, t := range trials {
		m.runs = append(m.runs, t.Pipeline)
		latency, lost := 10.0, 0.0
		for k := range m.lose {
			if strings.HasPrefix(t.Pipeline, "quantize") && !strings.Contains(t.Pipeline, fmt.Sprint("l", k)) {
				latency, lost = latency-m.win[k], lost+m.lose[k]
			}
		}
		if err := each(i, tune.Outcome{Values: tune.Values{tune.Latency: latency, tune.Quality: .9 - lost/100}}); err != nil {
			return err
		}
	}
	return nil
}

// TestMixed: where a quantizer misses the floor the groups that spoil it are left in float, and no more; where it holds it none is.
func TestMixed(t *testing.T) {
	s := &tune.Space{Genes: []tune.Gene{{Name: "quantize", Group: -1, Kind: tune.Quantize, Level: []tune.Level{{}, {Name: "static", Pass: "quantize"}}}}}
	for k := range 4 {
		s.Groups = append(s.Groups, tune.Group{Layers: []string{fmt.Sprint("l", k)}})
		s.Genes = append(s.Genes, tune.Gene{Name: fmt.Sprint("group ", k), Group: k, Kind: tune.Keep, Level: []tune.Level{{}, {Name: "float"}}})
	}
	r := &layered{lose: [4]float64{4, .3, 1.5, .1}, win: [4]float64{1, 2, .5, 1}}
	find := func(floor string) *tune.Result {
		state, err := (&tune.Search{Space: s, Goal: goal(t, floor), Runner: r, Strategies: tune.Strategies("sensitivity"), Rungs: rungs}).Run(t.Context())
		require.NoError(t, err)
		require.True(t, state.Met(state.Best()))
		return state.Best()
	}
	require.Equal(t, "quantize{except=[l0,l2]}", find("drop<=1.0").Pipeline)
	r.runs = nil
	require.Equal(t, "quantize", find("drop<=6.0").Pipeline)
	require.NotContains(t, strings.Join(r.runs, "\n"), "except")
}
