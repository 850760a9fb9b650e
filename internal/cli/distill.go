package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/distill"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/grad"
	"github.com/onnxopt/onnxopt/passes"
)

const distillLong = `distill trains a student, any float32 model, on data: by labels, by the outputs of a
teacher, or by both. The loss is

  ` + distill.Formula + `

the mean over a batch. The first output counts: scores of classes, before or after a Softmax.
CE needs labels, --ce-weight 0 does without. Means and variances of BatchNormalization stay.
Without --teacher the student learns from labels alone, with --init from random weights.
The rate rises during --warmup steps and then falls to zero as half a cosine. A loss that is
no longer a number ends the training; the weights of the last good epoch are written.`

const distillExample = `onnxopt distill --teacher big.onnx --student half.onnx --data images.npz --epochs 5 -o out.onnx
onnxopt distill --teacher big.onnx --student half.onnx --data photos/ --ce-weight 0 --temperature 4 -o out.onnx
onnxopt distill --student net.onnx --init --data digits/ --limit 1600 --epochs 10 -o trained.onnx`

// distillFlags are the options of distill.
type distillFlags struct {
	teacher, student, output string
	optimizer                enum
	o                        distill.Options
	engine                   engineFlags
	data                     dataFlags
	files                    fileFlags
	resources                resourceFlags
}

func (e *env) distillVerb() *cobra.Command {
	f := &distillFlags{}
	cmd := &cobra.Command{
		Use: "distill", Short: "train a student from a teacher or from labels", Long: distillLong, Example: distillExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("rate") {
				if f.o.Rate = 1e-4; f.o.Init {
					f.o.Rate = 1e-3
				}
			}
			return f.check(args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.distill(cmd.Context(), f) },
	}
	g := newGroup("Training")
	g.StringVar(&f.student, "student", "", "`MODEL` to train")
	g.StringVar(&f.teacher, "teacher", "", "`MODEL` to learn from")
	g.StringVarP(&f.output, "output", "o", "", "write the trained student to `FILE`")
	f.o.Epochs, f.o.Batch = 10, 32
	g.Var(count{&f.o.Epochs}, "epochs", "passes over the data")
	g.Var(count{&f.o.Batch}, "batch", "samples a step")
	g.Float64Var(&f.o.CE, "ce-weight", 1, "`WEIGHT` of the labels")
	g.Float64Var(&f.o.KD, "kd-weight", 1, "`WEIGHT` of the teacher")
	g.Float64Var(&f.o.Temperature, "temperature", 4, "`T` by which scores are divided for the teacher's term")
	f.optimizer = enum{"adamw", []string{"adamw", "sgd"}}
	g.Var(&f.optimizer, "optimizer", "how weights are updated")
	g.Float64Var(&f.o.Rate, "rate", 0, "largest learning `RATE` (default 0.0001, with --init 0.001)")
	g.Float64Var(&f.o.Momentum, "momentum", .9, "`FACTOR` of sgd")
	g.Float64Var(&f.o.Decay, "weight-decay", 1e-4, "`FACTOR` by which weights, not vectors, decay")
	g.Float64Var(&f.o.Clip, "clip", 0, "largest `NORM` of all derivatives together, 0 for any")
	g.Var(count{&f.o.Warmup}, "warmup", "steps over which the rate rises")
	g.BoolVar(&f.o.Init, "init", false, "begin with random weights")
	g.Uint64Var(&f.o.Seed, "seed", 1, "seed `N` of the order of samples and of --init")
	f.engine.add(g, false)
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, "onnxopt distill [options] --student MODEL --data PATH -o FILE", g, f.data.group("Data"), files)
	return cmd
}

