package cli

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/tune/queue"
	"github.com/onnxopt/onnxopt/tune/queue/broker"
	"github.com/onnxopt/onnxopt/tune/queue/jet"
)

// TestMain makes this binary the command, with the passes below, when a script runs it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"onnxopt": func() { Main(faulty()) },
		"onnxopt-nats": func() {
			MainWith(faulty(), &Cluster{
				Connect: func(ctx context.Context, o queue.Options) (queue.Queue, error) {
					o.Tries, o.Pause = 3, 100*time.Millisecond // a test does not wait for a dead server as long as people do
					return jet.Connect(ctx, o)
				},
				Serve: func(listen, cert, key, ca string) (string, func(), error) {
					return broker.Start(broker.Options{Listen: listen, Cert: cert, Key: key, CA: ca})
				},
			})
		},
	})
}

// TestScripts runs the command as its users see it.
func TestScripts(t *testing.T) {
	digits, err := filepath.Abs("../../testdata/digits/digits.onnx")
	if err != nil {
		t.Fatal(err)
	}
	library, missing := ortLibrary()
	python := pythonWithONNX()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Condition: func(name string) (bool, error) {
			switch name {
			case "ort":
				return missing == nil, nil
			case "litert", "openvino":
				return os.Getenv("ONNXOPT_"+strings.ToUpper(name)) != "", nil
			case "python":
				return python != "", nil
			case "smalldisk": // in a namespace of one's own
				dir := t.TempDir()
				return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("DIGITS", digits)
			e.Setenv("ORT", library)
			for _, name := range []string{"ONNXOPT_LITERT", "ONNXOPT_OPENVINO"} {
				e.Setenv(name, os.Getenv(name))
			}
			e.Setenv("PYTHON", python)
			e.Setenv("IMAGES", filepath.Join(filepath.Dir(digits), "digits-images.idx3.gz"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"binary":  binary,
			"exits":   exits,
			"onefile": oneFile,
			"picture": pictureFile,
			"pixel":   pixel,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// ortLibrary looks for ONNX Runtime where ONNXOPT_ORT_LIB, ONNXOPT_PYTHON or the python3 of the PATH say.
func ortLibrary() (string, error) {
	var roots []string
	for _, name := range []string{os.Getenv("ONNXOPT_PYTHON"), "python3"} {
		if python, err := exec.LookPath(name); err == nil {
			roots = append(roots, ort.PythonRoots(python)...)
		}
	}
	return ort.Find(os.Getenv("ONNXOPT_ORT_LIB"), roots...)
}

// pythonWithONNX is a Python that has package onnx, "" if there is none.
func pythonWithONNX() string {
	for _, name := range []string{os.Getenv("ONNXOPT_PYTHON"), "python3"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "-c", "import onnx").Run() == nil {
			return path
		}
	}
	return ""
}

// exits runs a command and checks its exit code: exits CODE COMMAND ARGUMENT...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	var e *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &e) {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("the exit code is %d, not %s", code, args[0])
	}
}

// binary writes a file: binary FILE TEXT..., where the text has the escapes of Go.
func binary(ts *testscript.TestScript, _ bool, args []string) {
	b, err := strconv.Unquote(`"` + strings.Join(args[1:], " ") + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b), 0o666))
}

// oneFile checks that a pattern matches so many files: onefile PATTERN; ! onefile: none.
func oneFile(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if neg && len(found) > 0 || !neg && len(found) != 1 {
		ts.Fatalf("%s matches %v", args[0], found)
	}
}

// pictureFile writes a PNG file of one colour: picture FILE WIDTHxHEIGHT RED,GREEN,BLUE.
func pictureFile(ts *testscript.TestScript, _ bool, args []string) {
	var w, h int
	c := color.NRGBA{A: 255}
	_, err := fmt.Sscanf(args[1]+" "+args[2], "%dx%d %d,%d,%d", &w, &h, &c.R, &c.G, &c.B)
	ts.Check(err)
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.Draw(m, m.Bounds(), image.NewUniform(c), image.Point{}, draw.Src)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(png.Encode(f, m))
	ts.Check(f.Close())
}

// pixel checks the size and the first pixel of a PNG file: pixel FILE WIDTHxHEIGHT RED,GREEN,BLUE.
func pixel(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	m, err := png.Decode(f)
	ts.Check(err)
	c := color.NRGBAModel.Convert(m.At(0, 0)).(color.NRGBA)
	got := fmt.Sprintf("%dx%d %d,%d,%d", m.Bounds().Dx(), m.Bounds().Dy(), c.R, c.G, c.B)
	if got != args[1]+" "+args[2] {
		ts.Fatalf("%s is %s", args[0], got)
	}
}

// each calls edit for every node of an operator, as rewrites of one rule.
func each(name, op string, promise passes.Promise, edit func(n *ir.Node)) *passes.Pass {
	return passes.Define(passes.Info{Name: name, Doc: "is a pass of the tests", Promise: promise}, struct{}{},
		func(c *passes.Context, m *ir.Model, _ struct{}) error {
			for n := range m.Nodes() {
				if n.Op() == ir.Op(op) {
					c.Rewrite(name, n, nil, func() { edit(n) })
				}
			}
			return nil
		})
}

// faulty are passes with the faults that the command has to cope with.
func faulty() []*passes.Pass {
	return []*passes.Pass{
		each("test-add-to-sub", "Add", passes.Promise{}, func(n *ir.Node) { n.SetOp(ir.Op("Sub")) }),
		each("test-lossy", "Add", passes.Promise{Lossy: true}, func(n *ir.Node) { n.SetOp(ir.Op("Sub")) }),
		each("test-crash", "Mul", passes.Promise{}, func(*ir.Node) { panic("on purpose") }),
		each("test-invalid", "Mul", passes.Promise{}, func(n *ir.Node) { n.SetOp(ir.OpID{Domain: "nowhere", Type: "Mul"}) }),
		each("test-swap", "Mul", passes.Promise{}, func(n *ir.Node) {
			a, b := n.Operand(0), n.Operand(1)
			n.SetOperand(0, b)
			n.SetOperand(1, a)
		}),
		passes.Define(passes.Info{Name: "test-wait", Doc: "waits to be interrupted"}, struct{}{},
			func(c *passes.Context, _ *ir.Model, _ struct{}) error {
				if err := os.WriteFile("waiting", nil, 0o666); err != nil {
					return err
				}
				<-c.Context().Done()
				return c.Err()
			}),
		passes.Define(passes.Info{Name: "test-file", Doc: "takes a file", Example: "test-file{list=names.txt}"}, fileOptions{},
			func(c *passes.Context, m *ir.Model, o fileOptions) error {
				b, err := c.File(o.List)
				if err == nil {
					m.DomainName = string(b)
				}
				return err
			}),
	}
}

// fileOptions are the options of test-file.
type fileOptions struct {
	List passes.File `opt:"list" doc:"names"`
}
