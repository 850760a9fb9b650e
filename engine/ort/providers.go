package ort

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// provider is an execution provider that the library has.
type provider struct {
	name         string // as the library spells it
	keys, values []string
}

const (
	providerSuffix = "ExecutionProvider"
	cpuProvider    = "CPU" + providerSuffix
)

// chooseProviders finds the wanted execution providers among those of the library. The CPU's is always the last and need not
// be named.
func chooseProviders(wanted []Provider, lib Info) ([]provider, error) {
	var chosen []provider
	for _, w := range wanted {
		i := slices.IndexFunc(lib.Providers, func(name string) bool {
			return strings.EqualFold(name, w.Name) || strings.EqualFold(strings.TrimSuffix(name, providerSuffix), w.Name)
		})
		if i < 0 {
			return nil, fmt.Errorf("ONNX Runtime %s at %s has no execution provider %q; it has %s",
				lib.Version, lib.Path, w.Name, strings.Join(lib.Providers, ", "))
		}
		p := provider{name: lib.Providers[i], keys: slices.Sorted(maps.Keys(w.Options))}
		for _, k := range p.keys {
			p.values = append(p.values, w.Options[k])
		}
		switch {
		case p.name != cpuProvider:
			chosen = append(chosen, p)
		case len(p.keys) > 0:
			return nil, fmt.Errorf("execution provider %s takes no options", p.name)
		}
	}
	return chosen, nil
}

// ownOptions are the functions of the execution providers that have an object for their options.
var ownOptions = map[string]struct{ create, update, attach, release int }{
	"CUDAExecutionProvider":     {fnCreateCUDAOptions, fnUpdateCUDAOptions, fnAppendCUDA, fnReleaseCUDAOptions},
	"TensorrtExecutionProvider": {fnCreateTensorRTOptions, fnUpdateTensorRTOptions, fnAppendTensorRT, fnReleaseTensorRTOptions},
	"ROCMExecutionProvider":     {fnCreateROCMOptions, fnUpdateROCMOptions, fnAppendROCM, fnReleaseROCMOptions},
	"CANNExecutionProvider":     {fnCreateCANNOptions, fnUpdateCANNOptions, fnAppendCANN, fnReleaseCANNOptions},
	"DnnlExecutionProvider":     {fnCreateDnnlOptions, fnUpdateDnnlOptions, fnAppendDnnl, fnReleaseDnnlOptions},
}

// shortNames are those that SessionOptionsAppendExecutionProvider wants where they are not the name without its suffix.
var shortNames = map[string]string{
	"AzureExecutionProvider":   "AZURE",
	"XnnpackExecutionProvider": "XNNPACK",
	"DmlExecutionProvider":     "DML",
	"WebGpuExecutionProvider":  "WebGPU",
}

// attach adds p to a session's options.
func (e *Engine) attach(options uintptr, p provider) error {
	s := &scratch{}
	defer s.free()
	keys, err := s.texts(p.keys)
	if err != nil {
		return err
	}
	values, err := s.texts(p.values)
	if err != nil {
		return err
	}
	n := uintptr(len(p.keys))
	f, ok := ownOptions[p.name]
	if !ok {
		short, ok := shortNames[p.name]
		if !ok {
			short = strings.TrimSuffix(p.name, providerSuffix)
		}
		name, err := s.text(short)
		if err != nil {
			return err
		}
		return e.try(fnAppendProvider, options, name, keys, values, n)
	}
	var own uintptr
	if err := e.try(f.create, addr(s, &own)); err != nil {
		return err
	}
	defer e.release(f.release, own)
	if n > 0 {
		if err := e.try(f.update, own, keys, values, n); err != nil {
			return err
		}
	}
	return e.try(f.attach, options, own)
}

// names joins the names of execution providers.
func names(ps []provider) string {
	s := make([]string, len(ps))
	for i, p := range ps {
		s[i] = p.name
	}
	return strings.Join(s, ", ")
}
