package rewrite

import (
	"sync"

	"github.com/onnxopt/onnxopt/ir"
)

// Pattern is what a rule looks for: one or several alternatives in the notation of the package documentation. It is
// immutable.
type Pattern struct {
	text   string
	texts  []string // the alternatives
	parsed []sync.Once
	alts   []*tree
}

// String is the text the pattern was made of.
func (p *Pattern) String() string { return p.text }

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
