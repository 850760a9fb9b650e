package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/targets/consumer"
)

// consumerOf is the runtime that the second file is for: that of --consumer, or by its extension; nil: it is a model like the first.
func (f *verifyFlags) consumerOf(args []string) (*consumer.Consumer, error) {
	if len(args) < 2 {
		if f.consumer != "" || f.layers {
			return nil, usagef("--consumer and --layers are for a second file that another runtime reads")
		}
		return nil, nil
	}
	k := consumer.Of(args[1])
	if f.consumer != "" {
		if k = consumer.Lookup(f.consumer); k == nil {
			return nil, usagef("there is no consumer %q; there are litert, openvino, onnxruntime and tvm", f.consumer)
		}
	}
	if f.layers && (k == nil || !k.Layers) {
		return nil, usagef("--layers is for what LiteRT and OpenVINO run, which show values within")
	}
	return k, nil
}

// consumerPython is the Python that has a consumer: what its variable of the environment names, or else what is on the PATH.
func consumerPython(k *consumer.Consumer) string {
	if p := os.Getenv(k.Variable); p != "" {
		return p
	}
	for _, name := range []string{"python3", "python"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	return ""
}

// verifiedLayer is a value within the artifact beside that of the model.
type verifiedLayer struct {
	Value    string   `json:"value"`
	Node     string   `json:"node"`
	Operator string   `json:"operator"`
	Rel      *float64 `json:"relative"`
	Abs      *float64 `json:"absolute"`
	SQNR     *float64 `json:"sqnr_db,omitempty"`
	Outside  bool     `json:"outside,omitempty"` // of the tolerance: 1e-4, or a step where it is quantized
}

// loaded is an artifact that another runtime runs.
type loaded interface {
	run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error)
	sizes() map[string][]int64 // of inputs
	Close() error
}

// ofSession is an artifact in a consumer.
type ofSession struct{ *consumer.Session }

func (s ofSession) run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	r, err := s.Run(ctx, in, 0)
	if err != nil {
		return nil, err
	}
	return r.Outputs, nil
}

func (s ofSession) sizes() map[string][]int64 { return s.Shapes }

// ofProgram is a program of target c.
type ofProgram struct{ *consumer.Program }

func (p ofProgram) run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	wide := maps.Clone(in)
	for _, port := range p.Inputs { // which has halves in 32 bits
		if t, ok := in[port.Name].(*ir.Tensor); ok && t.DType() == ir.Float16 && port.DType == ir.Float32 {
			h, err := ir.Elements[uint16](t)
			if err != nil {
				return nil, err
			}
			f := make([]float32, len(h))
			for i, x := range h {
				f[i] = kernel.Float16ToFloat32(x)
			}
			wide[port.Name] = ir.TensorOf(f, t.Shape()...)
		}
	}
	return p.Run(ctx, wide)
}

func (p ofProgram) sizes() map[string][]int64 {
	r := map[string][]int64{}
	for _, port := range p.Inputs {
		r[port.Name] = port.Shape
	}
	return r
}

func (ofProgram) Close() error { return nil }

// start loads an artifact; k is nil for a folder with a built C program.
func (c *comparison) start(ctx context.Context, k *consumer.Consumer, python, path string, o consumer.Options) (loaded, error) {
	if k != nil {
		s, err := k.Start(ctx, python, path, o)
		return ofSession{s}, err
	}
	p, err := consumer.OpenProgram(path)
	if err != nil {
		return nil, err
	}
	return ofProgram{p}, p.Matched(o.Inputs, o.Outputs)
}

