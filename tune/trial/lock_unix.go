//go:build unix

package trial

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the file for this process. The lock goes with the open file.
func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		default: // taken, or the file system has none
			return nil
		}
	}
}
