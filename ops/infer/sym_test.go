package infer

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCanonicalForms(t *testing.T) {
	n, h, w := Sym("N"), Sym("H"), Sym("W")
	two, three := Num(2), Num(3)
	for _, c := range []struct {
		got  Int
		want string
	}{
		{h.Mul(w).Sub(three).Add(n), "H*W + N - 3"},
		{n.Add(h).Mul(n.Sub(h)), "-H*H + N*N"},
		{n.Sub(n), "0"},
		{n.Mul(Num(6)).Add(Num(4)).FloorDiv(two), "3*N + 2"},
		{h.Sub(Num(1)).FloorDiv(two).Add(Num(1)), "floor((H + 1)/2)"},
		{h.Add(Num(1)).FloorDiv(two).Add(Num(1)).FloorDiv(two), "floor((H + 3)/4)"},
		{n.Mul(Num(2)).Add(two).FloorDiv(Num(4)), "floor((N + 1)/2)"},
		{n.Mul(h).Mul(w).FloorDiv(h.Mul(n)), "W"},
		{n.FloorDiv(h), "floor(N/H)"},
		{n.Mod(two), "N - 2*floor(N/2)"},
		{n.Max(Num(0)), "N"},
		{n.Min(Num(5)), "N - max(N - 5, 0)"},
		{n.Min(Num(1)).Add(n.Sub(Num(1)).Max(Num(0))), "N"},
		{n.Max(h).Add(n.Min(h)), "H + N"},
		{n.Min(Num(5)).Min(n), "N - max(N - 5, 0)"},
		{n.Sub(Num(5)).Max(Num(0)).Sub(n).Max(Num(0)), "0"},
		{n.Sub(n.Min(Num(5))).Max(Num(0)), "max(N - 5, 0)"},
		{n.Add(Num(1)).Max(Num(1)), "N + 1"},
		{n.Min(Num(5)).Max(Num(0)), "N - max(N - 5, 0)"},
		{n.Min(h).Min(w).Max(Num(0)).Sub(n.Min(h).Min(w)), "0"},
		{broadcast(n.Min(Num(5)), n), "N"},
		{broadcast(n, n.Min(Num(5))), "N"},
		{broadcast(n.Min(Num(1)), n), "broadcast(N, N - max(N - 1, 0))"},
		{broadcast(n.Min(h), n), "broadcast(H - max(H - N, 0), N)"},
		{broadcast(broadcast(n, h), h), "broadcast(H, N)"},
		{broadcast(h, broadcast(n, broadcast(h, w))), "broadcast(N, broadcast(H, W))"},
		{broadcast(broadcast(n, h), w), "broadcast(W, broadcast(H, N))"},
		{Sym("a b").Add(n), "'a b' + N"},
		{Num(7).FloorDiv(Num(-2)), "-4"},
		{Num(7).TruncDiv(Num(-2)), "-3"},
		{n.FloorDiv(Num(0)), "?"},
		{Num(1 << 62).Add(Num(1 << 62)), "?"},
		{Num(1 << 40).Mul(Num(1 << 40)), "?"},
		{Num(-1 << 63).Neg(), "?"},
		{Num(-1 << 63).TruncDiv(Num(-1)), "?"},
		{Int{}.Add(n), "?"},
		{Int{}.Mul(Num(0)), "0"},
	} {
		require.Equal(t, c.want, c.got.String())
	}
	require.True(t, n.Add(Num(1)).Positive())
	require.False(t, n.Positive())
	require.True(t, n.Add(Num(2)).Min(h.Add(Num(1))).Positive())
	require.False(t, n.Add(Num(2)).Min(h).Positive())
	require.False(t, n.Min(h.Sub(Num(1))).NonNeg())
	require.True(t, n.Add(Num(1)).Differs(n))
	require.False(t, n.Differs(h))
	require.False(t, (Int{}).Same(Int{}))
}

// TestBroadcastOfCapped: a table of positions cut to the length of the words has min(N, 512) rows, which are added to N words.
func TestBroadcastOfCapped(t *testing.T) {
	n := Sym("N")
	for _, c := range []struct {
		x    Int
		want string
	}{
		{n.Min(Num(512)), "N"},
		{n.Min(Num(2)), "N"},
		{n.Min(Num(1)), "broadcast(N, N - max(N - 1, 0))"}, // 1 broadcasts
		{n.Min(Sym("H")), "broadcast(H - max(H - N, 0), N)"},
	} {
		for _, swap := range []bool{false, true} {
			x, y := c.x, n
			if swap {
				x, y = y, x
			}
			got, ok := broadcastSize(x, y)
			require.True(t, ok)
			require.Equal(t, c.want, got.String())
		}
	}
}

// TestExpressionsCompute builds random expressions and compares their value with that of the same arithmetic on numbers.
func TestExpressionsCompute(t *testing.T) {
	floor := func(a, b int64) int64 { return floor64(a, b) }
	rapid.Check(t, func(t *rapid.T) {
		sizes := map[string]int64{}
		for _, name := range []string{"A", "B", "C"} {
			sizes[name] = rapid.Int64Range(0, 9).Draw(t, name)
		}
		var build func(depth int) (Int, int64)
		build = func(depth int) (Int, int64) {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case depth == 0 || op == 0:
				if rapid.Bool().Draw(t, "number") {
					n := rapid.Int64Range(-4, 6).Draw(t, "n")
					return Num(n), n
				}
				name := rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "size")
				return Sym(name), sizes[name]
			default:
				x, a := build(depth - 1)
				y, b := build(depth - 1)
				switch {
				case op <= 2:
					return x.Add(y), a + b
				case op == 3:
					return x.Sub(y), a - b
				case op == 4:
					return x.Mul(y), a * b
				case op == 5:
					return x.Max(y), max(a, b)
				case op == 6:
					return x.Min(y), min(a, b)
				case b == 0:
					return x.Neg(), -a
				case op == 7:
					return x.FloorDiv(y), floorBy(floor, a, b)
				case op == 8:
					return x.TruncDiv(y), a / b
				}
				d := rapid.Int64Range(1, 5).Draw(t, "d")
				return x.CeilDiv(Num(d)), -floor(-a, d)
			}
		}
		x, want := build(4)
		if !x.IsKnown() {
			return
		}
		got, ok := x.Eval(sizes)
		if !ok {
			t.Fatalf("%s has no value under %v", x, sizes)
		}
		if got != want {
			t.Fatalf("%s under %v is %d, not %d", x, sizes, got, want)
		}
		if x.NonNeg() && want < 0 || x.Positive() && want <= 0 {
			t.Fatalf("%s under %v is %d", x, sizes, want)
		}
	})
}

func floorBy(floor func(a, b int64) int64, a, b int64) int64 {
	if b < 0 {
		a, b = -a, -b
	}
	return floor(a, b)
}
