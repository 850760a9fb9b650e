// Package opset is the pass that converts a model to another version of the default operator set.
package opset

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes"
)

// The versions that a model can be converted to. The last one is the newest that the schemas know.
const (
	oldest = 11
	newest = 28
)

// Version is a version of the default operator set.
type Version int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Version) UnmarshalText(b []byte) error {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < oldest || n > newest {
		return fmt.Errorf("%q is no version from %d to %d", b, oldest, newest)
	}
	*v = Version(n)
	return nil
}

// Options are the options of opset.
type Options struct {
	To    Version `opt:"to" required:"true" doc:"the version to convert to, 11 to 28"`
	Exact bool    `opt:"exact" doc:"refuses what could only be spelled out within tolerance"`
}

// Promise implements passes.Promiser.
func (o Options) Promise() passes.Promise { return spelled.Unless(o.Exact) }

// spelled is the promise of conversions that spell an operator out in other float operations.
var spelled = passes.Promise{RelTol: 1e-4}

// The rules. A conversion is one rewrite, since a model cannot be partly in one version and partly in another.
const (
	ruleConvert = "convert"
	ruleExpand  = "expand"
)

// Pass converts the main graph, its subgraphs and all functions, each from the version that it imports.
var Pass = passes.Define(passes.Info{
	Name: "opset",
	Doc:  "converts the model to another version of the default operator set, up or down",
	Long: `Attributes become operands and the other way round, defaults that changed are stated, and an operator that the version does not have
is spelled out in operators that it has, element types that it does not take by casts around it. The conversion is exact where
operators only change their form. Spelled out in other float operations it is within 1e-4 for float32.

Everything is converted or nothing: if a node has no equivalent in the version, the pass fails and names every such node with the
reason. Many need to know a rank, a type or a constant; simplify before opset makes more of them known.

Below version 14 a shape cannot state a dimension of zero, so that some of what is spelled out fails there on tensors without elements.

A conversion down lowers ir_version to what came with the version, unless a type or a function needs more. Other domains stay.`,
	Promise: spelled,
	Rules: []passes.RuleDoc{
		{Name: ruleConvert, Doc: "converts a model whose operators only change their form"},
		{Name: ruleExpand, Doc: "converts a model of which some operator is spelled out in float operations", Promise: spelled},
	},
	Example: "opset{to=13}",
}, Options{}, run)

// Refusal is a node that has no equivalent.
type Refusal struct {
	Graph, Node string
	Op          ir.OpID
	Why         string
	at          int // place among the nodes of the model
}

// Error is returned for a model that cannot be converted. The model was not changed.
type Error struct {
	To      int64
	Refused []Refusal
}

func (e *Error) Error() string {
	var b strings.Builder
	nodes := "nodes have"
	if len(e.Refused) == 1 {
		nodes = "node has"
	}
	fmt.Fprintf(&b, "%d %s no equivalent in opset %d: ", len(e.Refused), nodes, e.To)
	for i, r := range e.Refused {
		if i > 0 {
			b.WriteString("; ")
		}
		if r.Graph != "" {
			b.WriteString(r.Graph + ": ")
		}
		b.WriteString(r.Node + ": " + r.Why)
	}
	return b.String()
}

func run(c *passes.Context, m *ir.Model, o Options) error {
	to := int64(o.To)
	if err := known(m); err != nil {
		return err
	}
	if !differs(m, to) {
		return nil
	}
	for n := range m.Nodes() {
		if !c.Selected(n) {
			return fmt.Errorf("only= and except= do not apply: %s cannot stay in another opset than the rest", n)
		}
	}
	// The rehearsal is on a copy, so that a model that cannot be converted stays untouched.
	trial := m.Clone()
	recasts := map[recast]*ir.Tensor{}
	r := newConversion(trial, to, recasts, c.Err)
	r.run()
	if o.Exact && !r.exact && len(r.refused) == 0 {
		return fmt.Errorf("an exact conversion to opset %d is not possible: %s", to, strings.Join(r.inexact, "; "))
	}
	if c.Err() != nil {
		return nil
	}
	if len(r.refused) > 0 {
		return &Error{to, r.refused}
	}
	rule := ruleConvert
	if !r.exact {
		rule = ruleExpand
	}
	var done *conversion
	c.Rewrite(rule, nil, nil, func() {
		done = newConversion(m, to, recasts, c.Err)
		done.run()
		lowerIR(m, to)
	})
	if done != nil {
		done.settleOrigins(rule)
	}
	return nil
}

// known reports an operator set that the schemas do not know.
func known(m *ir.Model) error {
	check := func(who string, v int64) error {
		if v > schema.Newest("") {
			return fmt.Errorf("%s imports opset %d, which is newer than %d, the newest known here", who, v, schema.Newest(""))
		}
		return nil
	}
	for _, f := range m.Functions {
		if err := check("function "+f.ID().String(), lookup(f)); err != nil {
			return err
		}
	}
	return check("the model", m.Opset(""))
}

// lookup is the version of the default domain that f imports, 0 if it does not.
func lookup(f *ir.Function) int64 { return f.Graph.Opset("") }

// differs reports whether the model or a function imports another version.
func differs(m *ir.Model, to int64) bool {
	for _, f := range m.Functions {
		if v := lookup(f); v != 0 && v != to {
			return true
		}
	}
	return m.Opset("") != 0 && m.Opset("") != to
}
