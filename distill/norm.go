package distill

import (
	"context"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// normMomentum is the share that the running statistics keep in a step.
const normMomentum = .9

// addStatistics makes parameters of the means and variances of batch normalizations that nothing else shares.
func (t *trainee) addStatistics() error {
	for _, n := range t.m.Main.NodeList() {
		if !n.Is("BatchNormalization") || n.Int("training_mode", 0) != 0 {
			continue
		}
		mean, variance := n.Operand(3), n.Operand(4)
		own := func(v *ir.Value) bool {
			return v != nil && v.IsInitializer() && v.Name() != "" && v.NumUses() == 1 && v.Const().DType() == ir.Float32
		}
		if !own(mean) || !own(variance) {
			continue
		}
		t.norms[mean.Name()] = true
		for _, v := range []*ir.Value{mean, variance} {
			w, err := read(v, statistic)
			if err != nil {
				return err
			}
			t.params = append(t.params, w)
		}
	}
	return nil
}

// trainNorms has the normalizations with these means see the batch, and gives out what the running statistics become.
func trainNorms(m *ir.Model, means map[string]bool) {
	for _, n := range m.Main.NodeList() {
		if !n.Is("BatchNormalization") || n.Operand(3) == nil || !means[n.Operand(3).Name()] || !n.Operand(3).IsInitializer() {
			continue
		}
		attrs := []*ir.Attr{ir.IntAttr("training_mode", 1), ir.FloatAttr("momentum", normMomentum)}
		if a := n.Attr("epsilon"); a != nil {
			attrs = append(attrs, a)
		}
		r := m.Main.NewN(n, ir.Op("BatchNormalization"), n.Operands(), 3, attrs...)
		for i := range 2 {
			m.Main.AddOutput(n.Operand(3+i).Name()+nextSuffix, r.Result(1+i), nil)
		}
		name := n.Result(0).Name()
		n.Result(0).SetName("")
		n.Result(0).ReplaceUses(r.Result(0))
		m.Main.Erase(n)
		r.Result(0).SetName(name)
	}
}

// fold is a normalization that was put behind a convolution for the time of the training.
type fold struct {
	weight, bias                 string // of the convolution; bias "" if it has none
	scale, shift, mean, variance string
	epsilon                      float64
}

// insertNorms puts a normalization behind each convolution that has none, which computes what the convolution did: its scales and shifts
// are the deviations and means of the results on the probe. The bias of such a convolution has no influence and is not trained.
func (t *trainee) insertNorms(ctx context.Context, probe []map[string]ir.Datum, skip map[*ir.Value]bool) error {
	var nodes []*ir.Node
	var taps []*ir.Value
	for _, n := range t.m.Main.NodeList() {
		own := func(v *ir.Value) bool {
			return v != nil && v.IsInitializer() && v.Name() != "" && v.NumUses() == 1 && v.Const().DType() == ir.Float32
		}
		if !n.Is("Conv") || !own(n.Operand(1)) || n.NumOperands() > 2 && n.Operand(2) != nil && !own(n.Operand(2)) {
			continue
		}
		if u, ok := n.Result(0).OnlyUse(); ok && u.Node.Is("BatchNormalization") {
			continue
		}
		nodes, taps = append(nodes, n), append(taps, n.Result(0))
	}
	if len(nodes) == 0 {
		return nil
	}
	type moments struct{ n, sum, squares []float64 }
	all := make([]moments, len(nodes))
	for i, n := range nodes {
		c := n.Operand(1).Const().Shape()[0]
		all[i] = moments{make([]float64, c), make([]float64, c), make([]float64, c)}
	}
	if err := t.o.probe(ctx, t.m, taps, probe, func(d []ir.Datum) error {
		for i, x := range d {
			v, err := ir.Elements[float32](x.(*ir.Tensor))
			if err != nil {
				return err
			}
			s := x.(*ir.Tensor).Shape()
			inner, c := int(ir.NumElements(s[2:])), int(s[1])
			for k := range int(s[0]) * c {
				a := &all[i]
				for _, e := range v[k*inner:][:inner] {
					a.sum[k%c] += float64(e)
					a.squares[k%c] += float64(e) * float64(e)
				}
				a.n[k%c] += float64(inner)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	const epsilon = 1e-3
	for i, n := range nodes {
		c := len(all[i].sum)
		mean, variance, scale := make([]float32, c), make([]float32, c), make([]float32, c)
		for k := range c {
			m := all[i].sum[k] / max(all[i].n[k], 1)
			v := max(all[i].squares[k]/max(all[i].n[k], 1)-m*m, 0)
			mean[k], variance[k], scale[k] = float32(m), float32(v), float32(math.Sqrt(v+epsilon))
		}
		f := &fold{weight: n.Operand(1).Name(), epsilon: float64(float32(epsilon))}
		if n.NumOperands() > 2 && n.Operand(2) != nil {
			f.bias = n.Operand(2).Name()
			skip[n.Operand(2)] = true
		}
		constant := func(what string, v []float32, name *string) *ir.Value {
			*name = fresh(t.m, f.weight+".distill."+what)
			return t.m.Main.NamedConst(*name, ir.TensorOf(v))
		}
		old := n.Result(0)
		b := t.m.Main.New(n, ir.Op("BatchNormalization"), []*ir.Value{old, constant("scale", scale, &f.scale), constant("shift", mean, &f.shift),
			constant("mean", mean, &f.mean), constant("variance", variance, &f.variance)}, ir.FloatAttr("epsilon", epsilon))
		name := old.Name()
		old.ReplaceUsesIf(b.Result(0), func(u ir.Use) bool { return u.Node != b })
		old.SetName("")
		b.Result(0).SetName(name)
		t.folds = append(t.folds, f)
	}
	return nil
}

// fold puts the normalization into the convolution of the student: with f = scale / √(variance + ε) the kernel becomes f · kernel and the bias
// f · (bias − mean) + shift.
func (f *fold) fold(m *ir.Model, get map[string]*param, done map[string]bool) error {
	w := named(m, f.weight)
	n := w.Use(0).Node
	k, scale, shift, mean, variance := get[f.weight], get[f.scale].result(), get[f.shift].result(), get[f.mean].result(), get[f.variance].result()
	kernel, bias := make([]float32, len(k.v)), make([]float32, len(scale))
	var old []float32
	if f.bias != "" {
		var err error
		if old, err = ir.Elements[float32](named(m, f.bias).Const()); err != nil {
			return err
		}
	}
	size := len(kernel) / len(scale)
	for c := range scale {
		by := float64(scale[c]) / math.Sqrt(float64(variance[c])+f.epsilon)
		for i, x := range k.result()[c*size:][:size] {
			kernel[c*size+i] = float32(float64(x) * by)
		}
		b := -float64(mean[c])
		if old != nil {
			b += float64(old[c])
		}
		bias[c] = float32(b*by + float64(shift[c]))
	}
	replace(m, w, ir.TensorOf(kernel, k.shape...))
	done[f.weight] = true
	if f.bias != "" {
		replace(m, named(m, f.bias), ir.TensorOf(bias))
		return nil
	}
	b := m.Main.NamedConst(fresh(m, f.weight+".bias"), ir.TensorOf(bias))
	if n.NumOperands() > 2 {
		n.SetOperand(2, b)
	} else {
		n.AddOperand(b)
	}
	return nil
}
