// Package dataset reads inputs and labels for models: for calibration, verification and evaluation. It recognises the
// format by content and name (see [Open]), binds what a file holds to the inputs of a model, and streams samples: a set may be larger
// than memory.
package dataset

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/dataset/picture"
	"github.com/onnxopt/onnxopt/ir"
)

// Port is an input or output of the model that a set is for.
type Port struct {
	Name     string
	Type     *ir.Type // nil if nothing is known
	Optional bool     // has a default
}

// Inputs lists the inputs of a model.
func Inputs(m *ir.Model) []Port { return ports(m.Main.Inputs()) }

// Outputs lists the outputs of a model.
func Outputs(m *ir.Model) []Port { return ports(m.Main.Outputs()) }

func ports(slots []*ir.Slot) []Port {
	r := make([]Port, len(slots))
	for i, s := range slots {
		r[i] = Port{Name: s.Name(), Type: s.Type(), Optional: s.Value() != nil && s.Value().Default() != nil}
	}
	return r
}

// Options say how a set is read. Inputs are required unless Raw is set.
type Options struct {
	Inputs []Port
	// Raw reads the set for itself, not for a model: the inputs of a sample are what the data hold, by the names that these have
	// there ("data" where there is none), with their own types. Pictures without settings are bytes [1,H,W,C].
	Raw     bool
	Outputs []Port // names of recorded outputs; may be empty
	// Whole takes each array of a .npz or .npy file as one input, instead of one sample a row.
	Whole bool
	// Image declares how pictures become inputs; it overrides the sidecar file. nil: what the sidecar says.
	Image []Setting
	// Labels names a file of labels, LabelColumn a column or array; empty: by convention.
	Labels, LabelColumn string
	// Cast rounds numbers that the model's type cannot hold exactly; without it they are an error.
	Cast bool
	// SkipBad leaves out what cannot be read; see Set.Skipped.
	SkipBad bool
}

// Setting is one setting of a picture.Spec.
type Setting struct{ Key, Value string }

// Sample is one row of a set.
type Sample struct {
	// Name says where the sample comes from, for messages.
	Name string
	// Inputs are values by name of the input. Their first axis has size one where samples can be put together.
	Inputs map[string]ir.Datum
	// Expect holds recorded outputs by name, nil if there are none.
	Expect map[string]ir.Datum
	// Label is a class or a score, NaN if there is none.
	Label float64
	// Mask, of shape [2, length], says of a pair of sequences which of their elements are not padding: the inputs have a row for
	// each sequence. nil: the sample is no pair.
	Mask *ir.Tensor

	whole bool // is never put together with others
}

// Labelled reports whether the sample has a label.
func (s *Sample) Labelled() bool { return !math.IsNaN(s.Label) }

// Set is an open data set. It may be read more than once, by one reader at a time.
type Set struct {
	path    string
	from    int
	to      int // -1: all behind
	format  string
	o       Options
	src     source
	spec    picture.Spec
	hasSpec bool
	classes []string
	skipped []error
	nSkips  int
}

// source supplies the rows of a format.
type source interface {
	// rows yields the rows. A row that could not be read has an error; the rows behind it follow unless it is the last.
	rows(ctx context.Context) iter.Seq[row]
	// size is the number of rows, -1 if it is not known.
	size() int
	close() error
}

// row is a sample before it is bound to a model.
type row struct {
	name    string
	values  []column
	expect  []column
	picture *picture.Picture // stands for values
	label   float64          // NaN: none
	mask    *ir.Tensor       // of a pair of sequences
	whole   bool
	err     error
}

// column is a value and the name it has in the file, "" for the model's only input.
type column struct {
	name  string
	value ir.Datum
	// fixed values belong to every sample alike and are not put together.
	fixed bool
}

// BadSampleError says what is wrong with one sample or file.
type BadSampleError struct {
	Name string
	Err  error
}

func (e *BadSampleError) Error() string { return e.Name + ": " + e.Err.Error() }
func (e *BadSampleError) Unwrap() error { return e.Err }

