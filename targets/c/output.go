package c

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/targets"
)

//go:embed prelude.h
var prelude string

//go:embed scalar.h
var scalar string

//go:embed int.h
var integer string

// identifier makes a name in C of any text.
func identifier(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= '0' && c <= '9' && b.Len() > 0:
			b.WriteByte(c)
		case c >= '0' && c <= '9':
			b.WriteString("m" + string(c))
		default:
			b.WriteByte('_')
		}
	}
	r := b.String()
	if r == "" || strings.Trim(r, "_") == "" || keywords()[r] {
		r = "m_" + strings.Trim(r, "_")
	}
	return strings.TrimLeft(r, "_")
}

func keywords() map[string]bool {
	r := map[string]bool{}
	for _, k := range strings.Fields(`auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short signed
		sizeof static struct switch typedef union unsigned void volatile while main bool true false asm class new delete this template namespace operator private public
		protected virtual try catch throw using typename and or not xor`) {
		r[k] = true
	}
	return r
}

// comment is a text that may stand in a comment.
func comment(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 32 || r == 127 || r == '\\' || r == '?' {
			return ' '
		}
		return r
	}, s)
	return strings.ReplaceAll(strings.ReplaceAll(s, "*/", "* /"), "/*", "/ *")
}

// output writes the files of a model.
type output struct {
	b      *builder
	mem    *memory
	a      targets.Artifact
	prefix string
	upper  string
	file   string // of the header
	bin    string

	// of a probe
	unit  string             // what the names of functions begin with; "": prefix
	lanes []int              // widths; nil: all
	named map[*buffer]string // arrays
}

func (b *builder) write(a targets.Artifact, mem *memory) error {
	o := &output{b: b, mem: mem, a: a}
	base := a.Name("")
	base = strings.TrimSuffix(base, filepath.Ext(base))
	o.prefix = identifier(base)
	if b.o.Name != "" {
		o.prefix = identifier(b.o.Name)
	}
	o.upper = strings.ToUpper(o.prefix)
	o.file, o.bin = a.Name(".h"), a.Name(".bin")
	o.names()
	for _, f := range []struct {
		suffix string
		text   func() string
	}{{"", o.source}, {".h", o.header}, {"_main.c", o.example}, {".mk", o.makefile}, {".cmake", o.cmake}} {
		w, err := a.File(f.suffix)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, f.text()); err != nil {
			return err
		}
	}
	if b.o.Weights != "array" {
		w, err := a.File(".bin")
		if err != nil {
			return err
		}
		if _, err := w.Write(o.blob()); err != nil {
			return err
		}
	}
	peak := ""
	if len(b.steps) > 0 {
		peak = b.steps[mem.peak].node
	}
	a.Note(fmt.Sprintf("arena %d bytes (%d alive at once at %q), weights %d bytes, %d steps", mem.bytes, mem.live, peak, mem.weights, len(b.steps)))
	return nil
}

// names gives the interface names in C.
func (o *output) names() {
	used := map[string]bool{}
	unique := func(s string) string {
		r := identifier(s)
		for i := 2; used[r]; i++ {
			r = fmt.Sprintf("%s_%d", identifier(s), i)
		}
		used[r] = true
		return r
	}
	for i := range o.b.inputs {
		p := &o.b.inputs[i]
		base := p.name
		if len(o.b.inputs) == 1 {
			base = "in"
		}
		p.c = unique(base)
		p.t.buf.param = p.c
	}
	for i := range o.b.outputs {
		p := &o.b.outputs[i]
		base := p.name
		if len(o.b.outputs) == 1 {
			base = "out"
		}
		p.c = unique(base)
		p.t.buf.param = p.c
	}
}

func (o *output) blob() []byte {
	r := make([]byte, o.mem.weights)
	for _, buf := range o.b.consts {
		copy(r[buf.offset:], buf.data)
	}
	return r
}

func (o *output) signature() string {
	var p []string
	for _, x := range o.b.inputs {
		p = append(p, fmt.Sprintf("const %s *%s", x.typ.name, x.c))
	}
	for _, x := range o.b.outputs {
		p = append(p, fmt.Sprintf("%s *%s", x.typ.name, x.c))
	}
	return fmt.Sprintf("void %s_run(%s)", o.prefix, strings.Join(p, ", "))
}

