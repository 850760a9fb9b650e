package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/tune"
	"github.com/onnxopt/onnxopt/tune/queue"
	"github.com/onnxopt/onnxopt/tune/trial"
)

const workerLong = `worker makes trials for onnxopt tune on this machine: it takes them from the queue of a NATS
server, fetches model and data from there, and writes results back. It has the labels os and
arch by itself; tune's --latency-on says by labels whose clocks count.

Work of a worker that is killed goes to another one. A trial that fails three times is parked.
It runs until it is interrupted, or the server is gone.`

const workerExample = `onnxopt worker --nats nats://host:4222
onnxopt worker --nats tls://host --creds worker.creds --label board=pi4 --threads 2`

// workerFlags are the options of worker.
type workerFlags struct {
	serverFlags
	labels    []string
	name      string
	dir       string
	limit     time.Duration
	child     bool
	engine    engineFlags
	resources resourceFlags

	has map[string]string
}

func (e *env) workerVerb() *cobra.Command {
	f := &workerFlags{}
	cmd := &cobra.Command{
		Use: "worker", Short: "make trials for tune on this machine", Long: workerLong, Example: workerExample,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if e.cluster == nil {
				return e.companion()
			}
			return e.worker(cmd.Context(), f)
		},
	}
	g := newGroup("Options")
	f.serverFlags.add(g)
	g.StringSliceVar(&f.labels, "label", nil, "`LABELS` of this machine, like board=pi4; may be repeated")
	g.StringVar(&f.name, "name", "", "`NAME` that results say who made them (default the host's)")
	g.StringVar(&f.dir, "cache-dir", "", "keep models and data in the folder `DIR`; a temporary one without it")
	g.DurationVar(&f.limit, "trial-time", time.Hour, "`TIME` after which a trial has failed")
	g.BoolVar(&f.child, "child", false, "end when standard input ends")
	g.Lookup("child").Hidden = true
	f.engine.add(g, false)
	g.Lookup("engine").Hidden = true // the search says which
	g.Lookup("ep").Hidden = true
	files := newGroup("Files and resources")
	f.resources.add(files)
	setHelp(cmd, "onnxopt worker [options] --nats URL", g, files)
	return cmd
}

func (f *workerFlags) check(args []string) (err error) {
	switch {
	case len(args) > 0:
		return usagef("worker takes no file, not %q", args[0])
	case f.url == "":
		return usagef("which server? onnxopt worker --nats URL")
	case f.limit <= 0:
		return usagef("--trial-time %s is no time", f.limit)
	}
	if f.has, err = queue.ParseLabels(f.labels); err != nil {
		return usagef("--label: %v", err)
	}
	for k, v := range map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH} {
		if f.has[k] == "" {
			f.has[k] = v
		}
	}
	return f.serverFlags.check()
}

