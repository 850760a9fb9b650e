// Package passtest tests passes against fixtures. A pass's test is one line:
//
//	func TestPass(t *testing.T) { passtest.Run(t, convbn.Pass) }
//
// Fixtures are the txtar files in the package's testdata directory. A file holds cases; a case named NAME has the sections
//
//	NAME/in       a model in ONNX's textual syntax, preceded by directives
//	NAME/out      what the pass makes of it; left out: the model stays as it is
//	NAME/check    instead of NAME/out: CHECK lines, see package internal/check
//	NAME/remarks  "rule: why" for each remark why a rule was not applied; left out: not looked at
//
// Directives are comment lines at the beginning of NAME/in:
//
//	# fires: RULE, RULE     exactly these rules are applied
//	# misses: RULE, RULE    the case is a near miss of these
//	# pipeline: TEXT        what is run; the default is the pass's name
//	# opset: N              for a model without a header; the default is 17
//	# fails: TEXT           the pipeline ends with this error
//	# unverified: WHY       the engines cannot run the model
//
// Other comment lines are prose. With the flag -update the sections out, check excepted, and remarks are written anew: read the change
// before you commit it.
//
// # What is held against each case
//
// Structure and schemas before and after; the text of input and output reads back as the same model; the expected output, rules
// and remarks; the interface; the numbers on generated inputs under the promise of the rules that fired, for exact ones also on
// NaN, infinities, -0 and extreme values; a second run changes nothing unless the pass is lossy or changes the interface; the same operators are left
// and the numbers hold when independent nodes stand in another order; with every rewrite vetoed the model stays untouched, so
// that no edit is made outside Context.Rewrite; each number of rewrites from the first on leaves a valid model with the same
// numbers; and the numbers hold if any one inner value is a graph output, too.
//
// Over all cases, each rule of the pass has one that fires and a near miss.
package passtest

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

var update = flag.Bool("update", false, "write the expected outputs and remarks of fixtures anew")

// Option changes what Run does.
type Option func(*config)

type config struct {
	dir     string
	extra   []*passes.Pass
	engines []engine.Engine
	data    func(*ir.Model) map[passes.Data]any
}

// Dir names the directory of the fixtures; the default is "testdata".
func Dir(dir string) Option { return func(c *config) { c.dir = dir } }

// With makes further passes known to the pipelines of the fixtures.
func With(ps ...*passes.Pass) Option { return func(c *config) { c.extra = append(c.extra, ps...) } }

// In names engines, besides the embedded one, in which the numbers of each case that changes are compared.
func In(engines ...engine.Engine) Option {
	return func(c *config) { c.engines = append(c.engines, engines...) }
}

// Data makes the data that passes are given for a model: under the empty name that of the flag --calib.
func Data(of func(m *ir.Model) map[passes.Data]any) Option { return func(c *config) { c.data = of } }

// Run tests p against its fixtures.
func Run(t *testing.T, p *passes.Pass, opts ...Option) {
	t.Helper()
	c := config{dir: "testdata"}
	for _, o := range opts {
		o(&c)
	}
	reg, err := passes.NewRegistry(append([]*passes.Pass{p}, c.extra...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Parse(p.Example); err != nil {
		t.Errorf("the example of pass %s: %v", p.Name, err)
	}
	files, err := filepath.Glob(filepath.Join(c.dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no fixtures %s", filepath.Join(c.dir, "*.txtar"))
	}
	fires, misses := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { runFile(t, reg, p, file, fires, misses, c) })
	}
	for _, r := range p.Rules {
		if !fires[r.Name] {
			t.Errorf("no fixture in which rule %s fires", r.Name)
		}
		if !misses[r.Name] {
			t.Errorf("no fixture that is a near miss of rule %s", r.Name)
		}
	}
}

func runFile(t *testing.T, reg *passes.Registry, p *passes.Pass, file string, fires, misses map[string]bool, c config) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFixture(data)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, k := range f.cases {
		for _, name := range slices.Concat(k.fires, k.misses) {
			if !slices.ContainsFunc(p.Rules, func(r passes.RuleDoc) bool { return r.Name == name }) {
				t.Errorf("%s/%s: pass %s has no rule %q", file, k.name, p.Name, name)
			}
		}
		k.engines, k.data = c.engines, c.data
		for _, r := range k.fires {
			fires[r] = true
		}
		for _, r := range k.misses {
			misses[r] = true
		}
		t.Run(k.name, func(t *testing.T) { k.run(t, reg, p) })
	}
	if *update {
		if err := os.WriteFile(file, f.format(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
