package kernel

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestNoFusedMultiplyAdd compiles the kernels for a machine on which the compiler fuses x*y + z where the language allows it,
// and looks for the instructions: one rounding in place of two would give other bits than elsewhere.
func TestNoFusedMultiplyAdd(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for arm64")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command")
	}
	cmd := exec.Command(goTool, "build", "-gcflags=-S", ".", "./internal/fmath")
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "GOOS=linux", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-2000):])
	}
	if !regexp.MustCompile(`FADD[SD]`).Match(out) {
		t.Fatal("the listing holds no additions: the test looks in the wrong place")
	}
	for _, line := range regexp.MustCompile(`(?m)^.*\tFN?M(ADD|SUB)[SD]\t.*$`).FindAllString(string(out), 20) {
		t.Error(line)
	}
}
