// Command sweep writes many small models for a target, runs what was written in its runtime and prints where that differs from ONNX Runtime:
// the models of a folder, ONNX's node tests, or random ones of internal/fuzz. The embedded engine says what is right; where ONNX Runtime
// says otherwise of the model as it came, or does not run it, the line says that.
//
//	go run ./bench/targets/sweep -target tflite -nodes           # in the root of the repository, with ONNXOPT_LITERT and ONNXOPT_PYTHON
//	go run ./bench/targets/sweep -target openvino -random 1-500
//	go run ./bench/targets/sweep -target tflite -mode plain FOLDER
//	go run ./bench/targets/sweep -target tensorrt -random 1-500  # builds engines, and runs none
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

type options struct {
	target, mode, random, keep string
	nodes, frozen, refused     bool
	only                       bool // write, and run nothing
	folders                    []string
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "", "the target")
	flag.StringVar(&o.mode, "mode", "", "mode of its runtime: plain, reference")
	flag.BoolVar(&o.nodes, "nodes", false, "ONNX's node tests")
	flag.BoolVar(&o.frozen, "frozen", false, "all inputs but the first are constants")
	flag.StringVar(&o.random, "random", "", "random models of the seeds `FROM-TO`")
	flag.BoolVar(&o.refused, "refused", false, "print what is refused, too")
	flag.BoolVar(&o.only, "emit", false, "only write what the target makes, in the folder of -keep")
	flag.StringVar(&o.keep, "keep", "", "folder in which models and artifacts stay")
	flag.Parse()
	o.folders = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bad, err := sweep(ctx, &o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if bad {
		os.Exit(1)
	}
}

// trial is a case on its way.
type trial struct {
	*targettest.Case
	artifact string
	refused  error  // by the target
	failed   error  // in the runtime
	why      string // ONNX Runtime disagrees with the embedded engine
}

func sweep(ctx context.Context, o *options) (bad bool, err error) {
	t, near := all.Lookup(o.target)
	i := slices.IndexFunc(consumer.All(), func(k *consumer.Consumer) bool { return k.Target == o.target })
	if t == nil || i < 0 && !o.only && t.Name != "tensorrt" {
		return false, fmt.Errorf("no target with a runtime is called %q%s", o.target, near)
	}
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "sweep-"); err != nil {
			return false, err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return false, err
	}
	var trials []*trial
	count := map[string]int{}
	err = models(ctx, o, func(name string, m *ir.Model, in map[string]ir.Datum) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		x := prepare(ctx, name, m, in, t, dir)
		switch {
		case x == nil:
			count["not run"]++
		case x.refused != nil:
			count["refused"]++
			if o.refused {
				fmt.Printf("refused  %s: %.300s\n", name, x.refused)
			}
		default:
			trials = append(trials, x)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if o.only {
		fmt.Println(o.target, count, len(trials), "written")
		return false, nil
	}
	if t.Name == "tensorrt" {
		return build(ctx, trials, count)
	}
	k := consumer.All()[i]
	items := make([]consumer.Item, len(trials))
	for i, x := range trials {
		items[i] = consumer.Item{Artifact: x.artifact, Inputs: x.Inputs, Options: x.Options(1)}
		items[i].Options.Mode = o.mode
	}
	err = k.RunMany(ctx, os.Getenv(k.Variable), items, func(i int, r *consumer.Result, err error) {
		x := trials[i]
		if x.failed = err; err == nil {
			_, x.failed = x.Compare(r.Outputs)
		}
	})
	if err != nil {
		return false, err
	}
	if err := judge(ctx, trials); err != nil {
		return false, err
	}
	for _, x := range trials {
		switch {
		case x.failed == nil:
			count["agree"]++
		case x.why != "":
			count["ONNX Runtime differs"]++
		default:
			count["differ"]++
			bad = true
		}
		if x.failed != nil {
			fmt.Printf("%-8s %s: %.300s%s\n", map[bool]string{true: "differs", false: "unsure"}[x.why == ""], x.Name, strings.Join(strings.Fields(x.failed.Error()), " "), x.why)
		}
	}
	fmt.Println(o.target, o.mode, count)
	return bad, nil
}

// judge asks ONNX Runtime, without its optimizations, about the models that differ.
func judge(ctx context.Context, trials []*trial) error {
	k := consumer.Lookup("onnxruntime")
	python := os.Getenv(k.Variable)
	if python == "" {
		return nil
	}
	var items []consumer.Item
	var of []*trial
	for _, x := range trials {
		if x.failed != nil {
			item := consumer.Item{Artifact: x.Path, Inputs: x.Inputs, Options: x.Options(1)}
			item.Options.Mode = "plain"
			items, of = append(items, item), append(of, x)
		}
	}
	return k.RunMany(ctx, python, items, func(i int, r *consumer.Result, err error) {
		if err == nil {
			_, err = of[i].Compare(r.Outputs)
		}
		if err != nil {
			of[i].why = fmt.Sprintf("; of the model as it came ONNX Runtime says: %.200s", err)
		}
	})
}

// plain reports whether NumPy, through which consumers are fed, has the element type.
func plain(t *ir.Tensor) bool {
	d := t.DType()
	return d == ir.Bool || d.IsInt() && d.Bits() >= 8 || d == ir.Float16 || d == ir.Float32 || d == ir.Float64
}

// prepare runs a model and writes it for the target; nil where the embedded engine does not run it.
func prepare(ctx context.Context, name string, m *ir.Model, in map[string]ir.Datum, t *targets.Target, dir string) *trial {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:`, r) {
			return '_'
		}
		return r
	}, name)
	for input, d := range in {
		if d == nil { // an input with a default
			delete(in, input)
		} else if x, ok := d.(*ir.Tensor); !ok || x.Len() == 0 || !plain(x) {
			return nil
		}
	}
	s, err := native.New().Load(ctx, m, engine.Options{MaxMemory: 1 << 30})
	if err != nil {
		return nil
	}
	defer s.Close()
	want, err := s.Run(ctx, in)
	if err != nil {
		return nil
	}
	x := &trial{Case: &targettest.Case{Name: name, Path: filepath.Join(dir, name+".in.onnx"), Inputs: in, Want: want, Bounds: targettest.Bounds(m), Shapes: map[string][]int64{}}}
	for name, d := range want {
		w, ok := d.(*ir.Tensor)
		if !ok || !plain(w) {
			return nil
		}
		x.Shapes[name] = w.Shape()
	}
	for _, slot := range m.Main.Inputs() { // sizes are those of the inputs
		if d, ok := in[slot.Name()].(*ir.Tensor); ok && slot.Type().IsTensor() && t.Name != "onnxruntime" && t.Name != "openvino" {
			shape := make(ir.Shape, d.Rank())
			for i, n := range d.Shape() {
				shape[i] = ir.Static(n)
			}
			slot.SetType(ir.TensorType(d.DType(), shape))
		}
	}
	if _, err := onnxio.WriteFile(x.Path, m, onnxio.WriteOptions{}); err != nil {
		return nil
	}
	options := ""
	if t.Name == "tflite" {
		options = "{layout=keep}"
	}
	e, err := x.Emit(ctx, t, options, dir)
	if err != nil {
		x.refused = err
		return x
	}
	x.artifact = e.Path("")
	return x
}
