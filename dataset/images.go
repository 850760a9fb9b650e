package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/dataset/picture"
)

// imageFile is a picture and its label, NaN if it has none.
type imageFile struct {
	path  string
	label float64
}

type imageSource struct{ files []imageFile }

// errNoSettings is what pictures without settings get: which they need cannot be guessed, and a wrong guess gives wrong numbers silently.
var errNoSettings = errors.New(`pictures need to be told how the model takes them; put a file ` + sidecarFile + ` beside them, for example

    preset: imagenet-torch     # or imagenet-tf, caffe-bgr, yolo; or key by key:
    resize: 256                # the shorter side, or 320x240
    center-crop: 224
    scale: 1/255
    mean: [0.485, 0.456, 0.406]
    std: [0.229, 0.224, 0.225]

or name a preset (--preset imagenet-torch) or the keys (--resize 256) on the command line`)

func (s *Set) openImages(dir string, files []imageFile) (source, error) {
	if !s.hasSpec && !s.o.Raw {
		return nil, errNoSettings
	}
	if len(files) == 0 {
		return nil, errors.New("there are no pictures in this folder")
	}
	if _, err := s.only(); err != nil {
		return nil, err
	}
	return &imageSource{files}, nil
}

// openImageFolder lists the pictures of a folder: those of labels.csv, or those right in the folder, without labels, or those of a
// folder a class. labels.csv of the folder above counts if it names files of this one. Pictures in the folder and in folders below
// it are refused: are they of classes, or not?
func (s *Set) openImageFolder() (source, error) {
	files, err := s.tabled(s.path, "")
	if err == nil && files == nil {
		files, err = s.tabled(filepath.Dir(filepath.Clean(s.path)), filepath.Base(s.path))
	}
	if err == nil && files == nil {
		files, err = s.untabled()
	}
	if err != nil {
		return nil, err
	}
	return s.openImages(s.path, files)
}

// untabled lists the pictures of a folder without labels.csv.
func (s *Set) untabled() ([]imageFile, error) {
	here, err := pictures(s.path)
	if err != nil {
		return nil, err
	}
	dirs, err := folders(s.path)
	if err != nil {
		return nil, err
	}
	if len(here) == 0 {
		return s.classFolders(dirs)
	}
	var files []imageFile
	for _, p := range here {
		files = append(files, imageFile{p, math.NaN()})
	}
	for _, d := range dirs {
		below, err := pictures(filepath.Join(s.path, d))
		if err != nil {
			return nil, err
		}
		if len(below) > 0 {
			return nil, fmt.Errorf("there are pictures here (%s) and in the folder %s, so that folders are no classes; name one folder, or say in %s which files count",
				filepath.Base(here[0]), d, labelsFile)
		}
	}
	return files, nil
}

// folders lists the folders in a folder.
func folders(dir string) (r []string, err error) {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") && isDir(filepath.Join(dir, e.Name())) {
			r = append(r, e.Name())
		}
	}
	return r, err
}

// tabled lists the files of a labels.csv in dir, those below the folder sub only; nil if there are none.
func (s *Set) tabled(dir, sub string) ([]imageFile, error) {
	path := filepath.Join(dir, labelsFile)
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	names, labels, err := labelTable(path, s.classes)
	if err != nil {
		return nil, err
	}
	var files []imageFile
	for _, name := range names {
		if sub == "" || strings.HasPrefix(name, sub+string(filepath.Separator)) {
			files = append(files, imageFile{filepath.Join(dir, name), labels[name]})
		}
	}
	return files, nil
}

// classFolders lists the pictures of a folder a class. Folders that are all numbers are the classes' numbers; otherwise the
// list of classes of the sidecar counts, or else the order of the names, as in torchvision's ImageFolder.
func (s *Set) classFolders(dirs []string) ([]imageFile, error) {
	numbers := !slices.ContainsFunc(dirs, func(d string) bool { _, err := strconv.ParseUint(d, 10, 31); return err != nil })
	var files []imageFile
	for i, d := range dirs {
		label := float64(i)
		switch k := slices.Index(s.classes, d); {
		case k >= 0:
			label = float64(k)
		case s.classes != nil:
			return nil, fmt.Errorf("the folder %q is not in the list classes of %s", d, sidecarFile)
		case numbers:
			label, _ = strconv.ParseFloat(d, 64) // which was looked at above
		}
		names, err := pictures(filepath.Join(s.path, d))
		if err != nil {
			return nil, err
		}
		for _, p := range names {
			files = append(files, imageFile{p, label})
		}
	}
	return files, nil
}

// pictures lists the picture files of a folder, by name.
func pictures(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var r []string
	for _, e := range list {
		if kindOfEntry(e.Name(), e.IsDir()) == "images" && !strings.HasPrefix(e.Name(), ".") {
			r = append(r, filepath.Join(dir, e.Name()))
		}
	}
	sortNumbered(r)
	return r, nil
}

func (s *imageSource) size() int    { return len(s.files) }
func (s *imageSource) close() error { return nil }

func (s *imageSource) rows(ctx context.Context) iter.Seq[row] {
	return func(yield func(row) bool) {
		for _, f := range s.files {
			r := row{name: f.path, label: f.label}
			r.picture, r.err = readPicture(f.path)
			if ctx.Err() != nil || !yield(r) {
				return
			}
		}
	}
}

// maxPictureFile bounds the bytes of a picture file.
const maxPictureFile = 1 << 29

func readPicture(path string) (*picture.Picture, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no such file")
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("this is no regular file")
	case st.Size() > maxPictureFile:
		return nil, fmt.Errorf("a picture of %d bytes", st.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return picture.Decode(bytes.NewReader(b))
}