// portName is the name of an input or output in macros.
func (o *output) macro(kind string, list []port, i int) string {
	if len(list) == 1 {
		return o.upper + "_" + kind
	}
	return o.upper + "_" + kind + "_" + strings.ToUpper(list[i].c)
}

func (o *output) header() string {
	var t text
	t.line("/* Made by onnxopt from an ONNX model. */")
	guard := o.upper + "_H"
	t.line("#ifndef %s", guard)
	t.line("#define %s", guard)
	t.line("")
	t.line("#include <stddef.h>")
	t.line("#include <stdint.h>")
	t.line("")
	t.line("#ifdef __cplusplus")
	t.WriteString("extern \"C\" {\n")
	t.line("#endif")
	t.line("")
	for _, k := range []struct {
		kind, what string
		list       []port
	}{{"IN", "input", o.b.inputs}, {"OUT", "output", o.b.outputs}} {
		for i, p := range k.list {
			m := o.macro(k.kind, k.list, i)
			t.line("/* %s \"%s\": %s, in row-major order */", k.what, comment(p.name), comment(fmt.Sprintf("%s%v", p.typ.name, p.t.shape)))
			t.line("#define %s_SIZE %d", m, product(p.t.shape))
			t.line("#define %s_RANK %d", m, len(p.t.shape))
			if len(p.t.shape) > 0 {
				t.line("#define %s_SHAPE {%s}", m, strings.Trim(strings.ReplaceAll(fmt.Sprint(p.t.shape), " ", ", "), "[]"))
			}
		}
	}
	t.line("")
	t.line("#define %s_ARENA_BYTES %d /* static memory for results */", o.upper, o.mem.bytes)
	t.line("#define %s_WEIGHTS_BYTES %d", o.upper, o.mem.weights)
	t.line("")
	if o.b.o.Weights == "file" {
		t.line("/* Takes the contents of %s, which must stay where they are, aligned to 64 bytes for speed and to 8 at least.", comment(o.bin))
		t.line("   Returns 0, or -1 if size is not %s_WEIGHTS_BYTES. Call it before %s_run. */", o.upper, o.prefix)
		t.line("int %s_load(const void *weights, size_t size);", o.prefix)
		t.line("")
	}
	t.line("/* Runs the model. Its memory is static: two calls must not overlap, and inputs must not lie in outputs. */")
	t.line("%s;", o.signature())
	t.line("")
	t.line("#ifdef __cplusplus")
	t.WriteString("}\n")
	t.line("#endif")
	t.line("#endif")
	return t.String()
}

// step texts

func (o *output) source() string {
	var t text
	t.line("/* Made by onnxopt from an ONNX model. */")
	t.line("#include \"%s\"", o.file)
	t.line("#include <math.h>")
	t.line("#include <string.h>")
	t.line("")
	t.line("#if defined(__GNUC__)")
	t.line("#define %s_UNUSED __attribute__((unused))", o.upper)
	t.line("#define %s_ALIGNED __attribute__((aligned(64)))", o.upper)
	t.line("#else")
	t.line("#define %s_UNUSED", o.upper)
	t.line("#define %s_ALIGNED", o.upper)
	t.line("#endif")
	if o.b.o.Profile == profileMCU {
		t.line("#undef %s_LANES", o.upper)
		t.line("#define %s_LANES 4", o.upper)
	}
	t.WriteString(o.expand(prelude))
	t.WriteString(o.expand(scalar))
	t.WriteString(o.expand(integer))
	h := newHelpers(o.prefix)
	h.small = o.b.o.Profile == profileMCU
	functions, calls := o.functions(h)
	t.line("")
	o.weights(&t)
	switch {
	case o.mem.bytes > 0 && len(o.mem.types) == 1:
		t.line("static %s %s_ALIGNED arena[%d];", o.mem.types[0].name, o.upper, o.mem.bytes/o.mem.types[0].size)
	case o.mem.bytes > 0:
		t.line("static union {")
		for _, typ := range o.mem.types {
			t.line("%s as_%s[%d];", typ.name, typ.name, o.mem.bytes/typ.size)
		}
		t.line("} %s_ALIGNED arena;", o.upper)
	}
	t.line("")
	for _, f := range h.list {
		g := guard(o.upper, f.lanes, o.widths())
		if g != "" {
			t.line("#if %s", g)
		}
		t.WriteString("static void " + f.name + f.text)
		if g != "" {
			t.line("#endif")
		}
	}
	t.WriteString(functions)
	t.line("%s {", o.signature())
	for _, p := range o.b.inputs {
		if !slices.ContainsFunc(o.b.steps, func(s *step) bool { return slices.ContainsFunc(s.in, func(u *tensor) bool { return u.buf == p.t.buf }) }) {
			t.line("(void)%s;", p.c)
		}
	}
	t.WriteString(calls)
	t.line("}")
	return t.String()
}