func (e *env) worker(ctx context.Context, f *workerFlags) error {
	if f.name == "" {
		f.name, _ = os.Hostname()
	}
	if f.dir == "" {
		dir, err := os.MkdirTemp("", "onnxopt-worker-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		f.dir = dir
	} else if err := os.MkdirAll(f.dir, 0o777); err != nil {
		return &fileError{f.dir, err}
	}
	if f.child {
		var cancel func()
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // until the one that started this is gone
			cancel()
		}()
	}
	q, err := f.connect(ctx, e, "onnxopt worker "+f.name)
	if err != nil {
		return err
	}
	defer q.Close()
	w := &workshop{env: e, f: f, q: q}
	defer w.close()
	err = q.Work(ctx, queue.Worker{Name: f.name, Labels: f.has, Limit: f.limit, Do: w.do, Told: func(format string, a ...any) { e.warn("worker %s: "+format, append([]any{f.name}, a...)...) }})
	if f.child && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// workshop holds the task that a worker is at: the trials of a search come one after another.
type workshop struct {
	env   *env
	f     *workerFlags
	q     queue.Queue
	key   string
	bench *tune.Bench
	free  []func()
}

func (w *workshop) close() {
	if w.bench != nil {
		w.bench.Close()
	}
	for i := len(w.free) - 1; i >= 0; i-- {
		w.free[i]()
	}
	w.bench, w.free, w.key = nil, nil, ""
}

// do makes a trial.
func (w *workshop) do(ctx context.Context, work queue.Work) (json.RawMessage, error) {
	var t tune.Trial
	if err := json.Unmarshal(work.Trial, &t); err != nil {
		return nil, err
	}
	if err := w.open(ctx, work); err != nil {
		w.close()
		return nil, err
	}
	if p, err := w.bench.Registry.Parse(t.Pipeline); err == nil {
		if err := mayExec(p, false); err != nil {
			return json.Marshal(tune.Outcome{Err: err.Error()})
		}
	}
	var out tune.Outcome
	err := w.bench.Run(ctx, []tune.Trial{t}, func(_ int, o tune.Outcome) error { out = o; return nil })
	switch {
	case err != nil:
		return nil, err
	case out.Fault:
		return nil, fmt.Errorf("%s; to see it again: onnxopt -p %s on the model %s of the object store", out.Err, shellQuote(t.Pipeline), work.Objects["model"])
	}
	return json.Marshal(out)
}

// open fetches model and data and makes them ready, unless the last trial was of the same search.
func (w *workshop) open(ctx context.Context, work queue.Work) error {
	key := trial.Key(work.Study, work.Objects)
	if key == w.key {
		return nil
	}
	w.close()
	var s study
	if err := json.Unmarshal(work.Study, &s); err != nil {
		return err
	}
	if v := version(); s.Version != v {
		w.env.warn("worker %s is version %s, and the search %s: passes may differ", w.f.name, v, s.Version)
	}
	model, err := w.fetch(ctx, work.Objects["model"], func(r io.Reader, path string) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return err
	}
	unpack := func(r io.Reader, path string) error {
		if err := os.Mkdir(path, 0o777); err != nil {
			return err
		}
		return unpackData(r, path)
	}
	data, err := w.fetch(ctx, work.Objects["data"], unpack)
	if err != nil {
		return err
	}
	calib := ""
	if name := work.Objects["calib"]; name != "" {
		if calib, err = w.fetch(ctx, name, unpack); err != nil {
			return err
		}
		calib = filepath.Join(calib, "data", s.CalibName)
	}
	file, err := onnxio.Open(model, onnxio.Options{})
	if err != nil {
		return err
	}
	w.free = append(w.free, func() { file.Close() })
	d := &dataFlags{limit: s.Limit, labelColumn: s.LabelColumn, cast: s.Cast, skipBad: s.SkipBad, image: s.Image}
	if s.LabelsName != "" {
		d.labels = filepath.Join(data, "labels", s.LabelsName)
	}
	if s.Threads <= 0 {
		s.Threads = w.f.resources.count()
	}
	task, done, err := w.env.task(&s, file.Model, d, filepath.Join(data, "data", s.DataName), calib, &w.f.engine)
	if err != nil {
		return err
	}
	w.free = append(w.free, done)
	if w.bench, err = tune.NewBench(ctx, task); err != nil {
		return err
	}
	w.key = key
	return nil
}

// fetch gets an object into the folder of the worker, where it may be already.
func (w *workshop) fetch(ctx context.Context, name string, write func(r io.Reader, path string) error) (string, error) {
	if name == "" || strings.ContainsAny(name, `/\.`) {
		return "", fmt.Errorf("%q is no object of a search", name)
	}
	path := filepath.Join(w.f.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	temp, err := os.MkdirTemp(w.f.dir, ".fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	half := filepath.Join(temp, name)
	if err := w.q.Get(ctx, name, func(r io.Reader) error { return write(r, half) }); err != nil {
		return "", err
	}
	if err := os.Rename(half, path); err != nil {
		if _, there := os.Stat(path); there != nil { // another worker with the same folder may have been faster
			return "", err
		}
	}
	return path, nil
}
