package c

import (
	"fmt"
	"path/filepath"
	"strings"
)

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

// CFLAGS are the options of the C compiler in the makefile and in that of CMake. Products and sums are not contracted, so that integers come
// out to the bit.
const CFLAGS = "-O3 -march=native -ffp-contract=off"

func (o *output) makefile() string {
	main, src := spaced(o.a.Name("_main.c")), spaced(o.a.Name(""))
	base := strings.TrimSuffix(src, filepath.Ext(src))
	dep := ""
	if o.b.o.Weights == "incbin" {
		dep = " $(dir)" + spaced(o.bin)
	}
	return fmt.Sprintf(`# make -f %s
CFLAGS ?= %s
dir := $(dir $(lastword $(MAKEFILE_LIST)))

%s: $(dir)%s $(dir)%s $(dir)%s%s
	$(CC) -std=c99 $(CFLAGS) -I$(dir). -o %s $(dir)%s $(dir)%s -lm
`, spaced(o.a.Name(".mk")), CFLAGS, base, src, main, spaced(o.file), dep, base, src, main)
}

func (o *output) cmake() string {
	src := o.a.Name("")
	return fmt.Sprintf(`# include(%s) defines the library %s.
add_library(%s STATIC "${CMAKE_CURRENT_LIST_DIR}/%s")
target_include_directories(%s PUBLIC ${CMAKE_CURRENT_LIST_DIR})
set_target_properties(%s PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF)
target_compile_options(%s PRIVATE %s)
target_link_libraries(%s PUBLIC m)
`, o.a.Name(".cmake"), o.prefix, o.prefix, src, o.prefix, o.prefix, o.prefix, CFLAGS, o.prefix)
}
