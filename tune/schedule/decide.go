package schedule

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets/c"
	"github.com/onnxopt/onnxopt/tune/trial"
)

// folder takes the files of a model in C.
type folder struct {
	dir, base string
	open      []*os.File
}

func (a *folder) Name(suffix string) string {
	if suffix == "" {
		suffix = ".c"
	}
	return a.base + suffix
}
func (a *folder) Note(string)           {}
func (a *folder) Model(*ir.Model) error { return errors.New("the target writes no ONNX") }
func (a *folder) File(suffix string) (io.Writer, error) {
	f, err := os.OpenFile(filepath.Join(a.dir, a.Name(suffix)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	a.open = append(a.open, f)
	return f, err
}

// emit writes and compiles the whole model with a schedule.
func (s *search) emit(base string, x *c.Schedule) error {
	const file = passes.File("schedule")
	a := &folder{dir: s.dir, base: base}
	p, err := c.New().Emitter("c{schedule="+string(file)+"}", a)
	if err != nil {
		return err
	}
	_, err = p.Run(s.ctx, s.m, passes.Config{Files: map[passes.File][]byte{file: x.Text()}})
	for _, f := range a.open {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return err
	}
	return s.o.Compiler.compile(s.ctx, s.dir, "-c", "-o", filepath.Join(s.dir, base+".o"), filepath.Join(s.dir, base+".c"))
}

// rounding is how far the results with a schedule may be from those without, so that both stay within 1e-4 of the model's.
const rounding = 3e-5

// contestant is a schedule in the last comparison.
type contestant struct {
	name     string
	schedule *c.Schedule
}

// decide compares the whole model with the default, with what was found, and with parts of that, and keeps the fastest. Nothing but the
// default is kept unless it is faster by a percent, and nothing that rounds too differently.
func (s *search) decide(all *c.Schedule) error {
	list := []contestant{{"default", s.empty()}}
	add := func(name string, x *c.Schedule) {
		if len(x.Layers) > 0 && !slices.ContainsFunc(list, func(o contestant) bool { return len(o.schedule.Layers) == len(x.Layers) }) { // each is a part of the one before
			list = append(list, contestant{name, x})
		}
	}
	add("schedule", all)
	direct, coarse, clear := with(all), with(all), s.empty()
	for _, t := range s.states {
		if c := all.Layers[t.layer.Key]; c != nil && t.time() < 0.93*t.second { // by itself, with all in the cache, a layer may gain what it does not among others
			clear.Layers[t.layer.Key] = c
		}
	}
	for k, c := range all.Layers {
		if c["winograd"] != 0 {
			delete(direct.Layers, k)
		}
		if c["winograd"] > 2 {
			delete(coarse.Layers, k)
		}
	}
	add("schedule without 4x4 transforms", coarse)
	add("schedule without transforms", direct)
	add("schedule of clear gains", clear)
	s.r.Schedule, s.r.Kept = list[0].schedule, list[0].name
	if len(list) == 1 {
		return nil
	}
	s.say("comparing the whole model")
	key := trial.Key("c model", s.o.Compiler.Print, s.o.Compiler.Machine)
	for i, x := range list {
		base := fmt.Sprintf("model%d", i)
		if err := s.emit(base, x.schedule); err != nil {
			return err
		}
		for _, suffix := range []string{".c", ".bin"} {
			data, err := os.ReadFile(filepath.Join(s.dir, base+suffix))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			key = trial.Key(key, data)
		}
	}
	r, ok := s.o.Log.Get(key)
	if !ok {
		var err error
		if r, err = s.compare(key, list); err != nil {
			return err
		}
	}
	s.r.Default = r.Metrics["default"]
	s.r.Found = r.Metrics["default"]
	best := 1.01
	for _, x := range list[1:] {
		d, known := r.Metrics[x.name+" differs"]
		s.r.Rounding = max(s.r.Rounding, d)
		if q := r.Metrics[x.name+" ratio"]; q > best && known && d <= rounding {
			best, s.r.Schedule, s.r.Kept, s.r.Found = q, x.schedule, x.name, r.Metrics["default"]/q
		}
	}
	return nil
}

// compare runs all of them by turns in one process.
func (s *search) compare(key string, list []contestant) (trial.Record, error) {
	r := trial.Record{Key: key, Kind: "c model", Machine: s.o.Compiler.Machine, Metrics: map[string]float64{}}
	header, err := os.ReadFile(filepath.Join(s.dir, "model0.h"))
	if err != nil {
		return r, err
	}
	main, program := filepath.Join(s.dir, "main.c"), filepath.Join(s.dir, "main.exe")
	if err := os.WriteFile(main, []byte(contest(string(header), len(list))), 0o600); err != nil {
		return r, err
	}
	args := []string{"-o", program, main}
	for i := range list {
		args = append(args, filepath.Join(s.dir, fmt.Sprintf("model%d.o", i)))
	}
	if err := s.o.Compiler.compile(s.ctx, s.dir, append(args, "-lm")...); err != nil {
		return r, err
	}
	out, err := trial.Run(s.ctx, trial.Child{Argv: []string{program}, Dir: s.dir, Timeout: 4 * runTime, MaxMemory: 2 * runMemory})
	if err != nil {
		return r, err
	}
	r.Seconds = out.Duration.Seconds()
	in := strings.NewReader(string(out.Stdout))
	var times [][]float64
	for i := range list {
		var differs float64
		var rounds int
		if _, err := fmt.Fscan(in, &differs, &rounds); err != nil {
			return r, fmt.Errorf("the comparison did not say its times: %w", err)
		}
		r.Metrics[list[i].name+" differs"] = min(differs, 1e9)
		t := make([]float64, rounds)
		for k := range t {
			if _, err := fmt.Fscan(in, &t[k]); err != nil {
				return r, err
			}
		}
		times = append(times, t)
		r.Metrics[list[i].name] = median(t)
		ratios := make([]float64, rounds)
		for k := range t {
			ratios[k] = times[0][k] / t[k]
		}
		r.Metrics[list[i].name+" ratio"] = median(ratios)
	}
	return r, s.o.Log.Put(r)
}

func median(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return x[len(x)/2]
}

// contest is a program that runs models by turns. Of the header of the first it takes what inputs and outputs there are.
func contest(header string, n int) string {
	var b strings.Builder
	b.WriteString("#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <time.h>\n")
	for i := range n {
		fmt.Fprintf(&b, "#include \"model%d.h\"\n", i)
	}
	proto := header[strings.LastIndex(header, "void model0_run("):]
	proto = proto[len("void model0_run("):strings.Index(proto, ")")]
	var sizes []string
	for _, l := range strings.Split(header, "\n") {
		if f := strings.Fields(l); len(f) == 3 && f[0] == "#define" && strings.HasSuffix(f[1], "_SIZE") {
			sizes = append(sizes, f[2])
		}
	}
	var fill, check strings.Builder
	args := make([]string, n)
	for i, p := range strings.Split(proto, ", ") {
		in := strings.HasPrefix(p, "const ")
		typ := strings.TrimSpace(strings.TrimPrefix(p[:strings.Index(p, "*")], "const "))
		for k := range n {
			name := fmt.Sprintf("p%d", i)
			if !in {
				name += fmt.Sprintf("_%d", k)
			}
			if !in || k == 0 {
				fmt.Fprintf(&b, "static %s %s[%s];\n", typ, name, sizes[i])
			}
			if k > 0 && !in {
				fmt.Fprintf(&check, "d = fmax(d, differs(%d, p%d_0, %s, k == %d));\n", i, i, name, k)
			}
			args[k] += ", " + name
		}
		switch {
		case in && typ == "float":
			fmt.Fprintf(&fill, "for (int i = 0; i < %s; i++) p%d[i] = (float)((i * 7919 + 13) %% 1009) / 1009.0f;\n", sizes[i], i)
		case in && (typ == "int8_t" || typ == "uint8_t"):
			fmt.Fprintf(&fill, "for (int i = 0; i < %s; i++) p%d[i] = (%s)((i * 7919 + 13) %% 127);\n", sizes[i], i, typ)
		}
		if !in {
			fmt.Fprintf(&b, "static double differs_%d(const %s *a, const %s *b) { double d = 0, m = 1e-6; for (int i = 0; i < %s; i++) { const double x = (double)a[i], y = (double)b[i]; "+
				"if ((x != x) != (y != y)) return 1e9; m = fmax(m, fabs(x)); d = fmax(d, fabs(x - y)); } return d / m; }\n", i, typ, typ, sizes[i])
		}
	}
	b.WriteString("#define differs(i, a, b, own) ((own) ? differs_##i(a, b) : 0)\n")
	b.WriteString("static double now(void) { return (double)clock() / CLOCKS_PER_SEC; }\nstatic void run(int k) {\nswitch (k) {\n")
	for k := range n {
		fmt.Fprintf(&b, "case %d: model%d_run(%s); break;\n", k, k, strings.TrimPrefix(args[k], ", "))
	}
	fmt.Fprintf(&b, `}
}
int main(void) {
    enum { n = %d, most = 400 };
    static double t[n][most];
    int rounds = 0, often = 1;
%s    for (int k = 0; k < n; k++) run(k);
    for (;; often *= 2) {
        const double b = now();
        for (int i = 0; i < often; i++) run(0);
        if (now() - b >= 2e-3 || often >= 1 << 20) break;
    }
    for (const double begin = now(); rounds < most && (rounds < 11 || now() - begin < 1.5 * n); rounds++)
        for (int k = 0; k < n; k++) {
            const double b = now();
            for (int i = 0; i < often; i++) run(k);
            t[k][rounds] = (now() - b) / often;
        }
    for (int k = 0; k < n; k++) {
        double d = 0;
%s        printf("%%.9e %%d", d, rounds);
        for (int i = 0; i < rounds; i++) printf(" %%.9e", t[k][i]);
        printf("\n");
    }
    return 0;
}
`, n, fill.String(), check.String())
	return b.String()
}
