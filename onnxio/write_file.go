package onnxio

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// WriteFile writes m to path. The file at path is the old one or the new one at any time, whole: the new one is written beside it
// and renamed. path may be the file that m was read from. Data files are written first, under names that their content
// determines; those of the model that was at path are removed last, if this package wrote them. On an error nothing is
// left behind. It changes nothing in m.
func WriteFile(path string, m *ir.Model, o WriteOptions) (*Written, error) {
	o = o.withDefaults()
	path, special, err := target(path)
	if err != nil {
		return nil, err
	}
	if special {
		return writeSpecial(path, m, o)
	}
	w, err := newWriter(m)
	if err != nil {
		return nil, err
	}
	f := &fileWriter{writer: w, path: path, dir: filepath.Dir(path), o: o}
	f.o.Durable = o.Durable || f.replacesSource()
	if err := Guard(f.write); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &w.done, nil
}

// target resolves links, and says whether path is something other than a file: a pipe, a device.
func target(path string) (real string, special bool, err error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return path, false, nil
	case err != nil:
		return "", false, err
	case st.IsDir():
		return "", false, fmt.Errorf("%s is a directory", path)
	case !st.Mode().IsRegular():
		return path, true, nil
	}
	real, err = filepath.EvalSymlinks(path)
	return real, false, err
}

func writeSpecial(path string, m *ir.Model, o WriteOptions) (*Written, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	r, err := Write(f, m, o)
	return r, errors.Join(err, f.Close())
}

// fileWriter is a writer of a file and its data files.
type fileWriter struct {
	*writer
	path, dir string
	o         WriteOptions
	shards    dataWriter
	copies    []string // data files brought into the folder
}

func (f *fileWriter) write() error {
	unlock, err := lockFolder(f.dir, f.o.Stop)
	if err != nil {
		return err
	}
	defer unlock()
	old := f.oldData()
	err = f.writeNew()
	if err != nil {
		f.shards.discard()
		f.discardCopies()
		return err
	}
	for _, s := range f.shards.shards {
		f.done.Data = append(f.done.Data, s.name)
	}
	for _, name := range old {
		if !slices.Contains(f.done.Data, name) {
			f.removeOld(name)
		}
	}
	return nil
}

func (f *fileWriter) writeNew() error {
	layout := f.o.Data
	if layout == DataAuto && f.hasDataFiles() {
		layout = DataExternal
	}
	switch layout {
	case DataExternal:
		return f.writeExternal()
	case DataKeep:
		if err := f.copyData(); err != nil {
			return err
		}
	default:
		f.data = &dataPlan{}
	}
	r, err := f.model()
	if err != nil {
		return err
	}
	if layout == DataAuto && r.Len() > f.o.Limit {
		f.done.Remarks = append(f.done.Remarks, fmt.Sprintf("weights go to a data file: the model would have %d bytes", r.Len()))
		return f.writeExternal()
	}
	return f.replace(func(out io.Writer) error { return f.stream(f.o.stoppable(out), r, f.o.Limit) })
}

func (f *fileWriter) writeExternal() error {
	ts, hoist := f.candidates(f.o.Threshold)
	f.shards = dataWriter{dir: f.dir, stem: stemOf(f.path), o: f.o}
	at, err := f.shards.write(ts)
	if err != nil {
		return err
	}
	f.data = &dataPlan{at: at, hoist: hoist}
	r, err := f.model()
	if err != nil {
		return err
	}
	return f.replace(func(out io.Writer) error { return f.stream(f.o.stoppable(out), r, f.o.Limit) })
}

