package c

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Layer is what a schedule has a choice for: a layer, or neighbours that may become one. Layers of the same key are written the same way.
type Layer struct {
	Key     string
	Fusion  bool     // the choice is what is joined, not how a layer is written; it counts for bodies of all widths
	Nodes   []string // where it stands in the model, in order
	Choices []Choice // the default first; each has a value for every knob
	Work    float64  // of a fusion: multiplications that it is about, roughly

	cost func(Choice) Features
}

// Features are those of a choice that is no Fusion.
func (l *Layer) Features(c Choice) Features { return l.cost(c) }

// Exploration is a model translated with a schedule. The parts of its code can be measured by themselves.
type Exploration struct {
	b *builder
	s *Schedule
}

// Explore translates m, which has to be in the form that the target's pipeline brings it to, with a schedule. Target is the target with its
// options, as --target has it; errors are those of the target.
func Explore(ctx context.Context, m *ir.Model, target string, s *Schedule) (*Exploration, error) {
	var b *builder
	p := passes.Define(passes.Info{Name: name, Doc: "translates a model to C without writing it"}, defaults(), func(c *passes.Context, m *ir.Model, o Options) (err error) {
		if o.Schedule != "" {
			return errors.New("schedule= is what is searched for")
		}
		b, err = translate(c, m, o, s)
		return err
	})
	r, err := passes.NewRegistry(p)
	if err != nil {
		return nil, err
	}
	pipeline, err := r.Parse(target)
	if err != nil {
		return nil, err
	}
	if _, err := pipeline.Run(ctx, m, passes.Config{}); err != nil {
		var step *passes.StepError
		if errors.As(err, &step) {
			err = step.Err
		}
		return nil, err
	}
	b.prune()
	return &Exploration{b, s}, nil
}

// Layers lists the layers with choices in the order of the model, those of equal keys once.
func (x *Exploration) Layers() []*Layer {
	var r []*Layer
	at := map[string]*Layer{}
	for _, s := range x.b.sites {
		l := at[s.key]
		if l == nil {
			l = &Layer{Key: s.key, Fusion: s.fusion, Choices: s.choices, Work: s.work, cost: s.cost}
			at[s.key] = l
			r = append(r, l)
		}
		l.Nodes = append(l.Nodes, s.node)
	}
	return r
}

// unit stands in a candidate's code where its functions' own names are to begin.
const unit = "UNIT"

// Candidate is the code of a layer, to be measured by itself.
type Candidate struct {
	Code string // functions and memory; their names begin with UNIT
	run  string // the calls
	fill string // gives inputs numbers and reads weights
	data []byte // the weights, in the order in which they are read
	sum  string // adds up the results
}

