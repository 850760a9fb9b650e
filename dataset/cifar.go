package dataset

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/onnxopt/onnxopt/dataset/picture"
)

// A row of CIFAR-10's binary files is a label and the planes red, green, blue of 32x32 pixels.
const (
	cifarSide    = 32
	cifarRow     = 1 + 3*cifarSide*cifarSide
	cifarClasses = 10
)

type cifarSource struct {
	path string
	n    int
}

func (s *Set) openCIFAR(path string, size int64) (source, error) {
	return &cifarSource{path, int(size / cifarRow)}, nil
}

func (s *cifarSource) size() int    { return s.n }
func (s *cifarSource) close() error { return nil }

func (s *cifarSource) rows(ctx context.Context) iter.Seq[row] {
	return func(yield func(row) bool) {
		r, err := openMaybeGzip(s.path)
		if err != nil {
			yield(row{name: s.path, err: err})
			return
		}
		defer r.Close()
		for i := range s.n {
			x := row{name: fmt.Sprintf("%s, sample %d", s.path, i)}
			b := make([]byte, cifarRow)
			if _, err := io.ReadFull(r, b); err != nil {
				x.err = endsEarly(err)
				yield(x)
				return
			}
			if b[0] >= cifarClasses {
				x.err = fmt.Errorf("the label is %d; CIFAR-10 has %d classes", b[0], cifarClasses)
			}
			x.label = float64(b[0])
			x.picture = picture.Planes(b[1:], 3, cifarSide, cifarSide)
			if !yield(x) {
				return
			}
		}
	}
}
