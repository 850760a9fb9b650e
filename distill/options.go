package distill

import (
	"fmt"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// Formula is the loss.
const Formula = `L = ce-weight · CE(student, label) + kd-weight · T² · KL(softmax(teacher/T) ‖ softmax(student/T))
    + feature-weight · mean over tensors f of ‖student_f − teacher_f‖² / ‖teacher_f − mean(teacher_f)‖²`

// How batch normalization is trained.
const (
	NormAuto   = "auto"   // frozen in quantized students and in those without convolutions, batch from random weights, else insert
	NormFrozen = "frozen" // by the means and variances that the model has
	NormBatch  = "batch"  // by those of the batch, whose running averages the model gets
	NormInsert = "insert" // as NormBatch, and also behind convolutions that have none; it is folded into them at the end
)

// Options of a training. Models need opset 18 or newer.
type Options struct {
	Student   *ir.Model
	Teacher   *ir.Model // nil: labels alone
	Set       *dataset.Set
	Limit     int // of samples, 0: all
	Engine    engine.Engine
	Threads   int
	MaxMemory int64 // bytes of a step; what does not fit is computed again

	Epochs, Batch, Warmup int     // Warmup in steps
	CE, KD, Temperature   float64 // of the loss
	Feature               float64
	Optimizer             string  // "adamw" or "sgd"
	Schedule              string  // "cosine" or "constant", behind the warm-up
	Rate, Momentum, Decay float64 // Rate 0: one that suits the student, see settle
	Relative              bool    // the rate is relative to the root mean square of each tensor, at least 0.001
	Clip                  float64 // largest norm of all derivatives together, 0: none
	Average               float64 // decay of the moving average of weights that the result has (EMA), 0: the last weights
	Norm                  string  // NormFrozen and so on
	Augment               Augment
	HoldOut               float64 // share of the samples, the last ones, that is measured after each epoch instead of trained on
	Patience              int     // ends after so many epochs in which the loss on them did not fall, 0: never; the result is the best
	Init                  bool    // begin from random weights
	Zeros                 bool    // weights that are zero while others of their tensor are not stay zero, as after pruning
	Seed                  uint64

	// Progress, if not nil, is told after each epoch.
	Progress func(Epoch)
	// Step, if not nil, is told after each of the steps of an epoch; both are counted from 1.
	Step func(epoch, step, steps int, loss float64)
	// Save, if not nil, keeps the state after each epoch; its error ends the training.
	Save func(*State) error
	// Resume is a state to continue from, or nil. What follows is then what would have followed without the break.
	Resume *State
}

// settle decides what the options leave open. Bits are the fewest of a weight in a quantized student, 0 in others;
// convolutions says that it has some. The rates were found on small classifiers of pictures. A step must be able to move a weight from one
// number to the next, which are farther apart where there are fewer.
func (o *Options) settle(bits int, convolutions bool) {
	if o.Norm == NormAuto || o.Norm == "" {
		switch {
		case o.Init:
			o.Norm = NormBatch
		case bits > 0 || !convolutions || o.Batch < 8:
			o.Norm = NormFrozen
		default:
			o.Norm = NormInsert
		}
	}
	switch {
	case o.Rate > 0:
	case o.Init:
		o.Rate = 1e-3
	case !o.Relative:
		o.Rate = 1e-4
	case bits > 4:
		o.Rate = 5e-4
	case bits > 0:
		o.Rate = 1e-2
	case o.Norm == NormFrozen:
		o.Rate = 1e-3
	default:
		o.Rate = 1e-2
	}
}

// Epoch is what one pass over the data gave. Hits are the share of samples whose class is the label, or without labels the teacher's;
// those of held-out samples, and their loss, are NaN where there are none.
type Epoch struct {
	N                    int
	Loss, Hits           float64
	HeldLoss, HeldHits   float64
	Rate                 float64 // of the last step
	Best                 bool    // no epoch before had a smaller loss on held-out samples
	Stopped              bool    // it is the last because of the patience
	Weights, Quantizers  int     // that are trained
	FeaturesCompared     int
	RecomputedOperations int // of a step, to stay within the memory
}

// Check says what is wrong with numbers and names.
func (o *Options) Check() error {
	in := func(v, lo, hi float64) bool { return v >= lo && v < hi }
	const most = 1e30
	switch {
	case o.Epochs < 1 || o.Batch < 1:
		return fmt.Errorf("epochs and batch are 1 or more")
	case !in(o.Temperature, 1e-6, most) || !in(o.Rate, 0, 2*most):
		return fmt.Errorf("temperature is above 0, and rate not below")
	case !in(o.CE, 0, most) || !in(o.KD, 0, most) || !in(o.Feature, 0, most) || !in(o.Clip, 0, most) || !in(o.Decay, 0, most) || !in(o.Augment.Mixup, 0, most):
		return fmt.Errorf("weights, clip, weight-decay and mixup are not negative")
	case !in(o.Momentum, 0, 1) || !in(o.Average, 0, 1) || !in(o.HoldOut, 0, 1):
		return fmt.Errorf("momentum, ema and hold-out are 0 or more, and below 1")
	case o.CE == 0 && (o.Teacher == nil || o.KD == 0 && o.Feature == 0):
		return fmt.Errorf("there is nothing to learn from: neither labels nor a teacher have a weight")
	case o.Feature > 0 && o.Teacher == nil:
		return fmt.Errorf("feature-weight needs a teacher")
	case o.Patience > 0 && o.HoldOut == 0:
		return fmt.Errorf("patience looks at held-out samples; hold-out says how many")
	case o.Init && o.Norm == NormInsert:
		return fmt.Errorf("norm=insert begins with the weights that there are, init with random ones")
	}
	return nil
}
