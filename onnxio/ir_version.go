package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/irversion"
	"github.com/onnxopt/onnxopt/ir"
)

// raise finds the IR version that what was made since reading needs, as the notes of onnx.proto's enum Version state it. What the
// file has itself, it has in the file's version.
func (w *writer) raise() {
	r := raiser{need: w.m.IRVersion}
	for _, f := range w.m.Functions {
		r.function(f)
	}
	for _, g := range w.m.Graphs() {
		r.graph(g)
	}
	if w.irVersion = r.need; r.need > w.m.IRVersion {
		w.done.Remarks = append(w.done.Remarks, fmt.Sprintf("ir_version rises from %d to %d, which %s needs", w.m.IRVersion, r.need, r.why))
	}
}

// raiser collects what needs a newer IR version.
type raiser struct {
	need int64
	why  string
}

func (r *raiser) want(v int64, what string) {
	if v > r.need {
		r.need, r.why = v, what
	}
}

func (r *raiser) function(f *ir.Function) {
	if f.Extra != nil {
		return
	}
	r.want(8, "a function")
	if len(f.Defaults) > 0 {
		r.want(9, "a default of a function's attribute")
	}
	if f.Overload != "" {
		r.want(10, "an overloaded function")
	}
}

func (r *raiser) graph(g *ir.Graph) {
	for _, slots := range [][]*ir.Slot{g.Inputs(), g.Outputs()} {
		for _, s := range slots {
			if x := extraOf[slotExtra](s.Extra); x == nil || x.typ != s.Type() {
				r.typ(s.Type())
			}
		}
	}
	for _, s := range g.Inputs() {
		r.tensor(s.Value().Default())
	}
	for _, v := range g.Consts() {
		r.tensor(v.Const())
	}
	for n := range g.Nodes() {
		for _, a := range n.Attrs() {
			if a.Extra == nil {
				for t := range tensorsOf(a) {
					r.tensor(t)
				}
			}
		}
		if n.Extra != nil {
			continue
		}
		for _, v := range n.Results() {
			if v != nil {
				r.typ(v.Type())
			}
		}
	}
}

func (r *raiser) tensor(t *ir.Tensor) {
	if t == nil || recordOf(t) != nil {
		return
	}
	if s := sparseOf(t); s != nil {
		if _, read := t.Payload().(sparsePayload); read {
			return
		}
		r.want(6, "a sparse initializer")
	}
	r.elem(t.DType())
}

func (r *raiser) typ(t *ir.Type) {
	for ; t != nil; t = t.Of {
		switch t.Kind {
		case ir.KindOptional, ir.KindSparse:
			r.want(8, "type "+t.String())
		}
		r.elem(t.Elem)
	}
}

func (r *raiser) elem(d ir.DType) { r.want(irversion.Elem(d), "type "+d.String()) }
