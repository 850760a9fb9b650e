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
	if err := usable(base); err != nil {
		return err
	}
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
			to := o.address(t.buf, false)
			if slices.ContainsFunc(s.in, func(x *tensor) bool { return x.buf == t.buf }) {
				to = element(to)
			}
			args = append(args, to)
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

// element writes an address as that of an element. A step may read and write parts of one buffer, which do not overlap; gcc looks at
// the addresses of the whole, and warns that those without an index are the same (-Wrestrict).
func element(address string) string {
	base, offset, ok := strings.Cut(address, " + ")
	if !ok {
		return address
	}
	return fmt.Sprintf("&(%s)[%s]", base, offset)
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
