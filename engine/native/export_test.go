package native

import "github.com/onnxopt/onnxopt/engine"

// Chains is how many chains of quantized nodes a session found in the main graph.
func Chains(s engine.Session) int { return s.(*session).prog.chains }
