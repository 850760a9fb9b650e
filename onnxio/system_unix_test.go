//go:build linux || darwin

package onnxio

import "syscall"

// freeSpace is how many bytes the disk of dir can take; 0 if that cannot be known.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
