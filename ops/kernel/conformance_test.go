package kernel_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

const (
	nodeTests  = "../../testdata/conformance/onnx-node-tests.tar.gz"
	modelTests = "../../testdata/conformance/onnx-model-tests.tar.gz"
	ortCases   = "testdata/ort-cases.tar.gz" // made by ort_cases.py beside it
	skipList   = "testdata/conformance-skips.tsv"
)

// resultBits is the hash of the results of all conformance tests, recorded on amd64: every machine computes the same bits. A
// change of the numerics or of the set of operators that is meant changes it.
const resultBits = 0xfeaf62cc0066fdcf

// TestConformance evaluates the node tests of the ONNX project, graphs of several nodes included, its small models, which are of
// older operator sets, and random cases with the results of ONNX Runtime, with the kernels alone. The skip list names operators without a kernel and tests that fail, with
// reasons; whatever is not as it says is a failure.
func TestConformance(t *testing.T) {
	skips := readSkips(t)
	tests := readArchive(t, nodeTests)
	for name, files := range readArchive(t, modelTests) {
		if !strings.HasPrefix(name, "light/") { // large ones, for engines
			tests[name] = files
		}
	}
	for name, files := range readArchive(t, ortCases) {
		tests[name] = files
	}
	names := slices.Sorted(maps.Keys(tests))
	passed, failed, without, used := 0, 0, 0, map[string]bool{}
	bits := fnv.New64a()
	for _, name := range names {
		out, err := runConformance(tests[name])
		hashData(bits, out)
		var missing noKernelError
		if errors.As(err, &missing) {
			used["op:"+missing.op] = true
			if without++; skips["op:"+missing.op] == "" {
				t.Errorf("%s: no kernel for %s, which the skip list does not know", name, missing.op)
			}
			continue
		}
		switch reason := skips[name]; {
		case err == nil && reason == "":
			passed++
		case err == nil:
			t.Errorf("%s passes, but the skip list says %q", name, reason)
		case reason == "":
			t.Errorf("%s: %v", name, err)
		default:
			failed++
			used[name] = true
		}
	}
	for s := range skips {
		if !used[s] {
			t.Errorf("the skip list names %s without need", s)
		}
	}
	if got := bits.Sum64(); got != resultBits {
		t.Errorf("the results' bits hash to %#x, recorded are %#x", got, uint64(resultBits))
	}
	t.Logf("%d of %d tests pass; %d fail with a reason, %d use operators without a kernel", passed, len(names), failed, without)
}

func readSkips(t *testing.T) map[string]string {
	b, err := os.ReadFile(skipList)
	if err != nil {
		t.Fatal(err)
	}
	r := map[string]string{}
	s := bufio.NewScanner(strings.NewReader(string(b)))
	for s.Scan() {
		if f := strings.Split(s.Text(), "\t"); len(f) > 1 && !strings.HasPrefix(f[0], "#") {
			r[f[0]] = f[1]
		}
	}
	return r
}

// nodeTest is a model with its inputs and outputs in files by name.
type nodeTest map[string][]byte

// readArchive reads the tests of an archive by folder and name; for node tests the name alone. Their files are known by their last name.
func readArchive(t *testing.T, archive string) map[string]nodeTest {
	r := map[string]nodeTest{}
	for name, files := range conformance.Tests(t, archive) {
		test := nodeTest{}
		for file, b := range files {
			test[path.Base(file)] = b
		}
		r[strings.TrimPrefix(name, "node/")] = test
	}
	return r
}

// hashData adds the types and elements of values to a hash.
func hashData(h io.Writer, data []ir.Datum) {
	for _, d := range data {
		fmt.Fprint(h, d.Type())
		switch d := d.(type) {
		case *ir.Sequence:
			hashData(h, d.Items)
		case *ir.Tensor:
			if b, err := d.Bytes(); err == nil {
				h.Write(b)
			}
		}
	}
}

// runConformance evaluates a test and compares; it returns the results as far as there are any.
func runConformance(files nodeTest) ([]ir.Datum, error) {
	f, err := onnxio.Read(files["model.onnx"], onnxio.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in, want []ir.Datum
	for i, s := range f.Model.Main.Inputs() {
		if def := s.Value().Default(); def != nil && files[fmt.Sprintf("input_%d.pb", i)] == nil {
			in = append(in, def)
			continue
		}
		d, err := readDatum(files[fmt.Sprintf("input_%d.pb", i)], s.Type())
		if err != nil {
			return nil, fmt.Errorf("input %d: %w", i, err)
		}
		in = append(in, d)
	}
	for i, s := range f.Model.Main.Outputs() {
		d, err := readDatum(files[fmt.Sprintf("output_%d.pb", i)], s.Type())
		if err != nil {
			return nil, fmt.Errorf("output %d: %w", i, err)
		}
		want = append(want, d)
	}
	got, err := (&interpreter{values: map[*ir.Value]ir.Datum{}}).graph(f.Model.Main, in)
	if err != nil {
		return nil, err
	}
	for i := range want {
		if err := same(got[i], want[i]); err != nil {
			return got, fmt.Errorf("output %d: %w", i, err)
		}
	}
	return got, nil
}

type noKernelError struct{ op string }

func (e noKernelError) Error() string { return "no kernel for " + e.op }

// interpreter evaluates graphs node by node.
type interpreter struct {
	values map[*ir.Value]ir.Datum
	edit   func(c *kernel.Call) // may change a call before it is made
}

func (e *interpreter) graph(g *ir.Graph, in []ir.Datum) ([]ir.Datum, error) {
	for i, s := range g.Inputs() {
		e.values[s.Value()] = in[i]
	}
	for n := range g.Nodes() {
		if err := e.node(n); err != nil {
			return nil, err
		}
	}
	var out []ir.Datum
	for _, s := range g.Outputs() {
		out = append(out, e.value(s.Value()))
	}
	return out, nil
}

func (e *interpreter) value(v *ir.Value) ir.Datum {
	if d, ok := e.values[v]; ok {
		return d
	}
	if c := v.Const(); c != nil {
		return c
	}
	return nil
}

func (e *interpreter) node(n *ir.Node) error {
	opset := n.Graph().Opset(n.Op().Domain)
	f := kernel.Lookup(n.Op(), opset)
	if f == nil {
		return noKernelError{n.Op().String()}
	}
	in := make([]ir.Datum, n.NumOperands())
	for i, v := range n.Operands() {
		if v != nil {
			in[i] = e.value(v)
		}
	}
	c := kernel.NewCall(context.Background(), n.Op(), opset, n.Attr, in, n.NumResults())
	for i, r := range n.Results() {
		c.Out[i] = r != nil
	}
	c.Limit = 1 << 28
	c.Body = func(g *ir.Graph, in []ir.Datum) ([]ir.Datum, error) { return e.graph(g, in) }
	if e.edit != nil {
		e.edit(c)
	}
	out, err := f(c)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Op(), err)
	}
	for i, r := range n.Results() {
		if r != nil {
			if i >= len(out) {
				return fmt.Errorf("%s: no result %d", n.Op(), i)
			}
			e.values[r] = out[i]
		}
	}
	return nil
}

