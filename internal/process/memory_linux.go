package process

import "golang.org/x/sys/unix"

// LimitMemory bounds the address space of a running process, and of what it starts from now on. A lower bound that it has stays.
func LimitMemory(pid int, bytes int64) error {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_AS, nil, &old); err != nil {
		return err
	}
	bound := min(uint64(bytes), old.Max)
	return unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: min(bound, old.Cur), Max: bound}, nil)
}
