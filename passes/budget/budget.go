// Package budget states what a lossy pass may cost.
package budget

import (
	"errors"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Options of the pass.
type Options struct {
	Drop   float64 `opt:"drop" doc:"points of the metric that may be lost on the calibration data, at most; negative: not asked for"`
	Metric string  `opt:"metric" enum:"top1|agreement" doc:"what drop counts: answers, the places of the largest element of each row of the outputs, that are no longer the model's own. No more answers than that can become wrong"`
	SQNR   float64 `opt:"sqnr" doc:"ratio of signal to error of the outputs, at least, in dB; 0: not asked for"`
}

// Pass runs passes under a budget.
var Pass = passes.Define(passes.Info{
	Name: "budget",
	Doc:  "runs lossy passes that are to stay within a loss",
	Long: `The passes in parentheses look at calibration data (--calib) and do as much as the budget lets them: quantize keeps the fewest operators in
float with which it holds, by the divergence of the outputs when each is quantized alone. What was reached is reported. --floor checks the
result on other data, and keeps it from being written.`,
	Promise: passes.Promise{Lossy: true},
	Nests:   true,
	Example: "budget{drop=0.5 metric=top1}(quantize{mode=static})",
	Rules:   []passes.RuleDoc{{Name: "budget", Doc: "leaves the rewrites to the passes in it", Promise: passes.Promise{Lossy: true}}},
}, Options{Drop: -1, Metric: "top1"}, func(c *passes.Context, _ *ir.Model, o Options) error {
	if o.Drop < 0 && o.SQNR <= 0 {
		return errors.New("a budget needs drop= or sqnr=")
	}
	return c.NestedFor(0, passes.Goal{SQNR: o.SQNR, Drop: o.Drop, Metric: o.Metric})
})
