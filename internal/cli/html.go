package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/report"
	"github.com/onnxopt/onnxopt/report/diff"
	"github.com/onnxopt/onnxopt/report/page"
)

// facts are the numbers of one model, or of two.
func facts(a, b *report.Summary) (r []page.Fact) {
	add := func(name string, text func(int64) string, of func(*report.Summary) sum) {
		x := of(a)
		f := page.Fact{Name: name, Before: atLeast(x.missing) + text(x.known)}
		if b != nil {
			y := of(b)
			f.After, f.Change = atLeast(y.missing)+text(y.known), x.change(y)
		}
		r = append(r, f)
	}
	row := func(name string, text func(int64) string, of func(*report.Summary) int64) {
		add(name, text, func(s *report.Summary) sum { return sum{known: of(s)} })
	}
	plain := func(n int64) string { return strconv.FormatInt(n, 10) }
	row("nodes", plain, func(s *report.Summary) int64 { return int64(s.Nodes) })
	row("parameters", countText, func(s *report.Summary) int64 { return s.Parameters })
	row("parameter size", bytesText, func(s *report.Summary) int64 { return s.Bytes })
	for _, q := range bounded {
		add(q.name, q.text, q.of)
	}
	return r
}

// drawn is a model as it is drawn: with sizes fixed, and what is known of its values.
type drawn struct {
	model *ir.Model
	graph *page.Graph
}

func drawModel(title string, m *ir.Model, o report.Options) (*drawn, error) {
	sized, known, err := report.Resolve(m, o)
	if err != nil {
		return nil, err
	}
	g, err := page.NewGraph(title, sized, known)
	return &drawn{sized, g}, err
}

// plots are cost by layer and memory over time.
func plots(graphs ...*page.Graph) []page.Plot {
	series := func(of func(*page.Node) float64) (lines []page.Line, any bool) {
		for _, g := range graphs {
			l := page.Line{Name: g.Title}
			for _, n := range g.Nodes {
				if n.Op != "input" && n.Op != "output" {
					v := of(n)
					any = any || v > 0
					l.Values = append(l.Values, v)
				}
			}
			lines = append(lines, l)
		}
		return lines, any
	}
	var r []page.Plot
	for _, p := range []struct {
		title, caption, y string
		bars              bool
		of                func(*page.Node) float64
	}{
		{"Cost by layer", "Multiply-accumulates of each node, in the order in which they run.", "MACs", true, func(n *page.Node) float64 { return float64(n.MACs) }},
		{"Weights by layer", "Bytes of the constants of each node.", "bytes", true, func(n *page.Node) float64 { return float64(n.Bytes) }},
		{"Memory over time", "Bytes of values alive while each node runs, without constants.", "bytes", false, func(n *page.Node) float64 { return float64(n.Live) }},
		{"Time by layer", "Microseconds of each node in one run of the embedded engine.", "µs", true, func(n *page.Node) float64 { return n.Micros }},
		{"Drift by layer", "Largest difference of each value to that of the original, max|a-b| / max(max|a|, 1e-6), on one set of inputs.", "difference", false, func(n *page.Node) float64 {
			if n.Drift == nil {
				return 0
			}
			return *n.Drift
		}},
	} {
		if lines, any := series(p.of); any {
			if p.title == "Drift by layer" {
				lines = lines[len(lines)-1:]
			}
			r = append(r, page.Plot{Title: p.title, Caption: p.caption, X: "node", Y: p.y, Bars: p.bars, Lines: lines})
		}
	}
	return append(r, rangePlot(graphs[len(graphs)-1])...)
}

// rangePlot is the least and the greatest of each value on data.
func rangePlot(g *page.Graph) []page.Plot {
	least, most := page.Line{Name: "least"}, page.Line{Name: "greatest"}
	any := false
	for _, n := range g.Nodes {
		if n.Op == "input" || n.Op == "output" {
			continue
		}
		x := page.Range{}
		if n.Range != nil {
			x, any = *n.Range, true
		}
		least.Values, most.Values = append(least.Values, x.Min), append(most.Values, x.Max)
	}
	if !any {
		return nil
	}
	return []page.Plot{{Title: "Ranges by layer", Caption: "The least and the greatest element of each node's first result on the data.", X: "node", Y: "value", Lines: []page.Line{most, least}}}
}

// inspectHTML writes the page of one model, and of a front.
func (e *env) inspectHTML(ctx context.Context, f *inspectFlags, in *input) error {
	if err := checkOutput(f.html); err != nil {
		return err
	}
	var fr *page.Front
	if f.front != "" {
		var err error
		if fr, err = front(f.front); err != nil {
			return err
		}
	}
	if in == nil {
		return e.writePage(f.html, &page.Page{Title: filepath.Base(f.front), Subtitle: fmt.Sprintf("%d models", len(fr.Points)), Front: fr})
	}
	var p *page.Page
	err := onnxio.Guard(func() error {
		o := report.Options{Sizes: f.sizes}
		s, err := report.Summarize(in.model, o)
		if err != nil {
			return err
		}
		d, err := drawModel("graph", in.model, o)
		if err != nil {
			return err
		}
		if f.data.data != "" {
			if err := e.inspectRanges(ctx, f, in, d); err != nil {
				return err
			}
		}
		ops := page.Section{Title: "Operators"}
		for _, op := range report.Operators(s, &report.Summary{}) {
			ops.Lines = append(ops.Lines, fmt.Sprintf("%s: %d", op, s.Operators[op]))
		}
		p = &page.Page{Title: filepath.Base(in.name), Subtitle: subtitle(in.model), Facts: facts(s, nil), Graphs: []*page.Graph{d.graph},
			Plots: plots(d.graph), Front: fr, Sections: []page.Section{ops}}
		return nil
	})
	var placed *fileError
	if errors.As(err, &placed) {
		return err
	}
	if err != nil {
		return &fileError{in.name, err}
	}
	return e.writePage(f.html, p)
}

