package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/c"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/tune/schedule"
)

// runtimeOf is the runtime that times what a target writes, "" where it is not here: the name of a consumer, or "c" for a C compiler.
func runtimeOf(ctx context.Context, target string) (string, error) {
	name, _, _ := strings.Cut(target, "{")
	if name = strings.TrimSpace(name); name == "c" {
		if _, err := schedule.NewCompiler(ctx, cCompiler()); err != nil {
			return "", err
		}
		return name, nil
	}
	for _, k := range consumer.All() {
		if k.Target == name {
			return k.Name, k.Installed(ctx, consumerPython(k))
		}
	}
	return "", fmt.Errorf("no runtime of target %s can be timed", name)
}

// timeIn chooses what tells the time: ONNX Runtime as an engine, or the runtime of the target.
func (f *tuneFlags) timeIn(ctx context.Context) (err error) {
	if !strings.HasPrefix(f.target, "onnxruntime") {
		f.runtime, err = runtimeOf(ctx, f.target)
		if err != nil {
			f.runtime = ""
		}
		return err
	}
	_, done, err := f.engine.open("ort", "")
	if err == nil {
		done()
		f.engine.names = []string{"ort"}
	}
	return err
}

// profileOf is the profile of quantize for a target, "" for the pass's own choice.
func profileOf(target string) string {
	name, _, _ := strings.Cut(target, "{")
	switch name = strings.TrimSpace(name); name {
	case "tflite", "openvino", "tensorrt":
		return name
	case "c": // symmetric weights and a zero point for activations, as there
		return "tflite"
	}
	return ""
}

// cCompiler is the compiler of target c, as the makefile beside the code calls it.
func cCompiler() []string { return append([]string{"cc"}, strings.Fields(c.CFLAGS)...) }

// artifactEngine loads a model as a target's artifact into the target's own runtime. Its sessions tell the time and give no outputs.
type artifactEngine struct {
	registry *passes.Registry
	text     string // the target with options
	target   *targets.Target
	runtime  string
}

func (e *env) artifactEngine(text, runtime string, r *passes.Registry) (*artifactEngine, error) {
	t, err := targetOf(text)
	return &artifactEngine{registry: r, text: text, target: t, runtime: runtime}, err
}

// Name implements engine.Engine.
func (a *artifactEngine) Name() string { return a.runtime }

// Load implements engine.Engine. Open sizes are those of the inputs that are timed, so that the artifact is made then.
func (a *artifactEngine) Load(_ context.Context, m *ir.Model, o engine.Options) (engine.Session, error) {
	return &artifactSession{artifactEngine: a, model: m, threads: o.Threads}, nil
}

type artifactSession struct {
	*artifactEngine
	model   *ir.Model
	threads int
	dir     string // "" until the artifact is made
	program *consumer.Program
	session *consumer.Session
	runs    int // of a program at a time, 0: not known yet
}

// Run implements engine.Session.
func (s *artifactSession) Run(context.Context, map[string]ir.Datum) (map[string]ir.Datum, error) {
	return nil, errors.New("an artifact is only timed")
}

// RunTaps implements engine.Session.
func (s *artifactSession) RunTaps(context.Context, map[string]ir.Datum) (map[string]ir.Datum, []ir.Datum, error) {
	return nil, nil, errors.New("an artifact is only timed")
}

