// Package check matches CHECK lines, LLVM's FileCheck reduced to what fixtures need:
//
//	CHECK: text        a line that contains text, below the line that matched last
//	CHECK-NEXT: text   the line after the one that matched last contains text
//	CHECK-NOT: text    no line between the one that matched last and the next match contains text
//
// White space counts as one blank. {{...}} is a regular expression; [[NAME:...]] is one that binds NAME, and [[NAME]] stands for
// what it matched. Lines of another form are comments.
package check

import (
	"fmt"
	"regexp"
	"strings"
)

// directive is one CHECK line.
type directive struct {
	kind string // "", "-NEXT" or "-NOT"
	text string
	line int
}

var form = regexp.MustCompile(`^\s*(?:#|//|;)?\s*CHECK(-NEXT|-NOT)?:(.*)$`)

// Lines returns an error that names the first directive of checks that text does not satisfy. Checks without a directive are an error.
func Lines(checks, text string) error {
	m := &matcher{lines: strings.Split(strings.TrimRight(text, "\n"), "\n"), at: -1, vars: map[string]string{}}
	for i := range m.lines {
		m.lines[i] = blanks(m.lines[i])
	}
	found := false
	for i, l := range strings.Split(checks, "\n") {
		g := form.FindStringSubmatch(l)
		if g == nil {
			continue
		}
		found = true
		if err := m.apply(directive{g[1], blanks(g[2]), i + 1}); err != nil {
			return fmt.Errorf("%w in\n%s", err, text)
		}
	}
	if !found {
		return fmt.Errorf("there is no CHECK line")
	}
	return m.absent(len(m.lines))
}

func blanks(s string) string { return strings.Join(strings.Fields(s), " ") }

type matcher struct {
	lines []string
	at    int // the line that matched last
	not   []directive
	vars  map[string]string
}

func (m *matcher) apply(d directive) error {
	if d.kind == "-NOT" {
		m.not = append(m.not, d)
		return nil
	}
	end := len(m.lines)
	if d.kind == "-NEXT" {
		end = min(m.at+2, end)
	}
	re, names, err := m.compile(d)
	if err != nil {
		return err
	}
	for i := m.at + 1; i < end; i++ {
		g := re.FindStringSubmatch(m.lines[i])
		if g == nil {
			continue
		}
		if err := m.absent(i); err != nil {
			return err
		}
		for j, name := range names {
			m.vars[name] = g[re.SubexpIndex(fmt.Sprintf("v%d", j))]
		}
		m.at = i
		return nil
	}
	return fmt.Errorf("line %d of the checks, CHECK%s: %s, is not found", d.line, d.kind, d.text)
}

// absent checks the pending CHECK-NOT lines against the lines below the last match and above end.
func (m *matcher) absent(end int) error {
	for _, d := range m.not {
		re, _, err := m.compile(d)
		if err != nil {
			return err
		}
		for _, l := range m.lines[m.at+1 : end] {
			if re.MatchString(l) {
				return fmt.Errorf("line %d of the checks, CHECK-NOT: %s, is found in %q", d.line, d.text, l)
			}
		}
	}
	m.not = nil
	return nil
}

var special = regexp.MustCompile(`\{\{(.+?)\}\}|\[\[([A-Za-z_]\w*)(?::(.+?))?\]\]`)

// compile makes a regular expression of d; group vI binds names[I].
func (m *matcher) compile(d directive) (*regexp.Regexp, []string, error) {
	var b strings.Builder
	var names []string
	rest := d.text
	for {
		g := special.FindStringSubmatchIndex(rest)
		if g == nil {
			break
		}
		b.WriteString(regexp.QuoteMeta(rest[:g[0]]))
		switch {
		case g[2] >= 0:
			b.WriteString("(?:" + rest[g[2]:g[3]] + ")")
		case g[6] >= 0:
			fmt.Fprintf(&b, "(?P<v%d>%s)", len(names), rest[g[6]:g[7]])
			names = append(names, rest[g[4]:g[5]])
		default:
			v, ok := m.vars[rest[g[4]:g[5]]]
			if !ok {
				return nil, nil, fmt.Errorf("line %d of the checks uses %s, which nothing bound", d.line, rest[g[4]:g[5]])
			}
			b.WriteString(regexp.QuoteMeta(v))
		}
		rest = rest[g[1]:]
	}
	re, err := regexp.Compile(b.String() + regexp.QuoteMeta(rest))
	if err != nil {
		return nil, nil, fmt.Errorf("line %d of the checks: %w", d.line, err)
	}
	return re, names, nil
}
