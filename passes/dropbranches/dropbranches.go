// Package dropbranches is the pass that leaves residual branches out.
package dropbranches

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Options of the pass.
type Options struct {
	Count    int         `opt:"count" doc:"how many branches go, those that move the outputs least first"`
	Refit    bool        `opt:"refit" doc:"repair the layers that are left by least squares on the calibration data"`
	Prepared bool        `opt:"prepare" doc:"runs O2 first, which folds normalizations into layers"`
	Calib    passes.Data `opt:"calib" doc:"calibration data; none: those of --calib"`
}

// Prepare implements passes.Preparer.
func (o Options) Prepare(*ir.Model) []int {
	if o.Prepared {
		return []int{0}
	}
	return nil
}

// Pass drops branches.
var Pass = passes.Define(passes.Info{
	Name: "drop-branches",
	Doc:  "leaves out the residual branches that matter least",
	Long: `Where y = x + f(x), the branch f is replaced by its mean over the calibration data (--calib), a number for each channel, so that y has
the mean it had: residual networks behave like ensembles of shallower ones (Veit, Wilber, Belongie, 2016), and most of them work without one
of their branches. Which ones go is found by leaving out each alone and comparing the outputs, again after each that went.

A branch counts if it has a layer with weights and gives the shape of x; a shortcut with a layer of its own is no such x. only= and except=
choose among the additions.`,
	Promise:  passes.Promise{Lossy: true},
	Example:  "drop-branches{count=2}",
	Prepares: []string{"O2"},
	Rules: []passes.RuleDoc{
		{Name: "branch", Doc: "replaces a residual branch by its mean", Promise: passes.Promise{Lossy: true}},
		{Name: "refit", Doc: "gives a layer new weights by least squares", Promise: passes.Promise{Lossy: true}},
	},
}, Options{Count: 1, Refit: true, Prepared: true}, run)

// judged bounds the samples on which branches are compared, and meant those that means are taken of.
const (
	judged = 48
	meant  = 256
)

// branch is an addition whose operand at may go.
type branch struct {
	add *ir.Node
	at  int
}

func run(c *passes.Context, m *ir.Model, o Options) error {
	if o.Count < 1 {
		return fmt.Errorf("count=%d is not at least 1", o.Count)
	}
	data, err := measured.For(c, o.Calib)
	if err != nil {
		return err
	}
	original := m.Clone()
	forms := original.Main.NodeList()
	var layers []measured.RefitLayer
	for i, n := range m.Main.NodeList() {
		if _, err := measured.LinearOf(n); err == nil {
			layers = append(layers, measured.RefitLayer{Node: n, Target: forms[i].Result(0)})
		}
	}
	for n := range o.Count {
		list, err := find(c, m)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			if n == 0 {
				return errors.New("there is no residual branch that could be left out")
			}
			c.Note(fmt.Sprintf("%d branches were left out; there are no more", n))
			break
		}
		if err := drop(c, m, list, data); err != nil {
			return err
		}
	}
	if layers = slices.DeleteFunc(layers, func(l measured.RefitLayer) bool { return l.Node.Dead() }); !o.Refit || len(layers) == 0 {
		return nil
	}
	_, err = measured.Refit(c.Context(), original, m, layers, data, measured.RefitOptions{Apply: func(l measured.RefitLayer, edit func()) {
		c.Rewrite("refit", l.Node, nil, edit)
	}})
	return err
}

// Branches counts the residual branches of m that the pass could leave out.
func Branches(c *passes.Context, m *ir.Model) (int, error) {
	list, err := find(c, m)
	return len(list), err
}

// find lists the branches.
func find(c *passes.Context, m *ir.Model) ([]branch, error) {
	known, err := facts.Of(c)
	if err != nil {
		return nil, err
	}
	var r []branch
	for n := range m.Main.Nodes() {
		if !n.Is("Add") || n.Operand(0) == nil || n.Operand(1) == nil || !c.Enabled("branch", n) {
			continue
		}
		for at := range 2 {
			f, x := n.Operand(at), n.Operand(1-at)
			if f.Node() == nil || x.Const() != nil || f == x {
				continue
			}
			if !known.SameShape(x, f) || !weights.Supported(known.DType(x)) {
				continue
			}
			if path(f, x) {
				r = append(r, branch{n, at})
				break
			}
		}
	}
	return r, nil
}

// longest bounds the nodes of a branch.
const longest = 200

