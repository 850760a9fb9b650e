package simplify_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/simplify/clips"
	"github.com/onnxopt/onnxopt/passes/simplify/constfold"
	"github.com/onnxopt/onnxopt/passes/simplify/containers"
	"github.com/onnxopt/onnxopt/passes/simplify/cse"
	"github.com/onnxopt/onnxopt/passes/simplify/dce"
	"github.com/onnxopt/onnxopt/passes/simplify/dedup"
	"github.com/onnxopt/onnxopt/passes/simplify/expands"
	"github.com/onnxopt/onnxopt/passes/simplify/identity"
	"github.com/onnxopt/onnxopt/passes/simplify/ifconst"
	"github.com/onnxopt/onnxopt/passes/simplify/loops"
	"github.com/onnxopt/onnxopt/passes/simplify/noop"
	"github.com/onnxopt/onnxopt/passes/simplify/omit"
	"github.com/onnxopt/onnxopt/passes/simplify/reductions"
	"github.com/onnxopt/onnxopt/passes/simplify/reshapes"
	simplifyslices "github.com/onnxopt/onnxopt/passes/simplify/slices"
	"github.com/onnxopt/onnxopt/passes/simplify/strength"
	"github.com/onnxopt/onnxopt/passes/simplify/transplace"
	"github.com/onnxopt/onnxopt/passes/simplify/transposes"
	"github.com/stretchr/testify/require"
)

const exact = "fixpoint{max=20}(dce,if-const,loops,identity,containers,constfold{exact=true},noop{exact=true},clips{exact=true},strength{exact=true},omit-operands{exact=true}," +
	"reshapes,reductions,expands,transposes,place-transposes,slices,dedup-constants,cse)"

// TestRandomModels runs all passes to a fixpoint on random models and holds the result to the bits of the original.
func TestRandomModels(t *testing.T) {
	reg, err := passes.NewRegistry(clips.Pass, constfold.Pass, containers.Pass, cse.Pass, dce.Pass, dedup.Pass, expands.Pass, identity.Pass, ifconst.Pass, loops.Pass, noop.Pass,
		omit.Pass, reductions.Pass, reshapes.Pass, simplifyslices.Pass, strength.Pass, transplace.Pass, transposes.Pass)
	require.NoError(t, err)
	pipe, err := reg.Parse(exact)
	require.NoError(t, err)
	for seed := range uint64(models) {
		m := randomModel(seed)
		require.NoError(t, ops.Verify(m), "the generator made an invalid model, seed %d", seed)
		check(t, pipe, m, seed)
	}
}

// models is the number of models; each is made from its number.
const models = 1000

func check(t *testing.T, pipe *passes.Pipeline, m *ir.Model, seed uint64) {
	c := m.Clone()
	c.Shuffle(seed)
	_, err := pipe.Run(context.Background(), c, passes.Config{})
	require.NoError(t, err, "seed %d", seed)
	c.Shuffle(0)
	require.NoError(t, ir.Verify(c), "seed %d", seed)
	require.NoError(t, ops.Verify(c), "seed %d", seed)
	bits := func(string) compare.Tolerance { return compare.Tolerance{Exact: true} }
	v, err := compare.Models(context.Background(), native.New(), m, c, nil, compare.Options{Tolerance: bits})
	require.NoError(t, err, "seed %d", seed)
	require.Equal(t, compare.Verified, v.State, "seed %d: %s", seed, v)
	again, err := pipe.Run(context.Background(), c, passes.Config{})
	require.NoError(t, err)
	require.Zero(t, again.Rewrites, "a second run changes something, seed %d", seed)
}

// dynamic stands for the dimension N in a list of sizes.
const dynamic = -1

// gen makes a random model. Every value is a tensor of floats whose sizes are known but for N, which is the first one if any.
type gen struct {
	rnd  *rand.Rand
	g    *ir.Graph
	vals []*ir.Value
	dims map[*ir.Value][]int64
}

func randomModel(seed uint64) *ir.Model {
	m := ir.NewModel(10, 17)
	r := &gen{rnd: rand.New(rand.NewPCG(seed, 1)), g: m.Main, dims: map[*ir.Value][]int64{}}
	first := ir.Static(2)
	size := int64(2)
	if r.flip() {
		first, size = ir.Symbol("N"), dynamic
	}
	r.add(m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{first, ir.Static(2), ir.Static(3)})), size, 2, 3)
	r.add(m.Main.AddInput("z", ir.TensorType(ir.Float32, ir.Shape{first, ir.Static(2), ir.Static(3)})), size, 2, 3)
	m.Main.AddInput("c", ir.TensorType(ir.Bool, ir.Shape{}))
	steps := []func(){r.unary, r.binary, r.transpose, r.reshape, r.unsqueeze, r.concat, r.slice, r.glue, r.branch, r.loop}
	for range 1 + r.upTo(24) {
		steps[r.upTo(len(steps))]()
	}
	for i := range 1 + r.upTo(3) {
		m.Main.AddOutput(fmt.Sprint("out", i), r.pick(), nil)
	}
	return m
}

