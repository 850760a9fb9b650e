// Package lint says what a target refuses in a model, what it runs slowly, and what is known to go wrong, before anything is written.
package lint

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
)

// Options of a run.
type Options struct {
	Target string // the target with its options, as --target takes it
	// AsIs is for a model that did not go through the target's pipeline: what that avoids is reported, too, and nothing is translated.
	AsIs bool
}

// Run lints a model that has gone through the target's pipeline, and does not change it. Findings are refused nodes first, then what is
// slow, then what is known.
func Run(ctx context.Context, t *targets.Target, m *ir.Model, o Options) ([]targets.Finding, error) {
	r := []targets.Finding{}
	m = targets.Annotated(m)
	taken, err := refused(ctx, t, m, o, &r)
	if err != nil {
		return nil, err
	}
	err = inContext(ctx, m, func(c *passes.Context) error {
		if taken && t.Slow != nil {
			if err := t.Slow(c, m, func(f targets.Finding) { r = append(r, f) }); err != nil {
				return err
			}
		}
		return known(c, t, m, o.AsIs, &r)
	})
	return r, err
}

// refused reports what the target does not take.
func refused(ctx context.Context, t *targets.Target, m *ir.Model, o Options, r *[]targets.Finding) (taken bool, err error) {
	err = t.Check(m)
	if err == nil {
		p, perr := t.Emitter(o.Target, &nowhere{})
		if perr != nil {
			return false, perr
		}
		_, err = p.Run(ctx, m, passes.Config{})
	}
	var list *targets.IllegalError
	var step *passes.StepError
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.As(err, &list):
		at := map[string]int{} // findings by operator and reason, one each
		for _, n := range list.Nodes {
			f := targets.Finding{Kind: targets.Refused, Rule: "operator", Node: n.Name, Op: n.Op.String(), Count: 1, Why: n.Why, Mend: n.Mend}
			key := n.Op.String() + "\x00" + n.Why
			if n.Op.Type == "input" {
				f.Rule, key = "input", n.Name
			}
			if i, ok := at[key]; ok {
				(*r)[i].Count++
				continue
			}
			at[key] = len(*r)
			*r = append(*r, f)
		}
		return false, nil
	case errors.As(err, &step):
		err = step.Err
	}
	var crash *passes.InternalError
	if errors.As(err, &crash) {
		return false, err
	}
	*r = append(*r, targets.Finding{Kind: targets.Refused, Rule: "model", Count: 1, Why: err.Error()})
	return false, nil
}

// inContext calls f as a pass would be.
func inContext(ctx context.Context, m *ir.Model, f func(c *passes.Context) error) error {
	reg, err := passes.NewRegistry(passes.Define(passes.Info{Name: "lint", Doc: "looks at the model"}, struct{}{}, func(c *passes.Context, _ *ir.Model, _ struct{}) error { return f(c) }))
	if err != nil {
		return err
	}
	p, err := reg.Parse("lint")
	if err != nil {
		return err
	}
	_, err = p.Run(ctx, m, passes.Config{})
	var step *passes.StepError
	if errors.As(err, &step) {
		return step.Err
	}
	return err
}

// nowhere is an artifact that nothing is kept of.
type nowhere struct{}

func (*nowhere) File(string) (io.Writer, error) { return io.Discard, nil }
func (*nowhere) Name(suffix string) string      { return "model" + suffix }
func (*nowhere) Model(*ir.Model) error          { return nil }
func (*nowhere) Note(string)                    {}

// Rules lists the rules of a target by name, with what each is about.
func Rules(t *targets.Target) ([][2]string, error) {
	r := [][2]string{
		{"operator", "an operator that the target does not take"},
		{"input", "an input that the target does not take"},
		{"model", "a model that the target does not take"},
		{"dynamic-size", "a size that is open"},
		{"float-in-int8", "an operator without a form on integers between quantized ones"},
		{"unfused-quantization", "quantizers that the target does not fuse"},
		{"requantization", "numbers that are dequantized and quantized again"},
		{"residual", "a sum of which one branch is quantized"},
		{"layout", "data that are moved into another order of axes"},
		{"unfused", "an operator that folds into the one before it"},
		{"saturation", "products that saturate"},
		{"untuned", "loops that are not tuned"},
	}
	rows, err := targets.ParseKnown(t.Known)
	if err != nil {
		return nil, fmt.Errorf("known.tsv of %s: %w", t.Name, err)
	}
	for i, k := range rows {
		r = append(r, [2]string{ruleName(i), fmt.Sprintf("%s (%s): %s", k.Runtime, k.Versions, k.Wrong)})
	}
	return r, nil
}
