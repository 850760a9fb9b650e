package tensorrt

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
)

// movesBytes reports whether n moves elements of type uint8, as pictures have, on the way to nothing but Casts. TensorRT takes such elements
// only where they are cast at once; castFirst brings that about.
func movesBytes(n *ir.Node) bool {
	if n.Op().Domain != "" || !n.Is("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice") || n.Operand(0) == nil || n.Operand(0).Type().DType() != ir.Uint8 {
		return false
	}
	v := n.Result(0)
	for u := range v.Uses() {
		if u.Node.IsReturn() || u.Node.Graph() != n.Graph() || u.Index != 0 || !u.Node.Is("Cast") && !movesBytes(u.Node) {
			return false
		}
	}
	return v.NumUses() > 0
}

// castFirst is m with Casts before what moves bytes; m itself where there is nothing of the kind.
func castFirst(m *ir.Model) *ir.Model {
	c := targets.Annotated(m)
	some := false
	for {
		changed := false
		for _, n := range c.Main.NodeList() {
			if n.Is("Cast") && n.Op().Domain == "" && n.Operand(0).Node() != nil && movesBytes(n.Operand(0).Node()) {
				swap(n)
				changed, some = true, true
				break // the list is another now
			}
		}
		if !changed {
			break
		}
	}
	if !some {
		return m
	}
	return c
}

// swap casts what the node before a Cast moves.
func swap(cast *ir.Node) {
	g, move := cast.Graph(), cast.Operand(0).Node()
	x := move.Operand(0)
	first := g.New(cast, ir.Op("Cast"), []*ir.Value{x}, cast.Attrs()...)
	first.SetName(cast.Name())
	first.Result(0).SetType(ir.TensorType(cast.Result(0).Type().DType(), x.Type().TensorShape()))
	in := append([]*ir.Value{first.Result(0)}, move.Operands()[1:]...)
	second := g.New(cast, move.Op(), in, move.Attrs()...)
	second.SetName(move.Name())
	old := cast.Result(0)
	name := old.Name()
	second.Result(0).SetType(old.Type())
	old.ReplaceUses(second.Result(0))
	g.Erase(cast)
	second.Result(0).SetName(name)
	if move.Result(0).NumUses() == 0 {
		g.Erase(move)
	}
}
