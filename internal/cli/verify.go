package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/report"
)

const verifyLong = `verify compares two models on the same inputs, or one model with recorded outputs.

For each output it prints the largest difference max|a-b| / max(max|a|, 1e-6), the ratio
of signal to error (SQNR), the cosine, and how often the largest element is the same
(top-1). Outside of the tolerance the exit code is 1, and the first node whose result
differs is named. Inputs are --input, --data, or generated.

The second file may be one that another runtime reads: .tflite runs in LiteRT, .xml in
OpenVINO, and with --consumer an ONNX model in any of them; a folder is one in which make
has built what target c wrote, and its program is run. The runtime is that of the
Python that ONNXOPT_LITERT, ONNXOPT_OPENVINO, ONNXOPT_PYTHON (ONNX Runtime) or ONNXOPT_TVM
names, or of the one on the PATH. --layers also lists the values within, told by their
names in the model, where the runtime shows them.`

const verifyExample = `onnxopt verify a.onnx b.onnx
onnxopt verify a.onnx b.onnx --data x.npz --tolerance 0.01
onnxopt verify model.onnx --input x.npz --expect y.npz
onnxopt verify model.onnx --input test_data_set_0
onnxopt verify a.onnx b.onnx --engine ort          in ONNX Runtime
onnxopt verify model.onnx model.tflite --layers    in LiteRT, value by value
onnxopt verify model.onnx model.xml                in OpenVINO
onnxopt verify model.onnx build                    the C program in a folder
onnxopt verify a.onnx b.onnx --consumer openvino`

// verifyFlags are the options of verify.
type verifyFlags struct {
	inputs    []string
	expect    string
	consumer  string
	layers    bool
	tolerance float64
	budget    budget
	json      bool
	seed      uint64
	sizes     sizes
	engine    engineFlags
	data      dataFlags
	files     fileFlags
	resources resourceFlags
}

func (e *env) verifyVerb() *cobra.Command {
	f := &verifyFlags{sizes: sizes{}}
	cmd := &cobra.Command{
		Use: "verify", Short: "compare two models, or a model with recorded outputs", Long: verifyLong, Example: verifyExample,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		return e.verify(cmd.Context(), f, args, cmd.Flags().Changed)
	}
	g := newGroup("Options")
	g.StringArrayVarP(&f.inputs, "input", "i", nil, "inputs of one run: `FILE`, or NAME=FILE, or NAME=VALUE; may be repeated")
	g.StringVar(&f.expect, "expect", "", "outputs that one model has to give: `FILE` .npz, .npy or a folder of ONNX test data")
	g.Float64Var(&f.tolerance, "tolerance", 0, "largest relative difference of floats (default 1e-4, 5e-3 for 16 bits, a step behind a quantizer)")
	g.Lookup("tolerance").DefValue = ""
	g.StringVar(&f.consumer, "consumer", "", "runtime `NAME` of the second file: litert, openvino, onnxruntime or tvm (default by its extension)")
	g.BoolVar(&f.layers, "layers", false, "list the values within the second file, where its runtime shows them")
	f.budget = budget{10 * time.Second, 0}
	g.Var(&f.budget, "budget", "what the comparison on generated inputs may take; given data are all taken unless this is given")
	g.Lookup("budget").DefValue = "10s"
	g.BoolVar(&f.json, "json", false, "print JSON")
	g.Uint64Var(&f.seed, "seed", 1, "seed `N` of generated inputs")
	g.Var(f.sizes, "size", "size of an open dimension of generated inputs: symbol=8 or input[axis]=8; may be repeated")
	f.engine.add(g, false)
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, "onnxopt verify [options] a.onnx b.onnx\nonnxopt verify [options] model.onnx --input FILE --expect FILE", g, f.data.group("Data"), files)
	return cmd
}

// check finds wrong usage before any file is read.
func (f *verifyFlags) check(args []string) error {
	switch {
	case len(args) == 0 || len(args) > 2:
		return usagef("verify takes two models, or one and --expect, not %d", len(args))
	case len(args) == 2 && f.expect != "":
		return usagef("--expect is for one model; two are compared with each other")
	case len(args) == 1 && len(f.inputs) == 0:
		return usagef("with what? Name a second model, or recorded values: --input FILE --expect FILE")
	case len(f.inputs) > 0 && f.data.data != "":
		return usagef("--input and --data exclude each other")
	case math.IsNaN(f.tolerance) || f.tolerance < 0:
		return usagef("--tolerance %g: a bound is not negative", f.tolerance)
	}
	if _, err := f.consumerOf(args); err != nil {
		return err
	}
	return f.engine.check(false)
}

