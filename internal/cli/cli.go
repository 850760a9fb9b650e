// Package cli is the command. Each verb has a file; what they share is here and in flags.go, files.go and table.go.
package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailed   = 1   // a requested check failed, the input is bad, or a file could not be read or written
	exitUsage    = 2   // wrong usage, found before any file is read
	exitInternal = 3   // an error of the program itself
	exitStopped  = 130 // interrupted
)

// env is what a command runs in.
type env struct {
	stdin  io.Reader
	stdout *bufio.Writer
	stderr io.Writer
	// terminal reports that stderr is a terminal, so that progress may be shown there; stdoutTerminal the same of stdout.
	terminal, stdoutTerminal bool
	// tuneGC allows the command to set how often garbage is collected; GOGC is not set.
	tuneGC bool
	// args is the command line.
	args []string
	// replaying says that the options come from a file.
	replaying bool
	// more are passes besides the module's own.
	more []*passes.Pass
	// cluster hands work to other machines; nil: another program has to.
	cluster *Cluster
}

// Most models take a few megabytes beside their weights, which are mapped: with smallRun percent the first collection is at 16 MB, and
// they end before it. Larger models pay with memory for that: from mediumModel nodes on garbage is collected more often, and from largeModel
// on as Go does by default.
const (
	smallRun               = 400
	mediumRun, mediumModel = 200, 5000
	largeRun, largeModel   = 100, 50_000
	// A weight of largeTensor bytes that is computed, and read more than once, must not wait long to be collected.
	tensorRun, largeTensor = 50, 8 << 20
)

// tune sets how often garbage is collected while m is worked on.
func (e *env) tune(m *ir.Model) {
	nodes, largest := 0, int64(0)
	for _, g := range m.Graphs() {
		nodes += g.NumNodes()
		for _, v := range g.Consts() {
			largest = max(largest, v.Const().ByteLen())
		}
	}
	switch {
	case !e.tuneGC:
	case largest >= largeTensor:
		debug.SetGCPercent(tensorRun)
	case nodes < mediumModel:
	case nodes < largeModel:
		debug.SetGCPercent(mediumRun)
	default:
		debug.SetGCPercent(largeRun)
	}
}

// Main runs the command with the process's arguments and streams and exits. more are passes besides the module's own.
func Main(more []*passes.Pass) { MainWith(more, nil) }

// MainWith is Main of a command that can hand work to other machines.
func MainWith(more []*passes.Pass, cluster *Cluster) {
	e := &env{
		cluster: cluster,
		stdin:   os.Stdin, stdout: bufio.NewWriter(os.Stdout), stderr: os.Stderr, more: more,
		terminal: isTerminal(os.Stderr), stdoutTerminal: isTerminal(os.Stdout),
		tuneGC: os.Getenv("GOGC") == "",
	}
	if e.tuneGC {
		debug.SetGCPercent(smallRun)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	os.Exit(e.run(ctx, os.Args[1:]))
}

// run executes one command line and returns the exit code.
func (e *env) run(ctx context.Context, args []string) (code int) {
	defer func() {
		if p := recover(); p != nil {
			code = exitInternal
			e.report(args, code, fmt.Errorf("internal error: %v", p))
			e.stderr.Write(debug.Stack())
		}
	}()
	e.stdin = &interruptible{ctx: ctx, r: e.stdin}
	e.args = args
	root := e.root()
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		for _, cmd := range append(root.Commands(), root) {
			completed(cmd)
		}
	}
	root.SetArgs(args)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	err := singleDash(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if ferr := e.stdout.Flush(); err == nil && ferr != nil {
		err = &fileError{"standard output", ferr}
	}
	if err == nil {
		return exitOK
	}
	var exited *exitedError
	if errors.As(err, &exited) {
		return exited.code
	}
	code = exitCode(ctx, err)
	e.report(args, code, err)
	return code
}

// report prints the error: one line on stderr, and with --json the same as an object on stdout.
func (e *env) report(args []string, code int, err error) {
	text := err.Error()
	var stopped *stoppedError
	if code == exitStopped && !errors.As(err, &stopped) {
		text = "interrupted; nothing was written"
	}
	fmt.Fprintln(e.stderr, "onnxopt: "+text)
	var told *toldError
	if errors.As(err, &told) {
		return
	}
	for _, a := range args {
		if a == "--json" || a == "--json=true" {
			_ = e.json(newFailure(code, text, err)) // what went wrong is on stderr, too
			e.stdout.Flush()
			return
		}
	}
}

// usageError is wrong usage.
type usageError struct{ text string }

func (u *usageError) Error() string { return u.text }

func usagef(format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...) + "; see onnxopt --help"}
}

func exitCode(ctx context.Context, err error) int {
	var usage *usageError
	var internal *passes.InternalError
	var failed *failedError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitStopped
	case errors.As(err, &internal), errors.As(err, &failed) && failed.crash:
		return exitInternal
	}
	return exitFailed
}

// statusOf is the word that --json has for an exit code.
func statusOf(code int) string {
	switch code {
	case exitOK:
		return "ok"
	case exitUsage:
		return "usage"
	case exitInternal:
		return "internal"
	case exitStopped:
		return "interrupted"
	}
	return "failed"
}

// warn prints a line about something that is not an error.
func (e *env) warn(format string, a ...any) {
	fmt.Fprintln(e.stderr, "onnxopt: warning: "+strings.TrimSuffix(fmt.Sprintf(format, a...), "\n"))
}

// noArgs rejects positional arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, not %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// interruptible is a reader that gives up waiting when the context ends. The read that it waited for is left behind.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(b []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	own := make([]byte, len(b)) // b is the caller's again when the context ends
	go func() {
		n, err := i.r.Read(own)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(b, own[:r.n]), r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}