// Candidate is the code of the first layer with a key; nil: there is none, or no step of its own does it.
func (x *Exploration) Candidate(key string) *Candidate {
	i := slices.IndexFunc(x.b.sites, func(s *site) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	written := map[*buffer]bool{}
	for _, v := range x.b.sites[i].values {
		if p := x.b.places[v]; p != nil {
			for _, t := range []*tensor{p.plain, p.blocked} {
				if t != nil {
					written[t.buf] = true
				}
			}
		}
	}
	var steps []*step
	for _, s := range x.b.steps {
		if slices.ContainsFunc(s.out, func(t *tensor) bool { return written[t.buf] }) {
			steps = append(steps, s)
		}
	}
	if len(steps) == 0 {
		return nil
	}
	return x.candidate(steps)
}

func (x *Exploration) candidate(steps []*step) *Candidate {
	named := map[*buffer]string{}
	o := &output{b: &builder{o: x.b.o, steps: steps}, prefix: "probe", upper: "PROBE", unit: unit, lanes: []int{x.s.Lanes}, named: named}
	var memory, fill, sum text
	var data []byte
	name := func(buf *buffer, elems int) {
		if named[buf] == "" {
			named[buf] = fmt.Sprintf("%s_m%d", unit, len(named))
			memory.line("static %s %s[%d] PROBE_ALIGNED;", buf.typ.name, named[buf], elems+align) // what reads beyond the end reads here
		}
	}
	made := map[*buffer]bool{}
	sizes := map[*buffer]int{}
	for _, s := range steps {
		for _, t := range append(slices.Clone(s.in), s.out...) {
			sizes[t.buf] = max(sizes[t.buf], t.root().size(), t.buf.elems)
		}
	}
	for _, s := range steps {
		for _, t := range s.in {
			first := named[t.buf] == ""
			name(t.buf, sizes[t.buf])
			if first && !made[t.buf] {
				if t.buf.data != nil {
					fill.line("probe_read(%s, %d);", named[t.buf], len(t.buf.data))
					data = append(data, t.buf.data...)
				} else {
					x.fill(&fill, t, named[t.buf])
				}
			}
		}
		for _, t := range s.out {
			name(t.buf, sizes[t.buf])
			made[t.buf] = true
		}
		if s.scratch != nil {
			name(s.scratch, s.scratch.elems)
		}
	}
	last := steps[len(steps)-1].out[0]
	sum.nest(last.stored(), []*access{accessOf(named[last.buf], last)}, func(at []string) { sum.line("t += probe_weigh(n++, (double)%s);", at[0]) })
	h := newHelpers(unit)
	functions, calls := o.functions(h)
	var code strings.Builder
	code.WriteString(memory.String())
	for _, f := range h.list {
		code.WriteString("static void " + f.name + f.text)
	}
	code.WriteString(functions)
	return &Candidate{Code: code.String(), run: calls, fill: fill.String(), data: data, sum: sum.String()}
}

// fill writes numbers that depend on the tensor's name and the element's place in it, but not on how it lies in memory.
func (x *Exploration) fill(f *text, t *tensor, name string) {
	h := fnv.New32a()
	fmt.Fprint(h, t.buf.name)
	f.line("{")
	f.line("uint32_t n = %du;", h.Sum32())
	value := "probe_float(n++)"
	if t.buf.typ != float {
		value = fmt.Sprintf("(%s)probe_byte(n++)", t.buf.typ.name)
	}
	t = t.root()
	f.nest(t.stored(), []*access{accessOf(name, t)}, func(at []string) { f.line("%s = %s;", at[0], value) })
	f.end()
}

// Program is a program in C that measures candidates for one layer side by side: in rounds, the fastest of which counts, as often as makes
// a millisecond. For each it prints the seconds of one run and the sum of its results, each weighed by its place, and of their magnitudes. Its argument names a file that holds the weights.
func Program(lanes int, candidates []*Candidate) (source string, weights []byte) {
	o := &output{prefix: "probe", upper: "PROBE"}
	var t text
	t.line("#include <math.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <time.h>")
	t.line("#define PROBE_UNUSED __attribute__((unused))")
	t.line("#define PROBE_ALIGNED __attribute__((aligned(64)))")
	t.line("#define PROBE_LANES %d", lanes)
	t.WriteString(o.expand(prelude) + o.expand(scalar) + o.expand(integer))
	t.WriteString(`
PROBE_UNUSED static uint32_t probe_hash(uint32_t x) { x ^= x >> 16; x *= 0x7feb352du; x ^= x >> 15; x *= 0x846ca68bu; return x ^ x >> 16; }
PROBE_UNUSED static float probe_float(uint32_t n) { return (float)(probe_hash(n) >> 8) * (1.0f / 8388608.0f) - 1.0f; }
PROBE_UNUSED static int probe_byte(uint32_t n) { return (int)(probe_hash(n) & 127u); }
static FILE *probe_file;
PROBE_UNUSED static void probe_read(void *p, size_t n) { if (fread(p, 1, n, probe_file) != n) exit(3); }
static double probe_size;
static double probe_weigh(uint32_t n, double x) { const double w = (double)(probe_hash(n) & 255u); probe_size += fabs(w * x); return w * x; }
static double probe_now(void) { return (double)clock() / CLOCKS_PER_SEC; }
`)
	for i, c := range candidates {
		weights = append(weights, c.data...)
		u := fmt.Sprintf("u%d", i)
		own := func(s string) string { return strings.ReplaceAll(s, unit, u) }
		t.WriteString(own(c.Code))
		t.WriteString("\nstatic void " + u + "_fill(void) {\n" + own(c.fill) + "}\n__attribute__((noinline)) static void " + u + "_run(void) {\n" + own(c.run) +
			"}\nstatic double " + u + "_sum(void) {\ndouble t = 0;\nuint32_t n = 0;\nprobe_size = 0;\n" + own(c.sum) + "return t;\n}\n")
	}
	t.line("int main(int argc, char **argv) {")
	t.line("if (argc < 2 || (probe_file = fopen(argv[1], \"rb\")) == NULL) return 2;")
	t.line("double best[%d], sum[%d], size[%d];", len(candidates), len(candidates), len(candidates))
	t.line("int often[%d];", len(candidates))
	for i := range candidates {
		t.WriteString(strings.ReplaceAll(`U_fill();
U_run();
sum[I] = U_sum();
size[I] = probe_size;
best[I] = 1e9;
for (often[I] = 1;; often[I] *= 2) {
    const double b = probe_now();
    for (int k = 0; k < often[I]; k++) U_run();
    const double e = probe_now() - b;
    if (e >= 5e-4 || often[I] >= 1 << 24) break;
}
often[I] *= 2;
`, "U_", fmt.Sprintf("u%d_", i)))
		s := t.String()
		t.Builder.Reset()
		t.WriteString(strings.ReplaceAll(s, "[I]", fmt.Sprintf("[%d]", i)))
	}
	t.line("const double begin = probe_now();")
	t.line("for (int r = 0; r < 9 || (r < 40 && probe_now() - begin < %g); r++) {", 0.03*float64(len(candidates)))
	for i := range candidates {
		t.line("{ u%d_run(); const double b = probe_now(); for (int k = 0; k < often[%d]; k++) u%d_run(); const double e = (probe_now() - b) / often[%d]; if (e < best[%d]) best[%d] = e; }", i, i, i, i, i, i)
	}
	t.line("}")
	t.line("%s", fmt.Sprintf(`for (int i = 0; i < %d; i++) printf("%%.9e %%.17g %%.17g\n", best[i], sum[i], size[i]);`, len(candidates)))
	t.line("return 0;")
	t.line("}")
	return t.String(), weights
}
