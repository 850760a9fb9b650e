package fuzz

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/passes"
)

// pipelines draws pipelines of a registry's passes. Lossy ones are left out: they promise nothing.
type pipelines struct {
	reg   *passes.Registry
	exact []string // presets and passes that promise the same bits, as text
	other []string
}

func newPipelines(reg *passes.Registry) *pipelines {
	p := &pipelines{reg: reg}
	for _, pass := range reg.Passes() {
		if pass.Nests || pass.Promise.Lossy {
			continue
		}
		pipe, err := reg.Parse(pass.Name)
		switch {
		case err != nil || pipe.Promise().Lossy:
		case pipe.Promise().Exact():
			p.exact = append(p.exact, pass.Name)
		default:
			p.other = append(p.other, pass.Name)
		}
	}
	return p
}

// draw is a random pipeline.
func (p *pipelines) draw(r random) *passes.Pipeline {
	for range 20 {
		if pipe, err := p.reg.Parse(p.text(r)); err == nil && !pipe.Promise().Lossy {
			return pipe
		}
	}
	pipe, err := p.reg.Parse("O1")
	if err != nil {
		pipe, _ = p.reg.Parse("")
	}
	return pipe
}

func (p *pipelines) text(r random) string {
	switch r.IntN(10) {
	case 0, 1, 2:
		return "O1"
	case 3:
		return "O2"
	case 4:
		return "O3"
	case 5, 6, 7:
		return p.list(r, p.exactSteps)
	}
	return p.list(r, func(r random) string { return p.step(r, append(append([]string{}, p.exact...), p.other...)) })
}

func (p *pipelines) list(r random, step func(random) string) string {
	var steps []string
	for range 1 + r.IntN(6) {
		steps = append(steps, step(r))
	}
	s := strings.Join(steps, ",")
	if r.odds(3) {
		s = fmt.Sprintf("fixpoint{max=%d}(%s)", r.between(1, 4), s)
	}
	return s
}

// exactSteps draws among all passes, and takes what promises the same bits with its options.
func (p *pipelines) exactSteps(r random) string {
	for range 20 {
		s := p.step(r, append(append([]string{}, p.exact...), p.other...))
		if pipe, err := p.reg.Parse(s); err == nil && pipe.Promise().Exact() {
			return s
		}
	}
	return p.step(r, p.exact)
}

// step is a pass with some of its options.
func (p *pipelines) step(r random, names []string) string {
	name := pick(r, names)
	pass, ok := p.reg.Lookup(name)
	if !ok {
		return name
	}
	var options []string
	for _, o := range pass.Options() {
		odds := 3
		if o.Type == "bool" {
			odds = 2
		}
		if !r.odds(odds) {
			continue
		}
		switch {
		case o.Name == "only" || o.Name == "except":
			if r.odds(8) {
				options = append(options, o.Name+"="+pick(r, []string{"Add", "Mul", "Reshape", "Transpose", "Conv", "Constant", "Relu", "*"}))
			}
		case o.Enum != nil:
			options = append(options, o.Name+"="+pick(r, o.Enum))
		case o.Type == "bool":
			options = append(options, fmt.Sprintf("%s=%v", o.Name, r.odds(2)))
		case o.Type == "size":
			options = append(options, o.Name+"="+pick(r, []string{"0", "1", "16", "1k", "1M"}))
		case o.Type == "int":
			options = append(options, fmt.Sprintf("%s=%d", o.Name, r.between(0, 4)))
		}
	}
	if len(options) == 0 {
		return name
	}
	return name + "{" + strings.Join(options, " ") + "}"
}
