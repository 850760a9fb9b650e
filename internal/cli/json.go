package cli

import (
	"encoding/json"
	"errors"
)

// failure is what --json prints where there is no result. Names of fields are not changed, only added.
type failure struct {
	Status     string          `json:"status"` // "failed", "usage", "internal", "interrupted"
	Exit       int             `json:"exit"`
	Reason     string          `json:"reason"`
	Blamed     *rewriteOutcome `json:"blamed,omitempty"` // the rewrite that broke the model
	Reproducer string          `json:"reproducer,omitempty"`
}

func newFailure(code int, text string, err error) failure {
	f := failure{Status: statusOf(code), Exit: code, Reason: text}
	var run *failedError
	if errors.As(err, &run) {
		f.Reproducer = run.reproducer
		if c := run.culprit; c != nil {
			f.Blamed = &rewriteOutcome{c.Number, c.Path, c.Rule, c.Node}
		}
	}
	return f
}

// json prints v on stdout.
func (e *env) json(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
