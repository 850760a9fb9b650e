package rulefile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/special"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// The bounds of a test: models that are tried, and models in which the rule has to have been applied and compared.
const (
	maxTrials = 4000
	enough    = 48
)

// UntestedError says that no model could be made in which a rule applies.
type UntestedError struct {
	Rule string
	Why  string
}

func (u *UntestedError) Error() string {
	return fmt.Sprintf("rule %s cannot be tested: %s; its part samples {...} can name types and attributes", u.Rule, u.Why)
}

// WrongError says that a rule changes what a model computes.
type WrongError struct {
	Rule  string
	What  string
	Model string // as text
}

func (w *WrongError) Error() string { return fmt.Sprintf("rule %s is wrong: %s", w.Rule, w.What) }

// Test applies each rule to models made for it and compares the outputs. The error is a *WrongError or an *UntestedError, or that of
// the context. The models depend on the seed.
func (f *File) Test(ctx context.Context, seed uint64) error {
	for _, r := range f.Rules {
		if err := r.test(ctx, seed); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rule) test(ctx context.Context, seed uint64) error {
	g := &generator{rule: r, rng: rand.New(rand.NewPCG(seed, 0x72756c65))}
	registry, err := passes.NewRegistry((&File{[]*Rule{r}}).Pass("rules"))
	if err != nil {
		return err
	}
	pipeline, err := registry.Parse("rules")
	if err != nil {
		return err
	}
	applied, why := 0, "no model that matches its pattern is valid"
	for trial := 0; trial < maxTrials && applied < enough; trial++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := g.model(trial)
		if m == nil {
			continue
		}
		before := m.Clone()
		reason := ""
		rep, err := pipeline.Run(ctx, m, passes.Config{Remarks: func(x passes.Remark) {
			if !x.Applied {
				reason = x.Why
			}
		}})
		switch {
		case err != nil:
			return &WrongError{r.Name, err.Error(), spelled(before)}
		case rep.Rewrites == 0:
			if reason != "" {
				why = "it is not applied, because " + reason
			}
			continue
		}
		verified, err := r.compare(ctx, before, m)
		if err != nil {
			return err
		}
		if verified {
			applied++
		} else {
			why = "no engine here can run the model"
		}
	}
	if applied == 0 {
		return &UntestedError{r.Name, why}
	}
	return nil
}

// compare holds b, what the rule made of a, to the promise.
func (r *Rule) compare(ctx context.Context, a, b *ir.Model) (verified bool, err error) {
	if err := ops.Verify(b); err != nil {
		return false, &WrongError{r.Name, "the result is not valid: " + err.Error(), spelled(a)}
	}
	tolerance := compare.Tolerance{Exact: true}
	if !r.Promise.Exact() {
		tolerance = compare.Tolerance{Rel: r.Promise.RelTol}
	}
	before, err := native.New().Load(ctx, a, engine.Options{Threads: 1})
	if err != nil {
		return false, ctx.Err()
	}
	defer before.Close()
	after, err := native.New().Load(ctx, b, engine.Options{Threads: 1})
	if err != nil {
		return false, &WrongError{r.Name, "the result cannot be run: " + err.Error(), spelled(a)}
	}
	defer after.Close()
	plain := compare.NewGenerator(a, compare.GenerateOptions{Seed: 1})
	sources := []compare.Source{plain}
	if r.Promise.Exact() {
		sources = append(sources, special.Source{Source: plain})
	}
	for _, src := range sources {
		for set, err := range src.Sets(ctx) {
			if err != nil {
				return false, err
			}
			x, err := before.Run(ctx, set.Inputs)
			if err != nil {
				if src.Refused(err) {
					continue
				}
				break
			}
			y, err := after.Run(ctx, set.Inputs)
			if err != nil {
				return false, &WrongError{r.Name, "the result cannot be run: " + err.Error(), spelled(a)}
			}
			// Unlike compare.Models, this also counts outputs that are NaN only: rules are wrong there, too.
			for name, v := range x {
				if err := tolerance.Check(compare.Datum(v, y[name])); err != nil {
					return false, &WrongError{r.Name, fmt.Sprintf("output %q: %v (%s)", name, err, set.Label), spelled(a)}
				}
			}
			verified = true
		}
	}
	return verified, ctx.Err()
}

// spelled is a model as text on few lines.
func spelled(m *ir.Model) string {
	var b strings.Builder
	if err := text.Print(&b, m, text.Options{MaxElements: 8}); err != nil {
		return err.Error()
	}
	return b.String()
}

// valid reports whether m keeps to the standard, and records the types of its outputs.
func valid(m *ir.Model) bool {
	if ir.Verify(m) != nil {
		return false
	}
	types := infer.Model(m)
	if len(ops.Problems(m, types, 1)) > 0 {
		return false
	}
	for _, r := range types.Remarks() {
		if r.Severity == infer.Error {
			return false
		}
	}
	for _, s := range m.Main.Outputs() {
		s.SetType(types.Type(s.Value()))
	}
	return true
}
