// Package engine runs models. It fixes the interface of all engines; each has a directory.
package engine

import (
	"context"
	"time"

	"github.com/onnxopt/onnxopt/ir"
)

// Engine loads models.
type Engine interface {
	// Name is the engine's name on the command line ("native", "ort").
	Name() string
	// Load prepares m, which must not be edited while the session lives.
	Load(ctx context.Context, m *ir.Model, o Options) (Session, error)
}

// Options are what every engine understands. The zero value is usable.
type Options struct {
	Threads   int   // 0: one
	MaxMemory int64 // bytes of live values and scratch together; 0: no limit. Exceeding it is ErrMemory.
	// Taps are values whose contents a run reports besides the outputs: results, inputs or constants of the main graph.
	Taps []*ir.Value
	// Stream keeps no taps to the end of a run: RunTaps gives none, and Streamer hands each over. An engine that cannot ignores it.
	Stream bool
	// OnNode, if not nil, is called after each node of the main graph, by the embedded engine alone; subgraphs and functions count
	// with the node that holds or calls them. Sessions with it are for one goroutine.
	OnNode func(n *ir.Node, begun time.Time, took time.Duration)
}

// Session is a loaded model. Run may be called from several goroutines.
type Session interface {
	// Run evaluates the model. in maps input names to values; inputs with a default may be left out. The result maps
	// output names to values. The context's end stops the run with its error.
	Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error)
	// RunTaps is Run with the values of Options.Taps, in that order; nil where a value was not computed.
	RunTaps(ctx context.Context, in map[string]ir.Datum) (out map[string]ir.Datum, taps []ir.Datum, err error)
	Close() error
}

// Streamer is a Session of an engine that hands taps over one by one.
type Streamer interface {
	// StreamTaps is Run of a session with Options.Stream. It calls each, on its goroutine, with every tap that is computed, by its
	// place in Options.Taps; d is valid during the call only, and memory is what a run without taps takes.
	StreamTaps(ctx context.Context, in map[string]ir.Datum, each func(tap int, d ir.Datum) error) error
}

// NodeError is an error of a run that names the node.
type NodeError struct {
	Name string
	Op   ir.OpID
	Err  error
}

func (e *NodeError) Error() string {
	return "node " + quote(e.Name) + " (" + e.Op.String() + "): " + e.Err.Error()
}

func (e *NodeError) Unwrap() error { return e.Err }

// UnsupportedError says that an engine does not know operators. All of them are listed.
type UnsupportedError struct{ Ops []ir.OpID }

func (e *UnsupportedError) Error() string {
	s := "no kernel for"
	for i, o := range e.Ops {
		if i > 0 {
			s += ","
		}
		s += " " + o.String()
	}
	return s
}

type memoryError struct{}

func (memoryError) Error() string { return "the memory limit is exceeded" }

// ErrMemory is the error of a run that exceeds Options.MaxMemory.
var ErrMemory error = memoryError{}

func quote(s string) string {
	if s == "" {
		return "without a name"
	}
	return `"` + s + `"`
}