// Close implements engine.Session.
func (s *artifactSession) Close() error {
	var err error
	if s.session != nil {
		err = s.session.Close()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Time implements tune.Clock.
func (s *artifactSession) Time(ctx context.Context, in map[string]ir.Datum) (time.Duration, error) {
	if s.dir == "" {
		if err := s.make(ctx, in); err != nil {
			return 0, fmt.Errorf("target %s: %w", s.target.Name, err)
		}
	}
	if s.session != nil {
		r, err := s.session.Run(ctx, in, 1)
		if err != nil || len(r.Times) == 0 {
			return 0, errors.Join(err, ctx.Err())
		}
		return r.Times[0], nil
	}
	const least = 5 * time.Millisecond // a process is started for it, and clock() is coarse
	if s.runs == 0 {
		took, err := s.program.Time(ctx, in, 1)
		if err != nil {
			return 0, err
		}
		s.runs = int(min(max(least/max(took, time.Microsecond), 1), 1000))
	}
	return s.program.Time(ctx, in, s.runs)
}

// make writes the artifact for the sizes of in, and loads it.
func (s *artifactSession) make(ctx context.Context, in map[string]ir.Datum) (err error) {
	if s.dir, err = os.MkdirTemp("", "onnxopt-tune-"); err != nil {
		return err
	}
	m := s.model.Clone()
	text := s.target.Pipeline
	if sizes := fixed(m, in); sizes != "" {
		text = sizes + "," + text
	}
	p, err := s.registry.Parse(text)
	if err != nil {
		return err
	}
	if _, err := p.Run(ctx, m, passes.Config{}); err != nil {
		return err
	}
	if err := s.target.Check(m); err != nil {
		return err
	}
	name := "model" + s.target.Extension
	files := &folder{dir: s.dir, main: name}
	if p, err = s.target.Emitter(s.text, files); err != nil {
		return err
	}
	if _, err := p.Run(ctx, m, passes.Config{}); err != nil {
		return err
	}
	if err := files.close(); err != nil {
		return err
	}
	var inputs, outputs []string
	for _, i := range m.Main.Inputs() {
		inputs = append(inputs, i.Name())
	}
	for _, o := range m.Main.Outputs() {
		outputs = append(outputs, o.Name())
	}
	if s.runtime == "c" {
		return s.build(ctx, inputs, outputs)
	}
	k := consumer.Lookup(s.runtime)
	s.session, err = k.Start(ctx, consumerPython(k), filepath.Join(s.dir, name), consumer.Options{Threads: s.threads, Inputs: inputs, Outputs: outputs})
	return err
}

// build compiles what target c wrote.
func (s *artifactSession) build(ctx context.Context, inputs, outputs []string) error {
	cc, err := schedule.NewCompiler(ctx, cCompiler())
	if err != nil {
		return err
	}
	if err := cc.Build(ctx, s.dir, "model", "model.c", "model_main.c"); err != nil {
		return err
	}
	if s.program, err = consumer.OpenProgram(s.dir); err != nil {
		return err
	}
	return s.program.Matched(inputs, outputs)
}

// fixed is the step that gives the inputs of m the sizes of in, "" where none is open.
func fixed(m *ir.Model, in map[string]ir.Datum) string {
	var args []string
	for _, s := range m.Main.Inputs() {
		t, ok := in[s.Name()].(*ir.Tensor)
		shape := s.Type().TensorShape()
		if _, static := shape.Ints(); !ok || static {
			continue
		}
		var dims []string
		for _, d := range t.Shape() {
			dims = append(dims, strconv.FormatInt(d, 10))
		}
		args = append(args, passes.Key(s.Name())+"=["+strings.Join(dims, ",")+"]")
	}
	if args == nil {
		return ""
	}
	return "set-shape{" + strings.Join(args, " ") + "}"
}

// folder is an artifact in a folder of its own.
type folder struct {
	dir, main string
	files     []*os.File
	writers   []*bufio.Writer
}

// File implements targets.Artifact.
func (a *folder) File(suffix string) (io.Writer, error) {
	f, err := os.Create(filepath.Join(a.dir, a.Name(suffix)))
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriter(f)
	a.files, a.writers = append(a.files, f), append(a.writers, w)
	return w, nil
}

// Name implements targets.Artifact.
func (a *folder) Name(suffix string) string {
	if suffix == "" {
		return a.main
	}
	return strings.TrimSuffix(a.main, filepath.Ext(a.main)) + suffix
}

// Model implements targets.Artifact.
func (a *folder) Model(m *ir.Model) error {
	_, err := onnxio.WriteFile(filepath.Join(a.dir, a.main), m, onnxio.WriteOptions{})
	return err
}

// Note implements targets.Artifact.
func (a *folder) Note(string) {}

// close ends all files.
func (a *folder) close() (err error) {
	for i, f := range a.files {
		err = errors.Join(err, a.writers[i].Flush(), f.Close())
	}
	return err
}
