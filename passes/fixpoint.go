package passes

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// FixpointOptions are the options of fixpoint.
type FixpointOptions struct {
	Max int `opt:"max" doc:"number of rounds after which it stops"`
}

// Fixpoint runs the nested pipeline until a round changes nothing.
var Fixpoint = Define(Info{
	Name:    "fixpoint",
	Doc:     "runs the passes in parentheses again and again until a round changes nothing",
	Example: "fixpoint{max=4}()",
	Nests:   true,
}, FixpointOptions{Max: 8}, func(c *Context, m *ir.Model, o FixpointOptions) error {
	if o.Max < 1 {
		return fmt.Errorf("max=%d is not at least 1", o.Max)
	}
	for i := range o.Max {
		before := changes(m)
		if err := c.Nested(i); err != nil {
			return err
		}
		if changes(m) == before {
			return nil
		}
	}
	return nil
})
