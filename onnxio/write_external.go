package onnxio

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// dataPlan says which elements go to data files and where. The zero plan puts everything into the model.
type dataPlan struct {
	at    map[elementKey]*placement
	hoist map[*ir.Node]bool // Constant nodes that become initializers
}

// placement is where the elements of a tensor lie in a data file.
type placement struct {
	file           *shard
	offset, length int64
}

// elementKey tells elements apart: by their place in memory where they are a slice of a file, so that tied weights stay tied.
type elementKey struct {
	p *byte
	n int64
	t *ir.Tensor
}

func keyOf(t *ir.Tensor) elementKey {
	if r := recordOf(t); r != nil && r.form == formRaw && len(r.data) > 0 {
		return elementKey{p: unsafe.SliceData(r.data), n: int64(len(r.data))}
	}
	return elementKey{t: t}
}

// placed is where t's elements go, nil for the model itself.
func (w *writer) placed(t *ir.Tensor, movable bool) *placement {
	if w.data == nil || !movable {
		return nil
	}
	return w.data.at[keyOf(t)]
}

// declare states the placement in a TensorProto instead of elements.
func (p *placement) declare(m *wire.Message) {
	for _, num := range []wire.Num{tensorRaw, tensorFloats, tensorDoubles, tensorInt32s, tensorInt64s, tensorUint64s, tensorStrings} {
		m.Put(num, wire.Rope{})
	}
	declareExternal(m, []ir.Prop{
		{Key: "location", Value: p.file.name},
		{Key: "offset", Value: strconv.FormatInt(p.offset, 10)},
		{Key: "length", Value: strconv.FormatInt(p.length, 10)},
	})
}

// declareExternal states external_data in a TensorProto.
func declareExternal(m *wire.Message, props []ir.Prop) {
	var e wire.Rope
	for _, p := range props {
		e.AppendRope(entryRope(tensorExternal, p.Key, p.Value))
	}
	m.Put(tensorExternal, e)
	m.Put(tensorLocation, wire.Varint(tensorLocation, 1))
}

// candidates lists the tensors that go to data files, and the Constant nodes that have to become initializers for it.
func (w *writer) candidates(threshold int64) (ts []*ir.Tensor, hoist map[*ir.Node]bool) {
	hoist = map[*ir.Node]bool{}
	large := func(t *ir.Tensor) bool {
		return t != nil && t.DType() != ir.String && sparseOf(t) == nil && t.ByteLen() >= threshold && readable(t)
	}
	for _, g := range w.m.Graphs() {
		if g.Function() != nil { // functions have no initializers
			continue
		}
		for _, s := range g.Inputs() {
			if t := s.Value().Default(); large(t) {
				ts = append(ts, t)
			}
		}
		if w.irVersion < 4 && g.Outer() != nil { // new ones become Constant nodes, old ones are few
			continue
		}
		for _, v := range g.Consts() {
			if t := v.Const(); large(t) {
				ts = append(ts, t)
			}
		}
		if w.irVersion < 4 {
			continue
		}
		for n := range g.Nodes() {
			if n.Is("Constant") && len(n.Attrs()) == 1 && n.NumResults() == 1 && large(n.Attr("value").Tensor()) {
				ts = append(ts, n.Attr("value").Tensor())
				hoist[n] = true
			}
		}
	}
	return ts, hoist
}

// readable reports whether the elements are there: those of a tensor segment are not.
func readable(t *ir.Tensor) bool {
	r := recordOf(t)
	return r == nil || r.form != formSegment
}

// shard is a data file that is being written.
type shard struct {
	name string // final name, once its content is known
	temp string
	f    *os.File
	b    *bufio.Writer
	sum  hash.Hash
	n    int64
	made bool // this write brought the file into being
}

// dataWriter writes the data files of a model.
type dataWriter struct {
	dir, stem string
	o         WriteOptions
	shards    []*shard
}

