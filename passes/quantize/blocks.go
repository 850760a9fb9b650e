package quantize

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/blockwise"
)

// nbits reports whether weights are written as operators of ONNX Runtime's.
func (o Options) nbits() bool {
	return o.Form == "nbits" || o.Form == "auto" && (o.Profile == "auto" || strings.HasPrefix(o.Profile, "ort-"))
}

// fewest is the number of elements below which a weight is not worth its scales.
const fewest = 1 << 11

// weightsOnly is mode=weights.
func weightsOnly(c *passes.Context, m *ir.Model, o Options) error {
	switch {
	case o.Bits != 4 && o.Bits != 8:
		return fmt.Errorf("bits=%d: weights are stored in 4 or 8 bits", o.Bits)
	case o.Block < 16 || o.Block > 1<<20 || o.Block&(o.Block-1) != 0:
		return fmt.Errorf("block=%d is no power of 2 from 16 on", o.Block)
	case o.Accuracy < 0 || o.Accuracy > 4:
		return fmt.Errorf("accuracy-level=%d is none of 0 to 4", o.Accuracy)
	}
	for name, b := range map[string]int{"head-bits": o.Head, "embedding-bits": o.Embeddings} {
		if b != 0 && b != 4 && b != 8 && b != 32 {
			return fmt.Errorf("%s=%d: there are 4, 8 and 32, which is float", name, b)
		}
	}
	p := blockwise.Options{
		Spec: blockwise.Spec{Bits: o.Bits, Block: o.Block, Symmetric: o.Symmetric, Search: true},
		Rule: "blocks", NBits: o.nbits(), Accuracy: o.Accuracy, Head: o.Head, Embeddings: o.Embeddings, Least: fewest,
	}
	switch o.Algorithm {
	case "gptq":
		p.Algorithm = blockwise.GPTQ
	case "awq":
		p.Algorithm = blockwise.AWQ
	}
	if p.Algorithm != blockwise.RTN {
		cal, err := measured.For(c, o.Calib)
		if err != nil {
			return fmt.Errorf("algorithm=%s looks at the inputs of products: %w", o.Algorithm, err)
		}
		p.Pool = par.New(cal.Threads())
		p.Stats = func(inputs []*ir.Value) (map[*ir.Value]*blockwise.Stats, error) {
			return inputStats(c, m, cal, p.Pool, inputs)
		}
	}
	r, err := blockwise.Apply(c, m, p)
	if err == nil {
		c.Note(blocksReport(r, o))
	}
	return err
}

// blocksReport says what became of the weights.
func blocksReport(r []blockwise.Verdict, o Options) string {
	n := map[int]int{}
	var kept []verdict
	for _, v := range r {
		switch {
		case v.Why == "":
			n[v.Bits]++
		case v.Node != nil:
			kept = append(kept, verdict{v.Node, "its weight stays: " + v.Why})
		}
	}
	var parts []string
	for _, bits := range []int{4, 8} {
		if n[bits] > 0 {
			parts = append(parts, fmt.Sprintf("%d weights in %d bits", n[bits], bits))
		}
	}
	if len(parts) == 0 {
		return errNothing.Error() + keptText(kept)
	}
	return fmt.Sprintf("%s, a scale for each %d of them, by %s", strings.Join(parts, ", "), o.Block, o.Algorithm) + keptText(kept)
}

// inputStats measures the inputs of products.
func inputStats(c *passes.Context, m *ir.Model, cal *measured.Calibration, pool *par.Pool, inputs []*ir.Value) (map[*ir.Value]*blockwise.Stats, error) {
	r := map[*ir.Value]*blockwise.Stats{}
	err := cal.Taps(c.Context(), m, inputs, func(_ int, taps []*ir.Tensor) error {
		for i, t := range taps {
			if t == nil || t.Rank() == 0 {
				continue
			}
			x, err := measured.Floats(t)
			if err != nil {
				return err
			}
			k := int(t.Shape()[t.Rank()-1])
			s := r[inputs[i]]
			if s == nil {
				s = blockwise.NewStats(k)
				r[inputs[i]] = s
			}
			if s.K != k {
				return fmt.Errorf("an input of a product has rows of %d and of %d elements", s.K, k)
			}
			if err := s.Add(x, pool); err != nil {
				return err
			}
		}
		return nil
	})
	return r, err
}