// readDatum reads a TensorProto, SequenceProto or OptionalProto as the type says.
func readDatum(b []byte, t *ir.Type) (ir.Datum, error) {
	switch {
	case t == nil:
		return nil, errors.New("no type")
	case t.Kind == ir.KindSequence:
		s := &ir.Sequence{Elem: t.Of}
		for _, item := range messages(b) {
			d, err := readDatum(item, t.Of)
			if err != nil {
				return nil, err
			}
			s.Items = append(s.Items, d)
		}
		return s, nil
	case t.Kind == ir.KindOptional:
		o := &ir.Optional{Elem: t.Of}
		for _, item := range messages(b) {
			d, err := readDatum(item, t.Of)
			if err != nil {
				return nil, err
			}
			o.Item = d
		}
		return o, nil
	}
	return readTensor(b)
}

// messages are the submessages of a SequenceProto or OptionalProto but for its name.
func messages(b []byte) (r [][]byte) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		b = b[n:]
		if typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if num > 1 {
				r = append(r, v)
			}
			b = b[n:]
			continue
		}
		b = b[protowire.ConsumeFieldValue(num, typ, b):]
	}
	return r
}

// readTensor reads a TensorProto as the initializer of a model around it.
func readTensor(b []byte) (*ir.Tensor, error) {
	name := protowire.AppendString(protowire.AppendTag(nil, 8, protowire.BytesType), "x")
	init := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), append(slices.Clone(b), name...))
	info := protowire.AppendBytes(protowire.AppendTag(nil, 12, protowire.BytesType), protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "x"))
	init = append(init, info...)
	model := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 10)
	model = protowire.AppendBytes(protowire.AppendTag(model, 7, protowire.BytesType), init)
	opset := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 21)
	model = protowire.AppendBytes(protowire.AppendTag(model, 8, protowire.BytesType), opset)
	f, err := onnxio.Read(model, onnxio.Options{})
	if err != nil {
		return nil, err
	}
	return f.Model.Main.Outputs()[0].Value().Const(), nil
}

// same compares as conformance tests do: rtol 1e-3 and atol 1e-7 (bfloat16: rtol 2**-6), element types and shapes exactly.
func same(got, want ir.Datum) error {
	switch w := want.(type) {
	case *ir.Sequence:
		g, ok := got.(*ir.Sequence)
		if !ok || len(g.Items) != len(w.Items) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		for i := range w.Items {
			if err := same(g.Items[i], w.Items[i]); err != nil {
				return fmt.Errorf("item %d: %w", i, err)
			}
		}
		return nil
	case *ir.Optional:
		g, ok := got.(*ir.Optional)
		if !ok {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		if g.Item == nil || w.Item == nil {
			if g.Item != nil || w.Item != nil {
				return errors.New("one optional is empty")
			}
			return nil
		}
		return same(g.Item, w.Item)
	}
	w := want.(*ir.Tensor)
	g, ok := got.(*ir.Tensor)
	if !ok {
		return fmt.Errorf("got %T, want a tensor", got)
	}
	if g.DType() != w.DType() || !slices.Equal(g.Shape(), w.Shape()) {
		return fmt.Errorf("got %s, want %s", g.Type(), w.Type())
	}
	return sameElements(g, w)
}

func sameElements(g, w *ir.Tensor) error {
	if w.DType() == ir.String {
		a, err := g.Strings()
		if err != nil {
			return err
		}
		if b, _ := w.Strings(); !slices.Equal(a, b) {
			return fmt.Errorf("got %q, want %q", a, b)
		}
		return nil
	}
	rtol, atol := 1e-3, 1e-7
	if w.DType() == ir.BFloat16 {
		rtol = 1.0 / 64
	}
	a, err := kernel.Numbers(g)
	if err != nil {
		return err
	}
	b, err := kernel.Numbers(w)
	if err != nil {
		return err
	}
	for i := range b {
		if a[i] == b[i] || a[i] != a[i] && b[i] != b[i] {
			continue
		}
		if !w.DType().IsFloat() && a[i] != b[i] || !(math.Abs(a[i]-b[i]) <= atol+rtol*math.Abs(b[i])) {
			return fmt.Errorf("element %d of %d: got %v, want %v", i, len(b), a[i], b[i])
		}
	}
	return nil
}
