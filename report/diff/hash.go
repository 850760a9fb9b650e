package diff

import (
	"encoding/binary"
	"hash/maphash"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// hasher gives values and nodes hashes that do not depend on names. Equal hashes mean equal computations but for collisions of 64
// bits under a random seed.
type hasher struct {
	seed     maphash.Seed
	contents bool // elements of constants count, and not only their types
	values   map[*ir.Value]uint64
	nodes    map[*ir.Node]uint64
	tensors  map[*ir.Tensor]uint64
	err      error // a constant cannot be read
}

func newHasher(seed maphash.Seed, contents bool) *hasher {
	return &hasher{seed: seed, contents: contents, values: map[*ir.Value]uint64{}, nodes: map[*ir.Node]uint64{}, tensors: map[*ir.Tensor]uint64{}}
}

// sum collects what a hash is made of.
type sum struct{ h maphash.Hash }

func (h *hasher) sum(kind string) *sum {
	s := &sum{}
	s.h.SetSeed(h.seed)
	s.str(kind)
	return s
}

func (s *sum) u64(v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	s.h.Write(b[:])
}

func (s *sum) str(v string) {
	s.u64(uint64(len(v)))
	s.h.WriteString(v)
}

func (s *sum) ints(v []int64) {
	s.u64(uint64(len(v)))
	for _, x := range v {
		s.u64(uint64(x))
	}
}

// graph hashes the nodes of g in their order, so that recursion is as deep as graphs nest and not as long as chains are.
func (h *hasher) graph(g *ir.Graph) {
	for i, s := range g.Inputs() {
		x := h.sum("input")
		if h.contents && g.Outer() == nil && !g.IsBody() {
			x.str(s.Name()) // which the interface owns
		} else {
			x.u64(uint64(i))
		}
		h.values[s.Value()] = x.h.Sum64()
	}
	for n := range g.Nodes() {
		h.nodes[n] = h.node(n)
	}
}

func (h *hasher) node(n *ir.Node) uint64 {
	for _, g := range n.Subgraphs() {
		h.graph(g)
	}
	s := h.sum("node")
	s.str(n.Op().String())
	s.u64(uint64(n.NumOperands()))
	for _, v := range n.Operands() {
		s.u64(h.value(v))
	}
	s.u64(uint64(n.NumResults()))
	for _, a := range sorted(n.Attrs()) {
		s.u64(h.attr(a))
	}
	own := s.h.Sum64()
	for i, v := range n.Results() {
		if v != nil {
			x := h.sum("result")
			x.u64(own)
			x.u64(uint64(i))
			h.values[v] = x.h.Sum64()
		}
	}
	return own
}

func (h *hasher) value(v *ir.Value) uint64 {
	if v == nil {
		return 0
	}
	if t := v.Const(); t != nil {
		return h.tensor(t)
	}
	return h.values[v]
}

// tensor hashes a constant.
func (h *hasher) tensor(t *ir.Tensor) uint64 {
	if t == nil {
		return 0
	}
	if x, ok := h.tensors[t]; ok {
		return x
	}
	s := h.sum("tensor")
	s.u64(uint64(t.DType()))
	s.ints(t.Shape())
	if h.contents {
		if t.DType() == ir.String {
			words, err := t.Strings()
			h.note(err)
			for _, w := range words {
				s.str(w)
			}
		} else {
			b, err := t.Bytes()
			h.note(err)
			s.h.Write(b)
		}
	}
	h.tensors[t] = s.h.Sum64()
	return h.tensors[t]
}

func (h *hasher) note(err error) {
	if h.err == nil {
		h.err = err
	}
}

func (h *hasher) attr(a *ir.Attr) uint64 {
	s := h.sum("attribute")
	s.str(a.Name)
	s.u64(uint64(a.Kind))
	s.str(a.Ref)
	switch a.Kind {
	case ir.AttrFloat:
		s.u64(uint64(math.Float32bits(a.Float())))
	case ir.AttrInt:
		s.u64(uint64(a.Int()))
	case ir.AttrString:
		s.str(a.Str())
	case ir.AttrTensor:
		s.u64(h.tensor(a.Tensor()))
	case ir.AttrFloats:
		for _, v := range a.Floats() {
			s.u64(uint64(math.Float32bits(v)))
		}
	case ir.AttrInts:
		s.ints(a.Ints())
	case ir.AttrStrings:
		for _, v := range a.Strs() {
			s.str(v)
		}
	case ir.AttrTensors:
		for _, t := range a.Tensors() {
			s.u64(h.tensor(t))
		}
	case ir.AttrGraph, ir.AttrGraphs:
		for _, g := range a.Graphs() {
			s.u64(uint64(len(g.Inputs())))
			for _, o := range g.Outputs() {
				s.u64(h.value(o.Value()))
			}
		}
	case ir.AttrSparseTensor, ir.AttrSparseTensors:
		for _, t := range append([]*ir.SparseTensor{a.Sparse()}, a.Sparses()...) {
			if t != nil {
				s.ints(t.Dims)
				s.u64(h.tensor(t.Values))
				s.u64(h.tensor(t.Indices))
			}
		}
	case ir.AttrType, ir.AttrTypes:
		s.str(a.Type().String())
		for _, t := range a.Types() {
			s.str(t.String())
		}
	}
	return s.h.Sum64()
}

// above hashes what the nodes of g are and where their results go, from the outputs down.
func (h *hasher) above(g *ir.Graph) map[*ir.Node]uint64 {
	r := map[*ir.Node]uint64{}
	for n := range g.Backward() {
		var all uint64 // the sum does not depend on the order of uses
		for i, v := range n.Results() {
			if v == nil {
				continue
			}
			for u := range v.Uses() {
				s := h.sum("use")
				s.u64(uint64(i))
				s.u64(uint64(u.Index))
				switch {
				case u.Node.IsReturn() && u.Node.Graph() == g && g.Outer() == nil:
					s.str("output")
				case u.Node.Graph() == g:
					s.u64(r[u.Node])
				}
				all += s.h.Sum64()
			}
		}
		s := h.sum("above")
		s.str(n.Op().String())
		for _, v := range n.Operands() {
			if v != nil && v.Const() != nil {
				s.u64(h.tensor(v.Const()))
			}
		}
		for _, a := range sorted(n.Attrs()) {
			s.u64(h.attr(a))
		}
		s.u64(all)
		r[n] = s.h.Sum64()
	}
	return r
}
