package measured

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// Taps runs m over all samples and calls each, in their order and on one goroutine, with the tensors at the given values of its main
// graph: results, inputs or constants. A value that a run does not compute, or that is no tensor, is nil. The tensors are valid
// during the call only. As many runs are held at once as there are threads.
func (c *Calibration) Taps(ctx context.Context, m *ir.Model, values []*ir.Value, each func(sample int, taps []*ir.Tensor) error) error {
	s, err := c.engine.Load(ctx, m, engine.Options{Threads: 1, Taps: values})
	if err != nil {
		return err
	}
	defer s.Close()
	run := func(ctx context.Context, in map[string]ir.Datum) ([]ir.Datum, error) {
		_, taps, err := s.RunTaps(ctx, in)
		return taps, err
	}
	return ordered(ctx, c, run, func(i int, taps []ir.Datum) error { return each(i, tensors(taps)) })
}

// TapsWith is Taps where the work on the tensors is worth sharing, too: work is called on the goroutine of the run, several at a time,
// and what it returns is handed to each in the order of the samples.
func TapsWith[R any](ctx context.Context, c *Calibration, m *ir.Model, values []*ir.Value,
	work func(sample int, taps []*ir.Tensor) (R, error), each func(sample int, r R) error) error {
	s, err := c.engine.Load(ctx, m, engine.Options{Threads: 1, Taps: values})
	if err != nil {
		return err
	}
	defer s.Close()
	return orderedIndex(ctx, c, func(ctx context.Context, i int, in map[string]ir.Datum) (r R, err error) {
		_, taps, err := s.RunTaps(ctx, in)
		if err != nil {
			return r, err
		}
		return work(i, tensors(taps))
	}, each)
}

// StreamTaps is TapsWith for work on one tensor after another, which an engine may hand over while it runs a sample and need not hold
// together: work gets what begin made for the sample. ok is false, and nothing has run, where the engine holds them all.
func StreamTaps[R any](ctx context.Context, c *Calibration, m *ir.Model, values []*ir.Value,
	begin func(sample int) R, work func(r R, tap int, t *ir.Tensor) error, each func(sample int, r R) error) (ok bool, err error) {
	s, err := c.engine.Load(ctx, m, engine.Options{Threads: 1, Taps: values, Stream: true})
	if err != nil {
		return false, err
	}
	defer s.Close()
	k, ok := s.(engine.Streamer)
	if !ok {
		return false, nil
	}
	return true, orderedIndex(ctx, c, func(ctx context.Context, i int, in map[string]ir.Datum) (R, error) {
		r := begin(i)
		return r, k.StreamTaps(ctx, in, func(tap int, d ir.Datum) error {
			t, _ := d.(*ir.Tensor)
			return work(r, tap, t)
		})
	}, each)
}

func tensors(d []ir.Datum) []*ir.Tensor {
	r := make([]*ir.Tensor, len(d))
	for i, x := range d {
		r[i], _ = x.(*ir.Tensor)
	}
	return r
}

func ordered[R any](ctx context.Context, c *Calibration, run func(context.Context, map[string]ir.Datum) (R, error), each func(int, R) error) error {
	return orderedIndex(ctx, c, func(ctx context.Context, _ int, in map[string]ir.Datum) (R, error) { return run(ctx, in) }, each)
}

// SampleError says on which sample a model failed.
type SampleError struct {
	Data   string
	Sample int // from 0
	Err    error
}

func (e *SampleError) Error() string {
	return fmt.Sprintf("%s, sample %d: %v", e.Data, e.Sample+1, e.Err)
}
func (e *SampleError) Unwrap() error { return e.Err }

// orderedIndex runs the samples on as many goroutines as c has threads, and hands the results to each in their order.
func orderedIndex[R any](ctx context.Context, c *Calibration, run func(context.Context, int, map[string]ir.Datum) (R, error), each func(int, R) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type job struct {
		index int
		in    map[string]ir.Datum
		r     R
		err   error
		done  chan struct{}
	}
	total := -1
	if c.progress != nil {
		total = c.lenIfKnown()
	}
	queue := make(chan *job, c.threads) // in order; its room bounds the runs that wait to be taken
	work := make(chan *job)
	for range c.threads {
		go func() {
			for j := range work {
				j.err = onnxio.Guard(func() (err error) { // weights are mapped
					j.r, err = run(ctx, j.index, j.in)
					return err
				})
				close(j.done)
			}
		}()
	}
	var feedErr error
	go func() {
		defer close(queue)
		defer close(work)
		i := 0
		for in, err := range c.Each(ctx) {
			if err != nil {
				feedErr = err
				return
			}
			j := &job{index: i, in: in, done: make(chan struct{})}
			select {
			case queue <- j:
			case <-ctx.Done():
				return
			}
			work <- j
			i++
		}
	}()
	n := 0
	var err error
	for j := range queue { // to the end even after an error: nobody may be left waiting
		<-j.done
		if err != nil {
			continue
		}
		if err = j.err; err == nil {
			err = each(j.index, j.r)
		} else {
			err = &SampleError{c.name, j.index, err}
		}
		if err != nil {
			cancel()
			continue
		}
		n++
		if c.progress != nil {
			c.progress(n, total)
		}
	}
	switch {
	case err != nil:
		return err
	case feedErr != nil:
		return feedErr
	case ctx.Err() != nil:
		return ctx.Err()
	case n == 0:
		return fmt.Errorf("%s: %w", c.name, errEmpty)
	}
	return nil
}

var errEmpty = errors.New("there are no samples")

// lenIfKnown is the number of samples, -1 if they would have to be read to count them.
func (c *Calibration) lenIfKnown() int {
	known := c.total > 0
	if !known {
		return -1
	}
	return c.Len()
}
