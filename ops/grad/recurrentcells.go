package grad

import "github.com/onnxopt/onnxopt/ir"

// lstm: of C' = f C + i g and H = o tanh C', with gates i, o, f and g in this order (Hochreiter and Schmidhuber, Long short-term memory, 1997).
func (r *recurrent) lstm() *gradients {
	b, h := r.b, r.hidden
	one, none := b.num(b.in(0), 1), b.num(b.in(0), 0)
	sum := b.op("Add", r.sums(r.x, r.w, r.bw), r.sums(r.before, r.r, r.br))
	i, o, f := b.op("Sigmoid", r.gate(sum, 0, 2)), b.op("Sigmoid", r.gate(sum, 1, 2)), b.op("Sigmoid", r.gate(sum, 2, 2))
	g := b.op("Tanh", r.gate(sum, 3, 2))
	cells := r.scan(false, []*ir.Value{r.c0}, r.masked(f, b.op("Mul", i, g)), func(g *builder, s, step []*ir.Value) (next, out []*ir.Value) {
		c := r.choose(g, step, g.op("Add", g.op("Mul", step[0], s[0]), step[1]), s[0])
		return []*ir.Value{c}, []*ir.Value{s[0], g.op("Tanh", c)}
	})
	back := r.scan(true, []*ir.Value{r.dh, r.dc}, r.masked(i, o, f, g, cells[1], cells[2], r.dy), func(k *builder, s, step []*ir.Value) (next, out []*ir.Value) {
		i, o, f, g, before, tanh := step[0], step[1], step[2], step[3], step[4], step[5]
		dh := k.op("Add", s[0], step[6])
		dc := k.op("Add", s[1], k.tanhSlope(k.op("Mul", dh, o), tanh, one))
		da := k.concat(1, k.sigmoidSlope(k.op("Mul", dc, g), i, one), k.sigmoidSlope(k.op("Mul", dh, tanh), o, one),
			k.sigmoidSlope(k.op("Mul", dc, before), f, one), k.tanhSlope(k.op("Mul", dc, i), g, one))
		da = r.choose(k, step, da, none)
		return []*ir.Value{r.choose(k, step, k.op("MatMul", da, r.r), s[0]), r.choose(k, step, k.op("Mul", dc, f), s[1])}, []*ir.Value{da}
	})
	da := back[2]
	bias := b.sum(da, false, 0, 1)
	return &gradients{x: r.turn(b.op("MatMul", da, r.w)), w: r.outer(da, r.x, 4*h, -1), r: r.outer(da, r.before, 4*h, h), bw: bias, br: bias, h0: back[0], c0: back[1]}
}

// gru: of H' = (1 − z) g + z H, with gates z and r and the candidate g in this order (Cho et al., arXiv 1406.1078). The reset gate r stands
// before the product of the candidate, or with late set behind it.
func (r *recurrent) gru(late bool) *gradients {
	b, h := r.b, r.hidden
	one, none := b.num(b.in(0), 1), b.num(b.in(0), 0)
	two := func(v *ir.Value, axis int64) *ir.Value {
		if v == nil {
			return nil
		}
		return b.slice(v, b.ints(0), b.ints(2*h), axis)
	}
	rzr, rg := two(r.r, 0), r.gate(r.r, 2, 0)
	fromX := r.sums(r.x, r.w, r.bw)
	sum := b.op("Add", two(fromX, 2), r.sums(r.before, rzr, two(r.br, 0)))
	z, reset := b.op("Sigmoid", r.gate(sum, 0, 2)), b.op("Sigmoid", r.gate(sum, 1, 2))
	inner := b.op("Mul", reset, r.before) // what the candidate's product reads
	if late {
		inner = r.before
	}
	product := r.sums(inner, rg, r.gate(r.br, 2, 0))
	candidate := product
	if late {
		candidate = b.op("Mul", reset, product)
	}
	g := b.op("Tanh", b.op("Add", r.gate(fromX, 2, 2), candidate))
	back := r.scan(true, []*ir.Value{r.dh}, r.masked(z, reset, g, r.before, product, r.dy), func(k *builder, s, step []*ir.Value) (next, out []*ir.Value) {
		z, reset, g, before, product := step[0], step[1], step[2], step[3], step[4]
		d := k.op("Add", s[0], step[5])
		dg := k.tanhSlope(k.op("Mul", d, k.op("Sub", one, z)), g, one)
		dz := k.sigmoidSlope(k.op("Mul", d, k.op("Sub", before, g)), z, one)
		dq := dg // by the product
		if late {
			dq = k.op("Mul", dg, reset)
		}
		through := k.op("MatMul", dq, rg)
		byReset := k.op("Mul", dg, product)
		if !late {
			byReset = k.op("Mul", through, before)
			through = k.op("Mul", through, reset)
		}
		dzr := k.concat(1, dz, k.sigmoidSlope(byReset, reset, one))
		dh := k.op("Add", k.op("Add", k.op("Mul", d, z), through), k.op("MatMul", dzr, rzr))
		stop := func(v *ir.Value) *ir.Value { return r.choose(k, step, v, none) }
		return []*ir.Value{r.choose(k, step, dh, s[0])}, []*ir.Value{stop(dzr), stop(dg), stop(dq)}
	})
	dzr, dg, dq := back[1], back[2], back[3]
	da := b.concat(2, dzr, dg)
	return &gradients{x: r.turn(b.op("MatMul", da, r.w)), w: r.outer(da, r.x, 3*h, -1),
		r:  b.concat(0, r.outer(dzr, r.before, 2*h, h), r.outer(dq, inner, h, h)),
		bw: b.sum(da, false, 0, 1), br: b.concat(0, b.sum(dzr, false, 0, 1), b.sum(dq, false, 0, 1)), h0: back[0]}
}
