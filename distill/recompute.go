package distill

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/liveness"
	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// A step keeps what the backward half reads of the forward half. Where that is too much the forward half is cut into parts: only what
// crosses from one into another is kept, and what the backward half reads within a part is computed again when it gets there (Chen et al.,
// arXiv 1604.06174).

// load loads a step that fits into the memory, with as few parts as it takes, and says how many nodes are computed twice.
func (t *training) load(ctx context.Context) (engine.Session, int, error) {
	o := t.o
	batch := t.data[:min(o.Batch, len(t.data))]
	for _, parts := range []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64} {
		m, forward, err := t.trainee.step(true)
		if err != nil {
			return nil, 0, err
		}
		redone := 0
		if o.MaxMemory > 0 {
			if parts > len(forward) {
				break
			}
			types, err := t.sized(m, batch)
			if err != nil {
				return nil, 0, err
			}
			if redone = repeat(m, forward, parts, liveness.Options{Types: types.Type}); redone > 0 || parts == 1 {
				if types, err = t.sized(m, batch); err != nil {
					return nil, 0, err
				}
			} else if parts > 1 {
				continue
			}
			if r := liveness.Graph(m.Main, liveness.Options{Types: types.Type}); r.Peak > o.MaxMemory && parts < 64 {
				continue
			}
		}
		s, err := o.Engine.Load(ctx, m, engine.Options{Threads: o.Threads, MaxMemory: o.MaxMemory})
		if err != nil {
			return nil, 0, err
		}
		if o.MaxMemory == 0 {
			return s, 0, nil
		}
		// The engine needs memory of its own, too: a step shows whether it has it.
		if _, _, err = t.run(ctx, s, batch, nil, false); err == nil {
			return s, redone, nil
		}
		s.Close()
		if !errors.Is(err, engine.ErrMemory) {
			return nil, 0, err
		}
	}
	return nil, 0, fmt.Errorf("a step on %d samples does not fit into %d bytes, not even where parts are computed twice; a smaller batch needs less: %w", len(batch), o.MaxMemory, engine.ErrMemory)
}

// sized infers the types of a step for a batch. The model keeps the sizes that it says.
func (t *training) sized(m *ir.Model, batch []*dataset.Sample) (*infer.Result, error) {
	in, err := together(batch)
	if err != nil {
		return nil, err
	}
	n := int64(len(batch))
	var was []*ir.Type
	for _, s := range m.Main.Inputs() {
		v := s.Value()
		was = append(was, v.Type())
		if d, ok := in[s.Name()].(*ir.Tensor); ok {
			v.SetType(d.Type())
		} else if s.Name() == labelsName || s.Name() == teacherName {
			if shape := v.Type().TensorShape(); len(shape) == 2 && t.classes > 0 {
				v.SetType(ir.TensorType(ir.Float32, ir.StaticShape(n, t.classes)))
			}
		} else if shape := v.Type().TensorShape(); len(shape) > 0 && ours(s.Name()) && !shape[0].IsStatic() {
			shape = slices.Clone(shape)
			shape[0] = ir.StaticShape(n)[0]
			v.SetType(ir.TensorType(v.Type().DType(), shape))
		}
	}
	types := infer.Model(m)
	for i, s := range m.Main.Inputs() {
		s.Value().SetType(was[i])
	}
	return types, nil
}

// repeat cuts the forward half into parts of about as many bytes, and has the backward half read from copies of all of them but the last.
// It returns how many nodes it has copied.
func repeat(m *ir.Model, forward []*ir.Node, parts int, o liveness.Options) int {
	part := map[*ir.Node]int{}
	total, sizes := int64(0), make([]int64, len(forward))
	for i, n := range forward {
		for _, v := range n.Results() {
			if b, ok := o.Bytes(o.Type(v)); ok {
				sizes[i] += b
			}
		}
		total += sizes[i]
	}
	at := int64(0)
	for i, n := range forward {
		part[n] = min(int(at*int64(parts)/max(total, 1)), parts-1)
		at += sizes[i]
	}
	copied := 0
	// The last part comes first, as the backward half needs it.
	for p := parts - 2; p >= 0; p-- {
		again, made := map[*ir.Value]*ir.Value{}, map[*ir.Node]bool{}
		for _, n := range forward {
			if part[n] != p || !repeatable(n) {
				continue
			}
			in := make([]*ir.Value, n.NumOperands())
			for i, v := range n.Operands() {
				if in[i] = v; again[v] != nil {
					in[i] = again[v]
				}
			}
			crosses := false // then it is kept
			for i, v := range n.Results() {
				if v == nil || i > 0 && n.Is("BatchNormalization") { // running statistics, which nothing reads
					continue
				}
				crosses = crosses || v.IsOutput()
				for u := range v.Uses() {
					if k, ok := part[u.Node]; ok && k != p {
						crosses = true
					}
				}
			}
			if crosses {
				continue
			}
			c := m.Main.NewN(nil, n.Op(), in, n.NumResults(), n.Attrs()...)
			made[c] = true
			copied++
			for i, v := range n.Results() {
				if v != nil {
					again[v] = c.Result(i)
				}
			}
		}
		for _, n := range forward { // in a fixed order
			for _, v := range n.Results() {
				if w := again[v]; w != nil {
					v.ReplaceUsesIf(w, func(u ir.Use) bool {
						_, before := part[u.Node]
						return !before && !u.Node.IsReturn() && !made[u.Node]
					})
				}
			}
		}
		// What nothing reads is not copied after all.
		for i := len(forward) - 1; i >= 0; i-- {
			for _, v := range forward[i].Results() {
				if w := again[v]; w != nil && !w.Node().Dead() && !w.Node().Used() {
					m.Main.Erase(w.Node())
					copied--
				}
			}
		}
	}
	return copied
}

// repeatable reports whether a node gives the same again.
func repeatable(n *ir.Node) bool {
	return len(n.Subgraphs()) == 0 && n.Op().Domain == "" &&
		!n.Is("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout")
}
