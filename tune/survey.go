package tune

import (
	"context"
	"fmt"
	"math"
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

// smaller are heights to try in place of one: such that layers with strides divide them, two at most.
func smaller(height int64) (r []int64) {
	step := int64(32)
	if height < 128 {
		step = 8
	}
	for n := (height - 1) / step * step; n > 0 && len(r) < 2 && 10*n >= 6*height; n -= step {
		r = append(r, n)
	}
	return r
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

// offer makes genes of what applies.
func (s *survey) offer() {
	wants := func(kind string) bool { return s.o.Kinds == nil || slices.Contains(s.o.Kinds, kind) }
	none := Level{Name: "as it is"}
	add := func(name string, group int, k Kind, levels ...Level) {
		s.space.Genes = append(s.space.Genes, Gene{name, group, k, append([]Level{none}, levels...)})
	}
	level := func(name, format string, a ...any) Level { return Level{Name: name, Pass: fmt.Sprintf(format, a...)} }
	// What is measured soonest stands first.
	if wants("input") && s.images {
		var l []Level
		for _, n := range smaller(s.height) {
			scale := math.Ceil(1e7*float64(n)/float64(s.height)) / 1e7 // so that the product does not fall short of n
			l = append(l, level(fmt.Sprintf("%d high", n), "downscale{scale=%.7g}", scale))
		}
		if l != nil {
			add("images", -1, Input, l...)
		}
	}
	if wants("quantize") && len(s.layers)+s.products > 0 {
		var l []Level
		if s.o.Calib {
			static := "mode=static objective=size"
			if s.o.Profile != "" {
				static += " profile=" + s.o.Profile
			}
			l = append(l, level("static", "quantize{%s}", static), level("all static", "quantize{%s protect=0}", static),
				level("static within 1 % of the answers", "budget{drop=1}(quantize{%s})", static))
		}
		if s.products > 0 {
			l = append(l, level("dynamic", "quantize{mode=dynamic objective=size}"))
		}
		l = append(l, level("weights to 8 bits", "quantize{mode=weights bits=8}"), level("weights to 4 bits", "quantize{mode=weights bits=4}"))
		add("quantize", -1, Quantize, l...)
	}
	if wants("fusion") {
		l := []Level{level("O2", "O2")}
		if s.o.Target == "" { // a target has fusions of its own
			l = append(l, level("O3", "O3"))
			for _, name := range s.fused {
				if rest, ok := strings.CutSuffix(strings.Replace(s.ortFuse, name+",", "", 1), ")"); ok {
					l = append(l, level("O3 without "+name, "O2,%s),output-shapes", rest))
				}
			}
		}
		add("fuse", -1, Fusion, l...)
	}
	switch {
	case wants("precision") && s.half:
		add("precision", -1, Widen, level("float32", "precision{to=float32}"))
	case wants("precision"):
		add("precision", -1, Precision, level("float16", "precision"), level("weights float16", "precision{weights-only=true}"))
	}
	if wants("branch") && s.branches > 0 && s.o.Calib {
		var l []Level
		for n := 1; n <= min(s.branches, mostBranches); n++ {
			l = append(l, level(fmt.Sprintf("%d fewer", n), "drop-branches{count=%d}", n))
		}
		add("branches", -1, Branch, l...)
	}
	if wants("decompose") && len(s.layers) > 0 {
		var l []Level
		for _, share := range []float64{.8, .6, .45} {
			l = append(l, level(fmt.Sprintf("to %g of the MACs", share), "decompose{macs=%g}", share))
		}
		add("decompose", -1, Decompose, l...)
	}
	if wants("prune") && s.pruned {
		var l []Level
		for _, share := range []float64{.85, .7, .5} {
			l = append(l, level(fmt.Sprintf("to %g of the MACs", share), "prune{unit=channel macs=%g}", share))
		}
		add("prune", -1, Prune, l...)
	}
	if len(s.space.Groups) < 2 {
		return // a group of all is the whole
	}
	for i := range s.space.Groups {
		name := fmt.Sprintf("group %d:", i+1)
		if wants("prune") && s.pruned {
			add(name+" prune", i, Prune, level("1/8", "prune{unit=channel ratio=0.125}"), level("1/4", "prune{unit=channel ratio=0.25}"), level("1/2", "prune{unit=channel ratio=0.5}"))
		}
		if wants("decompose") {
			add(name+" decompose", i, Decompose, level("0.95 of the energy", "decompose{energy=0.95}"), level("0.85 of the energy", "decompose{energy=0.85}"),
				level("0.7 of the energy", "decompose{energy=0.7}"), level("0.85, CP", "decompose{method=cp energy=0.85}"))
		}
		window, product := false, false
		for _, l := range s.layers {
			if l.group == i {
				window, product = window || l.kernel > 1 && l.node.Is("Conv"), product || !l.node.Is("Conv")
			}
		}
		if wants("separate") && window {
			add(name+" separable", i, Separate, level("3 filters a channel", "separate{multiplier=3}"), level("2 filters a channel", "separate{multiplier=2}"), level("1 filter a channel", "separate"))
		}
		if wants("quantize") && product {
			add(name+" weights", i, Stored, level("8 bits", "quantize{mode=weights bits=8}"), level("4 bits", "quantize{mode=weights bits=4}"))
		}
		if wants("precision") && !s.half {
			add(name+" precision", i, Precision, level("float16", "precision"), level("weights float16", "precision{weights-only=true}"))
		}
		if wants("quantize") && s.o.Calib {
			add(name+" stays", i, Keep, level("float", ""))
		}
	}
}
