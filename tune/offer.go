package tune

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

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
