package infer

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// rule infers the results of one operator: it reads operands and attributes of c and sets its results.
type rule func(c *call)

// call is one application of a rule.
type call struct {
	a      *analysis
	n      *ir.Node
	schema *schema.Schema
	opset  int64
	in     []*info
	out    []*info
}

// complete reports whether the node has the operands and results that its schema asks for. Rules rely on it; ops.Verify reports it.
func (c *call) complete() bool {
	least, most := c.schema.NumInputs()
	if len(c.in) < least || len(c.in) > most && most != schema.Unbounded {
		return false
	}
	for i, x := range c.in {
		if p := c.schema.Input(i); p == nil || x == nil && p.Option != schema.Optional {
			return false
		}
	}
	_, most = c.schema.NumOutputs()
	return len(c.out) <= most || most == schema.Unbounded
}

// resultTypes gives the results the element types that the schema implies: a type variable means the same type wherever it stands.
func (c *call) resultTypes() {
	for i, x := range c.out {
		p := c.schema.Output(i)
		if p == nil {
			continue
		}
		x.kind = p.Types().OnlyKind()
		if t := p.Types().Only(); t != nil {
			*x = *fromType(t, func(ir.Dim) Int { return Int{} })
			continue
		}
		if b := c.bound(p); b != nil && !p.Mixed {
			*x = info{kind: b.kind, elem: b.elem, of: b.of.withoutShape(), domain: b.domain, name: b.name}
		}
	}
}

// bound is the type of the first operand whose formal has the type variable of p, nil if none is known.
func (c *call) bound(p *schema.Param) *info {
	for i, x := range c.in {
		q := c.schema.Input(i)
		if q != nil && q.Var == p.Var && !q.Mixed && x != nil && x.kind != ir.KindNone && (x.elem != ir.Undefined || x.kind != ir.KindTensor) {
			return x
		}
	}
	return nil
}

// finish gives private names to sizes that are not known or too long, and drops content that does not fit the shape.
func (c *call) finish() {
	for _, x := range c.out {
		if x == nil {
			continue
		}
		for i, d := range x.dims {
			if n, number := d.Const(); !d.known || d.tooLong() || number && n < 0 {
				x.dims[i] = c.a.fresh()
			}
		}
		if x.data != nil && (!x.count().Is(int64(len(x.data))) || !small(x.elem, int64(len(x.data)))) {
			x.data = nil
		}
		for i, e := range x.data {
			if e.tooLong() {
				x.data[i] = elem{}
			}
		}
	}
}

func (c *call) errorf(format string, args ...any) { c.a.remark(Error, c.n, nil, format, args...) }

// since is the version of the operator in force.
func (c *call) since() int64 { return c.schema.Since() }

// Operands. An omitted operand and one beyond the last are alike.

func (c *call) has(i int) bool { return i < len(c.in) && c.in[i] != nil }

// arg is operand i, a value of which nothing is known if it is omitted.
func (c *call) arg(i int) *info {
	if c.has(i) {
		return c.in[i]
	}
	return &info{}
}

func (c *call) elem(i int) ir.DType { return c.arg(i).elem }

// dims are the dimensions of operand i; ok is false if its rank is not known.
func (c *call) dims(i int) ([]Int, bool) {
	x := c.arg(i)
	return x.dims, x.ranked
}

// data are the elements of operand i, nil if they are not tracked.
func (c *call) data(i int) []elem {
	if !c.has(i) {
		return nil
	}
	return c.in[i].content()
}

// ints are the elements of operand i as expressions; ok is false if nothing is known of them.
func (c *call) ints(i int) ([]Int, bool) {
	data := c.data(i)
	if data == nil {
		return nil, false
	}
	r := make([]Int, len(data))
	for i, e := range data {
		if !e.isNum {
			r[i] = e.Int
		}
	}
	return r, true
}

// consts are the elements of operand i if all are integers.
func (c *call) consts(i int) ([]int64, bool) {
	data := c.data(i)
	if data == nil {
		return nil, false
	}
	r := make([]int64, len(data))
	for i, e := range data {
		n, ok := e.Const()
		if !ok || e.isNum {
			return nil, false
		}
		r[i] = n
	}
	return r, true
}