func subtitle(m *ir.Model) string {
	s := fmt.Sprintf("opset %d, IR version %d", m.Opset(""), m.IRVersion)
	if m.ProducerName != "" {
		s += ", made by " + strings.TrimSpace(m.ProducerName+" "+m.ProducerVersion)
	}
	return s
}

// writePage writes a page, and its plots as files where it is asked for.
func (e *env) writePage(name string, p *page.Page) error { return e.put(name, p.Write) }

// writePlots writes the plots of a page as SVG and PNG into a folder.
func writePlots(dir string, p *page.Page) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return &fileError{dir, err}
	}
	for i := range p.Plots {
		x := &p.Plots[i]
		for _, format := range []string{"svg", "png"} {
			b, err := x.Bytes(format)
			if err != nil {
				return err
			}
			name := filepath.Join(dir, strings.ReplaceAll(strings.ToLower(x.Title), " ", "-")+"."+format)
			if err := atomically(name, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
				return err
			}
		}
	}
	return nil
}

// both is the page of two models, and their graphs.
func both(title string, a, b *ir.Model, o report.Options) (*page.Page, *drawn, *drawn, error) {
	r, err := diff.Models(a, b, o)
	if err != nil {
		return nil, nil, nil, err
	}
	x, err := drawModel("before", a, o)
	if err != nil {
		return nil, nil, nil, err
	}
	y, err := drawModel("after", b, o)
	if err != nil {
		return nil, nil, nil, err
	}
	pairs := r
	if x.model != a || y.model != b { // copies with sizes, whose nodes are others
		if pairs, err = diff.Models(x.model, y.model, report.Options{}); err != nil {
			return nil, nil, nil, err
		}
	}
	page.Pair(x.graph, y.graph, pairs.Of)
	for _, c := range pairs.Nodes() {
		for _, n := range []*page.Node{x.graph.Find(c.A), y.graph.Find(c.B)} {
			if n != nil {
				n.State, n.What = "changed", c.What
			}
		}
	}
	p := &page.Page{Title: title, Subtitle: r.Headline(), Facts: facts(r.Before, r.After), Graphs: []*page.Graph{x.graph, y.graph}}
	for _, s := range r.Lists() {
		p.Sections = append(p.Sections, page.Section{Title: s.Title, Lines: s.Lines})
	}
	return p, x, y, nil
}

// diffHTML writes the page of two models.
func (e *env) diffHTML(name string, a, b *input, o report.Options) error {
	var p *page.Page
	err := onnxio.Guard(func() (err error) {
		var x, y *drawn
		if p, x, y, err = both(filepath.Base(a.name)+" → "+filepath.Base(b.name), a.model, b.model, o); err == nil {
			p.Plots = plots(x.graph, y.graph)
		}
		return err
	})
	if err != nil {
		return &fileError{a.name, err}
	}
	return e.writePage(name, p)
}

// reportRemarks bounds the remarks on a page.
const reportRemarks = 3000

// remarked collects remarks for --report, each once.
type remarked struct {
	list []page.Remark
	seen map[page.Remark]bool
}

func (r *remarked) add(x passes.Remark) {
	m := page.Remark{Path: x.Path, Rule: x.Rule, Node: x.Node, Applied: x.Applied, Why: x.Why}
	if r.seen[m] || len(r.list) >= reportRemarks {
		return
	}
	r.seen[m] = true
	r.list = append(r.list, m)
}

// writeReport writes the page of --report: before is the model as it came.
func (j *job) writeReport(ctx context.Context, before *ir.Model, remarks *remarked) error {
	o := &j.outcome
	var p *page.Page
	err := onnxio.Guard(func() (err error) {
		var x, y *drawn
		if p, x, y, err = both(filepath.Base(j.in.name)+": "+o.Pipeline, before, j.in.model, report.Options{}); err != nil {
			return err
		}
		if why := j.measure(ctx, before, j.in.model, y); why != "" {
			p.Sections = append(p.Sections, page.Section{Title: "Left out", Lines: []string{"time and drift by layer: " + why}})
		}
		p.Plots = plots(x.graph, y.graph)
		return nil
	})
	if err != nil {
		return &fileError{j.in.name, err}
	}
	p.Remarks = remarks.list
	for _, s := range o.Passes {
		row := page.PassRow{Path: s.Path, Changed: s.Changed, Seconds: s.Seconds}
		for _, rule := range slices.Sorted(maps.Keys(s.Rewrites)) {
			row.Rewrites += fmt.Sprintf(", %s: %d", rule, s.Rewrites[rule])
		}
		row.Rewrites = strings.TrimPrefix(row.Rewrites, ", ")
		p.Passes = append(p.Passes, row)
	}
	verified := page.Section{Title: "Verification", Lines: []string{strings.TrimSpace(o.Verified.State + " " + o.Verified.Why)}}
	for _, name := range slices.Sorted(maps.Keys(o.Verified.Outputs)) {
		verified.Lines = append(verified.Lines, fmt.Sprintf("output %s: largest difference %.3g", name, o.Verified.Outputs[name].Relative))
	}
	for _, n := range o.Notes {
		verified.Lines = append(verified.Lines, n.Path+": "+n.Text)
	}
	p.Sections = append([]page.Section{verified}, p.Sections...)
	if j.f.observe.plots != "" {
		if err := writePlots(j.f.observe.plots, p); err != nil {
			return err
		}
	}
	if j.f.observe.report == "" {
		return nil
	}
	return j.writePage(j.f.observe.report, p)
}
