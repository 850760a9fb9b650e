package tune

import (
	"context"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/passes/dropbranches"
	"github.com/onnxopt/onnxopt/passes/prune"
	"github.com/onnxopt/onnxopt/report"
)

// SurveyOptions say what a space is made of.
type SurveyOptions struct {
	Sizes  map[string]int64 // of open dimensions of the inputs
	Groups int              // at most; 0: 6
	Calib  bool             // there is data that passes may look at
	Target string           // pipeline of the target that runs behind every candidate; ""
	// Profile is the runtime that static quantization is for, as the option of quantize takes it; "": that pass's default.
	Profile string
	Kinds   []string // leave choices of other kinds out; nil: all
}

// KindNames are the kinds of choices, as SurveyOptions.Kinds takes them.
func KindNames() []string {
	return []string{"input", "branch", "separate", "prune", "decompose", "quantize", "precision", "fusion"}
}

// Bounds of the space: groups of layers, branches that may go, fusions that may be left out one by one, and the share of the model's products below which a layer is left
// to choices for the whole.
const (
	mostGroups   = 6
	mostBranches = 4
	mostFused    = 4
	smallLayer   = 0.002
)

// layer is a convolution or product with constant weights.
type layer struct {
	node     *ir.Node
	selector string
	macs     int64
	bytes    int64
	kernel   int // elements of the window
	group    int
}

// Survey finds the choices that a model has.
func Survey(ctx context.Context, m *ir.Model, o SurveyOptions) (*Space, error) {
	s := &survey{o: o, space: &Space{}}
	pass := passes.Define(passes.Info{Name: "survey", Doc: "looks at the model", Promise: passes.Promise{}}, struct{}{},
		func(c *passes.Context, m *ir.Model, _ struct{}) error { return s.look(c, m) })
	r, err := all.Registry(pass)
	if err != nil {
		return nil, err
	}
	p, err := r.Parse("O2,survey")
	if err != nil {
		return nil, err
	}
	sized, _, err := report.Resolve(m.Clone(), report.Options{Sizes: o.Sizes})
	if err != nil {
		return nil, err
	}
	if _, err := p.Run(ctx, sized, passes.Config{}); err != nil {
		return nil, err
	}
	if err := s.fusions(ctx, r, m); err != nil {
		return nil, err
	}
	s.offer()
	return s.space, nil
}

type survey struct {
	o        SurveyOptions
	space    *Space
	layers   []*layer
	branches int
	fused    []string // passes of ort-fuse that change something
	ortFuse  string   // its pipeline
	macs     int64
	convs    int
	products int // MatMul, Gemm and recurrent layers
	images   bool
	height   int64 // of the first image
	pruned   bool
	half     bool
}

// look lists layers, groups and branches.
func (s *survey) look(c *passes.Context, m *ir.Model) error {
	types := infer.Model(m)
	r := cost.Model(m, cost.Options{Types: types.Type})
	s.macs = max(r.MACs, 1)
	for n := range m.Main.Nodes() {
		switch {
		case n.Is("Conv"):
			s.convs++
		case n.Is("MatMul", "Gemm", "LSTM", "GRU", "RNN"):
			s.products++
		}
		l, err := measured.LinearOf(n)
		if err != nil {
			continue
		}
		name := selector(n)
		if name == "" {
			continue
		}
		s.layers = append(s.layers, &layer{node: n, selector: name, macs: r.Nodes[n].MACs, bytes: n.Operand(1).Const().ByteLen(), kernel: l.Taps(), group: -1})
	}
	coupled, err := prune.Coupled(c, m)
	if err != nil {
		return err
	}
	s.pruned = len(coupled) > 0
	if s.branches, err = dropbranches.Branches(c, m); err != nil {
		return err
	}
	s.group(coupled)
	for _, in := range m.Main.Inputs() {
		h := types.Type(in.Value()).TensorShape()
		if len(h) == 4 && s.convs > 0 && h[2].IsStatic() && h[1].IsStatic() && s.height == 0 {
			s.images = true
			if s.height = h[2].Size; h[1].Size > 4 { // channels stand last
				s.height = h[1].Size
			}
		}
		d := types.Type(in.Value()).DType()
		s.half = s.half || d == ir.Float16
	}
	return nil
}

// fusions finds out which fused operators of ONNX Runtime the model would get.
func (s *survey) fusions(ctx context.Context, r *passes.Registry, m *ir.Model) error {
	for _, a := range r.Aliases() {
		if a.Name == "ort-fuse" {
			s.ortFuse = a.Pipeline
		}
	}
	if s.o.Target != "" || s.ortFuse == "" {
		return nil
	}
	p, err := r.Parse("O3")
	if err != nil {
		return err
	}
	report, err := p.Run(ctx, m.Clone(), passes.Config{})
	if err != nil {
		return err
	}
	for _, step := range report.Steps {
		if strings.HasPrefix(step.Pass, "ort-") && step.Changed && !slices.Contains(s.fused, step.Pass) && len(s.fused) < mostFused {
			s.fused = append(s.fused, step.Pass)
		}
	}
	return nil
}

// selector is a name that only= finds a node by in the original: that of its source of the same operator.
func selector(n *ir.Node) string {
	name := ""
	for _, src := range n.Origin().Sources() {
		if src.Op.Type == n.Op().Type && src.Name != "" {
			name = src.Name
		}
	}
	if name == "" {
		if name = n.Name(); name == "" && len(n.Results()) > 0 {
			name = n.Result(0).Name()
		}
	}
	if strings.ContainsAny(name, "*?\n") {
		return ""
	}
	return name
}

// group puts layers together that have to shrink together, and then neighbours, until there are few groups.
func (s *survey) group(coupled [][]*ir.Node) {
	at := map[*ir.Node]*layer{}
	var big []*layer
	for _, l := range s.layers {
		if at[l.node] = l; float64(l.macs) >= smallLayer*float64(s.macs) {
			big = append(big, l)
		}
	}
	parent := map[*layer]*layer{}
	var root func(*layer) *layer
	root = func(l *layer) *layer {
		if p := parent[l]; p != nil {
			return root(p)
		}
		return l
	}
	for _, family := range coupled {
		var first *layer
		for _, n := range family {
			l := at[n]
			if l == nil || !slices.Contains(big, l) {
				continue
			}
			if first == nil {
				first = root(l)
			} else if r := root(l); r != first {
				parent[r] = first
			}
		}
	}
	groups := [][]*layer{}
	index := map[*layer]int{}
	for _, l := range big {
		r := root(l)
		i, ok := index[r]
		if !ok {
			i, index[r] = len(groups), len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], l)
	}
	most := s.o.Groups
	if most <= 0 {
		most = mostGroups
	}
	macs := func(g []*layer) (n int64) {
		for _, l := range g {
			n += l.macs
		}
		return n
	}
	for len(groups) > most { // the two neighbours that compute least
		best := 0
		for i := range len(groups) - 1 {
			if macs(groups[i])+macs(groups[i+1]) < macs(groups[best])+macs(groups[best+1]) {
				best = i
			}
		}
		groups[best] = append(groups[best], groups[best+1]...)
		groups = slices.Delete(groups, best+1, best+2)
	}
	for i, g := range groups {
		x := Group{MACs: macs(g)}
		for _, l := range g {
			l.group = i
			x.Bytes += l.bytes
			x.Layers = append(x.Layers, l.selector)
		}
		s.space.Groups = append(s.space.Groups, x)
	}
}
