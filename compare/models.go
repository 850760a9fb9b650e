package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Budget bounds a comparison. Zero fields take the default.
type Budget struct {
	Time   time.Duration // default 10 s
	Memory int64         // bytes that one run may hold, default 512 MB
}

// Options of Models. The zero value is usable.
type Options struct {
	Budget Budget
	// Tolerance is what each output is held to; nil: Tolerances of the original.
	Tolerance func(output string) Tolerance
	// MaxSets ends the comparison after so many sets; 0: when the source ends.
	MaxSets int
	// Threads is handed to the engine.
	Threads int
	// Relation says how the interfaces correspond where they differ; the first model is then the relation's Original.
	Relation *Relation
	// Observe sees the outputs of both models on each set, before they are compared; may be nil.
	Observe func(set Set, a, b map[string]ir.Datum)
}

// State is the outcome of a comparison.
type State uint8

// The outcomes.
const (
	NotVerified State = iota // it could not be done; Verdict.Why says why
	Verified
	Mismatch
)

// String is the outcome in words.
func (s State) String() string {
	return [...]string{"not verified", "verified", "mismatch"}[s]
}

// Verdict is what a comparison found.
type Verdict struct {
	State State
	// Why explains a mismatch or why nothing could be verified. A verified pair may have a remark here: that the budget
	// ended after some sets, or that a set was left out.
	Why string
	// Sets counts the sets on which both models ran and every output was compared.
	Sets int
	// Partial reports that the source had, or may have had, further sets.
	Partial bool
	// Outputs holds the worst difference of each output over all sets, by name.
	Outputs map[string]Diff
	// Output is the name of the output that differs, "" if the mismatch is of another kind.
	Output string
	// Set is the set on which the models differ, or the last one.
	Set Set
	// Unsteady says that a difference may be rounding that the original amplifies, if it may. It is set with a Mismatch on inputs that
	// were given, or on all that were generated: where others can be, they decide.
	Unsteady *UnsteadyError
}

// String is the verdict in one line.
func (v *Verdict) String() string {
	s := v.State.String()
	if v.State == Verified {
		s += fmt.Sprintf(" on %d input set", v.Sets)
		if v.Sets != 1 {
			s += "s"
		}
	}
	if v.Why != "" {
		s += ": " + v.Why
	}
	return s
}

// comparison is one call of Models.
type comparison struct {
	eng        engine.Engine
	a, b       *ir.Model
	o          Options
	v          *Verdict
	tolerances map[string]Tolerance
	refused    error    // why the original gave nothing on the last set
	doubted    *Verdict // the first mismatch on a set on which the original is unsteady
}

// Models runs a, the original, and b on the same inputs and compares their outputs under o's tolerances. Both are loaded
// at once, sets and outputs are held one at a time. A nil source means inputs generated for a with seed 1.
//
// The verdict is NotVerified where nothing can be said: an operator is random or has no kernel, a does not load or run, it
// gives only NaN or empty outputs, or the budget ends before one set was compared. It is Mismatch where the interface or an output differs or b fails
// where a runs. The error is that of the context, or of the source.
func Models(ctx context.Context, eng engine.Engine, a, b *ir.Model, src Source, o Options) (*Verdict, error) {
	if o.Budget.Time == 0 {
		o.Budget.Time = 10 * time.Second
	}
	if o.Budget.Memory == 0 {
		o.Budget.Memory = 512 << 20
	}
	c := &comparison{eng: eng, a: a, b: b, o: o, v: &Verdict{Outputs: map[string]Diff{}}}
	if err := o.Relation.check(a, b); err != nil {
		return c.end(Mismatch, "the interface differs: "+err.Error()), nil
	}
	if src == nil {
		src = NewGenerator(a, GenerateOptions{Seed: 1, Memory: o.Budget.Memory / 4})
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.Budget.Time, errTime)
	defer cancel()
	v, err := c.run(limited, src)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return v, err
}

var errTime = errors.New("the time budget ended")

func (c *comparison) end(s State, why string) *Verdict {
	c.v.State, c.v.Why = s, why
	return c.v
}

