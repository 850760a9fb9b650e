//go:build !unix && !windows

package onnxio

import (
	"io"
	"os"
)

// mapFile reads the file where there are no memory maps.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, func() error { return nil }, err
}

// openNonblock has no meaning here.
const openNonblock = 0

// closeBeforeRename says that a mapped file cannot be replaced.
const closeBeforeRename = false

// hasLinks reports whether a file has further names, as far as can be told.
func hasLinks(os.FileInfo) bool { return false }
