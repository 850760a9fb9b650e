package ort_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
)

type feeds = map[string]ir.Datum

var background = context.Background()

// chain is y = ((x + c) + x) with its values.
func chain() (m *ir.Model, x, c, sum *ir.Value) {
	m = ir.NewModel(8, 17)
	g := m.Main
	x = g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N")}))
	c = g.Const(ir.TensorOf([]float32{10}))
	sum = g.New(nil, ir.Op("Add"), []*ir.Value{x, c}).Result(0)
	y := g.New(nil, ir.Op("Add"), []*ir.Value{sum, x}).Result(0)
	g.AddOutput("y", y, ir.TensorType(ir.Float32, ir.Shape{ir.Symbol("N")}))
	return m, x, c, sum
}

func TestTaps(t *testing.T) {
	m, x, c, sum := chain()
	s := load(t, open(t, ort.Options{}), m, engine.Options{Taps: []*ir.Value{sum, c, x, sum}})
	out, taps, err := s.RunTaps(background, feeds{"x": ir.TensorOf([]float32{1, 2})})
	require.NoError(t, err)
	assert.Equal(t, []float32{12, 14}, floats(t, out["y"]))
	require.Len(t, taps, 4)
	assert.Equal(t, []float32{11, 12}, floats(t, taps[0]))
	assert.Equal(t, []float32{10}, floats(t, taps[1]))
	assert.Equal(t, []float32{1, 2}, floats(t, taps[2]))
	assert.Equal(t, []float32{11, 12}, floats(t, taps[3]))
	assert.Len(t, m.Main.Outputs(), 1, "the model is as it was")
}

func TestFaultsOfInputs(t *testing.T) {
	m, _, _, _ := chain()
	s := load(t, open(t, ort.Options{}), m, engine.Options{})
	_, err := s.Run(background, feeds{})
	assert.EqualError(t, err, `input "x" is missing`)
	_, err = s.Run(background, feeds{"x": (*ir.Tensor)(nil)})
	assert.EqualError(t, err, `input "x" is missing`)
	_, err = s.Run(background, feeds{"x": ir.TensorOf([]float32{1}), "z": ir.TensorOf([]float32{1})})
	assert.EqualError(t, err, `the model has no input "z"`)
	_, err = s.Run(background, feeds{"x": ir.TensorOf([]float64{1})})
	assert.ErrorContains(t, err, "Unexpected input data type")
	_, err = s.Run(background, feeds{"x": ir.NewTensor(ir.Float32, []int64{1 << 40}, make([]byte, 4))})
	assert.Error(t, err, "elements that do not fill the shape")
	out, err := s.Run(background, feeds{"x": ir.TensorOf([]float32{}, 0)})
	require.NoError(t, err)
	assert.Empty(t, floats(t, out["y"]))
}

func TestUnalignedElementsAreCopied(t *testing.T) {
	m, _, _, _ := chain()
	s := load(t, open(t, ort.Options{}), m, engine.Options{})
	b := append([]byte{0}, ir.AsBytes([]float32{1, 2, 3})...)
	out, err := s.Run(background, feeds{"x": ir.NewTensor(ir.Float32, []int64{3}, b[1:])})
	require.NoError(t, err)
	assert.Equal(t, []float32{12, 14, 16}, floats(t, out["y"]))
}

// identity is a model that returns its input of type typ.
func identity(typ *ir.Type) *ir.Model {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", typ)
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Identity"), []*ir.Value{x}).Result(0), typ)
	return m
}

func TestStringsKeepEveryByte(t *testing.T) {
	s := load(t, open(t, ort.Options{}), identity(ir.TensorType(ir.String, nil)), engine.Options{})
	for _, want := range [][]string{{"", "é", "a\x00b", "end"}, {}} {
		out, err := s.Run(background, feeds{"x": ir.NewStringTensor([]int64{int64(len(want))}, want)})
		require.NoError(t, err)
		got, err := out["y"].(*ir.Tensor).Strings()
		require.NoError(t, err)
		assert.Equal(t, want, append([]string{}, got...))
	}
}

