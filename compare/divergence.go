package compare

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// Divergence is a place where two runs part.
type Divergence struct {
	A, B    *ir.Value // the same value in the original and in the result
	Diff    Diff
	Matched int // pairs of values that were compared up to here, this one included
}

// String names the value and the node that computes it in b, with the rules that made it.
func (d *Divergence) String() string {
	s := fmt.Sprintf("value %q", d.A.Name())
	if n := d.B.Node(); n != nil {
		s += fmt.Sprintf(" of node %q (%s)", n.Name(), n.Op())
		if r := n.Origin().Rules(); len(r) > 0 {
			s += fmt.Sprintf(", made by %v", r)
		}
	}
	return s + ": " + d.Diff.String()
}

// pairsAtATime bounds how many intermediate values of each model are held at once.
const pairsAtATime = 256

// FirstDivergence runs a and b on one set and finds the first value, in a's order, that differs by more than the
// tolerance allows (nil: O2 of the value's type). It returns nil if every matched pair agrees. Values are matched by origin
// and name (see Match), in the main graph. Both models run once for every 256 pairs, or fewer if o.MaxMemory asks for it,
// until a pair differs.
func FirstDivergence(ctx context.Context, eng engine.Engine, a, b *ir.Model, set Set, o engine.Options,
	tolerance func(a *ir.Value, d Diff) Tolerance) (*Divergence, error) {
	if tolerance == nil {
		tolerance = func(_ *ir.Value, d Diff) Tolerance { return O2(d.DType) }
	}
	pairs := Match(a, b)
	for done, size := 0, pairsAtATime; done < len(pairs); {
		chunk := pairs[done:min(done+size, len(pairs))]
		x, err := tap(ctx, eng, a, set, o, chunk, func(p Pair) *ir.Value { return p.A })
		var y []ir.Datum
		if err == nil {
			y, err = tap(ctx, eng, b, set, o, chunk, func(p Pair) *ir.Value { return p.B })
		}
		if errors.Is(err, engine.ErrMemory) && size > 1 {
			size /= 2 // fewer values at a time may fit
			continue
		}
		if err != nil {
			return nil, err
		}
		for i, p := range chunk {
			if x[i] == nil || y[i] == nil {
				continue
			}
			if d := Datum(x[i], y[i]); tolerance(p.A, d).Check(d) != nil {
				return &Divergence{p.A, p.B, d, done + i + 1}, nil
			}
		}
		done += len(chunk)
	}
	return nil, nil
}

func tap(ctx context.Context, eng engine.Engine, m *ir.Model, set Set, o engine.Options, pairs []Pair, pick func(Pair) *ir.Value) ([]ir.Datum, error) {
	o.Taps = make([]*ir.Value, len(pairs))
	for i, p := range pairs {
		o.Taps[i] = pick(p)
	}
	s, err := eng.Load(ctx, m, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	_, taps, err := s.RunTaps(ctx, set.Inputs)
	return taps, err
}

// Pair is a value of the original and the value of the result that stands for it.
type Pair struct{ A, B *ir.Value }

// origin identifies a node of the file that both models come from.
type origin struct {
	graph string
	pos   int
}

// Match pairs the results of nodes of two main graphs that come from the same file, in a's order. A value of b stands for
// one of a if the origins of their nodes share a source node and
//
//   - they have the same name: a rewrite hands the name of a result on to what replaces it; or
//   - b's node has the one source that a's node has, the same operator and the same number of results; or
//   - among the source nodes of b's, a's is the only one whose results leave them, and b's is not an inner part of a replacement.
//
// Values of types that contradict each other are not paired. Models without origins are matched by names.
func Match(a, b *ir.Model) []Pair {
	m := matcher{nodes: map[origin]*ir.Node{}, byName: map[string]*ir.Value{}, found: map[*ir.Value]*ir.Value{}}
	nodes := a.Main.NodeList()
	for _, n := range nodes {
		for _, s := range n.Origin().Sources() {
			m.nodes[origin{s.Graph, s.Pos}] = n
		}
		for _, r := range n.Results() {
			if r != nil && r.Name() != "" {
				m.byName[r.Name()] = r
			}
		}
	}
	for n := range b.Main.Nodes() {
		m.node(n)
	}
	var r []Pair
	for _, n := range nodes {
		for _, v := range n.Results() {
			if w := m.found[v]; v != nil && w != nil {
				r = append(r, Pair{v, w})
			}
		}
	}
	return r
}

type matcher struct {
	nodes  map[origin]*ir.Node  // a's nodes by source
	byName map[string]*ir.Value // a's results
	found  map[*ir.Value]*ir.Value
}

// node pairs the results of a node of b.
func (m *matcher) node(n *ir.Node) {
	sources := n.Origin().Sources()
	group := map[*ir.Node]bool{}
	for _, s := range sources {
		if x := m.nodes[origin{s.Graph, s.Pos}]; x != nil {
			group[x] = true
		}
	}
	named := false
	for _, r := range n.Results() {
		if r == nil || r.Name() == "" {
			continue
		}
		if v := m.byName[r.Name()]; v != nil && (len(sources) == 0 || group[v.Node()]) {
			named = m.pair(v, r) || named
		}
	}
	if named || len(group) == 0 || inside(n) {
		return
	}
	sink := m.sink(group)
	switch {
	case sink == nil:
	case len(group) == 1 && sink.Op() == n.Op() && sink.NumResults() == n.NumResults():
		for i, r := range n.Results() {
			m.pair(sink.Result(i), r)
		}
	case sink.NumResults() == 1 && n.NumResults() == 1 && len(n.Origin().Rules()) > 0:
		m.pair(sink.Result(0), n.Result(0))
	}
}

// inside reports whether every use of n's results is by nodes with n's own origin: then n is an inner part of a replacement.
func inside(n *ir.Node) bool {
	for _, r := range n.Results() {
		if r == nil {
			continue
		}
		for u := range r.Uses() {
			if u.Node.IsReturn() || u.Node.Origin() != n.Origin() {
				return false
			}
		}
	}
	return true
}

// sink is the last node of the group, if it is the only one whose results leave the group.
func (m *matcher) sink(group map[*ir.Node]bool) *ir.Node {
	var sink *ir.Node
	for n := range group {
		leaves := false
		for _, r := range n.Results() {
			if r == nil {
				continue
			}
			for u := range r.Uses() {
				leaves = leaves || !group[u.Node]
			}
		}
		switch {
		case !leaves:
		case sink != nil:
			return nil
		default:
			sink = n
		}
	}
	return sink
}

// pair notes that w stands for v unless their types contradict each other or v has a partner.
func (m *matcher) pair(v, w *ir.Value) bool {
	if v == nil || w == nil || m.found[v] != nil {
		return false
	}
	if _, ok := v.Type().Merge(w.Type()); !ok {
		return false
	}
	m.found[v] = w
	return true
}
