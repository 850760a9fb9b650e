package passes

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/spell"
)

// Alias is a name for a pipeline.
type Alias struct{ Name, Doc, Pipeline string }

// Registry holds the passes and aliases that pipelines may name. It is made once and then only read.
type Registry struct {
	passes  []*Pass
	aliases []Alias
	byName  map[string]any // *Pass or *aliasEntry
}

type aliasEntry struct {
	Alias
	calls []call
}

// NewRegistry checks the descriptors: names well formed and distinct, rules distinct, examples that parse, ordering
// constraints with a reason that name a known pass. Fixpoint is always included.
func NewRegistry(ps ...*Pass) (*Registry, error) {
	r := &Registry{byName: map[string]any{}}
	for _, p := range append([]*Pass{Fixpoint}, ps...) {
		if err := checkInfo(p); err != nil {
			return nil, err
		}
		if r.byName[p.Name] != nil {
			return nil, fmt.Errorf("two passes are named %q", p.Name)
		}
		r.byName[p.Name] = p
		r.passes = append(r.passes, p)
	}
	return r, nil
}

// isPassName reports whether s is of words in lower case joined by '-', the first of which begins with a letter. A regular expression would
// be compiled in every process.
func isPassName(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for w := range strings.SplitSeq(s, "-") {
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return true
}

func checkInfo(p *Pass) error {
	if !isPassName(p.Name) {
		return fmt.Errorf("pass name %q is not of lower-case words joined by '-'", p.Name)
	}
	if p.Doc == "" {
		return fmt.Errorf("pass %s has no documentation", p.Name)
	}
	seen := map[string]bool{}
	weakest := Promise{}
	for _, rule := range p.Rules {
		if rule.Name == "" || rule.Doc == "" || seen[rule.Name] {
			return fmt.Errorf("pass %s: rule %q is repeated, or has no name or documentation", p.Name, rule.Name)
		}
		seen[rule.Name] = true
		weakest = weakest.Weakest(rule.Promise)
	}
	if weakest.Lossy && !p.Promise.Lossy || weakest.RelTol > p.Promise.RelTol && !p.Promise.Lossy {
		return fmt.Errorf("pass %s promises %s and one of its rules only %s", p.Name, p.Promise, weakest)
	}
	for _, o := range p.After {
		if o.Pass == "" || o.Reason == "" {
			return fmt.Errorf("pass %s has an ordering constraint without a pass or a reason", p.Name)
		}
	}
	return nil
}

// Check parses the examples of all passes and checks that ordering constraints name known passes. Call it once all aliases
// are there.
func (r *Registry) Check() error {
	var errs []error
	for _, p := range r.passes {
		for _, text := range append([]string{p.Example}, p.Prepares...) {
			if _, err := r.Parse(text); err != nil {
				errs = append(errs, fmt.Errorf("example or preparation of pass %s: %w", p.Name, err))
			}
		}
		for _, o := range p.After {
			if _, ok := r.byName[o.Pass].(*Pass); !ok {
				errs = append(errs, fmt.Errorf("pass %s is to come after %q, which does not exist", p.Name, o.Pass))
			}
		}
	}
	return errors.Join(errs...)
}

// Alias names a pipeline. The text may use passes and earlier aliases.
func (r *Registry) Alias(name, doc, pipeline string) error {
	if r.byName[name] != nil {
		return fmt.Errorf("alias %q: the name is taken", name)
	}
	calls, err := parseCalls(pipeline)
	if err != nil {
		return fmt.Errorf("alias %s: %w", name, err)
	}
	if _, err := r.build(pipeline, calls, 0); err != nil {
		return fmt.Errorf("alias %s: %w", name, err)
	}
	a := &aliasEntry{Alias{name, doc, pipeline}, calls}
	r.byName[name] = a
	r.aliases = append(r.aliases, a.Alias)
	return nil
}

// Passes lists the passes in the order of registration.
func (r *Registry) Passes() []*Pass { return slices.Clone(r.passes) }

// Aliases lists the aliases in the order of registration.
func (r *Registry) Aliases() []Alias { return slices.Clone(r.aliases) }

// Lookup finds a pass by name.
func (r *Registry) Lookup(name string) (*Pass, bool) {
	p, ok := r.byName[name].(*Pass)
	return p, ok
}

// Names lists every name a pipeline may use.
func (r *Registry) Names() []string {
	var names []string
	for _, p := range r.passes {
		names = append(names, p.Name)
	}
	for _, a := range r.aliases {
		names = append(names, a.Name)
	}
	return names
}

// Hint is `, did you mean "x"?` for a name that is close to a known one, else nothing.
func (r *Registry) Hint(name string) string { return spell.Hint(name, r.Names()) }

// Parse reads a pipeline and rejects everything wrong before anything runs: unknown passes and options, values of the wrong
// type, lists of steps that break an ordering constraint. The empty text is the empty pipeline.
func (r *Registry) Parse(text string) (*Pipeline, error) {
	calls, err := parseCalls(text)
	if err != nil {
		return nil, err
	}
	return r.build(text, calls, 0)
}

func (r *Registry) build(text string, calls []call, depth int) (*Pipeline, error) {
	if depth > maxDepth {
		return nil, &SyntaxError{text, 1, "aliases are nested too deeply"}
	}
	p := &Pipeline{}
	for _, c := range calls {
		s, err := r.step(text, c, depth)
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) {
				err = &SyntaxError{text, c.at + 1, err.Error()}
			}
			return nil, err
		}
		p.steps = append(p.steps, s)
	}
	return p, p.checkOrder(text, calls)
}