func TestSequences(t *testing.T) {
	floatVector := ir.TensorType(ir.Float32, nil)
	s := load(t, open(t, ort.Options{}), identity(ir.SequenceOf(floatVector)), engine.Options{})
	for n := range 3 {
		in := &ir.Sequence{Elem: floatVector}
		for i := range n {
			in.Items = append(in.Items, ir.TensorOf([]float32{float32(i), 7}))
		}
		out, err := s.Run(background, feeds{"x": in})
		require.NoError(t, err)
		require.IsType(t, &ir.Sequence{}, out["y"])
		got := out["y"].(*ir.Sequence)
		require.Len(t, got.Items, n)
		for i := range n {
			assert.Equal(t, []float32{float32(i), 7}, floats(t, got.Items[i]))
		}
	}
}

// DictVectorizer takes a map, ZipMap gives a sequence of them.
func TestMaps(t *testing.T) {
	m := ir.NewModel(8, 17)
	m.SetOpset("ai.onnx.ml", 1)
	ml := func(typ string) ir.OpID { return ir.OpID{Domain: "ai.onnx.ml", Type: typ} }
	x := m.Main.AddInput("x", ir.MapOf(ir.String, ir.TensorType(ir.Float32, ir.StaticShape())))
	words := ir.StringsAttr("string_vocabulary", []string{"a", "b", "c"})
	v := m.Main.New(nil, ml("DictVectorizer"), []*ir.Value{x}, words).Result(0)
	y := m.Main.New(nil, ml("ZipMap"), []*ir.Value{v}, ir.StringsAttr("classlabels_strings", []string{"p", "q", "r"})).Result(0)
	m.Main.AddOutput("y", y, ir.SequenceOf(ir.MapOf(ir.String, ir.TensorType(ir.Float32, ir.StaticShape()))))
	s := load(t, open(t, ort.Options{}), m, engine.Options{})
	in := &ir.Map{Keys: ir.NewStringTensor([]int64{2}, []string{"c", "a"}), Of: ir.TensorType(ir.Float32, nil),
		Values: []ir.Datum{ir.ScalarOf[float32](3), ir.ScalarOf[float32](1)}}
	out, err := s.Run(background, feeds{"x": in})
	require.NoError(t, err)
	require.IsType(t, &ir.Sequence{}, out["y"])
	require.Len(t, out["y"].(*ir.Sequence).Items, 1)
	got := out["y"].(*ir.Sequence).Items[0].(*ir.Map)
	keys, err := got.Keys.Strings()
	require.NoError(t, err)
	want := map[string]float32{"p": 1, "q": 0, "r": 3}
	require.Len(t, keys, len(want))
	for i, k := range keys {
		assert.Equal(t, []float32{want[k]}, floats(t, got.Values[i]), k)
	}
}

func TestUnknownOperatorsAreUnsupported(t *testing.T) {
	e := open(t, ort.Options{})
	for _, op := range []ir.OpID{{Domain: "my.domain", Type: "Foo"}, ir.Op("Foo")} {
		m := ir.NewModel(8, 17)
		m.SetOpset(op.Domain, 17)
		x := m.Main.AddInput("x", ir.TensorType(ir.Float32, nil))
		m.Main.AddOutput("y", m.Main.New(nil, op, []*ir.Value{x}).Result(0), nil)
		_, err := e.Load(background, m, engine.Options{})
		var u *engine.UnsupportedError
		require.ErrorAs(t, err, &u)
		assert.Equal(t, []ir.OpID{op}, u.Ops)
		assert.ErrorContains(t, err, "ONNX Runtime: ")
	}
}

func TestErrorsOfRunsNameTheNode(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", ir.TensorType(ir.Int64, nil))
	n := m.Main.New(nil, ir.Op("Gather"), []*ir.Value{m.Main.Const(ir.TensorOf([]float32{1, 2})), x})
	n.SetName("lookup")
	m.Main.AddOutput("y", n.Result(0), nil)
	s := load(t, open(t, ort.Options{}), m, engine.Options{})
	_, err := s.Run(background, feeds{"x": ir.TensorOf([]int64{5})})
	var ne *engine.NodeError
	require.ErrorAs(t, err, &ne)
	assert.Equal(t, "lookup", ne.Name)
	assert.Equal(t, ir.Op("Gather"), ne.Op)
	assert.ErrorContains(t, err, "indices element out of data bounds")
}

