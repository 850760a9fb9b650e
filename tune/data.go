package tune

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/evaluate"
	"github.com/onnxopt/onnxopt/ir"
)

// Data is a data set that is read again and again. What fits into memory is read once.
type Data struct {
	Name string
	open func() (*dataset.Set, error)
	keep int64
	most int

	mu      sync.Mutex
	read    bool
	batches []*dataset.Batch // nil: there are too many
	n       int
	want    []map[string]ir.Datum // outputs of the original by sample
	index   map[*dataset.Batch]int
}

// NewData is the data set that open opens, of which the first most samples are taken, 0 for all, and kept in memory if they take no more
// bytes than keep.
func NewData(name string, open func() (*dataset.Set, error), most int, keep int64) *Data {
	return &Data{Name: name, open: open, most: most, keep: keep}
}

// Len is the number of samples.
func (d *Data) Len(ctx context.Context) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n, d.load(ctx)
}

// load reads the set for the first time.
func (d *Data) load(ctx context.Context) error {
	if d.read {
		return nil
	}
	held, n := int64(0), 0
	batches := []*dataset.Batch{}
	for b, err := range d.stream(ctx) {
		if err != nil {
			return err
		}
		if n++; batches == nil {
			continue
		}
		batches = append(batches, b)
		if held += bytesOf(b.Inputs); held > d.keep {
			batches = nil
		}
	}
	if n == 0 {
		return fmt.Errorf("%s: there are no samples", d.Name)
	}
	d.read, d.batches, d.n = true, batches, n
	d.index = make(map[*dataset.Batch]int, len(batches))
	for i, b := range batches {
		d.index[b] = i
	}
	return nil
}

func bytesOf(m map[string]ir.Datum) (n int64) {
	for _, v := range m {
		if t, ok := v.(*ir.Tensor); ok {
			n += t.ByteLen()
		}
	}
	return n
}

// stream reads the set from its files.
func (d *Data) stream(ctx context.Context) iter.Seq2[*dataset.Batch, error] {
	return func(yield func(*dataset.Batch, error) bool) {
		s, err := d.open()
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.Close()
		n := 0
		for b, err := range s.Batches(ctx, 1) {
			if n++; !yield(b, err) || err != nil || n == d.most {
				return
			}
		}
	}
}

// some yields n of the samples, spread evenly because sets are often sorted by class; 0: all.
func (d *Data) some(ctx context.Context, n int) iter.Seq2[*dataset.Batch, error] {
	return func(yield func(*dataset.Batch, error) bool) {
		total, err := d.Len(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		if n <= 0 || n > total {
			n = total
		}
		if d.batches != nil {
			for i := range n {
				if !yield(d.batches[place(i, n, total)], nil) {
					return
				}
			}
			return
		}
		at, next := 0, 0
		for b, err := range d.stream(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			if at == place(next, n, total) {
				if next++; !yield(b, nil) || next == n {
					return
				}
			}
			at++
		}
	}
}

// place is where the i-th of n samples stands among all. The places of a part are among those of a larger part as far as that divides.
func place(i, n, total int) int { return i * total / n }

// Typical is the first sample of the median size, or the first of all where they are not kept in memory.
func (d *Data) Typical(ctx context.Context) (*dataset.Batch, error) {
	for b, err := range d.some(ctx, 1) {
		if err != nil || d.batches == nil {
			return b, err
		}
	}
	if d.n == 0 {
		return nil, fmt.Errorf("%s: there are no samples", d.Name)
	}
	var sizes []int64
	for _, b := range d.batches {
		sizes = append(sizes, bytesOf(b.Inputs))
	}
	slices.Sort(sizes)
	i := slices.IndexFunc(d.batches, func(b *dataset.Batch) bool { return bytesOf(b.Inputs) == sizes[(len(sizes)-1)/2] })
	return d.batches[i], nil
}

// Samples are the inputs, for passes that look at data.
func (d *Data) Samples() measured.Samples {
	return func(ctx context.Context) iter.Seq2[map[string]ir.Datum, error] {
		return func(yield func(map[string]ir.Datum, error) bool) {
			for b, err := range d.some(ctx, 0) {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(b.Inputs, nil) {
					return
				}
			}
		}
	}
}

// remember runs the original over the data once and keeps what it gives, if inputs and outputs fit into memory.
func (d *Data) remember(ctx context.Context, e engine.Engine, original *ir.Model, threads int) error {
	if _, err := d.Len(ctx); err != nil || d.batches == nil || d.want != nil {
		return err
	}
	k := &keeper{most: d.keep}
	q := evaluate.Request{Engine: e, Model: original, Threads: threads, Batch: 1, Meters: []metric.Meter{k},
		Batches: func(ctx context.Context) iter.Seq2[*dataset.Batch, error] { return d.some(ctx, 0) }}
	if _, err := evaluate.Run(ctx, q); err != nil {
		return err
	}
	if k.held <= k.most && len(k.rows) == d.n {
		d.want = k.rows
	}
	return nil
}

// known are the outputs of the original on a batch, nil if they were not kept.
func (d *Data) known(b *dataset.Batch) map[string]ir.Datum {
	if i, ok := d.index[b]; ok && d.want != nil {
		return d.want[i]
	}
	return nil
}

// keeper is a meter that keeps outputs.
type keeper struct {
	rows       []map[string]ir.Datum
	held, most int64
}

// Name implements metric.Meter.
func (k *keeper) Name() string { return "outputs" }

// Needs implements metric.Meter.
func (k *keeper) Needs() metric.Needs { return metric.Nothing }

// Add implements metric.Meter.
func (k *keeper) Add(r metric.Row) error {
	if k.held += bytesOf(r.Out); k.held <= k.most {
		k.rows = append(k.rows, r.Out)
	}
	return nil
}

// Value implements metric.Meter.
func (k *keeper) Value() float64 { return float64(len(k.rows)) }
