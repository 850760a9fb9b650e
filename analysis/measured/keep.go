package measured

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"maps"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// Checkpoint keeps the state of a calibration under way, for a run that takes it up after an interruption.
type Checkpoint interface {
	// Load gives what was saved last, nil if nothing was.
	Load() ([]byte, error)
	// Save replaces it.
	Save(contents []byte) error
}

// Resuming takes calibrations up from k, and saves their state there from time to time. nil: they begin at the first sample.
func Resuming(k Checkpoint) Option { return func(s *source) { s.resume = k } }

// Checkpoint is that of Resuming, nil if there is none.
func (c *Calibration) Checkpoint() Checkpoint { return c.resume }

// Store keeps results of measurements between runs, under keys that are hashes of the models and samples that they depend on. What the
// results depend on besides, the program and its engine, is for the store to tell apart.
type Store interface {
	Get(key string) []byte // nil: there is none
	Put(key string, contents []byte)
}

// Keeping keeps divergences from a Reference in st. nil: they are computed each time.
func Keeping(st Store) Option { return func(s *source) { s.store = st } }

// Digest is a running hash of samples in their order.
type Digest struct{ h hash.Hash }

// NewDigest is that of no samples.
func NewDigest() *Digest { return &Digest{sha256.New()} }

// Add takes a sample.
func (d *Digest) Add(in map[string]ir.Datum) error {
	s, err := sampleHash(in)
	d.h.Write(s)
	return err
}

// String is the hash so far.
func (d *Digest) String() string { return hex.EncodeToString(d.h.Sum(nil)) }

// Digest hashes the first n samples.
func (c *Calibration) Digest(ctx context.Context, n int) (*Digest, error) {
	d := NewDigest()
	if n == 0 {
		return d, nil
	}
	for in, err := range c.Each(ctx) {
		if err == nil {
			err = d.Add(in)
		}
		if err != nil {
			return nil, err
		}
		if n--; n == 0 {
			break
		}
	}
	return d, nil
}

// sampleHash hashes names, types, shapes and elements of the inputs of a run.
func sampleHash(in map[string]ir.Datum) ([]byte, error) {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if err := onnxio.WriteDatum(h, name, in[name]); err != nil {
			return nil, err
		}
	}
	return h.Sum(nil), nil
}

// key hashes what the divergence of b from the reference depends on.
func (r *Reference) key(b *ir.Model) (string, error) {
	h := sha256.New()
	for _, m := range []*ir.Model{r.m, b} {
		s, err := onnxio.Hash(m)
		if err != nil {
			return "", err
		}
		h.Write([]byte(s))
	}
	for _, s := range r.samples {
		h.Write(s)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// kept are the tallies under a key, nil if there are none of n samples.
func (c *Calibration) kept(key string, n int) []tally {
	b := c.store.Get(key)
	var rows [][]float64
	if b == nil || json.Unmarshal(b, &rows) != nil || len(rows) != n {
		return nil
	}
	r := make([]tally, n)
	for i, row := range rows {
		if !r[i].restore(row) {
			return nil
		}
	}
	return r
}

// keep stores tallies; those that are not finite have no form in a file.
func (c *Calibration) keep(key string, all []tally) {
	rows := make([][]float64, len(all))
	for i, t := range all {
		rows[i] = t.numbers()
	}
	if b, err := json.Marshal(rows); err == nil {
		c.store.Put(key, b)
	}
}

// numbers are the fields, which restore takes.
func (t tally) numbers() []float64 {
	return []float64{float64(t.samples), float64(t.lost), float64(t.rows), float64(t.agree), float64(t.kls), float64(t.cosines), t.whole, t.kl, t.aa, t.err, t.cos, t.maxDiff}
}

func (t *tally) restore(v []float64) bool {
	if len(v) != len(t.numbers()) {
		return false
	}
	for i, k := range []*int{&t.samples, &t.lost, &t.rows, &t.agree, &t.kls, &t.cosines} {
		*k = int(v[i])
	}
	t.whole, t.kl, t.aa, t.err, t.cos, t.maxDiff = v[6], v[7], v[8], v[9], v[10], v[11]
	return true
}
