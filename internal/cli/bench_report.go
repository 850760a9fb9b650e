package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// benched is the --json of bench.
type benched struct {
	Threads     int       `json:"threads"`
	Concurrency int       `json:"concurrency"`
	Batch       int       `json:"batch"`
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
	Min            float64 `json:"min_ms"`
	Median         float64 `json:"median_ms"`
	P95            float64 `json:"p95_ms"`
	ItemsPerSecond float64 `json:"items_per_second"`
	Speed          float64 `json:"speed"`
	SpeedLow       float64 `json:"speed_p5"`
	SpeedHigh      float64 `json:"speed_p95"`
}

// profile says where the time of a model goes: nodes of the main graph, which include their subgraphs, and operators.
type profile struct {
	File      string     `json:"file"`
	Runs      int        `json:"runs"`
	Total     float64    `json:"total_ms"` // of the nodes, a run
	Operators []timeOf   `json:"operators"`
	Nodes     []timeOf   `json:"nodes"`
	events    []nodeTime // of the last run
}

// timeOf is the time of a node or of all nodes of an operator, a run.
type timeOf struct {
	Name     string  `json:"name"`
	Operator string  `json:"operator,omitempty"` // of a node
	Nodes    int     `json:"nodes,omitempty"`    // of an operator
	Millis   float64 `json:"ms"`
	Share    float64 `json:"share"`
}

// nodeTime is one evaluation of a node.
type nodeTime struct {
	node  *ir.Node
	begun time.Time
	took  time.Duration
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
	if r.Batch > 1 {
		parts = append(parts, fmt.Sprintf("batches of %d", r.Batch))
	}
	return strings.Join(parts, ", ")
}

func millis(ms float64) string { return fmt.Sprintf("%.4g", ms) }

// mostListed nodes are printed; --json has all.
const mostListed = 15

func (p *profile) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s ms in nodes, mean of %d runs\n", base(p.File), millis(p.Total), p.Runs)
	t := table{right: []int{1, 2, 3}}
	t.row("operator", "nodes", "ms", "share")
	for _, o := range p.Operators[:min(len(p.Operators), mostListed)] {
		t.row(o.Name, fmt.Sprint(o.Nodes), millis(o.Millis), fmt.Sprintf("%.1f %%", 100*o.Share))
	}
	t.write(w, "  ")
	fmt.Fprintln(w)
	t = table{right: []int{2, 3}}
	t.row("node", "operator", "ms", "share")
	for _, n := range p.Nodes[:min(len(p.Nodes), mostListed)] {
		t.row(n.Name, n.Operator, millis(n.Millis), fmt.Sprintf("%.1f %%", 100*n.Share))
	}
	t.write(w, "  ")
}

// profileRuns is how often a model runs for its profile.
const profileRuns = 10

// profileAll profiles the contenders that run in the native engine, and writes the trace.
func (f *benchFlags) profileAll(ctx context.Context, all []*contender, r *benched) error {
	for _, c := range all {
		if c.engine.Name() != "native" {
			continue
		}
		p, err := f.profileOne(ctx, c)
		if err != nil {
			return inFile(c.file, err)
		}
		r.Profiles = append(r.Profiles, p)
	}
	if f.trace == "" {
		return nil
	}
	r.Trace = f.trace
	profiles := r.Profiles
	if !f.profile {
		r.Profiles = nil
	}
	return atomically(f.trace, func(w io.Writer) error { return writeTrace(w, profiles) })
}

func (f *benchFlags) profileOne(ctx context.Context, c *contender) (p profile, err error) {
	var events []nodeTime
	s, err := c.engine.Load(ctx, c.model, engine.Options{Threads: f.resources.count(), MaxMemory: f.resources.maxMemory,
		OnNode: func(n *ir.Node, begun time.Time, took time.Duration) {
			events = append(events, nodeTime{n, begun, took})
		}})
	if err != nil {
		return p, err
	}
	defer s.Close()
	if _, err = s.Run(ctx, c.in); err != nil { // warm-up
		return p, err
	}
	nodes := map[*ir.Node]time.Duration{}
	var order []*ir.Node
	for range profileRuns {
		events = events[:0]
		if _, err = s.Run(ctx, c.in); err != nil {
			return p, err
		}
		for _, e := range events {
			if _, seen := nodes[e.node]; !seen {
				order = append(order, e.node)
			}
			nodes[e.node] += e.took
		}
	}
	p = profile{File: c.file, Runs: profileRuns, events: events}
	operators := map[string]*timeOf{}
	for _, n := range order {
		ms := float64(nodes[n].Nanoseconds()) / 1e6 / profileRuns
		op := n.Op().String()
		p.Nodes = append(p.Nodes, timeOf{Name: n.Name(), Operator: op, Millis: ms})
		if operators[op] == nil {
			operators[op] = &timeOf{Name: op}
		}
		operators[op].Nodes++
		operators[op].Millis += ms
		p.Total += ms
	}
	for _, o := range operators {
		p.Operators = append(p.Operators, *o)
	}
	for _, l := range [][]timeOf{p.Operators, p.Nodes} {
		slices.SortFunc(l, func(a, b timeOf) int {
			switch {
			case a.Millis > b.Millis:
				return -1
			case a.Millis < b.Millis:
				return 1
			}
			return strings.Compare(a.Name, b.Name)
		})
		for i := range l {
			l[i].Share = l[i].Millis / max(p.Total, 1e-9)
		}
	}
	return p, nil
}

// traceEvent is a complete event of the Trace Event Format, with times in microseconds.
type traceEvent struct {
	Name  string            `json:"name"`
	Cat   string            `json:"cat"`
	Phase string            `json:"ph"`
	Begun float64           `json:"ts"`
	Took  float64           `json:"dur"`
	PID   int               `json:"pid"`
	TID   int               `json:"tid"`
	Args  map[string]string `json:"args"`
}

// writeTrace writes the last run of each profile, each as a process of its own.
func writeTrace(w io.Writer, profiles []profile) error {
	events := []traceEvent{}
	for i, p := range profiles {
		for _, e := range p.events {
			events = append(events, traceEvent{Name: e.node.Op().String(), Cat: "node", Phase: "X", PID: i + 1, TID: 1,
				Begun: float64(e.begun.Sub(p.events[0].begun).Nanoseconds()) / 1e3, Took: float64(e.took.Nanoseconds()) / 1e3,
				Args: map[string]string{"node": e.node.Name(), "model": p.File}})
		}
	}
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}
