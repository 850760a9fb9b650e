// Package slow finds what runtimes run slower than they could, in terms that several of them share.
package slow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/targets"
)

// Report takes findings.
type Report func(targets.Finding)

// Dynamic reports inputs with sizes that are open, each with the pass that states them.
func Dynamic(m *ir.Model, why string, report Report) {
	for _, s := range m.Main.Inputs() {
		t := s.Type()
		if s.Value().IsInitializer() || !t.IsTensor() {
			continue
		}
		if t.Shape == nil {
			report(targets.Finding{Kind: targets.Slow, Rule: "dynamic-size", Node: s.Name(), Op: "input", Count: 1, Why: "its shape is not known; " + why})
			continue
		}
		open, mend := false, "set-shape"
		dims := make([]string, len(t.Shape))
		for i, d := range t.Shape {
			dims[i] = "1"
			if d.IsStatic() {
				dims[i] = fmt.Sprint(d.Size)
			} else {
				open = true
			}
		}
		if slices.IndexFunc(t.Shape[min(1, len(t.Shape)):], func(d ir.Dim) bool { return !d.IsStatic() }) < 0 { // the batch only
			mend += "{" + option(s.Name()) + "=[" + strings.Join(dims, ",") + "]}"
		}
		if open {
			report(targets.Finding{
				Kind: targets.Slow, Rule: "dynamic-size", Node: s.Name(), Op: "input", Count: 1, Why: fmt.Sprintf("its shape is %v; %s", t.Shape, why),
				Mend: mend,
			})
		}
	}
}

// option is a name as the key of an option, quoted where it is no plain word.
func option(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.", r))
	})
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// Integers says which operators a runtime has on quantized tensors.
type Integers struct {
	Ops      []string // between DequantizeLinear and QuantizeLinear
	Float    []string // those of Ops whose result may stay float
	Profile  string   // of quantize, which places the quantizers as the runtime wants them
	Activate []string // operators that may follow one of Ops before the quantizer
}

// Report reports nodes that read quantized activations and compute in float, and quantizations of a value that was only just dequantized.
func (k *Integers) Report(m *ir.Model, report Report) {
	var without, unquantized, again []*ir.Node
	for n := range m.Nodes() {
		if n.Op().Domain != "" || n.Is("QuantizeLinear") {
			if n.Is("QuantizeLinear") && fromIntegers(n.Operand(0)) {
				again = append(again, n)
			}
			continue
		}
		if n.Is("DequantizeLinear") || !slices.ContainsFunc(n.Operands(), fromIntegers) {
			continue
		}
		switch {
		case !slices.Contains(k.Ops, n.Op().Type):
			if !slices.Contains(k.Activate, n.Op().Type) {
				without = append(without, n)
			}
		case !slices.Contains(k.Float, n.Op().Type) && !k.quantizes(n):
			unquantized = append(unquantized, n)
		}
	}
	tell := func(nodes []*ir.Node, rule, why, mend string) {
		for _, l := range byOperator(nodes) {
			report(targets.Finding{Kind: targets.Slow, Rule: rule, Node: targets.NodeName(l[0]), Op: l[0].Op().String(), Count: len(l), Why: why, Mend: mend})
		}
	}
	tell(without, "float-in-int8", "it has no form on integers there, and runs in float between DequantizeLinear and QuantizeLinear", "dequantize,quantize{profile="+k.Profile+"}")
	tell(unquantized, "unfused-quantization", "its result is not quantized, so that it runs in float", "dequantize,quantize{profile="+k.Profile+"}")
	tell(again, "requantization", "numbers are dequantized and quantized again in other steps", "dequantize,quantize{profile="+k.Profile+"}")
}

// fromIntegers reports whether v was dequantized, and is no constant.
func fromIntegers(v *ir.Value) bool {
	if v == nil || v.Node() == nil || !v.Node().Is("DequantizeLinear") || v.Node().Op().Domain != "" {
		return false
	}
	return v.Node().Operand(0).Const() == nil
}

