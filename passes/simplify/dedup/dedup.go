// Package dedup is the pass that merges equal constants.
package dedup

import (
	"crypto/sha256"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/same"
)

// Options are the options of dedup-constants.
type Options struct {
	MinSize passes.Size `opt:"min-size" doc:"smaller constants are left alone"`
}

// Pass keeps the first of several initializers and Constant nodes that hold the same bits in the same type and shape. A constant
// of an enclosing graph stands in for one of a subgraph. Defaults of inputs, constants that training updates and constants
// that are outputs stay. Weights are told apart by type, shape and samples first; only where those agree is a weight
// read whole, and that once.
var Pass = passes.Define(passes.Info{
	Name: "dedup-constants",
	Doc:  "merges equal initializers and Constant nodes",
}, Options{}, run)

const rule = "dedup-constants"

func run(c *passes.Context, m *ir.Model, o Options) error {
	d := &deduper{c: c, bound: map[*ir.Value]bool{}, scopes: map[*ir.Graph]map[key]*ir.Value{}}
	for _, t := range m.Training {
		for _, list := range [][]ir.Binding{t.InitBinding, t.UpdateBinding} {
			for _, b := range list {
				d.bound[b.Target] = true
			}
		}
	}
	list, err := d.candidates(m, int64(o.MinSize))
	if err != nil {
		return err
	}
	for _, k := range list {
		d.merge(k.v, k.key)
	}
	return nil
}

type deduper struct {
	c      *passes.Context
	bound  map[*ir.Value]bool
	scopes map[*ir.Graph]map[key]*ir.Value
}

// key stands for the contents of a constant.
type key [sha256.Size]byte

type candidate struct {
	v      *ir.Value
	t      *ir.Tensor
	sample uint64
	key    key
}

// form is what constants have to share before anybody looks at their elements.
type form struct {
	dtype ir.DType
	rank  int
	size  int64
	first int64 // dimension
}

// candidates lists the constants that may have an equal, enclosing graphs first, with their keys.
func (d *deduper) candidates(m *ir.Model, least int64) ([]candidate, error) {
	var list []candidate
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			list = append(list, candidate{v: v, t: v.Const()})
		}
		for n := range g.Nodes() {
			if t := n.Result(0).Const(); t != nil && n.Is("Constant") {
				list = append(list, candidate{v: n.Result(0), t: t})
			}
		}
	}
	var err error
	list = shared(list, func(k *candidate) (form, bool) {
		f := form{dtype: k.t.DType(), rank: k.t.Rank(), size: k.t.Len()}
		if f.rank > 0 {
			f.first = k.t.Shape()[0]
		}
		return f, !d.bound[k.v] && max(k.t.ByteLen(), k.t.Len()) >= least
	})
	list = shared(list, func(k *candidate) (uint64, bool) {
		var e error
		if k.sample, e = same.Sample(k.t); e != nil && err == nil {
			err = e
		}
		return k.sample, err == nil
	})
	for i := range list {
		if err == nil {
			list[i].key, err = same.Digest(list[i].t)
		}
	}
	return list, err
}

// shared keeps those candidates whose property another one has, too. Candidates without it are dropped.
func shared[P comparable](list []candidate, property func(*candidate) (P, bool)) []candidate {
	count := map[P]int{}
	ps := make([]P, len(list))
	has := make([]bool, len(list))
	for i := range list {
		if ps[i], has[i] = property(&list[i]); has[i] {
			count[ps[i]]++
		}
	}
	var r []candidate
	for i, k := range list {
		if has[i] && count[ps[i]] > 1 {
			r = append(r, k)
		}
	}
	return r
}

// merge replaces v by an equal constant that its graph can see, or makes it the one that later constants are merged with.
func (d *deduper) merge(v *ir.Value, k key) {
	for g := v.Graph(); g != nil; g = g.Outer() {
		w := d.scopes[g][k]
		if w == nil {
			continue
		}
		if v.IsOutput() {
			d.c.Remark(v.Node(), rule, "it is an output")
			return
		}
		d.replace(v, w)
		return
	}
	if d.scopes[v.Graph()] == nil {
		d.scopes[v.Graph()] = map[key]*ir.Value{}
	}
	d.scopes[v.Graph()][k] = v
}

func (d *deduper) replace(v, w *ir.Value) {
	var of []*ir.Node
	if n := w.Node(); n != nil {
		of = append(of, n)
	}
	d.c.Rewrite(rule, v.Node(), of, func() {
		v.ReplaceUses(w)
		if v.Node() != nil {
			v.Graph().Erase(v.Node())
		} else {
			v.Graph().EraseConst(v)
		}
	})
}
