package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

// supervise runs children until the work is done.
func supervise(ctx context.Context, o *options) (failed bool, err error) {
	begun := time.Now()
	crashes, own := 0, 0
	defer func() {
		if own+crashes > 0 {
			fmt.Printf("ONNX Runtime crashed on %d unchanged models, which are not counted as failures, and on %d results\n", own, crashes)
		}
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
		last, stage, code, err := child(ctx, &rest)
		if err != nil || ctx.Err() != nil {
			return failed, err
		}
		switch code {
		case 0:
			return failed || crashes > 0, nil
		case 1:
			return true, nil
		case 2:
			return failed, errors.New("the child could not begin")
		}
		if next = last + 1; stage == fuzz.Original {
			own++
			continue
		}
		if crashes++; crashes > o.failures {
			return true, fmt.Errorf("%d crashes", crashes)
		}
		fmt.Printf("case %d: the process crashed with the %s: -seed %d -n 1 -v -child\n", last, stage, last)
	}
	return failed || crashes > 0, nil
}

// child runs the rest of the work in another process and says which case was the last to begin, and with what. Panics of passes are caught
// in it and have their trace; of a crash in ONNX Runtime the trace says nothing.
func child(ctx context.Context, o *options) (last uint64, stage string, code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, "", 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, "", 0, err
	}
	defer r.Close()
	c := exec.CommandContext(ctx, self, "-child", "-n", strconv.FormatUint(o.n, 10), "-seed", strconv.FormatUint(o.seed, 10),
		"-time", o.time.String(), "-fixtures", o.fixtures, "-ort", o.ort, "-out", o.out, "-failures", strconv.Itoa(o.failures),
		"-v="+strconv.FormatBool(o.verbose), "-operators="+strconv.FormatBool(o.operators))
	c.Stdout, c.Stderr, c.ExtraFiles = os.Stdout, os.Stderr, []*os.File{w}
	c.Env = append(os.Environ(), "GOTRACEBACK=none")
	if err := c.Start(); err != nil {
		w.Close()
		return 0, "", 0, err
	}
	w.Close()
	for s := bufio.NewScanner(r); s.Scan(); {
		if n, err := strconv.ParseUint(strings.TrimSpace(s.Text()), 10, 64); err == nil {
			last, stage = n, "passes"
		} else {
			stage = strings.TrimSpace(s.Text())
		}
	}
	err = c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if exit.ExitCode() == 2 && last > 0 { // a Go program that crashes exits with 2, too
			return last, stage, -1, nil
		}
		return last, stage, exit.ExitCode(), nil
	}
	return last, stage, 0, err
}
