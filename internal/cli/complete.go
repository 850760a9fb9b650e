package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/dataset/picture"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/tune"
)

// words are what an option may be, for shells to complete; nil where that is not a list.
func words(f *pflag.Flag) (r []string) {
	if e, ok := f.Value.(*enum); ok {
		return e.known
	}
	switch f.Name {
	case "target":
		for _, t := range all.Targets() {
			r = append(r, t.Name)
		}
	case "consumer":
		for _, c := range consumer.All() {
			r = append(r, c.Name)
		}
	case "engine":
		r = []string{"native", "ort"}
	case "metric":
		r = metric.Names()
	case "preset":
		r = picture.Presets()
	case "objective":
		r = tune.Objectives()
	case "choices":
		r = tune.KindNames()
	}
	return r
}

// completed has shells complete the values of a verb's options.
func completed(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if list := words(f); list != nil {
			// The only error is a second registration.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
				head := begun[:strings.LastIndexByte(begun, ',')+1] // of a list
				r := make([]string, len(list))
				for i, w := range list {
					r[i] = head + w
				}
				return r, cobra.ShellCompDirectiveNoFileComp
			})
		}
	})
}

// oneOf completes the argument of a verb.
func oneOf(names func() []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(), cobra.ShellCompDirectiveNoFileComp
	}
}
