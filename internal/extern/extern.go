// Package extern is the pass that hands the model to another program.
package extern

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/internal/process"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
)

// Name of the pass.
const Name = "exec"

// Options of the pass.
type Options struct {
	Cmd       string      `opt:"cmd" doc:"program and arguments, split at blanks without a shell; quotes hold words together" required:"true"`
	Timeout   Duration    `opt:"timeout" doc:"time after which the program is ended"`
	Memory    passes.Size `opt:"memory" doc:"bytes of address space that it may take (on Linux), and of the model that it may give"`
	Tolerance float64     `opt:"tolerance" doc:"relative difference that its rewrite may make; 0: the same bits"`
	Lossy     bool        `opt:"lossy" doc:"nothing is promised; drift is reported"`
}

// Promise makes it a passes.Promiser.
func (o Options) Promise() passes.Promise { return passes.Promise{RelTol: o.Tolerance, Lossy: o.Lossy} }

// Duration is a time as "90s" or "2m".
type Duration time.Duration

// MarshalText is the text that reads back the same.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a positive duration.
func (d *Duration) UnmarshalText(b []byte) error {
	t, err := time.ParseDuration(string(b))
	if err != nil || t <= 0 {
		return fmt.Errorf("%q is no time like 90s or 2m", b)
	}
	*d = Duration(t)
	return nil
}

// Pass runs a program that reads a model on its standard input and writes one on its standard output.
func Pass() *passes.Pass {
	return passes.Define(passes.Info{
		Name: Name,
		Doc:  "hands the model to a program that reads ONNX on standard input and writes ONNX on standard output",
		Long: "The program is started without a shell and gets the whole model, weights included, in one file. What it writes is read as any " +
			"file is, has to be a valid model with the same inputs and outputs, and is compared with the original within tolerance=. A program that " +
			"fails, writes no model, or takes more time or memory than it may ends the run; the last line of its standard error is the message. Nodes of " +
			"the same name and operator keep their origin.",
		Promise: passes.Promise{RelTol: 1e-4},
		Example: "exec{cmd=\"python3 p.py\" timeout=30s}",
	}, Options{Timeout: Duration(time.Minute), Memory: 4 << 30, Tolerance: 1e-4}, run)
}

func run(c *passes.Context, m *ir.Model, o Options) error {
	if !c.Enabled(Name, nil) {
		return nil
	}
	words, err := process.Split(o.Cmd)
	if err != nil {
		return fmt.Errorf("cmd: %w", err)
	}
	if o.Tolerance < 0 || o.Tolerance != o.Tolerance {
		return fmt.Errorf("tolerance=%g is no bound", o.Tolerance)
	}
	var in bytes.Buffer
	if _, err := onnxio.Write(&in, m, onnxio.WriteOptions{Data: onnxio.DataInline, Stop: c.Err}); err != nil {
		return err
	}
	out, err := execute(c.Context(), words, in.Bytes(), o)
	if err != nil {
		return err
	}
	n, err := read(out, m)
	if err != nil {
		return fmt.Errorf("%s: %w", words[0], err)
	}
	if bytes.Equal(out, in.Bytes()) {
		return nil
	}
	keepOrigins(m, n)
	c.Rewrite(Name, nil, nil, func() { m.Assign(n) })
	return nil
}

// read reads and checks what the program wrote.
func read(out []byte, m *ir.Model) (*ir.Model, error) {
	if len(out) == 0 {
		return nil, errors.New("it wrote no model on standard output")
	}
	f, err := onnxio.Read(out, onnxio.Options{})
	if err != nil {
		return nil, fmt.Errorf("what it wrote is no model: %w", err)
	}
	if err := ops.Verify(f.Model); err != nil {
		return nil, fmt.Errorf("the model that it wrote is not valid: %w", err)
	}
	if err := compare.Interface(m, f.Model); err != nil {
		return nil, fmt.Errorf("it changed the interface: %w", err)
	}
	return f.Model, nil
}

// keepOrigins gives nodes of n the origin that nodes of the same graph, name and operator have in m; others come from the program.
func keepOrigins(m, n *ir.Model) {
	type key struct {
		graph, name string
		op          ir.OpID
	}
	name := func(x *ir.Node) string {
		if x.Name() != "" {
			return x.Name()
		}
		for _, v := range x.Results() {
			if v != nil && v.Name() != "" {
				return v.Name()
			}
		}
		return ""
	}
	old := map[key]*ir.Origin{}
	for x := range m.Nodes() {
		old[key{x.Graph().Path(), name(x), x.Op()}] = x.Origin()
	}
	for x := range n.Nodes() {
		if o := old[key{x.Graph().Path(), name(x), x.Op()}]; o != nil && name(x) != "" {
			x.SetOrigin(o)
		} else {
			x.SetOrigin(ir.DerivedOrigin(Name + "/" + Name))
		}
	}
}

// limited is a buffer that refuses to grow beyond its bound. It embeds no bytes.Buffer, whose ReadFrom would pass the bound by.
type limited struct {
	b     bytes.Buffer
	bound int64
	over  bool
}

func (l *limited) Write(b []byte) (int, error) {
	if l.over = l.over || int64(l.b.Len()+len(b)) > l.bound; l.over {
		return 0, errTooMuch
	}
	return l.b.Write(b)
}

var errTooMuch = errors.New("it wrote more than memory= allows")

// tail keeps the end of what is written.
type tail struct{ b []byte }

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(b), nil
}

// last is the last line that is not empty.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// execute runs the program within its bounds.
func execute(ctx context.Context, words []string, in []byte, o Options) ([]byte, error) {
	return executeInto(ctx, words, in, o, &limited{bound: int64(o.Memory)})
}

func executeInto(ctx context.Context, words []string, in []byte, o Options, out *limited) ([]byte, error) {
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, fmt.Errorf("cmd: there is no program %q", words[0])
	}
	inner, cancel := context.WithTimeout(ctx, time.Duration(o.Timeout))
	defer cancel()
	errs := &tail{}
	c := exec.CommandContext(inner, path, words[1:]...)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), out, errs
	c.WaitDelay = time.Second // for whoever else holds its output
	process.Alone(c)
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", words[0], err)
	}
	if err := process.LimitMemory(c.Process.Pid, int64(o.Memory)); err != nil && !errors.Is(err, process.ErrNoLimit) {
		_ = c.Cancel() // it may have ended already, which Wait tells
	}
	err = c.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case inner.Err() != nil:
		return nil, fmt.Errorf("%s did not end within %s", words[0], time.Duration(o.Timeout))
	case out.over: // the program then failed to write, which says less
		return nil, fmt.Errorf("%s: %w", words[0], errTooMuch)
	case err != nil:
		text := fmt.Sprintf("%s failed: %v", words[0], err)
		if s := errs.last(); s != "" {
			text += ": " + s
		}
		return nil, errors.New(text)
	}
	return out.b.Bytes(), nil
}
