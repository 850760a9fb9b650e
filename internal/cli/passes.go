package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/passes"
)

const passesLong = `passes lists what a pipeline may name: passes with what they promise of the numbers,
and presets with the pipelines they stand for. With a NAME it prints the manual of one.

A promise is "exact" (the same bits), "within x" (max|a-b| / max(max|a|, 1e-6) of each
output is at most x) or "lossy" (nothing is promised; drift is measured).`

const passesExample = `onnxopt passes
onnxopt passes constfold
onnxopt passes --json`

func (e *env) passesVerb() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "passes", Short: "list passes and presets, or explain one", Long: passesLong, Example: passesExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("passes takes one name, not %q and %q", args[0], args[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := e.registry()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return e.listPasses(r, asJSON)
			}
			return e.explainPass(r, args[0], asJSON)
		},
	}
	cmd.ValidArgsFunction = oneOf(func() []string {
		r, err := e.registry()
		if err != nil {
			return nil
		}
		return r.Names()
	})
	g := newGroup("Options")
	g.BoolVar(&asJSON, "json", false, "print JSON")
	setHelp(cmd, "onnxopt passes [NAME] [--json]", g)
	return cmd
}

// The objects of --json.
type (
	passJSON struct {
		Name    string       `json:"name"`
		Doc     string       `json:"doc"`
		Long    string       `json:"long,omitempty"`
		Promise string       `json:"promise"`
		Options []optionJSON `json:"options"`
		Rules   []ruleJSON   `json:"rules"`
		After   []orderJSON  `json:"after,omitempty"`
		Example string       `json:"example"`
	}
	optionJSON struct {
		Name    string   `json:"name"`
		Type    string   `json:"type"`
		Default string   `json:"default"`
		Values  []string `json:"values,omitempty"`
		Doc     string   `json:"doc"`
	}
	ruleJSON struct {
		Name    string `json:"name"`
		Doc     string `json:"doc"`
		Promise string `json:"promise"`
	}
	orderJSON struct {
		Pass   string `json:"pass"`
		Reason string `json:"reason"`
	}
	presetJSON struct {
		Name     string `json:"name"`
		Doc      string `json:"doc"`
		Pipeline string `json:"pipeline"`
		Promise  string `json:"promise"`
	}
	passListJSON struct {
		Passes  []passJSON   `json:"passes"`
		Presets []presetJSON `json:"presets"`
	}
)

func passToJSON(p *passes.Pass) passJSON {
	j := passJSON{Name: p.Name, Doc: p.Doc, Long: p.Long, Promise: p.Promise.String(), Example: p.Example}
	j.Options = optionsToJSON(p.Options())
	for _, r := range p.Rules {
		j.Rules = append(j.Rules, ruleJSON{r.Name, r.Doc, r.Promise.String()})
	}
	for _, o := range p.After {
		j.After = append(j.After, orderJSON{o.Pass, o.Reason})
	}
	return j
}

func optionsToJSON(list []passes.OptionDoc) (r []optionJSON) {
	for _, o := range list {
		r = append(r, optionJSON{o.Name, o.Type, o.Default, o.Enum, o.Doc})
	}
	return r
}

func presetToJSON(r *passes.Registry, a passes.Alias) (presetJSON, error) {
	p, err := r.Parse(a.Pipeline)
	if err != nil {
		return presetJSON{}, err
	}
	return presetJSON{a.Name, a.Doc, a.Pipeline, p.Promise().String()}, nil
}

func (e *env) listPasses(r *passes.Registry, asJSON bool) error {
	all := passListJSON{Passes: []passJSON{}, Presets: []presetJSON{}}
	for _, p := range r.Passes() {
		all.Passes = append(all.Passes, passToJSON(p))
	}
	slices.SortFunc(all.Passes, func(a, b passJSON) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range r.Aliases() {
		j, err := presetToJSON(r, a)
		if err != nil {
			return err
		}
		all.Presets = append(all.Presets, j)
	}
	if asJSON {
		return e.json(all)
	}
	t := table{}
	for _, p := range all.Passes {
		t.row(p.Name, p.Promise, p.Doc)
	}
	fmt.Fprintln(e.stdout, "Passes:")
	t.write(e.stdout, "  ")
	fmt.Fprintln(e.stdout, "\nPresets:")
	t = table{}
	for _, a := range all.Presets {
		t.row(a.Name, a.Promise, a.Doc)
	}
	t.write(e.stdout, "  ")
	fmt.Fprintln(e.stdout, "\nonnxopt passes NAME explains one.")
	return nil
}

func (e *env) explainPass(r *passes.Registry, name string, asJSON bool) error {
	if p, ok := r.Lookup(name); ok {
		j := passToJSON(p)
		if asJSON {
			return e.json(j)
		}
		manual(e.stdout, j)
		return nil
	}
	for _, a := range r.Aliases() {
		if a.Name != name {
			continue
		}
		j, err := presetToJSON(r, a)
		if err != nil {
			return err
		}
		if asJSON {
			return e.json(j)
		}
		fmt.Fprintf(e.stdout, "%s: %s\n\nPromise: %s\n\nPipeline:\n  %s\n", j.Name, j.Doc, j.Promise, orNone(j.Pipeline))
		return nil
	}
	return usagef("there is no pass %q%s", name, r.Hint(name))
}

// manual prints one pass.
func manual(w io.Writer, p passJSON) {
	fmt.Fprintf(w, "%s: %s\n", p.Name, p.Doc)
	if p.Long != "" {
		fmt.Fprintf(w, "\n%s\n", p.Long)
	}
	fmt.Fprintf(w, "\nPromise: %s\n", p.Promise)
	if len(p.Options) > 0 {
		fmt.Fprintln(w, "\nOptions:")
		t := table{}
		for _, o := range p.Options {
			t.row(o.Name, optionType(o), o.Default, o.Doc)
		}
		t.write(w, "  ")
	}
	fmt.Fprintln(w, "\nRules:")
	t := table{}
	for _, r := range p.Rules {
		t.row(r.Name, r.Promise, r.Doc)
	}
	t.write(w, "  ")
	if len(p.After) > 0 {
		fmt.Fprintln(w, "\nOrder:")
		for _, o := range p.After {
			fmt.Fprintf(w, "  after %s, because %s\n", o.Pass, o.Reason)
		}
	}
	fmt.Fprintf(w, "\nExample:\n  onnxopt -p '%s' model.onnx -o out.onnx\n", p.Example)
}

func optionType(o optionJSON) string {
	s := o.Type
	for i, v := range o.Values {
		if i == 0 {
			s = v
		} else {
			s += "|" + v
		}
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "(no pass)"
	}
	return s
}
