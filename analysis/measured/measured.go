// Package measured is what passes share that look at data: the samples of a calibration, the values that a model takes on them, and
// how far the outputs of two models part on them.
//
// Nothing here holds the data: samples stream, runs go side by side on all threads, and what a run gives is handed on in the order of
// the samples, so that results do not depend on the number of threads.
package measured

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// ErrNoData says that a pass needs data and was given none. What wraps it names the option that gives them.
var ErrNoData = errors.New("there are no calibration data")

// Samples opens a sequence of the inputs of one run each, by name. It may be called any number of times, one reading at a time.
type Samples func(ctx context.Context) iter.Seq2[map[string]ir.Datum, error]

// Calibration is the data that a lossy pass looks at, and the engine that runs models over them. It does not change; Limit and Split
// give others.
type Calibration struct {
	*source
	limit int // 0: all
	// Of every sample i that limit lets through, those belong to it for which (i % every == every-1) is held; every 0: all do.
	every int
	held  bool
	pick  []int // of what is left, in ascending order; nil: all
	skip  int   // samples of what is left that are passed over
	watch func(in map[string]ir.Datum) error
}

// source is what all parts of a calibration set have in common.
type source struct {
	open     Samples
	engine   engine.Engine
	threads  int
	name     string
	progress func(done, total int)
	save     func(what string, contents []byte)
	clock    func() engine.Engine
	resume   Checkpoint
	store    Store
	count    sync.Once
	total    int
}

// Option is a setting of New.
type Option func(*source)

// Named says where the data come from, for messages.
func Named(name string) Option { return func(s *source) { s.name = name } }

// Progress is told of each sample of each reading; total is -1 while it is not known.
func Progress(tell func(done, total int)) Option { return func(s *source) { s.progress = tell } }

// Saving is given what a pass has found out and what may be used again instead of the data.
func Saving(save func(what string, contents []byte)) Option { return func(s *source) { s.save = save } }

// Timing measures times in the engine that open gives, which is called when one is needed. Otherwise the engine is that of all runs.
func Timing(open func() engine.Engine) Option {
	return func(s *source) { s.clock = sync.OnceValue(open) }
}

// Total tells the number of samples beforehand, if it is known (not negative).
func Total(n int) Option {
	return func(s *source) {
		if n >= 0 {
			s.count.Do(func() { s.total = n })
		}
	}
}

// New makes a calibration of samples. Threads below one means one.
func New(open Samples, e engine.Engine, threads int, options ...Option) *Calibration {
	s := &source{open: open, engine: e, threads: max(threads, 1), name: "calibration data"}
	for _, o := range options {
		o(s)
	}
	return &Calibration{source: s}
}

// Fixed are samples in memory.
func Fixed(samples ...map[string]ir.Datum) Samples {
	return func(context.Context) iter.Seq2[map[string]ir.Datum, error] {
		return func(yield func(map[string]ir.Datum, error) bool) {
			for _, s := range samples {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// For gives the calibration of a pass: that of its option, or else that of the flag --calib. Without either the error is one that
// wraps ErrNoData.
func For(c *passes.Context, d passes.Data) (*Calibration, error) {
	v, err := c.Data(d)
	if err != nil {
		if d == "" {
			return nil, fmt.Errorf("%w; --calib PATH names a data set, for example a folder of pictures or a .npz of the inputs", ErrNoData)
		}
		return nil, err
	}
	k, ok := v.(*Calibration)
	if !ok {
		return nil, fmt.Errorf("the data %q are a %T and no calibration", d, v)
	}
	return k, nil
}

// Name says where the data come from.
func (c *Calibration) Name() string { return c.name }

// Engine is what runs models.
func (c *Calibration) Engine() engine.Engine { return c.engine }

// Clock is the engine that times are measured in.
func (c *Calibration) Clock() engine.Engine {
	if c.clock == nil {
		return c.engine
	}
	return c.clock()
}

// Threads is the number of runs side by side.
func (c *Calibration) Threads() int { return c.threads }

// Save hands contents to whoever wants to keep them; nobody may.
func (c *Calibration) Save(what string, contents []byte) {
	if c.save != nil {
		c.save(what, contents)
	}
}

// Len is the number of samples. If it is not known they are read once to count them; of samples that cannot be read there are none
// behind, and reading them says why.
func (c *Calibration) Len() int { return max(c.whole()-c.skip, 0) }

// whole is the number of samples with those that are passed over.
func (c *Calibration) whole() int {
	if c.pick != nil {
		return len(c.pick)
	}
	n := c.all()
	if c.limit > 0 {
		n = min(n, c.limit)
	}
	if c.every > 0 {
		h := n / c.every
		if c.held {
			return h
		}
		return n - h
	}
	return n
}

// all is the number of samples of the source.
func (c *Calibration) all() int {
	c.count.Do(func() {
		for _, err := range c.open(context.Background()) {
			if err != nil {
				return
			}
			c.total++
		}
	})
	return c.total
}

// Limit takes n of the samples, spread evenly, because sets are often sorted by class. 0 takes all.
func (c *Calibration) Limit(n int) *Calibration {
	k := *c
	if n > 0 && (k.limit == 0 || n < k.limit) {
		k.limit = n
	}
	return &k
}

// Split divides the samples in two parts without a common sample; held gets about that share, every k-th. A set of one sample is not
// divided: both parts are the whole.
func (c *Calibration) Split(share float64) (fit, held *Calibration) {
	f, h := *c, *c
	if c.every > 0 || share <= 0 || c.Len() < 2 {
		return &f, &h
	}
	f.every = min(max(int(1/share+0.5), 2), c.Len())
	h.every, h.held = f.every, true
	return &f, &h
}

// Pick takes the samples at the given places, which ascend.
func (c *Calibration) Pick(at []int) *Calibration {
	k := *c
	k.pick = at
	if c.pick != nil {
		k.pick = nil
		for _, i := range at {
			k.pick = append(k.pick, c.pick[i])
		}
	}
	return &k
}

// After leaves the first n samples out.
func (c *Calibration) After(n int) *Calibration {
	k := *c
	k.skip += n
	return &k
}

// Watch calls f with each sample before it is given out, in their order, one at a time.
func (c *Calibration) Watch(f func(in map[string]ir.Datum) error) *Calibration {
	k := *c
	k.watch = f
	return &k
}

// Each yields the samples.
func (c *Calibration) Each(ctx context.Context) iter.Seq2[map[string]ir.Datum, error] {
	return func(yield func(map[string]ir.Datum, error) bool) {
		total := 0
		if c.limit > 0 {
			total = c.all()
		}
		i, k, n, left := -1, -1, -1, 0
		for in, err := range c.open(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			if i++; c.limit > 0 && total > c.limit && (i+1)*c.limit/total == i*c.limit/total {
				continue
			}
			if k++; c.every > 0 && (k%c.every == c.every-1) != c.held {
				continue
			}
			if n++; c.pick != nil && !slices.Contains(c.pick, n) {
				continue
			}
			if left++; left <= c.skip {
				continue
			}
			if c.watch != nil {
				if err := c.watch(in); err != nil {
					yield(nil, err)
					return
				}
			}
			if !yield(in, nil) || c.pick != nil && n >= c.pick[len(c.pick)-1] {
				return
			}
		}
	}
}
