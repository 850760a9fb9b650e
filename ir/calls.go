package ir

import "slices"

// CallCycle returns functions each of which calls the next, and the last the first, or nil if no function can come to call
// itself. Calls in subgraphs count. It needs no valid model.
func (m *Model) CallCycle() []*Function {
	bodies := make(map[OpID]*Function, len(m.Functions))
	for _, f := range m.Functions {
		bodies[f.ID()] = f
	}
	done := map[*Function]bool{} // whether it is; present from the first visit
	var path []*Function
	var calls func(g *Graph) []*Function
	visit := func(f *Function) []*Function {
		if over, seen := done[f]; over {
			return nil
		} else if seen {
			return slices.Clone(path[slices.Index(path, f):])
		}
		done[f] = false
		path = append(path, f)
		if c := calls(f.Graph); c != nil {
			return c
		}
		path = path[:len(path)-1]
		done[f] = true
		return nil
	}
	calls = func(g *Graph) []*Function {
		for _, n := range g.nodes {
			if n.dead {
				continue
			}
			if f := bodies[n.op]; f != nil {
				if c := visit(f); c != nil {
					return c
				}
			}
			for _, s := range n.Subgraphs() {
				if c := calls(s); c != nil {
					return c
				}
			}
		}
		return nil
	}
	for _, f := range m.Functions {
		if c := visit(f); c != nil {
			return c
		}
	}
	return nil
}
