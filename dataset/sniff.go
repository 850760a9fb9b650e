package dataset

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/onnxopt/onnxopt/onnxio/npz"
)

// pictureExtensions are those of files that are taken for pictures.
var pictureExtensions = []string{".jpg", ".jpeg", ".png", ".gif"}

// sniff recognises the format of a file by its content; where content says nothing, by its name.
func sniff(path string, size int64) (string, error) {
	r, err := openMaybeGzip(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	npy, zip := npz.Sniff(r.Reader)
	head, _ := r.Peek(512) // fewer bytes tell enough
	ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(path, ".gz")))
	switch {
	case npy:
		return "npy", nil
	case zip:
		return "npz", nil
	case slices.Contains(pictureExtensions, ext):
		return "images", nil
	case ext == ".csv" || ext == ".tsv":
		return "csv", nil
	case len(head) >= 4 && head[0] == 0 && head[1] == 0 && idxSizes[head[2]] > 0 && head[3] <= maxIDXRank:
		return "idx", nil
	case ext == ".bin" && size > 0 && size%cifarRow == 0:
		return "cifar10", nil
	case ext == ".bin":
		return "", fmt.Errorf("%d bytes are no whole number of CIFAR-10's rows of %d", size, cifarRow)
	case ext == ".txt" && utf8.Valid(head) && len(head) > 0:
		return "csv", nil
	}
	return "", nil
}

// kindOfEntry says what an entry of a folder is, by its name.
func kindOfEntry(name string, dir bool) string {
	ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(name, ".gz")))
	switch {
	case dir && strings.HasPrefix(name, "test_data_set"):
		return "test_data_set"
	case dir:
		return "folder"
	case name == labelsFile:
		return "labels"
	case ext == ".pb" && strings.HasPrefix(name, "input_"):
		return "pb"
	case ext == ".npz" || ext == ".npy":
		return ext[1:]
	case slices.Contains(pictureExtensions, ext):
		return "images"
	case strings.Contains(name, "idx") && strings.Contains(name, "ubyte"), strings.HasPrefix(ext, ".idx"):
		return "idx"
	}
	return ""
}

// stream is a file that is read from the beginning, unpacked if it is compressed with gzip.
type stream struct {
	*bufio.Reader
	file *os.File
	zip  *gzip.Reader
}

func openMaybeGzip(path string) (*stream, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() { // opening a FIFO would wait for a writer
		return nil, &BadSampleError{path, errors.New("this is no regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &stream{bufio.NewReaderSize(f, 1<<16), f, nil}
	if b, _ := s.Peek(2); string(b) == "\x1f\x8b" {
		if s.zip, err = gzip.NewReader(s.Reader); err != nil {
			f.Close()
			return nil, err
		}
		s.Reader = bufio.NewReaderSize(s.zip, 1<<16)
	}
	return s, nil
}

// Close closes the file.
func (s *stream) Close() error { return s.file.Close() }

// atEnd reports whether nothing follows, and what went wrong at the end, such as a checksum.
func (s *stream) atEnd() (bool, error) {
	_, err := s.Peek(1)
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// sortNumbered sorts names so that numbers in them count as numbers: input_2 comes before input_10.
func sortNumbered(names []string) {
	slices.SortFunc(names, func(a, b string) int {
		x, i := number(a)
		y, j := number(b)
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(i, j), cmp.Compare(a, b))
	})
}

// number splits the last number off a name without its extension; -1 stands for none.
func number(name string) (string, int) {
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	base := strings.TrimRight(stem, "0123456789")
	n, err := strconv.Atoi(stem[len(base):])
	if err != nil {
		return stem, -1
	}
	return base, n
}
