package fuzz

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes"
)

// Fuzzer makes and checks cases. It is for one goroutine.
type Fuzzer struct {
	// Mark, if set, is told what the second engine is about to be given, Original or Optimized: where it takes the process with it, the
	// last one told is to blame.
	Mark func(string)

	motifs []Motif
	tables *tables
	pipes  *pipelines
	native checker
	ort    *checker
}

// What Mark is told.
const (
	Original  = "original"
	Optimized = "result"
)

// New makes a fuzzer of a registry's passes. fixtures, which may be nil, is where fixtures are looked for; ort, which may be nil, is a
// second engine to compare in.
func New(reg *passes.Registry, fixtures fs.FS, ort engine.Engine) (*Fuzzer, error) {
	f := &Fuzzer{
		tables: &tables{byOpset: map[int64][]*schema.Schema{}}, pipes: newPipelines(reg), native: checker{eng: native.New(), exact: true, mark: func(string) {}},
	}
	if ort != nil {
		f.ort = &checker{eng: ort, mark: func(s string) {
			if f.Mark != nil {
				f.Mark(s)
			}
		}}
	}
	if fixtures != nil {
		var err error
		if f.motifs, err = Motifs(fixtures); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Motifs is how many fixtures were found.
func (f *Fuzzer) Motifs() int { return len(f.motifs) }

// Case is a model, a pipeline and inputs.
type Case struct {
	Seed     uint64
	Model    *ir.Model
	Pipeline *passes.Pipeline
	Sets     []compare.Set
	vals     []*value
	sizes    map[string][bindings]int64
}

// Result is what became of a case.
type Result struct {
	Case    *Case // nil if the generator made nothing of the seed
	Failure *Failure
	Skipped string // what could not be compared, and why
	ORT     string // the same of the second engine
	Applied int    // rewrites
	ORTRan  bool   // the case was compared in the second engine
}

// Make makes the case of a seed, nil if nothing comes of it.
func (f *Fuzzer) Make(ctx context.Context, seed uint64) *Case {
	r := newRandom(seed, 0x0171)
	c := &Case{Seed: seed, Pipeline: f.pipes.draw(r)}
	g := &generator{random: r, ctx: ctx, wild: c.Pipeline.Promise().Exact(), motifs: f.motifs, tables: f.tables}
	b := g.generate()
	if b == nil || ir.Verify(b.model) != nil || ops.Verify(b.model) != nil || !f.callable(ctx, b.model) {
		return nil
	}
	c.Model, c.vals, c.sizes = b.model, b.vals, b.sizes
	for i, in := range b.sets {
		c.Sets = append(c.Sets, compare.Set{Inputs: in, Label: []string{"the first sizes", "the second sizes"}[i]})
	}
	if g.wild {
		for _, s := range c.Sets[:bindings] {
			w := compare.Set{Inputs: maps.Clone(s.Inputs), Label: s.Label + ", special values"}
			for _, slot := range c.Model.Main.Inputs() {
				if d := w.Inputs[slot.Name()]; d != nil {
					w.Inputs[slot.Name()] = sprinkle(r, d)
				}
			}
			c.Sets = append(c.Sets, w, flood(r, c.Model, s))
		}
	}
	return c
}

// callable reports whether the bodies of functions take the types that they are called with. Kernels take more types than the standard
// allows, and a call says nothing of its body's nodes before it is inlined.
func (f *Fuzzer) callable(ctx context.Context, m *ir.Model) bool {
	pipe, err := f.pipes.reg.Parse("inline")
	if len(m.Functions) == 0 || err != nil {
		return true
	}
	c := m.Clone()
	if _, err := pipe.Run(ctx, c, passes.Config{}); err != nil {
		return true // which is then found
	}
	err = ops.Verify(c)
	return err == nil || !strings.Contains(err.Error(), "the operator takes")
}

// flood is a set in which each float input is one special value.
func flood(r random, m *ir.Model, s compare.Set) compare.Set {
	w := compare.Set{Inputs: maps.Clone(s.Inputs), Label: s.Label + ", one special value"}
	for _, slot := range m.Main.Inputs() {
		t, ok := w.Inputs[slot.Name()].(*ir.Tensor)
		if !ok || t == nil || !t.DType().IsFloat() || t.DType().Bits() < 16 {
			continue
		}
		v := make([]float64, t.Len())
		x := pick(r, special)
		for i := range v {
			v[i] = x
		}
		w.Inputs[slot.Name()] = encode(r, t.DType(), t.Shape(), v, nil)
	}
	return w
}

// Run makes and checks the case of a seed.
func (f *Fuzzer) Run(ctx context.Context, seed uint64) Result {
	limited, cancel := context.WithTimeout(ctx, caseTime)
	defer cancel()
	r := f.run(limited, seed)
	if limited.Err() != nil {
		r.Failure, r.Skipped = nil, "it took too long"
	}
	return r
}

// caseTime bounds one case; loops of many trips are cut off by it.
const caseTime = 5 * time.Second

func (f *Fuzzer) run(ctx context.Context, seed uint64) Result {
	c := f.Make(ctx, seed)
	if c == nil {
		return Result{}
	}
	res := Result{Case: c}
	if res.Failure = sound(c.Model, c.vals, c.sizes); res.Failure != nil {
		return res
	}
	f.check(ctx, c, &res)
	return res
}

// Check runs the pipeline on the model of c and compares.
func (f *Fuzzer) Check(ctx context.Context, c *Case) Result {
	res := Result{Case: c}
	f.check(ctx, c, &res)
	return res
}

func (f *Fuzzer) check(ctx context.Context, c *Case, res *Result) {
	m := c.Model.Clone()
	shuffled := c.Seed%4 == 1
	if shuffled {
		m.Shuffle(c.Seed)
	}
	report, failure := optimize(ctx, m, c.Pipeline)
	m.Shuffle(0)
	switch {
	case failure != nil || report == nil:
		res.Failure = failure
		return
	case report.Border != nil: // as surgery does, and says
		res.Skipped = "a pass changed the interface"
		return
	}
	res.Applied = report.Rewrites
	promise := c.Pipeline.Promise()
	if res.Failure, res.Skipped = f.native.differs(ctx, c.Model, m, promise, c.Sets); res.Failure != nil {
		return
	}
	switch {
	case c.Seed%8 == 2:
		res.Failure = repeatable(ctx, c, m)
	case c.Seed%8 == 3:
		res.Failure = f.rewritten(ctx, c, m)
	}
	if res.Failure != nil || f.ort == nil || res.Applied == 0 {
		return
	}
	tame := c.Sets[:bindings] // ONNX Runtime's kernels differ among themselves on NaN
	res.Failure, res.ORT = f.ort.differs(ctx, c.Model, m, promise, tame)
	if res.Failure != nil {
		if why := f.excuse(ctx, c, res.Failure, tame); why != "" {
			res.Failure, res.ORT = nil, why
		}
	}
	res.ORTRan = res.ORT == ""
}

// repeatable runs the pipeline once more and compares the texts.
func repeatable(ctx context.Context, c *Case, m *ir.Model) *Failure {
	again := c.Model.Clone()
	if _, f := optimize(ctx, again, c.Pipeline); f != nil {
		return f
	}
	if Text(m) != Text(again) {
		return failf(Order, "two runs give two models")
	}
	return nil
}

// rewritten writes m and reads it, in both notations.
func (f *Fuzzer) rewritten(ctx context.Context, c *Case, m *ir.Model) *Failure {
	s := Text(m)
	r, err := text.Parse([]byte(s))
	if err != nil {
		return failf(Rewritten, "the result's text does not read back: %v", err)
	}
	if again := Text(r); again != s {
		return failf(Rewritten, "the result's text reads back as another model")
	}
	var b bytes.Buffer
	if _, err := onnxio.Write(&b, m, onnxio.WriteOptions{}); err != nil {
		return failf(Rewritten, "the result cannot be written: %v", err)
	}
	file, err := onnxio.Read(b.Bytes(), onnxio.Options{})
	if err != nil {
		return failf(Rewritten, "the result does not read back: %v", err)
	}
	defer file.Close()
	d, _ := f.native.differs(ctx, m, file.Model, passes.Promise{}, c.Sets)
	if d != nil {
		d.Kind, d.Detail = Rewritten, "read back, "+d.Detail
	}
	return d
}

// Text is m in ONNX's textual syntax, or the error.
func Text(m *ir.Model) string {
	var b bytes.Buffer
	if err := text.Print(&b, m, text.Options{}); err != nil {
		return err.Error()
	}
	return b.String()
}
