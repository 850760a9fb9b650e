package dataset

import (
	"os"
	"path/filepath"
	"strings"
)

// Companions lists the files outside of a data set's own path that Open looks at by convention, as far as they are there: labels and settings
// beside a file, and the list of labels in the folder above a folder. Who copies a set copies them, too.
func Companions(path string) []string {
	path = filepath.Clean(path)
	dir, base := filepath.Dir(path), filepath.Base(path)
	names := []string{labelsFile}
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		names = append(names, sidecarFile, strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(base))
		if s, err := readSidecar(filepath.Join(dir, sidecarFile)); err == nil && s.labels != "" && filepath.IsLocal(s.labels) {
			names = append(names, s.labels)
		}
	}
	var r []string
	for _, name := range names {
		file := filepath.Join(dir, name)
		if st, err := os.Stat(file); name != base && err == nil && st.Mode().IsRegular() {
			r = append(r, file)
		}
	}
	return r
}
