package cli

import (
	"fmt"
	"io"
	"strings"
)

// benched is the --json of bench.
type benched struct {
	Threads     int       `json:"threads"`
	Concurrency int       `json:"concurrency"`
	Rounds      int       `json:"rounds"`
	Models      []timing  `json:"models"`
	Profiles    []profile `json:"profiles,omitempty"`
	Trace       string    `json:"trace,omitempty"`
}

// timing are the times of a contender in milliseconds. Speed is the first one's time divided by this one's: the median over
// rounds, and the 5th and 95th percentile.
type timing struct {
	File           string  `json:"file"`
	Engine         string  `json:"engine"`
	Inputs         string  `json:"inputs"`
	Items          int     `json:"items"` // samples of a run
	Min            float64 `json:"min_ms"`
	Median         float64 `json:"median_ms"`
	P95            float64 `json:"p95_ms"`
	ItemsPerSecond float64 `json:"items_per_second"`
	Speed          float64 `json:"speed"`
	SpeedLow       float64 `json:"speed_p5"`
	SpeedHigh      float64 `json:"speed_p95"`
}

// write prints the times as tables.
func (r *benched) write(w io.Writer) {
	t := table{right: []int{2, 3, 4, 5, 6}}
	t.row("model", "engine", "min ms", "median", "p95", "items/s", "speed", "5 to 95 %")
	for _, m := range r.Models {
		t.row(base(m.File), m.Engine, millis(m.Min), millis(m.Median), millis(m.P95), fmt.Sprintf("%.4g", m.ItemsPerSecond),
			fmt.Sprintf("%.2f", m.Speed), fmt.Sprintf("%.2f to %.2f", m.SpeedLow, m.SpeedHigh))
	}
	t.write(w, "")
	fmt.Fprintf(w, "\n%d rounds, %s, inputs: %s\n", r.Rounds, r.load(), r.Models[0].Inputs)
	for _, m := range r.Models[1:] {
		if m.Inputs != r.Models[0].Inputs {
			fmt.Fprintf(w, "inputs of %s, %s: %s\n", base(m.File), m.Engine, m.Inputs)
		}
	}
	for i := range r.Profiles {
		r.Profiles[i].write(w)
	}
	if r.Trace != "" {
		fmt.Fprintf(w, "wrote %s\n", r.Trace)
	}
}

func (r *benched) load() string {
	parts := []string{fmt.Sprintf("%d thread%s", r.Threads, plural(r.Threads))}
	if r.Concurrency > 1 {
		parts = append(parts, fmt.Sprintf("%d runs at a time", r.Concurrency))
	}
	if n := r.Models[0].Items; n > 1 {
		parts = append(parts, fmt.Sprintf("batches of %d", n))
	}
	return strings.Join(parts, ", ")
}

func millis(ms float64) string { return fmt.Sprintf("%.4g", ms) }
