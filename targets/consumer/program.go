package consumer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Program is what target c wrote, built: the example beside the source, which reads inputs and writes outputs as raw numbers.
type Program struct {
	Inputs, Outputs []Port // in the order of its arguments

	path string
}

// Port is an input or output of a program.
type Port struct {
	Name  string // as the header has it in a comment, where some characters are spaces
	DType ir.DType
	Shape []int64
}

// portLine is how the header tells of a port.
var portLine = regexp.MustCompile(`^/\* (input|output) "(.*)": (\w+)\[([0-9 ]*)\], in row-major order \*/$`)

// OpenProgram finds the program in a folder: the header that target c wrote, and beside it the executable of that name, as make -f NAME.mk
// makes it there.
func OpenProgram(folder string) (*Program, error) {
	headers, err := filepath.Glob(filepath.Join(escaped(folder), "*.h"))
	if err != nil {
		return nil, err
	}
	var found *Program
	for _, h := range headers {
		p, err := header(h)
		if err != nil {
			return nil, err
		}
		switch {
		case p == nil:
		case found != nil:
			return nil, fmt.Errorf("%s and %s are both here; a folder of one model is wanted", filepath.Base(found.path), filepath.Base(p.path))
		default:
			found = p
		}
	}
	if found == nil {
		return nil, errors.New("there is no header of a C program that onnxopt wrote")
	}
	name := filepath.Base(found.path)
	built, err := os.Stat(found.path)
	if errors.Is(err, fs.ErrNotExist) {
		if built, err = os.Stat(found.path + ".exe"); err == nil {
			found.path += ".exe"
		}
	}
	if err != nil {
		return nil, fmt.Errorf("it is not built: there is no program %s; make -f %s.mk in it makes it", name, name)
	}
	for _, suffix := range []string{".c", ".h", ".bin", "_main.c"} {
		source, err := os.Stat(filepath.Join(folder, name+suffix))
		if err == nil && source.ModTime().After(built.ModTime()) {
			return nil, fmt.Errorf("the program %s is older than %s; make -f %s.mk in it builds it again", name, name+suffix, name)
		}
	}
	return found, nil
}

