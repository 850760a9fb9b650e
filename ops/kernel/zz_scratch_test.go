package kernel_test

import (
	"os"
	"path/filepath"
	"testing"
)

func TestScratchDiff(t *testing.T) {
	dirs, _ := filepath.Glob("/tmp/dt/*")
	pass := 0
	for _, d := range dirs {
		files := nodeTest{}
		m, _ := os.ReadFile(d + "/model.onnx")
		files["model.onnx"] = m
		pbs, _ := filepath.Glob(d + "/test_data_set_0/*.pb")
		for _, p := range pbs {
			b, _ := os.ReadFile(p)
			files[filepath.Base(p)] = b
		}
		if _, err := runConformance(files); err != nil {
			t.Log(filepath.Base(d), err)
		} else {
			pass++
		}
	}
	t.Log(pass, "of", len(dirs))
}
