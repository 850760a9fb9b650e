package quantize

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// static quantizes with ranges measured on data.
func static(c *passes.Context, m *ir.Model, o Options, prof Profile) error {
	p, err := newPlan(c, m, o, prof, overrides{}, nil)
	if err != nil {
		return err
	}
	if len(p.units) == 0 {
		c.Note(p.nothing())
		return nil
	}
	data, err := measured.For(c, o.Calib)
	if err != nil {
		return err
	}
	hists, err := p.gather(data)
	if err != nil {
		return err
	}
	if err := p.choose(hists, cmp.Or(map[string]string{"auto": "mse"}[o.Calibrate], o.Calibrate)); err != nil {
		return err
	}
	if o.Round || o.Correct {
		if err := p.learnWeights(data); err != nil {
			return err
		}
	}
	p, outcome, err := p.protect(data)
	if err != nil {
		return err
	}
	before := p.counts()
	if err := p.apply(); err != nil {
		return err
	}
	c.Note(p.report(before, data) + outcome)
	return nil
}

// errNothing says that there is nothing to quantize.
var errNothing = errors.New("nothing here computes in integers")

func (p *plan) nothing() string { return errNothing.Error() }

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
func (p *plan) report(counts map[string][2]int, data *measured.Calibration) string {
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d of %d %s", counts[op][0], counts[op][1], op))
	}
	s := fmt.Sprintf("in integers for %s, on %d samples of %s: %s", p.p.Name, data.Len(), data.Name(), strings.Join(parts, ", "))
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

// overrides are the settings of single tensors.
type overrides struct{}
