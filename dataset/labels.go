package dataset

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

// labelsFile is the name of a table of labels beside the files it is about.
const labelsFile = "labels.csv"

// maxLabels bounds the labels that are kept in memory.
const maxLabels = 1 << 28

// labelTable reads a table with the columns file and label, in this order if it has no header. Classes gives the numbers of labels that are
// words.
func labelTable(path string, classes []string) (files []string, labels map[string]float64, err error) {
	f, err := openMaybeGzip(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = -1
	file, label := 0, 1
	labels = map[string]float64{}
	for line := 1; ; line++ {
		rec, err := r.Read()
		if err == io.EOF {
			return files, labels, nil
		}
		if err != nil {
			return nil, nil, &BadSampleError{path, err}
		}
		if i, j := place(rec, "file", "filename", "path", "image"), place(rec, "label", "class"); line == 1 && i >= 0 && j >= 0 {
			file, label = i, j
			continue
		}
		if len(rec) <= max(file, label) {
			return nil, nil, &BadSampleError{path, fmt.Errorf("line %d has no label", line)}
		}
		v, err := labelValue(rec[label], classes)
		if err != nil {
			return nil, nil, &BadSampleError{path, fmt.Errorf("line %d: %w", line, err)}
		}
		name := filepath.FromSlash(strings.TrimSpace(rec[file]))
		if !filepath.IsLocal(name) {
			return nil, nil, &BadSampleError{path, fmt.Errorf("line %d: the path %q leads out of the folder", line, name)}
		}
		if _, twice := labels[name]; !twice {
			files = append(files, name)
		}
		labels[name] = v
	}
}

// place is the index of the first column that has one of the names, -1 if none has.
func place(header []string, names ...string) int {
	for i, h := range header {
		for _, n := range names {
			if strings.EqualFold(strings.TrimSpace(h), n) {
				return i
			}
		}
	}
	return -1
}

// labelValue reads a label: a number, or the name of a class.
func labelValue(s string, classes []string) (float64, error) {
	s = strings.TrimSpace(s)
	for i, c := range classes {
		if c == s {
			return float64(i), nil
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("the label %q is no number and no name in the list classes of %s", s, sidecarFile)
	}
	return v, nil
}

// labelFile reads a file of labels, one a row: .npy, IDX, or text with one number a line.
func labelFile(path string, classes []string) ([]float64, error) {
	r, err := openMaybeGzip(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head, _ := r.Peek(6) // what is shorter is text
	var labels []float64
	switch {
	case len(head) >= 4 && head[0] == 0 && head[1] == 0:
		var h *idxHeader
		if h, err = readIDXHeader(r); err == nil {
			labels, err = h.labels(r)
		}
	case strings.HasPrefix(string(head), "\x93NUMPY"):
		var t *ir.Tensor
		if t, err = npz.ReadArray(r, maxLabels); err == nil {
			labels, err = labelsOf(t)
		}
	default:
		labels, err = labelLines(r, classes)
	}
	if err != nil {
		return nil, &BadSampleError{path, err}
	}
	return labels, nil
}

// labelsOf are the labels in a tensor of one number a row; rows of ones and zeros mark their class.
func labelsOf(t *ir.Tensor) ([]float64, error) {
	if t.DType() == ir.String {
		return nil, errors.New("labels are strings; they have to be numbers")
	}
	v, err := Floats(t)
	if err != nil || t.Rank() == 0 {
		return v, err
	}
	rows := t.Shape()[0]
	if rows == 0 || int64(len(v)) == rows {
		return v, nil
	}
	if t.Rank() != 2 {
		return nil, fmt.Errorf("labels of shape %v; one a row is wanted", t.Shape())
	}
	r := make([]float64, rows)
	k := int(t.Shape()[1])
	for i := range r {
		hot := -1
		for c, x := range v[i*k : (i+1)*k] {
			if x == 1 && hot < 0 {
				hot = c
			} else if x != 0 {
				return nil, fmt.Errorf("row %d of the labels is neither one number nor a single one among zeros", i)
			}
		}
		r[i] = float64(hot)
		if hot < 0 {
			return nil, fmt.Errorf("row %d of the labels has no one", i)
		}
	}
	return r, nil
}

func labelLines(r io.Reader, classes []string) ([]float64, error) {
	var labels []float64
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		v, err := labelValue(lines.Text(), classes)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(labels)+1, err)
		}
		if labels = append(labels, v); len(labels) > maxLabels {
			return nil, errors.New("too many labels")
		}
	}
	return labels, lines.Err()
}

// labelAt is label i, NaN where there are none.
func labelAt(labels []float64, i int) float64 {
	if i < len(labels) {
		return labels[i]
	}
	return math.NaN()
}
