package quantize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/hist"
)

// counting is the state of a calibration under way: the tensors before From are counted, and on Done samples those between From and To.
// Counts of whole samples do not depend on where they are cut, so a run that is taken up ends with the same ones.
type counting struct {
	Format         string
	Key            string // of the model and the tensors
	Data           string // name of the data
	Samples        int    // of the data, in all
	Seen           int    // samples that Digest is of
	Digest         string
	From, To, Done int
	Hists          []*hist.Histogram

	checkpoint measured.Checkpoint // nil: nothing is saved
	digest     *measured.Digest
	saved      time.Time
	whole      []byte // the state at the last whole part, if it is not saved yet
}

const countingFormat = "onnxopt-calibration-1"

// saveEvery is the least time between two checkpoints.
const saveEvery = 2 * time.Second

// resume is the state that an interrupted run left of this calibration, else a new one.
func (p *plan) resume(data *measured.Calibration, taps []*ir.Value) (*counting, error) {
	s := &counting{Format: countingFormat, Data: data.Name(), checkpoint: data.Checkpoint(), digest: measured.NewDigest()}
	for range p.groups {
		s.Hists = append(s.Hists, &hist.Histogram{})
	}
	if s.checkpoint == nil {
		return s, nil
	}
	s.Samples = data.Len()
	var err error
	if s.Key, err = p.calibrationKey(data.Engine().Name(), taps); err != nil {
		return nil, err
	}
	b, err := s.checkpoint.Load()
	if err != nil || b == nil {
		return s, err
	}
	var old counting
	if json.Unmarshal(b, &old) != nil || old.Format != s.Format || old.Key != s.Key || old.Data != s.Data || old.Samples != s.Samples || len(old.Hists) != len(s.Hists) ||
		old.From < 0 || old.From > old.To || old.To > len(taps) || old.Done < 0 || old.Seen < old.Done {
		return s, nil // of another model, or of other data
	}
	for _, h := range old.Hists {
		if h == nil || !h.Valid() {
			return s, nil
		}
	}
	d, err := data.Digest(p.c.Context(), old.Seen)
	if err != nil || d.String() != old.Digest {
		return s, err
	}
	p.zeros += fmt.Sprintf("\n  calibration goes on behind sample %d of %d of an interrupted run", old.Done, old.Samples)
	old.checkpoint, old.digest, old.saved = s.checkpoint, d, time.Now()
	return &old, nil
}

// calibrationKey hashes the model, the engine and the tensors that are counted.
func (p *plan) calibrationKey(engine string, taps []*ir.Value) (string, error) {
	model, err := onnxio.Hash(p.m)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, model, engine)
	for _, g := range p.groups {
		fmt.Fprintf(h, "%q %d\n", p.keyOf(g), len(p.sources(g)))
	}
	fmt.Fprintln(h, len(taps))
	return hex.EncodeToString(h.Sum(nil)), nil
}

// save writes the state; where it is not due, it is written if the run is interrupted.
func (s *counting) save(due bool) error {
	if s.checkpoint == nil {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	s.whole = b
	if !due && time.Since(s.saved) < saveEvery {
		return nil
	}
	return s.flush()
}

func (s *counting) flush() error {
	if s.whole == nil {
		return nil
	}
	b := s.whole
	s.whole, s.saved = nil, time.Now()
	return s.checkpoint.Save(b)
}

// extremes of one tensor in one run.
type extremes struct{ lo, hi float64 }

// part is the counts of a run of samples, which are added up when all of them are there.
type part struct {
	locks []sync.Mutex
	hists []hist.Histogram
	runs  [][]extremes
}

// count runs the model over the samples that are left and adds what is at the taps to the histograms of their owners. With together, and an
// engine that has to hold all taps at once, ok is false and nothing has run.
func (p *plan) count(data *measured.Calibration, taps []*ir.Value, owner []int, s *counting, together bool) (ok bool, err error) {
	every := math.MaxInt
	if s.checkpoint != nil {
		every = max(data.Threads(), 4)
	}
	var mu sync.Mutex
	parts := map[int]*part{}
	partOf := func(sample int) *part {
		mu.Lock()
		defer mu.Unlock()
		k := parts[sample/every]
		if k == nil {
			k = &part{locks: make([]sync.Mutex, len(s.Hists)), hists: make([]hist.Histogram, len(s.Hists))}
			parts[sample/every] = k
		}
		return k
	}
	var digests []string // of the samples given out so far and before
	before := s.Done
	add := func(sample int) {
		k := partOf(sample)
		mu.Lock()
		delete(parts, sample/every)
		mu.Unlock()
		for i, h := range s.Hists {
			h.Count(&k.hists[i])
			for _, r := range k.runs {
				h.Run(r[i].lo, r[i].hi)
			}
		}
		s.Done = before + sample + 1
		mu.Lock()
		defer mu.Unlock()
		if len(digests) > 0 {
			s.Seen, s.Digest = s.Done, digests[sample]
		}
	}
	if s.checkpoint != nil && s.From == 0 {
		data = data.Watch(func(in map[string]ir.Datum) error {
			err := s.digest.Add(in)
			mu.Lock()
			defer mu.Unlock()
			digests = append(digests, s.digest.String())
			return err
		})
	}
	if before > 0 && data.Len() <= before { // the last sample was the last that an interrupted run saw
		return true, nil
	}
	type sample struct {
		*part
		runs []extremes
	}
	begin := func(i int) sample {
		k := sample{partOf(i), make([]extremes, len(p.groups))}
		for j := range k.runs {
			k.runs[j] = extremes{1, -1}
		}
		return k
	}
	work := func(k sample, tap int, x *ir.Tensor) error {
		v, err := measured.Floats(x)
		if err != nil || len(v) == 0 {
			return err
		}
		i := owner[tap]
		lo, hi, nan, inf := hist.Extremes(v)
		if r := &k.runs[i]; r.lo > r.hi {
			*r = extremes{lo, hi}
		} else if lo <= hi {
			*r = extremes{min(lo, r.lo), max(hi, r.hi)}
		}
		k.locks[i].Lock()
		defer k.locks[i].Unlock()
		k.hists[i].Add(v, lo, hi, nan, inf)
		return nil
	}
	last := -1
	each := func(i int, k sample) error {
		k.part.runs = append(k.part.runs, k.runs)
		if last = i; (i+1)%every != 0 {
			return nil
		}
		add(i)
		return s.save(false)
	}
	ctx, left := p.c.Context(), data.After(before)
	ok, err = measured.StreamTaps(ctx, left, p.m, taps, begin, work, each)
	if !ok && err == nil {
		if together {
			return false, nil
		}
		err = measured.TapsWith(ctx, left, p.m, taps, func(i int, t []*ir.Tensor) (sample, error) {
			k := begin(i)
			for j, x := range t {
				if err := work(k, j, x); err != nil {
					return k, err
				}
			}
			return k, nil
		}, each)
	}
	if err != nil {
		if s.checkpoint != nil {
			_ = s.flush() // why the run ends is what counts
		}
		return false, err
	}
	if (last+1)%every != 0 {
		add(last)
	}
	return true, s.save(false)
}
