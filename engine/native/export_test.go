package native

import (
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// Chains is how many chains of quantized nodes a session found in the main graph.
func Chains(s engine.Session) int { return s.(*session).prog.chains }

// CountChains counts how often chains of a session give a result and how often they leave it to the separate nodes.
func CountChains(s engine.Session) (ran, refused *int) {
	ran, refused = new(int), new(int)
	seen := map[*chain]bool{}
	for _, st := range s.(*session).prog.steps {
		c := st.chain
		if c == nil || seen[c] {
			continue
		}
		seen[c] = true
		run := c.run
		c.run = func(t *task) (*ir.Tensor, bool) {
			r, ok := run(t)
			if ok {
				*ran++
			} else {
				*refused++
			}
			return r, ok
		}
	}
	return ran, refused
}
