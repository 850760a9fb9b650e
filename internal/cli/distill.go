package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/distill"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/grad"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/report/page"
)

const distillLong = `distill trains a student, any float32 model or one in QDQ form, on data: by labels, by the
outputs of a teacher, or by both. The loss is

  ` + distill.Formula + `

the mean over a batch. The first output counts: scores of classes, before or after a Softmax.
CE needs labels; --ce-weight 0 does without, and so do data that have none. Without --teacher the student learns from labels
alone, with --init from random weights. Tensors f are those that layers with weights read and
that have the same name in both models, as passes leave it; of a student with fewer channels
each is matched with the teacher's that it is most alike.

The rate rises during --warmup steps and then falls to zero as half a cosine. A student that
is quantized (QuantizeLinear and DequantizeLinear) learns behind its quantizers, scales
included, and stays quantized. Weights that pruning has set to zero stay zero.

--norm says what BatchNormalization does: frozen, as in the model; batch, by the statistics
of each batch; insert, as batch, and also behind convolutions that have lost theirs to a
fusion: it is folded into them again at the end, and lets them learn far better. auto is
insert, but batch with --init and frozen where the student is quantized, has no convolutions
or --batch is below 8.

A loss that is no longer a number ends the training, and so does an interrupt; the weights of
the last good epoch are written. --checkpoint keeps the state after each epoch, and --resume
goes on from there as if there had been no break.`

const distillExample = `onnxopt distill --teacher big.onnx --student half.onnx --data images.npz --epochs 5 -o out.onnx
onnxopt distill --teacher big.onnx --student half.onnx --data photos/ --ce-weight 0 --flip --crop 4 -o out.onnx
onnxopt distill --teacher big.onnx --student int8.onnx --data photos/ --ce-weight 0 --epochs 3 -o better.onnx
onnxopt distill --student net.onnx --init --data digits/ --limit 1600 --epochs 10 -o trained.onnx`

// distillFlags are the options of distill.
type distillFlags struct {
	teacher, student, output, checkpoint, plot string
	resume                                     bool
	optional                                   bool // labels are used if there are some
	optimizer, schedule, norm                  enum
	o                                          distill.Options
	engine                                     engineFlags
	data                                       dataFlags
	files                                      fileFlags
	resources                                  resourceFlags
}

