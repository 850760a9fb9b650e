package ir

// Source identifies a node of the file that was read.
type Source struct {
	Graph string // path of the graph: "" is the main graph, "f:NAME" a function, nested graphs add "/node/attribute"
	Pos   int    // place among the graph's nodes
	Name  string // NodeProto.name, may be empty
	Op    OpID
}

// Origin says what a node or constant stands for: source nodes, and the rules that made it of them. Origins share structure,
// so that a long chain of rewrites costs each rewrite a constant amount.
type Origin struct {
	source  *Source
	rule    string
	parents []*Origin
}

// SourceOrigin is the origin of a node that stands in the file.
func SourceOrigin(s *Source) *Origin { return &Origin{source: s} }

// DerivedOrigin is the origin of what rule made of the parents; nil parents are left out.
func DerivedOrigin(rule string, parents ...*Origin) *Origin {
	var ps []*Origin
	seen := map[*Origin]bool{nil: true}
	for _, p := range parents {
		if !seen[p] {
			seen[p] = true
			ps = append(ps, p)
		}
	}
	return &Origin{rule: rule, parents: ps}
}

// Sources lists the source nodes, each once, in the order in which they were added. It is safe on nil.
func (o *Origin) Sources() []*Source {
	var r []*Source
	o.walk(func(x *Origin) {
		if x.source != nil {
			r = append(r, x.source)
		}
	})
	return r
}

// Rules lists the rules that took part, each once, the earliest first. It is safe on nil.
func (o *Origin) Rules() []string {
	var r []string
	seen := map[string]bool{"": true}
	o.walk(func(x *Origin) {
		if !seen[x.rule] {
			seen[x.rule] = true
			r = append(r, x.rule)
		}
	})
	return r
}

// walk visits o and its ancestors once each, parents first, without recursion: chains may be long.
func (o *Origin) walk(f func(*Origin)) {
	if o == nil {
		return
	}
	type frame struct {
		o *Origin
		i int
	}
	seen := map[*Origin]bool{o: true}
	stack := []frame{{o, 0}}
	for len(stack) > 0 {
		t := &stack[len(stack)-1]
		if t.i < len(t.o.parents) {
			p := t.o.parents[t.i]
			t.i++
			if !seen[p] {
				seen[p] = true
				stack = append(stack, frame{p, 0})
			}
			continue
		}
		f(t.o)
		stack = stack[:len(stack)-1]
	}
}