// Open opens a data set. It knows
//
//   - .npz: arrays named as the inputs, a sample a row; labels in an array label, labels, y or target;
//   - .npy: an array for the only input; folders of them: files named as the inputs, or one file a sample;
//   - folders of .npz: one file a sample, of any shape;
//   - ONNX's test data: folders of input_0.pb, output_0.pb, or of test_data_set_0, ...;
//   - IDX, compressed or not, with labels beside it (images and labels in the names, idx3 and idx1);
//   - CIFAR-10's binary files;
//   - CSV and TSV with a header: columns named as the inputs, or all columns but the label for the only input;
//   - CSV and TSV of pairs of sentences, for a model of token numbers and a mask: two columns of token numbers with blanks between
//     them, and a score (see Sample.Mask);
//   - folders of pictures: labels.csv (file, label), or a folder a class; pictures need settings, in a file preprocess.yaml in the
//     folder or in the options.
//
// PATH[A:B] are the samples from A, counted from 0, up to B and without it; either may be left out.
//
// The error names the file, and what was expected where a format is not recognised.
func Open(path string, o Options) (*Set, error) {
	s := &Set{o: o}
	s.path, s.from, s.to = Split(path)
	if err := s.open(); err != nil {
		return nil, at(s.path, err)
	}
	return s, nil
}

var part = regexp.MustCompile(`^(.+)\[(\d{0,15}):(\d{0,15})\]$`)

// Split takes PATH[A:B] apart: the file or folder, and the samples from..to, to −1 for all behind. A path that exists as it is has no part.
func Split(path string) (file string, from, to int) {
	p := part.FindStringSubmatch(path)
	if p == nil {
		return path, 0, -1
	}
	if _, err := os.Lstat(path); err == nil {
		return path, 0, -1
	}
	from, _ = strconv.Atoi(p[2]) // digits, or nothing for 0
	if to = -1; p[3] != "" {
		to, _ = strconv.Atoi(p[3])
	}
	return p[1], from, to
}

// at names the file in an error that does not.
func at(path string, err error) error {
	var p *os.PathError
	var b *BadSampleError
	if errors.As(err, &p) || errors.As(err, &b) {
		return err
	}
	return &BadSampleError{path, err}
}

// Format is the name of the format: "npz", "npy", "onnx", "idx", "cifar10", "csv" or "images".
func (s *Set) Format() string { return s.format }

// Len is the number of samples, -1 if it is not known before they are read.
func (s *Set) Len() int {
	n := s.src.size()
	if n < 0 {
		return n
	}
	if s.to >= 0 {
		n = min(n, s.to)
	}
	return max(n-s.from, 0)
}

// Close closes the files of the set.
func (s *Set) Close() error { return s.src.close() }

// Skipped is the number of samples that the last reading left out, and the first of their errors.
func (s *Set) Skipped() (int, []error) { return s.nSkips, s.skipped }

// keptErrors bounds the errors that are remembered.
const keptErrors = 16

