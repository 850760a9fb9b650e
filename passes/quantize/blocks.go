package quantize

import (
	"fmt"
	"strings"

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
	_, err := blockwise.Apply(c, m, p)
	return err
}