// verified is the --json of verify.
type verified struct {
	Status     string           `json:"status"` // "verified", "mismatch", "not verified"
	Why        string           `json:"why,omitempty"`
	A          string           `json:"a"`
	B          string           `json:"b"`
	Sets       int              `json:"sets"`
	Partial    bool             `json:"partial,omitempty"` // there were, or may have been, further sets
	Outputs    []verifiedOutput `json:"outputs"`
	Consumer   string           `json:"consumer,omitempty"` // that ran B
	Layers     []verifiedLayer  `json:"layers,omitempty"`
	Divergence *divergence      `json:"first_divergence,omitempty"`
}

// divergence is the first value that differs, in the order of the first model.
type divergence struct {
	Value    string   `json:"value"`
	Node     string   `json:"node"`
	Operator string   `json:"operator"`
	Rules    []string `json:"rules,omitempty"`
	Differs  string   `json:"difference"`
}

// comparison is a verify that runs.
type comparison struct {
	*env
	f      *verifyFlags
	engine engine.Engine
	show   *progress
	a, b   *ir.Model
	stats  outputStats
	r      verified
}

func (e *env) verify(ctx context.Context, f *verifyFlags, args []string, given func(string) bool) error {
	c := &comparison{env: e, f: f}
	in, err := e.open(args[0], &f.files, false)
	if err != nil {
		return err
	}
	defer in.close()
	c.a, c.r.A, c.r.B = in.model, args[0], f.expect
	files := map[*ir.Model]string{in.model: in.name}
	k, err := f.consumerOf(args)
	if err != nil {
		return err
	}
	program := k == nil && len(args) == 2 && isFolder(args[1])
	if k != nil || program {
		c.r.B = args[1]
	} else if len(args) == 2 {
		other, err := e.open(args[1], &f.files, false)
		if err != nil {
			return err
		}
		defer other.close()
		c.b, c.r.B, files[other.model] = other.model, args[1], other.name
	}
	runner, done, err := f.engine.open(f.engine.names[0], "")
	if err != nil {
		return err
	}
	defer done()
	c.engine = &remarking{runner, e, files}
	if e.terminal {
		c.show = startProgress(e.stderr, args[0])
		defer c.show.stop()
	}
	c.stats.init(c.a, c.tolerance(given("tolerance")))
	err = onnxio.Guard(func() error {
		switch {
		case k != nil || program:
			return c.artifact(ctx, k, args[1], given("budget"))
		case c.b == nil:
			return c.recorded(ctx)
		}
		return c.models(ctx, given("budget"))
	})
	c.show.clear()
	if err != nil {
		return inFile(in.name, err)
	}
	return c.tell()
}

// isFolder reports whether a path is that of a folder.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// tolerance is --tolerance, or the design's.
func (c *comparison) tolerance(stated bool) func(string) compare.Tolerance {
	own := compare.Tolerances(c.a)
	return func(name string) compare.Tolerance {
		if stated {
			return compare.Tolerance{Rel: c.f.tolerance, Steps: own[name].Steps}
		}
		return own[name]
	}
}

// unlimited is a budget that does not end.
const unlimited = 1 << 62

// models compares two models.
func (c *comparison) models(ctx context.Context, limited bool) error {
	src, finish, err := c.source(ctx)
	if err != nil {
		return err
	}
	defer finish()
	o := compare.Options{
		Threads: c.f.resources.count(), MaxSets: c.f.data.limit,
		Tolerance: func(string) compare.Tolerance { return anything() },
		Budget:    compare.Budget{Time: c.f.budget.time, Memory: unlimited},
	}
	if !limited && (c.f.data.data != "" || len(c.f.inputs) > 0) {
		o.Budget.Time = math.MaxInt64
	}
	if m := max(c.f.resources.maxMemory, c.f.budget.memory); m > 0 {
		o.Budget.Memory = m
	}
	var worst compare.Set
	begun := time.Now()
	o.Observe = func(set compare.Set, a, b map[string]ir.Datum) {
		c.stats.sets++
		c.show.doing("comparing: " + estimate(begun, c.stats.sets, 0))
		if c.stats.add(a, b) {
			worst = set
		}
	}
	v, err := compare.Models(ctx, c.engine, c.a, c.b, src, o)
	if err != nil {
		return err
	}
	c.r.Status, c.r.Why, c.r.Sets, c.r.Partial = v.State.String(), v.Why, v.Sets, v.Partial
	c.r.Outputs = c.stats.outputs()
	if v.State == compare.Verified && c.stats.failed() != "" {
		c.r.Status, c.r.Why = compare.Mismatch.String(), c.stats.failed()
	}
	if worst.Inputs != nil {
		c.diverge(ctx, worst)
	}
	return nil
}

// anything admits every difference: outputs are judged when all sets are through.
func anything() compare.Tolerance {
	return compare.Tolerance{Rel: math.Inf(1), Abs: math.Inf(1), Steps: math.Inf(1)}
}