// preparation is a pipeline of Info.Prepares, nil if it names what this registry does not have.
func (r *Registry) preparation(text string, depth int) *Pipeline {
	calls, err := parseCalls(text)
	if err != nil {
		return nil
	}
	p, err := r.build(text, calls, depth+1)
	if err != nil {
		return nil
	}
	return p
}

func (r *Registry) step(text string, c call, depth int) (*Step, error) {
	s := &Step{given: c.given}
	var err error
	if s.only, s.except, err = selectors(c.given); err != nil {
		return nil, err
	}
	switch e := r.byName[c.name].(type) {
	case *Pass:
		s.Pass = e
		if s.options, err = e.options.decode(c.given); err != nil {
			return nil, err
		}
		if c.parens != e.Nests {
			if e.Nests {
				return nil, fmt.Errorf("%s takes a pipeline: %s(...)", e.Name, e.Name)
			}
			return nil, fmt.Errorf("%s takes no pipeline in parentheses", e.Name)
		}
		for _, text := range e.Prepares {
			s.prepares = append(s.prepares, r.preparation(text, depth))
		}
		if e.Nests {
			s.nested, err = r.build(text, c.nested, depth+1)
		}
		return s, err
	case *aliasEntry:
		if c.parens {
			return nil, fmt.Errorf("%s takes no pipeline in parentheses", c.name)
		}
		for _, kv := range c.given {
			if kv.Key != "only" && kv.Key != "except" {
				return nil, fmt.Errorf("%s stands for several passes and takes only= and except=, not %q", c.name, kv.Key)
			}
		}
		s.Alias = e.Name
		s.nested, err = r.build(e.Pipeline, e.calls, depth+1)
		return s, err
	}
	return nil, fmt.Errorf("there is no pass %q%s", c.name, r.Hint(c.name))
}

func selectors(given []KeyValue) (only, except []string, err error) {
	for _, kv := range given {
		switch kv.Key {
		case "only":
			only = splitList(kv.Value)
		case "except":
			except = splitList(kv.Value)
		default:
			continue
		}
		if len(splitList(kv.Value)) == 0 {
			return nil, nil, fmt.Errorf("%s= is empty", kv.Key)
		}
	}
	return only, except, nil
}

// checkOrder reports a step that stands before one it is to come after, in one list of steps.
func (p *Pipeline) checkOrder(text string, calls []call) error {
	for i, s := range p.steps {
		if s.Pass == nil {
			continue
		}
		for _, o := range s.Pass.After {
			earlier := slices.ContainsFunc(p.steps[:i], func(t *Step) bool { return t.has(o.Pass) })
			later := slices.ContainsFunc(p.steps[i+1:], func(t *Step) bool { return t.has(o.Pass) })
			if later && !earlier {
				return &SyntaxError{text, calls[i].at + 1, fmt.Sprintf("%s has to come after %s, because %s", s.Pass.Name, o.Pass, o.Reason)}
			}
		}
	}
	return nil
}

func (s *Step) has(pass string) bool {
	return s.Pass != nil && s.Pass.Name == pass || s.nested != nil && slices.ContainsFunc(s.nested.steps, func(t *Step) bool { return t.has(pass) })
}
