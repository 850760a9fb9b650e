package coupling

import (
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// conv relates x [N, C, ...], w [M, C/group, k...] and b [M] to y [N, M, ...]. With groups, C is group × C/group and M is group × M/group:
// each group loses the same places, or a group goes as a whole.
func (g *Graph) conv(n *ir.Node) string {
	x, w, y := g.operand(n, 0), g.operand(n, 1), g.ofValue(n.Result(0))
	if len(x) < 2 || len(w) != len(x) || len(y) != len(x) {
		return noRank
	}
	g.equal(n, x[0], y[0])
	g.spatial(n, x, w, y)
	g.contraction(n, 1, 0, 1, 1, func(r []Role) { r[0], r[1] = Out, In })
	if why := g.bias(n, y[1]); why != "" {
		return why
	}
	return g.grouped(n, x[1], w[1], y[1], w[0])
}

// grouped relates channels to weights of which one dimension has the channels inside a group only and the other one all of the other side.
// The whole of (all) is group × what is between. inner is the dimension of the weights within groups, and outer belongs to it.
func (g *Graph) grouped(n *ir.Node, x, inner, y, all int32) string {
	group := int(n.Int("group", 1))
	if group < 1 {
		return "has a group below 1"
	}
	g.equal(n, y, all)
	if group == 1 {
		g.equal(n, x, inner)
		return ""
	}
	own := g.own(n, group)
	g.product(n, x, own, inner)
	if y >= 0 && g.axes[y].Size%group == 0 {
		g.product(n, y, own, g.own(n, g.axes[y].Size/group))
	} else {
		g.fix(y, NodeLabel(n)+" has groups")
	}
	g.fixups[n] = func(r *removal) error {
		if k := r.count(own); k != group {
			n.SetAttr(ir.IntAttr("group", int64(k)))
		}
		return nil
	}
	return ""
}

// convTranspose relates x [N, C, ...] and w [C, M/group, k...] to y [N, M, ...].
func (g *Graph) convTranspose(n *ir.Node) string {
	x, w, y := g.operand(n, 0), g.operand(n, 1), g.ofValue(n.Result(0))
	if len(x) < 2 || len(w) != len(x) || len(y) != len(x) {
		return noRank
	}
	g.equal(n, x[0], y[0])
	g.spatial(n, x, w, y)
	g.contraction(n, 1, 0, 1, 1, func(r []Role) { r[0], r[1] = In, Out })
	if why := g.bias(n, y[1]); why != "" {
		return why
	}
	return g.grouped(n, y[1], w[1], x[1], w[0])
}

// spatial makes the image and the kernel stay.
func (g *Graph) spatial(n *ir.Node, axes ...[]int32) {
	for _, a := range axes {
		g.fixAll(a[2:], NodeLabel(n)+" looks at neighbours along it")
	}
}

// bias relates operand 2, if there is one, to the channels of the result.
func (g *Graph) bias(n *ir.Node, y int32) string {
	if n.Operand(2) == nil {
		return ""
	}
	b := g.operand(n, 2)
	if len(b) != 1 {
		return noRank
	}
	g.equal(n, b[0], y)
	return ""
}

// contraction records that n multiplies operand data with weights.
func (g *Graph) contraction(n *ir.Node, weights, data, dataDim, outDim int, roles func([]Role)) {
	r := make([]Role, len(g.operand(n, weights)))
	roles(r)
	dims := make([]int, len(r))
	for d := range dims {
		if dims[d] = -1; r[d] == In {
			dims[d] = dataDim
		}
	}
	g.Contractions = append(g.Contractions, Contraction{n, weights, r, data, dims, outDim})
}

// matMul relates a [..., M, K] and b [..., K, N] to y [..., M, N]; the dimensions before are repeated where they are one.
func (g *Graph) matMul(n *ir.Node) string {
	a, b, y := g.operand(n, 0), g.operand(n, 1), g.ofValue(n.Result(0))
	if len(a) < 2 || len(b) < 2 || len(y) != max(len(a), len(b)) {
		return "multiplies vectors, or operands of unknown rank"
	}
	r := len(y)
	for _, p := range [][]int32{a, b} {
		for d := range p[:len(p)-2] {
			g.broadcast(n, p[d], y[r-len(p)+d])
		}
	}
	g.equal(n, a[len(a)-2], y[r-2])
	g.equal(n, b[len(b)-1], y[r-1])
	g.equal(n, a[len(a)-1], b[len(b)-2])
	g.contraction(n, 1, 0, len(a)-1, r-1, func(r []Role) { r[len(r)-2], r[len(r)-1] = In, Out })
	g.contraction(n, 0, 1, len(b)-2, r-2, func(r []Role) { r[len(r)-1], r[len(r)-2] = In, Out })
	return ""
}

// gemm relates a [M, K], b [K, N], both transposed at will, and c, which is repeated, to y [M, N].
func (g *Graph) gemm(n *ir.Node) string {
	a, b, y := g.operand(n, 0), g.operand(n, 1), g.ofValue(n.Result(0))
	if len(a) != 2 || len(b) != 2 || len(y) != 2 {
		return noRank
	}
	ta, tb := 0, 0
	if n.Int("transA", 0) != 0 {
		ta = 1
	}
	if n.Int("transB", 0) != 0 {
		tb = 1
	}
	g.equal(n, a[ta], y[0])
	g.equal(n, b[1-tb], y[1])
	g.equal(n, a[1-ta], b[tb])
	if n.Operand(2) != nil {
		c := g.operand(n, 2)
		if c == nil || len(c) > 2 {
			return noRank
		}
		for d, x := range c {
			g.broadcast(n, x, y[2-len(c)+d])
		}
	}
	g.contraction(n, 1, 0, 1-ta, 1, func(r []Role) { r[tb], r[1-tb] = In, Out })
	g.contraction(n, 0, 1, tb, 0, func(r []Role) { r[1-ta], r[ta] = In, Out })
	return ""
}

// einsum: dimensions of one letter go together; letters that the result lacks are summed over.
func (g *Graph) einsum(n *ir.Node) string {
	eq := strings.ReplaceAll(n.Str("equation", ""), " ", "")
	left, right, ok := strings.Cut(eq, "->")
	terms := strings.Split(left, ",")
	if !ok || strings.Contains(eq, ".") || len(terms) != n.NumOperands() {
		return "has an equation that is not looked into"
	}
	first := map[rune]int32{}
	state := func(term string, axes []int32) bool {
		if len(axes) != len(term) || axes == nil && term != "" {
			return false
		}
		seen := map[rune]bool{}
		for i, c := range term {
			if seen[c] {
				return false
			}
			seen[c] = true
			if a, ok := first[c]; ok {
				g.equal(n, a, axes[i])
			} else {
				first[c] = axes[i]
			}
		}
		return true
	}
	for i, t := range terms {
		if !state(t, g.operand(n, i)) {
			return "has an equation that is not looked into"
		}
	}
	if !state(right, g.ofValue(n.Result(0))) {
		return "has an equation that is not looked into"
	}
	if len(terms) != 2 {
		return ""
	}
	for i, t := range terms {
		other := terms[1-i]
		c := Contraction{Node: n, Operand: i, Data: 1 - i, OutDim: -1, Roles: make([]Role, len(t)), DataDim: make([]int, len(t))}
		for d, letter := range t {
			c.DataDim[d] = -1
			switch {
			case !strings.ContainsRune(right, letter):
				c.Roles[d], c.DataDim[d] = In, strings.IndexRune(other, letter)
			case !strings.ContainsRune(other, letter):
				c.Roles[d], c.OutDim = Out, strings.IndexRune(right, letter)
			}
		}
		if !slices.ContainsFunc(c.DataDim, func(d int) bool { return d >= 0 }) {
			continue
		}
		g.Contractions = append(g.Contractions, c)
	}
	return ""
}

// recurrent relates x [steps, batch, in], w [directions, gates·hidden, in], r [directions, gates·hidden, hidden], b [directions,
// 2·gates·hidden], h0 and c0 [directions, batch, hidden] and p [directions, peepholes·hidden] to y [steps, directions, batch, hidden] and
// the last states. A hidden unit goes from all directions at once, since y holds them side by side.
func (g *Graph) recurrent(n *ir.Node) string {
	if n.Int("layout", 0) != 0 {
		return "has the batch first" // of operators up to now only the reference implementation runs it
	}
	x, w, r := g.operand(n, 0), g.operand(n, 1), g.operand(n, 2)
	if len(x) != 3 || len(w) != 3 || len(r) != 3 || r[2] < 0 {
		return noRank
	}
	hidden := g.axes[r[2]].Size
	g.equal(n, x[2], w[2])
	rows := func(a int32) string {
		if a < 0 || g.axes[a].Size%hidden != 0 {
			return noRank
		}
		if k := g.axes[a].Size / hidden; k > 1 {
			gates := g.own(n, k)
			g.fix(gates, NodeLabel(n)+" has as many gates")
			g.product(n, a, gates, r[2])
		} else {
			g.equal(n, a, r[2])
		}
		return ""
	}
	for _, a := range []int32{w[1], r[1]} {
		if why := rows(a); why != "" {
			return why
		}
	}
	fixed := []int32{w[0], r[0], x[0]}
	for i, ops := 3, n.NumOperands(); i < ops; i++ {
		a := g.operand(n, i)
		switch {
		case n.Operand(i) == nil:
		case (i == 3 || i == 7) && len(a) == 2:
			if why := rows(a[1]); why != "" {
				return why
			}
			fixed = append(fixed, a[0])
		case (i == 5 || i == 6) && len(a) == 3:
			g.equal(n, a[2], r[2])
			fixed = append(fixed, a[0], a[1])
		case i == 4:
			g.fixAll(a, NodeLabel(n)+" takes it as lengths")
		default:
			return noRank
		}
	}
	for j := range n.NumResults() {
		y := g.ofValue(n.Result(j))
		switch {
		case n.Result(j) == nil:
		case j == 0 && len(y) == 4:
			g.equal(n, y[3], r[2])
			fixed = append(fixed, y[0], y[1], y[2])
		case j > 0 && len(y) == 3:
			g.equal(n, y[2], r[2])
			fixed = append(fixed, y[0], y[1])
		default:
			return noRank
		}
	}
	g.fixAll(append(fixed, x[1]), NodeLabel(n)+" goes through it step by step")
	g.contraction(n, 1, 0, 2, -1, func(r []Role) { r[1], r[2] = Out, In })
	g.contraction(n, 2, -1, -1, -1, func(r []Role) { r[1], r[2] = Out, In })
	g.fixups[n] = func(m *removal) error {
		if k := m.count(r[2]); k != hidden {
			n.SetAttr(ir.IntAttr("hidden_size", int64(k)))
		}
		return nil
	}
	return ""
}
