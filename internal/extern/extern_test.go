package extern

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
)

// TestMain makes this binary the program that the tests hand models to.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "program" {
		if os.Args[2] == "sleep" {
			time.Sleep(time.Hour)
		}
		os.Exit(program(os.Args[2]))
	}
	os.Exit(m.Run())
}

func program(mode string) int {
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	f, err := onnxio.Read(b, onnxio.Options{})
	if err != nil {
		return 1
	}
	g := f.Model.Main
	switch mode {
	case "same":
		os.Stdout.Write(b)
		return 0
	case "fail":
		fmt.Fprintln(os.Stderr, "Traceback:\n  no such layer")
		return 3
	case "nothing":
		return 0
	case "garbage":
		fmt.Println("not a model")
		return 0
	case "hang":
		c := exec.Command(os.Args[0], "program", "sleep") // whoever else holds the output
		c.Stdout = os.Stdout
		_ = c.Run()
	case "flood":
		for {
			if _, err := os.Stdout.Write(make([]byte, 1<<16)); err != nil {
				return 1
			}
		}
	case "eat":
		var all [][]byte
		for {
			all = append(all, bytes.Repeat([]byte{1}, 64<<20))
			if len(all) > 40 {
				return 0
			}
		}
	case "add-to-mul":
		for n := range g.Nodes() {
			if n.Is("Add") {
				n.SetOp(ir.Op("Mul"))
			}
		}
	case "relu-to-max":
		for n := range g.Nodes() {
			if n.Is("Relu") {
				n.SetOp(ir.Op("Max"))
				n.AddOperand(g.Const(ir.ScalarOf[float32](0)))
			}
		}
	case "rename-output":
		g.Outputs()[0].SetName("other")
	case "invalid":
		for n := range g.Nodes() {
			n.AddOperand(n.Operand(0))
			n.AddOperand(n.Operand(0))
		}
	}
	if _, err := onnxio.Write(os.Stdout, f.Model, onnxio.WriteOptions{}); err != nil {
		return 1
	}
	return 0
}

const model = `<ir_version: 8, opset_import: ["" : 17]>
g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { a = Add (x, w) y = Relu (a) }`

// apply runs the pass with this binary as the program.
func apply(t *testing.T, ctx context.Context, mode, options string) (*ir.Model, *passes.Report, error) {
	m, err := text.Parse([]byte(model))
	require.NoError(t, err)
	r, err := passes.NewRegistry(Pass())
	require.NoError(t, err)
	exe, err := os.Executable()
	require.NoError(t, err)
	p, err := r.Parse(fmt.Sprintf("exec{cmd=\"'%s' program %s\" %s}", strings.ReplaceAll(exe, `\`, `\\`), mode, options))
	require.NoError(t, err)
	rep, err := p.Run(ctx, m, passes.Config{})
	return m, rep, err
}

func TestRewrite(t *testing.T) {
	m, rep, err := apply(t, context.Background(), "relu-to-max", "")
	require.NoError(t, err)
	require.Equal(t, 1, rep.Rewrites)
	require.NoError(t, ir.Verify(m))
	require.Contains(t, text.PrintGraph(m.Main), "Max (a, ")
	for n := range m.Main.Nodes() {
		if n.Is("Add") {
			require.Empty(t, n.Origin().Rules(), "a node that stayed keeps its origin")
		} else {
			require.Equal(t, []string{"exec/exec"}, n.Origin().Rules())
		}
	}
	_, rep, err = apply(t, context.Background(), "same", "")
	require.NoError(t, err)
	require.Zero(t, rep.Rewrites)
}

func TestFailures(t *testing.T) {
	for _, c := range []struct{ mode, options, want string }{
		{"fail", "", "failed: exit status 3: no such layer"},
		{"nothing", "", "it wrote no model on standard output"},
		{"garbage", "", "what it wrote is no model"},
		{"invalid", "", "the model that it wrote is not valid"},
		{"rename-output", "", "it changed the interface"},
		{"hang", "timeout=300ms", "did not end within 300ms"},
	} {
		begun := time.Now()
		m, _, err := apply(t, context.Background(), c.mode, c.options)
		require.ErrorContains(t, err, c.want, c.mode)
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, time.Since(begun), 5*time.Second, c.mode)
		require.Contains(t, text.PrintGraph(m.Main), "y = Relu (a)", "the model is as it was")
	}
}

// TestTooMuchOutput: a program that writes without end is stopped by the bound on what it may give.
func TestTooMuchOutput(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	m, err := text.Parse([]byte(model))
	require.NoError(t, err)
	var in bytes.Buffer
	_, err = onnxio.Write(&in, m, onnxio.WriteOptions{})
	require.NoError(t, err)
	out := &limited{bound: 1 << 20}
	_, err = executeInto(context.Background(), []string{exe, "program", "flood"}, in.Bytes(), Options{Timeout: Duration(time.Minute), Memory: 8 << 30}, out)
	require.ErrorIs(t, err, errTooMuch)
	require.LessOrEqual(t, out.b.Len(), 1<<20)
}

func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("left out: the memory of another program is bounded on Linux only")
	}
	_, _, err := apply(t, context.Background(), "eat", "memory=2G timeout=60s")
	require.ErrorContains(t, err, "failed: exit status 2")
}

// TestCancel: the end of the run ends the program, and what it started.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, _, err := apply(t, ctx, "hang", "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begun), 3*time.Second)
}
