// Command engine is what bench/engine/run asks of the embedded engine.
//
//	engine serve MODEL INPUTS.npz OUTPUTS.npz THREADS [PROFILE]
//	engine peak MODEL INPUTS.npz RUNS
//	engine reference MODEL INPUTS.npz OUTPUTS.npz
//	engine macs MODEL INPUTS.npz
//
// serve runs once and writes the outputs, then once for every line of its standard input, and answers each with nanoseconds.
// PROFILE is where a CPU profile of those runs goes. peak prints the bytes of resident memory that loading and running the model
// adds to those of the process before it. reference runs the portable kernels. macs prints the multiply-accumulates of a run by
// operator.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

func main() {
	err := errUsage
	if len(os.Args) > 3 {
		switch args := os.Args[3:]; {
		case os.Args[1] == "serve" && (len(args) == 3 || len(args) == 4):
			err = serve(os.Args[2], args[0], args[1], args[2], args[3:])
		case os.Args[1] == "peak" && len(args) == 2:
			err = peak(os.Args[2], args[0], args[1])
		case os.Args[1] == "reference" && len(args) == 2:
			err = reference(os.Args[2], args[0], args[1])
		case os.Args[1] == "macs" && len(args) == 1:
			err = macs(os.Args[2], args[0])
		}
	}
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "usage: engine serve|peak|reference|macs MODEL INPUTS.npz ...")
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong usage")

func serve(model, inputs, outputs, threads string, profile []string) error {
	n, err := strconv.Atoi(threads)
	if err != nil {
		return err
	}
	in, err := read(inputs)
	if err != nil {
		return err
	}
	return with(model, native.Merging(), n, in, func(run func() (map[string]ir.Datum, error)) error {
		out, err := run()
		if err != nil {
			return err
		}
		if err := write(outputs, out); err != nil {
			return err
		}
		for _, path := range profile {
			f, err := os.Create(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
		}
		fmt.Println("ready")
		for line := bufio.NewScanner(os.Stdin); line.Scan(); {
			start := time.Now()
			if _, err := run(); err != nil {
				return err
			}
			fmt.Println(time.Since(start).Nanoseconds())
		}
		return nil
	})
}

// reference runs a model with the plain loops, whose float64 is that of ONNX.
func reference(model, inputs, outputs string) error {
	in, err := read(inputs)
	if err != nil {
		return err
	}
	return with(model, native.Portable(), 1, in, func(run func() (map[string]ir.Datum, error)) error {
		out, err := run()
		if err != nil {
			return err
		}
		return write(outputs, out)
	})
}

// with calls f with what runs a model on the inputs.
func with(model string, e engine.Engine, threads int, in map[string]ir.Datum, f func(run func() (map[string]ir.Datum, error)) error) error {
	m, err := onnxio.Open(model, onnxio.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	ctx := context.Background()
	s, err := e.Load(ctx, m.Model, engine.Options{Threads: threads})
	if err != nil {
		return err
	}
	defer s.Close()
	return f(func() (map[string]ir.Datum, error) { return s.Run(ctx, in) })
}

// read takes every array of an npz file.
func read(path string) (map[string]ir.Datum, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := map[string]ir.Datum{}
	for _, name := range f.Names() {
		if in[name], err = f.Read(name); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// write makes an npz file of the tensors among values.
func write(path string, values map[string]ir.Datum) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := npz.NewWriter(f)
	for name, d := range values {
		if t, ok := d.(*ir.Tensor); ok {
			if err := w.Add(name, t); err != nil {
				return err
			}
		}
	}
	return w.Close()
}
