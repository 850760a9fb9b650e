// Command release builds what is handed out: onnxopt, onnxopt-static and onnxopt-nats for six platforms, and their checksums.
//
//	go run ./release --out dist
//	go run ./release --out dist --only linux/amd64,linux/arm64
//
// onnxopt opens the ONNX Runtime that a machine has (--engine ort); onnxopt-static needs and opens no library; onnxopt-nats shares the trials of
// onnxopt tune among machines, and is called by onnxopt where it lies beside it under that name. The same sources and the same
// Go give the same bytes, whatever the folder and the machine: no cgo, no paths, no times. In a clone, the commit is in the binary (onnxopt
// version); changes that are not committed show there as well. SHA256SUMS is in the form that sha256sum -c takes.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// platforms that the engine's kernels and the file system code are tested or built for.
func platforms() []string {
	return []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}
}

func main() {
	out := flag.String("out", "dist", "folder for the files; it is made")
	only := flag.String("only", strings.Join(platforms(), ","), "platforms, separated by commas")
	flag.Parse()
	err := release(*out, strings.Split(*only, ","), flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release(out string, only, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("it takes no argument, not %q", rest[0])
	}
	for _, p := range only {
		if !slices.Contains(platforms(), p) {
			return fmt.Errorf("there is no platform %q: they are %s", p, strings.Join(platforms(), ", "))
		}
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	var sums strings.Builder
	for _, p := range only {
		for _, name := range []string{"onnxopt", "onnxopt-static", "onnxopt-nats"} {
			file, err := build(out, name, p)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", name, p, err)
			}
			sum, err := sha(filepath.Join(out, file))
			if err != nil {
				return err
			}
			fmt.Fprintf(&sums, "%x  %s\n", sum, file)
		}
	}
	fmt.Print(sums.String())
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o666)
}

// build makes one binary and returns its name.
func build(out, name, platform string) (string, error) {
	goos, arch, _ := strings.Cut(platform, "/")
	file := fmt.Sprintf("%s-%s-%s", name, goos, arch)
	if goos == "windows" {
		file += ".exe"
	}
	args := []string{"build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", filepath.Join(out, file)}
	command := "onnxopt"
	switch name {
	case "onnxopt-static":
		args = append(args, "-tags", "static")
	case "onnxopt-nats":
		command = name
	}
	cmd := exec.Command("go", append(args, "github.com/onnxopt/onnxopt/cmd/"+command)...)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
	cmd.Stderr = os.Stderr
	return file, cmd.Run()
}

func sha(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}
