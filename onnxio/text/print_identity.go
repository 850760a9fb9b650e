package text

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
)

// late hands out the Identity nodes of a graph where they stood in the source, once their operands are written, and those
// without such a place at the end.
type late struct {
	g    *ir.Graph
	ids  []*naming.Identity // by place
	at   []int64
	done map[*ir.Node]bool
}

func newLate(g *ir.Graph, ids []*naming.Identity) *late {
	l := &late{g: g}
	if len(ids) == 0 {
		return l
	}
	l.done = map[*ir.Node]bool{}
	place := func(i *naming.Identity) int64 {
		if k, ok := i.Slot.Extra.(keep.Identity); ok {
			if _, _, pos, ok := k.Identity(); ok {
				return pos
			}
		}
		return math.MaxInt64
	}
	l.ids = slices.Clone(ids)
	slices.SortStableFunc(l.ids, func(a, b *naming.Identity) int { return cmpInt(place(a), place(b)) })
	for _, i := range l.ids {
		l.at = append(l.at, place(i))
	}
	return l
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// before returns the nodes that go before n. One whose operand is not written yet holds back those behind it.
func (l *late) before(n *ir.Node) []*naming.Identity {
	k := 0
	for k < len(l.ids) && l.at[k] < n.Pos() {
		if v := l.ids[k].Value; v.Graph() == l.g && v.Node() != nil && !l.done[v.Node()] {
			break
		}
		k++
	}
	r := l.ids[:k]
	l.ids, l.at = l.ids[k:], l.at[k:]
	return r
}

func (l *late) wrote(n *ir.Node) {
	if len(l.ids) > 0 {
		l.done[n] = true
	}
}

func (l *late) rest() []*naming.Identity { return l.ids }
