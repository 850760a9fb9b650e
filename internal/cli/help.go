package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/internal/spell"
)

// setHelp gives cmd its help text: what it does, usage, verbs, examples, options in groups.
func setHelp(cmd *cobra.Command, usage string, groups ...group) {
	for _, g := range groups {
		cmd.Flags().AddFlagSet(g.FlagSet)
	}
	cmd.SetHelpFunc(func(c *cobra.Command, _ []string) {
		if c != cmd { // a generated verb, such as completion
			fmt.Fprintf(c.OutOrStdout(), "%s\n\n%s", strings.TrimSpace(c.Long+"\n"+c.Short), c.UsageString())
			return
		}
		w := c.OutOrStdout()
		fmt.Fprintf(w, "%s\n\nUsage:\n%s\n", strings.TrimSpace(c.Long), indent(usage))
		if c.HasAvailableSubCommands() {
			fmt.Fprint(w, "\nVerbs:\n")
			for _, s := range c.Commands() {
				if s.IsAvailableCommand() {
					fmt.Fprintf(w, "  %-12s%s\n", s.Name(), s.Short)
				}
			}
		}
		if c.Example != "" {
			fmt.Fprintf(w, "\nExamples:\n%s\n", indent(c.Example))
		}
		for _, g := range groups {
			fmt.Fprintf(w, "\n%s:\n%s", g.title, usages(g.FlagSet))
		}
		if c.HasAvailableSubCommands() {
			fmt.Fprint(w, "\nonnxopt VERB --help explains a verb, onnxopt passes NAME a pass.\n")
		}
	})
}

// helpVerb is "onnxopt help VERB".
func (e *env) helpVerb() *cobra.Command {
	return &cobra.Command{
		Use: "help", Short: "explain a verb", Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no verb %q%s", args[0], spell.Hint(args[0], e.verbNames()))
			}
			return found.Help()
		},
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

// usages lists the options of f: "-o, --output FILE   text".
func usages(f *pflag.FlagSet) string {
	var b strings.Builder
	f.VisitAll(func(o *pflag.Flag) {
		name := "    --" + o.Name
		if o.Shorthand != "" {
			name = "-" + o.Shorthand + ", --" + o.Name
		}
		value, text := pflag.UnquoteUsage(o)
		switch {
		case o.NoOptDefVal != "" && o.Value.Type() != "bool":
			name += "[=" + value + "]"
		case value != "":
			name += " " + value
		}
		if o.DefValue != "" && o.DefValue != "false" && o.DefValue != "[]" {
			text += " (default " + o.DefValue + ")"
		}
		if len(name) > 30 {
			name += "\n" + strings.Repeat(" ", 34)
		}
		fmt.Fprintf(&b, "  %-32s%s\n", name, wrap(text, 34, 80))
	})
	return b.String()
}

// wrap breaks text into lines of at most width-margin columns; all but the first are indented by margin.
func wrap(text string, margin, width int) string {
	var b strings.Builder
	col := margin
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case col+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", margin))
			col = margin
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += len(word)
	}
	return b.String()
}
