package onnxio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// location is where a tensor's elements lie in a data file, as external_data states it.
type location struct {
	name   string // path below the model's folder, with slashes
	offset int64
	file   *source
}

// dataFiles opens a model's data files, each once.
type dataFiles struct {
	o     Options
	root  *os.Root // of DataDir; nil until the first file
	links *os.Root // of DataRoot
	open  map[string]*source
	taken map[string]*claims
}

func newDataFiles(o Options) *dataFiles {
	return &dataFiles{o: o, open: map[string]*source{}, taken: map[string]*claims{}}
}

// claims are the parts of a data file that tensors have, in order of their offsets.
type claims struct{ from, to []int64 }

// claim notes that a tensor has size bytes from offset on. Tied weights have the same part; parts that overlap otherwise are an error, for
// no writer makes them, and readers that load in place would let one tensor be changed through another.
func (d *dataFiles) claim(name string, offset, size int64) error {
	if size == 0 {
		return nil
	}
	c := d.taken[name]
	if c == nil {
		c = &claims{}
		d.taken[name] = c
	}
	end := offset + size
	i, found := slices.BinarySearch(c.from, offset)
	switch {
	case found && c.to[i] == end:
		return nil
	case found, i > 0 && c.to[i-1] > offset, i < len(c.from) && c.from[i] < end:
		return fmt.Errorf("its part of data file %q, %d bytes from %d on, overlaps that of another tensor", name, size, offset)
	}
	c.from, c.to = slices.Insert(c.from, i, offset), slices.Insert(c.to, i, end)
	return nil
}

// external finds the elements of a tensor that lie in a data file. Everything is checked before a byte is read.
func (rd *reader) external(r *record, h *header) error {
	if h.twice {
		return errors.New("external_data states the place twice")
	}
	name := h.location["location"]
	if err := checkLocation(name); err != nil {
		return err
	}
	offset, err := number(h.location, "offset", 0)
	if err != nil {
		return err
	}
	size := r.dtype.ByteLen(r.count)
	if size < 0 {
		return errors.New("its size overflows")
	}
	length, err := number(h.location, "length", size)
	if err != nil {
		return err
	}
	if length != size {
		return fmt.Errorf("it needs %d bytes and external_data gives it %d", size, length)
	}
	f, err := rd.files.get(name)
	if err != nil {
		return err
	}
	if offset > f.size || size > f.size-offset {
		return fmt.Errorf("data file %q has %d bytes; it needs %d from %d on", name, f.size, size, offset)
	}
	if err := rd.files.claim(name, offset, size); err != nil {
		return err
	}
	r.form, r.src, r.ext = formRaw, f, &location{name, offset, f}
	r.data = f.data[offset : offset+size]
	return nil
}

// checkLocation refuses paths that could lead out of the model's folder.
func checkLocation(name string) error {
	switch local := filepath.FromSlash(name); {
	case name == "":
		return errors.New("external_data has no location")
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("data file %q: the name holds a NUL", name)
	case path.IsAbs(name), !filepath.IsLocal(local), slices.Contains(strings.FieldsFunc(name, isSlash), ".."):
		return fmt.Errorf("data file %q is not below the model's folder", name)
	}
	return nil
}

func isSlash(r rune) bool { return r == '/' || r == '\\' }

// number reads a key of external_data that holds a non-negative decimal number.
func number(kv map[string]string, key string, def int64) (int64, error) {
	s, ok := kv[key]
	if !ok {
		return def, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%s %q of external_data is no number of bytes", key, s)
	}
	return int64(n), nil
}

// get opens a data file.
func (d *dataFiles) get(name string) (*source, error) {
	if s := d.open[name]; s != nil {
		return s, nil
	}
	if d.o.DataDir == "" {
		return nil, fmt.Errorf("its elements are in data file %q, and the model has no folder: name one with DataDir", name)
	}
	s, err := d.openFile(filepath.FromSlash(name))
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, fmt.Errorf("data file %q: %w", name, err)
	}
	d.open[name] = s
	return s, nil
}

// openFile opens a file below DataDir, or where its links lead if that is below DataRoot.
func (d *dataFiles) openFile(name string) (*source, error) {
	var err error
	if d.root == nil {
		if d.root, err = os.OpenRoot(d.o.DataDir); err != nil {
			return nil, err
		}
	}
	root := d.root
	if d.o.DataRoot != "" {
		if d.links == nil {
			if d.links, err = os.OpenRoot(d.o.DataRoot); err != nil {
				return nil, err
			}
		}
		if rel, ok := d.below(name); ok {
			root, name = d.links, rel
		}
	}
	// A FIFO or a device could keep the open waiting.
	st, err := root.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, err
	}
	s, err := openSource(f, filepath.Join(root.Name(), name))
	if err != nil {
		return nil, err
	}
	// Models with a file for each weight would run out of descriptors.
	s.file = nil
	s.stat = func() (os.FileInfo, error) { return root.Stat(name) }
	return s, f.Close()
}

// below is the path below DataRoot that the links of name lead to.
func (d *dataFiles) below(name string) (string, bool) {
	real, err := filepath.EvalSymlinks(filepath.Join(d.o.DataDir, name))
	if err != nil {
		return "", false
	}
	base, err := filepath.EvalSymlinks(d.o.DataRoot)
	if err != nil {
		return "", false
	}
	rel, err := filepath.Rel(base, real)
	return rel, err == nil && filepath.IsLocal(rel)
}

func (d *dataFiles) close() error {
	var errs []error
	for _, s := range d.open {
		errs = append(errs, s.close())
	}
	for _, r := range []*os.Root{d.root, d.links} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}
