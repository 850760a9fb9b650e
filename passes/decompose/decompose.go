// Package decompose is the pass that writes the weights of layers as products of smaller tensors.
package decompose

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Rank is the option rank: a number, vbmf, or nothing.
type Rank struct {
	N    int
	VBMF bool
}

// MarshalText is the text that reads back the same.
func (r Rank) MarshalText() ([]byte, error) {
	switch {
	case r.VBMF:
		return []byte("vbmf"), nil
	case r.N > 0:
		return []byte(strconv.Itoa(r.N)), nil
	}
	return []byte("auto"), nil
}

// UnmarshalText reads "auto", "vbmf" or a number from 1.
func (r *Rank) UnmarshalText(b []byte) error {
	switch s := string(b); s {
	case "auto":
		*r = Rank{}
	case "vbmf":
		*r = Rank{VBMF: true}
	default:
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return errors.New("a rank is a number from 1, vbmf or auto")
		}
		*r = Rank{N: n}
	}
	return nil
}

// Options of the pass.
type Options struct {
	Method   string      `opt:"method" enum:"auto|svd|spatial-svd|tucker|cp" doc:"how weights are written; auto takes what does least damage in each layer"`
	Rank     Rank        `opt:"rank" doc:"the rank of every layer, or vbmf for an estimate by variational Bayes; auto: by energy or budget"`
	Energy   float64     `opt:"energy" doc:"share of each layer's output energy to keep, such as 0.95"`
	MACs     float64     `opt:"macs" doc:"share of the model's multiply-accumulates that may remain; 0.5 if nothing else is said"`
	Bytes    float64     `opt:"bytes" doc:"share of the bytes of the model's constants that may remain"`
	MaxDrift float64     `opt:"max-drift" doc:"layers that alone move the outputs further are left as they are, and of those that together do, the dearest: mean KL divergence in nats of classes, relative squared error of other outputs; 0: no bound"`
	RoundTo  int         `opt:"round-to" doc:"ranks are multiples of it; others run slower"`
	Cost     string      `opt:"cost" enum:"time|macs" doc:"what has to fall for a layer to be replaced: the time as modelled for the target and the multiply-accumulates, or these alone"`
	Refit    bool        `opt:"refit" doc:"repair all layers by least squares on the calibration data"`
	Prepared bool        `opt:"prepare" doc:"runs O2 first, which folds normalizations into layers and computes weights that are made of constants, and makes weights constant that callers could override"`
	Calib    passes.Data `opt:"calib" doc:"calibration data; none: those of --calib"`
}

// Preparations of the pass, in the order of Info.Prepares.
const (
	prepareFreeze = iota
	prepareO2
)

// Prepare implements passes.Preparer.
func (o Options) Prepare(m *ir.Model) []int {
	if !o.Prepared {
		return nil
	}
	for n := range m.Main.Nodes() {
		if n.Is("Conv", "ConvTranspose", "MatMul", "Gemm") && n.NumOperands() > 1 && n.Operand(1) != nil && n.Operand(1).Default() != nil {
			return []int{prepareFreeze, prepareO2}
		}
	}
	return []int{prepareO2}
}

// Pass decomposes layers.
var Pass = passes.Define(passes.Info{
	Name: "decompose",
	Doc:  "writes weights of convolutions and matrix products as products of smaller tensors",
	Long: `svd makes two layers of one: MatMul, Gemm, Conv of any window (the window, then 1x1) and ConvTranspose. spatial-svd makes a
kxk convolution kx1 and 1xk. tucker makes it 1x1, kxk, 1x1. cp makes it 1x1, depthwise kx1, depthwise 1xk, 1x1.

With calibration data the error of a layer's output is minimised, not that of its weights. Ranks are allotted to layers by how far each
moves the outputs of the model, until macs= (or bytes=) is met. Then every layer is fit again, in the order of the graph, to what the original
gives there; a part of the data is kept back to choose the ridge. Without data the weights alone decide and nothing is repaired.

A layer is left as it is if the modelled time would not fall, if it alone moves the outputs by more than max-drift, or if all chosen layers
together do before they are repaired and it does most of that for what it saves.`,
	Promise:  passes.Promise{Lossy: true},
	Prepares: []string{prepareFreeze: "freeze-defaults{all=true}", prepareO2: "O2"},
	Example:  "decompose{method=auto macs=0.5}",
	Rules: []passes.RuleDoc{
		{Name: "decompose", Doc: "writes a layer as several", Promise: passes.Promise{Lossy: true}},
		{Name: "dequantize", Doc: "makes quantized weights of a layer floats", Promise: passes.Promise{RelTol: 1e-6}},
		{Name: "refit", Doc: "gives a layer new weights by least squares", Promise: passes.Promise{Lossy: true}},
	},
}, Options{Method: "auto", Cost: "time", RoundTo: 8, Refit: true, MaxDrift: 1, Prepared: true}, run)

func (o *Options) check() error {
	for _, v := range []struct {
		name  string
		value float64
	}{{"energy", o.Energy}, {"macs", o.MACs}, {"bytes", o.Bytes}} {
		if v.value < 0 || v.value > 1 || v.value != v.value {
			return fmt.Errorf("%s=%g is not between 0 and 1", v.name, v.value)
		}
	}
	if o.RoundTo < 1 {
		return fmt.Errorf("round-to=%d is not at least 1", o.RoundTo)
	}
	if o.MaxDrift < 0 {
		return fmt.Errorf("max-drift=%g is negative", o.MaxDrift)
	}
	given := 0
	for _, b := range []bool{o.Rank != Rank{}, o.Energy > 0, o.MACs > 0, o.Bytes > 0} {
		if b {
			given++
		}
	}
	if given > 1 {
		return errors.New("rank, energy, macs and bytes exclude each other")
	}
	if given == 0 {
		o.MACs = 0.5
	}
	return nil
}

func (o *Options) kinds() []kind {
	for k, name := range kindNames {
		if name == o.Method {
			return []kind{kind(k)}
		}
	}
	return []kind{svd, spatialSVD, tucker, cp}
}

func run(c *passes.Context, m *ir.Model, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	data, err := measured.For(c, o.Calib)
	if err != nil && !errors.Is(err, measured.ErrNoData) {
		return err
	}
	w := &work{c: c, m: m, o: o, data: data}
	return w.run()
}

// table lays out lines of cells.
func table(rows [][]string) string {
	var width []int
	for _, r := range rows {
		for i, s := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len(s))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		line := ""
		for i, s := range r {
			line += s + strings.Repeat(" ", width[i]-len(s)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