func stemOf(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// replace writes a file beside path and renames it to path.
func (f *fileWriter) replace(write func(io.Writer) error) error {
	t, err := createTemp(f.dir, filepath.Base(f.path))
	if err != nil {
		return err
	}
	if st, err := os.Stat(f.path); err == nil {
		t.Chmod(st.Mode().Perm()) // best effort: not every file system has modes
	}
	err = write(t)
	if err == nil {
		err = f.o.sync(t)
	}
	if err = errors.Join(err, t.Close()); err == nil {
		if closeBeforeRename {
			f.closeSource()
		}
		if len(f.shards.shards)+len(f.copies) > 0 {
			f.syncDir() // the data files' names are on the disk before the model's
		}
		err = os.Rename(t.Name(), f.path)
	}
	if err != nil {
		os.Remove(t.Name())
		return err
	}
	f.syncDir()
	return nil
}

// syncDir makes the names of new files in the model's folder durable, as far as the system can: an error changes nothing about what
// is in place.
func (f *fileWriter) syncDir() {
	if !f.o.Durable {
		return
	}
	if d, err := os.Open(f.dir); err == nil {
		d.Sync()
		d.Close()
	}
}

// sync waits for the disk if that is asked for.
func (o *WriteOptions) sync(f *os.File) error {
	if !o.Durable {
		return nil
	}
	return f.Sync()
}

// replacesSource reports whether path is the file that the model was read from.
func (f *fileWriter) replacesSource() bool {
	x := extraOf[modelExtra](f.m.Extra)
	if x == nil || x.src.file == nil {
		return false
	}
	a, err1 := x.src.file.Stat()
	b, err2 := os.Stat(f.path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// closeSource closes the maps of the model's own file if that is what is being replaced: Windows does not replace mapped files.
func (f *fileWriter) closeSource() {
	if f.replacesSource() {
		x := extraOf[modelExtra](f.m.Extra)
		x.src.close()
		x.data.close()
	}
}

// createTemp makes a new file for a result named base, with the permissions that new files get.
func createTemp(dir, base string) (*os.File, error) {
	for {
		name := filepath.Join(dir, fmt.Sprintf(".%s.%08x.tmp", base, rand.Uint32()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
}

// hasDataFiles reports whether the model came with data files.
func (f *fileWriter) hasDataFiles() bool {
	x := extraOf[modelExtra](f.m.Extra)
	return x != nil && len(x.data.open) > 0
}

// copyData brings the data files that the model refers to into the folder of path, under the same names.
func (f *fileWriter) copyData() error {
	x := extraOf[modelExtra](f.m.Extra)
	if x == nil {
		return nil
	}
	f.done.Data = slices.Sorted(maps.Keys(x.data.open))
	for _, name := range f.done.Data {
		if err := f.copyFile(name, x.data.open[name]); err != nil {
			return fmt.Errorf("data file %q: %w", name, err)
		}
	}
	return nil
}

// CopyData brings the data files that m was read with into a folder, under the same names, for a model that is written there in
// another notation and names them. On an error nothing is left behind.
func CopyData(dir string, m *ir.Model, o WriteOptions) ([]string, error) {
	f := &fileWriter{writer: &writer{m: m}, dir: dir, o: o}
	if err := Guard(f.copyData); err != nil {
		f.discardCopies()
		return nil, err
	}
	return f.done.Data, nil
}

// stays reports whether path, below dir by its name, is below it through links, too, as far as it exists.
func stays(dir, path string) error {
	base, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for p := path; p != filepath.Clean(dir) && p != "."; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if errors.Is(err, os.ErrNotExist) {
			if _, err := os.Lstat(p); err == nil {
				return errors.New("a link in the new folder leads nowhere")
			}
			continue
		}
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(base, real); err != nil || !filepath.IsLocal(rel) {
			return errors.New("a link in the new folder leads out of it")
		}
		return nil
	}
	return nil
}

func (f *fileWriter) discardCopies() {
	for _, c := range f.copies {
		os.Remove(c)
	}
}

func (f *fileWriter) copyFile(name string, s *source) error {
	if err := checkLocation(name); err != nil {
		return err
	}
	to := filepath.Join(f.dir, filepath.FromSlash(name))
	a, err := os.Stat(to)
	there := err == nil
	if there {
		if b, err := os.Stat(s.path); err == nil && os.SameFile(a, b) {
			return nil
		}
	}
	if err := stays(f.dir, to); err != nil {
		return err
	}
	if there {
		if !a.Mode().IsRegular() { // reading a FIFO would wait for a writer
			return errors.New("what has that name in the new folder is not a regular file")
		}
		same, err := sameContent(to, s.path)
		if err == nil && !same {
			err = errors.New("another file of that name is in the new folder")
		}
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	t, err := createTemp(filepath.Dir(to), filepath.Base(to))
	if err != nil {
		return err
	}
	_, err = f.o.stoppable(t).Write(s.data)
	if err == nil {
		err = f.o.sync(t)
	}
	if err = errors.Join(err, t.Close()); err == nil {
		err = os.Rename(t.Name(), to)
	}
	if err != nil {
		os.Remove(t.Name())
		return err
	}
	f.copies = append(f.copies, to)
	return nil
}

// oldData lists the data files of the model at path that this package wrote for it, going by their names.
func (f *fileWriter) oldData() []string {
	ours := regexp.MustCompile(`^` + regexp.QuoteMeta(stemOf(f.path)) + `-[0-9a-f]{16}(-[0-9]+)?` + regexp.QuoteMeta(dataSuffix) + `$`)
	entries, err := os.ReadDir(f.dir)
	if err != nil || !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return ours.MatchString(e.Name()) }) {
		return nil
	}
	old, err := Open(f.path, Options{})
	if err != nil { // nothing there, or no model
		return nil
	}
	defer old.Close()
	var names []string
	for name := range old.data.open {
		if ours.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// removeOld removes a data file that nothing refers to any more, unless it has other links.
func (f *fileWriter) removeOld(name string) {
	path := filepath.Join(f.dir, name)
	st, err := os.Lstat(path)
	if err == nil && st.Mode().IsRegular() && !hasLinks(st) {
		os.Remove(path) // what stays behind does no harm
	}
}
