// Package schedule finds how the layers of a model are best written in C on this machine: sizes of tiles, orders of loops, unrolling, and
// which neighbours become one step. Candidates are ranked by an analytical model and by one learned from the log, built with the C
// compiler, and timed in processes of their own beside the default (as in AutoTVM: Chen et al., "Learning to Optimize Tensor Programs",
// 2018). What was found is kept only where the whole model is faster with it.
package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets/c"
	"github.com/onnxopt/onnxopt/tune/trial"
)

// Options of a search.
type Options struct {
	Target   string // with options, as --target has it
	Compiler *Compiler
	Time     time.Duration // for measuring, up to the last comparison; what the log knows takes none
	Log      *trial.Log
	Seed     uint64
	Progress func(string) // what is being done; may be nil
}

// Row is what was found for a layer.
type Row struct {
	Layer          string
	Count          int // how often it is in the model
	Default, Found float64
	Choice         c.Choice // nil: the default
	Tried          int
	Fusion         bool
}

// Result of a search.
type Result struct {
	Schedule *c.Schedule // what to write: without layers, if the default is as fast
	Rows     []Row
	// Curve is what is expected to be gained in all, in seconds a run, after each batch of candidates.
	Curve            []float64
	Measured, Reused int // trials made, and taken from the log
	Failed           int // of them
	Ended            string
	// Default and Found are the whole model's times in seconds, of a comparison side by side; Kept is the one that is written, "default",
	// "schedule" or "schedule without fusion".
	Default, Found float64
	Kept           string
	Rounding       float64 // the largest difference of an output from that by default, of all that was compared
	// How well the models order candidates: the mean over Layers layers of the rank correlation with the measured times.
	Analytical, Learned float64
	Layers              int
}

const (
	batch = 6    // candidates a program, the default not counted
	gain  = 0.98 // what counts as faster
	kind  = "c layer"
)

// state is what is known of a layer.
type state struct {
	layer   *c.Layer
	ratio   map[int]float64 // of choices that were tried, to the default
	second  float64         // of the default
	best    int
	stale   int // batches without progress
	planned []int
}

func (s *state) time() float64 {
	if s.best == 0 {
		return s.second
	}
	return s.second * s.ratio[s.best]
}

type search struct {
	o        Options
	ctx      context.Context
	m        *ir.Model
	dir      string
	deadline time.Time
	rand     *rand.Rand
	states   []*state
	examples []example
	model    *boosted
	r        *Result
}

