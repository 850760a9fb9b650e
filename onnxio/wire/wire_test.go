package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// msg joins fields.
func msg(fields ...[]byte) []byte { return slices.Concat(fields...) }

func str(num Num, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), s)
}

func num(n Num, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

// long is field n with the value v in more bytes than it needs.
func long(n Num, v byte) []byte {
	return append(protowire.AppendTag(nil, n, protowire.VarintType), v|0x80, 0x80, 0)
}

func built(t *testing.T, m *Message) []byte {
	t.Helper()
	r := m.Rope()
	b, err := r.Bytes()
	require.NoError(t, err)
	assert.Equal(t, r.Len(), int64(len(b)))
	return b
}

func TestLayout(t *testing.T) {
	src := msg(str(9, "unknown"), long(3, 5), str(2, "b"), str(1, "x"), str(2, "c"), num(20, 1))
	for _, c := range []struct {
		name    string
		declare func(*Message)
		want    []byte
	}{
		{"nothing declared", func(*Message) {}, src},
		{"all the same", func(m *Message) {
			m.Int(3, 5)
			m.Strs(2, []string{"b", "c"})
			m.Str(1, "x")
		}, src},
		{"a number", func(m *Message) { m.Int(3, 6) }, msg(str(9, "unknown"), num(3, 6), str(2, "b"), str(1, "x"), str(2, "c"), num(20, 1))},
		{"a number becomes the default", func(m *Message) { m.Int(3, 0) }, msg(str(9, "unknown"), str(2, "b"), str(1, "x"), str(2, "c"), num(20, 1))},
		{"a string", func(m *Message) { m.Str(1, "y") }, msg(str(9, "unknown"), long(3, 5), str(2, "b"), str(1, "y"), str(2, "c"), num(20, 1))},
		{"fewer", func(m *Message) { m.Strs(2, []string{"c"}) }, msg(str(9, "unknown"), long(3, 5), str(2, "c"), str(1, "x"), num(20, 1))},
		{"more", func(m *Message) { m.Strs(2, []string{"b", "c", "d"}) },
			msg(str(9, "unknown"), long(3, 5), str(2, "b"), str(1, "x"), str(2, "c"), str(2, "d"), num(20, 1))},
		{"none", func(m *Message) { m.Set(2) }, msg(str(9, "unknown"), long(3, 5), str(1, "x"), num(20, 1))},
		{"new ones go by number", func(m *Message) {
			m.Str(10, "ten")
			m.Int(30, 1)
			m.Int(4, 0)
		}, msg(str(9, "unknown"), long(3, 5), str(2, "b"), str(1, "x"), str(2, "c"), str(10, "ten"), num(20, 1), num(30, 1))},
		{"another wire type is another field", func(m *Message) { m.Int(2, 0) }, src},
		{"any wire type", func(m *Message) { m.Put(3, Rope{}); m.Put(2, Rope{}) }, msg(str(9, "unknown"), str(1, "x"), num(20, 1))},
	} {
		m := NewMessage(src)
		c.declare(m)
		assert.Equal(t, c.want, built(t, m), c.name)
	}
}

// Of a singular field that occurs more than once the last counts.
func TestScalarTwice(t *testing.T) {
	src := msg(num(1, 4), num(1, 5))
	m := NewMessage(src)
	m.Int(1, 5)
	assert.Equal(t, src, built(t, m))
	m = NewMessage(src)
	m.Int(1, 4)
	assert.Equal(t, num(1, 4), built(t, m))
}

// An explicit default stays, and is not invented.
func TestExplicitDefault(t *testing.T) {
	m := NewMessage(msg(str(1, ""), num(2, 0)))
	m.Str(1, "")
	m.Int(2, 0)
	m.Str(3, "")
	assert.Equal(t, msg(str(1, ""), num(2, 0)), built(t, m))
}

// An unchanged message is its source, not a copy, however deep it was taken apart.
func TestUnchangedIsTheSource(t *testing.T) {
	inner := msg(str(1, "a"), num(2, 3))
	src := msg(num(7, 1), str(5, string(inner)), str(5, string(inner)), str(6, "end"))
	f, ok := One(src, 6)
	require.True(t, ok)
	m := NewMessage(src)
	var items []Rope
	for f := range Fields(src) {
		if f.Num == 5 {
			k := NewMessage(f.Body)
			items = append(items, Sub(5, k.Rope(), f))
		}
	}
	m.Set(5, items...)
	r := m.Rope()
	assert.True(t, r.Is(src))
	assert.Equal(t, "end", string(f.Body))

	n := NewMessage(src)
	n.Str(6, "END")
	r = n.Rope()
	assert.False(t, r.Is(src))
}

type lazy struct {
	b   []byte
	err error
}

func (l lazy) Bytes() ([]byte, error) { return l.b, l.err }

func TestLazy(t *testing.T) {
	m := NewMessage(str(1, "name"))
	m.Put(9, Lazy(9, 3, lazy{b: []byte("abc")}))
	assert.Equal(t, msg(str(1, "name"), str(9, "abc")), built(t, m))

	for _, l := range []lazy{{b: []byte("ab")}, {err: errors.New("gone")}} {
		r := Sub(4, Lazy(9, 3, l), Field{})
		_, err := r.WriteTo(new(bytes.Buffer))
		require.Error(t, err)
	}
	r := Lazy(9, 0, lazy{err: errors.New("never asked")})
	b, err := r.Bytes()
	require.NoError(t, err)
	assert.Equal(t, str(9, ""), b)
}

// A large value is not copied, a small one is joined with its header.
func TestSubCopiesSmallOnly(t *testing.T) {
	big := bytes.Repeat([]byte("x"), copied+1)
	r := Sub(1, Of(big), Field{})
	require.Len(t, r.rest, 1)
	assert.Same(t, &big[0], &r.rest[0].b[0])
	r = Sub(1, Of(big[:10:10]), Field{})
	assert.Empty(t, r.rest)
}

func TestGetMerges(t *testing.T) {
	src := msg(str(1, "ab"), num(1, 3), str(2, "x"), str(1, "cd"))
	b, ok := Get(src, 1)
	assert.True(t, ok)
	assert.Equal(t, "abcd", string(b))
	f, ok := One(src, 1)
	assert.True(t, ok)
	assert.Nil(t, f.Raw, "no field of the source holds it")
	assert.Equal(t, "cd", string(Last(src, 1)))
	_, ok = Get(src, 3)
	assert.False(t, ok)
}

func TestNumbers(t *testing.T) {
	src := msg(num(1, 1<<64-1), str(1, "\x02\x80\x01"))
	var got []int64
	for f, err := range Fields(src) {
		require.NoError(t, err)
		got, err = Ints(got, f)
		require.NoError(t, err)
	}
	assert.Equal(t, []int64{-1, 2, 128}, got)
	for f := range Fields(str(1, "\x02\x80")) {
		_, err := Ints(nil, f)
		require.Error(t, err)
		_, err = Floats(nil, f)
		require.Error(t, err)
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	inner := msg(num(1, 1), []byte{0x12, 200})
	src := msg(num(3, 1), str(7, string(inner)))
	body, _ := Get(src, 7)
	var err error
	for _, e := range Fields(body) {
		err = e
	}
	err = Locate(In(In(err, "[3]"), "node"), src)
	assert.EqualError(t, err, "node[3]: field 2 (wire type 2): it ends too early (byte 6)")

	plain := errors.New("two\nlines")
	err = In(plain, "graph")
	assert.EqualError(t, err, `graph: two\nlines`)
	assert.ErrorIs(t, err, plain)
	assert.NoError(t, In(nil, "graph"))
	assert.Equal(t, -1, Locate(err, src).(*Error).Offset)
}

func TestRename(t *testing.T) {
	src := msg(str(1, string(msg(str(2, "a"), str(2, "b")))), str(2, "a"))
	r := Rename(src, func(s string) string { return map[string]string{"a": "z", "b": "b"}[s] }, 1, 2)
	b, err := r.Bytes()
	require.NoError(t, err)
	assert.Equal(t, msg(str(1, string(msg(str(2, "z"), str(2, "b")))), str(2, "a")), b)
}

// TestRopeOfMany: short parts that are collected keep their order among long and lazy ones, and ropes of ropes, too.
func TestRopeOfMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []byte
		rope := func(n int) (r Rope) {
			for range n {
				b := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")
				if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
					b = bytes.Repeat(append(b, 7), 1200)
				}
				want = append(want, b...)
				if rapid.IntRange(0, 9).Draw(t, "lazy") == 0 {
					r.AppendLazy(int64(len(b)), supplied(b))
				} else {
					r.Append(b)
				}
			}
			return r
		}
		var all Rope
		for range rapid.IntRange(0, 4).Draw(t, "ropes") {
			all.AppendRope(rope(rapid.IntRange(0, 90).Draw(t, "parts")))
		}
		got, err := all.Bytes()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
		require.EqualValues(t, len(want), all.Len())
	})
}

type supplied []byte

func (s supplied) Bytes() ([]byte, error) { return s, nil }
