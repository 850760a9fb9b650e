package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/tune/trial"
)

// limits of the children: a candidate that takes longer is none.
const (
	compileTime   = 2 * time.Minute
	runTime       = 30 * time.Second
	compileMemory = 4 << 30
	runMemory     = 2 << 30
)

// Compiler is the C compiler that candidates are built with.
type Compiler struct {
	Argv    []string // with options
	Version string
	Lanes   int    // of the vectors that code compiled so uses
	Print   string // of all that the compiler says about itself and the machine it compiles for
	Machine string // where the code runs
}

// MissingError says that a compiler cannot be run, or does not do what one does.
type MissingError struct {
	Name string
	Err  error
}

func (e *MissingError) Error() string {
	if errors.Is(e.Err, exec.ErrNotFound) || errors.Is(e.Err, os.ErrNotExist) {
		return fmt.Sprintf("there is no C compiler %q here", e.Name)
	}
	return fmt.Sprintf("%s does not work as a C compiler (%v)", e.Name, e.Err)
}

func (e *MissingError) Unwrap() error { return e.Err }

// NewCompiler asks a compiler, of the kind of gcc and clang, with its options, who it is and which vectors it would use. The error is a
// *MissingError, or the context's.
func NewCompiler(ctx context.Context, argv []string) (*Compiler, error) {
	c := &Compiler{Argv: argv, Machine: trial.Machine()}
	ask := func(args ...string) (string, error) {
		r, err := trial.Run(ctx, trial.Child{Argv: append(slices.Clone(argv), args...), Stdin: bytes.NewReader(nil), Timeout: 20 * time.Second, MaxMemory: compileMemory})
		if err != nil && ctx.Err() == nil {
			return "", &MissingError{argv[0], err}
		}
		return string(r.Stdout), err
	}
	version, err := ask("--version")
	if err != nil {
		return nil, err
	}
	c.Version, _, _ = strings.Cut(strings.TrimSpace(version), "\n")
	macros, err := ask("-dM", "-E", "-x", "c", "-")
	if err != nil {
		return nil, err
	}
	if !strings.Contains(macros, "__STDC__") {
		return nil, &MissingError{argv[0], errors.New("it names no macros for -dM -E")}
	}
	lines := strings.Split(macros, "\n")
	slices.Sort(lines)
	all := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return !strings.Contains(macros, "#define __"+n+"__ ") })
	}
	switch { // as the prelude of the code does
	case all("AVX512F", "AVX512VL", "AVX512DQ", "FMA"):
		c.Lanes = 16
	case all("AVX2", "FMA"):
		c.Lanes = 8
	default:
		c.Lanes = 4
	}
	c.Print = trial.Key(c.Version, argv[1:], lines)
	return c, nil
}

// run compiles a program from a source and runs it with a file of weights.
func (c *Compiler) run(ctx context.Context, dir, source string, weights []byte) (string, error) {
	file, program, data := filepath.Join(dir, "probe.c"), filepath.Join(dir, "probe.exe"), filepath.Join(dir, "probe.bin")
	if err := errors.Join(os.WriteFile(file, []byte(source), 0o600), os.WriteFile(data, weights, 0o600)); err != nil {
		return "", err
	}
	if err := c.compile(ctx, dir, "-o", program, file, "-lm"); err != nil {
		return "", err
	}
	r, err := trial.Run(ctx, trial.Child{Argv: []string{program, data}, Dir: dir, Timeout: runTime, MaxMemory: runMemory})
	return string(r.Stdout), err
}

// Build makes a program in a folder of sources there.
func (c *Compiler) Build(ctx context.Context, dir, program string, sources ...string) error {
	return c.compile(ctx, dir, append(append([]string{"-o", program}, sources...), "-lm")...)
}

func (c *Compiler) compile(ctx context.Context, dir string, args ...string) error {
	_, err := trial.Run(ctx, trial.Child{Argv: append(append(slices.Clone(c.Argv), "-std=c99", "-w", "-I", dir), args...), Dir: dir, Timeout: compileTime, MaxMemory: compileMemory})
	return err
}
