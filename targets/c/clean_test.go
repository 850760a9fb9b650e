package c_test

import (
	"context"
	"flag"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets/c"
)

var (
	whole = flag.Bool("whole", false, "TestModels, TestCleanModels and TestArena look at all models that they know, which takes minutes")
	more  = flag.String("more", "", "glob of further models for TestCleanModels and TestArena; those that the target refuses are listed")
)

// candidates are the models that the flags ask for, by name.
func candidates(t *testing.T) map[string]func() *ir.Model {
	r := map[string]func() *ir.Model{}
	shared, _ := filepath.Glob("../../../shared/models/*.onnx")
	if len(shared) == 0 {
		t.Skip("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	for name := range models() {
		if *whole || slices.Contains([]string{"mnist-8", "mnist-ort-dynquant", "resnet8-cifar10-int8qdq"}, name) {
			r[name] = func() *ir.Model { return sharedModel(t, name) }
		}
	}
	if *more != "" {
		files, err := filepath.Glob(*more)
		require.NoError(t, err)
		require.NotEmpty(t, files, "nothing fits %s", *more)
		for _, path := range files {
			r[strings.TrimSuffix(filepath.Base(path), ".onnx")] = func() *ir.Model {
				f, err := onnxio.Open(path, onnxio.Options{})
				require.NoError(t, err)
				t.Cleanup(func() { f.Close() })
				return f.Model
			}
		}
	}
	return r
}

// TestCleanModels compiles models with gcc and clang, for this machine, for AVX2 and in portable C, without a warning, and runs them under the
// sanitizers of addresses and undefined behaviour, with clang for this machine alone.
func TestCleanModels(t *testing.T) {
	var compilers []string
	for _, cc := range []string{"gcc", "clang"} {
		if _, err := exec.LookPath(cc); err != nil {
			t.Logf("left out: there is no %s on the PATH; .ci/run installs it", cc)
			continue
		}
		compilers = append(compilers, cc)
	}
	warnings := []string{"-std=c99", "-I.", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-c", "-o", "warned.o"}
	sanitizers := []string{"-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"}
	list := candidates(t)
	for _, name := range slices.Sorted(maps.Keys(list)) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w, err := emit(t, list[name](), c.New().Pipeline, "", dir, name)
			if _, known := models()[name]; err != nil && !known {
				t.Skipf("left out: target c refuses it: %.200v", err)
			}
			require.NoError(t, err)
			for _, cc := range compilers {
				for _, arch := range []string{"-march=native", "-march=haswell", "-march=x86-64"} {
					if arch != "-march=native" && !avx2() {
						continue
					}
					for _, file := range []string{w.Name(""), w.Name("_main.c")} {
						cmd := exec.Command(cc, append(slices.Clone(warnings), arch, file)...)
						cmd.Dir = dir
						out, err := cmd.CombinedOutput()
						assert.NoError(t, err, "%s %s: %.2000s", cc, arch, out)
					}
					if cc == "clang" && arch != "-march=native" {
						continue
					}
					got := run(t, cc, append(slices.Clone(sanitizers), arch), dir, []*written{w})
					for _, n := range w.outs {
						assert.NoError(t, w.bound[n].Check(compare.Datum(w.want[n], halves(got[w][n], w.want[n]))), "%s %s, output %s", cc, arch, n)
					}
				}
			}
		})
	}
}

// TestArena holds the memory of models, written as they are and with schedules taken at random, to what is alive at once in the order of their
// steps, and a tenth.
func TestArena(t *testing.T) {
	ctx := context.Background()
	note := regexp.MustCompile(`arena (\d+) bytes \((\d+) alive`)
	list := candidates(t)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, name := range slices.Sorted(maps.Keys(list)) {
		m := list[name]()
		r, err := passlist.Registry()
		require.NoError(t, err)
		p, err := r.Parse(c.New().Pipeline)
		require.NoError(t, err)
		_, err = p.Run(ctx, m, passes.Config{})
		require.NoError(t, err)
		for k := range 3 {
			s := &c.Schedule{Lanes: []int{16, 8, 4}[k], Layers: map[string]c.Choice{}}
			for range min(k, 1) * 2 {
				x, err := c.Explore(ctx, m, "c", s)
				if err != nil {
					break
				}
				for _, l := range x.Layers() {
					if s.Layers[l.Key] == nil {
						s.Layers[l.Key] = l.Choices[rng.IntN(len(l.Choices))]
					}
				}
			}
			w := &written{folder: &folder{dir: t.TempDir(), base: "m"}}
			options, config := "", passes.Config{}
			if k > 0 {
				options, config.Files = "{schedule=s}", map[passes.File][]byte{"s": s.Text()}
			}
			err := w.writeWith(ctx, t, m, "", options, config)
			if _, known := models()[name]; err != nil && !known {
				t.Logf("%s is refused: %.200v", name, err)
				break
			}
			require.NoError(t, err, name)
			n := note.FindStringSubmatch(w.notes[len(w.notes)-1])
			require.NotNil(t, n, "%v", w.notes)
			size, _ := strconv.Atoi(n[1])
			alive, _ := strconv.Atoi(n[2])
			assert.LessOrEqual(t, float64(size), 1.1*float64(alive), "%s, schedule %d", name, k)
			t.Logf("%-26s %d bytes, %.3f of what is alive", name, size, float64(size)/float64(max(alive, 1)))
		}
	}
}
