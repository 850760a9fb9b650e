package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/onnxopt/onnxopt/ir"
)

// Pattern is what a rule looks for: one or several alternatives in the notation of the package documentation. It is
// immutable.
type Pattern struct {
	needs   []ir.OpID       // operators that every alternative has
	spell   func() []string // the texts of the alternatives
	spelled sync.Once       // sets what follows
	alts    []alternative
	roots   []ir.OpID // the operators that the roots may be
}

// alternative is one text of a pattern. Reading it takes longer than a small model, so it is put off until a model has all operators.
type alternative struct {
	text string
	ops  [][]ir.OpID // the operators that each node may be; the root's are the last
	read sync.Once   // sets what follows
	tree *tree
	err  error
}

// String is the text the pattern was made of.
func (p *Pattern) String() string { return strings.Join(p.spell(), "\nor\n") }

// alternatives are those of the pattern, with what is known of them without reading them.
func (p *Pattern) alternatives() []alternative {
	p.spelled.Do(func() {
		texts := p.spell()
		p.alts = make([]alternative, len(texts))
		for i, t := range texts {
			a := &p.alts[i]
			a.text, a.ops = t, operators(t)
			if len(a.ops) == 0 {
				continue // tree says what is wrong
			}
			for _, op := range a.ops[len(a.ops)-1] {
				if !slices.Contains(p.roots, op) {
					p.roots = append(p.roots, op)
				}
			}
		}
	})
	return p.alts
}

// concerns reports whether m may have a node that is the root of an alternative.
func (p *Pattern) concerns(m *ir.Model) bool {
	return p.in(m) && p.alternatives() != nil && slices.ContainsFunc(p.roots, m.MayHave)
}

// in reports whether m may have all operators that every alternative has.
func (p *Pattern) in(m *ir.Model) bool {
	for _, op := range p.needs {
		if !m.MayHave(op) {
			return false
		}
	}
	return true
}

// check says what is wrong with the pattern, all alternatives of which are read for it.
func (p *Pattern) check() error {
	all := p.alternatives()
	for i := range all {
		a := &all[i]
		t, err := a.parsed()
		if err != nil {
			return err
		}
		for _, op := range p.needs {
			if !slices.ContainsFunc(t.nodes, func(n *node) bool { return len(n.ops) == 1 && n.ops[0] == op }) {
				return fmt.Errorf("there is no %s in %s", op, a.text)
			}
		}
	}
	return nil
}

// parsed is the alternative read.
func (a *alternative) parsed() (*tree, error) {
	a.read.Do(func() { a.tree, a.err = parseTree(a.text) })
	return a.tree, a.err
}

// must is parsed for patterns that stand in code.
func (a *alternative) must() *tree {
	t, err := a.parsed()
	if err != nil {
		panic(fmt.Sprintf("rewrite: pattern: %v in %s", err, a.text))
	}
	return t
}

// in reports whether m may have all operators of the alternative.
func (a *alternative) in(m *ir.Model) bool {
	for _, ops := range a.ops {
		if !slices.ContainsFunc(ops, m.MayHave) {
			return false
		}
	}
	return true
}

// tree is one alternative: nodes that hang together by operands, the root last.
type tree struct {
	nodes    []*node
	captures []capture // operands that no node of the pattern defines
	attrs    []string  // names of captured attributes
	replaced []resultRef
	names    map[string]nameRef
	depth    int // nodes on the longest way from the root down
	maxUses  int // uses that the pattern itself makes of one of its results
	shared   bool
}

// node is a node of a pattern.
type node struct {
	index    int
	ops      []ir.OpID
	attrs    []attrPattern
	open     bool // attributes that are not mentioned may have any value
	results  []result
	operands []operand
}

// result is a named result of a pattern's node; an empty name is a result that must be omitted or without uses.
type result struct {
	name     string
	shared   bool
	replaced bool
}

// resultRef names result number result of nodes[node].
type resultRef struct{ node, result int }

// nameRef says what a name of the pattern stands for.
type nameRef struct {
	capture int // index of a capture, or -1
	resultRef
}

type operandKind uint8

const (
	omitted operandKind = iota
	captured
	interior
	literal
)

// operand is what a pattern says of one operand.
type operand struct {
	kind    operandKind
	capture int       // captured
	ref     resultRef // interior
	value   float64   // literal
}

// capture is an operand that the pattern binds to a name.
type capture struct {
	name     string
	constant bool
	scalar   bool
	optional bool
	variadic bool
}

// attrPattern is what a pattern says of one attribute: a value, or the index of the capture it is bound to.
type attrPattern struct {
	name    string
	want    *ir.Attr
	capture int // -1 if want is set
}

// root is the node that the match is named after.
func (t *tree) root() *node { return t.nodes[len(t.nodes)-1] }

// closed fills in what follows from the nodes: the depth, how often the pattern itself uses a result, what is replaced.
func (t *tree) close() {
	uses := map[resultRef]int{}
	depth := make([]int, len(t.nodes))
	for i, n := range t.nodes {
		depth[i] = 1
		for _, o := range n.operands {
			if o.kind == interior {
				uses[o.ref]++
				t.maxUses = max(t.maxUses, uses[o.ref])
				depth[i] = max(depth[i], depth[o.ref.node]+1)
			}
		}
	}
	root := len(t.nodes) - 1
	t.depth = depth[root]
	for i, r := range t.root().results {
		if r.name != "" {
			t.replaced = append(t.replaced, resultRef{root, i})
		}
	}
	for i, n := range t.nodes[:root] {
		for j, r := range n.results {
			t.shared = t.shared || r.shared || r.replaced
			if r.replaced {
				t.replaced = append(t.replaced, resultRef{i, j})
			}
		}
	}
}
