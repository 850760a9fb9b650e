package cli

import "encoding/json"

// failure is what --json prints where there is no result.
type failure struct {
	Status string `json:"status"` // "failed", "usage", "internal", "interrupted"
	Exit   int    `json:"exit"`
	Reason string `json:"reason"`
}

// json prints v on stdout.
func (e *env) json(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
