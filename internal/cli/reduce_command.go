package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/internal/process"
	"github.com/onnxopt/onnxopt/internal/reduce"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// commandTest is the question whether the command fails with the exit code that it has for the first model.
func (r *reduction) commandTest(ctx context.Context) (reduce.Test, func(), error) {
	words, err := process.Split(r.f.command)
	if err != nil {
		return nil, nil, err
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, nil, fmt.Errorf("--cmd: there is no command %q", words[0])
	}
	dir, err := os.MkdirTemp("", "onnxopt-reduce-")
	if err != nil {
		return nil, nil, err
	}
	done := func() { os.RemoveAll(dir) }
	ask := func(ctx context.Context, m *ir.Model) (string, error) {
		file, err := r.candidate(dir, m)
		if err != nil {
			return "", err
		}
		args := make([]string, len(words)-1)
		for i, w := range words[1:] {
			args[i] = strings.ReplaceAll(w, "{}", file)
		}
		return r.status(ctx, path, args)
	}
	first, err := ask(ctx, r.start.Model)
	if err == nil && first == "" {
		err = &fileError{r.in.name, errors.New("the command does not fail, so there is nothing to reduce")}
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	r.fault = "the command ends with " + first
	return func(ctx context.Context, c reduce.Case) (bool, error) {
		status, err := ask(ctx, c.Model)
		return err == nil && status == first, err
	}, done, nil
}

// candidate writes a model for the command.
func (r *reduction) candidate(dir string, m *ir.Model) (string, error) {
	if err := os.RemoveAll(filepath.Join(dir, "model")); err != nil {
		return "", err
	}
	if err := os.Mkdir(filepath.Join(dir, "model"), 0o700); err != nil {
		return "", err
	}
	name := map[string]string{"onnx": "model.onnx", "text": "model.onnxtxt"}[r.f.format.value]
	file := filepath.Join(dir, "model", name)
	_, err := r.writeModel(file, "", m, onnxio.WriteOptions{Stop: func() error { return nil }})
	return file, err
}

// status runs the command and says how it ended, "" if it did not fail.
func (r *reduction) status(ctx context.Context, path string, args []string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, r.f.timeout)
	defer cancel()
	c := exec.CommandContext(limited, path, args...)
	c.WaitDelay = time.Second // whoever else holds its output
	process.Alone(c)
	if err := c.Start(); err != nil {
		return "", fmt.Errorf("--cmd: %w", err)
	}
	if m := r.f.resources.maxMemory; m > 0 {
		if err := process.LimitMemory(c.Process.Pid, m); err != nil {
			_ = c.Cancel()
			_ = c.Wait()
			return "", err
		}
	}
	err := c.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case limited.Err() != nil:
		return fmt.Sprintf("no end within %s", r.f.timeout), nil
	case errors.As(err, &exit):
		return exit.String(), nil // "exit status 3", "signal: segmentation fault"
	}
	return "", nil
}
