package passtest

import (
	"fmt"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// taps bounds how many values of a case are looked at by tapped.
const taps = 24

// tapped runs the pipeline on variants of the model in which one more value of the main graph is a graph output. A pass that
// takes a value to have no other use than the one it knows of changes that output, or loses it. The numbers are held against
// the promise as always.
func (k *testCase) tapped(t *testing.T, pipe *passes.Pipeline, p *passes.Pass, in *ir.Model) {
	t.Helper()
	known := infer.Model(in)
	count := 0
	for n := range in.Main.Nodes() {
		for _, v := range n.Results() {
			if v == nil || v.IsOutput() || !known.Type(v).IsTensor() || count == taps {
				continue
			}
			count++
			m, copies := in.CloneMap()
			m.Main.AddOutput("passtest_tap", copies[v], known.Type(v))
			a := k.execute(t, pipe, m.Clone(), -1)
			k.numbers(t, p, m, a, fmt.Sprintf("with %q as an output, too: ", v.Name()), true)
		}
	}
}
