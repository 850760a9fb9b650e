package wire

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// Source supplies the bytes of a part of a message when it is written.
type Source interface{ Bytes() ([]byte, error) }

// part is a run of bytes: b, or n bytes that from supplies.
type part struct {
	b    []byte
	from Source
	n    int64
}

// Rope is a message under construction: a list of slices. Neighbouring slices of one array melt together, so that a message
// whose fields are all unchanged ends as one slice, its source. The zero Rope is empty.
type Rope struct {
	first part // apart, so that most ropes need no list
	rest  []part
	n     int64
	short *[]byte // where short parts are collected
}

// Len is the length in bytes.
func (r *Rope) Len() int64 { return r.n }

// Append adds b, which must not change afterwards.
func (r *Rope) Append(b []byte) {
	if len(b) > 0 {
		r.add(part{b: b, n: int64(len(b))})
	}
}

// AppendLazy adds the n bytes that s supplies when the rope is written.
func (r *Rope) AppendLazy(n int64, s Source) {
	if n > 0 {
		r.add(part{from: s, n: n})
	}
}

// AppendRope adds what s holds.
func (r *Rope) AppendRope(s Rope) {
	if s.n == 0 {
		return
	}
	r.add(s.first)
	for _, p := range s.rest {
		r.add(p)
	}
}

func (r *Rope) add(p part) {
	r.n += p.n
	if r.n == p.n {
		r.first = p
		return
	}
	if r.melt(p) {
		return
	}
	if p.from == nil && p.n <= copied && len(r.rest) >= many {
		if p.b = r.collect(p.b); r.melt(p) {
			return
		}
	}
	r.rest = append(r.rest, p)
}

// melt makes p one with the last part if it lies behind that in memory.
func (r *Rope) melt(p part) bool {
	last := &r.first
	if k := len(r.rest); k > 0 {
		last = &r.rest[k-1]
	}
	l := last.b
	if p.from != nil || last.from != nil || len(l) == cap(l) || &l[:len(l)+1][len(l)] != &p.b[0] || len(l)+len(p.b) > cap(l) {
		return false
	}
	last.b, last.n = l[:len(l)+len(p.b)], last.n+p.n
	return true
}

// collect copies b behind what was collected before.
func (r *Rope) collect(b []byte) []byte {
	if r.short == nil || len(*r.short)+len(b) > cap(*r.short) {
		buf := make([]byte, 0, collected)
		r.short = &buf
	}
	at := len(*r.short)
	*r.short = append(*r.short, b...)
	return (*r.short)[at:]
}

// From many parts on, short ones are collected in buffers of so many bytes: the list would take more, and time of the garbage collector.
const (
	many      = 32
	collected = 16 << 10
)

// Is reports whether r is the slice b itself, not a copy. An empty rope is every empty slice.
func (r *Rope) Is(b []byte) bool {
	if r.n != int64(len(b)) || len(r.rest) > 0 {
		return false
	}
	return r.n == 0 || r.first.from == nil && &r.first.b[0] == &b[0]
}

// WriteTo streams the rope to w.
func (r *Rope) WriteTo(w io.Writer) (int64, error) {
	var done int64
	for i := -1; i < len(r.rest) && r.n > 0; i++ {
		p := r.first
		if i >= 0 {
			p = r.rest[i]
		}
		b := p.b
		if p.from != nil {
			var err error
			if b, err = p.from.Bytes(); err != nil {
				return done, err
			}
			if int64(len(b)) != p.n {
				return done, fmt.Errorf("%d bytes where %d were announced", len(b), p.n)
			}
		}
		n, err := w.Write(b)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Bytes is the whole rope in memory.
func (r *Rope) Bytes() ([]byte, error) {
	if len(r.rest) == 0 && r.first.from == nil {
		return r.first.b, nil
	}
	b := make(buffer, 0, r.n)
	_, err := r.WriteTo(&b)
	return b, err
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// Of is a rope of one slice.
func Of(b []byte) (r Rope) {
	r.Append(b)
	return r
}

// copied is up to which length fields are copied together, where a list of parts would cost more.
const copied = 1024

func (r *Rope) inMemory() bool {
	for _, p := range r.rest {
		if p.from != nil {
			return false
		}
	}
	return r.first.from == nil
}

func (r *Rope) appendTo(b []byte) []byte {
	b = append(b, r.first.b...)
	for _, p := range r.rest {
		b = append(b, p.b...)
	}
	return b
}

// Sub is a length-delimited field whose value is r. Where r is the value of src itself, the field is src as it stands.
func Sub(num Num, r Rope, src Field) Rope {
	if src.Raw != nil && src.Num == num && r.Is(src.Body) {
		return Of(src.Raw)
	}
	// The capacity is exact, so that nothing is taken for a neighbour of the header.
	size := protowire.SizeTag(num) + protowire.SizeVarint(uint64(r.n))
	small := r.n <= copied && r.inMemory()
	if small {
		size += int(r.n)
	}
	h := make([]byte, 0, size)
	h = protowire.AppendVarint(protowire.AppendTag(h, num, protowire.BytesType), uint64(r.n))
	if small {
		return Of(r.appendTo(h))
	}
	f := Of(h)
	f.AppendRope(r)
	return f
}

// Lazy is a bytes field whose n bytes s supplies when they are written.
func Lazy(num Num, n int64, s Source) Rope {
	h := make([]byte, 0, protowire.SizeTag(num)+protowire.SizeVarint(uint64(n)))
	f := Of(protowire.AppendVarint(protowire.AppendTag(h, num, protowire.BytesType), uint64(n)))
	f.AppendLazy(n, s)
	return f
}

// Str is a string field.
func Str(num Num, s string) Rope {
	b := make([]byte, 0, protowire.SizeTag(num)+protowire.SizeBytes(len(s)))
	return Of(protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s))
}

// Varint is a varint field.
func Varint(num Num, v int64) Rope {
	b := make([]byte, 0, protowire.SizeTag(num)+protowire.SizeVarint(uint64(v)))
	return Of(protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v)))
}

// Fixed32 is a fixed-width field, such as a float's bits.
func Fixed32(num Num, v uint32) Rope {
	b := make([]byte, 0, protowire.SizeTag(num)+4)
	return Of(protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), v))
}