// check finds wrong usage before any file is read.
func (f *distillFlags) check(args []string) error {
	o := &f.o
	positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	notNegative := func(v float64) bool { return v == 0 || positive(v) }
	switch {
	case len(args) != 0:
		return usagef("distill takes its models by --student and --teacher, not %q", args[0])
	case f.student == "":
		return usagef("which model is to learn? --student MODEL")
	case f.data.data == "":
		return usagef("which data? --data PATH")
	case f.output == "":
		return usagef("where to? -o FILE")
	case !positive(o.Temperature) || !positive(o.Rate):
		return usagef("--temperature and --rate are above 0")
	case !notNegative(o.CE) || !notNegative(o.KD) || !notNegative(o.Clip) || !notNegative(o.Decay) || !notNegative(o.Momentum):
		return usagef("weights, --clip, --weight-decay and --momentum are not negative")
	case o.CE == 0 && (o.KD == 0 || f.teacher == ""):
		return usagef("there is nothing to learn from: neither labels nor a teacher have a weight")
	case o.Epochs < 1 || o.Batch < 1:
		return usagef("--epochs and --batch are 1 or more")
	}
	return f.engine.check(false)
}

// trainee reads a model and raises its opset as far as training needs.
func (e *env) trainee(ctx context.Context, f *distillFlags, name string) (*input, error) {
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return nil, err
	}
	if in.model.Opset("") < grad.MinOpset {
		r, err := e.registry()
		if err != nil {
			return nil, err
		}
		p, err := r.Parse(fmt.Sprintf("opset{to=%d}", grad.MinOpset))
		if err != nil {
			return nil, err
		}
		if _, err := p.Run(ctx, in.model, passes.Config{}); err != nil {
			in.close()
			return nil, inFile(name, err)
		}
	}
	return in, nil
}

func (e *env) distill(ctx context.Context, f *distillFlags) error {
	in, err := e.trainee(ctx, f, f.student)
	if err != nil {
		return err
	}
	defer in.close()
	o := f.o
	o.Student, o.Optimizer, o.Limit = in.model, f.optimizer.value, f.data.limit
	o.Threads, o.MaxMemory = f.resources.count(), f.resources.maxMemory
	if f.teacher != "" {
		t, err := e.open(f.teacher, &f.files, false)
		if err != nil {
			return err
		}
		defer t.close()
		if err := sameInputs(t.model, in.model); err != nil {
			return &fileError{f.teacher, err}
		}
		o.Teacher = t.model
	}
	runner, done, err := f.engine.open(f.engine.names[0], "")
	if err != nil {
		return err
	}
	defer done()
	o.Engine = runner
	if o.Set, err = f.data.open(in.model, f.data.data, false); err != nil {
		return inFile(f.student, err)
	}
	defer o.Set.Close()
	o.Progress = func(p distill.Epoch) {
		fmt.Fprintf(e.stdout, "epoch %d of %d: loss %.4f\n", p.N, o.Epochs, p.Loss)
		e.stdout.Flush()
	}
	epochs, failure := distill.Train(ctx, o)
	if failure != nil && len(epochs) == 0 {
		return inFile(f.student, failure)
	}
	if _, err := e.writeModel(f.output, "", in.model, onnxio.WriteOptions{}); err != nil {
		return err
	}
	if failure != nil {
		return inFile(f.student, fmt.Errorf("%w; %s has the weights of epoch %d", failure, f.output, len(epochs)))
	}
	return nil
}

// sameInputs says how the inputs of a teacher and a student differ.
func sameInputs(teacher, student *ir.Model) error {
	has := map[string]*ir.Type{}
	for _, s := range student.Main.Inputs() {
		has[s.Name()] = s.Type()
	}
	for _, s := range teacher.Main.Inputs() {
		t, ok := has[s.Name()]
		if !ok && s.Value().Default() == nil {
			return fmt.Errorf("the teacher has an input %q, which the student does not have", s.Name())
		}
		if _, fits := t.WithoutSymbols().Merge(s.Type().WithoutSymbols()); ok && !fits {
			return fmt.Errorf("input %q is %s in the teacher and %s in the student", s.Name(), s.Type(), t)
		}
	}
	return nil
}