func (r *gen) upTo(n int) int { return r.rnd.IntN(n) }
func (r *gen) flip() bool     { return r.upTo(2) == 0 }

// pick is any value, but the latest most of the time, so that chains come about.
func (r *gen) pick() *ir.Value {
	if r.upTo(3) > 0 {
		return r.vals[len(r.vals)-1]
	}
	return r.vals[r.upTo(len(r.vals))]
}

func (r *gen) add(v *ir.Value, dims ...int64) *ir.Value {
	r.vals = append(r.vals, v)
	r.dims[v] = dims
	return v
}

// like is another value of the dimensions of v, or v.
func (r *gen) like(v *ir.Value) *ir.Value {
	for range 8 {
		if w := r.vals[r.upTo(len(r.vals))]; fmt.Sprint(r.dims[w]) == fmt.Sprint(r.dims[v]) {
			return w
		}
	}
	return v
}

func (r *gen) op(typ string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	return r.g.New(nil, ir.Op(typ), in, attrs...).Result(0)
}

func (r *gen) ints(v ...int64) *ir.Value {
	if r.flip() {
		return r.op("Constant", nil, ir.IntsAttr("value_ints", v))
	}
	return r.g.Const(ir.TensorOf(v))
}

func (r *gen) unary() {
	x := r.pick()
	typ := []string{"Neg", "Relu", "Abs", "Floor", "Identity", "Dropout", "Sum"}[r.upTo(7)]
	r.add(r.op(typ, []*ir.Value{x}), r.dims[x]...)
}

func (r *gen) binary() {
	x := r.pick()
	typ := []string{"Add", "Sub", "Mul", "Div"}[r.upTo(4)]
	y := r.like(x)
	switch {
	case typ == "Div": // by one: quotients of zeros would be NaN everywhere
		y = r.g.Const(ir.ScalarOf[float32](1))
	case r.flip():
		k := []float32{0, 1, 2, float32(math.Copysign(0, -1))}[r.upTo(4)]
		y = r.g.Const(ir.ScalarOf(k))
	}
	v := r.add(r.op(typ, []*ir.Value{x, y}), r.dims[x]...)
	if r.upTo(3) == 0 && typ != "Div" {
		r.add(r.op("Mul", []*ir.Value{v, r.op(typ, []*ir.Value{y, x})}), r.dims[x]...)
	}
}

// static is the axis from which on the sizes of v are numbers.
func (r *gen) static(v *ir.Value) int {
	if d := r.dims[v]; len(d) > 0 && d[0] == dynamic {
		return 1
	}
	return 0
}

func (r *gen) transpose() {
	x := r.pick()
	from := r.static(x)
	perm := make([]int64, len(r.dims[x]))
	for i := range perm {
		perm[i] = int64(i)
	}
	r.rnd.Shuffle(len(perm)-from, func(i, j int) { perm[from+i], perm[from+j] = perm[from+j], perm[from+i] })
	dims := make([]int64, len(perm))
	for i, p := range perm {
		dims[i] = r.dims[x][p]
	}
	r.add(r.op("Transpose", []*ir.Value{x}, ir.IntsAttr("perm", perm)), dims...)
}

func (r *gen) reshape() {
	x := r.pick()
	from := r.static(x)
	rest := ir.NumElements(r.dims[x][from:])
	dims := append([]int64{}, r.dims[x][:from]...)
	for rest > 1 && r.upTo(3) > 0 {
		d := []int64{1, 2, 3}[r.upTo(3)]
		if rest%d == 0 {
			dims = append(dims, d)
			rest /= d
		}
	}
	dims = append(dims, rest)
	shape := append([]int64{}, dims...)
	if from > 0 {
		shape[0] = []int64{0, -1}[r.upTo(2)]
	} else if r.flip() {
		shape[r.upTo(len(shape))] = -1
	}
	if i := r.upTo(len(shape)); i < len(r.dims[x]) && dims[i] == r.dims[x][i] && shape[i] > 0 && r.flip() {
		shape[i] = 0
	}
	r.add(r.op("Reshape", []*ir.Value{x, r.ints(shape...)}), dims...)
}

func (r *gen) unsqueeze() {
	x := r.pick()
	at := r.static(x) + r.upTo(len(r.dims[x])-r.static(x)+1)
	dims := append(append(append([]int64{}, r.dims[x][:at]...), 1), r.dims[x][at:]...)
	y := r.add(r.op("Unsqueeze", []*ir.Value{x, r.ints(int64(at))}), dims...)
	if r.flip() {
		r.add(r.op("Squeeze", []*ir.Value{y, r.ints(int64(at))}), r.dims[x]...)
	}
}

func (r *gen) concat() {
	x := r.pick()
	from, rank := r.static(x), len(r.dims[x])
	if from == rank {
		return
	}
	axis := from + r.upTo(rank-from)
	in := []*ir.Value{x, r.like(x), r.like(x)}[:1+r.upTo(3)]
	dims := append([]int64{}, r.dims[x]...)
	dims[axis] *= int64(len(in))
	y := r.add(r.op("Concat", in, ir.IntAttr("axis", int64(axis-rank*r.upTo(2)))), dims...)
	if r.flip() {
		r.cut(y, axis, r.dims[x][axis]*int64(r.upTo(len(in))), r.dims[x][axis])
	}
}

