package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

//go:embed build.py
var buildScript string

// build makes an engine of each model with the script that was written for it. No engine runs without a graphics processor, so that what it
// would compute is not known.
func build(ctx context.Context, trials []*trial, count map[string]int) (bad bool, err error) {
	python := os.Getenv("ONNXOPT_TENSORRT")
	if python == "" {
		return false, fmt.Errorf("TensorRT is not here: ONNXOPT_TENSORRT names a Python that has it")
	}
	var list strings.Builder
	for _, x := range trials {
		fmt.Fprintln(&list, strings.TrimSuffix(x.artifact, ".onnx")+".build.py")
	}
	cmd := exec.CommandContext(ctx, python, "-c", buildScript)
	cmd.Stdin, cmd.Stderr = strings.NewReader(list.String()), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	answers := json.NewDecoder(out)
	for _, x := range trials {
		var r struct {
			Built bool
			Said  string
		}
		if err := answers.Decode(&r); err != nil {
			return false, fmt.Errorf("after %d engines: %w", count["built"]+count["not built"], err)
		}
		if r.Built {
			count["built"]++
			continue
		}
		bad = true
		count["not built"]++
		fmt.Printf("fails    %s: %.400s\n", x.Name, strings.Join(strings.Fields(r.Said), " "))
	}
	fmt.Println("tensorrt", count)
	return bad, cmd.Wait()
}
