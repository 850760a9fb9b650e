package targets

import (
	"fmt"
	"strings"
)

// Known is a row of a target's known.tsv: what is known to go wrong in a runtime.
type Known struct {
	Runtime  string // with its part where that matters: "LiteRT, XNNPACK"
	Versions string
	Pattern  string // of nodes, in the notation of package passes/rewrite; conditions on values follow behind "|"
	Wrong    string
	Source   string // a public page that says so
	// Pass avoids it: a pipeline; "target" if the target's own pipeline or emitter does; "-" if none is known.
	Pass string
}

// ParseKnown reads rows. Lines that begin with # are comments.
func ParseKnown(text string) ([]Known, error) {
	var r []Known
	at := 0
	for line := range strings.Lines(text) {
		at++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 6 {
			return nil, fmt.Errorf("line %d: %d columns instead of 6", at, len(f))
		}
		for i, c := range f {
			if strings.TrimSpace(c) == "" {
				return nil, fmt.Errorf("line %d: column %d is empty", at, i+1)
			}
		}
		r = append(r, Known{f[0], f[1], f[2], f[3], f[4], f[5]})
	}
	return r, nil
}

// Kinds of findings.
const (
	Refused = "refused" // the target does not take the model
	Slow    = "slow"    // it runs slower than it could
	Wrong   = "known"   // a row of known.tsv: results may be wrong, or the runtime fails
)

// Finding is what lint says of a model.
type Finding struct {
	Kind   string `json:"kind"`
	Rule   string `json:"rule"`             // what it is about: "operator", "dynamic-size", "float-in-int8", "unfused-quantization", "layout", "known/3"
	Node   string `json:"node,omitempty"`   // the first node, or input
	Op     string `json:"op,omitempty"`     // its operator
	Count  int    `json:"count"`            // of nodes
	Why    string `json:"why"`              // what is the matter
	Mend   string `json:"mend,omitempty"`   // a pipeline that helps
	Source string `json:"source,omitempty"` // a public page
}
