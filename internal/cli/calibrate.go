package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// calibFlags name the data that passes look at.
type calibFlags struct {
	path, out string
	cache     string
	limit     int
	engine    engineFlags
}

// group defines the options; images are those of data, which --calib shares.
func (f *optimizeFlags) calibGroup() group {
	g := newGroup("Calibration and accuracy (quantize, prune, decompose)")
	c := &f.calib
	g.StringVar(&c.path, "calib", "", "calibrate on the data set at `PATH`: .npz, .npy, CSV, IDX or CIFAR-10 files, a folder of arrays or pictures (with a preprocess.yaml, or the options below)")
	g.Var(count{&c.limit}, "calib-limit", "take N of its samples, spread evenly, 0 for all")
	g.StringVar(&c.out, "calib-out", "", "write what calibration found to `FILE`, which quantize{cache=FILE} reads instead of looking at data; until it is whole, FILE.part holds what an interrupted run is taken up from")
	g.StringVar(&c.cache, "cache", "", "keep what candidates did to the outputs in `FOLDER`, under hashes of models, data and program, and use what is there; none keeps nothing (default onnxopt in the user's folder of caches)")
	g.StringVar(&f.floor.text, "floor", "", "write nothing unless `CONDITION` holds on --data, or else on --calib: 'drop<=1.0' (points of the metric lost), 'agreement>=0.98', 'sqnr>=30', 'cosine>=0.99'")
	g.StringVar(&f.floor.metric, "metric", "", "`METRIC` that drop is measured in: top1, top5, agreement, spearman (default top1 with labels, agreement without)")
	c.engine.add(g, false)
	d := f.data.group("")
	for _, name := range []string{"data", "limit"} {
		d.Lookup(name).Hidden = true
	}
	d.VisitAll(func(k *pflag.Flag) {
		if !k.Hidden {
			g.AddFlag(k)
		}
	})
	return g
}

// calibrationMemory is what calibration tries to stay within, and repairMemory what passes do that hold activations of two models and normal
// equations; they are no hard limits.
const (
	calibrationMemory = 160 << 20
	repairMemory      = 1536 << 20
)

// memoryFor is what the passes of a pipeline try to stay within.
func memoryFor(p *passes.Pipeline) int64 {
	most := int64(calibrationMemory)
	for _, s := range p.Steps() {
		switch s.Name() {
		case "prune", "decompose":
			return repairMemory
		}
		if n := s.Nested(); n != nil {
			most = max(most, memoryFor(n))
		}
	}
	return most
}

// runner opens the engine of the command line.
func (j *job) runner() (engine.Engine, func(), error) {
	return j.f.calib.engine.open(j.f.calib.engine.names[0], "")
}

// calibration opens the data that the passes are given: --calib under the empty name, and what options of passes name.
func (j *job) calibration(e engine.Engine) (map[passes.Data]any, func(), error) {
	_, names := j.plan.parsed.Files()
	if j.f.calib.path != "" {
		names = append(names, "")
	}
	data := map[passes.Data]any{}
	var open []*dataset.Set
	var kept *measurements
	if len(names) > 0 {
		var err error
		if kept, err = j.f.calib.measurements(e); err != nil {
			return nil, nil, err
		}
	}
	clock, stopped := j.f.calib.engine.clock(e)
	closeAll := func() {
		stopped()
		kept.close()
		for _, s := range open {
			s.Close()
		}
	}
	for _, name := range names {
		path := string(name)
		if name == "" {
			path = j.f.calib.path
		}
		if data[name] != nil {
			continue
		}
		s, err := j.f.data.open(j.in.model, path, false)
		if err != nil {
			closeAll()
			return nil, nil, inFile(j.in.name, err)
		}
		open = append(open, s)
		begun := time.Now()
		c := measured.New(inputsOf(s), e, j.f.resources.count(), measured.Named(path), measured.Total(s.Len()),
			measured.Progress(func(done, total int) { j.show.doing("looking at " + estimate(begun, done, total)) }),
			measured.Timing(clock),
			measured.Resuming(j.checkpoint()),
			measured.Keeping(kept.store()),
			measured.Saving(func(what string, contents []byte) { j.found = append(j.found, finding{what, contents}) }))
		data[name] = c.Limit(j.f.calib.limit)
	}
	return data, closeAll, nil
}

// finding is what a pass wants to be kept.
type finding struct {
	what     string
	contents []byte
}

// inputsOf streams the samples of a set, one a run.
func inputsOf(s *dataset.Set) measured.Samples {
	return func(ctx context.Context) iter.Seq2[map[string]ir.Datum, error] {
		return func(yield func(map[string]ir.Datum, error) bool) {
			for b, err := range s.Batches(ctx, 1) {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(b.Inputs, nil) {
					return
				}
			}
		}
	}
}

// writeFindings writes --calib-out.
func (j *job) writeFindings() error {
	if j.f.calib.out == "" {
		return nil
	}
	if len(j.found) == 0 {
		return fmt.Errorf("--calib-out: no pass looked at data")
	}
	err := atomically(j.f.calib.out, func(w io.Writer) error {
		_, err := w.Write(j.found[len(j.found)-1].contents)
		return err
	})
	if err == nil {
		os.Remove(j.f.calib.out + partial)
	}
	return err
}

// noData words the error of a pass that needs data: wrong usage, with the command that supplies them.
func (j *job) noData(err error) error {
	out := j.f.output
	if out == "" {
		out = "out.onnx"
	}
	image := ""
	if in := j.in.model.Main.Inputs(); len(in) > 0 && len(in[0].Type().TensorShape()) == 4 {
		image = " --preset imagenet-torch"
	}
	return &usageError{fmt.Sprintf("%s: %s; for example: onnxopt -p %s --calib FOLDER%s %s -o %s", j.in.name, noDataText(err), shellQuote(j.plan.parsed.String()), image, shellQuote(j.in.name), shellQuote(out))}
}

func noDataText(err error) string {
	s, _, _ := strings.Cut(err.Error(), "; --calib")
	return s
}

// shellQuote quotes a word for a shell where it needs that.
func shellQuote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n'\"\\$`{}()[]<>|&;*?#~!") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// checkCalibration finds wrong usage before any file is read.
func (f *optimizeFlags) checkCalibration() error {
	if err := f.calib.engine.check(false); err != nil {
		return err
	}
	if f.calib.path != "" {
		file, _, _ := dataset.Split(f.calib.path)
		if _, err := os.Stat(file); err != nil {
			return &fileError{f.calib.path, err}
		}
	}
	if err := f.floor.parse(); err != nil {
		return usagef("--floor: %v", err)
	}
	if f.floor.text != "" && f.data.data == "" && f.calib.path == "" {
		return usagef("--floor needs data: --data PATH or --calib PATH")
	}
	return checkOutput(f.calib.out)
}