func (c *comparison) run(ctx context.Context, src Source) (*Verdict, error) {
	for n := range c.a.Nodes() {
		if kernel.Random(n.Op()) {
			return c.end(NotVerified, fmt.Sprintf("%s is random", n.Op())), nil
		}
	}
	if w := weights(c.a); w > c.o.Budget.Memory { // engines pack them, which takes as much again
		return c.end(NotVerified, fmt.Sprintf("the weights take %d MB, and the memory budget is %d MB", w>>20, c.o.Budget.Memory>>20)), nil
	}
	eo := engine.Options{Threads: c.o.Threads, MaxMemory: c.o.Budget.Memory}
	a, err := c.eng.Load(ctx, c.a, eo)
	if err != nil {
		return c.end(NotVerified, c.reason(ctx, "the original does not load", err)), nil
	}
	defer a.Close()
	b, err := c.eng.Load(ctx, c.b, eo)
	if err != nil {
		if c.limits(ctx, err) {
			return c.end(NotVerified, c.reason(ctx, "the result does not load", err)), nil
		}
		return c.end(Mismatch, "the result does not load: "+err.Error()), nil
	}
	defer b.Close()
	a, b = c.o.Relation.sessions(a, b)
	if c.o.Tolerance == nil {
		c.tolerances = Tolerances(c.a)
		c.o.Tolerance = func(name string) Tolerance { return c.tolerances[name] }
	}
	for set, err := range src.Sets(ctx) {
		if err != nil {
			return nil, err
		}
		c.v.Set = set
		if done := c.set(ctx, a, b, src); done {
			return c.v, nil
		}
		if c.o.MaxSets > 0 && c.v.Sets >= c.o.MaxSets {
			c.v.Partial = true
			break
		}
	}
	return c.conclude(ctx), nil
}

// weights is the size of the constants of m in bytes.
func weights(m *ir.Model) (size int64) {
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			size += max(v.Const().ByteLen(), 0)
		}
		for n := range g.Nodes() {
			if n.Is("Constant") {
				size += max(n.Result(0).Const().ByteLen(), 0)
			}
		}
	}
	return size
}

// conclude is the verdict when the sets are through.
func (c *comparison) conclude(ctx context.Context) *Verdict {
	switch {
	case c.v.Sets > 0 && ctx.Err() != nil:
		c.v.Partial = true
		return c.end(Verified, errTime.Error()+" before further sets")
	case c.v.Sets > 0:
		if c.doubted != nil && c.v.Why == "" {
			c.v.Why = fmt.Sprintf("%s was left out: %v", c.doubted.Set.Label, c.doubted.Unsteady)
		}
		return c.end(Verified, c.v.Why)
	case c.doubted != nil:
		c.v = c.doubted
		return c.v
	case ctx.Err() != nil:
		return c.end(NotVerified, errTime.Error())
	case c.refused != nil:
		return c.end(NotVerified, c.reason(ctx, "the original does not run", c.refused))
	}
	return c.end(NotVerified, "there are no inputs to compare on")
}

// limits reports an error that says something of the budget or the engine, not of the model.
func (c *comparison) limits(ctx context.Context, err error) bool {
	var u *engine.UnsupportedError
	return ctx.Err() != nil || errors.As(err, &u) || errors.Is(err, engine.ErrMemory)
}

// reason is why nothing can be said: the budget or the engine by itself, else what with the error.
func (c *comparison) reason(ctx context.Context, what string, err error) string {
	var u *engine.UnsupportedError
	switch {
	case ctx.Err() != nil:
		return errTime.Error()
	case errors.Is(err, engine.ErrMemory):
		return "the memory budget ended"
	case errors.As(err, &u), errors.Is(err, ErrOnlyNaN), errors.Is(err, ErrEmpty):
		return err.Error()
	}
	return what + ": " + err.Error()
}

// What a source is told of a set on which the original runs and shows nothing.
var (
	ErrOnlyNaN = errors.New("the original gives only NaN")
	ErrEmpty   = errors.New("the original gives only empty outputs")
)

// set compares on the set at hand and reports whether that decided the matter.
func (c *comparison) set(ctx context.Context, a, b engine.Session, src Source) (done bool) {
	want, err := a.Run(ctx, c.v.Set.Inputs)
	if err == nil {
		if err = vacuous(want); err == ErrEmpty && c.alwaysEmpty() {
			err = nil // type and shape are all there is to compare
		}
	}
	if err != nil {
		return c.refuse(ctx, src, err)
	}
	got, err := b.Run(ctx, c.v.Set.Inputs)
	if err != nil {
		if !c.limits(ctx, err) {
			c.end(Mismatch, "the result does not run where the original does: "+err.Error())
			return true
		}
		return c.refuse(ctx, src, err)
	}
	if c.o.Observe != nil {
		c.o.Observe(c.v.Set, want, got)
	}
	found := make(map[string]Diff, len(want))
	for _, slot := range c.b.Main.Outputs() { // those of the original, without what it hands over
		name := slot.Name()
		d := Datum(want[name], got[name])
		found[name] = d
		admitted := c.o.Tolerance(name)
		if err := admitted.Check(d); err != nil {
			doubt := c.unsteady(ctx, a, want, name, d, admitted)
			if doubt != nil && c.doubt(src, doubt, fmt.Errorf("output %q: %v (%s)", name, err, c.v.Set.Label), d) {
				return false
			}
			c.merge(found)
			c.v.Output, c.v.Unsteady = name, doubt
			c.end(Mismatch, fmt.Sprintf("output %q: %v (%s)", name, err, c.v.Set.Label))
			return true
		}
	}
	c.merge(found)
	c.v.Sets++
	return false
}

