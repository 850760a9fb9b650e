// Package defaults is the pass that makes the defaults of inputs constants where they were never meant to be overridden.
package defaults

import (
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Options are the options of freeze-defaults.
type Options struct {
	All bool `opt:"all" doc:"every input with a default, whoever wrote the model"`
}

// Pass makes defaults of inputs constants.
var Pass = passes.Define(passes.Info{
	Name: "freeze-defaults",
	Doc:  "makes weights that an old exporter listed as inputs constants",
	Long: `From IR version 4 on an initializer that is also an input is a default that callers may override, and no pass folds it.
PyTorch up to 1.2 knew only the form of IR version 3, in which every initializer has to be listed as an input and is a constant
(keep_initializers_as_inputs, by which one asks for overridable ones, came with 1.3), and wrote it under IR version 4, too. In a
model of such an exporter whose initializers are all listed they become constants, as they are below IR version 4.
With all=true that is done to every input with a default.`,
	Example: "freeze-defaults{all=true}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	g := m.Main
	if !o.All && !habit(m) {
		return nil
	}
	for i := len(g.Inputs()) - 1; i >= 0 && c.Err() == nil; i-- {
		v := g.Inputs()[i].Value()
		if t := v.Default(); t != nil {
			c.Rewrite("freeze-defaults", nil, nil, func() {
				w := g.NamedConst(v.Name(), t)
				w.Extra, w.Meta = v.Extra, v.Meta
				v.ReplaceUses(w)
				g.RemoveInput(i)
			})
		}
	}
	return nil
}

// habit reports whether the model is of an exporter that could not write initializers in another way, and shows it.
func habit(m *ir.Model) bool {
	if m.IRVersion != 4 || m.ProducerName != "pytorch" || !before(m.ProducerVersion, 1, 3) || len(m.Training) > 0 {
		return false
	}
	return len(m.Main.Consts()) == 0
}

// before reports whether version is one of dotted numbers below major.minor.
func before(version string, major, minor int) bool {
	p := strings.SplitN(version, ".", 3)
	if len(p) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(p[0])
	b, err2 := strconv.Atoi(p[1])
	return err1 == nil && err2 == nil && (a < major || a == major && b < minor)
}