// quantizes reports whether every use of the result is a quantizer, behind an activation perhaps.
func (k *Integers) quantizes(n *ir.Node) bool {
	v := n.Result(0)
	if v == nil || v.NumUses() == 0 {
		return false
	}
	if v.NumUses() == 1 {
		for u := range v.Uses() {
			if !u.Node.IsReturn() && slices.Contains(k.Activate, u.Node.Op().Type) && u.Node.NumResults() > 0 && u.Node.Result(0) != nil {
				v = u.Node.Result(0)
			}
		}
	}
	for u := range v.Uses() {
		if u.Node.IsReturn() || !u.Node.Is("QuantizeLinear") {
			return false
		}
	}
	return v.NumUses() > 0
}

// Layout reports Transposes of computed values of four axes and more.
func Layout(m *ir.Model, report Report) {
	var l []*ir.Node
	for n := range m.Nodes() {
		if n.Is("Transpose") && n.Op().Domain == "" && n.Operand(0) != nil && n.Operand(0).Const() == nil && len(n.Operand(0).Type().TensorShape()) >= 4 {
			l = append(l, n)
		}
	}
	if len(l) > 0 {
		report(targets.Finding{
			Kind: targets.Slow, Rule: "layout", Node: targets.NodeName(l[0]), Op: "Transpose", Count: len(l),
			Why: "data are moved into another order of axes", Mend: Relayout(m),
		})
	}
}

// Relayout is the pipeline that takes Transposes away which stand at inputs and outputs: callers give and get the other order. "" if there are
// none; those within are as few as the passes know.
func Relayout(m *ir.Model) string {
	var l []string
	list := func(perm []int64) string { return strings.ReplaceAll(fmt.Sprint(perm), " ", ",") }
	for _, s := range m.Main.Inputs() {
		var perm []int64
		for u := range s.Value().Uses() {
			p := u.Node.Ints("perm")
			if u.Node.IsReturn() || !u.Node.Is("Transpose") || p == nil || perm != nil && !slices.Equal(p, perm) {
				perm = nil
				break
			}
			perm = p
		}
		if perm != nil {
			l = append(l, option(s.Name())+"="+list(perm))
		}
	}
	for _, s := range m.Main.Outputs() {
		n := s.Value().Node()
		if n != nil && n.Is("Transpose") && n.Ints("perm") != nil && !n.Operand(0).IsInput() {
			l = append(l, option(s.Name())+"="+list(ir.InversePerm(n.Ints("perm"))))
		}
	}
	if l == nil {
		return ""
	}
	return "relayout{" + strings.Join(l, " ") + "},simplify"
}

// Unfused reports a kind of nodes that fold into the ones before them: all operands of both but the data are constants, and nothing else reads
// what is between.
func Unfused(m *ir.Model, op, behind, mend string, report Report) {
	var l []*ir.Node
	for n := range m.Nodes() {
		if v := n.Operand(0); n.Is(op) && v != nil && v.Node() != nil && v.Node().Is(behind) && v.NumUses() == 1 && constants(n) && constants(v.Node()) {
			l = append(l, n)
		}
	}
	if len(l) > 0 {
		report(targets.Finding{
			Kind: targets.Slow, Rule: "unfused", Node: targets.NodeName(l[0]), Op: op, Count: len(l),
			Why: "it is not folded into the " + behind + " before it", Mend: mend,
		})
	}
}

// constants reports whether all operands but the first are.
func constants(n *ir.Node) bool {
	return !slices.ContainsFunc(n.Operands()[1:], func(v *ir.Value) bool { return v != nil && v.Const() == nil })
}

// byOperator groups nodes, in the order of the first of each.
func byOperator(nodes []*ir.Node) [][]*ir.Node {
	var r [][]*ir.Node
	for _, n := range nodes {
		i := slices.IndexFunc(r, func(l []*ir.Node) bool { return l[0].Op() == n.Op() })
		if i < 0 {
			r = append(r, []*ir.Node{n})
		} else {
			r[i] = append(r[i], n)
		}
	}
	return r
}
