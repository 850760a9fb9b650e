package cli

import (
	"context"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// engineNames are the values of --engine.
var engineNames = []string{"native", "ort"}

// engineFlags choose what runs models.
type engineFlags struct {
	flag      *pflag.Flag // --engine
	names     []string
	library   string
	providers []string
	customOps []string
}

// add defines the options; several says whether more than one engine may be named.
func (f *engineFlags) add(g group, several bool) {
	usage := "`NAME` of the engine: native, embedded, or ort, ONNX Runtime"
	if several {
		usage = "`NAMES` of engines: native, embedded, and ort, ONNX Runtime"
	}
	g.StringSliceVar(&f.names, "engine", []string{"native"}, usage)
	f.flag = g.Lookup("engine")
	f.flag.DefValue = "native"
	g.StringVar(&f.library, "ort-lib", "", "ONNX Runtime's library is `PATH`, a file or a folder; otherwise that of Python or of the system")
	g.StringSliceVar(&f.providers, "ep", nil, "execution `PROVIDERS` of ONNX Runtime in order of preference, like cuda,cpu")
	g.StringArrayVar(&f.customOps, "ort-custom-ops", nil, "`LIBRARY` with custom operators for ONNX Runtime; may be repeated")
}

// check finds wrong usage.
func (f *engineFlags) check(several bool) error {
	switch {
	case len(f.names) == 0 || len(f.names) > 1 && !several:
		return usagef("--engine takes one name, native or ort")
	case !slices.Contains(f.names, "ort") && (f.library != "" || len(f.providers) > 0 || len(f.customOps) > 0):
		return usagef("--ort-lib, --ep and --ort-custom-ops are for --engine ort")
	}
	for _, name := range f.names {
		if !slices.Contains(engineNames, name) {
			return usagef("--engine %s: there are native and ort", name)
		}
	}
	return nil
}

// open makes the engine with the given name; a profile that ort writes begins with the path profile. What else it writes lies in a
// folder that done removes.
func (f *engineFlags) open(name, profile string) (e engine.Engine, done func(), err error) {
	if name == "native" {
		return native.New(), func() {}, nil
	}
	path, err := ort.Find(f.library, libraryRoots()...)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "onnxopt-ort-")
	if err != nil {
		return nil, nil, err
	}
	done = func() { os.RemoveAll(dir) }
	o := ort.Options{TempDir: dir, CustomOps: f.customOps, Profile: profile,
		Write: func(w io.Writer, m *ir.Model) error {
			_, err := onnxio.Write(w, m, onnxio.WriteOptions{})
			return err
		},
		WriteFile: func(path string, m *ir.Model) error {
			_, err := onnxio.WriteFile(path, m, onnxio.WriteOptions{})
			return err
		},
	}
	for _, p := range f.providers {
		o.Providers = append(o.Providers, ort.Provider{Name: p})
	}
	if e, err = ort.Open(path, o); err != nil {
		done()
		return nil, nil, err
	}
	return e, done, nil
}

// clock gives the engine that passes measure times in: e where --engine named it, else ONNX Runtime if its library is found. done is to be
// called behind the last use.
func (f *engineFlags) clock(e engine.Engine) (get func() engine.Engine, done func()) {
	closing := func() {}
	return func() engine.Engine {
		if f.flag.Changed {
			return e
		}
		x, c, err := f.open("ort", "")
		if err != nil {
			return e
		}
		closing = c
		return x
	}, func() { closing() }
}

// libraryRoots are the places where Python may have installed ONNX Runtime: the active virtual environment, and what python3 and
// python on the path belong to.
func libraryRoots() []string {
	var roots []string
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		roots = append(roots, env)
	}
	for _, name := range []string{"python3", "python"} {
		if path, err := exec.LookPath(name); err == nil {
			for _, r := range ort.PythonRoots(path) {
				if !slices.Contains(roots, r) {
					roots = append(roots, r)
				}
			}
		}
	}
	return roots
}

// remarks prints what a session has to say, such as nodes that fell back to the CPU.
func (e *env) remarks(file string, s engine.Session) {
	if r, ok := s.(interface{ Remarks() []string }); ok {
		for _, text := range r.Remarks() {
			e.warn("%s: %s", file, strings.TrimSuffix(text, "."))
		}
	}
}

// remarking is an engine that prints what the first session of each model has to say.
type remarking struct {
	engine.Engine
	env   *env
	files map[*ir.Model]string // the models that were not loaded yet
}

// Load implements engine.Engine.
func (r *remarking) Load(ctx context.Context, m *ir.Model, o engine.Options) (engine.Session, error) {
	s, err := r.Engine.Load(ctx, m, o)
	if file, ok := r.files[m]; ok && err == nil {
		delete(r.files, m)
		r.env.remarks(file, s)
	}
	return s, err
}
