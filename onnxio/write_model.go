package onnxio

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// writer builds the message of a model. It changes nothing in the model.
type writer struct {
	m         *ir.Model
	names     *naming.Names
	data      *dataPlan // where elements go; nil if everything stays where it is
	irVersion int64
	graphs    map[*ir.Function][]*ir.Graph // by the function that they are or are nested in, nil for none
	done      Written
}

// model is the ModelProto.
func (w *writer) model() (wire.Rope, error) {
	m := w.m
	x := extraOf[modelExtra](m.Extra)
	if x == nil {
		x = &modelExtra{}
	}
	p := wire.NewMessage(x.body)
	p.Int(modelIRVersion, w.irVersion)
	p.Str(modelProducer, m.ProducerName)
	p.Str(modelProducerVersion, m.ProducerVersion)
	p.Str(modelDomain, m.DomainName)
	p.Int(modelVersion, m.Version)
	putMeta(p, modelDoc, modelProps, m.Meta, x.meta)
	putOpsets(p, modelOpsets, w.imports(m.Opsets(), w.graphs[nil]), x.opsets)
	main, err := w.graph(modelGraph, m.Main)
	if err != nil {
		return main, err
	}
	p.Set(modelGraph, main)
	var fs, ts []wire.Rope
	for _, f := range m.Functions {
		r, err := w.function(f)
		if err != nil {
			return r, err
		}
		fs = append(fs, r)
	}
	p.Set(modelFunctions, fs...)
	for _, t := range m.Training {
		r, err := w.training(t)
		if err != nil {
			return r, err
		}
		ts = append(ts, r)
	}
	p.Set(modelTraining, ts...)
	return p.Rope(), nil
}

// putOpsets declares the imports where they are not those that were read.
func putOpsets(m *wire.Message, num wire.Num, now, read []ir.Opset) {
	if importsEqual(now, read) {
		return
	}
	var items []wire.Rope
	for _, o := range now {
		e := wire.NewMessage(nil)
		e.Strs(opsetDomain, []string{o.Domain})
		e.Int(opsetVersion, o.Version)
		items = append(items, wire.Sub(num, e.Rope(), wire.Field{}))
	}
	m.Set(num, items...)
}

// importsEqual compares imports with those of the file, which may repeat a domain.
func importsEqual(now, read []ir.Opset) bool {
	var once []ir.Opset
	for _, o := range read {
		if !slices.ContainsFunc(once, func(p ir.Opset) bool { return ir.Domain(p.Domain) == ir.Domain(o.Domain) }) {
			once = append(once, o)
		}
	}
	return slices.Equal(now, once)
}

// function is a FunctionProto.
func (w *writer) function(f *ir.Function) (wire.Rope, error) {
	m, g, err := w.graphMessage(f.Graph)
	if err != nil {
		return wire.Rope{}, err
	}
	x := extraOf[functionExtra](f.Extra)
	if x == nil {
		x = &functionExtra{}
	}
	m.Str(functionName, f.Name)
	m.Str(functionDomain, f.Domain)
	m.Str(functionOverload, f.Overload)
	if !slices.Equal(f.Attrs, x.attrs) {
		m.Strs(functionAttrs, f.Attrs)
	}
	if !slices.Equal(f.Defaults, x.defaults) {
		var items []wire.Rope
		for _, a := range f.Defaults {
			r, err := w.attr(functionDefaults, a)
			if err != nil {
				return r, fmt.Errorf("%s: attribute %q: %w", f.Graph.Path(), a.Name, err)
			}
			items = append(items, r)
		}
		m.Set(functionDefaults, items...)
	}
	putOpsets(m, functionOpsets, w.imports(f.Opsets(), w.graphs[f]), x.opsets)
	putMeta(m, functionDoc, functionProps, f.Meta, x.meta)
	return wire.Sub(modelFunctions, m.Rope(), g.field), nil
}

// training is a TrainingInfoProto.
func (w *writer) training(t *ir.TrainingInfo) (wire.Rope, error) {
	x := extraOf[trainingExtra](t.Extra)
	if x == nil {
		x = &trainingExtra{}
	}
	m := wire.NewMessage(x.field.Body)
	for i, g := range []*ir.Graph{t.Initialization, t.Algorithm} {
		num := []wire.Num{trainingInit, trainingAlgorithm}[i]
		if g == nil {
			continue
		}
		r, err := w.graph(num, g)
		if err != nil {
			return r, err
		}
		m.Set(num, r)
	}
	w.bindings(m, x, trainingInitBind, t.InitBinding)
	w.bindings(m, x, trainingUpdateBind, t.UpdateBinding)
	return wire.Sub(modelTraining, m.Rope(), x.field), nil
}

func (w *writer) bindings(m *wire.Message, x *trainingExtra, num wire.Num, bs []ir.Binding) {
	var src []wire.Field
	for f := range wire.Fields(x.field.Body) {
		if f.Num == num && f.IsBytes() {
			src = append(src, f)
		}
	}
	var items []wire.Rope
	for i, b := range bs {
		target := b.TargetName
		if b.Target != nil {
			target = w.names.Value(b.Target)
		}
		if i < len(src) {
			if k, v, _ := entry(src[i].Body); k == target && v == b.Output {
				items = append(items, wire.Of(src[i].Raw))
				continue
			}
		}
		items = append(items, entryRope(num, target, b.Output))
	}
	m.Set(num, items...)
}
