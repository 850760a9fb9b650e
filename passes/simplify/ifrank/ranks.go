package ifrank

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// ranks is a set of ranks: bit i stands for rank i.
type ranks uint32

const (
	all ranks = 1<<32 - 1
	// maxVisits bounds the values that are looked at for one result of an If.
	maxVisits = 64
)

// ranker finds the ranks that values may and must have.
type ranker struct {
	facts  *facts.Facts
	live   map[*ir.Node]bool
	budget int
}

// spent counts a visit and reports whether there have been too many.
func (r *ranker) spent() bool {
	r.budget--
	return r.budget < 0
}

// known is the rank of v as a set, all if it is not known.
func (r *ranker) known(v *ir.Value) ranks {
	if v == nil {
		return all
	}
	if s := r.facts.Shape(v); s.Known() && len(s) < 32 {
		return 1 << len(s)
	}
	return all
}

// possible are the ranks that v may have.
func (r *ranker) possible(v *ir.Value) ranks {
	if k := r.known(v); k != all || r.spent() {
		return k
	}
	n, result := v.Def()
	switch {
	case n == nil || n.Op().Domain != "" || n.HasRefs():
		return all
	case n.Is("If"):
		s := ranks(0)
		for _, b := range n.Subgraphs() {
			if result >= len(b.Outputs()) {
				return all
			}
			s |= r.possible(b.Outputs()[result].Value())
		}
		return s
	case keepsRank(n):
		return r.possible(n.Operand(0))
	}
	if k, ok := adds(n); ok {
		return moved(r.possible(n.Operand(0)), k)
	}
	return all
}

// required are the ranks that v must have for the graph to be computed at all.
func (r *ranker) required(v *ir.Value) ranks {
	s := all
	for u := range v.Uses() {
		if r.spent() {
			break
		}
		if u.Node.Graph() == v.Graph() && r.live[u.Node] {
			s &= r.taken(u.Node, u.Index)
		}
	}
	return s
}

// taken are the ranks that n takes for its operand i.
func (r *ranker) taken(n *ir.Node, i int) ranks {
	if n.Op().Domain != "" || n.HasRefs() || n.IsReturn() {
		return all
	}
	switch {
	case n.Is("LSTM", "GRU", "RNN") && (i <= 2 || i == 5 || i == 6 && n.Is("LSTM")):
		return 1 << 3
	case n.Is("Conv", "ConvTranspose") && i == 0:
		return r.known(n.Operand(1))
	case n.Is("Gemm") && i <= 1:
		return 1 << 2
	case n.Is("Transpose") && len(n.Ints("perm")) > 0 && len(n.Ints("perm")) < 32:
		return 1 << len(n.Ints("perm"))
	case n.Is("Concat"):
		s := all
		for k, v := range n.Operands() {
			if k != i {
				s &= r.known(v)
			}
		}
		return s
	case keepsRank(n) && i == 0:
		return r.required(n.Result(0))
	}
	if k, ok := adds(n); ok && i == 0 {
		return moved(r.required(n.Result(0)), -k)
	}
	return all
}

// keepsRank reports whether the result of n has the rank of its first operand.
func keepsRank(n *ir.Node) bool {
	return ops.Has(n, ops.Unary) || n.Is("Identity", "Cast", "Softmax", "LogSoftmax", "Transpose", "Slice", "Pad")
}

// adds is by how much the rank of n's result exceeds that of its operand, if n is an Unsqueeze or Squeeze of stated axes.
func adds(n *ir.Node) (int, bool) {
	if !n.Is("Unsqueeze", "Squeeze") {
		return 0, false
	}
	axes := n.Ints("axes")
	if n.Graph().Opset("") >= 13 {
		v, ok, err := []int64(nil), false, error(nil)
		if a := n.Operand(1); a != nil && a.Const() != nil && a.Const().Len() < 32 {
			v, ok, err = rewrite.Ints(a.Const())
		}
		if !ok || err != nil {
			return 0, false
		}
		axes = v
	}
	// Axes that stand twice are an error of Unsqueeze, and Squeeze without axes removes what is of size 1.
	sorted := slices.Clone(axes)
	slices.Sort(sorted)
	if len(axes) == 0 || len(slices.Compact(sorted)) < len(axes) {
		return 0, false
	}
	if n.Is("Squeeze") {
		// -1 and rank-1 are the same axis.
		if sorted[0] < 0 && sorted[len(sorted)-1] >= 0 {
			return 0, false
		}
		return -len(axes), true
	}
	return len(axes), true
}

// moved adds k to each rank of s. Ranks beyond those that a set can hold are lost, unless s is all.
func moved(s ranks, k int) ranks {
	switch {
	case s == all:
		return all
	case k >= 0:
		return s << k
	}
	return s >> -k
}