// artifact compares the model with what its consumer makes of the artifact.
func (c *comparison) artifact(ctx context.Context, k *consumer.Consumer, path string, limited bool) error {
	if _, err := os.Stat(path); err != nil {
		return &fileError{path, errors.Unwrap(err)}
	}
	python, title := "", "the built program"
	if k != nil {
		python, title = consumerPython(k), k.Title
	}
	o := consumer.Options{Threads: c.f.resources.count(), Shapes: map[string][]int64{}}
	for _, s := range c.a.Main.Inputs() {
		if v := s.Value(); !v.IsInitializer() && v.Default() == nil {
			o.Inputs = append(o.Inputs, s.Name())
		}
	}
	for _, s := range c.a.Main.Outputs() {
		o.Outputs = append(o.Outputs, s.Name())
		if dims, ok := s.Type().TensorShape().Ints(); ok {
			o.Shapes[s.Name()] = dims
		}
	}
	c.show.doing("loading " + path)
	s, err := c.start(ctx, k, python, path, o)
	if err != nil {
		return artifactError(path, err)
	}
	defer s.Close()
	c.sizesOf(s.sizes())
	own, err := c.engine.Load(ctx, c.a, engine.Options{Threads: o.Threads, MaxMemory: c.f.resources.maxMemory})
	if err != nil {
		return err
	}
	defer own.Close()
	src, finish, err := c.source(ctx)
	if err != nil {
		return err
	}
	defer finish()
	var worst compare.Set
	begun := time.Now()
	last := errors.New("there are no inputs")
	for set, err := range src.Sets(ctx) {
		if err != nil {
			return err
		}
		if (limited || c.f.data.data == "" && len(c.f.inputs) == 0) && c.stats.sets > 0 && time.Since(begun) > c.f.budget.time {
			c.r.Partial = true
			break
		}
		want, err := own.Run(ctx, set.Inputs)
		if err != nil {
			if last = err; ctx.Err() != nil || !src.Refused(err) {
				return err
			}
			continue
		}
		got, err := s.run(ctx, asked(o, set))
		if err != nil {
			return artifactError(path, err)
		}
		for name, w := range want {
			if g, ok := got[name]; ok {
				got[name] = compare.Like(g, w)
			}
		}
		c.stats.sets++
		c.show.doing("comparing: " + estimate(begun, c.stats.sets, 0))
		if c.stats.add(want, got) || c.f.layers && worst.Inputs == nil {
			worst = set
		}
	}
	c.r.Sets, c.r.Outputs, c.r.Status, c.r.Consumer = c.stats.sets, c.stats.outputs(), compare.Verified.String(), title
	if c.stats.sets == 0 {
		c.r.Status, c.r.Why = compare.NotVerified.String(), last.Error()
	}
	if why := c.stats.failed(); why != "" {
		c.r.Status, c.r.Why = compare.Mismatch.String(), why
	}
	if worst.Inputs != nil && k != nil && k.Layers {
		if err := c.within(ctx, k, python, path, o, worst); err != nil && c.f.layers {
			return artifactError(path, err)
		}
	}
	return nil
}

// asked are the inputs without a default: the others are constants in an artifact.
func asked(o consumer.Options, set compare.Set) map[string]ir.Datum {
	r := map[string]ir.Datum{}
	for _, name := range o.Inputs {
		r[name] = set.Inputs[name]
	}
	return r
}

// artifactError blames the file for what its consumer says, but not for a consumer that is missing.
func artifactError(path string, err error) error {
	var missing *consumer.MissingError
	if errors.As(err, &missing) || errors.Is(err, context.Canceled) {
		return err
	}
	return &fileError{path, err}
}

// sizesOf takes the sizes of open dimensions from the artifact, where they are fixed, unless they are given.
func (c *comparison) sizesOf(shapes map[string][]int64) {
	for _, slot := range c.a.Main.Inputs() {
		shape := shapes[slot.Name()]
		for i, d := range slot.Type().TensorShape() {
			if d.IsStatic() {
				continue
			}
			key := d.Param
			if key == "" {
				key = fmt.Sprintf("%s[%d]", slot.Name(), i)
			}
			if _, ok := c.f.sizes[key]; ok {
				continue
			}
			if i < len(shape) && shape[i] > 0 {
				c.f.sizes[key] = shape[i]
			} else if i == 0 && len(shape) == 0 {
				c.f.sizes[key] = 1 // as converters make it
			}
		}
	}
}

