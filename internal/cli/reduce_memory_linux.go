package cli

import "golang.org/x/sys/unix"

// limitMemory bounds the address space of a running process, and of what it starts from now on.
func limitMemory(pid int, bytes int64) error {
	return unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}, nil)
}