// Samples yields the samples. An error ends them; with SkipBad what cannot be read is left out instead.
func (s *Set) Samples(ctx context.Context) iter.Seq2[*Sample, error] {
	return func(yield func(*Sample, error) bool) {
		s.skipped, s.nSkips = nil, 0
		n := -1
		for r := range s.src.rows(ctx) {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if n++; s.to >= 0 && n >= s.to {
				return
			}
			if n < s.from {
				continue
			}
			sample, err := s.bind(r)
			if err != nil {
				err = at(r.name, err)
			}
			if err != nil && s.o.SkipBad {
				if s.nSkips++; len(s.skipped) < keptErrors {
					s.skipped = append(s.skipped, err)
				}
				continue
			}
			if !yield(sample, err) || err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil { // some sources end with it
			yield(nil, err)
		}
	}
}

// Batch is a number of samples for one run of a model.
type Batch struct {
	Samples []*Sample
	Inputs  map[string]ir.Datum
	// Padded counts copies of the last sample at the end, which fill up the batch of a model that takes no other size.
	Padded int

	rows int
}

// Rows is the number of samples that a run computes, copies included.
func (b *Batch) Rows() int { return b.rows }

// Batches yields up to n samples at a time, put together along the first axis. A batch ends early where shapes change; a model whose
// inputs have a fixed first size above one gets batches of that size.
func (s *Set) Batches(ctx context.Context, n int) iter.Seq2[*Batch, error] {
	fixed := s.fixedBatch()
	if fixed > 0 {
		n = int(fixed)
	}
	return func(yield func(*Batch, error) bool) {
		var wait []*Sample
		flush := func() bool {
			if len(wait) == 0 {
				return true
			}
			b, err := join(wait, int(fixed))
			wait = nil
			return yield(b, err) && err == nil
		}
		for sample, err := range s.Samples(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(wait) > 0 && !alike(wait[0], sample) && !flush() {
				return
			}
			if wait = append(wait, sample); (len(wait) >= max(n, 1) || sample.whole) && !flush() {
				return
			}
		}
		flush()
	}
}

// fixedBatch is the first size that all required inputs share if it is fixed; 0 if there is none.
func (s *Set) fixedBatch() int64 {
	size := int64(0)
	for _, p := range s.o.Inputs {
		if p.Optional {
			continue
		}
		shape := p.Type.TensorShape()
		if len(shape) == 0 || !shape[0].IsStatic() || size > 0 && shape[0].Size != size {
			return 0
		}
		size = shape[0].Size
	}
	return size
}

// open recognises the format.
func (s *Set) open() error {
	st, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if err := s.settings(st.IsDir()); err != nil {
		return err
	}
	if st.IsDir() {
		s.src, s.format, err = s.openFolder()
	} else {
		s.src, s.format, err = s.openFile(s.path)
	}
	return err
}

// openFile recognises the format of a file.
func (s *Set) openFile(path string) (source, string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if !st.Mode().IsRegular() {
		return nil, "", errors.New("this is no regular file")
	}
	kind, err := sniff(path, st.Size())
	if err != nil {
		return nil, "", err
	}
	var src source
	switch kind {
	case "npz":
		src, err = s.openNpz(path)
	case "npy":
		src, err = s.openNpy(path)
	case "idx":
		src, err = s.openIDX(path)
	case "cifar10":
		src, err = s.openCIFAR(path, st.Size())
	case "csv":
		src, err = s.openCSV(path)
	case "images":
		src, err = s.openImages(filepath.Dir(path), []imageFile{{path: path, label: math.NaN()}})
	default:
		err = errors.New("the format is not known; data are .npz, .npy, IDX, CIFAR-10, CSV, pictures, or folders of such files")
	}
	return src, kind, err
}

// openFolder recognises what a folder holds.
func (s *Set) openFolder() (source, string, error) {
	list, err := os.ReadDir(s.path)
	if err != nil {
		return nil, "", err
	}
	byKind := map[string][]string{}
	for _, e := range list {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		k := kindOfEntry(name, e.IsDir() || e.Type()&os.ModeSymlink != 0 && isDir(filepath.Join(s.path, name)))
		byKind[k] = append(byKind[k], filepath.Join(s.path, name))
	}
	var src source
	switch {
	case byKind["pb"] != nil:
		src, err = s.openTestData([]string{s.path})
		return src, "onnx", err
	case byKind["test_data_set"] != nil:
		sortNumbered(byKind["test_data_set"])
		src, err = s.openTestData(byKind["test_data_set"])
		return src, "onnx", err
	case byKind["npz"] != nil:
		return &npzFolder{s, byKind["npz"]}, "npz", nil
	case byKind["npy"] != nil:
		src, err = s.openNpyFolder(byKind["npy"])
		return src, "npy", err
	case byKind["images"] != nil || byKind["folder"] != nil || byKind["labels"] != nil:
		src, err = s.openImageFolder()
		return src, "images", err
	}
	images := slices.DeleteFunc(byKind["idx"], func(p string) bool { return strings.Contains(filepath.Base(p), "labels") })
	switch {
	case len(images) == 1:
		return s.openFile(images[0])
	case len(images) > 1:
		return nil, "", fmt.Errorf("several sets are in this folder; name one of %s", strings.Join(images, ", "))
	}
	return nil, "", errors.New("no data are in this folder: neither .npz, .npy, input_0.pb, test_data_set_0, IDX files nor pictures")
}

// isDir reports whether a path leads to a folder.
func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
