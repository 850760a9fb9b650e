package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes/hook"
	"github.com/onnxopt/onnxopt/passes/surgery"
)

const splitLong = `split cuts a model into models that compute, one after another, what it does. Each --at names
the values that a part ends with; the last part computes the rest. Parts hand values on by
name. What else crosses a cut becomes an output of its part, too, and is said; what
depends on constants alone is computed by every part that needs it.

-o is a pattern in which %d stands for the number of the part, from 1, or is given once for
each part. The parts are run one after another and compared with the original.`

const splitExample = `onnxopt split model.onnx --at /layer3/Relu_output_0 -o 'part%d.onnx'
onnxopt split model.onnx --at features -o backbone.onnx -o head.onnx
onnxopt split model.onnx --at a,b --at c -o 'part%d.onnx'`

// partsFlags are what split and merge share.
type partsFlags struct {
	optimizeFlags
	outputs []string
	json    bool
	quiet   bool
}

// groups adds the options that check and place the result.
func (f *partsFlags) shared(own group) []group {
	groups := f.optimizeFlags.groups()
	own.BoolVar(&f.json, "json", false, "print JSON")
	own.BoolVarP(&f.quiet, "quiet", "q", false, "print warnings and errors only")
	check := newGroup("Checking")
	for _, name := range []string{"verify", "verify-budget"} {
		check.AddFlag(groups[1].Lookup(name))
	}
	own.AddFlag(groups[0].Lookup("seed"))
	return []group{own, check, groups[3]}
}

func (e *env) splitVerb() *cobra.Command {
	f := &partsFlags{}
	var at []string
	cmd := &cobra.Command{
		Use: "split", Short: "cut a model into parts that run one after another", Long: splitLong, Example: splitExample,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("split takes one model, not %d", len(args))
			case len(at) == 0:
				return usagef("where? Name the values a part ends with: --at a,b")
			}
			return f.names(len(at)+1, args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.split(cmd.Context(), f, args[0], at) },
	}
	g := newGroup("Split")
	g.StringArrayVar(&at, "at", nil, "`NAMES` of values that a part ends with, joined by commas; once for each cut")
	g.StringArrayVarP(&f.outputs, "output", "o", nil, "write the parts to `FILE`, with %d for the number; or once for each part")
	setHelp(cmd, "onnxopt split [options] model.onnx --at a,b -o 'part%d.onnx'", f.shared(g)...)
	return cmd
}