func (r *gen) slice() {
	x := r.pick()
	from, rank := r.static(x), len(r.dims[x])
	if from == rank {
		return
	}
	axis := from + r.upTo(rank-from)
	start := int64(r.upTo(int(r.dims[x][axis])))
	r.cut(x, axis, start, r.dims[x][axis]-start)
}

// cut takes length elements of an axis from start on.
func (r *gen) cut(x *ir.Value, axis int, start, length int64) {
	dims := append([]int64{}, r.dims[x]...)
	end := start + length
	if end == dims[axis] && r.flip() {
		end = math.MaxInt64
	}
	dims[axis] = length
	in := []*ir.Value{x, r.ints(start), r.ints(end), r.ints(int64(axis - len(dims)*r.upTo(2)))}
	r.add(r.op("Slice", in), dims...)
}

// glue reshapes x to its own shape, which is taken apart and put together as exporters do.
func (r *gen) glue() {
	x := r.pick()
	shape := r.op("Shape", []*ir.Value{x})
	var parts []*ir.Value
	for i := range r.dims[x] {
		k := r.op("Gather", []*ir.Value{shape, r.g.Const(ir.ScalarOf(int64(i)))})
		parts = append(parts, r.op("Unsqueeze", []*ir.Value{k, r.ints(0)}))
	}
	if len(parts) == 0 {
		return
	}
	target := r.op("Concat", parts, ir.IntAttr("axis", 0))
	r.add(r.op([]string{"Reshape", "Expand"}[r.upTo(2)], []*ir.Value{x, target}), r.dims[x]...)
}

// branch chooses between two values by the input or a constant.
func (r *gen) branch() {
	x := r.pick()
	y := r.like(x)
	cond := r.g.Inputs()[2].Value()
	if r.flip() {
		cond = r.g.Const(ir.NewTensor(ir.Bool, []int64{}, []byte{byte(r.upTo(2))}))
	}
	body := func(name string, v *ir.Value, ops ...string) *ir.Attr {
		s := r.g.NewSubgraph(name)
		for _, typ := range ops {
			v = s.New(nil, ir.Op(typ), []*ir.Value{v}).Result(0)
		}
		s.AddOutput(name, v, nil)
		return ir.GraphAttr(name, s)
	}
	other := []string{"Identity"}
	if r.flip() {
		y, other = x, []string{"Relu", "Neg"} // the same as the first
	}
	n := r.g.New(nil, ir.Op("If"), []*ir.Value{cond}, body("then_branch", x, "Relu", "Neg"), body("else_branch", y, other...))
	r.add(n.Result(0), r.dims[x]...)
}

// loop carries values of one shape, each changed in its own way or not at all, and collects some of them.
func (r *gen) loop() {
	x := r.pick()
	trips := int64(r.upTo(4))
	in := []*ir.Value{r.g.Const(ir.ScalarOf(trips)), nil}
	if r.upTo(3) == 0 && len(r.dims[x]) > 0 { // as often as x has rows
		trips = r.dims[x][0]
		in[0] = r.op("Gather", []*ir.Value{r.op("Shape", []*ir.Value{x}), r.g.Const(ir.ScalarOf(int64(0)))})
	}
	body := r.g.NewSubgraph("body")
	body.AddInput("i", ir.TensorType(ir.Int64, ir.Shape{}))
	on := body.AddInput("go", ir.TensorType(ir.Bool, ir.Shape{}))
	body.AddOutput("on", on, nil)
	carried, collected := 1+r.upTo(3), r.upTo(2)
	var states []*ir.Value
	for i := range carried {
		in = append(in, r.like(x))
		states = append(states, body.AddInput(fmt.Sprint("s", i), ir.TensorType(ir.Float32, nil)))
	}
	any := func() *ir.Value { return states[r.upTo(carried)] }
	one := func(typ string, in ...*ir.Value) *ir.Value { return body.New(nil, ir.Op(typ), in).Result(0) }
	for i, s := range states {
		switch r.upTo(4) {
		case 0:
			s = one("Neg", s)
		case 1:
			s = one("Sub", s, any())
		case 2:
			s = one("Abs", any())
		}
		body.AddOutput(fmt.Sprint("t", i), s, nil)
	}
	for i := range collected {
		shape := make(ir.Shape, len(r.dims[x]))
		for k, d := range r.dims[x] {
			if shape[k] = ir.Static(d); d == dynamic {
				shape[k] = ir.UnknownDim()
			}
		}
		body.AddOutput(fmt.Sprint("l", i), one("Relu", any()), ir.TensorType(ir.Float32, shape))
	}
	n := r.g.NewN(nil, ir.Op("Loop"), in, carried+collected, ir.GraphAttr("body", body))
	for i := range carried {
		if r.flip() {
			r.add(n.Result(i), r.dims[x]...)
		}
	}
	if collected > 0 && trips > 0 && r.static(x) == 0 {
		r.add(n.Result(carried), append([]int64{trips}, r.dims[x]...)...)
	}
}
