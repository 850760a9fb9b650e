package optimize

import (
	"context"
	"errors"
	"maps"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// Stage is a model of a chain, in which values have names of their own: it takes and gives them under the names of its interface.
type Stage struct {
	Model *ir.Model
	Takes map[string]string // input: value of the chain; nil: the same names
	Gives map[string]string // output: value of the chain; nil: the same names
}

// Chain compares a model with models that are run one after another. The inputs of the chain are those of m, and it has to come to the
// outputs of m by their names. Source, verdict and error are those of
// compare.Models.
func Chain(ctx context.Context, eng engine.Engine, m *ir.Model, stages []Stage, src compare.Source, o compare.Options) (*compare.Verdict, error) {
	stand := m.Clone() // has the interface; the chain runs in its place
	return compare.Models(ctx, &chainEngine{eng, stand, stages}, m, stand, src, o)
}

// chainEngine runs the stages where it is to load the model that stands for them.
type chainEngine struct {
	engine.Engine
	stand  *ir.Model
	stages []Stage
}

// Load implements engine.Engine.
func (c *chainEngine) Load(ctx context.Context, m *ir.Model, o engine.Options) (engine.Session, error) {
	if m != c.stand {
		return c.Engine.Load(ctx, m, o)
	}
	s := &chainSession{stages: c.stages, outputs: m.Main.Outputs()}
	for _, stage := range c.stages {
		k, err := c.Engine.Load(ctx, stage.Model, o)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.sessions = append(s.sessions, k)
	}
	return s, nil
}

type chainSession struct {
	stages   []Stage
	sessions []engine.Session
	outputs  []*ir.Slot
}

// Run implements engine.Session.
func (c *chainSession) Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	values := maps.Clone(in)
	for i, s := range c.sessions {
		stage := c.stages[i]
		own := map[string]ir.Datum{}
		for _, slot := range stage.Model.Main.Inputs() {
			if d, ok := values[renamed(stage.Takes, slot.Name())]; ok {
				own[slot.Name()] = d
			}
		}
		out, err := s.Run(ctx, own)
		if err != nil {
			return nil, err
		}
		for name, d := range out {
			values[renamed(stage.Gives, name)] = d
		}
	}
	out := map[string]ir.Datum{}
	for _, s := range c.outputs {
		if d, ok := values[s.Name()]; ok {
			out[s.Name()] = d
		}
	}
	return out, nil
}

func renamed(names map[string]string, name string) string {
	if n, ok := names[name]; ok {
		return n
	}
	return name
}

// RunTaps implements engine.Session. A chain has no taps.
func (c *chainSession) RunTaps(context.Context, map[string]ir.Datum) (map[string]ir.Datum, []ir.Datum, error) {
	return nil, nil, errors.New("a chain of models has no taps")
}

// Close implements engine.Session.
func (c *chainSession) Close() error {
	var err error
	for _, s := range c.sessions {
		err = errors.Join(err, s.Close())
	}
	return err
}
