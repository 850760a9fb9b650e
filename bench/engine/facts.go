package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// peak prints how much the resident set grows at most from before the model is opened to the end of so many runs: heap, weights
// that are mapped and read, code that is touched. The inputs are there before.
func peak(model, inputs, runs string) error {
	n, err := strconv.Atoi(runs)
	if err != nil {
		return err
	}
	in, err := read(inputs)
	if err != nil {
		return err
	}
	runtime.GC()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the high-water mark falls to what there is
		return err
	}
	before, err := status("VmRSS")
	if err != nil {
		return err
	}
	err = with(model, native.Merging(), 1, in, func(run func() (map[string]ir.Datum, error)) error {
		for range n {
			if _, err := run(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	high, err := status("VmHWM")
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]int64{"before": before, "peak": high})
}

// status is a line of /proc/self/status in bytes.
func status(key string) (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(key+":")); ok {
			var kilobytes int64
			_, err := fmt.Sscan(string(rest), &kilobytes)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("the system does not tell %s", key)
}

// macs prints the multiply-accumulates of a run on the inputs, by operator.
func macs(model, inputs string) error {
	f, err := onnxio.Open(model, onnxio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := read(inputs)
	if err != nil {
		return err
	}
	for _, s := range f.Model.Main.Inputs() {
		if t, ok := in[s.Name()].(*ir.Tensor); ok {
			s.Value().SetType(t.Type())
		}
	}
	r := cost.Model(f.Model, cost.Options{Types: infer.Model(f.Model).Type})
	by := map[string]int64{}
	for op, c := range r.ByOp {
		by[op.Type] += c.MACs
	}
	return json.NewEncoder(os.Stdout).Encode(by)
}