// within compares values within the artifact with those of the same name in the model, on one set.
func (c *comparison) within(ctx context.Context, k *consumer.Consumer, python, path string, o consumer.Options, set compare.Set) error {
	c.show.doing("looking at the values within")
	var values []*ir.Value
	for n := range c.a.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Name() != "" && v.NumUses() > 0 && !slices.Contains(o.Outputs, v.Name()) {
				values = append(values, v)
				o.Layers = append(o.Layers, v.Name())
			}
		}
	}
	if len(values) == 0 {
		return nil
	}
	s, err := k.Start(ctx, python, path, o)
	if err != nil {
		return err
	}
	defer s.Close()
	got, err := s.Run(ctx, asked(o, set), 0)
	if err != nil {
		return err
	}
	values = slices.DeleteFunc(values, func(v *ir.Value) bool { return got.Layers[v.Name()] == nil })
	own, err := c.engine.Load(ctx, c.a, engine.Options{Threads: o.Threads, MaxMemory: c.f.resources.maxMemory, Taps: values})
	if err != nil {
		return err
	}
	defer own.Close()
	_, taps, err := own.RunTaps(ctx, set.Inputs)
	if err != nil {
		return err
	}
	for i, v := range values {
		want, ok := taps[i].(*ir.Tensor)
		if !ok || !want.DType().IsFloat() {
			continue
		}
		if got.Layers[v.Name()].DType() != want.DType() { // integers with several scales, which are weights
			continue
		}
		d, ok := nearest(want, got.Layers[v.Name()])
		if !ok {
			continue
		}
		bound := compare.O2(d.DType)
		if c.f.tolerance > 0 {
			bound = compare.Tolerance{Rel: c.f.tolerance}
		}
		if step := s.Steps[v.Name()]; step > 0 {
			bound = bound.Widen(compare.Tolerance{Abs: 1.001 * step})
		}
		n := v.Node()
		l := verifiedLayer{v.Name(), n.Name(), n.Op().String(), finite(d.Rel), finite(d.Abs), finite(d.SQNR), bound.Check(d) != nil}
		c.r.Layers = append(c.r.Layers, l)
		if l.Outside && c.r.Divergence == nil && c.r.Status == compare.Mismatch.String() {
			c.r.Divergence = &divergence{Value: v.Name(), Node: n.Name(), Operator: n.Op().String(), Differs: d.String()}
		}
	}
	if !c.f.layers {
		c.r.Layers = nil
	}
	return nil
}

// nearest compares two tensors whose axes may be in another order: as they are, or with channels last in the second.
func nearest(want, got *ir.Tensor) (compare.Diff, bool) {
	best, found := compare.Diff{Rel: math.Inf(1)}, false
	try := func(g *ir.Tensor) {
		if d := compare.Datum(want, g); d.Rel < best.Rel || !found {
			best, found = d, true
		}
	}
	s := want.Shape()
	if slices.Equal(s, got.Shape()) {
		try(got)
	}
	if r := len(s); r >= 3 && r == got.Rank() && slices.Equal(append(append([]int64{s[0]}, s[2:]...), s[1]), got.Shape()) {
		if t := channelsFirst(got); t != nil {
			try(t)
		}
	}
	return best, found
}

// channelsFirst moves the last axis of a float32 tensor to the second place.
func channelsFirst(t *ir.Tensor) *ir.Tensor {
	f, err := ir.Elements[float32](t)
	if err != nil {
		return nil
	}
	s := t.Shape()
	n, c := s[0], s[len(s)-1]
	inner := int64(1)
	for _, d := range s[1 : len(s)-1] {
		inner *= d
	}
	r := make([]float32, len(f))
	for b := range n {
		for i := range inner {
			for k := range c {
				r[(b*c+k)*inner+i] = f[(b*inner+i)*c+k]
			}
		}
	}
	return ir.TensorOf(r, append([]int64{n, c}, s[1:len(s)-1]...)...)
}

// writeLayers prints the values within.
func (c *comparison) writeLayers() {
	if len(c.r.Layers) == 0 {
		return
	}
	t := table{right: []int{2, 3}}
	t.row("value within", "operator", "difference", "SQNR dB", "")
	for _, l := range c.r.Layers {
		cell := func(x *float64) string {
			if x == nil {
				return ""
			}
			return short(*x)
		}
		mark := ""
		if l.Outside {
			mark = "outside of the tolerance"
		}
		t.row(l.Value, l.Operator, cell(l.Rel), cell(l.SQNR), mark)
	}
	t.write(c.stdout, "")
	fmt.Fprintln(c.stdout)
}
