package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// Modes of the nodes of a tree ensemble.
const (
	treeLeq = iota
	treeLt
	treeGte
	treeGt
	treeEq
	treeNeq
	treeMember
)

// trees are the attributes of a TreeEnsemble: nodes compare a feature with their split and lead to a node or leaf.
type trees struct {
	features, modes, yes, no, yesLeaf, noLeaf, missing, roots []int64
	splits                                                    []float64
	members                                                   []map[float64]bool // of the member nodes, nil elsewhere
	targets                                                   []int64
	weights                                                   []float64
}

func newTrees(c *Call) (*trees, error) {
	t := &trees{}
	for name, dst := range map[string]*[]int64{"nodes_featureids": &t.features, "nodes_truenodeids": &t.yes,
		"nodes_falsenodeids": &t.no, "nodes_trueleafs": &t.yesLeaf, "nodes_falseleafs": &t.noLeaf,
		"nodes_missing_value_tracks_true": &t.missing, "tree_roots": &t.roots, "leaf_targetids": &t.targets} {
		*dst = c.Attr(name).Ints()
	}
	var err error
	if t.splits, err = c.treeNumbers("nodes_splits"); err != nil {
		return nil, err
	}
	if t.weights, err = c.treeNumbers("leaf_weights"); err != nil {
		return nil, err
	}
	modes, err := c.treeNumbers("nodes_modes")
	if err != nil {
		return nil, err
	}
	members, err := c.treeNumbers("membership_values")
	if err != nil {
		return nil, err
	}
	n := len(modes)
	for _, l := range []int{len(t.features), len(t.yes), len(t.no), len(t.yesLeaf), len(t.noLeaf), len(t.splits)} {
		if l != n {
			return nil, errors.New("the lists of the nodes have different lengths")
		}
	}
	if len(t.missing) != 0 && len(t.missing) != n || len(t.weights) != len(t.targets) {
		return nil, errors.New("the lists of the nodes or leaves have different lengths")
	}
	t.members = make([]map[float64]bool, n)
	for i, m := range modes {
		t.modes = append(t.modes, int64(m))
		if m < treeLeq || m > treeMember {
			return nil, fmt.Errorf("unknown mode %g of node %d", m, i)
		}
		if m != treeMember {
			continue
		}
		t.members[i] = map[float64]bool{}
		for len(members) > 0 && members[0] == members[0] { // up to a NaN
			t.members[i][members[0]] = true
			members = members[1:]
		}
		if len(members) == 0 {
			return nil, errors.New("membership_values has too few sets")
		}
		members = members[1:]
	}
	return t, nil
}

func (c *Call) treeNumbers(name string) ([]float64, error) {
	t := c.Attr(name).Tensor()
	if t == nil {
		return nil, nil
	}
	return floats(t)
}

// leaf goes down from a root; x are the features.
func (t *trees) leaf(root int64, x []float64) (int, error) {
	isLeaf := false
	if root >= 0 && root < int64(len(t.yes)) { // a tree that is a leaf points to it twice
		isLeaf = t.yesLeaf[root] != 0 && t.noLeaf[root] != 0 && t.yes[root] == t.no[root]
	}
	if isLeaf {
		root = t.yes[root]
	}
	at := root
	for range len(t.modes) + 1 {
		if isLeaf {
			if at < 0 || at >= int64(len(t.targets)) {
				return 0, fmt.Errorf("leaf %d of %d", at, len(t.targets))
			}
			return int(at), nil
		}
		if at < 0 || at >= int64(len(t.modes)) || t.features[at] < 0 || t.features[at] >= int64(len(x)) {
			return 0, fmt.Errorf("node %d does not exist or its feature does not", at)
		}
		if t.holds(int(at), x[t.features[at]]) {
			isLeaf, at = t.yesLeaf[at] != 0, t.yes[at]
		} else {
			isLeaf, at = t.noLeaf[at] != 0, t.no[at]
		}
	}
	return 0, errors.New("a tree has a cycle")
}

func (t *trees) holds(i int, x float64) bool {
	if x != x && len(t.missing) > 0 && t.missing[i] != 0 {
		return true
	}
	s := t.splits[i]
	switch t.modes[i] {
	case treeLeq:
		return x <= s
	case treeLt:
		return x < s
	case treeGte:
		return x >= s
	case treeGt:
		return x > s
	case treeEq:
		return x == s
	case treeNeq:
		return x != s
	}
	return t.members[i][x]
}

// treeEnsembleOp sends each row of X [N, features] down every tree and combines the weights of the leaves by target:
// aggregate_function 0 average, 1 sum, 2 least, 3 greatest; post_transform 0 none, 1 softmax, 2 logistic, 3 softmax of what is not
// zero, 4 probit. The sum of the weights of a target is in order of the trees.
func treeEnsembleOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	t, err := newTrees(c)
	if err != nil {
		return nil, err
	}
	n, how := c.int("n_targets", 1), c.int("aggregate_function", 1)
	if x.Rank() != 2 || n < 1 || !x.DType().IsFloat() || how < 0 || how > 3 {
		return nil, c.badOperand(0, x)
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	shape := []int64{x.Shape()[0], n}
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	start := []float64{0, 0, largest(x.DType()), -largest(x.DType())}[how]
	for i := range int(shape[0]) {
		row, dst := v[i*int(x.Shape()[1]):(i+1)*int(x.Shape()[1])], r[i*int(n):(i+1)*int(n)]
		for j := range dst {
			dst[j] = start
		}
		for _, root := range t.roots {
			l, err := t.leaf(root, row)
			if err != nil {
				return nil, err
			}
			k := t.targets[l]
			if k < 0 || k >= n {
				return nil, fmt.Errorf("target %d of %d", k, n)
			}
			switch w := t.weights[l]; how {
			case 0:
				dst[k] += w / float64(len(t.roots))
			case 1:
				dst[k] += w
			case 2:
				dst[k] = min(dst[k], w)
			case 3:
				dst[k] = max(dst[k], w)
			}
			if err := c.tick(64); err != nil {
				return nil, err
			}
		}
		if err := postTransform(dst, c.int("post_transform", 0)); err != nil {
			return nil, err
		}
	}
	return one(convertFloats(c, x.DType(), shape, r))
}

// postTransform changes the scores of one row.
func postTransform(v []float64, kind int64) error {
	switch kind {
	case 0:
	case 1:
		softmax(v)
	case 2:
		for i, x := range v {
			v[i] = fmath.Sigmoid(x)
		}
	case 3:
		var some []float64
		for _, x := range v {
			if x != 0 {
				some = append(some, x)
			}
		}
		softmax(some)
		for i, x := range v {
			if x != 0 {
				v[i], some = some[0], some[1:]
			}
		}
	case 4:
		for i, x := range v {
			v[i] = probit(x)
		}
	default:
		return fmt.Errorf("unknown post transform %d", kind)
	}
	return nil
}

// probit is the inverse of the normal distribution, sqrt(2) * erfinv(2x-1), with Winitzki's approximation of erfinv as in ONNX
// Runtime.
func probit(x float64) float64 {
	y := 2*x - 1
	sign := 1.0
	if y < 0 {
		sign = -1
	}
	l := fmath.Log(float64((1 - y) * (1 + y)))
	v := 2/(math.Pi*0.147) + float64(0.5*l)
	return math.Sqrt2 * float64(sign*math.Sqrt(-v+math.Sqrt(float64(v*v)-l/0.147)))
}
