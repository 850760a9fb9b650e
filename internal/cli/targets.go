package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
)

// targetJSON is the object of --json.
type targetJSON struct {
	Name      string       `json:"name"`
	Doc       string       `json:"doc"`
	Long      string       `json:"long,omitempty"`
	Extension string       `json:"extension"`
	Pipeline  string       `json:"pipeline"`
	Options   []optionJSON `json:"options"`
}

func targetToJSON(t *targets.Target) targetJSON {
	j := targetJSON{Name: t.Name, Doc: t.Doc, Long: t.Long, Extension: t.Extension, Pipeline: t.Pipeline, Options: []optionJSON{}}
	for _, o := range t.Options() {
		if !slices.Contains([]string{"only", "except"}, o.Name) { // which belong to passes
			j.Options = append(j.Options, optionsToJSON([]passes.OptionDoc{o})...)
		}
	}
	return j
}

func (e *env) targetsVerb() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "targets", Short: "list targets, or explain one",
		Long:    "targets lists what --target writes models for. With a NAME it prints the manual of one.",
		Example: "onnxopt targets\nonnxopt targets tflite\nonnxopt --target tflite model.onnx -o model.tflite",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("targets takes one name, not %q and %q", args[0], args[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return e.explainTarget(args[0], asJSON)
			}
			list := []targetJSON{}
			tab := table{}
			for _, t := range all.Targets() {
				list = append(list, targetToJSON(t))
				tab.row(t.Name, t.Doc)
			}
			if asJSON {
				return e.json(list)
			}
			tab.write(e.stdout, "  ")
			fmt.Fprintln(e.stdout, "\nonnxopt targets NAME explains one.")
			return nil
		},
	}
	g := newGroup("Options")
	g.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.ValidArgsFunction = oneOf(func() (names []string) {
		for _, t := range all.Targets() {
			names = append(names, t.Name)
		}
		return names
	})
	setHelp(cmd, "onnxopt targets [NAME] [--json]", g)
	return cmd
}

func (e *env) explainTarget(name string, asJSON bool) error {
	t, hint := all.Lookup(name)
	if t == nil {
		return usagef("there is no target %q%s", name, hint)
	}
	j := targetToJSON(t)
	if asJSON {
		return e.json(j)
	}
	fmt.Fprintf(e.stdout, "%s: %s\n", j.Name, j.Doc)
	if j.Long != "" {
		fmt.Fprintf(e.stdout, "\n%s\n", strings.TrimSpace(j.Long))
	}
	fmt.Fprintf(e.stdout, "\nPipeline, after that of -p or -O:\n  %s\n\nOptions:\n", j.Pipeline)
	tab := table{}
	for _, o := range j.Options {
		tab.row(o.Name, optionType(o), o.Default, o.Doc)
	}
	tab.write(e.stdout, "  ")
	fmt.Fprintf(e.stdout, "\nExample:\n  onnxopt --target %s model.onnx -o model%s\n", j.Name, j.Extension)
	return nil
}
