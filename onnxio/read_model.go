package onnxio

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// maxIRVersion is the newest IR version of the onnx.proto that this package knows (onnx 1.23).
const maxIRVersion = 14

// reader reads one model.
type reader struct {
	src     *source
	files   *dataFiles
	o       Options
	m       *ir.Model
	strings map[string]string
	types   map[string]*ir.Type
	outs    [][]byte // scratch
	remarks []string
}

func (rd *reader) remark(format string, a ...any) {
	rd.remarks = append(rd.remarks, fmt.Sprintf(format, a...))
}

// intern returns b as a string; equal ones share memory.
func (rd *reader) intern(b []byte) string {
	if s, ok := rd.strings[string(b)]; ok {
		return s
	}
	s := string(b)
	rd.strings[s] = s
	return s
}

// modelParts are the fields of a model that are read after the graph.
type modelParts struct {
	functions, training []wire.Field
	graphs              int
	graph               wire.Field
}

// model reads a ModelProto.
func (rd *reader) model(b []byte) error {
	if len(b) == 0 {
		return errors.New("the file is empty")
	}
	rd.m = &ir.Model{}
	x := &modelExtra{src: rd.src, data: rd.files, body: b}
	rd.m.Extra = x
	parts, err := rd.modelFields(b, x)
	if err != nil {
		return wire.In(err, "not an ONNX model, or a broken one: model")
	}
	switch {
	case parts.graphs == 0:
		return errors.New("there is no graph in it: not an ONNX model, or a broken one")
	case rd.m.IRVersion < 1:
		return fmt.Errorf("ir_version is %d: not an ONNX model, or a broken one", rd.m.IRVersion)
	case rd.m.IRVersion > maxIRVersion:
		return fmt.Errorf("ir_version %d is newer than %d, the newest this program knows", rd.m.IRVersion, maxIRVersion)
	}
	if len(x.opsets) == 0 && rd.m.IRVersion < 3 { // before there were imports
		x.opsets = []ir.Opset{{Version: 1}}
	}
	if err := importOpsets(x.opsets, rd.m.SetOpset); err != nil {
		return err
	}
	if parts.graphs > 1 {
		parts.graph, _ = wire.One(b, modelGraph)
		rd.remark("the graph was in %d parts, which have been merged", parts.graphs)
	}
	// Functions are known before the nodes: one may redefine a standard operator.
	fs := make([]*ir.Function, len(parts.functions))
	for i, f := range parts.functions {
		if fs[i], err = rd.functionHead(f); err != nil {
			return wire.In(err, fmt.Sprintf("functions[%d]", i))
		}
	}
	rd.m.Main = rd.m.NewGraph("")
	main := &scope{g: rd.m.Main}
	if err := rd.graph(main, parts.graph); err != nil {
		return wire.In(err, "graph")
	}
	if len(rd.m.Main.Outputs()) == 0 {
		return errors.New("graph: it has no outputs")
	}
	for i, f := range parts.functions {
		if err := rd.function(fs[i], f); err != nil {
			return wire.In(err, fmt.Sprintf("functions[%d] %q", i, fs[i].Name))
		}
	}
	for i, f := range parts.training {
		if err := rd.training(main, f); err != nil {
			return wire.In(err, fmt.Sprintf("training_info[%d]", i))
		}
	}
	return nil
}

func (rd *reader) modelFields(b []byte, x *modelExtra) (parts modelParts, err error) {
	m := rd.m
	for f, err := range wire.Fields(b) {
		if err != nil {
			return parts, err
		}
		switch {
		case f.IsVarint() && f.Num == modelIRVersion:
			m.IRVersion = f.Int()
		case f.IsVarint() && f.Num == modelVersion:
			m.Version = f.Int()
		case !f.IsBytes():
		case f.Num == modelProducer:
			m.ProducerName = string(f.Body)
		case f.Num == modelProducerVersion:
			m.ProducerVersion = string(f.Body)
		case f.Num == modelDomain:
			m.DomainName = string(f.Body)
		case f.Num == modelOpsets:
			o, err := opset(f.Body)
			if err != nil {
				return parts, wire.In(err, "opset_import")
			}
			x.opsets = append(x.opsets, o)
		case f.Num == modelGraph:
			parts.graph = f
			parts.graphs++
		case f.Num == modelFunctions:
			parts.functions = append(parts.functions, f)
		case f.Num == modelTraining:
			parts.training = append(parts.training, f)
		}
	}
	x.meta, err = meta(b, modelDoc, modelProps)
	m.Meta = x.meta
	return parts, err
}

// opset reads an OperatorSetIdProto.
func opset(b []byte) (o ir.Opset, err error) {
	for f, err := range wire.Fields(b) {
		switch {
		case err != nil:
			return o, err
		case f.Num == opsetDomain && f.IsBytes():
			o.Domain = string(f.Body)
		case f.Num == opsetVersion && f.IsVarint():
			o.Version = f.Int()
		}
	}
	if o.Version < 1 {
		return o, wire.Errorf(b, "domain %q has version %d", o.Domain, o.Version)
	}
	return o, nil
}

// maxOpsets bounds the imports, of which real models have a handful.
const maxOpsets = 1000

// importOpsets gives opsets to set one by one. Domains that are there twice must agree.
func importOpsets(os []ir.Opset, set func(string, int64)) error {
	if len(os) > maxOpsets {
		return fmt.Errorf("%d operator sets are imported, more than %d", len(os), maxOpsets)
	}
	seen := map[string]int64{}
	for _, o := range os {
		d := ir.Domain(o.Domain)
		if v, twice := seen[d]; twice && v != o.Version {
			return fmt.Errorf("domain %q is imported in versions %d and %d", o.Domain, v, o.Version)
		}
		seen[d] = o.Version
		set(o.Domain, o.Version)
	}
	return nil
}

// functionHead reads what identifies a function.
func (rd *reader) functionHead(f wire.Field) (*ir.Function, error) {
	var op ir.OpID
	x := &functionExtra{}
	for f, err := range wire.Fields(f.Body) {
		if err != nil {
			return nil, err
		}
		if !f.IsBytes() {
			continue
		}
		switch f.Num {
		case functionName:
			op.Type = string(f.Body)
		case functionDomain:
			op.Domain = string(f.Body)
		case functionOverload:
			op.Overload = string(f.Body)
		case functionAttrs:
			x.attrs = append(x.attrs, string(f.Body))
		case functionOpsets:
			o, err := opset(f.Body)
			if err != nil {
				return nil, wire.In(err, "opset_import")
			}
			x.opsets = append(x.opsets, o)
		}
	}
	if op.Type == "" {
		return nil, wire.Errorf(f.Raw, "a function has no name")
	}
	fn := rd.m.NewFunction(op)
	fn.Extra, fn.Attrs = x, x.attrs
	return fn, importOpsets(x.opsets, fn.SetOpset)
}

func (rd *reader) function(fn *ir.Function, f wire.Field) error {
	x := extraOf[functionExtra](fn.Extra)
	m, err := meta(f.Body, functionDoc, functionProps)
	if err != nil {
		return err
	}
	x.meta, fn.Meta = m, m
	for a := range wire.Fields(f.Body) {
		if a.Num == functionDefaults && a.IsBytes() {
			d, err := rd.attr(nil, a, nil)
			if err != nil {
				return err
			}
			x.defaults = append(x.defaults, d)
		}
	}
	fn.Defaults = x.defaults
	return rd.graph(&scope{g: fn.Graph, path: "f:" + fn.ID().String()}, f)
}

// training reads a TrainingInfoProto. Its graphs see the values of the main graph.
func (rd *reader) training(main *scope, f wire.Field) error {
	t := &ir.TrainingInfo{Extra: &trainingExtra{f}}
	for _, err := range wire.Fields(f.Body) {
		if err != nil {
			return err
		}
	}
	scopes := [2]*scope{main, main}
	for i, num := range []wire.Num{trainingInit, trainingAlgorithm} {
		field, ok := wire.One(f.Body, num)
		if !ok {
			continue
		}
		g := rd.m.Main.NewSubgraph("")
		scopes[i] = &scope{g: g, outer: main, depth: 1, path: fmt.Sprintf("t:%d/%d", len(rd.m.Training), num)}
		if err := rd.graph(scopes[i], field); err != nil {
			return err
		}
		*[]**ir.Graph{&t.Initialization, &t.Algorithm}[i] = g
	}
	for s := range wire.Fields(f.Body) {
		if !s.IsBytes() || s.Num != trainingInitBind && s.Num != trainingUpdateBind {
			continue
		}
		k, v, err := entry(s.Body)
		if err != nil {
			return err
		}
		b := ir.Binding{Output: v}
		// The state is an initializer of the main graph or of the algorithm.
		if b.Target = scopes[1].find([]byte(k)); b.Target == nil {
			b.TargetName = k
		}
		if s.Num == trainingInitBind {
			t.InitBinding = append(t.InitBinding, b)
		} else {
			t.UpdateBinding = append(t.UpdateBinding, b)
		}
	}
	rd.m.Training = append(rd.m.Training, t)
	return nil
}
