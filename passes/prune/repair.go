package prune

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// repair fits the layers of the smaller model to what those of the original gave.
func (j *job) repair(original *ir.Model, of map[*ir.Value]*ir.Value, sel *coupling.Selection) error {
	ls := layers(j.m, of, sel, func(n *ir.Node) bool { return j.c.Selected(n) })
	out, err := measured.Refit(j.c.Context(), original, j.m, ls, j.data.all, measured.RefitOptions{
		Judges: j.data.judged(len(ls)), Judged: j.data.judge(original),
		Apply: func(l measured.RefitLayer, edit func()) { j.c.Rewrite("repair", l.Node, nil, edit) },
	})
	if err != nil {
		return err
	}
	j.outcomes(out)
	return nil
}

// layers pairs what multiplies in m with what it stands for in the original; sel, if not nil, knows which channels are left.
func layers(m *ir.Model, of map[*ir.Value]*ir.Value, sel *coupling.Selection, use func(*ir.Node) bool) (r []measured.RefitLayer) {
	for n := range m.Main.Nodes() {
		_, err := measured.LinearOf(n)
		if err != nil || !use(n) || of[n.Result(0)] == nil {
			continue
		}
		f := measured.RefitLayer{Node: n, Target: of[n.Result(0)]}
		if sel != nil {
			y := n.Result(0)
			dim := len(sel.Dims(y)) - 1
			if n.Is("Conv", "ConvTranspose") {
				dim = 1
			}
			f.Keep = sel.KeptElements(y, dim) // nil: all
		}
		r = append(r, f)
	}
	return r
}

// outcomes reports what the repair did.
func (j *job) outcomes(out []measured.RefitResult) {
	fitted, before, after := 0, 0.0, 0.0
	why := map[string]int{}
	for _, o := range out {
		if o.Refused != "" {
			why[o.Refused]++
			j.c.Remark(o.Layer.Node, "repair", o.Refused)
			continue
		}
		fitted, before, after = fitted+1, before+o.Before, after+o.After
	}
	s := fmt.Sprintf("%d of %d layers were fitted again on %d samples: the error of a layer's output fell from %.3f to %.3f of its energy, on data held back",
		fitted, len(out), j.data.all.Len(), before/float64(max(1, fitted)), after/float64(max(1, fitted)))
	var rest []string
	for _, w := range slices.Sorted(maps.Keys(why)) {
		rest = append(rest, fmt.Sprintf("%d because %s", why[w], w))
	}
	if len(rest) > 0 {
		s += "; not " + strings.Join(rest, ", ")
	}
	j.note("%s", s)
}
