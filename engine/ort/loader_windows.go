//go:build !static && windows && (amd64 || arm64)

package ort

import (
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"

	"github.com/onnxopt/onnxopt/ir"
)

// loaderMissing says why this build opens no libraries; it does.
const loaderMissing = ""

// loadLibrary opens a DLL by path, or by a name that is looked for beside the program and in the system's folder, never in
// the current one.
func loadLibrary(path string) (uintptr, error) {
	flags := uintptr(windows.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS)
	if filepath.Base(path) != path {
		full, err := filepath.Abs(path)
		if err != nil {
			return 0, err
		}
		path, flags = full, flags|windows.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR
	}
	h, err := windows.LoadLibraryEx(path, 0, flags)
	return uintptr(h), err
}

func librarySymbol(lib uintptr, name string) (uintptr, error) {
	return windows.GetProcAddress(windows.Handle(lib), name)
}

// invoke calls a C function of integer and pointer arguments. Pointers must be pinned by the caller.
func invoke(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := syscall.SyscallN(fn, args...)
	return r
}

// systemNames are the names under which the system's loader may know the library. Windows has an old one of its own, which
// the check of the version refuses.
func systemNames() []string { return []string{"onnxruntime.dll"} }

// apiPath is a path as the C API takes it: UTF-16 and a zero.
func apiPath(path string) ([]byte, error) {
	u, err := windows.UTF16FromString(path)
	if err != nil {
		return nil, err
	}
	return ir.AsBytes(u), nil
}
