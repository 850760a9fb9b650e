package c

import (
	"fmt"
	"strings"
)

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
