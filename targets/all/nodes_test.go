package all_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/npz"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// TestLiteRTNodes writes the models of ONNX's node tests for LiteRT, each as it is and with all inputs but the first as constants, and
// compares what was written, in the resolver without delegates, with the embedded engine.
func TestLiteRTNodes(t *testing.T) {
	python := os.Getenv("ONNXOPT_LITERT")
	if python == "" {
		t.Skip("left out: LiteRT is not here; .ci/run installs it, or ONNXOPT_LITERT names a Python that has ai_edge_litert")
	}
	known := rows(t, "testdata/litert-nodes.tsv")
	dir := t.TempDir()
	target, _ := all.Lookup("tflite")
	want := map[string]map[string]ir.Datum{}
	operators := map[string]bool{}
	tests := maps.Collect(conformance.Models(t, conformance.Archive(t, "onnx-node-tests")))
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		for _, frozen := range []bool{false, true} {
			f, err := onnxio.Read(tests[name], onnxio.Options{})
			require.NoError(t, err)
			id := fmt.Sprintf("%s-%v", name, frozen)
			if w := emitNode(t, target, f.Model, frozen, dir, id); w != nil {
				want[id] = w
				for n := range f.Model.Main.Nodes() {
					operators[n.Op().Type] = true
				}
			}
			defer f.Close() // constants may be results
		}
	}
	args := []string{"testdata/litert.py", "--resolvers=plain", dir}
	out, err := exec.Command(python, append(args, slices.Sorted(maps.Keys(want))...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	ran, failed := 0, map[string]bool{}
	for id, w := range want {
		name, _, _ := strings.Cut(id, "-")
		file := filepath.Join(dir, id+".plain.npz")
		if _, err := os.Stat(file); err != nil { // LiteRT itself refuses it
			failed[name] = true
			assert.NotEmpty(t, known[name], "%s does not run", id)
			continue
		}
		got := read(t, file)
		ran++
		for output, a := range w {
			d := compare.Datum(a, compare.Like(got[output], a))
			if err := compare.O2(a.(*ir.Tensor).DType()).Check(d); err != nil {
				failed[name] = true
				assert.NotEmpty(t, known[name], "%s, output %s: %v", id, output, err)
			}
		}
	}
	for name := range known {
		assert.True(t, failed[name], "%s is listed and passes", name)
	}
	t.Logf("%d models of %d operators agree, %d listed node tests do not", ran, len(operators), len(known))
	assert.Greater(t, ran, 300)
}

// emitNode writes a model as it stands and its inputs; nil where the target refuses it, or nothing is left to compute.
func emitNode(t *testing.T, target *targets.Target, m *ir.Model, frozen bool, dir, name string) map[string]ir.Datum {
	ctx := context.Background()
	if len(m.Functions) > 0 || target.Check(m) != nil {
		return nil
	}
	sets := compare.Inputs(m, 1, compare.GenerateOptions{})
	if len(sets) == 0 {
		return nil
	}
	in := sets[0]
	for _, d := range in {
		if x, ok := d.(*ir.Tensor); !ok || x.Len() == 0 {
			return nil
		}
	}
	if frozen {
		slots := m.Main.Inputs()
		for i := len(slots) - 1; i > 0; i-- {
			x, ok := in[slots[i].Name()].(*ir.Tensor)
			if !ok {
				return nil
			}
			slots[i].Value().ReplaceUses(m.Main.Const(x))
			delete(in, slots[i].Name())
			m.Main.RemoveInput(i)
		}
	}
	s, err := native.New().Load(ctx, m, engine.Options{MaxMemory: 1 << 28})
	if err != nil {
		return nil
	}
	want, err := s.Run(ctx, in)
	if err != nil {
		return nil
	}
	a := &targettest.Folder{Dir: dir, Base: name + target.Extension}
	p, err := target.Emitter(target.Name+"{layout=keep}", a)
	require.NoError(t, err)
	if _, err := p.Run(ctx, m, passes.Config{}); err != nil {
		return nil
	}
	require.NoError(t, a.Close())
	w, err := os.Create(filepath.Join(dir, name+".in.npz"))
	require.NoError(t, err)
	defer w.Close()
	z := npz.NewWriter(w)
	for input, d := range in {
		require.NoError(t, z.Add(input, d.(*ir.Tensor)))
	}
	require.NoError(t, z.Close())
	return want
}

func read(t *testing.T, path string) map[string]ir.Datum {
	z, err := npz.Open(path)
	require.NoError(t, err)
	defer z.Close()
	r := map[string]ir.Datum{}
	for _, name := range z.Names() {
		a, err := z.Read(name)
		require.NoError(t, err)
		r[name] = a
	}
	return r
}