// scalar is operand i if it has one element, unknown otherwise.
func (c *call) scalar(i int) Int {
	if data := c.data(i); len(data) == 1 && !data[0].isNum {
		return data[0].Int
	}
	return Int{}
}

// Attributes. References to a function's attributes are followed; the schema's default stands for an absent attribute.

func (c *call) attr(name string) *ir.Attr { return c.a.resolve(c.n.Attr(name)) }

// resolve follows a reference; nil if the call does not give the attribute.
func (a *analysis) resolve(x *ir.Attr) *ir.Attr {
	if x != nil && x.Ref != "" {
		return a.attrs[x.Ref]
	}
	return x
}

func (c *call) hasAttr(name string) bool { return c.attr(name) != nil }

func (c *call) int(name string) int64 {
	if a := c.attr(name); a != nil {
		return a.Int()
	}
	return c.schema.Attr(name).Int()
}

func (c *call) str(name string) string {
	if a := c.attr(name); a != nil {
		return a.Str()
	}
	return c.schema.Attr(name).Str()
}

func (c *call) attrInts(name string) []int64 {
	if a := c.attr(name); a != nil {
		return a.Ints()
	}
	return c.schema.Attr(name).Ints()
}

// Results. Setting one beyond the last does nothing.

// result is result i.
func (c *call) result(i int) *info {
	if i < len(c.out) {
		return c.out[i]
	}
	return &info{}
}

// set gives result i its dimensions, which must not be shared with another value's if they hold unknown sizes.
func (c *call) set(i int, dims []Int) {
	x := c.result(i)
	if x.kind == ir.KindNone {
		x.kind = ir.KindTensor
	}
	x.ranked, x.dims = true, dims
}

// setLike gives result i the dimensions of operand j.
func (c *call) setLike(i, j int) {
	if d, ok := c.dims(j); ok {
		c.set(i, d)
	}
}

// setElem gives result i an element type.
func (c *call) setElem(i int, d ir.DType) {
	x := c.result(i)
	if x.kind == ir.KindNone {
		x.kind = ir.KindTensor
	}
	x.elem = d
}

// setData gives result i its elements, each as its element type holds it.
func (c *call) setData(i int, data []elem) {
	x := c.result(i)
	if !small(x.elem, int64(len(data))) {
		return
	}
	x.data = make([]elem, len(data))
	for j, e := range data {
		x.data[j] = fit(x.elem, e)
	}
}

// copyOf makes result i what operand j is, content included.
func (c *call) copyOf(i, j int) {
	if c.has(j) && i < len(c.out) && c.in[j].kind != ir.KindNone {
		x := *c.in[j]
		x.exported = nil
		c.out[i] = &x
	}
}

// vector is a new list of n sizes about which nothing is known yet.
func vector(n int) []Int { return make([]Int, n) }

// axis is an axis of a tensor of the given rank, counted from the end if negative. It must be in [-rank, rank); otherwise the node is in
// error.
func (c *call) axis(v int64, rank int) (int, bool) {
	if v < -int64(rank) || v >= int64(rank) {
		c.errorf("axis %d is outside a tensor of rank %d", v, rank)
		return 0, false
	}
	if v < 0 {
		v += int64(rank)
	}
	return int(v), true
}

// axes are distinct axes as axis says.
func (c *call) axes(vs []int64, rank int) ([]int, bool) {
	seen := make([]bool, rank)
	r := make([]int, len(vs))
	for i, v := range vs {
		k, ok := c.axis(v, rank)
		if !ok {
			return nil, false
		}
		if seen[k] {
			c.errorf("axis %d is given twice", v)
			return nil, false
		}
		r[i], seen[k] = k, true
	}
	return r, true
}

// rank reports an error unless operand i has one of the ranks, or an unknown one.
func (c *call) rank(i int, ranks ...int) bool {
	d, ok := c.dims(i)
	if !ok {
		return true
	}
	for _, r := range ranks {
		if len(d) == r {
			return true
		}
	}
	c.errorf("operand %d has rank %d", i, len(d))
	return false
}
