package gate

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Baseline is a state of the models that is taken as given: violations in it do not fail a run unless their number got worse, and growth
// counts from its numbers.
type Baseline struct {
	Version int                `json:"version"`
	Models  map[string]Numbers `json:"models"`
	Known   []Outcome          `json:"known"`
}

const baselineVersion = 1

// BaselineFile is the path of the baseline, "" if c names none.
func (c *Config) BaselineFile() string {
	if c.Baseline == "" {
		return ""
	}
	return filepath.Join(c.dir, filepath.FromSlash(c.Baseline))
}

// ReadBaseline reads a baseline. nil and no error: there is none yet.
func ReadBaseline(file string) (*Baseline, error) {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Baseline{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s is no baseline: %w", file, err)
	}
	if r.Version != baselineVersion {
		return nil, fmt.Errorf("%s is a baseline of version %d, and this program knows %d", file, r.Version, baselineVersion)
	}
	return r, nil
}

// WriteBaseline writes what a run found as a baseline.
func (r *Result) WriteBaseline(w io.Writer) error {
	b := Baseline{Version: baselineVersion, Models: r.Numbers, Known: []Outcome{}}
	for _, o := range r.Outcomes {
		if o.State != OK {
			o.State = ""
			b.Known = append(b.Known, o)
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(b)
}

// knows reports whether the baseline has a violation that is at least as bad.
func (b *Baseline) knows(o Outcome) bool {
	if b == nil {
		return false
	}
	for _, k := range b.Known {
		if k.Model != o.Model || k.Rule != o.Rule || k.Node != o.Node {
			continue
		}
		if o.Limit > 0 && o.Value > k.Value || o.Limit == 0 && k.Text != o.Text {
			continue
		}
		return true
	}
	return false
}

func (b *Baseline) numbers(model string) (Numbers, bool) {
	if b == nil {
		return Numbers{}, false
	}
	n, ok := b.Models[model]
	return n, ok
}