// widths are those of the vectors that bodies are written for.
func (o *output) widths() []int {
	if o.lanes != nil {
		return o.lanes
	}
	if o.b.o.Profile == profileMCU {
		return []int{4}
	}
	return widths()
}

// expand names a text's own identifiers after the model.
func (o *output) expand(s string) string {
	s = strings.ReplaceAll(s, "PFX_LANES", o.upper+"_LANES")
	s = strings.ReplaceAll(s, "PFX_UNUSED", o.upper+"_UNUSED")
	s = strings.ReplaceAll(s, "PFX_EXP", o.upper+"_EXP")
	return strings.ReplaceAll(s, "PFX_", o.prefix+"_")
}

// functions writes the functions of the steps, equal ones once, and the calls.
func (o *output) functions(h *helpers) (functions, calls string) {
	var fs, cs text
	cs.depth = 1
	byText := map[string]string{}
	for _, s := range o.b.steps {
		var params []string
		for i, t := range s.in {
			params = append(params, fmt.Sprintf("const %s *restrict a%d", t.buf.typ.name, i))
		}
		for i, t := range s.out {
			params = append(params, fmt.Sprintf("%s *restrict y%d", t.buf.typ.name, i))
		}
		if s.scratch != nil {
			params = append(params, "float *restrict s")
		}
		head := "(" + strings.Join(params, ", ") + ") {\n"
		bodies := map[string][]int{}
		var order []string
		for _, l := range o.widths() {
			h.lanes = l
			f := &text{helpers: h, depth: 1}
			s.body(f, l)
			b := strings.ReplaceAll(f.String(), "@", o.prefix+"_")
			if bodies[b] == nil {
				order = append(order, b)
			}
			bodies[b] = append(bodies[b], l)
		}
		body := ""
		for _, b := range order {
			g := guard(o.upper, bodies[b], o.widths())
			if g != "" {
				body += "#if " + g + "\n" + b + "#endif\n"
			} else {
				body += b
			}
		}
		key := head + body
		name := byText[key]
		if name == "" {
			name = fmt.Sprintf("%s_%s%d", cmp.Or(o.unit, o.prefix), strings.ToLower(identifier(s.op)), len(byText))
			byText[key] = name
			fs.WriteString("\nstatic void " + name + key + "}\n")
		}
		var args []string
		for _, t := range s.in {
			args = append(args, o.address(t.buf, true))
		}
		for _, t := range s.out {
			if t.parent == nil && t.halo != [4]int{} {
				d := t.stored()
				at := len(d) - 2
				n := 1
				if t.blocked {
					at, n = at-1, block
				}
				o.halo(&cs, t.buf, "", t.fill, product(d[:at]), d[at], d[at+1], n, t.halo)
			} else if t.parent != nil && t.hasHalo() {
				r := t.root()
				o.halo(&cs, t.buf, fmt.Sprintf(" + %d", t.start()-r.start()), r.fill, blocksOf(t.shape[1]), t.shape[2], t.shape[3], block, r.halo)
			}
			args = append(args, o.address(t.buf, false))
		}
		if s.scratch != nil {
			args = append(args, o.address(s.scratch, false))
		}
		cs.line("%s(%s); /* %s */", name, strings.Join(args, ", "), comment(s.node))
		if o.mem != nil && len(o.mem.types) > 1 {
			cs.line("FENCE(); /* memory may hold elements of another type from here on */")
		}
	}
	return fs.String(), cs.String()
}

// halo calls the function that fills the surroundings of planes.
func (o *output) halo(t *text, buf *buffer, at string, fill, planes, h, w, n int, halo [4]int) {
	kind, value := "", ""
	if buf.typ.size == 1 {
		kind, value = "8", fmt.Sprintf(", %d", fill)
	}
	t.line("%s_halo%s(%s%s, %d, %d, %d, %d, %d, %d, %d, %d%s);", o.prefix, kind, o.address(buf, false), at, planes, h, w, n, halo[0], halo[1], halo[2], halo[3], value)
}