// escaped is a path in which no character is a pattern.
func escaped(path string) string {
	return regexp.MustCompile(`[][*?\\]`).ReplaceAllStringFunc(path, func(c string) string {
		if c == `\` && filepath.Separator == '\\' {
			return c
		}
		return `\` + c
	})
}

// header reads what a header says of the program; nil if it is none of target c.
func header(path string) (*Program, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &Program{path: strings.TrimSuffix(path, ".h")}
	types := map[string]ir.DType{
		"float": ir.Float32, "double": ir.Float64, "int8_t": ir.Int8, "uint8_t": ir.Uint8, "int16_t": ir.Int16, "uint16_t": ir.Uint16, "int32_t": ir.Int32, "uint32_t": ir.Uint32,
		"int64_t": ir.Int64, "uint64_t": ir.Uint64,
	}
	for line := range strings.Lines(string(b)) {
		m := portLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		port := Port{Name: m[2], DType: types[m[3]], Shape: []int64{}}
		if port.DType == ir.Undefined {
			return nil, fmt.Errorf("%s: elements of type %s", filepath.Base(path), m[3])
		}
		for _, d := range strings.Fields(m[4]) {
			n, err := strconv.ParseInt(d, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
			}
			port.Shape = append(port.Shape, n)
		}
		if m[1] == "input" {
			p.Inputs = append(p.Inputs, port)
		} else {
			p.Outputs = append(p.Outputs, port)
		}
	}
	if len(p.Outputs) == 0 {
		return nil, nil
	}
	return p, nil
}

// Matched gives the ports the names of a model's inputs and outputs: by name where they have it, else by place.
func (p *Program) Matched(inputs, outputs []string) error {
	for _, side := range []struct {
		what  string
		ports []Port
		names []string
	}{{"inputs", p.Inputs, inputs}, {"outputs", p.Outputs, outputs}} {
		if len(side.ports) != len(side.names) {
			return fmt.Errorf("the program has %d %s, the model %d", len(side.ports), side.what, len(side.names))
		}
		byName := map[string]bool{}
		for _, port := range side.ports {
			byName[port.Name] = true
		}
		all := true
		for _, name := range side.names {
			all = all && byName[name]
		}
		for i := range side.ports {
			if !all {
				side.ports[i].Name = side.names[i]
			}
		}
	}
	return nil
}

// Run runs the program once.
func (p *Program) Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	r, _, err := p.run(ctx, in)
	return r, err
}

var timeLine = regexp.MustCompile(`(?m)^([0-9.]+) ms$`)

// Time is how long a run takes, the mean of so many.
func (p *Program) Time(ctx context.Context, in map[string]ir.Datum, runs int) (time.Duration, error) {
	_, said, err := p.run(ctx, in, strconv.Itoa(runs))
	if err != nil {
		return 0, err
	}
	m := timeLine.FindSubmatch(said)
	if m == nil {
		return 0, errors.New("the program does not say how long it took")
	}
	ms, err := strconv.ParseFloat(string(m[1]), 64)
	return time.Duration(ms * float64(time.Millisecond)), err
}

// run runs the program with further arguments; what it printed is there beside the outputs.
func (p *Program) run(ctx context.Context, in map[string]ir.Datum, more ...string) (map[string]ir.Datum, []byte, error) {
	dir, err := os.MkdirTemp("", "onnxopt-program-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	args, err := p.feed(dir, in)
	if err != nil {
		return nil, nil, err
	}
	out := filepath.Join(dir, "out")
	path, err := filepath.Abs(p.path) // a name without a folder would be looked for on the PATH
	if err != nil {
		return nil, nil, err
	}
	said, err := exec.CommandContext(ctx, path, append(append(args, out), more...)...).CombinedOutput()
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the program ended (%w): %s", err, short(strings.TrimSpace(string(said))))
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, nil, err
	}
	r, err := p.results(b)
	return r, said, err
}

// feed writes the inputs into files in a folder, and returns the arguments that name them.
func (p *Program) feed(dir string, in map[string]ir.Datum) (args []string, err error) {
	for i, port := range p.Inputs {
		t, ok := in[port.Name].(*ir.Tensor)
		if ok && t.DType() == ir.Float16 && port.DType == ir.Float32 { // which the program computes with instead
			t = widened(t)
		}
		if !ok || t.DType().Bits() != port.DType.Bits() || t.Len() != size(port.Shape) {
			return nil, fmt.Errorf("input %q: the program takes %s%v", port.Name, port.DType, port.Shape)
		}
		b, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, fmt.Sprintf("in%d", i))
		if err := os.WriteFile(file, b, 0o666); err != nil {
			return nil, err
		}
		args = append(args, file)
	}
	return args, nil
}

// results reads the outputs, which lie one after another.
func (p *Program) results(b []byte) (map[string]ir.Datum, error) {
	r := map[string]ir.Datum{}
	for _, port := range p.Outputs {
		n := port.DType.ByteLen(size(port.Shape))
		if int64(len(b)) < n {
			return nil, fmt.Errorf("the program wrote too little for output %q", port.Name)
		}
		r[port.Name] = ir.NewTensor(port.DType, port.Shape, b[:n:n])
		b = b[n:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("the program wrote %d bytes too many", len(b))
	}
	return r, nil
}

// widened is a tensor of float16 in 32 bits.
func widened(t *ir.Tensor) *ir.Tensor {
	h, err := ir.Elements[uint16](t)
	if err != nil {
		return t
	}
	f := make([]float32, len(h))
	for i, x := range h {
		f[i] = kernel.Float16ToFloat32(x)
	}
	return ir.NewTensor(ir.Float32, t.Shape(), ir.AsBytes(f))
}

func size(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}
