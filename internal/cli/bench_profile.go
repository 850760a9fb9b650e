package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// profile says where the time of a model goes: nodes of the main graph, which include their subgraphs, and operators.
type profile struct {
	File      string     `json:"file"`
	Engine    string     `json:"engine"`
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
	Provider string  `json:"provider,omitempty"` // that ran a node of ONNX Runtime
	Nodes    int     `json:"nodes,omitempty"`    // of an operator
	Millis   float64 `json:"ms"`
	Share    float64 `json:"share"`
}

// nodeTime is one evaluation of a node. What is run by ONNX Runtime are the nodes of the graph that it has made of the model.
type nodeTime struct {
	node                     any // tells nodes apart
	name, operator, provider string
	begun, took              time.Duration // since the profile's begin
}

// mostListed nodes are printed; --json has all.
const mostListed = 15

func (p *profile) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %s: %s ms in nodes, mean of %d runs\n", base(p.File), p.Engine, millis(p.Total), p.Runs)
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

// profileRuns is how often a model runs for its profile, after a run that does not count.
const profileRuns = 10

// profileAll profiles the contenders and writes the trace.
func (f *benchFlags) profileAll(ctx context.Context, all []*contender, r *benched, show *progress) error {
	for _, c := range all {
		show.doing("profiling " + base(c.file))
		runs := f.profileNative
		if c.engine.Name() == "ort" {
			runs = f.profileORT
		}
		var events [][]nodeTime
		err := onnxio.Guard(func() (err error) {
			events, err = runs(ctx, c)
			return err
		})
		if err != nil {
			return inFile(c.file, err)
		}
		p := summarize(events)
		p.File, p.Engine = c.file, c.engine.Name()
		r.Profiles = append(r.Profiles, p)
	}
	show.clear()
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

// profileNative runs a contender with the embedded engine's hook; each run's nodes are a list.
func (f *benchFlags) profileNative(ctx context.Context, c *contender) ([][]nodeTime, error) {
	var events []nodeTime
	start := time.Now()
	s, err := c.engine.Load(ctx, c.model, engine.Options{Threads: f.resources.count(), MaxMemory: f.resources.maxMemory,
		OnNode: func(n *ir.Node, begun time.Time, took time.Duration) {
			events = append(events, nodeTime{node: n, name: nodeName(n), operator: n.Op().String(), begun: begun.Sub(start), took: took})
		}})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var runs [][]nodeTime
	for i := range 1 + profileRuns {
		events = nil
		if _, err = s.Run(ctx, c.in); err != nil {
			return nil, err
		}
		if i > 0 {
			runs = append(runs, events)
		}
	}
	return runs, nil
}

// nodeName is the node's name, or its first result's in brackets.
func nodeName(n *ir.Node) string {
	if n.Name() != "" {
		return n.Name()
	}
	for _, v := range n.Results() {
		if v != nil {
			return "(" + v.Name() + ")"
		}
	}
	return ""
}

// profileORT runs a contender in a session that writes a profile.
func (f *benchFlags) profileORT(ctx context.Context, c *contender) (runs [][]nodeTime, err error) {
	dir, err := os.MkdirTemp("", "onnxopt-profile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	prefix := filepath.Join(dir, "run")
	runner, done, err := f.engine.open("ort", prefix)
	if err != nil {
		return nil, err
	}
	defer done()
	s, err := runner.Load(ctx, c.model, engine.Options{Threads: f.resources.count(), MaxMemory: f.resources.maxMemory})
	if err != nil {
		return nil, err
	}
	for i := 0; i < 1+profileRuns && err == nil; i++ {
		_, err = s.Run(ctx, c.in)
	}
	if closed := s.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(prefix + "*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range files { // a load that was tried in vain leaves an empty one
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if runs, err = readORTProfile(b); err != nil {
			return nil, fmt.Errorf("the profile that ONNX Runtime wrote: %w", err)
		}
		if len(runs) > 1 {
			return runs[1:], nil
		}
	}
	return nil, fmt.Errorf("ONNX Runtime wrote no profile")
}

// ortEvent is an event of ONNX Runtime's profile; times are in microseconds.
type ortEvent struct {
	Cat   string `json:"cat"`
	Name  string `json:"name"`
	Begun int64  `json:"ts"`
	Took  int64  `json:"dur"`
	Args  struct {
		Operator string `json:"op_name"`
		Provider string `json:"provider"`
		Index    string `json:"node_index"`
	} `json:"args"`
}

func (e *ortEvent) end() int64 { return e.Begun + e.Took }

// readORTProfile sorts the nodes of a profile by run. Nodes of subgraphs are left out: their time is that of the node that has them.
func readORTProfile(b []byte) ([][]nodeTime, error) {
	var all []ortEvent
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	var runs, nodes []ortEvent
	for _, e := range all {
		switch {
		case e.Cat == "Session" && e.Name == "model_run":
			runs = append(runs, e)
		case e.Cat == "Node" && strings.HasSuffix(e.Name, kernelTime):
			nodes = append(nodes, e)
		}
	}
	slices.SortStableFunc(nodes, func(a, b ortEvent) int {
		return cmp.Or(cmp.Compare(a.Begun, b.Begun), cmp.Compare(b.Took, a.Took))
	})
	r := make([][]nodeTime, len(runs))
	for i, run := range runs {
		outer := int64(0) // end of the node that others may be within
		for _, e := range nodes {
			if e.Begun < run.Begun || e.end() > run.end() || e.Begun < outer && e.end() <= outer {
				continue
			}
			outer = e.end()
			name := strings.TrimSuffix(e.Name, kernelTime)
			r[i] = append(r[i], nodeTime{node: e.Args.Index + " " + name, name: name, operator: e.Args.Operator,
				provider: strings.TrimSuffix(e.Args.Provider, "ExecutionProvider"),
				begun:    time.Duration(e.Begun) * time.Microsecond, took: time.Duration(e.Took) * time.Microsecond})
		}
	}
	return r, nil
}

// kernelTime ends the names of the events that are evaluations of nodes.
const kernelTime = "_kernel_time"

// summarize adds up the runs of a model, by node and by operator.
func summarize(runs [][]nodeTime) profile {
	p := profile{Runs: len(runs), events: runs[len(runs)-1]}
	nodes, operators := map[any]*timeOf{}, map[string]*timeOf{}
	var order []*timeOf
	for _, events := range runs {
		for _, e := range events {
			n := nodes[e.node]
			if n == nil {
				n = &timeOf{Name: e.name, Operator: e.operator, Provider: e.provider}
				nodes[e.node] = n
				order = append(order, n)
			}
			n.Millis += float64(e.took.Nanoseconds()) / 1e6 / float64(len(runs))
		}
	}
	for _, n := range order {
		p.Nodes = append(p.Nodes, *n)
		o := operators[n.Operator]
		if o == nil {
			o = &timeOf{Name: n.Operator}
			operators[n.Operator] = o
		}
		o.Nodes++
		o.Millis += n.Millis
		p.Total += n.Millis
	}
	for _, o := range operators {
		p.Operators = append(p.Operators, *o)
	}
	for _, l := range [][]timeOf{p.Operators, p.Nodes} {
		slices.SortStableFunc(l, func(a, b timeOf) int {
			return cmp.Or(cmp.Compare(b.Millis, a.Millis), strings.Compare(a.Name, b.Name))
		})
		for i := range l {
			l[i].Share = l[i].Millis / max(p.Total, 1e-9)
		}
	}
	return p
}

// traceEvent is an event of the Trace Event Format, with times in microseconds.
type traceEvent struct {
	Name  string            `json:"name"`
	Cat   string            `json:"cat,omitempty"`
	Phase string            `json:"ph"`
	Begun float64           `json:"ts"`
	Took  float64           `json:"dur"`
	PID   int               `json:"pid"`
	TID   int               `json:"tid"`
	Args  map[string]string `json:"args"`
}

// writeTrace writes the last run of each profile, each as a process of its own that is named for the model and the engine.
func writeTrace(w io.Writer, profiles []profile) error {
	events := []traceEvent{}
	for i, p := range profiles {
		events = append(events, traceEvent{Name: "process_name", Phase: "M", PID: i + 1, TID: 1,
			Args: map[string]string{"name": base(p.File) + ", " + p.Engine}})
		for _, e := range p.events {
			t := traceEvent{Name: e.operator, Cat: "node", Phase: "X", PID: i + 1, TID: 1,
				Begun: float64((e.begun - p.events[0].begun).Nanoseconds()) / 1e3, Took: float64(e.took.Nanoseconds()) / 1e3,
				Args: map[string]string{"node": e.name}}
			if e.provider != "" {
				t.Args["provider"] = e.provider
			}
			events = append(events, t)
		}
	}
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}
