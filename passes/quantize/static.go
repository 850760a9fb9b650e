package quantize

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/hist"
)

// static quantizes with ranges measured on data, or kept from an earlier run.
func static(c *passes.Context, m *ir.Model, o Options, prof Profile) error {
	over := overrides{}
	if o.Overrides != "" {
		b, err := c.File(o.Overrides)
		if err == nil {
			over, err = readOverrides(b, m, prof.Activations)
		}
		if err != nil {
			return err
		}
	}
	p, err := newPlan(c, m, o, prof, over, nil)
	if err != nil {
		return err
	}
	if len(p.units) == 0 {
		c.Note(errNothing.Error() + keptText(p.kept))
		return nil
	}
	if why := p.tooSmall(); why != "" {
		c.Note(why)
		return nil
	}
	data, err := measured.For(c, o.Calib)
	if err != nil && (o.Cache == "" || !errors.Is(err, measured.ErrNoData)) {
		return err
	}
	hists, from, err := p.histograms(data)
	if err != nil {
		return err
	}
	if o.Calibrate == "auto" && data != nil {
		err = p.chooseAuto(data, hists)
	} else {
		err = p.choose(hists, strings.Replace(o.Calibrate, "auto", "mse", 1))
	}
	if err != nil {
		return err
	}
	outcome := p.zeros
	if data != nil {
		if o.Round || o.Correct {
			if err := p.learnWeights(data); err != nil {
				return err
			}
		}
		var protected string
		if p, protected, err = p.protect(data); err != nil {
			return err
		}
		outcome += protected
		best, note, slow, err := p.faster(data)
		if err != nil {
			return err
		}
		if slow {
			c.Note(note)
			return nil
		}
		p = best
		outcome += note
	}
	before := p.counts()
	unsupported, idle := p.untouched()
	for _, v := range slices.Concat(unsupported, idle) {
		c.Remark(v.node, "activation", v.why)
	}
	outcome = countText("unsupported in integers", unsupported) + countText("left in float beside float operators", idle) + p.overruled() + outcome
	if err := p.apply(); err != nil {
		return err
	}
	c.Note(p.report(before, from) + outcome)
	return nil
}

// histograms are those of all groups, counted on the data or kept in the file of option cache; from says where they are from.
func (p *plan) histograms(data *measured.Calibration) (hists []*hist.Histogram, from string, err error) {
	if p.o.Cache != "" {
		b, err := p.c.File(p.o.Cache)
		if err != nil {
			return nil, "", err
		}
		hists, r, err := p.restored(b)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", p.o.Cache, err)
		}
		return hists, fmt.Sprintf("%d samples of %s, as %s has them", r.Samples, r.Data, p.o.Cache), nil
	}
	if hists, err = p.gather(data); err != nil {
		return nil, "", err
	}
	for i, g := range p.groups {
		if hists[i].NaN > 0 {
			return nil, "", fmt.Errorf("%d values are NaN at %s on %s; NaN has no place among integers", hists[i].NaN, p.place0(g), data.Name())
		}
	}
	zeros := ""
	for i, g := range p.groups {
		if hists[i].N > 0 && hists[i].Min == 0 && hists[i].Max == 0 && g.root.Node() == nil {
			zeros += fmt.Sprintf("\n  warning: %s is zero everywhere in the data, which says nothing of its range", p.place0(g))
		}
	}
	b, err := p.saved(hists, data.Len(), data.Name())
	if err != nil {
		return nil, "", err
	}
	data.Save("ranges", b)
	p.zeros += zeros
	return hists, fmt.Sprintf("%d samples of %s", data.Len(), data.Name()), nil
}

// errNothing says that there is nothing to quantize.
var errNothing = errors.New("nothing here computes in integers")

// counts are the numbers of weighted operators by type before the edits.
func (p *plan) counts() map[string][2]int {
	r := map[string][2]int{}
	for _, u := range p.units {
		k := r[u.node.Op().Type]
		k[0]++
		k[1]++
		r[u.node.Op().Type] = k
	}
	for _, v := range p.kept {
		k := r[v.node.Op().Type]
		k[1]++
		r[v.node.Op().Type] = k
	}
	return r
}

// report lists what was quantized and what was not.
func (p *plan) report(counts map[string][2]int, from string) string {
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d of %d %s", counts[op][0], counts[op][1], op))
	}
	s := fmt.Sprintf("in integers for %s, on %s: %s", p.p.Name, from, strings.Join(parts, ", "))
	for _, v := range p.kept {
		p.c.Remark(v.node, "activation", v.why)
	}
	return s + keptText(p.kept)
}

// keptText lists operators that stay float, those with one reason together.
func keptText(kept []verdict) string {
	type line struct {
		op, why string
		names   []string
	}
	var lines []*line
	for _, v := range kept {
		op := v.node.Op().Type
		i := slices.IndexFunc(lines, func(l *line) bool { return l.op == op && l.why == v.why })
		if i < 0 {
			i = len(lines)
			lines = append(lines, &line{op: op, why: v.why})
		}
		lines[i].names = append(lines[i].names, nameOf(v.node))
	}
	s := ""
	for _, l := range lines {
		names := l.names
		if len(names) > 4 {
			names = append(slices.Clone(names[:3]), fmt.Sprintf("%d more", len(l.names)-3))
		}
		s += fmt.Sprintf("\n  float: %d %s, because %s: %s", len(l.names), l.op, l.why, strings.Join(names, ", "))
	}
	return s
}

// nameOf is the node's name or that of its result.
func nameOf(n *ir.Node) string {
	if n.Name() != "" {
		return n.Name()
	}
	for _, v := range n.Results() {
		if v != nil && v.Name() != "" {
			return v.Name()
		}
	}
	return n.String()
}