// address is a buffer in C.
func (o *output) address(buf *buffer, read bool) string {
	switch {
	case o.named != nil:
		return o.named[buf]
	case buf.data != nil:
		return fmt.Sprintf("(const %s *)(const void *)(weights + %d)", buf.typ.name, buf.offset)
	case buf.param != "":
		return buf.param
	}
	base := "arena"
	if len(o.mem.types) > 1 {
		base += ".as_" + buf.typ.name
		if buf.typ.size == 1 {
			base = "arena.as_" + o.mem.types[0].name
		}
	}
	if buf.typ.size == 1 {
		return fmt.Sprintf("(%s *)%s + %d", buf.typ.name, base, buf.offset)
	}
	return fmt.Sprintf("%s + %d", base, buf.offset/buf.typ.size)
}

func (o *output) weights(t *text) {
	if o.mem.weights == 0 {
		if o.b.o.Weights == "file" {
			t.line("int %s_load(const void *w, size_t size) { (void)w; return size == 0 ? 0 : -1; }", o.prefix)
		}
		return
	}
	switch o.b.o.Weights {
	case "file":
		t.line("static const unsigned char *weights;")
		t.line("")
		t.line("int %s_load(const void *w, size_t size) {", o.prefix)
		t.line("if (size != %s_WEIGHTS_BYTES) return -1;", o.upper)
		t.line("weights = (const unsigned char *)w;")
		t.line("return 0;")
		t.line("}")
	case "array":
		blob := o.blob()
		t.WriteString(fmt.Sprintf("static const union { uint32_t u[%d]; unsigned char b[%d]; } weights_array %s_ALIGNED = {{\n", len(blob)/4, len(blob), o.upper))
		for i := 0; i < len(blob); i += 4 {
			fmt.Fprintf(t, "0x%xu,", uint32(blob[i])|uint32(blob[i+1])<<8|uint32(blob[i+2])<<16|uint32(blob[i+3])<<24)
			if i%64 == 60 {
				t.WriteByte('\n')
			}
		}
		t.WriteString("}};\n")
		t.line("#define weights weights_array.b")
	default:
		t.line("#ifndef %s_WEIGHTS", o.upper)
		t.line("#define %s_WEIGHTS %q /* in the assembler's include path */", o.upper, o.bin)
		t.line("#endif")
		t.line("#if defined(__APPLE__)")
		t.line("__asm__(\".const_data\\n.balign 64\\n%s_weights:\\n.incbin \\\"\" %s_WEIGHTS \"\\\"\\n.text\\n\");", o.prefix, o.upper)
		t.line("#else")
		t.line("__asm__(\".pushsection .rodata\\n.balign 64\\n%s_weights:\\n.incbin \\\"\" %s_WEIGHTS \"\\\"\\n.popsection\\n\");", o.prefix, o.upper)
		t.line("#endif")
		t.line("extern const unsigned char weights[%s_WEIGHTS_BYTES] __asm__(\"%s_weights\");", o.upper, o.prefix)
	}
}

