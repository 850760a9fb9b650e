package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/internal/jsonschema"
	"github.com/onnxopt/onnxopt/internal/spell"
)

//go:generate go test . -run ^(TestSchemasFresh|TestPassPages)$ -update

const schemaLong = `schema prints what --json of a verb prints, as JSON Schema (draft 2020-12). optimize is the
command without a verb; failure is what every verb prints where there is no result. Without a
NAME it lists the names. Fields are added in later versions, never renamed.`

// schemas are the types of --json by verb.
func schemas() map[string]any {
	return map[string]any{
		"optimize": outcome{}, "failure": failure{}, "inspect": inspected{}, "diff": differed{}, "audit": audited{}, "check": checked{},
		"verify": verified{}, "replay": replayed{}, "version": versionInfo{}, "targets": []targetJSON{},
		"eval": evaluated{}, "run": ran{}, "bench": benched{}, "schedule": scheduleJSON{}, "tune": tuned{},
	}
}

func schemaNames() (names []string) {
	for n := range schemas() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (e *env) schemaVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schema", Short: "print the JSON Schema of a verb's --json", Long: schemaLong, Example: "onnxopt schema\nonnxopt schema inspect",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("schema takes one name, not %q and %q", args[0], args[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, n := range schemaNames() {
					if _, err := e.stdout.WriteString(n + "\n"); err != nil {
						return err
					}
				}
				return nil
			}
			v, ok := schemas()[args[0]]
			if !ok {
				return usagef("there is no schema %q%s", args[0], spell.Hint(args[0], schemaNames()))
			}
			return e.json(jsonschema.Of("onnxopt "+args[0]+" --json", v))
		},
	}
	cmd.ValidArgsFunction = oneOf(schemaNames)
	setHelp(cmd, "onnxopt schema [NAME]")
	return cmd
}
