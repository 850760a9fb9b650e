package rulefile

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Rule is a rule of a file, and what is needed to test it.
type Rule struct {
	*rewrite.Rule
	Line    int
	samples []sample
	shape   rewrite.Alternative
}

// File is a list of rules.
type File struct{ Rules []*Rule }

// maxSource bounds a file.
const maxSource = 4 << 20

// Parse reads a file. An error is one line that begins with the place, "3:1: ...".
func Parse(src []byte) (*File, error) {
	if len(src) > maxSource {
		return nil, fmt.Errorf("it has %d bytes; a file of rules has at most %d", len(src), maxSource)
	}
	s := &scanner{src: string(src), line: 1}
	f := &File{}
	seen := map[string]bool{}
	for {
		s.blank()
		if s.at == len(s.src) {
			break
		}
		r, err := s.rule()
		if err != nil {
			return nil, err
		}
		if seen[r.Name] {
			return nil, (&scanner{line: r.Line}).errorf("there are two rules %s", r.Name)
		}
		seen[r.Name] = true
		f.Rules = append(f.Rules, r)
	}
	if len(f.Rules) == 0 {
		return nil, s.errorf("there is no rule")
	}
	return f, nil
}

// Pass is the pass of that name that applies the rules.
func (f *File) Pass(name string) *passes.Pass {
	var rules []*rewrite.Rule
	for _, r := range f.Rules {
		rules = append(rules, r.Rule)
	}
	return rewrite.Define(passes.Info{Name: name, Doc: fmt.Sprintf("applies the rules of a file, %d of them", len(rules))}, rules...)
}

var ruleName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
})

// rule reads one rule.
func (s *scanner) rule() (*Rule, error) {
	r := &Rule{Rule: &rewrite.Rule{}, Line: s.line}
	if w := s.word(); w != "rule" {
		return nil, s.errorf("expected the word rule, found %q", or(w, s.next()))
	}
	if r.Name = s.word(); !ruleName().MatchString(r.Name) {
		return nil, s.errorf("%q is no name of a rule: words in lower case joined by '-'", or(r.Name, s.next()))
	}
	var err error
	if r.Doc, err = s.quoted(); err != nil {
		return nil, err
	}
	if r.Doc == "" || strings.ContainsAny(r.Doc, "\n\r") {
		return nil, s.errorf("the description of rule %s is no line of text", r.Name)
	}
	blocks := map[string]block{}
	for {
		back := *s
		w := s.word()
		switch w {
		case "promise":
			if r.Promise.RelTol, err = strconv.ParseFloat(s.word(), 64); err != nil || !(r.Promise.RelTol >= 0 && r.Promise.RelTol <= 1) {
				return nil, s.errorf("promise needs a bound from 0 to 1, such as 1e-5")
			}
			continue
		case "match", "where", "samples", "replace":
			if _, twice := blocks[w]; twice {
				return nil, s.errorf("rule %s has two parts %s", r.Name, w)
			}
			if blocks[w], err = s.braces(); err != nil {
				return nil, err
			}
			continue
		case "rule", "":
			if s.blank(); w == "" && s.at < len(s.src) {
				return nil, s.errorf("%q is not expected here", s.next())
			}
			*s = back
			return r, r.assemble(s, blocks)
		}
		return nil, s.errorf("rule %s: there is no part %q; there are promise, match, where, samples and replace", r.Name, w)
	}
}

