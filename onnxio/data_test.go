package onnxio

import (
	"bytes"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
)

// The recorded inputs and outputs of the node tests are read by their declared types, and written and read again.
func TestNodeTestData(t *testing.T) {
	models := map[string]*ir.Model{}
	type datum struct {
		file string
		b    []byte
	}
	var data []datum
	for name, b := range conformance.Files(t, conformance.Archive(t, "onnx-node-tests")) {
		if strings.HasSuffix(name, "model.onnx") {
			models[path.Dir(name)] = mustRead(t, b, Options{}).Model
		} else {
			data = append(data, datum{name, b})
		}
	}
	kinds := map[ir.TypeKind]int{}
	for _, d := range data {
		m := models[path.Dir(path.Dir(d.file))]
		require.NotNil(t, m, d.file)
		kind, number, ok := strings.Cut(strings.TrimSuffix(path.Base(d.file), ".pb"), "_")
		require.True(t, ok, d.file)
		i, err := strconv.Atoi(number)
		require.NoError(t, err)
		slots := m.Main.Inputs()
		if kind == "output" {
			slots = m.Main.Outputs()
		}
		typ := slots[i].Type()
		x, name, err := ReadDatum(d.b, typ)
		require.NoError(t, err, d.file)
		_, fits := x.Type().Merge(typ)
		assert.True(t, fits || typ.Kind != ir.KindTensor, "%s: %s is no %s", d.file, x.Type(), typ)
		kinds[typ.Kind]++
		if typ.Kind == ir.KindMap {
			continue
		}
		var out bytes.Buffer
		require.NoError(t, WriteDatum(&out, name, x), d.file)
		y, again, err := ReadDatum(out.Bytes(), typ)
		require.NoError(t, err, d.file)
		assert.Equal(t, name, again)
		same(t, x, y, d.file)
	}
	assert.Greater(t, kinds[ir.KindTensor], 4000)
	assert.Positive(t, kinds[ir.KindSequence])
	assert.Positive(t, kinds[ir.KindOptional])
}

// same compares values element by element.
func same(t *testing.T, a, b ir.Datum, place string) {
	t.Helper()
	switch a := a.(type) {
	case *ir.Tensor:
		b := b.(*ir.Tensor)
		require.Equal(t, a.Type(), b.Type(), place)
		if a.DType() == ir.String {
			x, err := a.Strings()
			require.NoError(t, err, place)
			y, err := b.Strings()
			require.NoError(t, err, place)
			require.Equal(t, x, y, place)
			return
		}
		x, err := a.Bytes()
		require.NoError(t, err, place)
		y, err := b.Bytes()
		require.NoError(t, err, place)
		require.True(t, bytes.Equal(x, y), place)
	case *ir.Sequence:
		b := b.(*ir.Sequence)
		require.Len(t, b.Items, len(a.Items), place)
		for i := range a.Items {
			same(t, a.Items[i], b.Items[i], place)
		}
	case *ir.Optional:
		b := b.(*ir.Optional)
		require.Equal(t, a.Item == nil, b.Item == nil, place)
		if a.Item != nil {
			same(t, a.Item, b.Item, place)
		}
	}
}

// field and its friends write wire format by hand.
func varints(num int, vs ...uint64) (b []byte) {
	for _, v := range vs {
		b = append(b, byte(num<<3))
		b = append(b, varint(v)...)
	}
	return b
}

func varint(v uint64) (b []byte) {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func packed(num int, vs ...uint64) []byte {
	var p []byte
	for _, v := range vs {
		p = append(p, varint(v)...)
	}
	return slices.Concat([]byte{byte(num<<3 | 2)}, varint(uint64(len(p))), p)
}

// Elements are read from every field they may stand in, packed or not.
func TestStorages(t *testing.T) {
	minus := func(v int64) uint64 { return uint64(v) }
	tensor := func(d ir.DType, n uint64, data []byte) []byte {
		return slices.Concat(varints(1, n), varints(2, uint64(d)), data)
	}
	f32 := []byte{4<<3 | 5, 0, 0, 0x80, 0x3f, 4<<3 | 5, 0, 0, 0xc0, 0x7f} // 1, NaN
	for _, c := range []struct {
		d    ir.DType
		n    uint64
		data []byte
		want []byte
	}{
		{ir.Float32, 2, f32, []byte{0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f}},
		{ir.Complex64, 1, f32, []byte{0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f}},
		{ir.Float64, 1, []byte{10<<3 | 2, 8, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{ir.Float64, 1, []byte{10<<3 | 1, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{ir.Int64, 2, packed(7, minus(-1), 2), []byte{255, 255, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0}},
		{ir.Int64, 1, varints(7, minus(math.MinInt64)), []byte{0, 0, 0, 0, 0, 0, 0, 0x80}},
		{ir.Int32, 2, slices.Concat(varints(5, minus(-2)), packed(5, 3)), []byte{254, 255, 255, 255, 3, 0, 0, 0}},
		{ir.Int8, 2, packed(5, minus(-2), 3), []byte{254, 3}},
		{ir.Bool, 2, packed(5, 1, 0), []byte{1, 0}},
		{ir.Float16, 1, packed(5, 0x3c00), []byte{0, 0x3c}},
		{ir.BFloat16, 1, packed(5, 0xff80), []byte{0x80, 0xff}},
		{ir.Uint4, 3, packed(5, 0x21, 3), []byte{0x21, 3}},
		{ir.Int2, 5, packed(5, 0xe4, 1), []byte{0xe4, 1}},
		{ir.Uint32, 1, packed(11, 0xffffffff), []byte{255, 255, 255, 255}},
		{ir.Uint64, 1, packed(11, math.MaxUint64), []byte{255, 255, 255, 255, 255, 255, 255, 255}},
		{ir.Float32, 0, nil, nil},
		{ir.Int64, 0, packed(7), nil},
	} {
		x, err := ReadTensor(tensor(c.d, c.n, c.data))
		require.NoError(t, err, c.d)
		got, err := x.Bytes()
		require.NoError(t, err, c.d)
		assert.True(t, bytes.Equal(c.want, got), "%s: %v", c.d, got)
	}
	for _, c := range []struct {
		d    ir.DType
		n    uint64
		data []byte
		want string
	}{
		{ir.Int64, 3, packed(7, 1, 2), "needs 3 numbers and has 2 bytes"},
		{ir.Int64, 1, packed(7, 1, 2), "needs 1 numbers and has 2"},
		{ir.Int64, 1 << 62, packed(7, 1, 2), "numbers and has 2 bytes"},
		{ir.Float32, 1, packed(7, 1), "stand in field 7 and not in field 4"},
		{ir.Float32, 3, f32, "needs 12 bytes and has 8"},
		{ir.String, 1, []byte{9<<3 | 2, 1, 'x'}, "raw_data cannot hold strings"},
		{ir.Float32, 1, append([]byte{9<<3 | 2, 4, 0, 0, 0, 0}, f32...), "stated twice"},
	} {
		_, err := ReadTensor(tensor(c.d, c.n, c.data))
		require.ErrorContains(t, err, c.want, c.d)
	}
}
