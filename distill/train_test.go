package distill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// digits is the trained classifier of the repository.
func digits(t *testing.T) *ir.Model {
	t.Helper()
	f, err := onnxio.Open("../testdata/digits/digits.onnx", onnxio.Options{})
	require.NoError(t, err)
	m := f.Model.Clone()
	m.SetOpset("", 21)
	return m
}

// TestKeepsLastGood: where the loss stops being a number the weights are those of the epoch before.
func TestKeepsLastGood(t *testing.T) {
	m := network(t)
	o := options(t, m)
	o.Optimizer, o.Rate, o.Warmup, o.Clip = "sgd", 1e29, 1, 0
	before := printed(t, m)
	done, err := Train(context.Background(), o)
	require.ErrorContains(t, err, "epoch 1, step")
	require.Empty(t, done)
	require.Equal(t, before, printed(t, m))
}

// printed is the model as text, weights included.
func printed(t *testing.T, m *ir.Model) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, text.Print(&b, m, text.Options{}))
	return b.String()
}

func train(t *testing.T, o Options) []Epoch {
	t.Helper()
	e, err := Train(context.Background(), o)
	require.NoError(t, err)
	return e
}

// TestResume continues from the checkpoint of the second of four epochs, and ends at the same bits.
func TestResume(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"adamw": func(o *Options) { o.Average, o.Augment, o.HoldOut = .9, Augment{Flip: true, Crop: 2, Mixup: .4}, .2 },
		"sgd":   func(o *Options) { o.Optimizer, o.Momentum, o.Rate, o.HoldOut, o.Patience = "sgd", .9, .01, .25, 2 },
	} {
		var saved []byte
		whole := network(t)
		o := options(t, whole)
		o.Epochs, o.Limit = 4, 160
		set(&o)
		o.Save = func(s *State) error {
			if len(s.Epochs) == 2 {
				var b bytes.Buffer
				require.NoError(t, s.Write(&b))
				saved = b.Bytes()
			}
			return nil
		}
		all := train(t, o)
		state, err := ReadState(bytes.NewReader(saved), int64(len(saved)))
		require.NoError(t, err, name)
		parts := network(t)
		o.Student, o.Resume, o.Save = parts, state, nil
		rest := train(t, o)
		require.Equal(t, all, rest, name)
		require.Equal(t, printed(t, whole), printed(t, parts), name)
		o.Student, o.Rate = network(t), .5
		_, err = Train(context.Background(), o)
		require.ErrorContains(t, err, "the checkpoint is of another training: it has rate")
	}
	_, err := ReadState(strings.NewReader("nothing"), 7)
	require.ErrorContains(t, err, "it is no checkpoint")
}

// TestSaveFails: a checkpoint that cannot be written ends the training, and the student has the weights so far.
func TestSaveFails(t *testing.T) {
	m := network(t)
	o := options(t, m)
	before := printed(t, m)
	o.Save = func(*State) error { return errors.New("disk full") }
	done, err := Train(context.Background(), o)
	require.EqualError(t, err, "disk full")
	require.Len(t, done, 1)
	require.NotEqual(t, before, printed(t, m))
}

// TestMemory: a step that may use less memory computes parts twice, and the same bits.
func TestMemory(t *testing.T) {
	deep := func() *ir.Model {
		weights, nodes, last := "", "", "c0"
		for i := range 24 {
			weights += fmt.Sprintf("float[8,1,1] s%d = {1, 1.1, 1.2, 0.9, 0.8, 1, 1.1, 1}, ", i)
			nodes += fmt.Sprintf("  t%d = Tanh(%s)\n  m%d = Mul(t%d, s%d)\n", i, last, i, i, i)
			last = fmt.Sprint("m", i)
		}
		m, err := text.Parse([]byte(`<ir_version: 10, opset_import: ["" : 21]>
net (float[N,1,16,16] image) => (float[N,10] scores)
<` + weights + `float[8,1,3,3] w1 = {` + strings.Repeat("0.001, ", 71) + `0.001}, float[10,2048] w3 = {` + strings.Repeat("0.01, ", 20479) + `0.01}>
{
  c0 = Conv<pads = [1,1,1,1]>(image, w1)
` + nodes + `  f = Flatten(` + last + `)
  scores = Gemm<transB = 1>(f, w3)
}`))
		require.NoError(t, err)
		return m
	}
	free := deep()
	o := options(t, free)
	o.Epochs, o.Limit, o.Init = 1, 64, false
	require.Zero(t, train(t, o)[0].RecomputedOperations)
	tight := deep()
	o.Student, o.MaxMemory = tight, 4<<20 // 24 results of 256 KiB are read again
	e := train(t, o)
	require.Positive(t, e[0].RecomputedOperations)
	require.Equal(t, printed(t, free), printed(t, tight))
	o.Student, o.MaxMemory = deep(), 1<<20
	_, err := Train(context.Background(), o)
	require.ErrorIs(t, err, engine.ErrMemory)
	require.ErrorContains(t, err, "a smaller batch needs less")
}

