package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// howToGet ends messages about a library that is missing or too old.
const howToGet = "get one with `pip install onnxruntime`, or name the file of a release of github.com/microsoft/onnxruntime"

// Find looks for ONNX Runtime and returns what Open takes: a path, or a name that the system's loader knows. With explicit,
// a file or a folder, nothing else is looked at. Otherwise roots come first, in order, then the system's loader. A root is a
// folder that Python or ONNX Runtime is installed in: a virtual environment, the prefix of an interpreter (PythonRoots), an
// unpacked release, or the folder of the library itself. The error is one sentence that says where Find looked.
func Find(explicit string, roots ...string) (string, error) {
	if loaderMissing != "" {
		return "", errors.New(loaderMissing)
	}
	if explicit != "" {
		return findExplicit(explicit)
	}
	for _, root := range roots {
		if path := libraryBelow(root); path != "" {
			return path, nil
		}
	}
	names := systemNames()
	for _, name := range names {
		if _, err := loadLibrary(name); err == nil {
			return name, nil
		}
	}
	places := make([]string, 0, len(roots)+1)
	for _, root := range roots {
		places = append(places, "below "+root)
	}
	places = append(places, "for "+strings.Join(names, " and ")+" in the system")
	return "", fmt.Errorf("no ONNX Runtime library: looked %s; %s", strings.Join(places, ", "), howToGet)
}

func findExplicit(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("no ONNX Runtime library at %s: %w; %s", path, errors.Unwrap(err), howToGet)
	}
	if !st.IsDir() {
		return filepath.Abs(path)
	}
	if found := libraryBelow(path); found != "" {
		return found, nil
	}
	return "", fmt.Errorf("no ONNX Runtime library in the folder %s; %s", path, howToGet)
}

// PythonRoots lists the roots, for Find, of the interpreter at the path python: its prefix as the path states it, and the
// one that symbolic links lead to. The libraries of a virtual environment are below the first.
func PythonRoots(python string) []string {
	if python == "" {
		return nil
	}
	var roots []string
	add := func(file string) {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return
		}
		if base := filepath.Base(dir); base == "bin" || strings.EqualFold(base, "Scripts") {
			dir = filepath.Dir(dir)
		}
		if !slices.Contains(roots, dir) {
			roots = append(roots, dir)
		}
	}
	if dir := filepath.Dir(python); filepath.Base(dir) == "shims" { // of pyenv: scripts that choose among its versions
		versions, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(dir)), "versions", "*", "bin", "python3"))
		for _, v := range versions {
			add(v)
		}
		if err == nil && len(versions) > 0 {
			return roots
		}
	}
	add(python)
	if real, err := filepath.EvalSymlinks(python); err == nil {
		add(real)
	}
	return roots
}

// below lists, as patterns, the folders of a root that the library may be in. The last are those of Windows.
var below = [...]string{
	"onnxruntime/capi", "capi", "lib", ".",
	"lib/python3*/site-packages/onnxruntime/capi", "lib64/python3*/site-packages/onnxruntime/capi",
	"lib/python3*/dist-packages/onnxruntime/capi", "local/lib/python3*/dist-packages/onnxruntime/capi",
	"Lib/site-packages/onnxruntime/capi",
}

// libraryBelow is the newest library in the folders of root, "" if there is none.
func libraryBelow(root string) string {
	var found []string
	for _, dir := range below {
		for _, name := range fileNames() {
			m, err := filepath.Glob(filepath.Join(escapeGlob(root), filepath.FromSlash(dir), name))
			if err == nil { // only a bad pattern is an error, and these are good
				found = append(found, m...)
			}
		}
	}
	found = slices.DeleteFunc(found, func(path string) bool {
		st, err := os.Stat(path)
		return err != nil || !st.Mode().IsRegular()
	})
	if len(found) == 0 {
		return ""
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return slices.Compare(fileVersion(a), fileVersion(b)) })
	if abs, err := filepath.Abs(newest); err == nil {
		return abs
	}
	return newest
}

// escapeGlob makes every character of a path stand for itself. Windows has no escapes, and forbids * and ? in names.
func escapeGlob(path string) string {
	if runtime.GOOS == "windows" {
		return path
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// fileNames are the patterns of the library's file name.
func fileNames() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.[0-9]*.dylib"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.[0-9]*"}
}

// fileVersion is the version in a file name, empty if it has none.
func fileVersion(path string) []int {
	var v []int
	for _, part := range strings.Split(filepath.Base(path), ".") {
		if n, err := strconv.Atoi(part); err == nil {
			v = append(v, n)
		}
	}
	return v
}