func (e *env) distillVerb() *cobra.Command {
	f := &distillFlags{}
	cmd := &cobra.Command{
		Use: "distill", Short: "train a student from a teacher or from labels", Long: distillLong, Example: distillExample,
		Args: func(cmd *cobra.Command, args []string) error {
			f.optional = !cmd.Flags().Changed("ce-weight")
			if !cmd.Flags().Changed("relative") {
				f.o.Relative = !f.o.Init
			}
			return f.check(args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.distill(cmd.Context(), f) },
	}
	o := &f.o
	g := newGroup("Training")
	g.StringVar(&f.student, "student", "", "`MODEL` to train")
	g.StringVar(&f.teacher, "teacher", "", "`MODEL` to learn from")
	g.StringVarP(&f.output, "output", "o", "", "write the trained student to `FILE`")
	o.Epochs, o.Batch = 10, 32
	g.Var(count{&o.Epochs}, "epochs", "passes over the data")
	g.Var(count{&o.Batch}, "batch", "samples a step")
	g.Float64Var(&o.CE, "ce-weight", 1, "`WEIGHT` of the labels")
	g.Float64Var(&o.KD, "kd-weight", 1, "`WEIGHT` of the teacher")
	g.Float64Var(&o.Temperature, "temperature", 4, "`T` by which scores are divided for the teacher's term")
	g.Float64Var(&o.Feature, "feature-weight", 0, "`WEIGHT` of the teacher's tensors")
	f.norm = enum{distill.NormAuto, []string{distill.NormAuto, distill.NormFrozen, distill.NormBatch, distill.NormInsert}}
	g.Var(&f.norm, "norm", "what BatchNormalization does")
	g.BoolVar(&o.Init, "init", false, "begin with random weights")
	g.BoolVar(&o.Zeros, "keep-zeros", true, "weights that are zero beside others that are not stay zero")
	g.Uint64Var(&o.Seed, "seed", 1, "seed `N` of the order of samples, of --init and of the variation of pictures")
	f.engine.add(g, false)
	steps := newGroup("Optimizer")
	f.optimizer = enum{"adamw", []string{"adamw", "sgd"}}
	steps.Var(&f.optimizer, "optimizer", "how weights are updated")
	steps.Float64Var(&o.Rate, "rate", 0, "largest learning `RATE`, 0 for one that suits the student: 0.01 where batches are normalized, 0.001 elsewhere and with --init, 0.0005 where it is quantized, 0.01 in 4 bits or fewer")
	steps.BoolVar(&o.Relative, "relative", false, "the rate is relative to the root mean square of each tensor (default, but with --init)")
	f.schedule = enum{"cosine", []string{"cosine", "constant"}}
	steps.Var(&f.schedule, "schedule", "how the rate goes on behind the warm-up")
	steps.Var(count{&o.Warmup}, "warmup", "steps over which the rate rises")
	steps.Float64Var(&o.Momentum, "momentum", .9, "`FACTOR` of sgd")
	steps.Float64Var(&o.Decay, "weight-decay", 1e-4, "`FACTOR` by which weights, not vectors, decay")
	steps.Float64Var(&o.Clip, "clip", 0, "largest `NORM` of all derivatives together, 0 for any")
	steps.Float64Var(&o.Average, "ema", 0, "`FACTOR` of a moving average of the weights, which the result has; 0 for the last weights")
	pictures := newGroup("Variation of pictures")
	pictures.BoolVar(&o.Augment.Flip, "flip", false, "mirror half of them")
	pictures.Var(count{&o.Augment.Crop}, "crop", "move them by up to N pixels")
	pictures.Float64Var(&o.Augment.Mixup, "mixup", 0, "blend pairs in proportions of the Beta distribution with `ALPHA`, 0 for none")
	watch := newGroup("Watching")
	watch.Float64Var(&o.HoldOut, "hold-out", 0, "`SHARE` of the samples, the last ones, that is measured after each epoch instead of trained on")
	watch.Var(count{&o.Patience}, "patience", "end after N epochs in which the loss on --hold-out did not fall, and write the best; 0 for never")
	watch.StringVar(&f.checkpoint, "checkpoint", "", "keep the state after each epoch in `FILE`")
	watch.BoolVar(&f.resume, "resume", false, "go on from --checkpoint if it is there")
	watch.StringVar(&f.plot, "plot", "", "draw the curve of the loss to `FILE`, .svg or .png")
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, "onnxopt distill [options] --student MODEL --data PATH -o FILE", g, steps, pictures, watch, f.data.group("Data"), files)
	return cmd
}

