package compare

import (
	"context"
	"iter"

	"github.com/onnxopt/onnxopt/ir"
)

// Set is one set of inputs.
type Set struct {
	Inputs map[string]ir.Datum
	// Label says where the set comes from, for messages: "generated, seed 1, batch=2".
	Label string
	Seed  uint64 // of generated inputs
}

// Source supplies sets of inputs, one at a time.
type Source interface {
	// Sets yields the sets. An error ends them.
	Sets(ctx context.Context) iter.Seq2[Set, error]
	// Refused tells the source that the original model did not run on the set that it yielded last, or gave no number at
	// all. A source that chose the set itself may try another one; one that has to use it gives false, and the refusal
	// counts as a finding.
	Refused(err error) (another bool)
}

// Data is a source over given sets, such as the rows of a data set.
type Data iter.Seq2[Set, error]

// Sets yields them.
func (d Data) Sets(context.Context) iter.Seq2[Set, error] { return iter.Seq2[Set, error](d) }

// Refused is false: the data are what they are.
func (d Data) Refused(error) bool { return false }

// Fixed is a source over sets in memory.
func Fixed(sets ...Set) Source {
	return Data(func(yield func(Set, error) bool) {
		for _, s := range sets {
			if !yield(s, nil) {
				return
			}
		}
	})
}
