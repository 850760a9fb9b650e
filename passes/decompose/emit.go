package decompose

import (
	"fmt"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// part is a node that a layer becomes.
type part struct {
	op     string
	suffix string // of the names
	shape  []int64
	groups int
	data   []float64
	window []bool // which spatial dimensions keep the strides, dilations and pads of the layer; nil: none
	stays  bool   // an operator other than Conv keeps all attributes
}

// parts are the nodes for the factors, the last of which gets the bias.
func (l *layer) parts(fs []*factors) []part {
	g, s, r := l.groups, l.size, fs[0].rank
	if !l.node.Is("Conv") {
		return l.productParts(fs)
	}
	d := len(l.shape) - 2
	ones, all, none := make([]int64, d), make([]bool, d), make([]bool, d)
	for i := range d {
		ones[i], all[i] = 1, true
	}
	shape := func(o, i int, window []int64) []int64 { return append([]int64{int64(o), int64(i)}, window...) }
	window := l.shape[2:]
	first := func(r, n int, k int) []float64 { // [g*r, n] of factor k, n by r
		v := make([]float64, g*r*n)
		for q, f := range fs {
			for i := range n {
				for j := range r {
					v[(q*r+j)*n+i] = f.f[k].Data[i*r+j]
				}
			}
		}
		return v
	}
	last := func(r, taps, k int) []float64 { // [g*o, r, taps] of factor k, r by (taps, o)
		v := make([]float64, g*s.o*r*taps)
		for q, f := range fs {
			for j := range r {
				for t := range taps {
					for o := range s.o {
						v[((q*s.o+o)*r+j)*taps+t] = f.f[k].Data[(j*taps+t)*s.o+o]
					}
				}
			}
		}
		return v
	}
	switch fs[0].kind {
	case svd:
		return []part{
			{"Conv", "reduce", shape(g*r.r, s.c, window), g, first(r.r, s.columns(), 0), all, false},
			{"Conv", "restore", shape(g*s.o, r.r, ones), g, last(r.r, 1, 1), none, false},
		}
	case spatialSVD:
		return []part{
			{"Conv", "vertical", shape(g*r.r, s.c, []int64{int64(s.h), 1}), g, first(r.r, s.c*s.h, 0), []bool{true, false}, false},
			{"Conv", "horizontal", shape(g*s.o, r.r, []int64{1, int64(s.w)}), g, last(r.r, s.w, 1), []bool{false, true}, false},
		}
	case tucker:
		taps := s.h * s.w
		core := make([]float64, g*r.p*r.r*taps)
		for q, f := range fs {
			for a := range r.r {
				for t := range taps {
					for b := range r.p {
						core[((q*r.p+b)*r.r+a)*taps+t] = f.f[1].Data[(a*taps+t)*r.p+b]
					}
				}
			}
		}
		return []part{
			{"Conv", "reduce", shape(g*r.r, s.c, ones), g, first(r.r, s.c, 0), none, false},
			{"Conv", "core", shape(g*r.p, r.r, window), g, core, all, false},
			{"Conv", "restore", shape(g*s.o, r.p, ones), g, last(r.p, 1, 2), none, false},
		}
	}
	restore := make([]float64, 0, g*s.o*r.r)
	for _, f := range fs {
		restore = append(restore, f.f[3].Data...)
	}
	return []part{
		{"Conv", "reduce", shape(g*r.r, s.c, ones), g, first(r.r, s.c, 0), none, false},
		{"Conv", "vertical", shape(g*r.r, 1, []int64{int64(s.h), 1}), g * r.r, first(r.r, s.h, 1), []bool{true, false}, false},
		{"Conv", "horizontal", shape(g*r.r, 1, []int64{1, int64(s.w)}), g * r.r, first(r.r, s.w, 2), []bool{false, true}, false},
		{"Conv", "restore", shape(g*s.o, r.r, ones), g, restore, none, false},
	}
}

// productParts are those of Gemm, MatMul and ConvTranspose.
func (l *layer) productParts(fs []*factors) []part {
	f, s, r := fs[0], l.size, fs[0].rank.r
	if l.node.Is("ConvTranspose") {
		ones := make([]int64, len(l.shape)-2)
		for i := range ones {
			ones[i] = 1
		}
		return []part{
			{"Conv", "reduce", append([]int64{int64(r), int64(s.c)}, ones...), 1, f.f[0].T().Data, make([]bool, len(ones)), false},
			{"ConvTranspose", "restore", append([]int64{int64(r)}, l.shape[1:]...), 1, f.f[1].Data, nil, true},
		}
	}
	op := l.node.Op().Type
	return []part{
		{"MatMul", "reduce", []int64{int64(s.c), int64(r)}, 1, f.f[0].Data, nil, false},
		{op, "restore", []int64{int64(r), int64(s.o)}, 1, f.f[1].Data, nil, op == "Gemm"},
	}
}

// tensors are the weights of the parts in the type of the layer's.
func (l *layer) tensors(ps []part) ([]*ir.Tensor, error) {
	var r []*ir.Tensor
	for _, p := range ps {
		t, err := weights.Round(l.form.Operand(1).Const().DType(), p.shape, p.data)
		if err != nil {
			return nil, fmt.Errorf("its factors: %w", err)
		}
		r = append(r, t)
	}
	return r, nil
}

// place makes the parts in the layer's place.
func (l *layer) place(fs []*factors, ts []*ir.Tensor) {
	n, g := l.node, l.node.Graph()
	x := n.Operand(0)
	ps := l.parts(fs)
	for i, p := range ps {
		in := []*ir.Value{x, g.NamedConst(named(n.Operand(1).Name(), p.suffix), ts[i])}
		var attrs []*ir.Attr
		end := i == len(ps)-1
		switch {
		case p.stays:
			for _, a := range n.Attrs() {
				if p.op != "Gemm" || a.Name == "beta" || a.Name == "broadcast" { // alpha and transB went into the weights
					attrs = append(attrs, a)
				}
			}
		case p.op == "Conv":
			attrs = l.convAttrs(p)
		}
		if end && n.NumOperands() > 2 && n.Operand(2) != nil {
			in = append(in, n.Operand(2))
		}
		m := g.New(n, ir.Op(p.op), in, attrs...)
		l.made = append(l.made, m)
		m.SetName(named(n.Name(), p.suffix))
		x = m.Result(0)
	}
	old := n.Result(0)
	name := old.Name()
	t := old.Type()
	old.ReplaceUses(x)
	g.Erase(n)
	x.SetName(name)
	if t != nil {
		x.SetType(t)
	}
}

func named(name, suffix string) string {
	if name == "" {
		return ""
	}
	return name + "_" + suffix
}

// convAttrs are the attributes of a Conv that has the layer's in some of the spatial dimensions.
func (l *layer) convAttrs(p part) []*ir.Attr {
	n, d := l.node, len(p.shape)-2
	some := func(name string, other int64) []int64 {
		v := make([]int64, d)
		given := n.Ints(name)
		for i := range v {
			v[i] = other
			if p.window[i] && i < len(given) {
				v[i] = given[i]
			}
		}
		return v
	}
	var attrs []*ir.Attr
	add := func(name string, v []int64, def int64) {
		for _, x := range v {
			if x != def {
				attrs = append(attrs, ir.IntsAttr(name, v))
				return
			}
		}
	}
	attrs = append(attrs, ir.IntsAttr("kernel_shape", p.shape[2:]))
	if p.groups > 1 {
		attrs = append(attrs, ir.IntAttr("group", int64(p.groups)))
	}
	add("strides", some("strides", 1), 1)
	add("dilations", some("dilations", 1), 1)
	any := false
	for _, w := range p.window {
		any = any || w
	}
	if auto := n.Str("auto_pad", "NOTSET"); auto != "NOTSET" && any {
		return append(attrs, ir.StringAttr("auto_pad", auto))
	}
	pads := make([]int64, 2*d)
	given := n.Ints("pads")
	for i := range pads {
		if p.window[i%d] && i < len(given) {
			pads[i] = given[i]
		}
	}
	add("pads", pads, 0)
	return attrs
}

// change gives the nodes made before other factors, and the last one the bias that goes with them.
func (l *layer) change(fs []*factors, bias []matrix) error {
	ps := l.parts(fs)
	ts, err := l.tensors(ps)
	if err != nil {
		return err
	}
	g := l.made[0].Graph()
	for i, m := range l.made[:len(l.made)-1] {
		old := m.Operand(1)
		m.SetOperand(1, g.NamedConst(old.Name(), ts[i]))
		measured.Drop(old)
	}
	end := l.made[len(l.made)-1]
	old := end.Operand(1)
	end.SetOperand(1, g.NamedConst(old.Name(), ts[len(ts)-1]))
	measured.Drop(old)
	lin, err := measured.LinearOf(end)
	if err != nil {
		return err
	}
	w, err := lin.Weights()
	if err != nil {
		return err
	}
	for q, m := range bias {
		copy(w[q].Row(w[q].Rows-1), m.Row(m.Rows-1))
	}
	return lin.SetWeights(w)
}

// whole is what the nodes made compute as one layer, with the bias that the last of them has.
func (l *layer) whole() ([]matrix, error) {
	lin, err := measured.LinearOf(l.made[len(l.made)-1])
	if err != nil {
		return nil, err
	}
	last, err := lin.Weights()
	if err != nil {
		return nil, err
	}
	r := make([]matrix, len(l.now))
	for g, f := range l.now {
		w := f.expand()
		r[g] = linalg.New[float64](w.Rows+1, w.Cols)
		copy(r[g].Data, w.Data)
	}
	// The last node may have groups of other sizes than the layer: biases go by channel.
	at := 0
	for _, m := range last {
		for _, b := range m.Row(m.Rows - 1) {
			g := r[at/r[0].Cols]
			g.Row(g.Rows - 1)[at%g.Cols] = b
			at++
		}
	}
	return r, nil
}
