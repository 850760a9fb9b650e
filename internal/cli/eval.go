package cli

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/internal/evaluate"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
)

const evalLong = `eval measures a model on a data set: against labels (top1, top5, spearman), or against
the outputs of another model or recorded ones (agreement, text, spearman, cosine, mse, boxes).

text is the share of samples that two recognizers trained with CTC read alike: the symbol with
the largest score of each step, repetitions once, without the first symbol, the blank.

Of pairs of sentences, given as token numbers, spearman ranks the cosine between the
embeddings of both: an output of shape [2,n], or the means of [2,length,n] over the tokens.

boxes counts detections of both models that overlap by half: 2 x matches / detections of
both. Boxes of a model that overlap by more than half count once.`

const evalExample = `onnxopt eval model.onnx --data t10k-images-idx3-ubyte.gz
onnxopt eval model.onnx --data photos/ --preset imagenet-torch --metric top1,top5
onnxopt eval encoder.onnx --data sts-test.tsv --metric spearman
onnxopt eval small.onnx --reference model.onnx --data x.npz --metric agreement,cosine
onnxopt eval small.onnx --reference model.onnx --data photos/ --preset yolo --metric boxes`

// evalFlags are the options of eval.
type evalFlags struct {
	metrics   []string
	reference string
	batch     int
	json      bool
	metric    metric.Options
	engine    engineFlags
	data      dataFlags
	files     fileFlags
	resources resourceFlags
}

func (e *env) evalVerb() *cobra.Command {
	f := &evalFlags{}
	cmd := &cobra.Command{
		Use: "eval", Short: "measure a model on a data set", Long: evalLong, Example: evalExample,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return e.eval(cmd.Context(), f, args[0]) },
	}
	g := newGroup("Options")
	g.StringSliceVar(&f.metrics, "metric", []string{"top1"}, "`METRICS`: "+strings.Join(metric.Names(), ", "))
	g.Lookup("metric").DefValue = "top1"
	g.StringVar(&f.reference, "reference", "", "`MODEL` whose outputs are the truth")
	g.StringVar(&f.metric.Output, "output-name", "", "`NAME` of the output to measure, the first if not given")
	f.batch = 1
	g.Var(count{&f.batch}, "batch", "samples a run, where the model takes batches")
	g.BoolVar(&f.json, "json", false, "print JSON")
	f.engine.add(g, false)
	b := &f.metric.Boxes
	g.StringVar(&b.Boxes, "boxes", "", "boxes: `NAME` of the output of boxes [N,4], or of rows of four corners, score and class")
	g.StringVar(&b.Scores, "scores", "", "boxes: `NAME` of the output of scores [N,classes]")
	g.StringVar(&b.Format, "box-format", "", "boxes: `FORMAT` xyxy (corners), xywh or cxcywh (default xyxy)")
	g.Float64Var(&b.Threshold, "score-threshold", 0.5, "boxes: least `SCORE` of a detection")
	g.IntVar(&b.Background, "background", -1, "boxes: `CLASS` that stands for no object, -1 for none")
	files := newGroup("Files and resources")
	f.files.add(files)
	f.resources.add(files)
	setHelp(cmd, "onnxopt eval [options] model.onnx --data PATH", g, f.data.group("Data"), files)
	return cmd
}

// check finds wrong usage before any file is read.
func (f *evalFlags) check(args []string) error {
	switch {
	case len(args) != 1:
		return usagef("eval takes one model, not %d", len(args))
	case f.data.data == "":
		return usagef("which data? onnxopt eval %s --data PATH", args[0])
	case len(f.metrics) == 0:
		return usagef("which metric? There are %s", strings.Join(metric.Names(), ", "))
	}
	if err := f.engine.check(false); err != nil {
		return err
	}
	one := []dataset.Port{{Name: "y"}}
	for _, name := range f.metrics {
		o := f.metric
		o.Output, o.Boxes.Boxes, o.Boxes.Scores = "", "", ""
		m, err := metric.New(name, one, o)
		if err != nil {
			return usagef("--metric: %v", err)
		}
		if name == "agreement" && f.reference == "" || name == "boxes" && f.reference == "" {
			return usagef("the metric %s needs --reference MODEL", m.Name())
		}
	}
	return nil
}

