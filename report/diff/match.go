package diff

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// matcher pairs the nodes of two models. Names are hints only: what computes the same is paired first.
type matcher struct {
	a, b         *ir.Model
	exact, loose [2]*hasher
	toB          map[*ir.Node]*ir.Node
	toA          map[*ir.Node]*ir.Node
	inputs       map[*ir.Value]*ir.Value // inputs of a's graphs to those of b's
	queue        [][2]*ir.Node           // pairs whose neighbours were not looked at
	twins        bool                    // pairs being made are of nodes that compute the same as others: which is whose is not known
}

func match(a, b *ir.Model) (*matcher, error) {
	m := &matcher{a: a, b: b, toB: map[*ir.Node]*ir.Node{}, toA: map[*ir.Node]*ir.Node{}, inputs: map[*ir.Value]*ir.Value{}}
	seed := maphash.MakeSeed()
	for i, x := range []*ir.Model{a, b} {
		m.exact[i], m.loose[i] = newHasher(seed, true), newHasher(seed, false)
		for _, h := range []*hasher{m.exact[i], m.loose[i]} {
			h.graph(x.Main)
			for _, f := range x.Functions {
				h.graph(f.Graph)
			}
			if h.err != nil {
				return nil, h.err
			}
		}
	}
	m.graphs(a.Main, b.Main)
	for _, f := range a.Functions {
		if g := b.Function(f.ID()); g != nil {
			m.graphs(f.Graph, g.Graph)
		}
	}
	return m, nil
}

// graphs pairs the nodes of two graphs, and those of the subgraphs of what is paired.
//
// The order of evidence: equal computations up to names; equal uses, seen from the outputs; both up to the elements of constants, where
// that is unique; equal names; what has most in common of those; neighbours of pairs at any time, and last, what stands in the same place with another operator. It is the method of difference tools
// for trees, unique anchors first and then propagation (Falleri and others, Fine-grained and accurate source code differencing, ASE
// 2014), on graphs.
func (m *matcher) graphs(a, b *ir.Graph) {
	m.pairInputs(a, b)
	left, right := nodesOf(a), nodesOf(b)
	byHash := func(x, y map[*ir.Node]uint64, k keyed) {
		m.group(left, right, func(n *ir.Node) any { return x[n] }, func(n *ir.Node) any { return y[n] }, k)
		m.spread()
	}
	byHash(m.exact[0].nodes, m.exact[1].nodes, anyNumber)
	byHash(m.exact[0].above(a), m.exact[1].above(b), sameNumber)
	below, above := m.loose[0].nodes, m.loose[0].above(a)
	below2, above2 := m.loose[1].nodes, m.loose[1].above(b)
	byHash(below, below2, onlyOne)
	byHash(above, above2, onlyOne)
	m.group(left, right, named, named, sameNumber)
	m.spread()
	byHash(below, below2, sameNumber)
	byHash(above, above2, sameNumber)
	m.inPlace(left)
	for _, n := range left {
		o := m.toB[n]
		if o == nil {
			continue
		}
		for _, x := range n.Attrs() {
			y := o.Attr(x.Name)
			gs := x.Graphs()
			for i, h := range y.Graphs() {
				if i < len(gs) {
					m.graphs(gs[i], h)
				}
			}
		}
	}
}

// nodesOf are the nodes of g in order; Constant nodes are weights.
func nodesOf(g *ir.Graph) []*ir.Node {
	return slices.DeleteFunc(g.NodeList(), func(n *ir.Node) bool { return n.NumResults() == 1 && n.Result(0).Const() != nil })
}

// pairInputs pairs inputs by name, in subgraphs and functions by position; then those left over by position where their types agree.
func (m *matcher) pairInputs(a, b *ir.Graph) {
	byName := a.Outer() == nil && !a.IsBody()
	taken := map[int]bool{}
	for i, s := range a.Inputs() {
		for k, t := range b.Inputs() {
			if byName && s.Name() == t.Name() || !byName && i == k {
				m.inputs[s.Value()] = t.Value()
				taken[k] = true
				break
			}
		}
	}
	for i, s := range a.Inputs() {
		if m.inputs[s.Value()] == nil && i < len(b.Inputs()) && !taken[i] && s.Type().Equal(b.Inputs()[i].Type()) {
			m.inputs[s.Value()] = b.Inputs()[i].Value()
		}
	}
}

