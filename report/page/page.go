// Package page makes reports that a person looks at in a browser: one self-contained HTML file, which fetches nothing.
package page

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"strings"
)

// Page is what a report shows. Parts that are empty are left out.
type Page struct {
	Title    string    `json:"title"`
	Subtitle string    `json:"subtitle"`
	Facts    []Fact    `json:"facts"`
	Graphs   []*Graph  `json:"graphs"`
	Passes   []PassRow `json:"passes,omitempty"`
	Remarks  []Remark  `json:"remarks,omitempty"`
	Plots    []Plot    `json:"-"`
	Front    *Front    `json:"-"`
	Sections []Section `json:"sections,omitempty"`
}

// Millis is the time in milliseconds.
func (r PassRow) Millis() float64 { return 1e3 * r.Seconds }

// The parts of a page.
type (
	// Fact is a line of the table at the top; After is empty where there is one model.
	Fact struct {
		Name   string `json:"name"`
		Before string `json:"before"`
		After  string `json:"after,omitempty"`
		Change string `json:"change,omitempty"`
	}
	// PassRow says what a step did.
	PassRow struct {
		Path     string  `json:"path"`
		Changed  bool    `json:"changed"`
		Seconds  float64 `json:"seconds"`
		Rewrites string  `json:"rewrites"` // "rule: 3, other: 1"
	}
	// Remark says that a rule was applied at a node, or why not.
	Remark struct {
		Path    string `json:"path"`
		Rule    string `json:"rule"`
		Node    string `json:"node"`
		Applied bool   `json:"applied"`
		Why     string `json:"why,omitempty"`
	}
	// Section is a titled list of lines.
	Section struct {
		Title string   `json:"title"`
		Lines []string `json:"lines"`
	}
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return err
	}
	type plot struct {
		Title, Caption string
		SVG            template.HTML
	}
	var plots []plot
	if p.Front != nil {
		p.Plots = append(p.Front.plots(), p.Plots...)
	}
	for _, x := range p.Plots {
		svg, err := x.SVG()
		if err != nil {
			return err
		}
		plots = append(plots, plot{x.Title, x.Caption, template.HTML(svg)})
	}
	return t.Execute(w, map[string]any{
		"Page": p, "Plots": plots, "CSS": template.CSS(pageCSS), "JS": template.JS(pageJS),
		// The JSON stands in a script element of another type: nothing in it may end that element.
		"Data": template.JS(strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`, "\u2028", `\u2028`, "\u2029", `\u2029`).Replace(string(data))),
	})
}
