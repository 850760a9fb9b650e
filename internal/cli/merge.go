package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes/hook"
	"github.com/onnxopt/onnxopt/passes/surgery"
)

const mergeLong = `merge puts one model behind another: outputs of the first become inputs of the second as
--connect says, or by name without it. The result has the inputs of the first and those
of the second that nothing feeds, the outputs of the first that feed nothing, and those of the
second. Names that both models have get --prefix in the second.

Operator sets may differ where every operator of the older model means the same in the
newer set. The result is compared with running the two one after the other.`

const mergeExample = `onnxopt merge preprocess.onnx model.onnx --connect pixels=input -o whole.onnx
onnxopt merge backbone.onnx head.onnx -o whole.onnx`

func (e *env) mergeVerb() *cobra.Command {
	f := &partsFlags{}
	o := surgery.MergeOptions{}
	var connect []string
	cmd := &cobra.Command{
		Use: "merge", Short: "put one model behind another", Long: mergeLong, Example: mergeExample,
		Args: func(_ *cobra.Command, args []string) error {
			for _, c := range connect {
				p, err := surgery.ParseConnection(c)
				if err != nil {
					return usagef("--connect %v", err)
				}
				o.Connect = append(o.Connect, p)
			}
			switch {
			case len(args) != 2:
				return usagef("merge takes two models, not %d", len(args))
			case f.output == "":
				return usagef("where to? Name the output: -o merged.onnx")
			case f.json && f.output == standard:
				return usagef("--json and -o - both want standard output")
			case f.output == standard && e.stdoutTerminal && f.outFormat.value != "text":
				return usagef("a model is not for the terminal; name a file, pipe it on, or add --format text")
			case o.Prefix == "":
				return usagef("--prefix is empty")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.merge(cmd.Context(), f, args, o) },
	}
	g := newGroup("Merge")
	g.StringArrayVar(&connect, "connect", nil, "`OUT=IN`: output OUT of the first model, or input, feeds input IN of the second; may be repeated")
	g.StringVar(&o.Prefix, "prefix", "second/", "goes before names of the second model that the first has, too")
	g.BoolVar(&o.KeepOutputs, "keep-outputs", false, "leave outputs of the first model that feed the second among the outputs")
	g.StringVarP(&f.output, "output", "o", "", "write the result to `FILE`; - is standard output")
	setHelp(cmd, "onnxopt merge [options] a.onnx b.onnx --connect out=in -o merged.onnx", f.shared(g)...)
	return cmd
}

// mergeJSON is the --json of merge.
type mergeJSON struct {
	Status   string            `json:"status"`
	Inputs   []string          `json:"inputs"`
	Outputs  []string          `json:"outputs"`
	Renamed  map[string]string `json:"renamed"` // of the second model's interface: its names and what they have become
	Output   string            `json:"output"`
	Bytes    int64             `json:"output_bytes"`
	Nodes    int               `json:"nodes"`
	Remarks  []string          `json:"remarks,omitempty"`
	Verified verifiedOutcome   `json:"verification"`
}

func (e *env) merge(ctx context.Context, f *partsFlags, args []string, o surgery.MergeOptions) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	var in [2]*input
	for i, name := range args {
		var err error
		if in[i], err = e.openValid(name, f); err != nil {
			return err
		}
		defer in[i].close()
	}
	show := e.watchParts(f, args[0])
	defer show.stop()
	r := mergeJSON{Status: statusOf(exitOK), Output: f.output, Renamed: map[string]string{}}
	var v optimize.Verification
	err := onnxio.Guard(func() error {
		m := in[0].model.Clone()
		done, err := surgery.Merge(m, in[1].model, o)
		if err != nil {
			return err
		}
		if err := hook.Structure(m); err != nil {
			return err
		}
		if v, err = f.chain(ctx, show, m, stages(in[0].model, in[1].model, done), "the two models one after the other"); err != nil {
			return err
		}
		show.doing("writing")
		written, err := e.writeModel(f.output, f.outFormat.value, m, f.layout(ctx, false))
		if err != nil {
			return err
		}
		r.Inputs, r.Outputs, r.Nodes, r.Bytes, r.Remarks = slotNames(m.Main.Inputs()), slotNames(m.Main.Outputs()), m.Main.NumNodes(), written.Bytes, done.Remarks
		for _, list := range []map[string]string{done.Inputs, done.Outputs} {
			for old, name := range list {
				if old != name {
					r.Renamed[old] = name
				}
			}
		}
		return nil
	})
	show.clear()
	if err != nil {
		return inFile(args[0]+" and "+args[1], err)
	}
	r.Verified = verificationJSON(v)
	for _, s := range r.Remarks {
		e.warn("%s", s)
	}
	if f.json {
		return e.json(r)
	}
	if f.quiet {
		return nil
	}
	fmt.Fprintf(e.stderr, "%s: %d nodes, %s -> %s\n", f.output, r.Nodes, strings.Join(r.Inputs, ", "), strings.Join(r.Outputs, ", "))
	fmt.Fprintln(e.stderr, v)
	return nil
}

// stages run a and then b, under the names that the merged model has. Values of a that b takes have names that no input or output of the
// chain can have.
func stages(a, b *ir.Model, done *surgery.Merged) []optimize.Stage {
	one := optimize.Stage{Model: a}
	two := optimize.Stage{Model: b, Takes: done.Inputs, Gives: done.Outputs}
	return []optimize.Stage{one, two}
}
