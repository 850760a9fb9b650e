// Command targets prints for every model and every target whether it is written, whether the target's runtime loads it, how far its outputs
// are from ONNX Runtime's, and how its latency compares. bench/targets/run calls it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

func main() {
	folder := flag.String("models", "../shared/models", "folder of models")
	only := flag.String("target", "", "targets, with commas between them; empty: all")
	runs := flag.Int("runs", 20, "timed runs of each side, three times by turns; 0: none")
	asJSON := flag.Bool("json", false, "print JSON lines")
	keep := flag.String("keep", "", "folder in which artifacts stay")
	rows := flag.String("rows", "", "print the table of JSON lines in `FILE`, of several runs perhaps, and measure nothing; of several lines for a model and target the last")
	flag.Parse()
	if *rows != "" {
		if err := reprint(*rows); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := measure(*folder, *only, *keep, *runs, *asJSON, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(folder, only, keep string, runs int, asJSON bool, words []string) error {
	ctx := context.Background()
	dir := keep
	if dir == "" {
		d, err := os.MkdirTemp("", "targets-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(d)
		dir = d
	}
	b := targettest.Bench{Pythons: map[string]string{}, Threads: 1, Runs: runs, Dir: dir}
	for consumer, variable := range map[string]string{"litert": "ONNXOPT_LITERT", "openvino": "ONNXOPT_OPENVINO", "onnxruntime": "ONNXOPT_PYTHON", "tensorrt": "ONNXOPT_TENSORRT", "tvm": "ONNXOPT_TVM"} {
		b.Pythons[consumer] = os.Getenv(variable)
	}
	models, sizes := targettest.Models(folder)
	if len(models) == 0 {
		return fmt.Errorf("there are no models in %s", folder)
	}
	tab := newTable(!asJSON)
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if len(words) > 0 && !slices.ContainsFunc(words, func(x string) bool { return strings.Contains(name, x) }) {
			continue
		}
		for _, t := range all.Targets() {
			if only != "" && !slices.Contains(strings.Split(only, ","), t.Name) {
				continue
			}
			pipeline := ""
			if t.Name == "tvm" {
				pipeline = "dequantize" // as its own pipeline does: the float model is what counts
			}
			c, err := targettest.Prepare(ctx, path, sizes[name], pipeline, native.New())
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if p := b.Pythons["onnxruntime"]; p != "" && pipeline == "" {
				if err := c.Judge(ctx, p); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			r := b.Measure(ctx, c, t)
			if asJSON {
				line, err := json.Marshal(r)
				if err != nil {
					return err
				}
				fmt.Println(string(line))
				continue
			}
			tab.add(&r)
		}
	}
	if !asJSON {
		tab.sums()
	}
	return nil
}
