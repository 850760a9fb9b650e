package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/lint"
)

const lintLong = `lint says what a target refuses in a model, what it runs slower than it could (numbers in
int8 that fall back to float, quantizers that are not fused, data that are moved, sizes
that are open), and what is known to go wrong in its runtimes, each with the pass that
mends it and, where there is one, a public source. Nothing is written.

It looks at what --target would write: behind the target's own pipeline, and behind the
one that -p names. With --as-is it looks at the model as it stands, and reports what the
target's pipeline would mend as well.

The exit code is 1 if the target refuses the model; with --exit-code on any finding.`

const lintExample = `onnxopt lint --target tflite model.onnx
onnxopt lint --target openvino --as-is model.onnx
onnxopt lint --target 'tensorrt{batch=8}' -p 'set-shape{x=[8,3,224,224]}' model.onnx
onnxopt lint --target onnxruntime --json model.onnx | jq '.findings[].mend'
onnxopt lint --target tflite --sarif model.onnx > lint.sarif`

// lintFlags are the options of lint.
type lintFlags struct {
	target, pipeline  string
	asIs, json, sarif bool
	exitCode          bool
	files             fileFlags
	resources         resourceFlags
}

func (e *env) lintVerb() *cobra.Command {
	f := &lintFlags{}
	cmd := &cobra.Command{
		Use: "lint", Short: "say what a target refuses or runs slowly", Long: lintLong, Example: lintExample,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("lint takes one model, not %d", len(args))
			case f.target == "":
				return usagef("for which target? --target NAME; onnxopt targets lists them")
			case f.json && f.sarif:
				return usagef("--json and --sarif both want standard output")
			case f.asIs && f.pipeline != "":
				return usagef("--as-is looks at the model as it stands; without it -p runs first")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.lint(cmd.Context(), f, args[0]) },
	}
	g := newGroup("Options")
	g.StringVar(&f.target, "target", "", "`NAME` or NAME{option=value}: what the model is to be written for")
	g.StringVarP(&f.pipeline, "passes", "p", "", "`PIPELINE` that runs before the target's own")
	g.BoolVar(&f.asIs, "as-is", false, "look at the model as it stands")
	g.BoolVar(&f.json, "json", false, "print JSON")
	g.BoolVar(&f.sarif, "sarif", false, "print SARIF 2.1.0, as code hosts show it")
	g.BoolVar(&f.exitCode, "exit-code", false, "exit with 1 on any finding")
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, "onnxopt lint --target NAME [options] model.onnx", g, files)
	return cmd
}

// linted is the --json of lint.
type linted struct {
	File     string            `json:"file"`
	Target   string            `json:"target"`
	Pipeline string            `json:"pipeline,omitempty"` // that ran before
	Refused  int               `json:"refused"`            // findings of each kind
	Slow     int               `json:"slow"`
	Known    int               `json:"known"`
	Findings []targets.Finding `json:"findings"`

	target *targets.Target
}

func (e *env) lint(ctx context.Context, f *lintFlags, name string) error {
	t, err := targetOf(f.target)
	if err != nil {
		return err
	}
	r := &linted{Target: t.Name, target: t}
	reg, err := passlist.Registry(e.more...)
	if err != nil {
		return err
	}
	if !f.asIs {
		r.Pipeline = strings.Trim(f.pipeline+","+t.Pipeline, ",")
	}
	p, err := reg.Parse(r.Pipeline)
	if err != nil {
		return usagef("%v", err)
	}
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return err
	}
	defer in.close()
	r.File = in.name
	if err := onnxio.Guard(func() error { return r.look(ctx, in.model, p, lint.Options{Target: f.target, AsIs: f.asIs}) }); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return inFile(in.name, err)
	}
	for _, g := range r.Findings {
		switch g.Kind {
		case targets.Refused:
			r.Refused++
		case targets.Slow:
			r.Slow++
		default:
			r.Known++
		}
	}
	switch {
	case f.json:
		err = e.json(r)
	case f.sarif:
		err = e.sarif(r)
	default:
		r.write(e)
	}
	if err != nil {
		return err
	}
	switch {
	case r.Refused > 0:
		return r.told(f, fmt.Errorf("%s refuses %s", t.Name, in.name))
	case f.exitCode && len(r.Findings) > 0:
		return r.told(f, fmt.Errorf("%d finding%s", len(r.Findings), plural(len(r.Findings))))
	}
	return nil
}

// told is the error of a run that has printed its result.
func (r *linted) told(f *lintFlags, err error) error {
	if f.json || f.sarif {
		return &toldError{err}
	}
	return err
}

// look runs the pipeline and collects findings. A model that is not valid is an error.
func (r *linted) look(ctx context.Context, m *ir.Model, p *passes.Pipeline, o lint.Options) error {
	if err := ir.Verify(m); err != nil {
		return err
	}
	if err := ops.Verify(m); err != nil {
		return err
	}
	if _, err := p.Run(ctx, m, passes.Config{}); err != nil {
		var step *passes.StepError
		if errors.As(err, &step) {
			return fmt.Errorf("%s: %w", step.Step, step.Err)
		}
		return err
	}
	var err error
	r.Findings, err = lint.Run(ctx, r.target, m, o)
	return err
}

func (r *linted) write(e *env) {
	if len(r.Findings) == 0 {
		fmt.Fprintf(e.stdout, "%s: nothing to say for %s\n", r.File, r.Target)
		return
	}
	for i, f := range r.Findings {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		fmt.Fprintf(e.stdout, "%-8s %s%s: %s\n", f.Kind, f.Rule, place(&f), f.Why)
		if f.Mend != "" {
			fmt.Fprintf(e.stdout, "         mend   %s\n", f.Mend)
		}
		if f.Source != "" {
			fmt.Fprintf(e.stdout, "         source %s\n", f.Source)
		}
	}
	fmt.Fprintf(e.stdout, "\n%s: %d refused, %d slow, %d known to go wrong\n", r.Target, r.Refused, r.Slow, r.Known)
}

// place is where a finding is: ` at "conv1" (Conv) and 3 more`.
func place(f *targets.Finding) string {
	s := ""
	switch {
	case f.Node != "" && f.Op != "":
		s = fmt.Sprintf(" at %q (%s)", f.Node, f.Op)
	case f.Node != "":
		s = fmt.Sprintf(" at %q", f.Node)
	case f.Op != "":
		s = " at " + f.Op
	}
	if f.Count > 1 && f.Node != "" {
		s += fmt.Sprintf(" and %d more", f.Count-1)
	}
	return s
}
