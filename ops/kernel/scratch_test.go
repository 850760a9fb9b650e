package kernel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// TestScratch holds operators of com.microsoft to their count of memory: what they allocate is counted, but for a few vectors, and with
// less than they need they say so.
func TestScratch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := func(shape ...int64) *ir.Tensor {
		v := make([]float32, ir.NumElements(shape))
		for i := range v {
			v[i] = r.Float32() - 0.5
		}
		return ir.TensorOf(v, shape...)
	}
	q := func(shape ...int64) *ir.Tensor {
		v := make([]uint8, ir.NumElements(shape))
		for i := range v {
			v[i] = uint8(r.IntN(256))
		}
		return ir.TensorOf(v, shape...)
	}
	i8 := func(shape ...int64) *ir.Tensor { return ir.TensorOf(make([]int8, ir.NumElements(shape)), shape...) }
	i32 := func(v ...int32) *ir.Tensor { return ir.TensorOf(v, int64(len(v))) }
	one, zero := ir.ScalarOf(float32(0.01)), ir.ScalarOf(uint8(7))
	const n, heads, size = 100, 4, 32
	const wide = heads * size
	num := ir.IntAttr("num_heads", heads)
	for _, c := range []struct {
		op    string
		attrs []*ir.Attr
		in    []*ir.Tensor
		out   int
	}{
		{"Attention", []*ir.Attr{num}, []*ir.Tensor{f(2, n, 64), f(64, 3*wide), f(3 * wide), nil, f(2, 2, heads, n, size)}, 2},
		{"MultiHeadAttention", []*ir.Attr{num}, []*ir.Tensor{f(2, n, heads, 3, size), nil, nil, f(3 * wide)}, 1},
		{"MultiHeadAttention", []*ir.Attr{num}, []*ir.Tensor{f(2, n, wide), f(2, n, wide), f(2, n, wide), nil, nil, nil, f(2, heads, 2*n, size), f(2, heads, 2*n, size), i32(n / 2)}, 3},
		{"GroupQueryAttention", []*ir.Attr{num, ir.IntAttr("kv_num_heads", 2), ir.IntAttr("do_rotary", 1), ir.IntAttr("qk_output", 1)},
			[]*ir.Tensor{f(2, n, (heads+4)*size), nil, nil, nil, nil, i32(n-1, n-1), i32(n), f(n, size/2), f(n, size/2)}, 4},
		{"GroupQueryAttention", []*ir.Attr{num, ir.IntAttr("kv_num_heads", 2), ir.StringAttr("k_quant_type", "PER_TENSOR"), ir.StringAttr("v_quant_type", "PER_TENSOR")},
			[]*ir.Tensor{f(2, 1, wide), f(2, 1, 2*size), f(2, 1, 2*size), i8(2, 2, 9*n, size), i8(2, 2, 9*n, size), i32(n, n), i32(9 * n), nil, nil, nil, nil, nil, ir.TensorOf([]float32{1}, 1), ir.TensorOf([]float32{1}, 1)}, 3},
		{"GroupQueryAttention", []*ir.Attr{num, ir.IntAttr("kv_num_heads", 2), ir.IntAttr("sliding_window_cache", 1), ir.IntAttr("local_window_size", 2*n)},
			[]*ir.Tensor{f(1, n, wide), f(1, n, 2*size), f(1, n, 2*size), f(1, 2, 3*n, size), f(1, 2, 3*n, size), i32(5*n - 1), i32(5 * n)}, 3},
		{"RotaryEmbedding", []*ir.Attr{num}, []*ir.Tensor{f(2, n, wide), ir.TensorOf([]int64{0}, 1), f(n, size/2), f(n, size/2)}, 1},
		{"MatMulNBits", []*ir.Attr{ir.IntAttr("K", 128), ir.IntAttr("N", 64), ir.IntAttr("block_size", 32), ir.IntAttr("accuracy_level", 4)}, []*ir.Tensor{f(n, 128), q(64, 4, 16), f(256)}, 1},
		{"GatherBlockQuantized", []*ir.Attr{ir.IntAttr("block_size", 32)}, []*ir.Tensor{q(n, 64), ir.TensorOf([]int64{1, 2, 3}, 3), f(n, 4)}, 1},
		{"DynamicQuantizeMatMul", nil, []*ir.Tensor{f(n, 128), q(128, 64), one, zero}, 1},
		{"QGemm", []*ir.Attr{ir.IntAttr("transA", 1), ir.IntAttr("transB", 1)}, []*ir.Tensor{q(128, n), one, zero, q(64, 128), one, zero}, 1},
		{"QLinearSoftmax", []*ir.Attr{ir.IntAttr("opset", 13)}, []*ir.Tensor{q(n, 256), one, zero, one, zero}, 1},
		{"QLinearAdd", nil, []*ir.Tensor{q(n, 256), one, zero, q(n, 256), one, zero, one, zero}, 1},
		{"SkipLayerNormalization", nil, []*ir.Tensor{f(2, n, 64), f(2, n, 64), f(64), f(64)}, 1},
	} {
		op := ir.OpID{Domain: "com.microsoft", Type: c.op}
		run := func(limit int64) (*kernel.Call, uint64, error) {
			in := make([]ir.Datum, len(c.in))
			for i, x := range c.in {
				if x != nil {
					in[i] = x
				}
			}
			attr := func(name string) *ir.Attr {
				if i := slices.IndexFunc(c.attrs, func(a *ir.Attr) bool { return a.Name == name }); i >= 0 {
					return c.attrs[i]
				}
				return nil
			}
			k := kernel.NewCall(context.Background(), op, 1, attr, in, c.out)
			for i := range k.Out {
				k.Out[i] = true
			}
			k.Limit = limit
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := kernel.Lookup(op, 1)(k)
			runtime.ReadMemStats(&after)
			return k, after.TotalAlloc - before.TotalAlloc, err
		}
		k, allocated, err := run(0)
		require.NoError(t, err, c.op)
		used := kernel.Used(k)
		assert.LessOrEqual(t, int64(allocated), used+used/8+16<<10, "%s allocates more than it counts", c.op)
		_, _, err = run(used - 1)
		var limit *kernel.LimitError
		assert.True(t, errors.As(err, &limit), "%s with one byte less than it needs: %v", c.op, err)
	}
}
