// Package glue answers for graph outputs when a pass lets one value take another's place. ONNX names an output after the value
// it returns, so the writer has to put an Identity where the name cannot be the value's own. Passes ask here before they make
// that necessary.
package glue

import "github.com/onnxopt/onnxopt/ir"

// Cost is by how many the Identity nodes that have to be written grow when every use of from moves to "to".
func Cost(from, to *ir.Value) int {
	if !from.IsOutput() {
		return 0
	}
	f, t := outputs(from), outputs(to)
	both := map[*ir.Graph]names{}
	for g, s := range t {
		both[g] = s.union(f[g])
	}
	for g, s := range f {
		both[g] = s.union(t[g])
	}
	return identities(to, both) - identities(to, t) - identities(from, f)
}

// Refuse says why the uses of from must not move to "to" although both are equal, "" where nothing is against it. spare is
// the number of nodes that the move makes superfluous: so many Identity nodes may take their place. The reason completes
// "because".
func Refuse(from, to *ir.Value, spare int) string {
	cost := Cost(from, to)
	switch {
	case cost <= 0:
		return ""
	case cost > spare:
		return "an output would need an Identity node of its own"
	case !HasIdentity(from, to):
		return "an output would need an Identity node, which this opset does not have for values of its type"
	}
	return ""
}

// HasIdentity reports whether Identity takes values of the type of these, which are of one type, in the opset that is in
// force: tensors always, sequences from version 14 on, optionals from 16.
func HasIdentity(values ...*ir.Value) bool {
	opset := int64(0)
	for _, v := range values {
		opset = v.Graph().Opset("")
		t := v.Type()
		switch {
		case t == nil:
		case t.Kind == ir.KindTensor:
			return true
		case t.Kind == ir.KindSequence:
			return opset >= 14
		}
	}
	return opset >= 16
}

// names is a set of the names of output slots.
type names map[string]bool

func (s names) union(t names) names {
	r := names{}
	for k := range s {
		r[k] = true
	}
	for k := range t {
		r[k] = true
	}
	return r
}

// outputs lists, for each graph that returns v, the names under which it does.
func outputs(v *ir.Value) map[*ir.Graph]names {
	r := map[*ir.Graph]names{}
	for u := range v.Uses() {
		if !u.Node.IsReturn() {
			continue
		}
		g := u.Node.Graph()
		if r[g] == nil {
			r[g] = names{}
		}
		r[g][g.Outputs()[u.Index].Name()] = true
	}
	return r
}

// identities is the number of Identity nodes that the writer makes for outputs of these names that return v. One name can
// be v's own, if v is of that graph and its name is free: a result's is, that of an input or constant only if it has none.
func identities(v *ir.Value, outs map[*ir.Graph]names) int {
	n := 0
	for g, s := range outs {
		n += len(s)
		if v.Graph() == g && len(s) > 0 && (v.Node() != nil || v.Name() == "" || s[v.Name()]) {
			n--
		}
	}
	return n
}

// KeepType gives "to" the type recorded of from, whose place it takes, where nothing is recorded of it itself.
func KeepType(from, to *ir.Value) {
	if to.Type() == nil && from.Type() != nil && !to.IsInput() {
		to.SetType(from.Type())
	}
}

// FreeName takes the name of a constant away if it is an output, so that it can take the output's name. It is meant for
// constants that the rewrite has just made.
func FreeName(v *ir.Value) {
	if v.IsInitializer() && v.Name() != "" && v.IsOutput() {
		v.SetName("")
	}
}
