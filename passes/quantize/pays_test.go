package quantize_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// pretended is an engine in which an operator takes a time that depends on its weights and on whether they are integers.
type pretended struct {
	engine.Engine
	took func(kernel int64, integer bool) time.Duration
}

func (p pretended) Name() string { return "pretended" }

func (p pretended) Load(ctx context.Context, m *ir.Model, o engine.Options) (engine.Session, error) {
	s, err := p.Engine.Load(ctx, m, o)
	sum := time.Duration(0)
	for n := range m.Main.Nodes() {
		if n.Is("Conv") {
			w, integer := n.Operand(1), false
			if d := w.Node(); d != nil && d.Is("DequantizeLinear") {
				w, integer = d.Operand(0), true
			}
			sum += p.took(w.Const().Shape()[2], integer)
		}
	}
	return slowed{s, sum}, err
}

type slowed struct {
	engine.Session
	by time.Duration
}

func (s slowed) Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	time.Sleep(s.by)
	return s.Session.Run(ctx, in)
}

// TestMeasure: an operator that integers make slower stays float, and says where that was measured; so does a model whose quantizers cost more
// than integers save. Size is size.
func TestMeasure(t *testing.T) {
	w := newWorld(t)
	const ms = time.Millisecond
	run := func(options string, took func(kernel int64, integer bool) time.Duration) (floats []int64, note string) {
		c := measured.New(open(w.model()), native.New(), 1, measured.Timing(func() engine.Engine { return pretended{native.New(), took} }))
		m := w.model()
		p, err := w.reg.Parse("quantize{prepare=false protect=0 profile=ort-cpu-vnni " + options + "}")
		require.NoError(t, err)
		_, err = p.Run(context.Background(), m, passes.Config{Data: map[passes.Data]any{"": c}, Notes: func(_, s string) { note += s }})
		require.NoError(t, err)
		for n := range m.Main.Nodes() {
			if n.Is("Conv") && n.Operand(1).Const() != nil {
				floats = append(floats, n.Operand(1).Const().Shape()[2])
			}
		}
		return floats, note
	}
	pointwise := func(kernel int64, integer bool) time.Duration { // 1x1 is slower, 3x3 much faster
		switch {
		case !integer:
			return 4 * ms
		case kernel == 1:
			return 6 * ms
		}
		return ms
	}
	floats, note := run("measure=true", pointwise)
	require.Equal(t, []int64{1}, floats)
	require.Contains(t, note, "float: 1 Conv, because int8 makes it slower in engine pretended: d")
	require.Contains(t, note, "times that of float, measured in engine pretended on one thread")
	floats, note = run("measure=true objective=size", pointwise)
	require.Empty(t, floats)
	require.Contains(t, note, "measured in engine pretended")
	floats, note = run("measure=true", func(_ int64, integer bool) time.Duration {
		if integer {
			return 5 * ms
		}
		return 3 * ms
	})
	require.Len(t, floats, 2)
	require.Contains(t, note, "int8 does not pay: ")
	floats, note = run("measure=true", func(_ int64, integer bool) time.Duration {
		if integer {
			return ms
		}
		return 4 * ms
	})
	require.Empty(t, floats)
	require.Contains(t, note, "measured in engine pretended")
	_, note = run("objective=size", pointwise)
	require.Contains(t, note, "speed: not measured")
}
