package surgery

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/cut"
)

// Part is one of the models that Split makes.
type Part struct {
	Model *ir.Model
	// Also are values that cross the cut besides those that were named: further outputs of this part.
	Also []string
}

// Split cuts m into models that compute, one after another, what m does: each cut, a list of names of values of the main graph, ends a part
// that computes them and what of m they depend on; the last part computes the rest. An output of a part is an input of the later ones
// by its name. What else crosses a cut becomes an output of its part, too; what depends on constants alone is computed by every part that needs
// it. m does not change; the parts share its payloads. Training information is left out.
func Split(m *ir.Model, cuts [][]string) ([]*Part, error) {
	s := &splitter{m: m, types: infer.Model(m), part: map[*ir.Node]int{}, free: map[*ir.Node]bool{}, name: map[*ir.Value]string{}, last: len(cuts)}
	if err := s.assign(cuts); err != nil {
		return nil, err
	}
	s.names()
	var parts []*Part
	for k := range len(cuts) + 1 {
		p, err := s.extract(k)
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", k+1, err)
		}
		if k < len(cuts) {
			for _, v := range p.Model.Main.Outputs() {
				if !slices.Contains(cuts[k], v.Name()) && !s.output(v.Name()) {
					p.Also = append(p.Also, v.Name())
				}
			}
		}
		parts = append(parts, p)
	}
	return parts, nil
}

type splitter struct {
	m     *ir.Model
	types *infer.Result
	part  map[*ir.Node]int  // from 0
	free  map[*ir.Node]bool // depends on constants alone
	name  map[*ir.Value]string
	last  int
}

func (s *splitter) output(name string) bool {
	return slices.ContainsFunc(s.m.Main.Outputs(), func(o *ir.Slot) bool { return o.Name() == name })
}

// assign finds the part of each node.
func (s *splitter) assign(cuts [][]string) error {
	if len(cuts) == 0 {
		return errors.New("no cut is named")
	}
	names := cut.Of(s.m)
	for n := range s.m.Main.Nodes() {
		s.free[n] = s.constant(n)
	}
	for k, list := range cuts {
		size := 0
		for _, name := range list {
			v, err := names.Lookup(s.m, name)
			switch {
			case err != nil:
				return err
			case v.Node() == nil || s.free[v.Node()]:
				return fmt.Errorf("value %q is no result that depends on an input: there is nothing to cut", name)
			}
			size += s.claim(v.Node(), k)
		}
		if size == 0 {
			return fmt.Errorf("nothing is left to compute for the cut at %s", strings.Join(list, ", "))
		}
	}
	for n := range s.m.Main.Nodes() {
		if _, ok := s.part[n]; !ok && !s.free[n] {
			return s.rest()
		}
	}
	return errors.New("nothing is left behind the last cut")
}

// rest gives what no cut needs to the last part.
func (s *splitter) rest() error {
	for n := range s.m.Main.Nodes() {
		if _, ok := s.part[n]; !ok {
			s.part[n] = s.last
		}
	}
	return nil
}

// constant reports whether n gives the same in every run, as far as it reads nothing but constants.
func (s *splitter) constant(n *ir.Node) bool {
	if s.random(n) {
		return false
	}
	for _, v := range cut.Reads(n) {
		switch {
		case v == nil || v.IsInitializer():
		case v.Node() == nil || !s.free[v.Node()]:
			return false
		}
	}
	return true
}

// random reports whether n, or a node in its subgraphs or in a function it calls, is random.
func (s *splitter) random(n *ir.Node) bool {
	if kernel.Random(n.Op()) {
		return true
	}
	graphs := n.Subgraphs()
	if f := s.m.Function(n.Op()); f != nil {
		graphs = append(graphs, f.Graph)
	}
	for _, g := range graphs {
		for k := range g.Nodes() {
			if s.random(k) {
				return true
			}
		}
	}
	return false
}

// claim gives n and what it depends on to part k, and counts the nodes.
func (s *splitter) claim(n *ir.Node, k int) int {
	todo, size := []*ir.Node{n}, 0
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, taken := s.part[n]; taken || s.free[n] {
			continue
		}
		s.part[n] = k
		size++
		for _, v := range cut.Reads(n) {
			if v != nil && v.Node() != nil && v.Graph() == s.m.Main {
				todo = append(todo, v.Node())
			}
		}
	}
	return size
}

