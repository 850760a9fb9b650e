// Package consts replaces constants.
package consts

import "github.com/onnxopt/onnxopt/ir"

// Replace makes t the tensor of v: an initializer, a default of an input, or the result of a Constant node. It keeps name, metadata and what
// training does with an initializer. The type and shape of t are those of v.
func Replace(v *ir.Value, t *ir.Tensor) {
	g := v.Graph()
	switch n := v.Node(); {
	case v.IsInput():
		v.SetDefault(t)
		return
	case n != nil:
		a := n.Attrs()[0]
		b := ir.TensorAttr("value", t.WithName(a.Tensor().Name(), a.Tensor().Meta()))
		b.Doc = a.Doc
		n.SetAttr(b)
		return
	}
	w := g.NamedConst(v.Name(), t)
	w.Meta, w.Extra = v.Meta, v.Extra
	v.ReplaceUses(w)
	for _, x := range g.Model().Training {
		for _, list := range [][]ir.Binding{x.InitBinding, x.UpdateBinding} {
			for i := range list {
				if list[i].Target == v {
					list[i].Target = w
				}
			}
		}
	}
	g.EraseConst(v)
}
