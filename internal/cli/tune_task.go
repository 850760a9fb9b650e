package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/tune"
	"github.com/onnxopt/onnxopt/tune/trial"
)

// study is what the trials of a search have in common, as far as it is not files: what another machine needs to know to make them.
type study struct {
	Metric      string            `json:"metric"`
	Output      string            `json:"output,omitempty"`
	Target      string            `json:"target,omitempty"`
	Engine      string            `json:"engine"`
	Threads     int               `json:"threads"`
	Runtime     string            `json:"runtime,omitempty"` // that tells the time, of the target; "": the engine
	Modelled    bool              `json:"modelled,omitempty"`
	Limit       int               `json:"limit,omitempty"`
	Image       []dataset.Setting `json:"image,omitempty"`
	LabelColumn string            `json:"label_column,omitempty"`
	Cast        bool              `json:"cast,omitempty"`
	SkipBad     bool              `json:"skip_bad,omitempty"`
	Version     string            `json:"version"`   // of the command that searches
	DataName    string            `json:"data_name"` // of file or folder
	CalibName   string            `json:"calib_name,omitempty"`
	LabelsName  string            `json:"labels_name,omitempty"`
}

func (f *tuneFlags) study() study {
	d := &f.data
	base := func(path string) string {
		if path == "" {
			return ""
		}
		return filepath.Base(filepath.Clean(path))
	}
	return study{Version: version(), DataName: base(d.data), CalibName: base(f.calib), LabelsName: base(d.labels), Metric: f.metric, Output: f.metricOptions.Output, Target: f.target, Runtime: f.runtime, Engine: f.engine.names[0], Threads: f.resources.count(),
		Modelled: f.latency.value == "model", Limit: d.limit, Image: d.image, LabelColumn: d.labelColumn, Cast: d.cast, SkipBad: d.skipBad}
}

// keptData is how much of a data set is held in memory; what is larger is read anew for each measurement.
const keptData = 1 << 30

// task opens what trials need.
func (e *env) task(s *study, m *ir.Model, d *dataFlags, data, calib string, g *engineFlags) (tune.Task, func(), error) {
	t := tune.Task{Model: m, Threads: s.Threads, Metric: s.Metric, Options: metric.Options{Output: s.Output}, Modelled: s.Modelled}
	var err error
	if t.Registry, err = e.registry(); err != nil {
		return t, nil, err
	}
	if s.Target != "" {
		target, err := targetOf(s.Target)
		if err != nil {
			return t, nil, err
		}
		t.Target = target.Pipeline
	}
	engine, done, err := g.open(s.Engine, "")
	if err != nil {
		return t, nil, err
	}
	t.Engine = engine
	switch {
	case s.Runtime != "":
		if t.Timer, err = e.artifactEngine(s.Target, s.Runtime, t.Registry); err != nil {
			done()
			return t, nil, err
		}
	case s.Engine == "native":
		t.Timer = native.Merging() // as bench does
	}
	open := func(path string) func() (*dataset.Set, error) {
		return func() (*dataset.Set, error) { return d.open(m, path, false) }
	}
	t.Data = tune.NewData(data, open(data), s.Limit, keptData)
	if calib != "" {
		t.Calib = tune.NewData(calib, open(calib), 0, keptData)
	}
	return t, done, nil
}

// thisProgram tells this build from others, whose passes may do something else: by its version and revision, or by the file where these do not.
func thisProgram() (string, error) {
	v := versionOf()
	if v.Revision != "" && !v.Modified || v.Version != "(devel)" && v.Revision == "" {
		return v.Version + " " + v.Revision, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if err := copyFile(h, path); err != nil {
		return "", &fileError{path, err}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// keys are what measurements depend on: of all, and of times besides.
func (t *tuning) keys(ctx context.Context, task tune.Task) (key, timeKey []any, err error) {
	model, err := onnxio.Hash(t.in.model)
	if err != nil {
		return nil, nil, err
	}
	t.objects = map[string]string{"model": "model-" + model}
	data, err := hashData(ctx, t.f.data.data, t.f.data.labels)
	if err != nil {
		return nil, nil, err
	}
	t.objects["data"] = "data-" + data
	calib := ""
	if t.f.calib != "" {
		if calib, err = hashData(ctx, t.f.calib, ""); err != nil {
			return nil, nil, err
		}
		t.objects["calib"] = "data-" + calib
	}
	s := t.spec
	s.Version, s.DataName, s.CalibName, s.LabelsName = "", "", "", "" // the contents have their names
	s.Threads, s.Runtime = 0, ""                                      // what is computed does not depend on it
	engine := s.Engine
	if x, ok := task.Engine.(*ort.Engine); ok {
		engine += " " + x.Info().Version
	}
	program, err := thisProgram()
	if err != nil {
		return nil, nil, err
	}
	key = []any{model, data, calib, s, engine, program}
	switch {
	case s.Modelled:
		return key, nil, nil
	case len(t.f.cluster.clock) > 0: // whatever machine has these labels
		return key, []any{t.spec.Threads, t.spec.Runtime, t.f.cluster.clock}, nil
	}
	return key, []any{t.spec.Threads, t.spec.Runtime, trial.Machine()}, nil
}