func (s *scanner) next() string {
	s.blank()
	return s.src[s.at:min(len(s.src), s.at+1)]
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// assemble makes the rule of its parts.
func (r *Rule) assemble(s *scanner, blocks map[string]block) error {
	at := &scanner{line: r.Line}
	for _, part := range []string{"match", "replace"} {
		if _, ok := blocks[part]; !ok {
			return at.errorf("rule %s has no part %s", r.Name, part)
		}
	}
	m := blocks["match"]
	p, err := rewrite.Parse(m.text)
	if err != nil {
		return m.shift(inner(err))
	}
	r.Match = p
	r.shape = p.Alternatives()[0]
	conditions, err := r.conditions(blocks["where"])
	if err != nil {
		return err
	}
	if r.samples, err = r.readSamples(blocks["samples"]); err != nil {
		return err
	}
	repl, err := r.replacement(blocks["replace"])
	if err != nil {
		return err
	}
	r.Where = func(m *rewrite.Match) error {
		for _, c := range conditions {
			if err := c.holds(matchScope{m}); err != nil {
				return err
			}
		}
		return repl.possible(m)
	}
	r.Replace = repl.build
	return nil
}

// values are the names of values of the pattern.
func (r *Rule) values() (names []string) {
	for _, c := range r.shape.Captures {
		names = append(names, c.Name)
	}
	for _, n := range r.shape.Nodes {
		for _, x := range n.Results {
			if x != "" {
				names = append(names, x)
			}
		}
	}
	return names
}

func (r *Rule) conditions(b block) (list []condition, err error) {
	for _, l := range b.lines() {
		c, err := parseCondition(l.text)
		if err == nil {
			err = checkNames(c.x, r.values(), r.shape.Attrs)
		}
		if err != nil {
			return nil, l.shift(err)
		}
		list = append(list, c)
	}
	return list, nil
}

// sample says under which types and attributes a rule is tested; what it does not say is chosen.
type sample struct {
	types map[string]*ir.Type
	fill  map[string]float64 // value of all elements of a constant
	attrs map[string]*ir.Attr
}

// readSamples reads lines such as "x: float[2,3], c: float = 0.5, axis = 1".
func (r *Rule) readSamples(b block) (list []sample, err error) {
	for _, l := range b.lines() {
		s := sample{map[string]*ir.Type{}, map[string]float64{}, map[string]*ir.Attr{}}
		for _, item := range splitTop(l.text) {
			if err := r.sampleItem(&s, strings.TrimSpace(item)); err != nil {
				return nil, l.shift(err)
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// splitTop splits at commas outside of brackets.
func splitTop(s string) (r []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		case ',':
			if depth == 0 {
				r = append(r, s[from:i])
				from = i + 1
			}
		}
	}
	return append(r, s[from:])
}

var sampleForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z_]\w*)\s*(?::\s*([a-z0-9]+)\s*(?:\[([\d,\s]*)\])?)?\s*(?:=\s*(.+))?$`)
})

// maxSample bounds the elements of a tensor of a sample.
const maxSample = 1 << 16

func (r *Rule) sampleItem(s *sample, item string) error {
	m := sampleForm().FindStringSubmatch(item)
	if m == nil || m[2] == "" && m[4] == "" {
		return fmt.Errorf("%q is no sample like x: float[2,3], or axis = 1", item)
	}
	name := m[1]
	if m[2] == "" {
		for _, a := range r.shape.Attrs {
			if a == name {
				attr, err := sampleAttr(name, m[4])
				s.attrs[name] = attr
				return err
			}
		}
		return fmt.Errorf("the pattern captures no attribute %q", name)
	}
	known := false
	for _, c := range r.shape.Captures {
		known = known || c.Name == name
	}
	d, ok := ir.ParseDType(m[2])
	switch {
	case !known:
		return fmt.Errorf("the pattern captures no value %q", name)
	case !ok || d == ir.String:
		return fmt.Errorf("%q is no element type of a sample", m[2])
	}
	var dims []int64
	for _, f := range strings.FieldsFunc(m[3], func(c rune) bool { return c == ',' || c == ' ' }) {
		n, err := strconv.ParseInt(f, 10, 32)
		if err != nil {
			return err
		}
		dims = append(dims, n)
	}
	if n := ir.NumElements(dims); n < 0 || n > maxSample {
		return fmt.Errorf("%q has more than %d elements", item, maxSample)
	}
	s.types[name] = ir.TensorType(d, ir.StaticShape(dims...))
	if m[4] != "" {
		v, err := strconv.ParseFloat(m[4], 64)
		if err != nil || math.IsInf(v, 0) || v != v {
			return fmt.Errorf("%q is no number", m[4])
		}
		s.fill[name] = v
	}
	return nil
}

// sampleAttr reads a number, a string, or a list of numbers.
func sampleAttr(name, text string) (*ir.Attr, error) {
	c, err := parseCondition(text)
	if err != nil {
		return nil, err
	}
	if _, isName := c.x.(attrRef); isName {
		return nil, fmt.Errorf("%s is no value of an attribute", text)
	}
	if err := checkNames(c.x, nil, nil); err != nil {
		return nil, err
	}
	v, err := c.x.eval(nil)
	if err != nil {
		return nil, err
	}
	whole := !strings.ContainsAny(text, ".e")
	switch v := v.(type) {
	case float64:
		if whole {
			return ir.IntAttr(name, int64(v)), nil
		}
		return ir.FloatAttr(name, float32(v)), nil
	case string:
		return ir.StringAttr(name, v), nil
	case []value:
		ints, floats := []int64{}, []float32{}
		for _, x := range v {
			f, ok := x.(float64)
			if !ok {
				return nil, fmt.Errorf("%s is no list of numbers", text)
			}
			ints, floats = append(ints, int64(f)), append(floats, float32(f))
		}
		if whole {
			return ir.IntsAttr(name, ints), nil
		}
		return ir.FloatsAttr(name, floats), nil
	}
	return nil, fmt.Errorf("%s is no value of an attribute", text)
}
