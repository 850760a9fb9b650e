// Package separate is the pass that writes full convolutions as depthwise-separable ones.
package separate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Options of the pass.
type Options struct {
	Multiplier int         `opt:"multiplier" doc:"filters of the depthwise convolution for each input channel; more are nearer to the original"`
	Refit      bool        `opt:"refit" doc:"repair all layers by least squares on the calibration data"`
	Prepared   bool        `opt:"prepare" doc:"runs O2 first, which folds normalizations into convolutions, and makes weights constant that callers could override"`
	Calib      passes.Data `opt:"calib" doc:"calibration data; none: those of --calib"`
}

// Prepare implements passes.Preparer.
func (o Options) Prepare(m *ir.Model) []int {
	switch {
	case !o.Prepared:
		return nil
	case slices.ContainsFunc(m.Main.Inputs(), func(s *ir.Slot) bool { return s.Value().Default() != nil }):
		return []int{0, 1}
	}
	return []int{1}
}

// Pass replaces full convolutions.
var Pass = passes.Define(passes.Info{
	Name: "separate",
	Doc:  "writes full convolutions as depthwise-separable ones: a filter or a few for each input channel, and 1x1",
	Long: `Of the slices of the weights that belong to an input channel, one for each output channel, the leading principal components become the
filters of the depthwise convolution: those that keep most of what the layer gives on the calibration data (--calib), or of the weights
without data. The 1x1 convolution behind adds them up to the output channels.

With data the 1x1 convolutions, and all other layers, are then fit again to what the original gives, in the order of the graph. It is
the form of MobileNet (Howard et al., 2017) made of a trained network, and changes it much: one filter for each channel rarely suffices
by itself. A layer is left as it is where the products would not become fewer.`,
	Promise:  passes.Promise{Lossy: true},
	Example:  "separate{multiplier=2}",
	Prepares: []string{"freeze-defaults{all=true}", "O2"},
	Rules: []passes.RuleDoc{
		{Name: "separate", Doc: "writes a convolution as two", Promise: passes.Promise{Lossy: true}},
		{Name: "refit", Doc: "gives a layer new weights by least squares", Promise: passes.Promise{Lossy: true}},
	},
}, Options{Multiplier: 1, Refit: true, Prepared: true}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	if o.Multiplier < 1 {
		return fmt.Errorf("multiplier=%d is not at least 1", o.Multiplier)
	}
	data, err := measured.For(c, o.Calib)
	if err != nil && !errors.Is(err, measured.ErrNoData) {
		return err
	}
	original := m.Clone()
	forms := original.Main.NodeList()
	var layers []*layer
	var refits []measured.RefitLayer
	for i, n := range m.Main.NodeList() {
		lin, err := measured.LinearOf(n)
		if err != nil {
			continue
		}
		if !n.Is("Conv") || !c.Enabled("separate", n) {
			refits = append(refits, measured.RefitLayer{Node: n, Target: forms[i].Result(0)})
			continue
		}
		if why := refused(lin, o.Multiplier); why != "" {
			c.Remark(n, "separate", why)
			refits = append(refits, measured.RefitLayer{Node: n, Target: forms[i].Result(0)})
			continue
		}
		form, err := measured.LinearOf(forms[i])
		if err != nil {
			return err
		}
		layers = append(layers, &layer{node: n, linear: lin, form: form, multiplier: min(o.Multiplier, lin.Taps())})
	}
	if len(layers) == 0 {
		c.Note("no convolution can be written as a depthwise-separable one")
		return nil
	}
	var moments []*measured.Moments
	if data != nil {
		list := make([]*measured.Linear, len(layers))
		for i, l := range layers {
			list[i] = l.form
		}
		if moments, err = data.Limit(momentSamples).MomentsOf(c.Context(), original, list, momentRows); err != nil {
			return err
		}
	}
	for i, l := range layers {
		var k *measured.Moments
		if moments != nil && moments[i].Refused == "" && moments[i].Rows > 0 {
			k = moments[i]
		}
		if err := l.factor(k); err != nil {
			c.Remark(l.node, "separate", err.Error())
			refits = append(refits, measured.RefitLayer{Node: l.node, Target: l.form.Node.Result(0)})
			continue
		}
		if err := c.Err(); err != nil {
			return err
		}
		if c.Rewrite("separate", l.node, nil, l.place) {
			refits = append(refits, measured.RefitLayer{Node: l.made, Target: l.form.Node.Result(0)})
		}
	}
	if data == nil || !o.Refit {
		return nil
	}
	_, err = measured.Refit(c.Context(), original, m, refits, data, measured.RefitOptions{Apply: func(l measured.RefitLayer, edit func()) {
		c.Rewrite("refit", l.Node, nil, edit)
	}})
	return err
}

// Bounds of the data that filters are chosen on.
const (
	momentSamples = 128
	momentRows    = 4096
)

// refused says why a convolution stays; empty: it need not.
func refused(l *measured.Linear, multiplier int) string {
	taps, in, out := l.Taps(), l.Inputs(), l.Channels()
	m := min(multiplier, taps)
	switch {
	case l.Groups != 1:
		return fmt.Sprintf("it has %d groups", l.Groups)
	case taps == 1:
		return "its window has one element"
	case m*(taps+out) >= out*taps:
		return fmt.Sprintf("%d filters for each of %d channels, and 1x1, are no fewer products", m, in)
	}
	return ""
}
