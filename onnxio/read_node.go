package onnxio

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// scope is a graph being read: the names it defines so far, and how far its operands are resolved.
type scope struct {
	g        *ir.Graph
	outer    *scope
	names    map[string]*ir.Value
	path     string // as ir.Source.Graph
	depth    int
	at       int64           // position of the node whose operands are being resolved; MaxInt64 for the outputs
	pending  [][]byte        // operand names of the nodes, in order
	unsorted bool            // a node uses what a later one makes
	shadows  map[string]bool // names that enclosing graphs have, too
}

// find looks a name up in sc and the graphs around it; the innermost definition wins. nil if there is none.
func (sc *scope) find(name []byte) *ir.Value {
	for s := sc; s != nil; s = s.outer {
		if v := s.names[string(name)]; v != nil {
			if n := v.Node(); n != nil && n.Pos() >= s.at {
				s.unsorted = true
			}
			return v
		}
	}
	return nil
}

// define enters a value of sc.
func (sc *scope) define(name string, v *ir.Value) error {
	if sc.names[name] != nil {
		return fmt.Errorf("value %q has two definitions", name)
	}
	sc.names[name] = v
	for s := sc.outer; s != nil; s = s.outer {
		if s.names[name] != nil {
			if sc.shadows == nil {
				sc.shadows = map[string]bool{}
			}
			sc.shadows[name] = true
			break
		}
	}
	return nil
}

// place is where a node stands, for the path of graphs inside it.
type place struct {
	graph string
	n     *ir.Node
}

// attr is the path of the graph that the node's attribute of that name holds.
func (p *place) attr(name string) string {
	if p == nil || p.n == nil {
		return "/" + name
	}
	node := p.n.Name()
	if node == "" {
		node = fmt.Sprintf("%s#%d", p.n.Op().Type, p.n.Pos())
	}
	return p.graph + "/" + node + "/" + name
}

// node reads a NodeProto up to its attributes and operands, for which all definitions of the graph have to be known.
func (rd *reader) node(sc *scope, f wire.Field) error {
	var op ir.OpID
	var name string
	outs := rd.outs[:0]
	ins, described := 0, false
	for f, err := range wire.Fields(f.Body) {
		if err != nil {
			return err
		}
		if !f.IsBytes() {
			continue
		}
		switch f.Num {
		case nodeInputs:
			ins++
			sc.pending = append(sc.pending, f.Body)
		case nodeOutputs:
			outs = append(outs, f.Body)
		case nodeName:
			name = string(f.Body)
		case nodeOp:
			op.Type = rd.intern(f.Body)
		case nodeDomain:
			op.Domain = rd.intern(f.Body)
		case nodeOverload:
			op.Overload = rd.intern(f.Body)
		case nodeDoc, nodeProps:
			described = true
		}
	}
	rd.outs = outs
	switch {
	case op.Type == "":
		return wire.Errorf(f.Raw, "node %q has no operator", name)
	case !utf8.ValidString(op.Type), !utf8.ValidString(op.Domain):
		return wire.Errorf(f.Raw, "the operator's name is not UTF-8")
	}
	x := &nodeExtra{field: f}
	n := sc.g.Append(op, ins, len(outs))
	n.Extra = x
	n.SetName(name)
	n.SetOrigin(ir.SourceOrigin(&ir.Source{Graph: sc.path, Pos: int(n.Pos()), Name: name, Op: n.Op()}))
	if described {
		m, err := meta(f.Body, nodeDoc, nodeProps)
		if err != nil {
			return err
		}
		x.meta = m
		n.SetMeta(m)
	}
	for i, b := range outs {
		if len(b) == 0 {
			n.OmitResult(i)
			continue
		}
		v := n.Result(i)
		v.SetName(string(b))
		if err := sc.define(v.Name(), v); err != nil {
			return err
		}
	}
	return nil
}

// resolve links the nodes' operands and reads their attributes, subgraphs included.
func (rd *reader) resolve(sc *scope) error {
	pending := sc.pending
	for n := range sc.g.Nodes() {
		sc.at = n.Pos()
		for i := range n.NumOperands() {
			name := pending[i]
			if len(name) == 0 {
				continue
			}
			v := sc.find(name)
			if v == nil {
				return wire.In(wire.Errorf(name, "value %q is not defined", name), nodePath(n))
			}
			n.SetOperand(i, v)
		}
		pending = pending[n.NumOperands():]
		if err := rd.attrs(sc, n); err != nil {
			return wire.In(err, nodePath(n))
		}
	}
	sc.at = math.MaxInt64
	return nil
}

// nodePath names a node of the file in messages.
func nodePath(n *ir.Node) string {
	if n.Name() != "" {
		return fmt.Sprintf("node[%d] %q (%s)", n.Pos(), n.Name(), n.Op())
	}
	return fmt.Sprintf("node[%d] (%s)", n.Pos(), n.Op())
}

func (rd *reader) attrs(sc *scope, n *ir.Node) error {
	var as []*ir.Attr
	at := place{sc.path, n}
	for f := range wire.Fields(extraOf[nodeExtra](n.Extra).field.Body) {
		if f.Num != nodeAttrs || !f.IsBytes() {
			continue
		}
		a, err := rd.attr(sc, f, &at)
		if err != nil {
			return err
		}
		as = append(as, a)
	}
	if len(as) == 0 {
		return nil
	}
	if name, twice := repeated(as); twice {
		return fmt.Errorf("attribute %q is there twice", name)
	}
	n.SetAttrs(as)
	return nil
}

// repeated finds an attribute name that occurs twice.
func repeated(as []*ir.Attr) (name string, found bool) {
	if len(as) <= 8 {
		for i, a := range as {
			for _, b := range as[:i] {
				if a.Name == b.Name {
					return a.Name, true
				}
			}
		}
		return "", false
	}
	seen := make(map[string]bool, len(as))
	for _, a := range as {
		if seen[a.Name] {
			return a.Name, true
		}
		seen[a.Name] = true
	}
	return "", false
}

// ordered reports a cycle in a graph whose nodes are not in order.
func (sc *scope) ordered() error {
	done := map[*ir.Node]bool{}
	for n := range sc.g.Nodes() {
		wait := n.Operands()
		for _, s := range n.Subgraphs() {
			wait = append(wait, s.Captures()...)
		}
		for _, v := range wait {
			if v != nil && v.Graph() == sc.g && v.Node() != nil && !done[v.Node()] {
				return fmt.Errorf("the nodes form a cycle through %q", v.Name())
			}
		}
		done[n] = true
	}
	return nil
}