// path reports whether f is computed from x by nodes with weights among them.
func path(f, x *ir.Value) bool {
	seen := map[*ir.Node]bool{}
	reaches, weighted := false, false
	var walk func(v *ir.Value) bool
	walk = func(v *ir.Value) bool {
		if v == x {
			reaches = true
			return true
		}
		n := v.Node()
		if n == nil || seen[n] {
			return true
		}
		if seen[n] = true; len(seen) > longest {
			return false
		}
		if _, err := measured.LinearOf(n); err == nil {
			weighted = true
		}
		for _, o := range n.Operands() {
			if o != nil && !walk(o) {
				return false
			}
		}
		return true
	}
	return walk(f) && reaches && weighted
}

// drop leaves the branch out that moves the outputs least.
func drop(c *passes.Context, m *ir.Model, list []branch, data *measured.Calibration) error {
	means, err := meansOf(c, m, list, data.Limit(meant))
	if err != nil {
		return err
	}
	ref, err := data.Limit(judged).Reference(c.Context(), m)
	if err != nil {
		return err
	}
	best, least := -1, math.Inf(1)
	for i, b := range list {
		if means[i] == nil {
			c.Remark(b.add, "branch", "its mean is not known")
			continue
		}
		if err := c.Err(); err != nil {
			return err
		}
		copied, same := m.CloneMap()
		replace(same[b.add.Result(0)].Node(), b.at, means[i])
		d, err := ref.Divergence(c.Context(), copied)
		if err != nil {
			return err
		}
		if x := apart(d); best < 0 || x < least {
			best, least = i, x
		}
	}
	if best < 0 {
		return errors.New("no branch has a mean on the calibration data")
	}
	b := list[best]
	c.Rewrite("branch", b.add, nil, func() { replace(b.add, b.at, means[best]) })
	return nil
}

// apart is how far outputs moved.
func apart(d measured.Divergence) float64 {
	switch {
	case d.Lost > 0:
		return math.Inf(1)
	case d.KL > 0:
		return d.KL
	}
	return math.Pow(10, -d.SQNR/10)
}

// meansOf are the means of the branches, shaped to be added: one number a channel, which is the second axis of values of four and more
// dimensions and the last one of others.
func meansOf(c *passes.Context, m *ir.Model, list []branch, data *measured.Calibration) ([]*ir.Tensor, error) {
	values := make([]*ir.Value, len(list))
	for i, b := range list {
		values[i] = b.add.Operand(b.at)
	}
	sums, counts, ranks := make([][]float64, len(list)), make([]float64, len(list)), make([]int, len(list))
	err := data.Taps(c.Context(), m, values, func(_ int, taps []*ir.Tensor) error {
		for i, t := range taps {
			v, err := measured.Floats(t)
			if err != nil || v == nil || t.Rank() == 0 {
				continue
			}
			axis := channel(t.Rank())
			n := int(t.Shape()[axis])
			if sums[i] == nil {
				sums[i], ranks[i] = make([]float64, n), t.Rank()
			}
			if len(sums[i]) != n {
				sums[i] = []float64{math.NaN()} // its channels change from sample to sample
				continue
			}
			inner := 1
			for _, d := range t.Shape()[axis+1:] {
				inner *= int(d)
			}
			for k, x := range v {
				sums[i][k/inner%n] += float64(x)
			}
			counts[i] += float64(len(v) / max(n, 1))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := make([]*ir.Tensor, len(list))
	for i, s := range sums {
		if s == nil || counts[i] == 0 {
			continue
		}
		for k := range s {
			s[k] /= counts[i]
		}
		if slices.ContainsFunc(s, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) {
			continue
		}
		shape := []int64{int64(len(s))}
		for range ranks[i] - 1 - channel(ranks[i]) {
			shape = append(shape, 1)
		}
		known, err := facts.Of(c)
		if err != nil {
			return nil, err
		}
		t, err := weights.Round(known.DType(values[i]), shape, s)
		if err != nil {
			continue
		}
		r[i] = t
	}
	return r, nil
}

func channel(rank int) int {
	if rank >= 4 {
		return 1
	}
	return rank - 1
}

// replace puts the mean in the place of the branch and erases what computed it, as far as nothing else needs that.
func replace(add *ir.Node, at int, mean *ir.Tensor) {
	f := add.Operand(at)
	add.SetOperand(at, add.Graph().NamedConst("", mean))
	var sweep func(v *ir.Value)
	sweep = func(v *ir.Value) {
		if v == nil || v.NumUses() > 0 {
			return
		}
		n := v.Node()
		if n == nil {
			if v.Const() != nil {
				measured.Drop(v)
			}
			return
		}
		if n.Used() || n.Op().Domain != "" || len(n.Subgraphs()) > 0 {
			return
		}
		operands := slices.Clone(n.Operands())
		n.Graph().Erase(n)
		for _, o := range operands {
			sweep(o)
		}
	}
	sweep(f)
}
