package reduce

import (
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/passes"
)

// pipeline takes steps away, puts what aliases and nesting passes stand for in their place, and takes options away.
func (r *reducer) pipeline() {
	if r.best.Pipeline == nil || r.o.Parse == nil {
		return
	}
	for again := true; again && r.err == nil; {
		smallest(len(r.best.Pipeline.Steps()), func(chunk []int) bool {
			steps := r.best.Pipeline.Steps()
			if len(chunk) >= len(steps) && len(steps) == 1 || chunk[len(chunk)-1] >= len(steps) {
				return false
			}
			return r.steps(slices.Delete(slices.Clone(steps), chunk[0], chunk[len(chunk)-1]+1))
		})
		again = r.opened()
	}
	r.plain()
}

// steps tries a list of steps.
func (r *reducer) steps(list []*passes.Step) bool {
	t := make([]string, len(list))
	for i, s := range list {
		t[i] = s.String()
	}
	return r.text(strings.Join(t, ","))
}

func (r *reducer) text(s string) bool {
	p, err := r.o.Parse(s)
	if err != nil || s == r.best.Pipeline.String() {
		return false
	}
	return r.offer(Case{r.best.Model, p})
}

// opened puts the steps of one alias or nesting pass in its place.
func (r *reducer) opened() bool {
	steps := r.best.Pipeline.Steps()
	for i, s := range steps {
		if s.Nested() != nil {
			list := slices.Concat(steps[:i], s.Nested().Steps(), steps[i+1:])
			if r.steps(list) {
				return true
			}
			if s.Pass != nil && r.inside(steps, i) {
				return true
			}
		}
	}
	return false
}

// inside takes steps away from the parentheses of a nesting pass.
func (r *reducer) inside(steps []*passes.Step, i int) bool {
	head, _, _ := strings.Cut(steps[i].String(), "(")
	nested := steps[i].Nested().Steps()
	if len(nested) < 2 && (len(nested) == 0 || nested[0].Alias == "") {
		return false
	}
	for k := range nested {
		list := slices.Clone(nested)
		list = slices.Delete(list, k, k+1)
		if nested[k].Alias != "" {
			list = slices.Insert(list, k, nested[k].Nested().Steps()...)
		}
		var t []string
		for j, s := range steps {
			if j != i {
				t = append(t, s.String())
				continue
			}
			var in []string
			for _, n := range list {
				in = append(in, n.String())
			}
			t = append(t, head+"("+strings.Join(in, ",")+")")
		}
		if r.text(strings.Join(t, ",")) {
			return true
		}
	}
	return false
}

// plain takes options away, one at a time.
func (r *reducer) plain() {
	for at := 0; ; {
		s := r.best.Pipeline.String()
		open := strings.IndexByte(s[at:], '{')
		if open < 0 {
			return
		}
		open += at
		end := strings.IndexByte(s[open:], '}')
		if end < 0 {
			return
		}
		end += open
		at = open + 1
		if r.text(s[:open] + s[end+1:]) {
			at = open
			continue
		}
		options := strings.Fields(s[open+1 : end])
		for k := range options {
			rest := slices.Delete(slices.Clone(options), k, k+1)
			if len(rest) > 0 && r.text(s[:open+1]+strings.Join(rest, " ")+s[end:]) {
				at = open
				break
			}
		}
	}
}
