package distill

import (
	"context"
	"fmt"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

type prof struct {
	engine.Engine
	t map[*ir.Node]time.Duration
}

func (p *prof) Load(ctx context.Context, m *ir.Model, o engine.Options) (engine.Session, error) {
	if os.Getenv("DUMP") != "" && len(m.Main.NodeList()) > 60 {
		onnxio.WriteFile("/tmp/road/step.onnx", m, onnxio.WriteOptions{})
	}
	if os.Getenv("NODES") != "" {
		o.OnNode = func(n *ir.Node, _ time.Time, took time.Duration) { p.t[n] += took }
	}
	return p.Engine.Load(ctx, m, o)
}

func TestProf(t *testing.T) {
	f, _ := onnxio.Open("/tmp/road/half18.onnx", onnxio.Options{})
	tf, _ := onnxio.Open("/work/shared/models/resnet8-cifar10.onnx", onnxio.Options{})
	s, err := dataset.Open("/work/shared/data/cifar10/train_5000.bin", dataset.Options{Inputs: dataset.Inputs(f.Model), Labels: ""})
	if err != nil {
		t.Fatal(err)
	}
	p := &prof{native.New(), map[*ir.Node]time.Duration{}}
	o := Options{Student: f.Model, Teacher: tf.Model, Set: s, Engine: p, Threads: 2, Epochs: 2, Batch: 32, KD: 1, Temperature: 4, Optimizer: "adamw", Rate: 1e-2, Relative: true, Norm: os.Getenv("NORM"), Limit: 640, Seed: 1}
	b := time.Now()
	_, err = Train(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("per step", time.Since(b)/40)
	type row struct {
		n *ir.Node
		d time.Duration
	}
	var rows []row
	ops := map[string]time.Duration{}
	for n, d := range p.t {
		rows = append(rows, row{n, d})
		ops[n.Op().Type] += d
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].d > rows[j].d })
	for i, r := range rows {
		if i < 50 {
			in := ""
			for _, v := range r.n.Operands() {
				if v != nil {
					in += fmt.Sprint(" ", v.Type())
				}
			}
			fmt.Println(r.d/40, r.n.Op().Type, in, r.n.Ints("strides"))
		}
	}
	fmt.Println(ops)
}
