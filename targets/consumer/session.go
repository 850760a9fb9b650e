package consumer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

// Options of a session.
type Options struct {
	Mode    string   // of the consumer; "": the default
	Threads int      // 0: one
	Layers  []string // names of values to show where the consumer has them
	Inputs  []string // the names that the model has, in order, where the file has other ones
	Outputs []string
	Shapes  map[string][]int64 // of outputs in the model, to tell whether channels were moved
	Folder  string             // for files of passage; "": that of the system
}

// Session is an artifact that was loaded. It is a process, which Close ends.
type Session struct {
	c      *Consumer
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bytes.Buffer
	dir    string
	runs   int

	// Facts that the consumer tells about the artifact.
	Operators int                `json:"operators"`
	Delegates int                `json:"delegates"` // parts of the graph that XNNPACK took
	Delegated int                `json:"delegated"` // operators in these
	Types     map[string]int     `json:"types"`     // how many operators run in which type of numbers
	Shapes    map[string][]int64 `json:"shapes"`    // of inputs as the model has them; -1 is open
	Steps     map[string]float64 `json:"steps"`     // the scale of shown values that are quantized; they are shown as what they stand for
	LoadTime  float64            `json:"load_s"`    // seconds
}

// Result is what one run gave.
type Result struct {
	Outputs map[string]ir.Datum
	Layers  map[string]*ir.Tensor
	Times   []time.Duration // of further runs
}

// probe ends with 3 where the module is not there, before anything else is loaded.
const probe = `import importlib.util, sys
if importlib.util.find_spec(%q) is None: sys.exit(3)
`

// Installed reports by its error, a *MissingError, that a Python lacks the consumer.
func (c *Consumer) Installed(ctx context.Context, python string) error {
	if python == "" {
		return &MissingError{c, ""}
	}
	err := exec.CommandContext(ctx, python, "-c", fmt.Sprintf(probe, c.Module)).Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &MissingError{c, python}
	}
	return nil
}

// Start loads an artifact with the Python that has the consumer. Its context ends the process, too. A *MissingError says that this
// Python has no such consumer; what the consumer says of the file is an error as it is.
func (c *Consumer) Start(ctx context.Context, python, artifact string, o Options) (*Session, error) {
	if python == "" {
		return nil, &MissingError{c, ""}
	}
	dir, err := os.MkdirTemp(o.Folder, "onnxopt-consumer-")
	if err != nil {
		return nil, err
	}
	options, err := json.Marshal(o.fields())
	if err != nil {
		return nil, err
	}
	s, err := c.process(ctx, python, dir, artifact, string(options))
	if err != nil {
		return nil, err
	}
	if err := s.answer(ctx, s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// fields are the options as scripts read them.
func (o *Options) fields() map[string]any {
	return map[string]any{"mode": o.Mode, "threads": max(o.Threads, 1), "layers": o.Layers, "inputs": ordered(o.Inputs), "outputs": o.Outputs, "output_shapes": o.Shapes}
}

// process begins the consumer's script.
func (c *Consumer) process(ctx context.Context, python, dir string, args ...string) (*Session, error) {
	s := &Session{c: c, dir: dir}
	s.cmd = exec.CommandContext(ctx, python, append([]string{"-c", fmt.Sprintf(probe, c.Module) + serve + c.script}, args...)...)
	var err error
	s.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "TF_CPP_MIN_LOG_LEVEL=2")
	s.cmd.Stderr = &s.errors
	s.cmd.WaitDelay = time.Second
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return nil, &MissingError{c, python}
		}
		return nil, err
	}
	return s, nil
}

// ordered keeps names in order where JSON becomes a dictionary.
type ordered []string

// MarshalJSON writes an object of nothing but names.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, n := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(n)
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteString(":0")
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// answer reads a line into v.
func (s *Session) answer(ctx context.Context, v any) error {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return s.ended(ctx)
	}
	var bad struct{ Error string }
	if err := json.Unmarshal(line, &bad); err != nil {
		return fmt.Errorf("%s: %w", s.c.Title, err)
	}
	if bad.Error != "" {
		return fmt.Errorf("%s: %s", s.c.Title, short(bad.Error))
	}
	return json.Unmarshal(line, v)
}

// ended says why the process gave no answer.
func (s *Session) ended(ctx context.Context) error {
	err := s.cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.cmd.ProcessState.ExitCode() == 3 {
		return &MissingError{s.c, s.cmd.Path}
	}
	lines := strings.Split(strings.TrimSpace(s.errors.String()), "\n")
	return fmt.Errorf("%s ended (%v): %s", s.c.Title, err, short(lines[len(lines)-1]))
}

func short(s string) string {
	if r := []rune(s); len(r) > 600 {
		return string(r[:600]) + "..."
	}
	return s
}

// Run feeds the artifact tensors by the names of the model's inputs. It runs so many times more to be timed.
func (s *Session) Run(ctx context.Context, in map[string]ir.Datum, timed int) (*Result, error) {
	s.runs++
	files := filepath.Join(s.dir, strconv.Itoa(s.runs))
	defer os.Remove(files + ".in.npz")
	defer os.Remove(files + ".out.npz")
	names := slices.Sorted(maps.Keys(in))
	if err := s.feed(files+".in.npz", names, in); err != nil {
		return nil, err
	}
	ask, err := json.Marshal(map[string]any{"in": files + ".in.npz", "out": files + ".out.npz", "inputs": append([]string{}, names...), "runs": timed})
	if err != nil {
		return nil, err
	}
	if _, err := s.in.Write(append(ask, '\n')); err != nil {
		return nil, s.ended(ctx)
	}
	var got struct {
		Outputs, Layers []string
		Runs            []float64
	}
	if err := s.answer(ctx, &got); err != nil {
		return nil, err
	}
	r, err := results(files+".out.npz", got.Outputs, got.Layers)
	if err != nil {
		return nil, err
	}
	for _, t := range got.Runs {
		r.Times = append(r.Times, time.Duration(t*float64(time.Second)))
	}
	return r, nil
}

// results reads what a run wrote.
func results(path string, outputs, layers []string) (*Result, error) {
	z, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	r := &Result{Outputs: map[string]ir.Datum{}, Layers: map[string]*ir.Tensor{}}
	for i, name := range append(slices.Clone(outputs), layers...) {
		a, err := z.Read(strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		if i < len(outputs) {
			r.Outputs[name] = a
		} else {
			r.Layers[name] = a
		}
	}
	return r, nil
}

func (s *Session) feed(path string, names []string, in map[string]ir.Datum) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z := npz.NewWriter(f)
	for i, name := range names {
		t, ok := in[name].(*ir.Tensor)
		if !ok {
			return fmt.Errorf("input %q: %s takes tensors only", name, s.c.Title)
		}
		if err := z.Add(strconv.Itoa(i), t); err != nil {
			return fmt.Errorf("input %q: %w", name, err)
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// Close ends the process.
func (s *Session) Close() error {
	s.in.Close()
	done := make(chan struct{})
	go func() { s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		s.cmd.Process.Kill()
		<-done
	}
	return os.RemoveAll(s.dir)
}