// source is where inputs come from.
func (c *comparison) source(ctx context.Context) (compare.Source, func(), error) {
	switch {
	case len(c.f.inputs) > 0:
		set, err := given(c.a, c.f.inputs, &c.f.data)
		return compare.Fixed(set), func() {}, err
	case c.f.data.data != "":
		s, err := c.f.data.open(c.a, c.f.data.data, false)
		if err != nil {
			return nil, nil, err
		}
		return sets(ctx, s, c.f.data.limit), func() { c.skipped(s); s.Close() }, nil
	case len(c.a.Main.Inputs()) == 0:
		return compare.Fixed(compare.Set{Inputs: map[string]ir.Datum{}, Label: "no inputs"}), func() {}, nil
	}
	return generator(c.a, c.f.seed, c.f.sizes), func() {}, nil
}

// diverge finds the first node that differs on a set. That it cannot be found is no error: the outputs tell enough.
func (c *comparison) diverge(ctx context.Context, set compare.Set) {
	c.show.doing("looking for the first node that differs")
	report.RestoreOrigin(c.b)
	o := engine.Options{Threads: c.f.resources.count(), MaxMemory: c.f.resources.maxMemory}
	var bound func(*ir.Value, compare.Diff) compare.Tolerance
	if c.f.tolerance > 0 {
		bound = func(*ir.Value, compare.Diff) compare.Tolerance { return compare.Tolerance{Rel: c.f.tolerance} }
	}
	d, err := compare.FirstDivergence(ctx, c.engine, c.a, c.b, set, o, bound)
	if err != nil || d == nil {
		return
	}
	c.r.Divergence = &divergence{Value: d.A.Name(), Differs: d.Diff.String()}
	if n := d.B.Node(); n != nil {
		c.r.Divergence.Node, c.r.Divergence.Operator, c.r.Divergence.Rules = n.Name(), n.Op().String(), n.Origin().Rules()
	}
}

// recorded compares one model with recorded outputs.
func (c *comparison) recorded(ctx context.Context) error {
	set, err := given(c.a, c.f.inputs, &c.f.data)
	if err != nil {
		return err
	}
	want, err := c.expected(ctx)
	if err != nil {
		return err
	}
	s, err := c.engine.Load(ctx, c.a, engine.Options{Threads: c.f.resources.count(), MaxMemory: c.f.resources.maxMemory})
	if err != nil {
		return err
	}
	defer s.Close()
	c.show.doing("running")
	got, err := s.Run(ctx, set.Inputs)
	if err != nil {
		return err
	}
	c.stats.only = want
	c.stats.add(want, got)
	c.r.Sets, c.r.Outputs, c.r.Status = 1, c.stats.outputs(), compare.Verified.String()
	if why := c.stats.failed(); why != "" {
		c.r.Status, c.r.Why = compare.Mismatch.String(), why
	}
	return nil
}

// tell prints the result; outside of the tolerance it is an error.
func (c *comparison) tell() error {
	if c.f.json {
		if err := c.env.json(c.r); err != nil {
			return err
		}
	} else {
		c.write()
	}
	if c.r.Status == compare.Verified.String() {
		return nil
	}
	why := c.r.Status
	if c.r.Why != "" {
		why += ": " + c.r.Why
	}
	return &toldError{errors.New(why)}
}

// toldError is the error of a verb that has printed its JSON already.
type toldError struct{ error }

func (c *comparison) write() {
	t := table{right: []int{1, 2, 3, 4}}
	t.row("output", "difference", "SQNR dB", "cosine", "top-1", "")
	for _, o := range c.r.Outputs {
		t.row(o.cells()...)
	}
	if len(c.r.Outputs) > 0 {
		t.write(c.stdout, "")
		fmt.Fprintln(c.stdout)
	}
	c.writeLayers()
	line := c.r.Status
	if c.r.Consumer != "" {
		line += " in " + c.r.Consumer
	}
	if c.r.Sets > 0 {
		line += fmt.Sprintf(" on %d set%s of inputs", c.r.Sets, plural(c.r.Sets))
	}
	if c.r.Why != "" && c.r.Status == compare.Verified.String() {
		line += ": " + c.r.Why
	}
	fmt.Fprintln(c.stdout, line)
	if d := c.r.Divergence; d != nil {
		rules := ""
		if len(d.Rules) > 0 {
			rules = ", made by " + strings.Join(d.Rules, ", ")
		}
		fmt.Fprintf(c.stdout, "first divergence: value %q of node %q (%s%s): %s\n", d.Value, d.Node, d.Operator, rules, d.Differs)
	}
}

// finite is x where JSON can hold it.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func short(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }
