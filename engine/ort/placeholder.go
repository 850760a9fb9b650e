package ort

import (
	"context"
	"fmt"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// placeholder is a value that the C API cannot make: an empty sequence, or an optional without a value. A model of one node
// makes it, and its session lives as long as the value.
type placeholder struct {
	maker *session
	value uintptr
}

func (p *placeholder) close(e *Engine) error {
	e.release(fnReleaseValue, p.value)
	return p.maker.Close()
}

// nothingOf is an empty value of type t, a sequence or an optional. It belongs to the session.
func (s *session) nothingOf(t *ir.Type) (uintptr, error) {
	s.nothing.Lock()
	defer s.nothing.Unlock()
	t = t.WithoutShapes()
	key := t.String()
	if p := s.missing[key]; p != nil {
		return p.value, nil
	}
	p, err := s.makeNothing(t)
	if err != nil {
		return 0, fmt.Errorf("an empty %s: %w", t, err)
	}
	if s.missing == nil {
		s.missing = map[string]*placeholder{}
	}
	s.missing[key] = p
	return p.value, nil
}

func (s *session) makeNothing(t *ir.Type) (*placeholder, error) {
	m := ir.NewModel(8, 17)
	var n *ir.Node
	switch {
	case t.Kind == ir.KindSequence && t.Of.IsTensor():
		n = m.Main.New(nil, ir.Op("SequenceEmpty"), nil, ir.IntAttr("dtype", int64(t.Of.Elem)))
	case t.Kind == ir.KindOptional:
		n = m.Main.New(nil, ir.Op("Optional"), nil, ir.TypeAttr("type", t.Of))
	default:
		return nil, fmt.Errorf("the C API has no way to make it")
	}
	m.Main.AddOutput("y", n.Result(0), t)
	maker, err := s.Engine.load(context.Background(), m, engine.Options{})
	if err != nil {
		return nil, err
	}
	p := &placeholder{maker: maker}
	r := &run{session: maker}
	defer r.free()
	if err := r.do(context.Background(), nil); err != nil {
		return nil, closing(maker, err)
	}
	p.value, r.results[0] = r.results[0], 0
	return p, nil
}
