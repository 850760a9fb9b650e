// Command engine runs one model in the embedded engine for bench/engine/run, which times it beside ONNX Runtime.
//
//	engine MODEL INPUTS.npz OUTPUTS.npz THREADS [PROFILE]
//
// It runs once and writes the outputs, then once for every line of its standard input, and answers each with nanoseconds. PROFILE
// is where a CPU profile of those runs goes.
package main

import (
	"bufio"
	"context"
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
	if len(os.Args) < 5 || len(os.Args) > 6 {
		fmt.Fprintln(os.Stderr, "usage: engine MODEL INPUTS.npz OUTPUTS.npz THREADS [PROFILE]")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(model, inputs, outputs, threads string, profile []string) error {
	n, err := strconv.Atoi(threads)
	if err != nil {
		return err
	}
	f, err := onnxio.Open(model, onnxio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	ctx := context.Background()
	s, err := native.Merging().Load(ctx, f.Model, engine.Options{Threads: n})
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := read(inputs)
	if err != nil {
		return err
	}
	out, err := s.Run(ctx, in)
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
		if _, err := s.Run(ctx, in); err != nil {
			return err
		}
		fmt.Println(time.Since(start).Nanoseconds())
	}
	return nil
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