// evaluated is the --json of eval.
type evaluated struct {
	File      string           `json:"file"`
	Reference string           `json:"reference,omitempty"`
	Data      string           `json:"data"`
	Format    string           `json:"format"`
	Samples   int              `json:"samples"`
	Skipped   int              `json:"skipped"`
	Seconds   float64          `json:"seconds"`
	Metrics   []measuredMetric `json:"metrics"`
}

// measuredMetric is the value of a metric; null stands for one that is not defined, such as a correlation with a constant.
type measuredMetric struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"`
}

func (e *env) eval(ctx context.Context, f *evalFlags, name string) error {
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return err
	}
	defer in.close()
	runner, done, err := f.engine.open(f.engine.names[0], "")
	if err != nil {
		return err
	}
	defer done()
	files := map[*ir.Model]string{in.model: in.name}
	q := evaluate.Request{
		Engine: &remarking{runner, e, files}, Model: in.model, Batch: f.batch, Threads: f.resources.count(), MaxMemory: f.resources.maxMemory, Limit: f.data.limit,
	}
	if f.reference != "" {
		other, err := e.open(f.reference, &f.files, false)
		if err != nil {
			return err
		}
		defer other.close()
		q.Reference, files[other.model] = other.model, other.name
	}
	outputs := dataset.Outputs(in.model)
	for _, m := range f.metrics {
		meter, err := metric.New(m, outputs, f.metric)
		if err != nil {
			if f.metric.Output != "" {
				err = fmt.Errorf("%w%s", err, hintOutput(in.model, f.metric.Output))
			}
			return &fileError{in.name, err}
		}
		q.Meters = append(q.Meters, meter)
	}
	if q.Set, err = f.data.open(in.model, f.data.data, false); err != nil {
		return inFile(in.name, err)
	}
	defer q.Set.Close()
	r, err := e.measure(ctx, q, name)
	if err != nil {
		return inFile(in.name, err)
	}
	r.File, r.Reference, r.Data, r.Format = in.name, f.reference, f.data.data, q.Set.Format()
	if f.json {
		return e.json(r)
	}
	r.write(e)
	return nil
}

// count is the number of threads.
func (r *resourceFlags) count() int {
	if r.threads == 0 {
		var all resourceFlags
		all.add(newGroup(""))
		return all.threads
	}
	return r.threads
}

func hintOutput(m *ir.Model, name string) string {
	var names []string
	for _, s := range m.Main.Outputs() {
		names = append(names, s.Name())
	}
	return spell.Hint(name, names)
}

// measure runs the request with progress.
func (e *env) measure(ctx context.Context, q evaluate.Request, name string) (*evaluated, error) {
	begun := time.Now()
	if e.terminal {
		show := startProgress(e.stderr, name)
		defer show.stop()
		total := q.Set.Len()
		if q.Limit > 0 && (total < 0 || q.Limit < total) {
			total = q.Limit
		}
		q.Progress = func(done int) { show.doing(estimate(begun, done, total)) }
		q.Progress(0)
	}
	n, err := evaluate.Run(ctx, q)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("there are no samples to measure on")
	}
	e.skipped(q.Set)
	r := &evaluated{Samples: n, Seconds: math.Round(time.Since(begun).Seconds()*1000) / 1000}
	r.Skipped, _ = q.Set.Skipped()
	for _, m := range q.Meters {
		v := m.Value()
		k := measuredMetric{Name: m.Name()}
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			k.Value = &v
		}
		r.Metrics = append(r.Metrics, k)
	}
	return r, nil
}

// write prints the metrics.
func (r *evaluated) write(e *env) {
	t := table{}
	for _, m := range r.Metrics {
		text := "not defined"
		if m.Value != nil {
			text = strconv.FormatFloat(*m.Value, 'f', 4, 64)
			if m.Name == "mse" {
				text = strconv.FormatFloat(*m.Value, 'g', 6, 64)
			}
		}
		t.row(m.Name, text)
	}
	t.write(e.stdout, "")
	skipped := ""
	if r.Skipped > 0 {
		skipped = fmt.Sprintf(", %d left out", r.Skipped)
	}
	fmt.Fprintf(e.stdout, "\n%d samples of %s (%s)%s, %.1f s\n", r.Samples, r.Data, r.Format, skipped, r.Seconds)
}