// TestZeros: what pruning has set to zero stays zero, with all that an optimizer does.
func TestZeros(t *testing.T) {
	m := digits(t)
	w := trainable(m)[0]
	e, err := ir.Elements[float32](w.Const())
	require.NoError(t, err)
	pruned, name := slices.Clone(e), w.Name()
	for i := range pruned {
		if i%3 == 0 {
			pruned[i] = 0
		}
	}
	replace(m, w, ir.TensorOf(pruned, w.Const().Shape()...))
	o := options(t, m)
	o.Init, o.Zeros, o.Norm, o.Average, o.Rate, o.Decay, o.Limit, o.Epochs = false, true, NormInsert, .5, 1e-3, .1, 96, 1
	train(t, o)
	e, err = ir.Elements[float32](named(m, name).Const())
	require.NoError(t, err)
	for i, x := range e {
		require.Equal(t, i%3 == 0, x == 0, "element %d is %v", i, x)
		require.True(t, x == 0 || x != pruned[i], "element %d has not moved", i)
	}
}

// TestNorms: normalization by the batch is folded away again where it was inserted, and leaves running statistics where it was.
func TestNorms(t *testing.T) {
	teacher, m := digits(t), digits(t)
	for _, v := range trainable(m) { // a student that has lost something
		e, err := ir.Elements[float32](v.Const())
		require.NoError(t, err)
		noisy, r := slices.Clone(e), rand.New(rand.NewPCG(1, 1))
		for i := range noisy {
			noisy[i] *= 1 + .8*float32(r.NormFloat64())
		}
		replace(m, v, ir.TensorOf(noisy, v.Const().Shape()...))
	}
	count := func() (r map[string]int) {
		r = map[string]int{}
		for _, n := range m.Main.NodeList() {
			r[n.Op().Type]++
		}
		return r
	}
	was, before := count(), right(t, m, teacher)
	o := options(t, m)
	o.Teacher, o.CE, o.KD, o.Temperature, o.Init, o.Norm, o.Relative, o.Rate, o.Clip, o.Epochs, o.Limit = teacher, 0, 1, 2, false, NormInsert, true, 1e-2, 0, 2, 640
	train(t, o)
	require.Equal(t, was, count())
	after := right(t, m, teacher)
	require.Greater(t, after, before)
	require.GreaterOrEqual(t, after, 360)
	t.Logf("%d of 400 before, %d after", before, after)

	b, err := text.Parse([]byte(`<ir_version: 10, opset_import: ["" : 21]>
net (float[N,1,16,16] image) => (float[N,10] scores)
<float[10,256] w = {` + strings.Repeat("0.01, ", 2559) + `0.01}, float[10] s = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, float[10] z = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
 float[10] mean = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, float[10] var = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}>
{
  f = Flatten(image)
  y = Gemm<transB = 1>(f, w)
  scores = BatchNormalization(y, s, z, mean, var)
}`))
	require.NoError(t, err)
	o = options(t, b)
	o.Norm = NormBatch
	train(t, o)
	v, err := ir.Elements[float32](named(b, "mean").Const())
	require.NoError(t, err)
	require.NotContains(t, v, float32(0))
}