// merge takes in the differences of a set.
func (c *comparison) merge(found map[string]Diff) {
	for name, d := range found {
		if worse(d, c.v.Outputs[name]) {
			c.v.Outputs[name] = d
		}
	}
}

// doubt handles a mismatch on a set on which the original is unsteady, and reports whether the source has other sets, which then
// decide.
func (c *comparison) doubt(src Source, why *UnsteadyError, mismatch error, d Diff) bool {
	if !src.Refused(why) {
		return false
	}
	if c.doubted == nil {
		c.doubted = &Verdict{State: Mismatch, Why: mismatch.Error(), Outputs: map[string]Diff{why.Output: d}, Output: why.Output, Set: c.v.Set, Unsteady: why}
	}
	return true
}

// refuse handles a set on which nothing can be said.
func (c *comparison) refuse(ctx context.Context, src Source, err error) (done bool) {
	c.refused = err
	if ctx.Err() != nil {
		c.conclude(ctx)
		return true
	}
	if src.Refused(err) {
		return false
	}
	c.v.Why = c.v.Set.Label + " was left out: " + c.reason(ctx, "the original does not run", err)
	return false
}

// worse reports whether d is a larger difference than e.
func worse(d, e Diff) bool {
	switch {
	case e.Elements == 0 && e.Unlike == "":
		return true
	case d.Unlike != "" || e.Unlike != "":
		return e.Unlike == ""
	case d.Steps != e.Steps:
		return d.Steps > e.Steps
	case d.Rel != e.Rel:
		return d.Rel > e.Rel
	}
	return e.Bits && !d.Bits
}

// vacuous reports outputs on which nothing can be seen: floats that are all NaN, or no elements at all.
func vacuous(out map[string]ir.Datum) error {
	nan := false
	for _, d := range out {
		x := Datum(d, d)
		if x.Elements > x.NaNs {
			return nil
		}
		nan = nan || x.NaNs > 0
	}
	switch {
	case nan:
		return ErrOnlyNaN
	case len(out) > 0:
		return ErrEmpty
	}
	return nil
}

// alwaysEmpty reports an original whose outputs are known to have no elements, whatever the inputs.
func (c *comparison) alwaysEmpty() bool {
	inferred := infer.Model(c.a)
	return !slices.ContainsFunc(c.a.Main.Outputs(), func(o *ir.Slot) bool {
		t, ok := o.Type().Merge(inferred.Type(o.Value()))
		return !ok || !slices.ContainsFunc(t.TensorShape(), func(d ir.Dim) bool { return d.IsStatic() && d.Size == 0 })
	})
}

// Interface reports the first difference between the interfaces of two models: names and order of inputs and outputs, kind
// and element type. Shapes of inputs have to be compatible, not equal: b may know more. Those of outputs are a declaration that may be
// wrong in a and right in b; what the outputs really are is compared when the models run. An input with a default may become a constant in b:
// callers that do not override it see no difference.
func Interface(a, b *ir.Model) error {
	kept := map[string]bool{}
	for _, s := range b.Main.Inputs() {
		kept[s.Name()] = true
	}
	var want []*ir.Slot
	for _, s := range a.Main.Inputs() {
		if kept[s.Name()] || s.Value().Default() == nil {
			want = append(want, s)
		}
	}
	if err := slots("input", want, b.Main.Inputs()); err != nil {
		return err
	}
	for i, s := range want {
		if t := b.Main.Inputs()[i]; (s.Value().Default() == nil) != (t.Value().Default() == nil) {
			return fmt.Errorf("input %q has a default in one model only", s.Name())
		}
	}
	return slots("output", a.Main.Outputs(), b.Main.Outputs())
}

func slots(what string, a, b []*ir.Slot) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d and %d %ss", len(a), len(b), what)
	}
	for i := range a {
		if a[i].Name() != b[i].Name() {
			return fmt.Errorf("%s %d is %q and %q", what, i, a[i].Name(), b[i].Name())
		}
		t, u := a[i].Type(), b[i].Type()
		if (t.DType() != ir.Undefined) && u.DType() == ir.Undefined {
			return fmt.Errorf("%s %q has lost its type %s", what, a[i].Name(), t)
		}
		_, ok := t.Merge(u)
		if what == "output" {
			_, ok = t.WithoutShapes().Merge(u.WithoutShapes())
		}
		if !ok {
			return fmt.Errorf("%s %q is %s and %s", what, a[i].Name(), t, u)
		}
	}
	return nil
}