// names makes of -o one name for each part.
func (f *partsFlags) names(parts int, input string) error {
	if len(f.outputs) == 1 && strings.Count(f.outputs[0], "%d") == 1 {
		pattern := f.outputs[0]
		f.outputs = nil
		for i := range parts {
			f.outputs = append(f.outputs, strings.ReplaceAll(pattern, "%d", fmt.Sprint(i+1)))
		}
	}
	if len(f.outputs) != parts {
		return usagef("there are %d parts and %d names for them: -o 'part%%d.onnx', or -o once for each", parts, len(f.outputs))
	}
	seen := map[string]bool{}
	for _, name := range f.outputs {
		switch {
		case name == standard:
			return usagef("several parts do not go to standard output")
		case seen[name]:
			return usagef("two parts would be written to %s", name)
		case sameFile(name, input):
			return usagef("%s is the model that is read", name)
		}
		seen[name] = true
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// partJSON and splitJSON are the --json of split.
type (
	partJSON struct {
		File    string   `json:"file"`
		Bytes   int64    `json:"bytes"`
		Nodes   int      `json:"nodes"`
		Inputs  []string `json:"inputs"`
		Outputs []string `json:"outputs"`
		Also    []string `json:"also_crossing,omitempty"`
	}
	splitJSON struct {
		Status   string          `json:"status"`
		Input    string          `json:"input"`
		Parts    []partJSON      `json:"parts"`
		Verified verifiedOutcome `json:"verification"`
	}
)

func (e *env) split(ctx context.Context, f *partsFlags, name string, at []string) error {
	for _, o := range f.outputs {
		if err := checkOutput(o); err != nil {
			return err
		}
	}
	in, err := e.openValid(name, f)
	if err != nil {
		return err
	}
	defer in.close()
	show := e.watchParts(f, name)
	defer show.stop()
	var cuts [][]string
	for _, list := range at {
		cuts = append(cuts, splitNames(list))
	}
	r := splitJSON{Status: statusOf(exitOK), Input: in.name}
	var v optimize.Verification
	err = onnxio.Guard(func() error {
		parts, err := surgery.Split(in.model, cuts)
		if err != nil {
			return err
		}
		var stages []optimize.Stage
		for _, p := range parts {
			if err := hook.Structure(p.Model); err != nil {
				return err
			}
			stages = append(stages, optimize.Stage{Model: p.Model})
		}
		if v, err = f.chain(ctx, show, in.model, stages, "the parts"); err != nil {
			return err
		}
		show.doing("writing")
		for i, p := range parts {
			done, err := e.writeModel(f.outputs[i], f.outFormat.value, p.Model, f.layout(ctx, false))
			if err != nil {
				return err
			}
			r.Parts = append(r.Parts, partJSON{f.outputs[i], done.Bytes, p.Model.Main.NumNodes(), slotNames(p.Model.Main.Inputs()), slotNames(p.Model.Main.Outputs()), p.Also})
		}
		return nil
	})
	show.clear()
	if err != nil {
		return inFile(in.name, err)
	}
	r.Verified = verificationJSON(v)
	if f.json {
		return e.json(r)
	}
	if f.quiet {
		return nil
	}
	for _, p := range r.Parts {
		also := ""
		if len(p.Also) > 0 {
			also = fmt.Sprintf(" (%s also cross%s the cut)", strings.Join(p.Also, ", "), map[bool]string{true: "es"}[len(p.Also) == 1])
		}
		fmt.Fprintf(e.stderr, "%s: %d node%s, %s -> %s%s\n", p.File, p.Nodes, plural(p.Nodes), strings.Join(p.Inputs, ", "), strings.Join(p.Outputs, ", "), also)
	}
	fmt.Fprintln(e.stderr, v)
	return nil
}

// splitNames reads names joined by commas. A name with a comma stands in quotes.
func splitNames(list string) []string {
	var r []string
	for list != "" {
		list = strings.TrimLeft(list, " ")
		if rest, quoted := strings.CutPrefix(list, `"`); quoted {
			if word, after, ok := strings.Cut(rest, `"`); ok {
				r = append(r, word)
				list = strings.TrimPrefix(after, ",")
				continue
			}
		}
		word, rest, _ := strings.Cut(list, ",")
		r = append(r, strings.TrimSpace(word))
		list = rest
	}
	return r
}

// slotNames lists inputs or outputs; inputs with a default, which need not be fed, are left out.
func slotNames(s []*ir.Slot) []string {
	r := []string{}
	for _, x := range s {
		if x.Value().Default() == nil {
			r = append(r, x.Name())
		}
	}
	return r
}

// openValid opens a model that is to be taken apart or put together.
func (e *env) openValid(name string, f *partsFlags) (*input, error) {
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return nil, err
	}
	if err := hook.Structure(in.model); err != nil {
		in.close()
		return nil, &fileError{in.name, &optimize.InputError{Err: err}}
	}
	return in, nil
}

// watchParts shows progress on a terminal.
func (e *env) watchParts(f *partsFlags, name string) *progress {
	if !e.terminal || f.quiet {
		return nil
	}
	return startProgress(e.stderr, name)
}

// chain compares a model with a chain of models as --verify says. A difference is an error.
func (f *partsFlags) chain(ctx context.Context, show *progress, m *ir.Model, stages []optimize.Stage, what string) (optimize.Verification, error) {
	v := optimize.Verification{State: optimize.Skipped}
	if f.verify.value == "off" {
		return v, nil
	}
	show.doing("comparing")
	verdict, err := optimize.Chain(ctx, native.New(), m, stages, generator(m, f.seed, nil), compare.Options{
		Budget: compare.Budget{Time: max(f.budget.time, time.Millisecond), Memory: f.budget.memory}, Threads: f.resources.count(),
	})
	if err != nil {
		return v, err
	}
	v = optimize.Verification{State: optimize.Verified, Why: verdict.Why, Sets: verdict.Sets, Outputs: verdict.Outputs}
	switch verdict.State {
	case compare.Mismatch:
		return v, fmt.Errorf("%s compute something else: %s", what, verdict.Why)
	case compare.NotVerified:
		v.State, v.Sets = optimize.NotVerified, 0
		if f.verify.value == "strict" {
			return v, &optimize.UnverifiedError{Why: v.Why}
		}
	}
	return v, nil
}

func verificationJSON(v optimize.Verification) verifiedOutcome {
	r := verifiedOutcome{State: string(v.State), Why: v.Why, Sets: v.Sets, Outputs: map[string]diffOutcome{}}
	for name, d := range v.Outputs {
		r.Outputs[name] = toDiff(d)
	}
	return r
}
