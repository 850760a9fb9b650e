package prune

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
	"github.com/onnxopt/onnxopt/passes/prune/internal/refit"
)

// repair fits the layers of the smaller model to what those of the original gave.
func (j *job) repair(original *ir.Model, of map[*ir.Value]*ir.Value, sel *coupling.Selection) error {
	t := j.data.task(original, j.m, func(v *ir.Value) *ir.Value { return of[v] }, j.data.samples)
	t.Keep = keepOf(sel, func(v *ir.Value) *ir.Value { return v })
	t.Skip = func(l *refit.Layer) bool { return !j.c.Selected(l.Node) }
	t.Edit = func(l *refit.Layer, set func() error) (err error) {
		j.c.Rewrite("repair", l.Node, nil, func() { err = set() })
		return err
	}
	out, err := refit.Run(j.c.Context(), t)
	if err != nil {
		if j.c.Err() != nil {
			return err
		}
		j.note("not repaired: %v", err)
		return nil
	}
	j.outcomes(out)
	return nil
}

// keepOf lists the channels of a layer's result that are left; key tells the value that the selection knows it as.
func keepOf(sel *coupling.Selection, key func(*ir.Value) *ir.Value) func(*refit.Layer) []int {
	return func(l *refit.Layer) []int {
		y := key(l.Y)
		shape := sel.Dims(y)
		dim := len(shape) - 1
		if l.Node.Is("Conv") {
			dim = 1
		}
		return sel.KeptElements(y, dim)
	}
}

// outcomes reports what the repair did.
func (j *job) outcomes(out []refit.Outcome) {
	fitted, before, after := 0, 0.0, 0.0
	why := map[string]int{}
	for _, o := range out {
		before, after = before+o.Before, after+o.After
		if o.Why == "" {
			fitted++
		} else {
			why[o.Why]++
			j.c.Remark(o.Layer.Node, "repair", o.Why)
		}
	}
	s := fmt.Sprintf("%d of %d layers were fitted again on %d samples: the error of a layer's output fell from %.3f to %.3f of its energy, on data held back",
		fitted, len(out), len(j.data.samples), before/float64(max(1, len(out))), after/float64(max(1, len(out))))
	var rest []string
	for _, w := range slices.Sorted(maps.Keys(why)) {
		rest = append(rest, fmt.Sprintf("%d because %s", why[w], w))
	}
	if len(rest) > 0 {
		s += "; not " + strings.Join(rest, ", ")
	}
	j.note("%s", s)
}