// TestTwins: channels of a student are matched with those of the teacher that they come from.
func TestTwins(t *testing.T) {
	teacher := network(t)
	o := options(t, teacher)
	o.Epochs, o.Limit = 1, 320
	train(t, o)
	m := teacher.Clone()
	kept := []int64{5, 0, 3, 6}
	pick := func(name string, axis int) {
		v := named(m, name)
		e, err := ir.Elements[float32](v.Const())
		require.NoError(t, err)
		s := slices.Clone(v.Const().Shape())
		outer, inner := int(ir.NumElements(s[:axis])), int(ir.NumElements(s[axis+1:]))
		var r []float32
		for o := range outer {
			for _, k := range kept {
				r = append(r, e[(o*int(s[axis])+int(k))*inner:][:inner]...)
			}
		}
		s[axis] = int64(len(kept))
		replace(m, v, ir.TensorOf(r, s...))
	}
	pick("w1", 0)
	pick("b1", 0)
	pick("w2", 1)
	o = options(t, m)
	o.Teacher, o.CE, o.KD, o.Feature, o.Init, o.Limit, o.Epochs, o.Rate = teacher, 0, 1, 1, false, 160, 2, 1e-3
	require.NoError(t, o.Check())
	tr, err := newTraining(context.Background(), &o)
	require.NoError(t, err)
	found := false
	for _, w := range tr.twins {
		if w.axis == 1 {
			found = true
			require.Equal(t, kept, w.channels, w.name)
		}
	}
	require.True(t, found)
	tr.close()
	o.KD, o.Epochs = 0, 3 // by tensors alone
	e := train(t, o)
	require.Less(t, e[2].Loss, e[0].Loss)
}

// TestPatience ends early with the best weights.
func TestPatience(t *testing.T) {
	m := network(t)
	o := options(t, m)
	o.Epochs, o.Limit, o.HoldOut, o.Patience, o.Rate, o.Schedule, o.Clip = 30, 96, .25, 2, .05, "constant", 0
	e := train(t, o)
	require.Less(t, len(e), 30)
	require.True(t, e[len(e)-1].Stopped)
	require.True(t, e[len(e)-3].Best)
}

// TestForms: weights in nodes and without names are trained, and scores are found before a softmax behind quantizers.
func TestForms(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 10, opset_import: ["" : 21]>
net (float[N,1,16,16] image) => (uint8[N,10] scores)
<float s = {0.00392}, uint8 z = {0}>
{
  f = Flatten(image)
  w = Constant<value = float[256,10] {` + strings.Repeat("0.001, ", 2559) + `0.001}>()
  y = MatMul(f, w)
  p = Softmax(y)
  q = QuantizeLinear(p, s, z)
  d = DequantizeLinear(q, s, z)
  scores = QuantizeLinear(d, s, z)
}`))
	require.NoError(t, err)
	v, err := logits(m)
	require.NoError(t, err)
	require.Equal(t, "y", v.Name())
	o := options(t, m)
	o.Init, o.Relative, o.Rate, o.Epochs = false, true, .05, 3
	e := train(t, o)
	require.Less(t, e[2].Loss, e[0].Loss)
	require.NotNil(t, named(m, "w"))
	require.NoError(t, ir.Verify(m))
}

func TestChecks(t *testing.T) {
	for want, set := range map[string]func(*Options){
		"nothing to learn from":          func(o *Options) { o.CE = 0 },
		"epochs and batch":               func(o *Options) { o.Batch = 0 },
		"too few to hold out":            func(o *Options) { o.Limit, o.HoldOut = 3, .01 },
		"patience looks at held-out":     func(o *Options) { o.Patience = 1 },
		"feature-weight needs a teacher": func(o *Options) { o.Feature = 1 },
		"no tensor of the student has":   func(o *Options) { o.Teacher, o.Feature = renamed(t), 1 },
		"and 7 in the student": func(o *Options) {
			s := strings.ReplaceAll(strings.ReplaceAll(small(), "[10,256]", "[7,256]"), "float[10] b3 = {0, 0, 0, ", "float[7] b3 = {")
			s = strings.ReplaceAll(s, "{"+strings.Repeat("0, ", 2559)+"0}", "{"+strings.Repeat("0, ", 7*256-1)+"0}")
			m, err := text.Parse([]byte(strings.ReplaceAll(s, "float[N,10]", "float[N,7]")))
			require.NoError(t, err)
			o.Teacher, o.Student, o.KD = network(t), m, 1
		},
	} {
		o := options(t, network(t))
		set(&o)
		_, err := Train(context.Background(), o)
		require.ErrorContains(t, err, want)
	}
}

// renamed is a teacher whose tensors have other names.
func renamed(t *testing.T) *ir.Model {
	m := network(t)
	for _, n := range m.Main.NodeList() {
		for _, v := range n.Results() {
			if !v.IsOutput() {
				v.SetName("t_" + v.Name())
			}
		}
	}
	return m
}
