package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/internal/process"
)

// Child is a program to run: a candidate that may hang, crash or take all memory, which must not end the search.
type Child struct {
	Argv      []string // the program, which is looked up in PATH, and its arguments
	Stdin     io.Reader
	Dir       string        // "": this process's
	Env       []string      // nil: this process's
	Timeout   time.Duration // of the wall clock; 0: none but the context's
	MaxMemory int64         // address space in bytes, of each process in the group; 0: any. It holds on Linux only
	MaxOutput int           // bytes kept of each stream; 0: a mebibyte. The rest is read and dropped
}

// Result is what a program did, as far as it came.
type Result struct {
	Stdout   []byte // the first MaxOutput bytes
	Stderr   []byte // the last MaxOutput bytes: what a program says before it ends
	Cut      bool   // one of the two is not whole
	Exit     int    // -1 where a signal ended it
	Duration time.Duration
	CPU      time.Duration // of the program and of those of its children that it waited for
	MaxRSS   int64         // bytes of the largest process; 0 where the system does not say
}

// Failure says why a program that ran did not end well. The result beside it is what there was by then.
type Failure struct {
	Program string
	Timeout time.Duration // what it had, if it was ended for it
	State   string        // how it ended, if it ended by itself: "exit status 3", "signal: segmentation fault"
	Words   string        // the last line that it wrote to its standard error
}

func (f *Failure) Error() string {
	s := f.Program + ": " + f.State
	if f.Timeout > 0 {
		s = fmt.Sprintf("%s took longer than %v", f.Program, f.Timeout)
	}
	if f.Words != "" {
		s += ": " + f.Words
	}
	return s
}

// Run runs a program in a process group of its own, to its end or to its limits, and ends whatever it leaves behind in the group. The error is nil
// after exit status 0, a *Failure if the program ended otherwise or took too long, the context's cause if that was done, and anything
// else if the program could not be started.
func Run(ctx context.Context, c Child) (Result, error) {
	if len(c.Argv) == 0 {
		return Result{}, errors.New("trial: no program to run")
	}
	late := &Failure{Program: c.Argv[0], Timeout: c.Timeout}
	bounded, cancel := context.WithCancel(ctx)
	if c.Timeout > 0 {
		bounded, cancel = context.WithTimeoutCause(ctx, c.Timeout, late)
	}
	defer cancel()

	cmd := exec.CommandContext(bounded, c.Argv[0], c.Argv[1:]...)
	process.Alone(cmd)
	cmd.Stdin, cmd.Dir, cmd.Env = c.Stdin, c.Dir, c.Env
	limit := c.MaxOutput
	if limit <= 0 {
		limit = 1 << 20
	}
	out, words := &head{limit: limit}, &tail{limit: limit}
	cmd.Stdout, cmd.Stderr = out, words
	cmd.WaitDelay = time.Second // a grandchild that left the group may hold the pipes

	start := time.Now()
	if err := cmd.Start(); err != nil {
		if cause := context.Cause(bounded); cause != nil {
			return Result{Exit: -1}, cause
		}
		return Result{Exit: -1}, err
	}
	if c.MaxMemory > 0 {
		if err := process.LimitMemory(cmd.Process.Pid, c.MaxMemory); err != nil && !errors.Is(err, process.ErrNoLimit) && !process.Gone(err) {
			cancel()
			cmd.Wait()
			return Result{Exit: -1}, err
		}
	}
	err := cmd.Wait()
	cmd.Cancel() // what is left of the group
	r := Result{Stdout: out.b, Stderr: words.bytes(), Cut: out.cut || words.cut, Exit: cmd.ProcessState.ExitCode(), Duration: time.Since(start),
		CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), MaxRSS: process.MaxRSS(cmd.ProcessState)}
	if err == nil || r.Exit == 0 {
		return r, nil // an error here is of pipes that were held open
	}
	if cause := context.Cause(bounded); cause != nil {
		late.Words = lastLine(r.Stderr)
		return r, cause
	}
	return r, &Failure{Program: c.Argv[0], State: cmd.ProcessState.String(), Words: lastLine(r.Stderr)}
}

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	s = s[strings.LastIndexByte(s, '\n')+1:]
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// head keeps the first bytes.
type head struct {
	b     []byte
	limit int
	cut   bool
}

// Write never fails, so that the program does not block.
func (h *head) Write(p []byte) (int, error) {
	n := min(h.limit-len(h.b), len(p))
	h.b = append(h.b, p[:n]...)
	h.cut = h.cut || n < len(p)
	return len(p), nil
}

// tail keeps the last bytes.
type tail struct {
	b     []byte
	limit int
	cut   bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > t.limit {
		t.cut = true
		if len(t.b) > 2*t.limit {
			t.b = append(t.b[:0], t.b[len(t.b)-t.limit:]...)
		}
	}
	return len(p), nil
}

func (t *tail) bytes() []byte { return t.b[max(len(t.b)-t.limit, 0):] }