// endless is a Loop that ends only when it is stopped.
func endless() *ir.Model {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(1)))
	body := m.Main.NewSubgraph("body")
	body.AddInput("i", ir.TensorType(ir.Int64, ir.StaticShape()))
	body.AddInput("more", ir.TensorType(ir.Bool, ir.StaticShape()))
	v := body.AddInput("v", ir.TensorType(ir.Float32, ir.StaticShape(1)))
	body.AddOutput("cond", body.New(nil, ir.Op("Identity"), []*ir.Value{body.Inputs()[1].Value()}).Result(0), nil)
	body.AddOutput("w", body.New(nil, ir.Op("Add"), []*ir.Value{v, v}).Result(0), nil)
	truth := m.Main.Const(ir.NewTensor(ir.Bool, []int64{}, []byte{1}))
	loop := m.Main.New(nil, ir.Op("Loop"), []*ir.Value{nil, truth, x}, ir.GraphAttr("body", body))
	m.Main.AddOutput("y", loop.Result(0), nil)
	return m
}

func TestTheContextStopsARun(t *testing.T) {
	s := load(t, open(t, ort.Options{}), endless(), engine.Options{})
	ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := s.Run(ctx, feeds{"x": ir.TensorOf([]float32{1})})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 20*time.Second)
	_, err = s.Run(ctx, feeds{"x": ir.TensorOf([]float32{1})})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = open(t, ort.Options{}).Load(ctx, endless(), engine.Options{})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestMemoryLimit(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", ir.TensorType(ir.Int64, ir.StaticShape(1)))
	big := m.Main.New(nil, ir.Op("ConstantOfShape"), []*ir.Value{x}).Result(0)
	m.Main.AddOutput("y", m.Main.New(nil, ir.Op("ReduceMax"), []*ir.Value{big}).Result(0), nil)
	e := open(t, ort.Options{Optimization: ort.Off})
	s := load(t, e, m, engine.Options{MaxMemory: 1 << 20})
	_, err := s.Run(background, feeds{"x": ir.TensorOf([]int64{1 << 16})})
	require.NoError(t, err, "256 kB")
	_, err = s.Run(background, feeds{"x": ir.TensorOf([]int64{1 << 20})})
	assert.ErrorIs(t, err, engine.ErrMemory, "4 MB in between")
	free := load(t, e, m, engine.Options{})
	_, err = free.Run(background, feeds{"x": ir.TensorOf([]int64{1 << 20})})
	assert.NoError(t, err, "the limit is the session's own")

	c, _, _, _ := chain()
	s = load(t, e, c, engine.Options{MaxMemory: 64})
	_, err = s.Run(background, feeds{"x": ir.TensorOf(make([]float32, 17))})
	assert.ErrorIs(t, err, engine.ErrMemory, "the input")
}

