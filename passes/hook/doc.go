// Package hook holds the hooks that watch a pipeline: verification of each step, printing, dumping, the limit and the veto
// that bisection uses, and reproducers.
package hook

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// idle does nothing; hooks embed it.
type idle struct{}

func (idle) Before(*passes.StepRun) bool              { return true }
func (idle) After(_ *passes.StepRun, err error) error { return err }

// Limit lets the first N rewrites of a run through and none after: --bisect-limit.
type Limit struct {
	idle
	N int
}

// Rewrite implements passes.RewriteHook.
func (l *Limit) Rewrite(n int, _ string, _ *ir.Node) bool { return n < l.N }

// Veto keeps single rewrites, by their number in the run, from being applied. A vetoed rewrite is often offered again, by a later round or
// another visit of the worklist, under another number: those offers of the same rule at the same node are vetoed, too.
type Veto struct {
	idle
	Numbers map[int]bool
	again   map[site]bool
}

type site struct {
	rule string
	at   *ir.Node
}

// Rewrite implements passes.RewriteHook.
func (v *Veto) Rewrite(n int, rule string, at *ir.Node) bool {
	s := site{rule, at}
	switch {
	case v.Numbers[n]:
		if v.again == nil {
			v.again = map[site]bool{}
		}
		v.again[s] = true
		return false
	case at != nil && v.again[s]:
		return false
	}
	return true
}

// Trace records what was offered; bisection names the culprit with it.
type Trace struct {
	idle
	Path  string // of the running step
	Watch int    // number of the rewrite to keep
	Found *Offer
}

// Offer is a rewrite as it was offered.
type Offer struct {
	Number     int
	Path, Rule string
	Node       string
}

// Before implements passes.Hook.
func (t *Trace) Before(s *passes.StepRun) bool {
	t.Path = s.Path
	return true
}

// Rewrite implements passes.RewriteHook.
func (t *Trace) Rewrite(n int, rule string, at *ir.Node) bool {
	if n == t.Watch {
		t.Found = &Offer{Number: n, Path: t.Path, Rule: rule}
		if at != nil {
			t.Found.Node = at.String()
		}
	}
	return true
}
