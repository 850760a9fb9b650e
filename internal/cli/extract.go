package cli

import (
	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/passes"
)

const extractLong = `extract keeps the part of a model between named values: --inputs become its inputs,
--outputs its outputs. Any value of the main graph will do; without --inputs the model's own
are taken as far as they are needed, without --outputs all of its outputs. The result is
compared with the original: on its outputs, and fed with what the original computes.

It is the pass of that name; -p runs further ones behind it.`

const extractExample = `onnxopt extract model.onnx --outputs /layer4/Relu_output_0 -o backbone.onnx
onnxopt extract model.onnx --inputs features --outputs scores -o head.onnx
onnxopt extract model.onnx --outputs features -p O2 -o features.onnx`

func (e *env) extractVerb() *cobra.Command {
	f := &optimizeFlags{}
	var inputs, outputs []string
	cmd := &cobra.Command{
		Use: "extract", Short: "keep the part of a model between named values", Long: extractLong, Example: extractExample,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("extract takes one model, not %d", len(args))
			case len(inputs)+len(outputs) == 0:
				return usagef("which part? Name values: --inputs a,b --outputs y")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			text := "extract{"
			if len(inputs) > 0 {
				text += "inputs=" + passes.List(inputs) + " "
			}
			if len(outputs) > 0 {
				text += "outputs=" + passes.List(outputs)
			}
			text += "}"
			if f.pipeline != "" {
				text += "," + f.pipeline
			}
			f.pipeline = text
			given := func(option string) bool { return option == "passes" || option != "opt" && cmd.Flags().Changed(option) }
			return e.optimize(cmd.Context(), f, args[0], given)
		},
	}
	own := newGroup("Extract")
	own.StringSliceVar(&inputs, "inputs", nil, "`NAMES` of values that become the inputs, joined by commas")
	own.StringSliceVar(&outputs, "outputs", nil, "`NAMES` of values that become the outputs")
	groups := f.groups()
	for _, name := range []string{"output", "passes", "seed"} {
		own.AddFlag(groups[0].Lookup(name))
	}
	own.Lookup("passes").Usage = "then run `PIPELINE`"
	setHelp(cmd, "onnxopt extract [options] model.onnx --inputs a,b --outputs y -o part.onnx", append([]group{own}, groups[1:]...)...)
	return cmd
}