func (o *output) example() string {
	var t text
	t.line("/* An example: reads the inputs, one after another, from the files named on the command line as raw numbers, or takes zeros, and prints the")
	t.line("   outputs, or writes them raw to the file after the inputs. With a number as last argument the run is repeated so often and timed. */")
	t.line("#include \"%s\"", o.file)
	t.line("#include <stdio.h>")
	t.line("#include <stdlib.h>")
	t.line("#include <time.h>")
	t.line("")
	for i, p := range o.b.inputs {
		t.line("static %s in_%d[%s_SIZE];", p.typ.name, i, o.macro("IN", o.b.inputs, i))
	}
	for i, p := range o.b.outputs {
		t.line("static %s out_%d[%s_SIZE];", p.typ.name, i, o.macro("OUT", o.b.outputs, i))
	}
	if o.b.o.Weights == "file" {
		t.line("static double weights[%s_WEIGHTS_BYTES / 8 + 8];", o.upper)
	}
	t.line("")
	t.line("static int load(const char *name, void *to, size_t bytes) {")
	t.line("FILE *f = fopen(name, \"rb\");")
	t.line("if (f == NULL || fread(to, 1, bytes, f) != bytes) {")
	t.line("%s", `fprintf(stderr, "%s: cannot read %lu bytes\n", name, (unsigned long)bytes);`)
	t.line("if (f != NULL) fclose(f);")
	t.line("return -1;")
	t.line("}")
	t.line("fclose(f);")
	t.line("return 0;")
	t.line("}")
	t.line("")
	t.line("int main(int argc, char **argv) {")
	n := len(o.b.inputs)
	if o.b.o.Weights == "file" {
		t.line("if (load(%q, weights, %s_WEIGHTS_BYTES) != 0 || %s_load(weights, %s_WEIGHTS_BYTES) != 0) return 1;", o.bin, o.upper, o.prefix, o.upper)
	}
	var args []string
	for i := range n {
		t.line("if (argc > %d && load(argv[%d], in_%d, sizeof in_%d) != 0) return 1;", i+1, i+1, i, i)
		args = append(args, fmt.Sprintf("in_%d", i))
	}
	for i := range o.b.outputs {
		args = append(args, fmt.Sprintf("out_%d", i))
	}
	call := fmt.Sprintf("%s_run(%s);", o.prefix, strings.Join(args, ", "))
	t.line("%s", call)
	t.line("if (argc > %d) {", n+1)
	t.line("FILE *f = fopen(argv[%d], \"wb\");", n+1)
	t.line("if (f == NULL) {")
	t.line("fprintf(stderr, \"%%s: cannot write\\n\", argv[%d]);", n+1)
	t.line("return 1;")
	t.line("}")
	t.line("size_t written = 0;")
	for i := range o.b.outputs {
		t.line("written += fwrite(out_%d, 1, sizeof out_%d, f);", i, i)
	}
	t.line("if (fclose(f) != 0 || written == 0) return 1;")
	t.line("} else {")
	for i, p := range o.b.outputs {
		t.line("printf(\"%s:\");", strings.ReplaceAll(strings.ReplaceAll(comment(p.name), "%", "%%"), "\"", "\\\""))
		t.line("for (int i = 0; i < %s_SIZE; i++) printf(\" %%g\", (double)out_%d[i]);", o.macro("OUT", o.b.outputs, i), i)
		t.line("printf(\"\\n\");")
	}
	t.line("}")
	t.line("if (argc > %d) {", n+2)
	t.line("const int runs = atoi(argv[%d]);", n+2)
	t.line("const clock_t begin = clock();")
	t.line("for (int i = 0; i < runs; i++) %s", call)
	t.line("%s", `printf("%.6f ms\n", 1e3 * (double)(clock() - begin) / CLOCKS_PER_SEC / (runs > 0 ? runs : 1));`)
	t.line("}")
	t.line("return 0;")
	t.line("}")
	return t.String()
}

func (o *output) makefile() string {
	main, src := o.a.Name("_main.c"), o.a.Name("")
	base := strings.TrimSuffix(src, filepath.Ext(src))
	dep := ""
	if o.b.o.Weights == "incbin" {
		dep = " " + o.bin
	}
	return fmt.Sprintf(`# make -f %s
CFLAGS ?= -O3 -march=native -ffp-contract=off
dir := $(dir $(lastword $(MAKEFILE_LIST)))

%s: $(dir)%s $(dir)%s $(dir)%s%s
	$(CC) -std=c99 $(CFLAGS) -I$(dir). -o $@ $(dir)%s $(dir)%s -lm
`, o.a.Name(".mk"), base, src, main, o.file, strings.ReplaceAll(dep, " ", " $(dir)"), src, main)
}

func (o *output) cmake() string {
	src := o.a.Name("")
	return fmt.Sprintf(`# include(%s) defines the library %s.
add_library(%s STATIC ${CMAKE_CURRENT_LIST_DIR}/%s)
target_include_directories(%s PUBLIC ${CMAKE_CURRENT_LIST_DIR})
set_target_properties(%s PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF)
target_compile_options(%s PRIVATE -O3 -march=native -ffp-contract=off)
target_link_libraries(%s PUBLIC m)
`, o.a.Name(".cmake"), o.prefix, o.prefix, src, o.prefix, o.prefix, o.prefix, o.prefix)
}
