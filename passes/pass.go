package passes

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// Promise is what a pass promises about the numbers of the model it leaves, in the measure of package compare:
// max|a-b| / max(max|a|, 1e-6) of each output. The zero Promise is exact: the same bits in the embedded engine.
type Promise struct {
	RelTol float64
	Lossy  bool // nothing is promised; drift is reported
}

// Exact reports whether p promises the same bits.
func (p Promise) Exact() bool { return p.RelTol == 0 && !p.Lossy }

// And is what a pass that keeps p and one that keeps q promise together.
func (p Promise) And(q Promise) Promise {
	return Promise{RelTol: p.RelTol + q.RelTol, Lossy: p.Lossy || q.Lossy}
}

// Weakest is the weaker of the two.
func (p Promise) Weakest(q Promise) Promise {
	return Promise{RelTol: math.Max(p.RelTol, q.RelTol), Lossy: p.Lossy || q.Lossy}
}

// Unless is p, or that of the same bits where an option asks for them.
func (p Promise) Unless(exact bool) Promise {
	if exact {
		return Promise{}
	}
	return p
}

// String is the promise in words.
func (p Promise) String() string {
	switch {
	case p.Lossy:
		return "lossy"
	case p.RelTol == 0:
		return "exact"
	}
	return fmt.Sprintf("within %g", p.RelTol)
}

// Order is an ordering constraint of a pass: where both are in one list of steps, Pass comes earlier.
type Order struct {
	Pass   string
	Reason string // a clause that completes "because"
}

// RuleDoc describes one rewrite rule of a pass.
type RuleDoc struct {
	Name, Doc string
	Promise   Promise
}

// Info is the constant part of a descriptor.
type Info struct {
	Name    string  // words in lower case joined by '-'
	Doc     string  // one sentence without a capital: "removes Identity nodes"
	Long    string  // paragraphs for the manual, optional
	Promise Promise // the weakest of its rules'
	After   []Order
	Rules   []RuleDoc // empty: one rule with the pass's name
	Example string    // pipeline text that runs as it stands, or with names of a model in place of its own; empty: the name
	Nests   bool      // the pass runs a nested pipeline: name(a,b)
	// Prepares are pipelines that the pass may want to have run before it; its options say which (see Preparer). Their steps have their own
	// names in reports, and only= and except= of the pass do not concern them.
	Prepares []string
}

// Pass is a descriptor. Define makes it; it never changes.
type Pass struct {
	Info
	options *optionSet
	run     func(c *Context, m *ir.Model, options any) error
	promise func(options any) Promise
	prepare func(m *ir.Model, options any) []int
}

// Preparer is implemented by the options of a pass with Prepares: which of them run, in order, for this model.
type Preparer interface{ Prepare(m *ir.Model) []int }

// Promiser may be implemented by an options struct whose values change what the pass promises.
type Promiser interface{ Promise() Promise }

// Define makes a pass. O is a struct; each exported field is an option named by its tag `opt:"max-growth"`, described by
// `doc:"..."`, restricted by `enum:"a|b"`, and to be given if `required:"true"`. defaults holds the default values. Field types:
// bool, int, int64, float64, string, Size, []string, []int64, File, Data, any encoding.TextUnmarshaler, and map[string]string tagged
// `opt:"*"` for free keys.
// It panics if O is no struct, and when the options are first asked for if a field is none of these.
func Define[O any](info Info, defaults O, run func(c *Context, m *ir.Model, o O) error) *Pass {
	p := &Pass{Info: info, options: newOptionSet(info.Name, defaults)}
	p.run = func(c *Context, m *ir.Model, o any) error { return run(c, m, o.(O)) }
	p.promise = func(o any) Promise {
		if q, ok := o.(Promiser); ok {
			return q.Promise()
		}
		return info.Promise
	}
	p.prepare = func(m *ir.Model, o any) []int {
		if q, ok := o.(Preparer); ok {
			return q.Prepare(m)
		}
		return nil
	}
	if len(p.Rules) == 0 {
		p.Rules = []RuleDoc{{info.Name, info.Doc, info.Promise}}
	}
	if p.Example == "" {
		p.Example = info.Name
	}
	return p
}

// WithChoices is a copy of p whose option takes no values but the given ones, for choices that are known only where passes are put
// together. It panics if p has no such option, or its default is not among them.
func (p *Pass) WithChoices(name string, values ...string) *Pass {
	q := *p
	q.options = p.options.withChoices(name, values)
	return &q
}

// Options describes the options in the order of the struct's fields.
func (p *Pass) Options() []OptionDoc { return p.options.docs() }
