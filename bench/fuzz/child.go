package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/internal/fuzz"
)

// ONNX Runtime may crash on a model, and takes the process with it. So with -ort the work is done in a process of its own, which
// writes the number of each case to a pipe before it begins, and whether the original or the result is about to be loaded or run. After a
// crash another one goes on behind that case. A crash of the original is ONNX Runtime's own; one of the result, where the original had
// run, is a failure.

// trailFile is the descriptor of the pipe in the child.
const trailFile = 3

// failure is what the child writes to the pipe of each.
const failure = "failure"

// supervise runs children until the work is done.
func supervise(ctx context.Context, o *options) (failed bool, err error) {
	begun := time.Now()
	crashes, own, failures, last := 0, 0, 0, o.seed
	defer func() {
		fmt.Printf("cases %d to %d: %d failures; ONNX Runtime crashed on %d unchanged models, which is no failure, and on %d results\n",
			o.seed, last, failures, own, crashes)
	}()
	for next, end := o.seed, o.seed+o.n; o.n == 0 || next < end; {
		rest := *o
		rest.seed = next
		if o.n > 0 {
			rest.n = end - next
		}
		if o.time > 0 {
			if rest.time = o.time - time.Since(begun); rest.time <= 0 {
				break
			}
		}
		c, err := begin(ctx, &rest)
		last, failures = max(last, c.last), failures+c.failures
		if err != nil || ctx.Err() != nil {
			return failures > 0, err
		}
		switch c.code {
		case 0:
			return failures+crashes > 0, nil
		case 1:
			return true, nil
		case 2:
			return failures > 0, errors.New("the child could not begin")
		}
		if next = c.last + 1; c.stage == fuzz.Original {
			own++
			continue
		}
		if crashes++; crashes > o.failures {
			return true, fmt.Errorf("%d crashes", crashes)
		}
		fmt.Printf("case %d: the process crashed with the %s: -seed %d -n 1 -v -child\n", c.last, c.stage, c.last)
	}
	return failures+crashes > 0, nil
}

// child is a process that has ended.
type child struct {
	last     uint64 // the last case that it began
	stage    string // and with what
	failures int
	code     int // -1 for a crash
}

// begin runs the rest of the work in another process. Panics of passes are caught in it and have their trace; of a crash in ONNX Runtime
// the trace says nothing.
func begin(ctx context.Context, o *options) (r child, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return r, err
	}
	defer in.Close()
	c := exec.CommandContext(ctx, self, "-child", "-n", strconv.FormatUint(o.n, 10), "-seed", strconv.FormatUint(o.seed, 10),
		"-time", o.time.String(), "-fixtures", o.fixtures, "-ort", o.ort, "-out", o.out, "-failures", strconv.Itoa(o.failures),
		"-v="+strconv.FormatBool(o.verbose), "-operators="+strconv.FormatBool(o.operators))
	c.Stdout, c.Stderr, c.ExtraFiles = os.Stdout, &quiet{w: os.Stderr}, []*os.File{out}
	if err := c.Start(); err != nil {
		out.Close()
		return r, err
	}
	out.Close()
	for s := bufio.NewScanner(in); s.Scan(); {
		switch text := strings.TrimSpace(s.Text()); text {
		case failure:
			r.failures++
		case fuzz.Original, fuzz.Optimized:
			r.stage = text
		default:
			if n, err := strconv.ParseUint(text, 10, 64); err == nil {
				r.last, r.stage = n, "passes"
			}
		}
	}
	err = c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if r.code = exit.ExitCode(); r.code == 2 && r.last > 0 { // a Go program that crashes exits with 2, too
			r.code = -1
		}
		return r, nil
	}
	return r, err
}

// quiet passes on what is written until a signal is reported: the trace of a crash in a library says nothing.
type quiet struct {
	w       io.Writer
	crashed bool
}

func (q *quiet) Write(b []byte) (int, error) {
	if q.crashed {
		return len(b), nil
	}
	pass := b
	if i := bytes.Index(b, []byte("SIG")); i >= 0 && (i == 0 || b[i-1] == '\n') {
		pass, q.crashed = b[:i], true
	}
	if _, err := q.w.Write(pass); err != nil {
		return 0, err
	}
	return len(b), nil
}
