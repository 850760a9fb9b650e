package c

import (
	"fmt"
)

func (o *output) blob() []byte {
	r := make([]byte, o.mem.weights)
	for _, buf := range o.b.consts {
		copy(r[buf.offset:], buf.data)
	}
	return r
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
