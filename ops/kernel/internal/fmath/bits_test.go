package fmath

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
)

// recordedBits are hashes of the results' bits over the arguments of TestBits. A change of the numerics that is meant changes
// them.
var recordedBits = map[string]uint64{
	"Softplus": 0x60453ab983ed6f79,
	"GeluTanh": 0x2a8e655a79eb613f,
	"Erf":      0xf5d20ec8b43aa67c,
	"Exp":      0xe98d35a766845b87,
	"Expm1":    0x2da130009073efe,
	"Log":      0x21fd5ecc1e53bec3,
	"Log1p":    0xf0c744c09b4e790a,
	"Sin":      0x5ff2da1f4ca1760d,
	"Cos":      0xf585279160b559dd,
	"Tan":      0xb92169e40107f215,
	"Asin":     0x115cf2c2a0c2d4f1,
	"Acos":     0xb5aafd411fbdc7bc,
	"Atan":     0xeab7f901889d7bea,
	"Sinh":     0x7a400502045dfb9e,
	"Cosh":     0x7b637ab1072b4fdd,
	"Tanh":     0x52cf874e7edde624,
	"Asinh":    0xe66d51e5a0538439,
	"Acosh":    0x83768db85d070e15,
	"Atanh":    0x889f895e4c7dc0,
	"Erfc":     0xdedea0c10333ad53,
	"Sigmoid":  0xd4248cec65154df8,
	"Gelu":     0x3f6ee3e31ff86a8c,
	"Pow":      0xd279fe93e9d9beec,
}

// TestBits compares results with hashes recorded on amd64: all machines give the same bits.
func TestBits(t *testing.T) {
	functions := append(accuracy[:len(accuracy):len(accuracy)], accuracy[0], accuracy[0])
	n := len(accuracy)
	functions[n].name, functions[n].f = "GeluTanh", GeluTanh
	functions[n+1].name, functions[n+1].f = "Pow", func(x float64) float64 { return Pow(math.Abs(x), 1.0/3) + Pow(x, 7) }
	for _, f := range functions {
		r := rand.New(rand.NewPCG(7, 8))
		h := fnv.New64a()
		var b [8]byte
		for range 20000 {
			y := f.f(argument(r, -math.MaxFloat64, math.MaxFloat64))
			if y != y {
				y = math.NaN()
			}
			for i := range b {
				b[i] = byte(math.Float64bits(y) >> (8 * i))
			}
			h.Write(b[:])
		}
		if got := h.Sum64(); got != recordedBits[f.name] {
			t.Errorf("%q: %#x, recorded is %#x", f.name, got, recordedBits[f.name])
		}
	}
}