// Search finds a schedule for m, which has to be in the form that the target's pipeline brings it to. Errors are those of the target, of the
// log, and of the context; candidates that fail are in the log.
func Search(ctx context.Context, m *ir.Model, o Options) (*Result, error) {
	dir, err := os.MkdirTemp("", "onnxopt-schedule-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	end := time.Now().Add(o.Time)
	s := &search{o: o, ctx: ctx, m: m, dir: dir, deadline: end.Add(-o.Time / 2), rand: rand.New(rand.NewPCG(o.Seed, 1)), r: &Result{Ended: "all candidates that were worth it are measured"}}
	s.remember()
	x, err := s.explore(s.empty())
	if err != nil {
		return nil, err
	}
	if err := s.fusions(s.watch(x, true)); err != nil {
		return nil, err
	}
	// how the layers are written that there are now
	s.deadline = end
	all := s.chosen()
	if x, err = s.explore(all); err != nil {
		return nil, err
	}
	s.watch(x, false)
	if err := s.tiles(all); err != nil {
		return nil, err
	}
	if err := s.decide(s.chosen()); err != nil {
		return nil, err
	}
	for _, t := range s.states {
		row := Row{Layer: t.layer.Key, Count: len(t.layer.Nodes), Default: t.second, Found: t.time(), Tried: len(t.ratio), Fusion: t.layer.Fusion}
		if t.best > 0 {
			row.Choice = t.layer.Choices[t.best]
		}
		s.r.Rows = append(s.r.Rows, row)
	}
	s.r.Analytical, s.r.Learned, s.r.Layers = agreement(s.examples)
	return s.r, nil
}

func (s *search) empty() *c.Schedule {
	return &c.Schedule{Lanes: s.o.Compiler.Lanes, Layers: map[string]c.Choice{}, Note: fmt.Sprintf("%s; %s; %s", s.o.Compiler.Version, strings.Join(s.o.Compiler.Argv[1:], " "), s.o.Compiler.Machine)}
}

func (s *search) explore(x *c.Schedule) (*c.Exploration, error) {
	return c.Explore(s.ctx, s.m, s.o.Target, x)
}

// remember takes the examples that the log holds of this machine and compiler.
func (s *search) remember() {
	for r := range s.o.Log.Each() {
		var e example
		if r.Kind != kind || r.Machine != s.o.Compiler.Machine || json.Unmarshal(r.Params, &e) != nil || e.Compiler != s.o.Compiler.Print || e.Lanes != s.o.Compiler.Lanes {
			continue
		}
		if e.seconds = r.Metrics["seconds"]; e.seconds > 0 && e.Cycles > 0 {
			s.examples = append(s.examples, e)
		}
	}
	s.model = learn(s.examples)
}

func (s *search) late() bool {
	if time.Now().Before(s.deadline) {
		return false
	}
	s.r.Ended = "the time is over"
	return true
}

// watch takes the layers of an exploration that are not known yet.
func (s *search) watch(x *c.Exploration, fusion bool) (list []*state) {
	for _, l := range x.Layers() {
		if l.Fusion == fusion && len(l.Choices) > 1 && !slices.ContainsFunc(s.states, func(t *state) bool { return t.layer.Key == l.Key }) {
			list = append(list, &state{layer: l, ratio: map[int]float64{}})
		}
	}
	s.states = append(s.states, list...)
	return list
}

// with is a schedule to which choices are added.
func with(x *c.Schedule) *c.Schedule {
	return &c.Schedule{Lanes: x.Lanes, Note: x.Note, Layers: maps.Clone(x.Layers)}
}

// tiles searches how each layer is written that a schedule has, in rounds over all of them, those first that take the most time.
func (s *search) tiles(start *c.Schedule) error {
	for round := 0; ; round++ {
		active := 0
		for _, t := range s.states {
			if t.planned = nil; !t.layer.Fusion {
				t.planned = s.propose(t)
			}
			if len(t.planned) > 0 {
				active++
			}
		}
		if active == 0 || round > 0 && s.late() || s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		slices.SortStableFunc(s.states, func(a, b *state) int {
			return cmp.Compare(float64(len(b.layer.Nodes))*b.time(), float64(len(a.layer.Nodes))*a.time())
		})
		first := with(start)
		for _, t := range s.states {
			if !t.layer.Fusion {
				delete(first.Layers, t.layer.Key)
			}
		}
		base, err := s.explore(first)
		if err != nil {
			return err
		}
		var others []*c.Exploration
		for i := range batch {
			x := with(first)
			for _, t := range s.states {
				if i < len(t.planned) {
					x.Layers[t.layer.Key] = t.layer.Choices[t.planned[i]]
				}
			}
			e, err := s.explore(x)
			if err != nil {
				return err
			}
			others = append(others, e)
		}
		for _, t := range s.states {
			if len(t.planned) == 0 {
				continue
			}
			s.say("layer %s", t.layer.Key)
			candidates := []*c.Candidate{base.Candidate(t.layer.Key)}
			for i := range t.planned {
				candidates = append(candidates, others[i].Candidate(t.layer.Key))
			}
			before := t.time()
			if err := s.measure(t, append([]int{0}, t.planned...), candidates); err != nil {
				return err
			}
			if t.stale++; t.time() < 0.99*before || round == 0 {
				t.stale = 0
			}
			s.curve()
		}
		s.model = learn(s.examples)
	}
}

// propose lists the choices to try next: the best by the models, and one at random, which teaches what they do not know.
func (s *search) propose(t *state) []int {
	if t.stale >= 2 {
		return nil
	}
	var open []int
	guesses := map[int]float64{}
	for i := range t.layer.Choices[1:] {
		i++
		if _, ok := t.ratio[i]; !ok {
			open = append(open, i)
			f := t.layer.Features(t.layer.Choices[i])
			guesses[i] = guess(s.model, f.Cycles, f.Vector())
		}
	}
	slices.SortStableFunc(open, func(a, b int) int { return cmp.Compare(guesses[a], guesses[b]) })
	if len(open) > batch {
		i := batch - 1 + s.rand.IntN(len(open)-batch+1)
		open[batch-1], open = open[i], open[:batch]
	}
	return open
}

// measure times candidates beside the first, which is the default, or takes what the log says of them. Choices of what cannot be built or
// computes something else do not count.
func (s *search) measure(t *state, choices []int, candidates []*c.Candidate) error {
	if candidates[0] == nil {
		t.stale = 2
		return nil
	}
	keys := make([]string, len(choices))
	var run []int
	for i, x := range candidates {
		if x == nil {
			t.ratio[choices[i]] = math.Inf(1)
			continue
		}
		keys[i] = trial.Key(kind, candidates[0].Code, x.Code, s.o.Compiler.Print, s.o.Compiler.Machine)
		if i == 0 {
			continue
		}
		if r, ok := s.o.Log.Get(keys[i]); ok {
			s.r.Reused++
			s.take(t, choices[i], r)
			continue
		}
		run = append(run, i)
	}
	if len(run) == 0 || s.r.Measured > 0 && s.late() {
		return s.ctx.Err()
	}
	program := []*c.Candidate{candidates[0]}
	for _, i := range run {
		program = append(program, candidates[i])
	}
	start := time.Now()
	source, weights := c.Program(s.o.Compiler.Lanes, program)
	out, err := s.o.Compiler.run(s.ctx, s.dir, source, weights)
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	spent := time.Since(start).Seconds() / float64(len(run))
	times, sums, sizes := make([]float64, len(program)), make([]float64, len(program)), make([]float64, len(program))
	if err == nil {
		in := strings.NewReader(out)
		for i := range program {
			if _, err = fmt.Fscan(in, &times[i], &sums[i], &sizes[i]); err != nil {
				err = fmt.Errorf("the program did not say its times: %w", err)
				break
			}
		}
	}
	if err != nil && len(run) > 1 { // find out which one it is
		for _, i := range run {
			if err := s.measure(t, []int{choices[0], choices[i]}, []*c.Candidate{candidates[0], candidates[i]}); err != nil {
				return err
			}
		}
		return nil
	}
	for k, i := range run {
		e := example{Layer: t.layer.Key, Lanes: s.o.Compiler.Lanes, Compiler: s.o.Compiler.Print}
		choice := t.layer.Choices[choices[i]]
		if !t.layer.Fusion {
			f := t.layer.Features(choice)
			e.Cycles, e.Features = f.Cycles, f.Vector()
		}
		params, perr := json.Marshal(struct {
			example
			Choice c.Choice `json:"choice"`
		}{e, choice})
		if perr != nil {
			return perr
		}
		r := trial.Record{Key: keys[i], Kind: kind, Params: params, Seconds: spent, Machine: s.o.Compiler.Machine}
		switch {
		case err != nil:
			r.Err = err.Error()
		case math.Abs(sums[k+1]-sums[0]) > 1e-5*sizes[0] || sums[k+1] != sums[k+1]:
			r.Err = fmt.Sprintf("it computes something else: %g instead of %g", sums[k+1], sums[0])
		case !(times[k+1] > 0 && times[0] > 0):
			r.Err = "it is too fast for the clock"
		default:
			r.Metrics = map[string]float64{"seconds": times[k+1], "default": times[0]}
			if e.seconds = times[k+1]; e.Cycles > 0 {
				s.examples = append(s.examples, e)
			}
		}
		if perr := s.o.Log.Put(r); perr != nil {
			return perr
		}
		s.r.Measured++
		s.take(t, choices[i], r)
	}
	return nil
}

// take counts a trial.
func (s *search) take(t *state, choice int, r trial.Record) {
	if r.Err != "" {
		s.r.Failed++
		t.ratio[choice] = math.Inf(1)
		return
	}
	t.ratio[choice] = r.Metrics["seconds"] / r.Metrics["default"]
	if d := r.Metrics["default"]; t.second == 0 || d < t.second {
		t.second = d
	}
	if q := t.ratio[choice]; q < gain && (t.best == 0 || q < t.ratio[t.best]) {
		t.best = choice
	}
}

// curve notes what is expected to be gained by now.
func (s *search) curve() {
	sum := 0.0
	for _, t := range s.states {
		sum += float64(len(t.layer.Nodes)) * (t.second - t.time())
	}
	s.r.Curve = append(s.r.Curve, sum)
}

// chosen is the schedule of the best choices so far.
func (s *search) chosen() *c.Schedule {
	x := s.empty()
	for _, t := range s.states {
		if t.best > 0 {
			x.Layers[t.layer.Key] = t.layer.Choices[t.best]
		}
	}
	return x
}

// fusions searches which neighbours to join and which convolutions to transform, those first where the most is computed.
func (s *search) fusions(list []*state) error {
	slices.SortStableFunc(list, func(a, b *state) int {
		return cmp.Compare(float64(len(b.layer.Nodes))*b.layer.Work, float64(len(a.layer.Nodes))*a.layer.Work)
	})
	base, err := s.explore(s.empty())
	if err != nil {
		return err
	}
	most := 0
	for _, t := range list {
		most = max(most, len(t.layer.Choices))
	}
	var others []*c.Exploration
	for i := 1; i < most; i++ {
		x := s.empty()
		for _, t := range list {
			if i < len(t.layer.Choices) {
				x.Layers[t.layer.Key] = t.layer.Choices[i]
			}
		}
		e, err := s.explore(x)
		if err != nil {
			return err
		}
		others = append(others, e)
	}
	for _, t := range list {
		s.say("fusion %s", t.layer.Key)
		choices, candidates := []int{0}, []*c.Candidate{base.Candidate(t.layer.Key)}
		for i := 1; i < len(t.layer.Choices); i++ {
			choices, candidates = append(choices, i), append(candidates, others[i-1].Candidate(t.layer.Key))
		}
		if err := s.measure(t, choices, candidates); err != nil {
			return err
		}
		s.curve()
	}
	// A sum left for itself changes what its convolution is, so that it would lose its transform: the one counts that gains more.
	for _, t := range list {
		what, ok := strings.CutPrefix(t.layer.Key, "residual ")
		if !ok || t.best == 0 {
			continue
		}
		for _, u := range list {
			if u.layer.Key == "algorithm "+what && u.best > 0 {
				if t.second-t.time() < u.second-u.time() {
					t.best = 0
				} else {
					u.best = 0
				}
			}
		}
	}
	return nil
}

func (s *search) say(format string, a ...any) {
	if s.o.Progress != nil {
		s.o.Progress(fmt.Sprintf(format, a...))
	}
}
