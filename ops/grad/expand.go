package grad

import (
	"github.com/onnxopt/onnxopt/ir"
)

// expansions write operators out in others that have rules.
var expansions = map[string]func(m *ir.Model, n *ir.Node) error{}

// expand writes out the nodes on the path that have no rule of their own.
func expand(m *ir.Model, path *reach) error {
	for _, n := range m.Main.NodeList() {
		f := expansions[n.Op().Type]
		if f == nil || !path.node[n] || n.Op().Domain != "" || m.Function(n.Op()) != nil {
			continue
		}
		if err := f(m, n); err != nil {
			return err
		}
	}
	return nil
}
