package c

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// expr is a computation on elements: a tensor's element, or a formula over others. It is computed where its value is needed, or as part of
// what reads it.
type expr struct {
	leaf    *ir.Value
	formula string // with %[1]s, %[2]s for the arguments, @ for the prefix
	args    []*expr
	typ     ctype
	size    int // operators in it
}

// values are those that e reads, in order, each once.
func (e *expr) values(list []*ir.Value) []*ir.Value {
	if e.leaf != nil {
		if !slices.Contains(list, e.leaf) {
			list = append(list, e.leaf)
		}
		return list
	}
	for _, a := range e.args {
		list = a.values(list)
	}
	return list
}

// maxExpr bounds the operators of one loop.
const maxExpr = 24

func formulas() map[string]string {
	return map[string]string{
		"Add": "(%[1]s + %[2]s)", "Sub": "(%[1]s - %[2]s)", "Mul": "(%[1]s * %[2]s)", "Div": "(%[1]s / %[2]s)",
		"Neg": "(-%[1]s)", "Identity": "%[1]s", "Not": "(uint8_t)!%[1]s",
		"And": "(uint8_t)(%[1]s & %[2]s)", "Or": "(uint8_t)(%[1]s | %[2]s)", "Xor": "(uint8_t)(%[1]s != %[2]s)",
		"Equal": "(uint8_t)(%[1]s == %[2]s)", "Less": "(uint8_t)(%[1]s < %[2]s)", "Greater": "(uint8_t)(%[1]s > %[2]s)",
		"LessOrEqual": "(uint8_t)(%[1]s <= %[2]s)", "GreaterOrEqual": "(uint8_t)(%[1]s >= %[2]s)", "Where": "(%[1]s ? %[2]s : %[3]s)",
	}
}

func floatFormulas() map[string]string {
	return map[string]string{
		"Relu": "@relu(%[1]s)", "Sigmoid": "@sigmoid(%[1]s)", "Tanh": "@tanh(%[1]s)", "Exp": "@exp(%[1]s)", "Log": "logf(%[1]s)", "Sqrt": "sqrtf(%[1]s)",
		"Abs": "fabsf(%[1]s)", "Reciprocal": "(1.0f / %[1]s)", "Erf": "@erf(%[1]s)", "Floor": "floorf(%[1]s)", "Ceil": "ceilf(%[1]s)", "Round": "rintf(%[1]s)",
		"Sin": "sinf(%[1]s)", "Cos": "cosf(%[1]s)", "HardSwish": "@hardswish(%[1]s)", "Softplus": "@softplus(%[1]s)", "Pow": "powf(%[1]s, %[2]s)", "Sign": "@sign(%[1]s)",
		"Max": "@max(%[1]s, %[2]s)", "Min": "@min(%[1]s, %[2]s)", "Mish": "(%[1]s * @tanh(@softplus(%[1]s)))", "Softsign": "(%[1]s / (1.0f + fabsf(%[1]s)))",
		"PRelu": "@prelu(%[1]s, %[2]s)", "IsNaN": "(uint8_t)(%[1]s != %[1]s)",
	}
}

// lowerElementwise joins an operator on elements with those that it reads, where nothing else reads them.
func lowerElementwise(b *builder, n *ir.Node) error {
	e, err := b.exprOf(n)
	if err != nil {
		return err
	}
	v := n.Result(0)
	if use, ok := v.OnlyUse(); ok && !v.IsOutput() && !use.Node.IsReturn() && use.Node.Graph() == v.Graph() && isElementwise(use.Node) && equal(b.shape(use.Node.Result(0)), b.shape(v)) && e.size < maxExpr && len(e.values(nil)) < 7 {
		b.lazy[v] = e
		return nil
	}
	b.materialize(v, e)
	return nil
}

func isElementwise(n *ir.Node) bool {
	switch n.Op().Type {
	case "Clip", "LeakyRelu", "HardSigmoid", "Gelu", "Cast", "Elu", "Sum", "Mean", "Dropout", "QuantizeLinear":
		return n.Op().Domain == ""
	}
	return n.Op().Domain == "" && (formulas()[n.Op().Type] != "" || floatFormulas()[n.Op().Type] != "")
}

// argument is v as part of an expression.
func (b *builder) argument(v *ir.Value) *expr {
	if e := b.lazy[v]; e != nil {
		delete(b.lazy, v)
		return e
	}
	if e := b.cheap[v]; e != nil && b.places[v] == nil {
		return e
	}
	return &expr{leaf: v, typ: b.typ(v)}
}

