package onnxio

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/irversion"
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// imports are the operator sets that a model or a function is written with: its own, and the default domain if a node that only
// the notation needs is of that domain and nothing of the file is.
func (w *writer) imports(own []ir.Opset, graphs []*ir.Graph) []ir.Opset {
	if graphs[0].Opset("") != 0 {
		return own
	}
	for _, g := range graphs {
		if op := w.adds(g); op != "" {
			r := fmt.Sprintf("%s: the default domain is imported in version %d, which %s needs", g.Path(), w.opset(g), op)
			if !slices.Contains(w.done.Remarks, r) { // the message may be made twice
				w.done.Remarks = append(w.done.Remarks, r)
			}
			return append(append([]ir.Opset(nil), own...), ir.Opset{Version: w.opset(g)})
		}
	}
	return own
}

// adds is the operator of a node that the notation needs in g and that the file does not have, "" if there is none.
func (w *writer) adds(g *ir.Graph) string {
	for _, i := range w.names.Identities(g) {
		if !hadIdentity(i.Slot) {
			return "Identity"
		}
	}
	for _, v := range g.Consts() {
		if w.asNode(g, v) {
			return "Constant"
		}
	}
	return ""
}

// asNode reports whether a constant is written as a Constant node: in functions, which have no initializers, and below IR version
// 4 in subgraphs, whose initializers would have to be inputs, too.
func (w *writer) asNode(g *ir.Graph, v *ir.Value) bool {
	e := extraOf[valueExtra](v.Extra)
	return g.IsBody() || g.Outer() != nil && w.irVersion < 4 && (e == nil || e.init == nil)
}

// hadIdentity reports whether the file had an Identity behind output s.
func hadIdentity(s *ir.Slot) bool {
	k, ok := s.Extra.(keep.Identity)
	if !ok {
		return false
	}
	_, _, _, had := k.Identity()
	return had
}

// opset is the version of the default domain that applies in g as it is written: the one that is imported, or for a function the
// model's, or the first that came with the IR version.
func (w *writer) opset(g *ir.Graph) int64 {
	if v := g.Opset(""); v != 0 {
		return v
	}
	if v := w.m.Opset(""); v != 0 {
		return v
	}
	return irversion.Opset(w.irVersion)
}
