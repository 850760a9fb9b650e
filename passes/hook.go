package passes

import (
	"context"
	"time"

	"github.com/onnxopt/onnxopt/ir"
)

// StepRun is one execution of a pass as hooks see it.
type StepRun struct {
	Step    *Step
	Index   int    // executions before this one
	Path    string // "simplify/fixpoint#2/cse"
	Model   *ir.Model
	Context context.Context
	Promise Promise

	// Known after the step.
	Changed  bool
	Rewrites []RuleCount
	Border   *ir.Border // how the step changed the interface; nil: not
	Duration time.Duration
}

// Hook watches the steps of a run. Nesting passes such as fixpoint are not steps; what they nest is.
type Hook interface {
	// Before may keep the pass from running by returning false; hooks after it are then not asked.
	Before(s *StepRun) (run bool)
	// After is told how the step ended. An error ends the run. Hooks are called in reverse order.
	After(s *StepRun, err error) error
}

// RewriteHook may also be implemented by a Hook. It is asked before each rewrite; n numbers the rewrites that were offered
// in the run, from 0. All hooks are asked; one no is enough.
type RewriteHook interface {
	Rewrite(n int, rule string, at *ir.Node) (apply bool)
}

// Remark says that a rule was applied, or why it was not.
type Remark struct {
	Path    string // of the step
	Rule    string
	Graph   string // path of the graph
	Node    string // the node's name, or its first result's
	Op      ir.OpID
	Applied bool
	Why     string // not applied: a clause that completes "because"
}