func (b *builder) exprOf(n *ir.Node) (*expr, error) {
	out := b.typ(n.Result(0))
	op := n.Op().Type
	in := ctype{}
	for _, v := range n.Operands() {
		if v != nil {
			in = b.typ(v)
		}
	}
	combine := func(formula string, args ...*expr) *expr {
		e := &expr{formula: formula, args: args, typ: out, size: 1}
		for _, a := range args {
			e.size += a.size
		}
		return e
	}
	var args []*expr
	for i := range n.NumOperands() {
		if v := n.Operand(i); v != nil && !(op == "Clip" && i > 0) && !(op == "Dropout" && i > 0) {
			args = append(args, b.argument(v))
		}
	}
	switch op {
	case "Cast":
		return b.cast(n, args[0], combine)
	case "Dropout":
		return args[0], nil
	case "Sum", "Mean", "Max", "Min":
		if op != "Sum" && op != "Mean" || out == float {
			break
		}
		return nil, fmt.Errorf("of %s", out.name)
	}
	if out == float {
		switch op {
		case "Sum", "Mean", "Max", "Min":
			f := map[string]string{"Sum": "(%[1]s + %[2]s)", "Mean": "(%[1]s + %[2]s)", "Max": "@max(%[1]s, %[2]s)", "Min": "@min(%[1]s, %[2]s)"}[op]
			e := args[0]
			for _, a := range args[1:] {
				e = combine(f, e, a)
			}
			if op == "Mean" {
				e = combine(fmt.Sprintf("(%%[1]s / %s)", literalOf(float32(len(args)))), e)
			}
			return e, nil
		case "Clip":
			a, err := b.activationOf(n)
			if err != nil {
				return nil, err
			}
			e := args[0]
			if a.low {
				e = combine("@max(%[1]s, "+literalOf(a.a)+")", e)
			}
			if a.high {
				e = combine("@min(%[1]s, "+literalOf(a.b)+")", e)
			}
			return e, nil
		case "LeakyRelu":
			return combine("@prelu(%[1]s, "+literalOf(n.Float("alpha", 0.01))+")", args...), nil
		case "HardSigmoid":
			return combine("@min(@max(%[1]s * "+literalOf(n.Float("alpha", 0.2))+" + "+literalOf(n.Float("beta", 0.5))+", 0.0f), 1.0f)", args...), nil
		case "Elu":
			return combine("@elu(%[1]s, "+literalOf(n.Float("alpha", 1))+")", args...), nil
		case "Gelu":
			if n.Str("approximate", "none") == "tanh" {
				return combine("@gelu_tanh(%[1]s)", args...), nil
			}
			return combine("@gelu(%[1]s)", args...), nil
		case "Pow":
			if f, err := b.floats(n.Operand(1)); err == nil && len(f) == 1 {
				switch f[0] {
				case 2:
					return combine("@square(%[1]s)", args[0]), nil
				case 3:
					return combine("@cube(%[1]s)", args[0]), nil
				case 0.5:
					return combine("powf(%[1]s, 0.5f)", args[0]), nil
				}
			}
			if b.typ(n.Operand(1)) != float {
				return nil, errors.New("an exponent that is no float")
			}
		}
		if f := floatFormulas()[op]; f != "" {
			return combine(f, args...), nil
		}
	}
	if op == "IsNaN" && in == float {
		return combine(floatFormulas()[op], args...), nil
	}
	f := formulas()[op]
	switch {
	case f == "":
		return nil, fmt.Errorf("numbers of type %s", out.name)
	case out != float && op == "Div":
		return nil, errors.New("integers")
	case out.size < 4 && strings.ContainsAny(f, "+-*") && in != float && op != "Where" && in.size < 4:
		return nil, fmt.Errorf("numbers of type %s", out.name)
	}
	return combine(f, args...), nil
}

// cast converts as C does; floats out of an integer's range are undefined in ONNX, and become its ends here.
func (b *builder) cast(n *ir.Node, x *expr, combine func(string, ...*expr) *expr) (*expr, error) {
	from, to := b.facts.DType(n.Operand(0)), b.facts.DType(n.Result(0))
	out, in := b.typ(n.Result(0)), b.typ(n.Operand(0))
	switch {
	case to == ir.Bool:
		return combine("(uint8_t)(%[1]s != 0)", x), nil
	case from == to || in == float && out == float:
		return x, nil
	case in == float:
		return combine("@to_"+strings.TrimSuffix(out.name, "_t")+"(%[1]s)", x), nil
	}
	return combine("("+out.name+")%[1]s", x), nil
}

