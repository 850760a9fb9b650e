package c

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// activation is a function of one number.
type activation struct {
	kind string
	a, b float32
	low  bool // of clip: whether there is a bound below, above
	high bool
}

// apply writes c = f(c) over vectors.
func (a *activation) apply(t *text, c string, lanes int) {
	v := fmt.Sprintf("V%d_", lanes)
	set := func(x float32) string { return fmt.Sprintf("%sSET(%s)", v, literalOf(x)) }
	switch a.kind {
	case "relu":
		t.line("%s = %sMAX(%sZERO(), %s);", c, v, v, c)
	case "clip":
		if a.low {
			t.line("%s = %sMAX(%s, %s);", c, v, set(a.a), c)
		}
		if a.high {
			t.line("%s = %sMIN(%s, %s);", c, v, set(a.b), c)
		}
	case "leaky":
		t.line("%s = %sADD(%sMAX(%sZERO(), %s), %sMUL(%s, %sMIN(%sZERO(), %s)));", c, v, v, v, c, v, set(a.a), v, v, c)
	case "hardsigmoid":
		t.line("%s = %sMIN(%s, %sMAX(%sZERO(), %sFMA(%s, %s, %s)));", c, v, set(1), v, v, v, set(a.a), c, set(a.b))
	case "hardswish":
		t.line("%s = %sMUL(%s, %sMIN(%s, %sMAX(%sZERO(), %sFMA(%s, %s, %s))));", c, v, c, v, set(1), v, v, v, set(1.0/6), c, set(0.5))
	case "sigmoid":
		t.line("%s = v%d_sigmoid(%s);", c, lanes, c)
	case "silu":
		t.line("%s = %sMUL(%s, v%d_sigmoid(%s));", c, v, c, lanes, c)
	}
}

// literalOf is x in C.
func literalOf(x float32) string {
	switch s := fmt.Sprintf("%.9g", x); s {
	case "+Inf":
		return "HUGE_VALF"
	case "-Inf":
		return "-HUGE_VALF"
	case "NaN":
		return "(0.0f * HUGE_VALF)"
	default:
		for _, c := range s {
			if c == '.' || c == 'e' {
				return s + "f"
			}
		}
		return s + ".0f"
	}
}

// activationOf reads a node that is an activation which tiles can apply.
func (b *builder) activationOf(n *ir.Node) (*activation, error) {
	if n.Op().Domain != "" {
		return nil, errors.New("no activation")
	}
	switch n.Op().Type {
	case "Relu":
		return &activation{kind: "relu"}, nil
	case "LeakyRelu":
		return &activation{kind: "leaky", a: n.Float("alpha", 0.01)}, nil
	case "HardSigmoid":
		return &activation{kind: "hardsigmoid", a: n.Float("alpha", 0.2), b: n.Float("beta", 0.5)}, nil
	case "HardSwish":
		return &activation{kind: "hardswish"}, nil
	case "Sigmoid":
		return &activation{kind: "sigmoid"}, nil
	case "Clip":
		a := &activation{kind: "clip"}
		for i, p := range []*float32{&a.a, &a.b} {
			v := n.Operand(i + 1)
			if v == nil {
				continue
			}
			f, err := b.floats(v)
			if err != nil || len(f) != 1 {
				return nil, errors.New("a bound that is no constant")
			}
			*p = f[0]
			if i == 0 {
				a.low = true
			} else {
				a.high = true
			}
		}
		return a, nil
	}
	return nil, errors.New("no activation")
}

// fused is what follows a convolution or product and becomes part of it.
type fused struct {
	ops  []fusedOp
	last *ir.Value
}

type fusedOp struct {
	act    *activation
	add    *ir.Value
	nodes  []*ir.Node
	result *ir.Value
}

// follow collects what follows v as chain does, as far as the schedule wants it, and takes the nodes. What is v computed by is for the layer's
// key.
func (b *builder) follow(v *ir.Value, what string) fused {
	f := b.chain(v)
	if i := slices.IndexFunc(f.ops, func(op fusedOp) bool { return op.add != nil }); i >= 0 {
		values := []*ir.Value{v}
		for _, op := range f.ops {
			values = append(values, op.result)
		}
		s := b.site("residual "+what+" "+f.describe(), true, values, []Choice{{"fuse": 1}, {"fuse": 0}}, nil)
		if s.pick(0, "fuse", 1) == 0 {
			f.ops, f.last = f.ops[:i], values[i]
		}
	}
	for _, op := range f.ops {
		for _, n := range op.nodes {
			b.done[n] = true
		}
	}
	return f
}

// chain is what follows v as long as nothing else reads what lies between: activations, and additions of tensors that are there
// already, at most two.
func (b *builder) chain(v *ir.Value) fused {
	f := fused{last: v}
	adds := 0
	for {
		v := f.last
		if v.IsOutput() {
			return f
		}
		use, ok := v.OnlyUse()
		if !ok {
			if mul, sig := b.silu(v); mul != nil {
				f.ops = append(f.ops, fusedOp{act: &activation{kind: "silu"}, nodes: []*ir.Node{mul, sig}, result: mul.Result(0)})
				f.last = mul.Result(0)
				continue
			}
			return f
		}
		n := use.Node
		if n.IsReturn() || n.Graph() != v.Graph() || b.done[n] {
			return f
		}
		op := fusedOp{nodes: []*ir.Node{n}, result: n.Result(0)}
		if n.Is("Add") && adds < 2 {
			w := n.Operand(1 - use.Index)
			if b.failed[w] || b.places[w] == nil && b.lazy[w] == nil || b.constant(w) != nil || !equal(b.shape(w), b.shape(v)) || !equal(b.shape(n.Result(0)), b.shape(v)) || b.typ(w) != float {
				return f
			}
			adds++
			op.add = w
		} else {
			a, err := b.activationOf(n)
			if err != nil || use.Index != 0 {
				return f
			}
			op.act = a
		}
		f.ops = append(f.ops, op)
		f.last = n.Result(0)
	}
}

// silu is the multiplication of v * sigmoid(v), and the sigmoid, if that is all that reads v.
func (b *builder) silu(v *ir.Value) (mul, sig *ir.Node) {
	n := 0
	for u := range v.Uses() {
		n++
		switch {
		case u.Node.IsReturn() || u.Node.Graph() != v.Graph():
			return nil, nil
		case u.Node.Is("Sigmoid"):
			sig = u.Node
		case u.Node.Is("Mul"):
			mul = u.Node
		}
	}
	if n != 2 || mul == nil || sig == nil || sig.Result(0).IsOutput() || v.IsOutput() {
		return nil, nil
	}
	s := sig.Result(0)
	if use, ok := s.OnlyUse(); !ok || use.Node != mul || !(mul.Operand(0) == s && mul.Operand(1) == v || mul.Operand(0) == v && mul.Operand(1) == s) {
		return nil, nil
	}
	return mul, sig
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
