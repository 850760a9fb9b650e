package onnxio

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mutate changes one field somewhere in message b of type d: it goes, comes twice, moves, or gets another value.
func mutate(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte) []byte {
	var fs []wire.Field
	for f, err := range wire.Fields(b) {
		if err != nil {
			return b
		}
		fs = append(fs, f)
	}
	if len(fs) == 0 {
		return b
	}
	i := r.IntN(len(fs))
	f := fs[i]
	raws := make([][]byte, len(fs))
	for j, g := range fs {
		raws[j] = g.Raw
	}
	if fd := d.Fields().ByNumber(f.Num); fd != nil && fd.Message() != nil && f.IsBytes() && r.IntN(5) > 0 {
		body := mutate(r, fd.Message(), f.Body)
		raws[i] = protowire.AppendBytes(protowire.AppendTag(nil, f.Num, protowire.BytesType), body)
		return slices.Concat(raws...)
	}
	switch r.IntN(5) {
	case 0:
		raws = slices.Delete(raws, i, i+1)
	case 1:
		raws = slices.Insert(raws, r.IntN(len(raws)+1), raws[i])
	case 2:
		j := r.IntN(len(raws))
		raws[i], raws[j] = raws[j], raws[i]
	case 3:
		raws[i] = another(r, f, fs)
	case 4:
		raws[i] = bytes.Clone(raws[i])
		raws[i][r.IntN(len(raws[i]))] ^= 1 << r.IntN(8)
	}
	return slices.Concat(raws...)
}

// another is field f with another value: that of a field beside it, an edge of the number's range, an empty string.
func another(r *rand.Rand, f wire.Field, fs []wire.Field) []byte {
	switch {
	case f.IsVarint():
		v := []uint64{0, 1, 2, 7, 1<<31 - 1, 1 << 31, 1<<63 - 1, 1 << 63, 1<<64 - 1}[r.IntN(9)]
		return protowire.AppendVarint(protowire.AppendTag(nil, f.Num, protowire.VarintType), v)
	case f.IsBytes():
		g := fs[r.IntN(len(fs))]
		return protowire.AppendBytes(protowire.AppendTag(nil, f.Num, protowire.BytesType), g.Body)
	}
	return f.Raw
}

// A model with something wrong in it is refused, or it is read and written with the same fields, and is stable from then on.
func TestMutations(t *testing.T) {
	o := newOracle(t)
	const n = 3000
	b := everything(t)
	read := 0
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		m := b
		for range 1 + r.IntN(3) {
			m = mutate(r, o.model, m)
		}
		f, err := Read(m, Options{})
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			continue
		}
		if ir.Verify(f.Model) != nil {
			continue
		}
		read++
		out := bytesOf(t, f.Model)
		if !bytes.Equal(m, out) && !strings.Contains(strings.Join(f.Remarks, "\n"), "sorted") {
			require.True(t, slices.Equal(fieldsOfTree(o.model, m), fieldsOfTree(o.model, out)), "seed %d: the fields differ", seed)
		}
		again, err := Read(out, Options{})
		require.NoError(t, err, "seed %d", seed)
		require.True(t, bytes.Equal(out, bytesOf(t, again.Model)), "seed %d: not stable", seed)

		made := inject(f.Model)
		var with bytes.Buffer
		if _, err := Write(&with, f.Model, WriteOptions{}); err == nil {
			_, err = Read(with.Bytes(), Options{})
			require.NoError(t, err, "seed %d: with Identities", seed)
		}
		remove(made)
		require.True(t, bytes.Equal(out, bytesOf(t, f.Model)), "seed %d: Identities come and gone", seed)
	}
	require.Greater(t, read, n/10)
}

// fieldsOfTree lists every scalar of a message with its path, occurrences of singular messages merged.
func fieldsOfTree(d protoreflect.MessageDescriptor, b []byte) (r []string) {
	var order []wire.Num
	for f := range wire.Fields(b) {
		if !slices.Contains(order, f.Num) {
			order = append(order, f.Num)
		}
	}
	slices.Sort(order)
	for _, num := range order {
		fd := d.Fields().ByNumber(num)
		if fd != nil && fd.Message() != nil && !fd.IsList() {
			body, _ := wire.Get(b, num)
			for _, s := range fieldsOfTree(fd.Message(), body) {
				r = append(r, string(fd.Name())+"."+s)
			}
		}
		for f := range wire.Fields(b) {
			switch {
			case f.Num != num:
			case fd != nil && fd.Message() != nil && f.IsBytes():
				if fd.IsList() {
					r = append(r, string(fd.Name())+"{")
					r = append(r, fieldsOfTree(fd.Message(), f.Body)...)
				}
			default:
				r = append(r, string(f.Raw))
			}
		}
	}
	return r
}
