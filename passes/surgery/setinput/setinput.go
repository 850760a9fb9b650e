// Package setinput is the pass that fixes inputs at values.
package setinput

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Options of the pass.
type Options struct {
	Values map[string]string `opt:"*" doc:"x=16000 for all elements of input x, x=[1,0,1] for each, in row-major order; numbers, true and false, or words for strings"`
}

// Pass makes inputs constants.
var Pass = passes.Define(passes.Info{
	Name: "set-input",
	Doc:  "fixes inputs at values: they become constants, and callers do not give them any more",
	Long: `A sampling rate, a flag for training or a threshold that is always the same need not be an input. As a constant it is folded into what
reads it: an If that asks for it is decided, which is what many targets need. x=16000 is for all elements of an input whose sizes
are static; x=[1,0,1] gives each, in row-major order, and settles the size of an input with one axis. A value that the input's type
does not hold is an error. An input with a default gets the value in its place.`,
	Example: "set-input{training=false}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	values := map[string]*ir.Tensor{}
	var names []string
	for _, s := range m.Main.Inputs() {
		names = append(names, s.Name())
		text, ok := o.Values[s.Name()]
		if !ok {
			continue
		}
		t, err := tensor(s.Type(), text)
		if err != nil {
			return fmt.Errorf("input %q: %w", s.Name(), err)
		}
		values[s.Name()] = t
	}
	for _, name := range slices.Sorted(maps.Keys(o.Values)) {
		if values[name] == nil {
			return fmt.Errorf("there is no input %q%s", name, spell.Hint(name, names))
		}
	}
	g := m.Main
	for i := len(g.Inputs()) - 1; i >= 0; i-- {
		s := g.Inputs()[i]
		t := values[s.Name()]
		if t == nil {
			continue
		}
		c.Rewrite("set-input", nil, nil, func() {
			c.Border(&ir.Border{Fixed: []ir.Fixed{{Name: s.Name(), Value: t}}})
			v := s.Value()
			w := g.NamedConst(v.Name(), t)
			w.Extra, w.Meta = v.Extra, v.Meta
			v.ReplaceUses(w)
			g.RemoveInput(i)
		})
	}
	return nil
}