// names decides what values are called that cross a cut: as outputs are, else by their own names where those are there and not taken.
func (s *splitter) names() {
	taken := map[string]bool{}
	for _, in := range s.m.Main.Inputs() {
		s.name[in.Value()] = in.Name()
		taken[in.Name()] = true
	}
	for _, o := range s.m.Main.Outputs() {
		if taken[o.Name()] = true; s.name[o.Value()] == "" {
			s.name[o.Value()] = o.Name()
		}
	}
	for n := range s.m.Main.Nodes() {
		for _, v := range n.Results() {
			if v == nil || s.name[v] != "" {
				continue
			}
			name := v.Name()
			for i := 1; name == "" || taken[name]; i++ {
				name = "cut_" + strconv.Itoa(i)
			}
			if v.NumUses() > 0 {
				s.name[v], taken[name] = name, true
			}
		}
	}
}

// extract makes part k.
func (s *splitter) extract(k int) (*Part, error) {
	var inputs, outputs []*ir.Value
	seen := map[*ir.Value]bool{}
	var need func(v *ir.Value)
	need = func(v *ir.Value) {
		switch {
		case v == nil || seen[v] || v.IsInitializer() || v.Graph() != s.m.Main:
			return
		case v.Node() != nil && s.free[v.Node()]:
			for _, u := range cut.Reads(v.Node()) {
				need(u)
			}
			return
		case v.Node() == nil || s.part[v.Node()] != k:
			inputs = append(inputs, v)
		}
		seen[v] = true
	}
	for n := range s.m.Main.Nodes() {
		if s.free[n] || s.part[n] != k {
			continue
		}
		for _, v := range cut.Reads(n) {
			need(v)
		}
		for _, v := range n.Results() {
			if v != nil && s.crosses(v, k) {
				outputs = append(outputs, v)
			}
		}
	}
	c, copies := s.m.CloneMap()
	cut.DropTraining(c)
	var in, out []cut.Port
	for _, o := range s.m.Main.Outputs() {
		v := o.Value()
		n := v.Node()
		if k == s.last && (n == nil || s.free[n]) { // what no part computes
			need(v)
			out = append(out, cut.Port{Name: o.Name(), Value: copies[v]})
		} else if n != nil && !s.free[n] && s.part[n] == k {
			out = append(out, cut.Port{Name: o.Name(), Value: copies[v]})
		}
	}
	for _, v := range outputs {
		if !cut.IsOutput(s.m, v) {
			out = append(out, cut.Port{Name: s.name[v], Value: copies[v]})
		}
	}
	for _, v := range s.sorted(inputs) {
		in = append(in, cut.Port{Name: s.name[v], Value: copies[v]})
	}
	back := make(map[*ir.Value]*ir.Value, len(copies))
	for v, w := range copies {
		back[w] = v
	}
	p, err := cut.Between(c, func(w *ir.Value) *ir.Type { return s.types.Type(back[w]) }, in, out)
	if err != nil {
		return nil, err
	}
	p.Apply()
	return &Part{Model: c}, nil
}

// crosses reports whether a later part than k, or a subgraph in it, takes v.
func (s *splitter) crosses(v *ir.Value, k int) bool {
	for u := range v.Uses() {
		n := u.Node
		for n.Graph() != s.m.Main && n.Graph().Owner() != nil {
			n = n.Graph().Owner()
		}
		if n.Graph() == s.m.Main && !n.IsReturn() && s.part[n] > k {
			return true
		}
	}
	return false
}

// sorted puts the model's own inputs first, in their order.
func (s *splitter) sorted(list []*ir.Value) []*ir.Value {
	var r []*ir.Value
	listed := map[*ir.Value]bool{}
	for _, v := range list {
		listed[v] = true
	}
	for _, in := range s.m.Main.Inputs() {
		if listed[in.Value()] {
			r = append(r, in.Value())
		}
	}
	for _, v := range list {
		if !v.IsInput() {
			r = append(r, v)
		}
	}
	return r
}
