// Package all lists every pass of this module and names the presets.
//
// The list is generated from the directories below passes/: a new pass is one directory and a run of go generate.
package all

//go:generate sh -c "go run ./_gen .. > list_gen.go.tmp && mv list_gen.go.tmp list_gen.go"

import (
	"fmt"

	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/quantize"
)

// Passes lists every pass of the module.
func Passes() []*passes.Pass { return list() }

// Registry holds every pass of the module, the given ones, and the presets. It fails if a given pass is not well formed or
// has a name that is taken. Pass quantize knows no runtimes in it; RegistryFor has one that does.
func Registry(more ...*passes.Pass) (*passes.Registry, error) { return RegistryFor(nil, more...) }

// RegistryFor is Registry with pass quantize for the runtimes of the profiles, as package targets/all lists them.
func RegistryFor(profiles []quantize.Profile, more ...*passes.Pass) (*passes.Registry, error) {
	ps := list()
	for i, p := range ps {
		if p == quantize.Pass {
			ps[i] = quantize.With(profiles...)
		}
	}
	r, err := passes.NewRegistry(append(ps, more...)...)
	if err != nil {
		return nil, err
	}
	for _, a := range presets() {
		if err := r.Alias(a.Name, a.Doc, a.Pipeline); err != nil {
			return nil, fmt.Errorf("preset %s: %w", a.Name, err)
		}
	}
	return r, nil
}
