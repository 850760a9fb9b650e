package dataset

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/dataset/picture"
	"github.com/onnxopt/onnxopt/ir"
)

// idxSizes are the sizes in bytes of the element types of IDX, by their code; http://yann.lecun.com/exdb/mnist describes the format.
var idxSizes = [256]byte{0x08: 1, 0x09: 1, 0x0b: 2, 0x0c: 4, 0x0d: 4, 0x0e: 8}

const maxIDXRank = 16

// maxSample bounds the bytes of one sample.
const maxSample = 1 << 28

// idxHeader describes an IDX file: its elements follow, big-endian.
type idxHeader struct {
	dtype ir.DType
	shape []int64
}

func readIDXHeader(r io.Reader) (*idxHeader, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, endsEarly(err)
	}
	types := map[byte]ir.DType{0x08: ir.Uint8, 0x09: ir.Int8, 0x0b: ir.Int16, 0x0c: ir.Int32, 0x0d: ir.Float32, 0x0e: ir.Float64}
	h := &idxHeader{dtype: types[b[2]]}
	if b[0] != 0 || b[1] != 0 || h.dtype == ir.Undefined || b[3] == 0 || b[3] > maxIDXRank {
		return nil, errors.New("no IDX file")
	}
	for range b[3] {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return nil, endsEarly(err)
		}
		h.shape = append(h.shape, int64(binary.BigEndian.Uint32(b[:])))
	}
	if n := h.dtype.ByteLen(ir.NumElements(h.shape[1:])); n <= 0 || n > maxSample {
		return nil, fmt.Errorf("samples of shape %v are empty or too large", h.shape[1:])
	}
	return h, nil
}

// endsEarly words the end of a file that is not its end.
func endsEarly(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the file ends early")
	}
	return err
}

// row reads the next sample, of shape [1, ...].
func (h *idxHeader) row(r io.Reader) (*ir.Tensor, error) {
	shape := slices.Clone(h.shape)
	shape[0] = 1
	b := make([]byte, h.dtype.ByteLen(ir.NumElements(shape)))
	if _, err := io.ReadFull(r, b); err != nil && len(b) > 0 {
		return nil, endsEarly(err)
	}
	if size := h.dtype.Bits() / 8; size > 1 {
		for i := 0; i < len(b); i += size {
			slices.Reverse(b[i : i+size])
		}
	}
	return ir.NewTensor(h.dtype, shape, b), nil
}

// labels reads a file of one number a row.
func (h *idxHeader) labels(r io.Reader) ([]float64, error) {
	if len(h.shape) != 1 {
		return nil, fmt.Errorf("labels of shape %v; one a row is wanted", h.shape)
	}
	var labels []float64 // grows with the file, whatever its header says
	for range h.shape[0] {
		t, err := h.row(r)
		if err != nil {
			return nil, fmt.Errorf("label %d of %d: %w", len(labels), h.shape[0], err)
		}
		v, err := Floats(t)
		if err != nil {
			return nil, err
		}
		labels = append(labels, v...)
	}
	return labels, nil
}

// idxSource reads an IDX file. Samples of bytes with two axes are pictures, or three where the last counts the colours.
type idxSource struct {
	path   string
	header *idxHeader
	labels []float64
}

func (s *Set) openIDX(path string) (source, error) {
	r, err := openMaybeGzip(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h, err := readIDXHeader(r)
	if err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	guess := ""
	if name := strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(base); name != base {
		guess = filepath.Join(dir, name)
	}
	labels, err := s.labels(guess)
	if err == nil && labels != nil && int64(len(labels)) != h.shape[0] {
		err = fmt.Errorf("%d labels for %d samples", len(labels), h.shape[0])
	}
	return &idxSource{path, h, labels}, err
}

func (s *idxSource) size() int    { return int(s.header.shape[0]) }
func (s *idxSource) close() error { return nil }

func (s *idxSource) rows(ctx context.Context) iter.Seq[row] {
	return func(yield func(row) bool) {
		r, err := openMaybeGzip(s.path)
		var h *idxHeader
		if err == nil {
			defer r.Close()
			h, err = readIDXHeader(r)
		}
		if err != nil {
			yield(row{name: s.path, err: err})
			return
		}
		for i := range h.shape[0] {
			t, err := h.row(r)
			x := row{name: fmt.Sprintf("%s, sample %d", s.path, i), label: labelAt(s.labels, int(i)), err: err}
			if err == nil {
				err = x.take(t)
			}
			if !yield(x) || err != nil {
				return
			}
		}
		if end, err := r.atEnd(); err != nil || !end {
			if err == nil {
				err = errors.New("the file goes on behind its last sample")
			}
			yield(row{name: s.path, err: err})
		}
	}
}

// take makes t the value of the row: a picture if it looks like one.
func (x *row) take(t *ir.Tensor) error {
	b, err := t.Bytes()
	if err != nil {
		x.err = err
		return err
	}
	s := t.Shape()
	colours := int64(1)
	if len(s) == 4 {
		colours = s[3]
	}
	if t.DType() != ir.Uint8 || len(s) < 3 || len(s) > 4 || colours != 1 && colours != 3 || s[1] == 0 || s[2] == 0 || max(s[1], s[2]) > math.MaxInt32 {
		x.values = []column{{value: t}}
		return nil
	}
	x.picture = &picture.Picture{H: int(s[1]), W: int(s[2]), C: int(colours), Pix: b}
	return nil
}
