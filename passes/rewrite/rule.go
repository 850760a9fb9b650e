package rewrite

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Rule is a rewrite rule. Rules are constant data; what belongs to one place where a rule applies is in the Match.
type Rule struct {
	Name    string // words in lower case joined by '-'
	Doc     string // one clause without a capital: "removes a negation of a negation"
	Promise passes.Promise
	Match   *Pattern
	// Where says whether the match is good; its error completes "not applied, because" in a remark. It must not edit. nil
	// accepts every match.
	Where func(m *Match) error
	// Replace builds what stands for the replaced results, through b alone. It is called only if the rewrite is made.
	Replace func(b *Builder, m *Match) []*ir.Value
}

// Set is a list of rules made ready for use. It is immutable.
type Set struct {
	rules []*Rule
}

// candidate is an alternative of a rule, read; index numbers those of a driver.
type candidate struct {
	rule  *Rule
	tree  *tree
	index int
}

// New makes rules ready for use. It panics if one is not complete.
func New(rules ...*Rule) *Set {
	for i, r := range rules {
		if r.Name == "" || r.Doc == "" || r.Match == nil || r.Replace == nil || slices.ContainsFunc(rules[:i], func(o *Rule) bool { return o.Name == r.Name }) {
			panic("rewrite: rule " + r.Name + " is not complete, or its name is taken")
		}
	}
	return &Set{rules}
}

// Exact is the set of the rules that promise the same bits, for a pass with an option that asks for them. See passes.Promise.Unless.
func (s *Set) Exact() *Set {
	return New(slices.DeleteFunc(slices.Clone(s.rules), func(r *Rule) bool { return !r.Promise.Exact() })...)
}

// concerns reports whether m may have a node that is the root of a rule.
func (s *Set) concerns(m *ir.Model) bool {
	return slices.ContainsFunc(s.rules, func(r *Rule) bool { return r.Match.concerns(m) })
}

// Describe fills in what the rules say: Info.Rules, and the promise if info states none.
func (s *Set) Describe(info passes.Info) passes.Info {
	for _, r := range s.rules {
		info.Rules = append(info.Rules, passes.RuleDoc{Name: r.Name, Doc: r.Doc, Promise: r.Promise})
		info.Promise = info.Promise.Weakest(r.Promise)
	}
	return info
}

// Define makes a pass without options of its own that applies the rules. Its promise is the weakest of theirs.
func Define(info passes.Info, rules ...*Rule) *passes.Pass {
	s := New(rules...)
	return passes.Define(s.Describe(info), struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		return s.Apply(c, m)
	})
}

// Apply applies rules to m until none applies. See Set.Apply.
func Apply(c *passes.Context, m *ir.Model, rules ...*Rule) error { return New(rules...).Apply(c, m) }
