// Package evaluate runs a model over a data set and measures it. Samples run side by side, one goroutine each; results are
// taken in the order of the set, so that they do not depend on the number of threads.
package evaluate

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// Request says what to run. All but Reference, Limit, MaxMemory and Progress are required.
type Request struct {
	Engine    engine.Engine
	Model     *ir.Model
	Reference *ir.Model // nil: labels and recorded outputs only
	Set       *dataset.Set
	Meters    []metric.Meter
	Batch     int // samples a run
	Threads   int // runs side by side
	MaxMemory int64
	Limit     int // samples, 0: all
	Progress  func(done int)
	// Batches, where it is not nil, stands in place of Set, and Want tells the outputs of the reference for one of its batches of one
	// sample where they are known already.
	Batches func(ctx context.Context) iter.Seq2[*dataset.Batch, error]
	Want    func(b *dataset.Batch) map[string]ir.Datum
}

// Run measures and returns the number of samples. An error names the sample.
func Run(ctx context.Context, q Request) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{Request: q}
	if err := r.load(ctx); err != nil {
		return 0, err
	}
	defer r.close()
	jobs, results := make(chan *job), make(chan *job)
	window := make(chan struct{}, 2*max(q.Threads, 1)) // batches that wait for their turn
	var workers sync.WaitGroup
	for range max(q.Threads, 1) {
		workers.Go(func() {
			for j := range jobs {
				j.err = onnxio.Guard(func() error { return r.do(ctx, j) }) // weights are mapped
				results <- j
			}
		})
	}
	var readErr error
	go func() {
		readErr = r.feed(ctx, jobs, window)
		close(jobs)
		workers.Wait()
		close(results)
	}()
	err := r.take(results, window, cancel)
	if err == nil {
		err = readErr
	}
	return r.samples, err
}

// job is one batch.
type job struct {
	number int
	batch  *dataset.Batch
	rows   []metric.Row
	err    error
}

type run struct {
	Request
	model, reference engine.Session
	samples          int
}

func (r *run) load(ctx context.Context) (err error) {
	o := engine.Options{Threads: 1, MaxMemory: r.MaxMemory}
	if r.model, err = r.Engine.Load(ctx, r.Model, o); err != nil {
		return err
	}
	if r.Reference != nil {
		if r.reference, err = r.Engine.Load(ctx, r.Reference, o); err != nil {
			r.model.Close()
			return fmt.Errorf("the reference: %w", err)
		}
	}
	return nil
}

func (r *run) close() {
	r.model.Close()
	if r.reference != nil {
		r.reference.Close()
	}
}

// feed reads batches.
func (r *run) feed(ctx context.Context, jobs chan<- *job, window chan<- struct{}) error {
	number, samples := 0, 0
	batches := r.Batches
	if batches == nil {
		batches = func(ctx context.Context) iter.Seq2[*dataset.Batch, error] { return r.Set.Batches(ctx, r.Batch) }
	}
	for b, err := range batches(ctx) {
		if err != nil {
			return err
		}
		if r.Limit > 0 && samples+len(b.Samples) > r.Limit {
			b.Samples = b.Samples[:r.Limit-samples]
		}
		samples += len(b.Samples)
		select {
		case window <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		jobs <- &job{number: number, batch: b}
		number++
		if r.Limit > 0 && samples >= r.Limit {
			return nil
		}
	}
	return nil
}

// take measures the results in order. The first error stops everything; results are drained in any case.
func (r *run) take(results <-chan *job, window <-chan struct{}, cancel func()) (err error) {
	waiting, next := map[int]*job{}, 0
	for j := range results {
		waiting[j.number] = j
		for ; waiting[next] != nil; next++ {
			j := waiting[next]
			delete(waiting, next)
			<-window
			if err != nil {
				continue
			}
			if err = j.err; err == nil {
				err = r.measure(j)
			}
			if err != nil {
				cancel()
			}
		}
	}
	return err
}

func (r *run) measure(j *job) error {
	for _, row := range j.rows {
		for _, m := range r.Meters {
			if err := need(m, row); err != nil {
				return err
			}
			if err := m.Add(row); err != nil {
				return &dataset.BadSampleError{Name: row.Name, Err: err}
			}
		}
	}
	r.samples += len(j.rows)
	if r.Progress != nil {
		r.Progress(r.samples)
	}
	return nil
}

// need reports what a row lacks for a metric.
func need(m metric.Meter, row metric.Row) error {
	labelled := !math.IsNaN(row.Label)
	switch n := m.Needs(); {
	case n == metric.Labels && !labelled:
		return fmt.Errorf("%s: there is no label, which the metric %s needs", row.Name, m.Name())
	case n == metric.Outputs && row.Want == nil:
		return fmt.Errorf("the metric %s needs a reference model, or recorded outputs", m.Name())
	case n == metric.Either && !labelled && row.Want == nil:
		return fmt.Errorf("%s: there is no label; the metric %s needs labels or a reference model", row.Name, m.Name())
	}
	return nil
}

// do runs a batch.
func (r *run) do(ctx context.Context, j *job) error {
	first := j.batch.Samples[0]
	out, err := r.model.Run(ctx, j.batch.Inputs)
	var want map[string]ir.Datum
	if r.Want != nil {
		want = r.Want(j.batch)
	}
	if err == nil && want == nil && r.reference != nil {
		want, err = r.reference.Run(ctx, j.batch.Inputs)
	}
	if err != nil {
		return &dataset.BadSampleError{Name: first.Name, Err: err}
	}
	whole := len(j.batch.Samples) == 1 && j.batch.Padded == 0
	for i, s := range j.batch.Samples {
		row := metric.Row{Name: s.Name, Label: s.Label, Mask: s.Mask, Out: out, Want: want}
		if !whole {
			if row.Out, err = rowOf(out, i, j.batch); err == nil {
				row.Want, err = rowOf(want, i, j.batch)
			}
			if err != nil {
				return err
			}
		}
		if row.Want == nil {
			row.Want = s.Expect
		}
		j.rows = append(j.rows, row)
	}
	return nil
}

// rowOf are the outputs of sample i of a batch.
func rowOf(out map[string]ir.Datum, i int, b *dataset.Batch) (map[string]ir.Datum, error) {
	if out == nil {
		return nil, nil
	}
	size := int64(b.Rows())
	r := make(map[string]ir.Datum, len(out))
	for name, d := range out {
		t, ok := d.(*ir.Tensor)
		if !ok || t.Rank() == 0 || t.Shape()[0] != size || t.DType() == ir.String || t.DType().Bits()%8 != 0 {
			return nil, fmt.Errorf("output %q has no row for each of %d samples; run one at a time", name, size)
		}
		bytes, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		shape := slices.Clone(t.Shape())
		shape[0] = 1
		n := int64(len(bytes)) / size
		r[name] = ir.NewTensor(t.DType(), shape, bytes[int64(i)*n:int64(i+1)*n])
	}
	return r, nil
}
