package quantize_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// memory is a checkpoint.
type memory struct{ b []byte }

func (m *memory) Load() ([]byte, error) { return m.b, nil }
func (m *memory) Save(b []byte) error   { m.b = b; return nil }

// pictures are n samples whose magnitude and sign change along the way. Reading number stop fails, if that is not negative; read counts.
func pictures(n, stop int, read *int) measured.Samples {
	return func(context.Context) iter.Seq2[map[string]ir.Datum, error] {
		return func(yield func(map[string]ir.Datum, error) bool) {
			for i := range n {
				if i == stop {
					yield(nil, errors.New("the disk is gone"))
					return
				}
				*read++
				v := values(128 + i)[i:]
				for k := range v {
					v[k] = v[k]*float32(1+i*i) + float32(i%5) - 2
				}
				if !yield(map[string]ir.Datum{"x": ir.TensorOf(v, 1, 2, 8, 8)}, nil) {
					return
				}
			}
		}
	}
}

// TestResume: a calibration that is taken up anywhere finds the ranges, bit for bit, of one that was not interrupted; one of other data or of
// another model begins anew.
func TestResume(t *testing.T) {
	const n = 23
	w := newWorld(t)
	calibrate := func(samples measured.Samples, k measured.Checkpoint, threads int, options string) ([]byte, string, error) {
		var ranges []byte
		c := measured.New(samples, native.New(), threads, measured.Total(n), measured.Named("data"), measured.Resuming(k), measured.Saving(func(_ string, b []byte) { ranges = b }))
		_, notes, err := w.run("calibrate=moving protect=0 round=false correct=false "+options, passes.Config{Data: map[passes.Data]any{"": c}})
		note := ""
		for _, s := range notes {
			note += s
		}
		return ranges, note, err
	}
	read := 0
	want, _, err := calibrate(pictures(n, -1, &read), nil, 1, "")
	require.NoError(t, err)
	for _, threads := range []int{1, 3} {
		for _, stop := range []int{0, 3, 4, 9, 20, 22} {
			k := &memory{}
			_, _, err := calibrate(pictures(n, stop, &read), k, threads, "")
			require.ErrorContains(t, err, "the disk is gone")
			require.Equal(t, stop >= 4, k.b != nil, "threads %d, stopped at %d", threads, stop)
			have, note, err := calibrate(pictures(n, -1, &read), k, 4-threads, "")
			require.NoError(t, err)
			require.Equal(t, string(want), string(have))
			if stop >= 4 {
				require.Contains(t, note, "calibration goes on behind sample")
			}
			have, note, err = calibrate(pictures(n, -1, &read), k, threads, "") // a whole one is taken as it is
			require.NoError(t, err)
			require.Equal(t, string(want), string(have))
			require.Contains(t, note, "calibration goes on behind sample")
		}
	}
	k := &memory{}
	_, _, err = calibrate(pictures(n, 13, &read), k, 1, "")
	require.Error(t, err)
	kept := k.b
	other := func(ctx context.Context) iter.Seq2[map[string]ir.Datum, error] {
		return func(yield func(map[string]ir.Datum, error) bool) {
			for in, err := range pictures(n, -1, &read)(ctx) {
				x, _ := ir.Elements[float32](in["x"].(*ir.Tensor))
				x[0] = 100
				if !yield(in, err) {
					return
				}
			}
		}
	}
	fresh, _, err := calibrate(other, nil, 1, "")
	require.NoError(t, err)
	have, note, err := calibrate(other, k, 1, "")
	require.NoError(t, err)
	require.NotContains(t, note, "goes on")
	require.Equal(t, string(fresh), string(have))
	for _, torn := range [][]byte{kept[:len(kept)/2], []byte("{}"), []byte("null"), []byte(`{"Format":"onnxopt-calibration-1"}`)} {
		k.b = torn
		have, note, err = calibrate(pictures(n, -1, &read), k, 1, "")
		require.NoError(t, err)
		require.NotContains(t, note, "goes on")
		require.Equal(t, string(want), string(have))
	}
}

// ledger is a store that counts.
type ledger struct {
	kept       map[string][]byte
	hits, puts int
}

func (l *ledger) Get(k string) []byte {
	if l.kept[k] != nil {
		l.hits++
	}
	return l.kept[k]
}
func (l *ledger) Put(k string, b []byte) { l.puts++; l.kept[k] = b }

// TestKeptDivergences: a second run of the same model, data and options measures nothing anew, and comes to the same; another one does.
func TestKeptDivergences(t *testing.T) {
	w := newWorld(t)
	store := &ledger{kept: map[string][]byte{}}
	read := 0
	run := func(n int, options string) (string, int) {
		store.hits, store.puts = 0, 0
		c := measured.New(pictures(n, -1, &read), native.New(), 2, measured.Named("data"), measured.Keeping(store))
		_, notes, err := w.run("protect=60 "+options, passes.Config{Data: map[passes.Data]any{"": c}})
		require.NoError(t, err)
		require.Contains(t, notes[0], "more operators in float")
		return notes[0], store.puts
	}
	first, puts := run(8, "")
	require.Greater(t, puts, 3)
	second, again := run(8, "")
	require.Zero(t, again)
	require.GreaterOrEqual(t, store.hits, puts)
	require.Equal(t, first, second)
	_, again = run(9, "")
	require.Positive(t, again, "other data")
	_, again = run(8, "calibrate=minmax round=false")
	require.Positive(t, again, "other options")
	_, again = run(8, "")
	require.Zero(t, again)
}
