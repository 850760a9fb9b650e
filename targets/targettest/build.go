package targettest

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/onnxopt/onnxopt/targets/consumer"
)

// build makes the engine with the script that was written. It cannot run without a graphics processor.
func (b *Bench) build(ctx context.Context, e *Emitted, r *Row) {
	python := b.Pythons["tensorrt"]
	if python == "" {
		r.Why = leftOut + "TensorRT is not here"
		return
	}
	out, err := exec.CommandContext(ctx, python, e.Path(".build.py")).CombinedOutput()
	if err != nil {
		r.Why = lastLine(out)
		return
	}
	r.Loads = true
	os.Remove(e.Path(".engine"))
}

// compile makes the program that target c writes an example for, with the compiler of the system, and runs it. How fast it is bench/c tells:
// a program's time is that of a process.
func compile(ctx context.Context, c *Case, e *Emitted, r *Row) {
	if _, err := exec.LookPath("make"); err != nil {
		r.Why = leftOut + "there is no make"
		return
	}
	if _, err := exec.LookPath("cc"); err != nil {
		r.Why = leftOut + "there is no C compiler"
		return
	}
	dir, err := os.MkdirTemp(e.Dir, "built-")
	if err != nil {
		r.Why = err.Error()
		return
	}
	defer os.RemoveAll(dir)
	for _, suffix := range []string{"", ".h", ".bin", "_main.c", ".mk"} {
		if err := os.Rename(e.Path(suffix), dir+"/"+e.Name(suffix)); err != nil && !os.IsNotExist(err) {
			r.Why = err.Error()
			return
		}
	}
	if out, err := exec.CommandContext(ctx, "make", "-C", dir, "-f", e.Name(".mk")).CombinedOutput(); err != nil {
		r.Why = lastLine(out)
		return
	}
	p, err := consumer.OpenProgram(dir)
	if err == nil {
		o := c.Options(1)
		err = p.Matched(o.Inputs, o.Outputs)
	}
	if err != nil {
		r.Why = err.Error()
		return
	}
	r.Loads = true
	got, err := p.Run(ctx, c.Inputs)
	if err != nil {
		r.Why = err.Error()
		return
	}
	r.Ran = true
	r.judge(c, got)
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
