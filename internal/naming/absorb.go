package naming

import "github.com/onnxopt/onnxopt/ir"

// Absorb takes those Identity nodes out of g that exist only because an output's name differs from that of the value it
// returns: the node's result is used by nothing but the output, and its operand is an input, an initializer, a value of an
// enclosing graph, or a value that is itself an output under its own name. Assign asks for all of them again. Several such
// nodes over one value all stay: only the file says which stands for which.
//
// Before each node goes, keep is told of it and of the output's slot. The graph has to be complete: outputs set, and
// subgraphs attached to their nodes.
func Absorb(g *ir.Graph, keep func(s *ir.Slot, n *ir.Node)) {
	named := map[*ir.Value]bool{} // returned under its own name
	for _, s := range g.Outputs() {
		if v := s.Value(); v != nil && v.Name() == s.Name() {
			named[v] = true
		}
	}
	found := map[*ir.Value]int{}
	for _, s := range g.Outputs() {
		if n := glue(g, s, named); n != nil {
			found[n.Operand(0)]++
		}
	}
	for _, s := range g.Outputs() {
		if n := glue(g, s, named); n != nil && found[n.Operand(0)] == 1 {
			keep(s, n)
			s.SetValue(n.Operand(0))
			g.Erase(n)
		}
	}
}

// glue returns the Identity behind s if it is of the kind that Absorb describes.
func glue(g *ir.Graph, s *ir.Slot, named map[*ir.Value]bool) *ir.Node {
	v := s.Value()
	if v == nil || v.Graph() != g || v.NumUses() != 1 || v.Name() != s.Name() || v.Meta != nil {
		return nil
	}
	n := v.Node()
	if n == nil || n.NumOperands() != 1 || n.NumResults() != 1 || len(n.Attrs()) > 0 || !n.Is("Identity") {
		return nil
	}
	u := n.Operand(0)
	switch {
	case u == nil || u.Name() == "":
		return nil
	case u.Graph() != g, u.Node() == nil, named[u]:
		return n
	}
	return nil
}
