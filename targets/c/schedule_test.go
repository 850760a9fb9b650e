package c_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets/c"
)

// layers has each kind of layer that a schedule has a choice for, with sizes that are no multiples of anything.
const layers = `<ir_version: 8, opset_import: ["": 17]>
layers (float[1,3,23,21] x) => (float[1,7] y)
<float[20,3,3,3] w0 = {%d}, float[20,1,3,3] w1 = {%d}, float[26,20,1,1] w2 = {%d}, float[26,26,3,3] w3 = {%d}, float[24,26,3,3] w4 = {%d},
 float[40,24,3,3] w5 = {%d}, float[40,40,3,3] w6 = {%d}, float[40,1,5,5] w7 = {%d}, float[17,40,1,1] w8 = {%d}, float[17,7] w9 = {%d}, float[7] b9 = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}>
{
  a0 = Conv<pads=[1,1,1,1]>(x, w0)
  r0 = Relu(a0)
  a1 = Conv<group=20, pads=[1,1,1,1], strides=[2,1]>(r0, w1)
  r1 = Relu(a1)
  a2 = Conv(r1, w2)
  r2 = HardSwish(a2)
  a3 = Conv<pads=[1,1,1,1]>(r2, w3)
  s3 = Add(a3, r2)
  r3 = Relu(s3)
  a4 = Conv(r3, w4)
  r4 = Relu(a4)
  p4 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r4)
  a5 = Conv<pads=[1,1,1,1]>(p4, w5)
  r5 = LeakyRelu<alpha=0.2>(a5)
  a6 = Conv<pads=[1,1,1,1]>(r5, w6)
  s6 = Add(r5, a6)
  a7 = Conv<group=40, pads=[2,2,2,2]>(s6, w7)
  r7 = Clip(a7)
  a8 = Conv(r7, w8)
  g8 = GlobalAveragePool(a8)
  f8 = Flatten(g8)
  y = Gemm(f8, w9, b9)
}`

func layersModel(t *testing.T) *ir.Model {
	rng := rand.New(rand.NewPCG(3, 3))
	var w []any
	for _, n := range []int{20 * 27, 20 * 9, 26 * 20, 26 * 26 * 9, 24 * 26 * 9, 40 * 24 * 9, 40 * 40 * 9, 40 * 25, 17 * 40, 17 * 7} {
		var s strings.Builder
		for i := range n {
			if i > 0 {
				s.WriteByte(',')
			}
			fmt.Fprintf(&s, "%.3g", 3*rng.NormFloat64()/float64(1+n/20))
		}
		w = append(w, s.String())
	}
	m, err := text.Parse([]byte(fmt.Sprintf(strings.ReplaceAll(layers, "%d", "%s"), w...)))
	require.NoError(t, err)
	r, err := passlist.Registry()
	require.NoError(t, err)
	p, err := r.Parse(c.New().Pipeline)
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.NoError(t, err)
	return m
}

// scheduled emits a model with a schedule.
func scheduled(t *testing.T, m *ir.Model, s *c.Schedule, dir, base string) (*written, error) {
	w := &written{folder: &folder{dir: dir, base: base}, in: compare.Inputs(m, 1, compare.GenerateOptions{})[0], bound: compare.Tolerances(m)}
	e, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	w.want, err = e.Run(context.Background(), w.in)
	require.NoError(t, err)
	w.files = nil
	return w, w.writeWith(context.Background(), t, m, "", "{schedule=s}", passes.Config{Files: map[passes.File][]byte{"s": s.Text()}})
}

