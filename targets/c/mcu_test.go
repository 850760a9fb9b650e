package c_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
)

// TestMicrocontroller runs the quantized model on an emulated Cortex-M4. Its output is equal to the embedded engine's in integers, and it
// fits into 64 kB of memory and 128 kB for weights and code.
func TestMicrocontroller(t *testing.T) {
	for _, tool := range []string{"arm-none-eabi-gcc", "qemu-system-arm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("left out: there is no %s on the PATH; .ci/run installs it", tool)
		}
	}
	const quantized = "../../../shared/models/resnet8-cifar10-int8qdq.onnx"
	if _, err := os.Stat(quantized); err != nil {
		t.Skip("left out: the quantized model of ../shared/models is not here; it comes with the shared material")
	}
	f, err := onnxio.Open(quantized, onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	ctx := context.Background()
	r, err := passlist.Registry()
	require.NoError(t, err)
	p, err := r.Parse("set-shape{input_1_int8=[1,32,32,3]},requantize{form=qdq},opset{to=21},O2")
	require.NoError(t, err)
	_, err = p.Run(ctx, f.Model, passes.Config{})
	require.NoError(t, err)
	in := compare.Inputs(f.Model, 1, compare.GenerateOptions{})[0]
	s, err := native.Merging().Load(ctx, f.Model, engine.Options{})
	require.NoError(t, err)
	want, err := s.Run(ctx, in)
	require.NoError(t, err)
	dir := t.TempDir()
	w := &written{folder: &folder{dir: dir, base: "net"}}
	require.NoError(t, w.write(ctx, t, f.Model, "", "{profile=mcu max-ram=64k max-flash=128k}"))
	x, err := in[w.ins[0]].(*ir.Tensor).Bytes()
	require.NoError(t, err)
	y, err := want[w.outs[0]].(*ir.Tensor).Bytes()
	require.NoError(t, err)
	var main strings.Builder
	main.WriteString("#include \"net.h\"\nvoid print(const void *, size_t);\nstatic const uint8_t x[] = {")
	for _, b := range x {
		fmt.Fprintf(&main, "%d,", b)
	}
	fmt.Fprintf(&main, "};\nstatic int8_t y[%d];\nint main(void) { net_run((const int8_t *)x, y); print(y, sizeof y); return 0; }\n", len(y))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.c"), []byte(main.String()), 0o666))
	testdata, err := filepath.Abs("testdata/m4")
	require.NoError(t, err)
	flags := []string{"-O2", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-I", dir}
	object := filepath.Join(dir, "net.o")
	out, err := exec.Command("arm-none-eabi-gcc", append(flags, "-Werror", "-c", "-o", object, filepath.Join(dir, "net.c"))...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command("arm-none-eabi-size", "-A", object).Output()
	require.NoError(t, err)
	sizes := map[string]int{}
	for _, l := range strings.Split(string(out), "\n") {
		var section string
		var size int
		if n, _ := fmt.Sscan(l, &section, &size); n == 2 && strings.HasPrefix(section, ".") {
			for _, k := range []string{".text", ".rodata", ".bss", ".data"} {
				if strings.HasPrefix(section, k) {
					sizes[k] += size
				}
			}
		}
	}
	t.Logf(".text %d, .rodata %d, arena %d bytes", sizes[".text"], sizes[".rodata"], sizes[".bss"])
	assert.LessOrEqual(t, sizes[".text"]+sizes[".rodata"]+sizes[".data"], 128<<10)
	assert.LessOrEqual(t, sizes[".bss"]+sizes[".data"], 64<<10)
	program := filepath.Join(dir, "net.elf")
	out, err = exec.Command("arm-none-eabi-gcc", append(flags, "-nostartfiles", "-T", filepath.Join(testdata, "link.ld"), "-o", program,
		filepath.Join(testdata, "start.c"), filepath.Join(dir, "main.c"), object, "-lm")...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command("timeout", "120", "qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none",
		"-semihosting-config", "enable=on,target=native", "-kernel", program).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, hex.EncodeToString(y), strings.TrimSpace(string(out)))
}
