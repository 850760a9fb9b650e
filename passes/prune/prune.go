// Package prune takes out of a model what matters little: whole channels, heads and neurons, or single weights.
package prune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Options of the pass.
type Options struct {
	Unit       string      `opt:"unit" enum:"auto|channel|weight" doc:"channel takes out whole channels, attention heads, neurons and recurrent units, so that the model gets smaller and faster; weight makes single weights zero; auto: weight if sparsity or pattern is given"`
	MACs       float64     `opt:"macs" doc:"channel: at most this share of the multiply-accumulates remains (0.5: half)"`
	Ratio      float64     `opt:"ratio" doc:"channel: this share of the units goes"`
	RoundTo    int         `opt:"round-to" doc:"channel: what is left of a dimension is a multiple of this, because kernels work on blocks; 1: any number"`
	Sparsity   float64     `opt:"sparsity" doc:"weight: this share of the weights becomes zero"`
	Pattern    string      `opt:"pattern" enum:"none|2:4" doc:"weight: of 4 weights in a row along the inputs of a layer 2 become zero, as sparse tensor cores want it"`
	Importance string      `opt:"importance" enum:"auto|magnitude|l1|l2|lamp|taylor|activation|obs" doc:"what matters: norms of weights (magnitude, l1, l2, lamp), what outputs change if it alone goes (taylor: measured for channels, the second-order term for weights), the strength of activations (activation), or the error that is left once the others make up for it (obs); auto: obs with data, without l2 for channels and magnitude for weights"`
	Scope      string      `opt:"scope" enum:"auto|global|layer|lamp" doc:"global weighs layers against each other, layer takes the same share from each, lamp (weight) allots by the LAMP score; auto: global for channels, lamp for weights"`
	Repair     bool        `opt:"repair" doc:"fits the layers that are left on calibration data"`
	Sparse     bool        `opt:"sparse" doc:"weight: stores a weight in coordinate form where that is smaller, which few runtimes take"`
	Calib      passes.Data `opt:"calib" doc:"data set to calibrate on; otherwise that of --calib"`
	Prepared   bool        `opt:"prepare" doc:"simplifies first, and folds normalizations into convolutions"`
}

var defaults = Options{Unit: "auto", MACs: 0, Ratio: 0, RoundTo: 8, Pattern: "none", Importance: "auto", Scope: "auto", Repair: true, Prepared: true}

// Prepare implements passes.Preparer.
func (o Options) Prepare(*ir.Model) []int {
	if o.Prepared {
		return []int{0}
	}
	return nil
}

// prepare is O2 without the fusions that hide heads (Attention, RotaryEmbedding), which may run after this pass.
const prepare = "fold,fixpoint{max=6}(simplify,einsum,conv-bn,to-weights,conv-mul-add,gemm-mul-add,bn-mul-add,conv-fill-bn,pad-into-conv,matmul-add,activations,dce),output-shapes"

// Pass prunes a model.
var Pass = passes.Define(passes.Info{
	Name:    "prune",
	Doc:     "takes out channels, attention heads and neurons, or makes single weights zero, and repairs what is left from data",
	Long:    long,
	Promise: passes.Promise{Lossy: true},
	Rules: []passes.RuleDoc{
		{Name: "channel", Doc: "removes units, and what they alone feed or are fed by", Promise: passes.Promise{Lossy: true}},
		{Name: "weight", Doc: "makes weights zero", Promise: passes.Promise{Lossy: true}},
		{Name: "repair", Doc: "fits the weights of a layer to what the original gave", Promise: passes.Promise{Lossy: true}},
		{Name: "dequantize", Doc: "makes quantized weights of a layer floats, so that single ones may become zero", Promise: passes.Promise{RelTol: 1e-6}},
		{Name: "size", Doc: "replaces a size that is computed and known by a constant, so that it may change", Promise: passes.Promise{}},
	},
	Prepares: []string{prepare},
	Example:  "prune{unit=channel macs=0.5}",
}, defaults, run)

const long = `Channels. Dimensions that have to shrink together are found by propagating equalities of elements through the operators: residual
sums, concatenations, splits, groups, shuffles, heads, recurrent units. A unit is what goes at once: a filter with its bias, its place in
every sum it is added to, and the slices of the weights that read it. What touches an input or output of the model, a normalization over
the dimension, or an operator that is not understood, stays; remarks say why. No dimension is left without elements.

Weights. Zeros bring no speed in runtimes for dense models, nor smaller files unless these are compressed; the pattern 2:4 does where sparse
tensor cores are used.

With calibration data (--calib) layers are fitted again, in the order of the graph, to what they gave in the original. except= protects
layers: their own channels and weights stay.`

func (o Options) check() error {
	switch {
	case o.MACs < 0 || o.MACs >= 1:
		return fmt.Errorf("macs=%g is no share between 0 and 1", o.MACs)
	case o.Ratio < 0 || o.Ratio >= 1:
		return fmt.Errorf("ratio=%g is no share between 0 and 1: 1 would empty every layer", o.Ratio)
	case o.Sparsity < 0 || o.Sparsity >= 1:
		return fmt.Errorf("sparsity=%g is no share between 0 and 1: 1 would empty every layer", o.Sparsity)
	case o.RoundTo < 1:
		return fmt.Errorf("round-to=%d is no positive number", o.RoundTo)
	}
	structured, single := o.MACs > 0 || o.Ratio > 0, o.Sparsity > 0 || o.Pattern != "none"
	switch {
	case structured && single:
		return errors.New("macs and ratio are about channels, sparsity and pattern about weights: give one kind")
	case o.MACs > 0 && o.Ratio > 0:
		return errors.New("give macs or ratio, not both")
	case o.Sparsity > 0 && o.Pattern != "none":
		return errors.New("pattern=2:4 makes half of the weights zero; sparsity cannot be given with it")
	case o.Unit == "channel" && single:
		return errors.New("sparsity and pattern are about weights, not channels")
	case o.Unit == "weight" && structured:
		return errors.New("macs and ratio are about channels, not weights")
	case !structured && !single:
		return errors.New("say how much goes: macs=0.5 or ratio=0.3 for channels, sparsity=0.5 or pattern=2:4 for weights")
	}
	if structured && slices.Contains([]string{"magnitude"}, o.Importance) {
		return errors.New("importance=magnitude is about weights; for channels l1 or l2 is")
	}
	if single && slices.Contains([]string{"l1", "l2", "activation"}, o.Importance) {
		return fmt.Errorf("importance=%s is about channels; for weights magnitude, lamp, taylor or obs is", o.Importance)
	}
	if structured && o.Scope == "lamp" {
		return errors.New("scope=lamp is about weights; for channels global or layer is")
	}
	return nil
}

func run(c *passes.Context, m *ir.Model, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.MACs > 0 || o.Ratio > 0 {
		return structured(c, m, o)
	}
	return unstructured(c, m, o)
}
