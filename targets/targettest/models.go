package targettest

import (
	"bufio"
	_ "embed"
	"path/filepath"
	"strings"
)

//go:embed sizes.tsv
var sizesText string

// Models are the files of models in a folder, and the sizes of open dimensions of those that are known, by name.
func Models(folder string) (paths []string, sizes map[string]string) {
	paths, _ = filepath.Glob(filepath.Join(folder, "*.onnx"))
	return paths, Rows(sizesText)
}

// Rows reads a table of two columns, without its comments.
func Rows(text string) map[string]string {
	r := map[string]string{}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "\t"); ok && !strings.HasPrefix(k, "#") {
			r[k] = v
		}
	}
	return r
}
