package cli

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/dataset"
)

// dataFile is a file of a data set and its name in an archive.
type dataFile struct{ path, name string }

// dataFiles lists the files of a data set: those at path under "data", what belongs to it beside that, and a file of labels.
func dataFiles(ctx context.Context, path, labels string) ([]dataFile, error) {
	path, _, _ = dataset.Split(path)
	path = filepath.Clean(path)
	dir := filepath.Dir(path)
	var r []dataFile
	err := filepath.WalkDir(path, func(file string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if st, err := os.Stat(file); err != nil || !st.Mode().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		r = append(r, dataFile{file, "data/" + filepath.ToSlash(rel)})
		return err
	})
	if err != nil {
		return nil, &fileError{path, err}
	}
	for _, file := range dataset.Companions(path) {
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return nil, &fileError{file, err}
		}
		r = append(r, dataFile{file, "data/" + filepath.ToSlash(rel)})
	}
	if labels != "" {
		r = append(r, dataFile{labels, "labels/" + filepath.Base(labels)})
	}
	slices.SortFunc(r, func(a, b dataFile) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(r, func(a, b dataFile) bool { return a.name == b.name }), nil
}

// hashData hashes the names and contents of the files of a data set.
func hashData(ctx context.Context, path, labels string) (string, error) {
	files, err := dataFiles(ctx, path, labels)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, from, to := dataset.Split(path); from != 0 || to >= 0 {
		fmt.Fprintf(h, "[%d:%d]\x00", from, to)
	}
	for _, x := range files {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		st, err := os.Stat(x.path)
		if err != nil {
			return "", &fileError{x.path, err}
		}
		fmt.Fprintf(h, "%s\x00%d\x00", x.name, st.Size())
		if err := copyFile(h, x.path); err != nil {
			return "", &fileError{x.path, err}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// packData writes a data set as an archive.
func packData(ctx context.Context, w io.Writer, path, labels string) error {
	files, err := dataFiles(ctx, path, labels)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, x := range files {
		st, err := os.Stat(x.path)
		if err != nil {
			return &fileError{x.path, err}
		}
		if err := t.WriteHeader(&tar.Header{Name: x.name, Size: st.Size(), Mode: 0o644, Format: tar.FormatPAX}); err != nil {
			return err
		}
		if err := copyFile(t, x.path); err != nil {
			return &fileError{x.path, err}
		}
	}
	return t.Close()
}

// unpackData writes the files of an archive into a folder, which they cannot lead out of.
func unpackData(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.FromSlash(h.Name)
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) {
			return fmt.Errorf("%q is not a file of a data set", h.Name)
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}