func TestClosedSession(t *testing.T) {
	m, _, _, _ := chain()
	s, err := open(t, ort.Options{}).Load(background, m, engine.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = s.Run(background, feeds{"x": ir.TensorOf([]float32{1})})
	assert.EqualError(t, err, "the session is closed")
}

func TestLargeModelsGoThroughFiles(t *testing.T) {
	m, _, _, _ := chain()
	weights := make([]float32, 1<<16)
	for i := range weights {
		weights[i] = float32(i)
	}
	y := m.Main.Outputs()[0]
	first := m.Main.New(nil, ir.Op("ReduceMax"), []*ir.Value{m.Main.Const(ir.TensorOf(weights))}, ir.IntAttr("keepdims", 0)).Result(0)
	y.SetValue(m.Main.New(nil, ir.Op("Add"), []*ir.Value{y.Value(), first}).Result(0))
	dir := t.TempDir()
	written := 0
	e := open(t, ort.Options{TempDir: dir, WriteFile: func(path string, m *ir.Model) error {
		written++
		return writeFile(path, m)
	}})
	ort.SetInMemory(e, 1<<10)
	s := load(t, e, m, engine.Options{})
	assert.Equal(t, 1, written)
	out, err := s.Run(background, feeds{"x": ir.TensorOf([]float32{1})})
	require.NoError(t, err)
	assert.Equal(t, []float32{12 + 65535}, floats(t, out["y"]))
	if runtime.GOOS != "windows" {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

func TestProviders(t *testing.T) {
	path := findLibrary(t)
	_, err := ort.Open(path, ort.Options{Write: write, Providers: []ort.Provider{{Name: "warp9"}}})
	assert.ErrorContains(t, err, `has no execution provider "warp9"; it has `)
	e := open(t, ort.Options{Providers: []ort.Provider{{Name: "cpu"}}})
	m, _, _, _ := chain()
	assert.Empty(t, load(t, e, m, engine.Options{}).(interface{ Remarks() []string }).Remarks())
	// Azure's calls services; it takes no ordinary node, so that all fall back.
	e, err = ort.Open(path, ort.Options{Write: write, Providers: []ort.Provider{{Name: "azure"}}})
	if err != nil {
		t.Skip("left out: the library has no AzureExecutionProvider to fall back from")
	}
	s := load(t, e, m, engine.Options{})
	assert.Equal(t, []string{"some nodes run on the CPU, because no other execution provider takes them: AzureExecutionProvider"},
		s.(interface{ Remarks() []string }).Remarks())
	out, err := s.Run(background, feeds{"x": ir.TensorOf([]float32{1})})
	require.NoError(t, err)
	assert.Equal(t, []float32{12}, floats(t, out["y"]))
}

func TestCustomOpsLibraryThatIsMissing(t *testing.T) {
	e := open(t, ort.Options{CustomOps: []string{filepath.Join(t.TempDir(), "none.so")}})
	m, _, _, _ := chain()
	_, err := e.Load(background, m, engine.Options{})
	assert.ErrorContains(t, err, "custom operators of ")
	assert.ErrorContains(t, err, "none.so")
}

// Inputs made for one run each, with the garbage collector at work: whatever is not kept alive and in place is overwritten.
func TestConcurrentRunsUnderGarbageCollection(t *testing.T) {
	m, _, _, sum := chain()
	s := load(t, open(t, ort.Options{}), m, engine.Options{Taps: []*ir.Value{sum}})
	stop := make(chan struct{})
	var collector, runs sync.WaitGroup
	collector.Go(func() {
		var junk [][]float32
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			junk = append(junk[max(0, len(junk)-8):], make([]float32, 1+i%5000))
			for k := range junk[len(junk)-1] {
				junk[len(junk)-1][k] = -1
			}
			if i%4 == 0 {
				runtime.GC()
			}
		}
	})
	errs := make(chan error, 8)
	for w := range 8 {
		runs.Go(func() {
			for i := range 1000 {
				if err := checkedRun(s, w*1000+i, 1+(i*37+w)%3000); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	runs.Wait()
	close(stop)
	collector.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

// checkedRun runs chain on n elements that start at from.
func checkedRun(s engine.Session, from, n int) error {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(from + i)
	}
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	out, taps, err := s.RunTaps(ctx, feeds{"x": ir.TensorOf(x)})
	if err != nil {
		return err
	}
	y, err1 := ir.Elements[float32](out["y"].(*ir.Tensor))
	z, err2 := ir.Elements[float32](taps[0].(*ir.Tensor))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if len(y) != n || len(z) != n {
		return fmt.Errorf("%d and %d elements of %d", len(y), len(z), n)
	}
	for i := range y {
		if v := float32(from + i); y[i] != 2*v+10 || z[i] != v+10 {
			return fmt.Errorf("element %d of %d: %v and %v from %v", i, n, y[i], z[i], v)
		}
	}
	return nil
}

func TestProfileIsWrittenOnClose(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "run")
	e := open(t, ort.Options{Profile: prefix})
	m, _, _, _ := chain()
	s, err := e.Load(background, m, engine.Options{})
	require.NoError(t, err)
	_, err = s.Run(background, feeds{"x": ir.TensorOf([]float32{-1, 2}, 2)})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	files, err := filepath.Glob(prefix + "*.json")
	require.NoError(t, err)
	require.Len(t, files, 1)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	assert.Contains(t, string(b), `"model_run"`)
	assert.Contains(t, string(b), `_kernel_time"`)
}