// check finds wrong usage before any file is read.
func (f *distillFlags) check(args []string) error {
	o := f.o
	switch {
	case len(args) != 0:
		return usagef("distill takes its models by --student and --teacher, not %q", args[0])
	case f.student == "":
		return usagef("which model is to learn? --student MODEL")
	case f.data.data == "":
		return usagef("which data? --data PATH")
	case f.output == "":
		return usagef("where to? -o FILE")
	case f.resume && f.checkpoint == "":
		return usagef("resume from where? --checkpoint FILE")
	case f.plot != "" && pictureFormat(f.plot) == "":
		return usagef("--plot draws to .svg and .png, not %q", f.plot)
	}
	o.Norm = f.norm.value
	if f.teacher != "" {
		o.Teacher = &ir.Model{} // only whether there is one
	}
	if err := o.Check(); err != nil {
		return usagef("%v", err)
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
	o.Student, o.Optimizer, o.Schedule, o.Norm, o.Limit = in.model, f.optimizer.value, f.schedule.value, f.norm.value, f.data.limit
	o.Threads, o.MaxMemory = f.resources.count(), f.resources.maxMemory
	if f.resume {
		if o.Resume, err = readState(f.checkpoint); err != nil {
			return &fileError{f.checkpoint, err}
		}
	}
	if f.checkpoint != "" {
		o.Save = func(s *distill.State) error {
			return atomically(f.checkpoint, s.Write)
		}
	}
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
	if f.optional && o.Teacher != nil {
		if err := e.labelled(ctx, f, &o); err != nil {
			return err
		}
	}
	for _, name := range []string{f.output, f.checkpoint, f.plot} { // not found out after hours
		if err := writable(name); err != nil {
			return &fileError{name, err}
		}
	}
	var show *progress
	if e.terminal {
		show = startProgress(e.stderr, f.student)
		defer show.stop()
	}
	o.Step = func(epoch, step, steps int, loss float64) {
		show.doing(fmt.Sprintf("epoch %d of %d, step %d of %d, loss %.4f", epoch, o.Epochs, step, steps, loss))
	}
	o.Progress = func(p distill.Epoch) {
		show.clear()
		if p.N == 1 && p.RecomputedOperations > 0 {
			fmt.Fprintf(e.stdout, "%d operations of a step are computed twice, to stay within the memory\n", p.RecomputedOperations)
		}
		fmt.Fprintf(e.stdout, "epoch %d of %d: loss %.4f, %.1f %% right", p.N, o.Epochs, p.Loss, 100*p.Hits)
		if !math.IsNaN(p.HeldLoss) {
			fmt.Fprintf(e.stdout, "; held out %.4f, %.1f %%", p.HeldLoss, 100*p.HeldHits)
		}
		if fmt.Fprintln(e.stdout); p.Stopped {
			fmt.Fprintf(e.stdout, "the loss on held-out samples has not fallen for %d epochs\n", o.Patience)
		}
		e.stdout.Flush()
	}
	var epochs []distill.Epoch
	failure := onnxio.Guard(func() (err error) {
		epochs, err = distill.Train(ctx, o)
		return err
	})
	show.clear()
	e.skipped(o.Set)
	if len(epochs) == 0 {
		return inFile(f.student, failure)
	}
	if _, err := e.writeModel(f.output, "", in.model, onnxio.WriteOptions{}); err != nil {
		if f.checkpoint != "" {
			return fmt.Errorf("%w; %s has the state of the last epoch that could be kept, and --resume goes on from it", err, f.checkpoint)
		}
		return err
	}
	if f.plot != "" {
		if err := f.draw(epochs); err != nil {
			return err
		}
	}
	if failure != nil && ctx.Err() != nil {
		return &stoppedError{fmt.Sprintf("interrupted; %s has the weights of epoch %d", f.output, len(epochs))}
	}
	if failure != nil {
		return inFile(f.student, fmt.Errorf("%w; %s has the weights of epoch %d", failure, f.output, len(epochs)))
	}
	return nil
}

// labelled leaves the labels out of the loss where the first sample has none.
func (e *env) labelled(ctx context.Context, f *distillFlags, o *distill.Options) error {
	for s, err := range o.Set.Samples(ctx) {
		if err != nil {
			return inFile(f.data.data, err)
		}
		if !s.Labelled() {
			fmt.Fprintln(e.stderr, "the data have no labels; the teacher alone counts")
			o.CE = 0
		}
		break
	}
	return nil
}

// writable says why no file of that name can be made.
func writable(name string) error {
	if name == "" || name == standard {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".onnxopt-*")
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// readState reads a checkpoint, nil if there is none yet.
func readState(name string) (*distill.State, error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	i, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return distill.ReadState(file, i.Size())
}

// draw draws the curve of the training.
func (f *distillFlags) draw(epochs []distill.Epoch) error {
	lines := []page.Line{{Name: "loss"}}
	if !math.IsNaN(epochs[0].HeldLoss) {
		lines = append(lines, page.Line{Name: "on held-out samples"})
	}
	for _, p := range epochs {
		for i, v := range []float64{p.Loss, p.HeldLoss}[:len(lines)] {
			lines[i].Values = append(lines[i].Values, v)
		}
	}
	c := page.Plot{Title: f.student, X: "epoch", Y: "loss", From: 1, Lines: lines}
	b, err := c.Bytes(pictureFormat(f.plot))
	if err != nil {
		return &fileError{f.plot, err}
	}
	return atomically(f.plot, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// pictureFormat is the format of a plot by the ending of its file's name, "" for others.
func pictureFormat(name string) string {
	switch f := strings.ToLower(filepath.Ext(name)); f {
	case ".svg", ".png":
		return f[1:]
	}
	return ""
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
