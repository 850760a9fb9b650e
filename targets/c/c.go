// Package c writes models as C: a source file of C99 with a header, the weights beside it or within, and what a project needs to build
// and call it. What is written knows all sizes, allocates nothing and needs nothing but libc and libm.
package c

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
)

const (
	name       = "c"
	profileMCU = "mcu"
)

// Options of the target.
type Options struct {
	Weights string `opt:"weights" enum:"incbin|file|array" doc:"weights: a file that the assembler takes in, a file that the program hands over, or arrays in the source"`
	Name    string `opt:"name" doc:"what the functions' names begin with; empty: the file's name"`
	Profile string `opt:"profile" enum:"host|mcu" doc:"mcu: for microcontrollers, weights as arrays and bodies without vector instructions alone"`

	Schedule passes.File `opt:"schedule" doc:"file of onnxopt schedule, which says how layers are written; empty: the defaults"`

	MaxRAM   passes.Size `opt:"max-ram" doc:"static memory that the model may take, as 64k; 0: any"`
	MaxFlash passes.Size `opt:"max-flash" doc:"read-only memory that the weights may take, as 128k; 0: any; the code comes on top"`
}

// New describes the target.
func New() *targets.Target {
	return targets.Define(targets.Target{
		Name: name, Doc: "C99 without allocation or dependencies, specialised for the model's sizes", Extension: ".c",
		Long: `Beside model.c it writes model.h, which says how to call it; model_main.c, an example; model.mk and model.cmake, which build both; and the
weights as model.bin, unless weights=array. With weights=incbin the assembler reads model.bin, which must lie in its include path;
with weights=file the program hands its contents to model_load. All sizes have to be known: set-shape states those of the inputs.

The source has bodies for AVX-512, for AVX2 with FMA, and for vectors of 4 numbers (NEON, SSE or plain C); the compiler's
options, such as -march=native, choose. Memory for results is static, so calls must not overlap.

Between DequantizeLinear and QuantizeLinear convolutions, products and averages are summed in integers, exactly, and what only moves elements
moves bytes. For that the compiler must not join products and sums, as gcc does without -std=c99 or -ffp-contract=off. profile=mcu writes for microcontrollers: the
weights as constant arrays, one body of plain C, no stdio and no heap; of libm it calls only what the model's operators name. max-ram and
max-flash (or --max-ram and --max-flash) end the run before anything is written, and name the layers of the peak.

onnxopt schedule finds out by measuring how layers are written best on a machine; schedule=FILE writes them so.`,
		Pipeline: "inline,freeze-defaults{all=true},requantize{form=qdq},opset{to=21},O2",
		Illegal:  illegal,
	}, defaults(), lower)
}

func defaults() Options { return Options{Weights: "incbin", Profile: "host"} }

// illegal goes by the operator alone; what depends on shapes and attributes is found while writing.
func illegal(n *ir.Node) error {
	op := n.Op()
	if op.Domain == "" && (lowerings()[op.Type] != nil || op.Type == "Constant" || op.Type == "Shape" || op.Type == "ConstantOfShape" || op.Type == "Range" || op.Type == "Size") {
		return nil
	}
	return targets.Missing("there is no such operator", n)
}

func lower(c *passes.Context, m *ir.Model, a targets.Artifact, o Options) error {
	var s *Schedule
	if o.Schedule != "" {
		data, err := c.File(o.Schedule)
		if err != nil {
			return err
		}
		if s, err = ParseSchedule(data); err != nil {
			return fmt.Errorf("%s: %w", o.Schedule, err)
		}
	}
	b, err := translate(c, m, o, s)
	if err != nil {
		return err
	}
	b.prune()
	b.order()
	mem := b.place()
	if err := b.limits(mem); err != nil {
		return err
	}
	for _, name := range b.halves {
		a.Note(fmt.Sprintf("input %q is float32 instead of float16", name))
	}
	if s != nil {
		a.Note(fmt.Sprintf("%d of the %d layers of the schedule are in the model", len(b.used), len(s.Layers)))
	}
	return b.write(a, mem)
}

// translate makes the steps of a model.
func translate(c *passes.Context, m *ir.Model, o Options, s *Schedule) (*builder, error) {
	if o.Profile == profileMCU {
		o.Weights = "array"
		if s != nil {
			return nil, errors.New("schedules are measured on this machine and profile=mcu is for others, so that the two exclude each other")
		}
	}
	m = prepared(m)
	b := &builder{c: c, facts: infer.Model(m), o: o, known: map[string]*buffer{}, places: map[*ir.Value]*place{}, failed: map[*ir.Value]bool{},
		done: map[*ir.Node]bool{}, lazy: map[*ir.Value]*expr{}, cheap: map[*ir.Value]*expr{}, folded: map[*ir.Value]*ir.Tensor{}, illegal: targets.IllegalError{Target: name},
		scheduled: s, used: map[string]bool{}}
	if err := b.graph(m.Main); err != nil {
		return nil, err
	}
	return b, b.misfit
}
