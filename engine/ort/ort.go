package ort

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// Options say how the library is used. Write is needed, everything else has a default.
type Options struct {
	// Write writes a model as one ONNX message with all weights inside, as onnxio.Write does.
	Write func(w io.Writer, m *ir.Model) error
	// WriteFile writes a model to a path, with large weights in data files beside it, as onnxio.WriteFile does. Models of
	// more than 256 MB take this way, in TempDir, and the library maps their weights. Without it, or without TempDir,
	// they go through memory, and 2 GB is the limit.
	WriteFile func(path string, m *ir.Model) error
	TempDir   string
	// Optimization is how much of its own optimization the library does.
	Optimization Level
	// Providers are execution providers in order of preference. Nodes that none of them takes run on the CPU; a session's
	// Remarks say that there are some.
	Providers []Provider
	// CustomOps are paths of libraries that export RegisterCustomOps.
	CustomOps []string
	// Profile makes each session note when which node runs. Close writes it to a file whose name begins with this path and ends
	// in .json, in the Trace Event Format.
	Profile string
}

// Provider is an execution provider with its own options. Name may be short ("cuda") or as the library spells it
// ("CUDAExecutionProvider").
type Provider struct {
	Name    string
	Options map[string]string
}

// Level is a graph optimization level of the library.
type Level uint8

// The levels. The zero value is the library's default.
const (
	All Level = iota
	Extended
	Basic
	Off
)

// levels are the names, and the numbers of GraphOptimizationLevel.
var levels = [...]struct {
	name   string
	number uintptr
}{All: {"all", 99}, Extended: {"extended", 2}, Basic: {"basic", 1}, Off: {"off", 0}}

// String is the name that ParseLevel takes.
func (l Level) String() string {
	if int(l) >= len(levels) {
		return fmt.Sprintf("Level(%d)", uint8(l))
	}
	return levels[l].name
}

// ParseLevel is the inverse of String.
func ParseLevel(s string) (Level, error) {
	for l := range levels {
		if levels[l].name == s {
			return Level(l), nil
		}
	}
	return 0, fmt.Errorf("optimization level %q is none of all, extended, basic and off", s)
}

// Info says what a library is.
type Info struct {
	Path      string
	Version   string   // of the library
	API       int      // the version of the C API that is used
	Providers []string // execution providers it was built with
}

// String is a line for people, as `onnxopt version` prints it.
func (i Info) String() string {
	return fmt.Sprintf("ONNX Runtime %s (API %d; %s) at %s", i.Version, i.API, strings.Join(i.Providers, ", "), i.Path)
}

// Probe opens the library at path, as Find returns it, and tells what it is.
func Probe(path string) (Info, error) {
	a, err := openAPI(path)
	if err != nil {
		return Info{}, err
	}
	return a.info(path)
}

func (a *api) info(path string) (Info, error) {
	p, err := a.providers()
	return Info{Path: path, Version: a.version, API: a.level, Providers: p}, err
}

// Engine runs models with an opened library.
type Engine struct {
	*api
	info      Info
	opts      Options
	providers []provider
	env       uintptr    // OrtEnv; the library has one, and counts its users
	memory    uintptr    // OrtMemoryInfo of the CPU
	allocator uintptr    // the library's own; never released
	inMemory  int64      // bytes of weights from which on models go through files
	arena     sync.Mutex // held by a load with a memory limit
}

var _ engine.Engine = (*Engine)(nil)

// Open opens the library at path, as Find returns it. It stays open to the end of the process, because ONNX Runtime cannot
// be unloaded safely; opening it again costs little.
func Open(path string, o Options) (*Engine, error) {
	a, err := openAPI(path)
	if err != nil {
		return nil, err
	}
	if o.Write == nil {
		return nil, fmt.Errorf("ort.Options without a function that writes models")
	}
	if int(o.Optimization) >= len(levels) {
		return nil, fmt.Errorf("unknown optimization level %s", o.Optimization)
	}
	e := &Engine{api: a, opts: o, inMemory: defaultInMemory}
	if e.info, err = a.info(path); err != nil {
		return nil, err
	}
	if e.providers, err = chooseProviders(o.Providers, e.info); err != nil {
		return nil, err
	}
	return e, e.start()
}

// start makes what all sessions share. The library is told to log nothing but fatal faults (level 4) and to send no
// telemetry: what it has to say comes as errors.
func (e *Engine) start() error {
	s := &scratch{}
	defer s.free()
	name, err := s.text("onnxopt")
	if err != nil {
		return err
	}
	const onlyFatal, arenaAllocator, defaultMemory = 4, 1, 0
	if err := e.try(fnCreateEnv, onlyFatal, name, addr(s, &e.env)); err != nil {
		return err
	}
	if err := e.try(fnDisableTelemetryEvents, e.env); err != nil {
		return err
	}
	if err := e.try(fnCreateCPUMemoryInfo, arenaAllocator, defaultMemory, addr(s, &e.memory)); err != nil {
		return err
	}
	return e.try(fnGetDefaultAllocator, addr(s, &e.allocator))
}

// Name is "ort".
func (e *Engine) Name() string { return "ort" }

// Info says what the library is.
func (e *Engine) Info() Info { return e.info }

// Load writes m and hands it to the library; the session needs m's interface and, for taps that are constants, its tensors.
// The session has to be closed. Operators that the library does not know are an *engine.UnsupportedError, which names the
// first. The context's end stops a load of ONNX Runtime 1.22 or later.
//
// Options.MaxMemory bounds the inputs, the outputs and the arena that the library takes intermediate values from, each.
// What kernels allocate elsewhere and what the load takes is not bounded.
func (e *Engine) Load(ctx context.Context, m *ir.Model, o engine.Options) (engine.Session, error) {
	if m.Main == nil {
		return nil, fmt.Errorf("%s has no graph", m)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := e.load(ctx, m, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}
