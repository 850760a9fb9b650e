package onnxio

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
)

// An untouched model leaves with the bytes it came with.
func TestSameBytes(t *testing.T) {
	eachModel(t, func(name string, b []byte) {
		assert.True(t, bytes.Equal(b, bytesOf(t, mustRead(t, b, Options{}).Model)), name)
	})
}

// A copy of an untouched model does, too, although it consists of other values and nodes.
func TestSameBytesOfClone(t *testing.T) {
	b := everything(t)
	assert.Equal(t, b, bytesOf(t, mustRead(t, b, Options{}).Model.Clone()))
}

func TestEverythingSameBytes(t *testing.T) {
	b := everything(t)
	f := mustRead(t, b, Options{})
	assert.Equal(t, b, bytesOf(t, f.Model))
	assert.Len(t, f.Remarks, 1, "only the value_info of a name that nobody has is odd")
}

// Putting an Identity on every edge of a model gives a valid model, and taking them away again gives the same bytes: no name,
// order, capture or output depends on what stood between.
func TestIdentitiesComeAndGo(t *testing.T) {
	check := func(name string, b []byte) {
		m := mustRead(t, b, Options{}).Model
		if m.Opset("") == 0 {
			return // no Identity there
		}
		made := inject(m)
		require.NoError(t, ir.Verify(m), name)
		if !carriesSequences(m) { // Identity of a sequence needs a newer opset than some models have
			out := bytesOf(t, m)
			again := mustRead(t, out, Options{}).Model
			assert.True(t, bytes.Equal(out, bytesOf(t, again)), "%s: with Identities read back", name)
		}
		remove(made)
		assert.True(t, bytes.Equal(b, bytesOf(t, m)), "%s: Identities come and gone", name)
	}
	check("everything", everything(t))
	eachModel(t, check)
}

func carriesSequences(m *ir.Model) bool {
	for _, g := range m.Graphs() {
		for _, s := range g.Outputs() {
			if typ := s.Type(); typ != nil && (typ.Kind == ir.KindSequence || typ.Kind == ir.KindOptional) {
				return true
			}
		}
	}
	return false
}

// Eliminating Identities is done after one time: what the writer had to put back is taken in by the reader, or, where several
// copy one value, comes back when it is eliminated again.
func TestEliminationIsAFixedPoint(t *testing.T) {
	eachModel(t, func(name string, b []byte) {
		m := mustRead(t, b, Options{}).Model
		eliminate(m)
		dce(m)
		out := bytesOf(t, m)
		again := mustRead(t, out, Options{}).Model
		assert.True(t, bytes.Equal(out, bytesOf(t, again)), name)
		if eliminate(again) > 0 {
			assert.True(t, bytes.Equal(out, bytesOf(t, again)), "%s: eliminated twice", name)
		}
	})
}

// operatorKnowledge lists the files whose fault only shows to somebody who knows what operators mean; this package reads them.
var operatorKnowledge = []string{
	"model_opset_9999", "op_unknown.", "op_deprecated", "node_too_", "node_required_input_empty", "node_missing_required_attr", "node_unknown_attr",
	"node_wrong_attr_type", "if_branch_output_count", "if_missing_else", "if_cond_not_bool", "func_too_many_actuals", "loop_body_arity",
	"type_output_elem_mismatch", "type_mixed_add", "type_matmul_mismatch", "type_broadcast_mismatch", "trap_",
}

func needsOperators(name string) bool {
	for _, s := range operatorKnowledge {
		if strings.HasPrefix(filepath.Base(name), s) {
			return true
		}
	}
	return false
}

// malformed unpacks the archive of malformed files.
func malformed(t *testing.T) string {
	if runtime.GOOS == "windows" {
		t.Skip("left out: the archive holds links and a FIFO")
	}
	return conformance.Unpack(t, conformance.MalformedArchive(t))
}

// Malformed files give one line of error, those that are only unusual are read, and what is read is written as it was.
func TestMalformed(t *testing.T) {
	dir := malformed(t)
	oracle := newOracle(t)
	for name, verdict := range conformance.Verdicts(t) {
		t.Run(name, func(t *testing.T) {
			expected := verdict.Expected
			path := filepath.Join(dir, filepath.FromSlash(name))
			f, err := Open(path, Options{})
			if err == nil {
				defer f.Close()
				err = ir.Verify(f.Model)
			}
			if err != nil {
				assert.NotContains(t, err.Error(), "\n")
				assert.NotContains(t, expected, "accept", "%v", err)
				assert.NotEqual(t, "reject_or_keep", expected, "%v", err)
				return
			}
			if !needsOperators(name) {
				assert.NotContains(t, []string{"reject", "reject_binary"}, expected, "it was read")
			}
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			oracle.same(t, b, bytesOf(t, f.Model))
		})
	}
}

// oracle compares models field by field with the protobuf library.
type oracle struct {
	model protoreflect.MessageDescriptor
}

func newOracle(t *testing.T) oracle {
	b, err := os.ReadFile("testdata/onnx.fds")
	require.NoError(t, err)
	var set descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal(b, &set))
	files, err := protodesc.NewFiles(&set)
	require.NoError(t, err)
	d, err := files.FindDescriptorByName("onnx.ModelProto")
	require.NoError(t, err)
	return oracle{d.(protoreflect.MessageDescriptor)}
}

func (o oracle) parse(t *testing.T, b []byte) *dynamicpb.Message {
	m := dynamicpb.NewMessage(o.model)
	require.NoError(t, proto.UnmarshalOptions{DiscardUnknown: false}.Unmarshal(b, m))
	return m
}

func (o oracle) same(t *testing.T, a, b []byte) {
	t.Helper()
	if !bytes.Equal(a, b) {
		assert.True(t, proto.Equal(o.parse(t, a), o.parse(t, b)), "the models differ")
	}
}