// named is the operator and name of a node, nil for one without a name.
func named(n *ir.Node) any {
	if name := nameOf(n); name != "" {
		return [2]string{n.Op().String(), name}
	}
	return nil
}

// keyed says which keys count.
type keyed uint8

const (
	anyNumber  keyed = iota
	sameNumber       // those that as many nodes of both sides have
	onlyOne          // those that one node of each side has
)

// group pairs nodes of equal keys: those of equal names, then those that have most in common.
func (m *matcher) group(left, right []*ir.Node, x, y func(*ir.Node) any, number keyed) {
	sides := map[any]*[2][]*ir.Node{}
	var order []any
	add := func(side int, ns []*ir.Node, key func(*ir.Node) any, done map[*ir.Node]*ir.Node) {
		for _, n := range ns {
			k := key(n)
			if done[n] != nil || k == nil {
				continue
			}
			if sides[k] == nil {
				sides[k] = &[2][]*ir.Node{}
				order = append(order, k)
			}
			sides[k][side] = append(sides[k][side], n)
		}
	}
	add(0, left, x, m.toB)
	add(1, right, y, m.toA)
	for _, k := range order {
		s := sides[k]
		if number != anyNumber && len(s[0]) != len(s[1]) || number == onlyOne && len(s[0]) != 1 {
			continue
		}
		byName := map[string]*ir.Node{}
		for _, n := range s[1] {
			byName[nameOf(n)] = n
		}
		for _, n := range s[0] {
			if o := byName[nameOf(n)]; o != nil && nameOf(n) != "" {
				m.pair(n, o)
			}
		}
		m.twins = number == anyNumber && (len(s[0]) > 1 || len(s[1]) > 1)
		rest := s[1]
		for _, n := range s[0] {
			if m.toB[n] != nil {
				continue
			}
			rest = slices.DeleteFunc(rest, func(o *ir.Node) bool { return m.toA[o] != nil })
			if len(rest) == 0 {
				break
			}
			m.pair(n, m.closest(n, rest))
		}
		m.twins = false
	}
}

// closest is the first of the candidates that has most in common with n; only so many are looked at.
func (m *matcher) closest(n *ir.Node, candidates []*ir.Node) *ir.Node {
	const most = 64
	best, top := candidates[0], -1
	for _, o := range candidates[:min(len(candidates), most)] {
		if s := m.common(n, o); s > top {
			best, top = o, s
		}
	}
	return best
}

// common counts operands that are the same and users that are a pair.
func (m *matcher) common(n, o *ir.Node) (score int) {
	for i := range min(n.NumOperands(), o.NumOperands()) {
		x, y := n.Operand(i), o.Operand(i)
		switch {
		case x == nil || y == nil:
		case x.Const() != nil && y.Const() != nil:
			if m.exact[0].tensor(x.Const()) == m.exact[1].tensor(y.Const()) {
				score++
			}
		case x.Const() == nil && y.Const() == nil && m.same(x, y):
			score++
		}
	}
	for i := range min(n.NumResults(), o.NumResults()) {
		if n.Result(i) == nil || o.Result(i) == nil {
			continue
		}
		for u := range n.Result(i).Uses() {
			for v := range o.Result(i).Uses() {
				if u.Index == v.Index && m.toB[u.Node] == v.Node {
					score++
				}
			}
		}
	}
	return score
}

// pair makes n and o a pair unless one of them has one, or their operators differ.
func (m *matcher) pair(n, o *ir.Node) {
	if m.toB[n] != nil || m.toA[o] != nil || n.Op() != o.Op() {
		return
	}
	m.link(n, o)
}

func (m *matcher) link(n, o *ir.Node) {
	m.toB[n], m.toA[o] = o, n
	if !m.twins {
		m.queue = append(m.queue, [2]*ir.Node{n, o})
	}
}

