package native_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

func BenchmarkZZ(b *testing.B) {
	f, err := onnxio.Open(os.Getenv("ZM"), onnxio.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := native.New().Load(context.Background(), f.Model, engine.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	z, _ := npz.Open(os.Getenv("ZI"))
	in := map[string]ir.Datum{}
	for _, n := range z.Names() {
		in[n], _ = z.Read(n)
	}
	cnt := map[string]int{}
	for n := range f.Model.Main.Nodes() {
		cnt[n.Op().Type]++
	}
	fmt.Println(cnt)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Run(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
}