// materialize computes e into the value's own memory.
func (b *builder) materialize(v *ir.Value, e *expr) {
	leaves := e.values(nil)
	shape := b.shape(v)
	blocked := false
	if byteOrFloat(e.typ) && (len(shape) == 4 || len(shape) == 3) {
		for _, l := range leaves {
			if equal(b.shape(l), shape) && b.constant(l) == nil {
				if p := b.placed(l); p.blocked != nil {
					blocked = true
				}
			}
		}
		for _, l := range leaves {
			blocked = blocked && byteOrFloat(b.typ(l)) && b.blockable(l, imageShape(shape))
		}
	}
	var in []*tensor
	var strides [][]int // of the result's stored dimensions
	if blocked {
		shape = imageShape(shape)
	}
	typ := e.typ
	if blocked {
		typ = blockedType(typ)
	}
	y := b.alloc(v.Name(), typ, shape, blocked)
	for _, l := range leaves {
		t, s := b.operand(l, shape, blocked)
		in, strides = append(in, t), append(strides, s)
	}
	_ = strides
	b.define(v, y)
	b.add(in, []*tensor{y}, func(f *text, _ int) {
		list := []*access{accessOf("y0", y)}
		for i, t := range in {
			list = append(list, &access{fmt.Sprintf("a%d", i), t.start(), broadcast(t, y)})
		}
		f.nest(y.stored(), list, func(at []string) {
			names := map[*ir.Value]string{}
			for i, l := range leaves {
				names[l] = at[1+i]
				if in[i].blocked && b.typ(l) == int8s {
					names[l] = fmt.Sprintf("((int)%s - 128)", at[1+i])
				}
			}
			if blocked && e.typ == int8s {
				f.line("%s = (uint8_t)(%s + 128);", at[0], e.c(names))
			} else {
				f.line("%s = %s;", at[0], e.c(names))
			}
		})
	})
}

// c is the expression in C.
func (e *expr) c(names map[*ir.Value]string) string {
	if e.leaf != nil {
		return names[e.leaf]
	}
	var args []any
	for _, a := range e.args {
		args = append(args, a.c(names))
	}
	s := fmt.Sprintf(e.formula, args...)
	if i := strings.Index(s, "%!(EXTRA"); i >= 0 {
		s = s[:i]
	}
	return s
}

func byteOrFloat(t ctype) bool { return t == float || t == int8s || t == uint8s }

// blockable reports whether v can be an operand of a loop over a blocked tensor of that shape.
func (b *builder) blockable(v *ir.Value, shape []int) bool {
	s := b.shape(v)
	if equal(imageShape(s), shape) || product(s) == 1 {
		return true
	}
	if len(s) < 4 {
		s = append(slices.Repeat([]int{1}, 4-len(s)), s...)
	}
	if s[1] == 1 && shape[1] > 1 {
		return true // the same for all channels
	}
	return s[1] == shape[1] && (s[2] == 1 && s[3] == 1 || b.constant(v) == nil && s[0] == shape[0] && len(b.shape(v)) == 4)
}

// operand is v as an operand of a loop over a tensor of that shape.
func (b *builder) operand(v *ir.Value, shape []int, blocked bool) (*tensor, []int) {
	s := b.shape(v)
	if !blocked {
		return b.plain(v), nil
	}
	if product(s) == 1 {
		return b.plain(v), nil
	}
	full := s
	if len(s) == 3 && equal(imageShape(s), shape) {
		full = imageShape(s)
	} else if len(s) < 4 {
		full = append(slices.Repeat([]int{1}, 4-len(s)), s...)
	}
	if full[1] == 1 && shape[1] > 1 {
		t := b.plain(v)
		return t, nil
	}
	if c := b.constant(v); c != nil && c.DType() == ir.Float32 && full[2]*full[3] == 1 && full[0] == 1 {
		f, _ := ir.Elements[float32](c)
		data := make([]float32, blocksOf(full[1])*block)
		copy(data, f)
		t := b.floatLiteral(v.Name(), data)
		return &tensor{buf: t.buf, shape: full, blocked: true, stiff: true}, nil
	}
	if b.constant(v) != nil || len(s) == 3 || len(s) == 4 {
		if len(s) == 3 && !equal(imageShape(s), shape) {
			p := b.plain(v)
			u := b.alloc(v.Name(), blockedType(b.typ(v)), full, true)
			b.block(&tensor{buf: p.buf, shape: full, stiff: true}, u)
			return u, nil
		}
		return b.blocked(v), nil
	}
	return b.plain(v), nil
}

// broadcast are the strides of t for loops over the stored dimensions of y.
func broadcast(t, y *tensor) []int {
	dims := y.stored()
	r := make([]int, len(dims))
	s, own := t.strides(), t.stored()
	if y.blocked && !t.blocked { // the same for all channels, or one number
		at := 4 - len(own)
		for i, d := range own {
			if d > 1 {
				r[at+i] = s[i]
			}
		}
		return r
	}
	at := len(dims) - len(own)
	for i, d := range own {
		if d > 1 || dims[at+i] == 1 {
			r[at+i] = s[i]
		}
	}
	return r
}
