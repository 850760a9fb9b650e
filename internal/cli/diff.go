package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/report"
	"github.com/onnxopt/onnxopt/report/diff"
)

const diffLong = `diff says how two models differ: interface, versions, nodes, weights, cost.

Nodes are paired by what they compute, not by their names, so that a model that was exported
again, optimized or renamed is compared with what it was. Other names are no difference. Of
each weight that changed it tells max|a-b| / max(max|a|, 1e-6), max|a-b| and the cosine.

With --exit-code it ends with 1 if the models differ, as git diff does. --format markdown is
for a comment on a pull request. Whether two models compute the same, verify tells.`

const diffExample = `onnxopt diff a.onnx b.onnx
onnxopt diff --format markdown main.onnx branch.onnx > comment.md
onnxopt diff --html diff.html a.onnx b.onnx
onnxopt diff --exit-code a.onnx b.onnx && echo no change
onnxopt diff --json a.onnx b.onnx | jq .changed_weights`

// diffFlags are the options of diff.
type diffFlags struct {
	json, exitCode bool
	format         enum
	html           string
	sizes          sizes
	files          fileFlags
}

// differed is the --json of diff.
type differed struct {
	A string `json:"a"`
	B string `json:"b"`
	*diff.Result
}

func (e *env) diffVerb() *cobra.Command {
	f := &diffFlags{sizes: sizes{}}
	cmd := &cobra.Command{
		Use: "diff", Short: "say how two models differ", Long: diffLong, Example: diffExample,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 2:
				return usagef("diff takes two models, not %d", len(args))
			case f.json && f.format.value != "text":
				return usagef("--json and --format %s exclude each other", f.format.value)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.diff(cmd.Context(), f, args[0], args[1]) },
	}
	g := newGroup("Options")
	f.format = enum{"text", []string{"text", "markdown"}}
	g.Var(&f.format, "format", "how the differences are printed")
	g.BoolVar(&f.json, "json", false, "print JSON")
	g.StringVar(&f.html, "html", "", "write a page for a browser to `FILE` as well: both graphs, side by side in tabs")
	g.BoolVar(&f.exitCode, "exit-code", false, "end with 1 if the models differ")
	g.Var(f.sizes, "size", "size of an open dimension of the inputs, for the cost: symbol=8 or input[axis]=8; may be repeated")
	f.files.add(g)
	setHelp(cmd, "onnxopt diff [options] a.onnx b.onnx", g)
	return cmd
}

func (e *env) diff(ctx context.Context, f *diffFlags, a, b string) error {
	x, err := e.open(a, &f.files, false)
	if err != nil {
		return err
	}
	defer x.close()
	y, err := e.open(b, &f.files, false)
	if err != nil {
		return err
	}
	defer y.close()
	var r *diff.Result
	err = onnxio.Guard(func() (err error) {
		r, err = diff.Models(x.model, y.model, report.Options{Sizes: f.sizes})
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return inFile(a, err)
	}
	if f.html != "" {
		if err := e.diffHTML(f.html, x, y, report.Options{Sizes: f.sizes}); err != nil {
			return err
		}
	}
	switch {
	case f.json:
		if err := e.json(differed{a, b, r}); err != nil {
			return err
		}
	case f.format.value == "markdown":
		r.Markdown(e.stdout, a, b)
	default:
		r.Text(e.stdout)
	}
	if f.exitCode && !r.Same {
		return &toldError{errors.New(a + " and " + b + " differ")}
	}
	return nil
}