// TestSchedules writes a model with choices taken at random, for vectors of each width, and compares what comes out with the embedded engine.
// Every kind of choice has to come, and with it different code.
func TestSchedules(t *testing.T) {
	cc := compiler(t)
	m := layersModel(t)
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	widths := map[int][]string{16: {"-march=native"}, 8: {"-march=native", "-mno-avx512f"}, 4: {"-O0"}}
	kinds := map[string]bool{}
	for lanes, flags := range widths {
		var list []*written
		for i := range map[int]int{16: 2, 8: 2, 4: 1}[lanes] {
			s := &c.Schedule{Lanes: lanes, Layers: map[string]c.Choice{}}
			for range 3 { // a choice may bring layers that have choices
				x, err := c.Explore(context.Background(), m, "c", s)
				require.NoError(t, err)
				for _, l := range x.Layers() {
					if s.Layers[l.Key] == nil {
						s.Layers[l.Key] = l.Choices[rng.IntN(len(l.Choices))]
						for k, v := range s.Layers[l.Key] {
							kinds[fmt.Sprintf("%s %v", k, v > 0)] = true
						}
						if l.Fusion {
							s.Layers[l.Key] = l.Choices[(i+1+rng.IntN(2))%len(l.Choices)]
						}
						assert.NotNil(t, x.Candidate(l.Key), l.Key)
					}
				}
			}
			back, err := c.ParseSchedule(s.Text())
			require.NoError(t, err)
			require.True(t, maps.EqualFunc(s.Layers, back.Layers, func(a, b c.Choice) bool { return maps.Equal(a, b) }))
			w, err := scheduled(t, m, s, dir, fmt.Sprintf("net%d_%d", lanes, i))
			require.NoError(t, err)
			list = append(list, w)
		}
		got := run(t, cc, append([]string{"-O0", "-Wall", "-Wextra", "-Wconversion"}, flags...), dir, list)
		for _, w := range list {
			d := compare.Datum(w.want["y"], got[w]["y"])
			assert.LessOrEqual(t, d.Rel, 1e-5, "%s, %d lanes", w.base, lanes)
		}
	}
	for _, k := range []string{"rows true", "fuse true", "fuse false", "winograd true", "blocks true", "outer true", "outer false", "unroll true"} {
		assert.True(t, kinds[k], "no choice with %s came", k)
	}
	a, err := os.ReadFile(filepath.Join(dir, "net16_0.c"))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "net16_1.c"))
	require.NoError(t, err)
	assert.NotEqual(t, strings.ReplaceAll(string(a), "net16_0", ""), strings.ReplaceAll(string(b), "net16_1", ""))
}

// TestScheduleRefused: a schedule that does not fit is a clear line, and nothing is written.
func TestScheduleRefused(t *testing.T) {
	m := layersModel(t)
	x, err := c.Explore(context.Background(), m, "c", nil)
	require.NoError(t, err)
	key := x.Layers()[0].Key
	for text, want := range map[string]string{
		"{}": "it is no schedule", "x": "it is no schedule", `{"onnxopt_schedule":"c","version":2,"lanes":16}`: "version 2", `{"onnxopt_schedule":"c","version":1,"lanes":3}`: "vectors of 3",
		`{"onnxopt_schedule":"c","version":1,"lanes":16,"layers":[{"layer":"` + key + `","choice":{"blocks":77}}]}`:      "has no such choice as blocks=77",
		`{"onnxopt_schedule":"c","version":1,"lanes":16,"layers":[{"layer":"a","choice":{}},{"layer":"a","choice":{}}]}`: "twice",
	} {
		dir := t.TempDir()
		w := &written{folder: &folder{dir: dir, base: "net"}}
		err := w.writeWith(context.Background(), t, m, "", "{schedule=s}", passes.Config{Files: map[passes.File][]byte{"s": []byte(text)}})
		assert.ErrorContains(t, err, want)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
	w := &written{folder: &folder{dir: t.TempDir(), base: "net"}}
	s := &c.Schedule{Lanes: 16}
	assert.ErrorContains(t, w.writeWith(context.Background(), t, m, "", "{schedule=s profile=mcu}", passes.Config{Files: map[passes.File][]byte{"s": s.Text()}}), "exclude each other")
	w = &written{folder: &folder{dir: t.TempDir(), base: "net"}}
	s.Layers = map[string]c.Choice{"conv of another model": {"blocks": 2}}
	require.NoError(t, w.writeWith(context.Background(), t, m, "", "{schedule=s}", passes.Config{Files: map[passes.File][]byte{"s": s.Text()}}))
	assert.Contains(t, strings.Join(w.notes, "\n"), "0 of the 1 layers of the schedule are in the model")
}
