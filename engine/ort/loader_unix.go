//go:build !static && (linux || darwin) && (amd64 || arm64)

package ort

import (
	"runtime"

	"github.com/ebitengine/purego"
)

// loaderMissing says why this build opens no libraries; it does.
const loaderMissing = ""

// loadLibrary opens a shared library by path, or by a name that the system's loader searches for.
func loadLibrary(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func librarySymbol(lib uintptr, name string) (uintptr, error) { return purego.Dlsym(lib, name) }

// invoke calls a C function of integer and pointer arguments. Pointers must be pinned by the caller.
func invoke(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// systemNames are the names under which the system's loader may know the library.
func systemNames() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libonnxruntime.dylib", "/opt/homebrew/lib/libonnxruntime.dylib"}
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so"}
}

// apiPath is a path as the C API takes it: bytes and a NUL.
func apiPath(path string) ([]byte, error) { return cString(path) }