// spread pairs the neighbours of pairs: what computes the same operand, and the only user of a result at the same place.
func (m *matcher) spread() {
	for len(m.queue) > 0 {
		p := m.queue[0]
		m.queue = m.queue[1:]
		for i := range min(p[0].NumOperands(), p[1].NumOperands()) {
			x, y := p[0].Operand(i), p[1].Operand(i)
			if x != nil && y != nil && x.Const() == nil && y.Const() == nil && x.Node() != nil && y.Node() != nil && x.Node().Graph() == p[0].Graph() && y.Node().Graph() == p[1].Graph() {
				m.pair(x.Node(), y.Node())
			}
		}
		for i := range min(p[0].NumResults(), p[1].NumResults()) {
			users := usersOf(p[1].Result(i), m.toA)
			if p[0].Result(i) == nil {
				continue
			}
			own := usersOf(p[0].Result(i), m.toB)
			for u := range p[0].Result(i).Uses() { // in order, unlike the map
				k := use{u.Node.Op(), u.Index}
				if n, o := own[k], users[k]; n != nil && o != nil {
					m.pair(n, o)
				}
			}
		}
	}
}

// use is an operator and the operand at which it takes a value.
type use struct {
	op    ir.OpID
	index int
}

// usersOf are the users of v in its own graph that have no pair; nil where several have the same operator and operand.
func usersOf(v *ir.Value, done map[*ir.Node]*ir.Node) map[use]*ir.Node {
	r := map[use]*ir.Node{}
	if v == nil {
		return r
	}
	for u := range v.Uses() {
		if u.Node.IsReturn() || done[u.Node] != nil || u.Node.Graph() != v.Graph() {
			continue
		}
		k := use{u.Node.Op(), u.Index}
		if _, several := r[k]; several {
			r[k] = nil
			continue
		}
		r[k] = u.Node
	}
	return r
}

// inPlace pairs nodes of different operators that stand between the same neighbours: all computed operands come from pairs, and so does a
// use, or both make the same output.
func (m *matcher) inPlace(left []*ir.Node) {
	for _, n := range left {
		if m.toB[n] != nil {
			continue
		}
		for _, o := range m.candidates(n) {
			if m.toA[o] == nil && m.sameFeeds(n, o) {
				m.link(n, o)
				break
			}
		}
	}
	m.spread()
}

// candidates are the nodes of b that feed what n feeds.
func (m *matcher) candidates(n *ir.Node) (r []*ir.Node) {
	if n.NumResults() == 0 || n.Result(0) == nil {
		return nil
	}
	for u := range n.Result(0).Uses() {
		var v *ir.Value
		switch {
		case u.Node.IsReturn() && u.Node.Graph() == m.a.Main:
			for _, s := range m.b.Main.Outputs() {
				if s.Name() == m.a.Main.Outputs()[u.Index].Name() {
					v = s.Value()
				}
			}
		case m.toB[u.Node] != nil:
			v = m.toB[u.Node].Operand(u.Index)
		}
		if v != nil && v.Node() != nil && v.Const() == nil && !slices.Contains(r, v.Node()) {
			r = append(r, v.Node())
		}
	}
	slices.SortStableFunc(r, func(x, y *ir.Node) int { return cmp.Compare(x.Pos(), y.Pos()) })
	return r
}

// sameFeeds reports whether the first computed operands of n and o are a pair.
func (m *matcher) sameFeeds(n, o *ir.Node) bool {
	first := func(n *ir.Node) *ir.Value {
		for _, v := range n.Operands() {
			if v != nil && v.Const() == nil {
				return v
			}
		}
		return nil
	}
	x, y := first(n), first(o)
	return x != nil && y != nil && m.same(x, y)
}

// same reports whether two values that are no constants stand for each other: their nodes are a pair, or compute the same.
func (m *matcher) same(x, y *ir.Value) bool {
	nx, i := x.Def()
	ny, k := y.Def()
	if nx == nil || ny == nil {
		return nx == nil && ny == nil && m.inputs[x] == y
	}
	return i == k && (m.toB[nx] == ny || m.exact[0].values[x] == m.exact[1].values[y])
}

// nameOf is the name of a node or of its first named result.
func nameOf(n *ir.Node) string {
	if n.Name() != "" {
		return n.Name()
	}
	for _, v := range n.Results() {
		if v != nil && v.Name() != "" {
			return v.Name()
		}
	}
	return ""
}

func sorted(attrs []*ir.Attr) []*ir.Attr {
	r := slices.Clone(attrs)
	slices.SortFunc(r, func(a, b *ir.Attr) int { return cmp.Compare(a.Name, b.Name) })
	return r
}
