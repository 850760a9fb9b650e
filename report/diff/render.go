package diff

import (
	"fmt"
	"io"
	"strings"
)

// Lines bounds how many entries of one kind Text and Markdown list.
const Lines = 50

// cost is a number of both models.
type cost struct {
	name string
	a, b int64
	note string
}

func (r *Result) costs() []cost {
	atLeast := func(n int64) string {
		if n > 0 {
			return "at least"
		}
		return ""
	}
	x, y := r.Before, r.After
	return []cost{
		{"nodes", int64(x.Nodes), int64(y.Nodes), ""},
		{"parameters", x.Parameters, y.Parameters, ""},
		{"parameter bytes", x.Bytes, y.Bytes, ""},
		{"MACs", x.MACs, y.MACs, atLeast(x.Uncounted + y.Uncounted)},
		{"peak activation bytes", x.PeakActivation, y.PeakActivation, atLeast(int64(x.Unsized + y.Unsized))},
	}
}

// change is the difference in percent, or in units where it is small.
func change(a, b int64) string {
	switch {
	case a == b:
		return ""
	case a == 0:
		return fmt.Sprintf("%+d", b)
	}
	p := 100 * (float64(b) - float64(a)) / float64(a)
	if p > -0.05 && p < 0.05 {
		return fmt.Sprintf("%+d", b-a)
	}
	return fmt.Sprintf("%+.1f %%", p)
}

// section is a titled list.
type section struct {
	title string
	lines []string
}

func (r *Result) sections() []section {
	nodes := func(list []Node) (s []string) {
		for _, n := range list {
			s = append(s, n.String()+within(n))
		}
		return s
	}
	var changed, weights []string
	for _, c := range r.Changed {
		head := c.A.String()
		if c.A.Name != c.B.Name {
			head += fmt.Sprintf(" (now %q)", c.B.Name)
		}
		changed = append(changed, head+within(c.A)+": "+strings.Join(c.What, "; "))
	}
	for _, w := range r.Weights {
		weights = append(weights, w.String())
	}
	return []section{
		{"interface", r.Interface},
		{"model", r.Model},
		{"added nodes", nodes(r.Added)},
		{"removed nodes", nodes(r.Removed)},
		{"changed nodes", changed},
		{"changed weights", weights},
	}
}

func within(n Node) string {
	if !strings.Contains(n.Graph, " of ") && !strings.HasPrefix(n.Graph, "function") {
		return ""
	}
	return " in " + n.Graph
}

func (w WeightChange) String() string {
	name := fmt.Sprintf("%q", w.Name)
	if w.Name == "" {
		name = "a constant of " + w.Node.String()
	}
	s := fmt.Sprintf("%s, %s", name, w.A)
	if w.A != w.B {
		s += fmt.Sprintf(" became %s", w.B)
	}
	var d []string
	if w.Rel != nil {
		d = append(d, fmt.Sprintf("difference %.3g", *w.Rel))
	}
	if w.Abs != nil {
		d = append(d, fmt.Sprintf("at most %.3g", *w.Abs))
	}
	if w.Equal != nil {
		d = append(d, fmt.Sprintf("cosine %.6f", *w.Equal))
	}
	if w.Note != "" && w.A == w.B {
		d = append(d, w.Note)
	}
	if len(d) > 0 {
		s += ": " + strings.Join(d, ", ")
	}
	return s
}

// Headline is the result in one line.
func (r *Result) Headline() string {
	if r.Same {
		s := fmt.Sprintf("the same: %d nodes and %d weights agree", r.Paired, r.SameWeights)
		if r.Renamed > 0 {
			s += fmt.Sprintf("; other names: %d nodes", r.Renamed)
		}
		return s
	}
	return fmt.Sprintf("different: %d nodes paired (%d renamed), %d added, %d removed, %d changed; %d weights agree, %d changed",
		r.Paired, r.Renamed, len(r.Added), len(r.Removed), len(r.Changed), r.SameWeights, len(r.Weights))
}

// Text prints the result for a terminal.
func (r *Result) Text(w io.Writer) {
	fmt.Fprintln(w, r.Headline())
	for _, s := range r.sections() {
		if len(s.lines) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", s.title)
		list(w, s.lines, "  ", "")
	}
	if r.Same {
		return
	}
	fmt.Fprintln(w)
	rows := [][]string{}
	for _, c := range r.costs() {
		rows = append(rows, []string{c.name, c.note, fmt.Sprint(c.a), fmt.Sprint(c.b), change(c.a, c.b)})
	}
	for _, o := range r.Operators {
		rows = append(rows, []string{"  " + o.Op, "", fmt.Sprint(o.A), fmt.Sprint(o.B), ""})
	}
	width := make([]int, 5)
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], len(c))
		}
	}
	for _, row := range rows {
		line := fmt.Sprintf("%-*s  %-*s  %*s  %*s  %s", width[0], row[0], width[1], row[1], width[2], row[2], width[3], row[3], row[4])
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

func list(w io.Writer, lines []string, before, after string) {
	for i, l := range lines {
		if i == Lines {
			fmt.Fprintf(w, "%sand %d more\n", before, len(lines)-i)
			return
		}
		fmt.Fprintf(w, "%s%s%s\n", before, l, after)
	}
}

// Markdown prints the result for a comment on a pull request. a and b name the models.
func (r *Result) Markdown(w io.Writer, a, b string) {
	fmt.Fprintf(w, "### `%s` → `%s`\n\n%s\n", code(a), code(b), strings.ToUpper(r.Headline()[:1])+r.Headline()[1:])
	if r.Same {
		return
	}
	fmt.Fprint(w, "\n| | before | after | |\n|---|---:|---:|---:|\n")
	for _, c := range r.costs() {
		fmt.Fprintf(w, "| %s | %d | %d | %s |\n", strings.TrimSpace(c.name+" "+c.note), c.a, c.b, change(c.a, c.b))
	}
	for _, o := range r.Operators {
		fmt.Fprintf(w, "| %s | %d | %d | |\n", code(o.Op), o.A, o.B)
	}
	for _, s := range r.sections() {
		if len(s.lines) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n<details><summary>%s (%d)</summary>\n\n", s.title, len(s.lines))
		escaped := make([]string, len(s.lines))
		for i, l := range s.lines {
			escaped[i] = escape(l)
		}
		list(w, escaped, "- ", "")
		fmt.Fprint(w, "\n</details>\n")
	}
}

// code is text between backquotes.
func code(s string) string { return strings.NewReplacer("`", "'", "\n", " ", "|", "/").Replace(s) }

// escape keeps names from being taken as Markdown or HTML.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", ">", "&gt;", "[", `\[`, "]", `\]`, "|", `\|`, "\n", " ", "@", "&#64;").Replace(s)
}