// write writes ts and returns where each lies. On an error nothing is left behind.
func (d *dataWriter) write(ts []*ir.Tensor) (map[elementKey]*placement, error) {
	at := map[elementKey]*placement{}
	for _, t := range ts {
		k := keyOf(t)
		if at[k] != nil {
			continue
		}
		p, err := d.put(t)
		if err != nil {
			d.discard()
			return nil, err
		}
		at[k] = p
	}
	for _, s := range d.shards {
		if err := d.finish(s); err != nil {
			d.discard()
			return nil, err
		}
	}
	return at, nil
}

func (d *dataWriter) put(t *ir.Tensor) (*placement, error) {
	n := t.ByteLen()
	var s *shard
	if k := len(d.shards); k > 0 {
		s = d.shards[k-1]
		if d.o.Shard > 0 && aligned(s.n, d.o.Align)+n > d.o.Shard {
			s = nil
		}
	}
	if s == nil {
		f, err := createTemp(d.dir, d.stem+".data")
		if err != nil {
			return nil, err
		}
		s = &shard{temp: f.Name(), f: f, sum: sha256.New()}
		s.b = bufio.NewWriterSize(d.o.stoppable(io.MultiWriter(f, s.sum)), 1<<16)
		d.shards = append(d.shards, s)
	}
	for pad := aligned(s.n, d.o.Align) - s.n; pad > 0; {
		k, err := s.b.Write(make([]byte, min(pad, 4096)))
		if err != nil {
			return nil, err
		}
		pad -= int64(k)
		s.n += int64(k)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	p := &placement{file: s, offset: s.n, length: n}
	_, err = s.b.Write(b)
	s.n += n
	return p, err
}

func aligned(n, align int64) int64 { return (n + align - 1) / align * align }

// dataSuffix ends the names of data files that this package writes.
const dataSuffix = ".onnxdata"

// finish gives a data file the name that its content determines. A file of that name with the same content serves as it is.
func (d *dataWriter) finish(s *shard) error {
	if err := errors.Join(s.b.Flush(), d.o.sync(s.f), s.f.Close()); err != nil {
		return err
	}
	hex := hex.EncodeToString(s.sum.Sum(nil)[:8])
	for i := 0; ; i++ {
		s.name = d.stem + "-" + hex + dataSuffix
		if i > 0 {
			s.name = fmt.Sprintf("%s-%s-%d%s", d.stem, hex, i, dataSuffix)
		}
		path := filepath.Join(d.dir, s.name)
		_, err := os.Lstat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			if err := os.Rename(s.temp, path); err != nil {
				return err
			}
			s.temp, s.made = "", true
			return nil
		case err != nil:
			return err
		}
		if same, err := sameContent(path, s.temp); err != nil {
			return err
		} else if same {
			err := os.Remove(s.temp)
			s.temp = ""
			return err
		}
	}
}

// discard removes what the write has made.
func (d *dataWriter) discard() {
	for _, s := range d.shards {
		s.f.Close()
		if s.temp != "" {
			os.Remove(s.temp)
		}
		if s.made {
			os.Remove(filepath.Join(d.dir, s.name))
		}
	}
}

// sameContent reports whether two files are regular and hold the same bytes.
func sameContent(a, b string) (bool, error) {
	var r [2]*bufio.Reader
	var size [2]int64
	for i, p := range []string{a, b} {
		st, err := os.Stat(p)
		if err != nil {
			return false, err
		}
		if !st.Mode().IsRegular() {
			return false, nil
		}
		f, err := os.Open(p)
		if err != nil {
			return false, err
		}
		defer f.Close()
		r[i], size[i] = bufio.NewReaderSize(f, 1<<16), st.Size()
	}
	if size[0] != size[1] {
		return false, nil
	}
	return equalStreams(r[0], r[1])
}

func equalStreams(a, b io.Reader) (bool, error) {
	x, y := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, err := io.ReadFull(a, x)
		k, err2 := io.ReadFull(b, y)
		if n != k || string(x[:n]) != string(y[:k]) {
			return false, nil
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return true, nil
		}
		if err := errors.Join(err, err2); err != nil {
			return false, err
		}
	}
}
