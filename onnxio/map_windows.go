//go:build windows

package onnxio

import (
	"os"
	"syscall"
	"unsafe"
)

// mapFile maps size bytes of f for reading.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	h, err := syscall.CreateFileMapping(syscall.Handle(f.Fd()), nil, syscall.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer syscall.CloseHandle(h) // the view keeps the mapping
	addr, err := syscall.MapViewOfFile(h, syscall.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// The address is not Go memory; reading it through a pointer to the variable keeps vet content about uintptr arithmetic.
	data = unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size)
	return data, func() error { return syscall.UnmapViewOfFile(addr) }, nil
}

// openNonblock has no meaning here.
const openNonblock = 0

// closeBeforeRename says that a mapped file cannot be replaced.
const closeBeforeRename = true

// hasLinks reports whether a file has further names, as far as can be told.
func hasLinks(os.FileInfo) bool { return false }
