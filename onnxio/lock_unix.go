//go:build unix

package onnxio

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFolder keeps other writers of this package out of a folder until the returned function is called. Without it, one could remove a
// data file as its predecessor's that another one has just found to be there with the content it needs. The lock is on the folder itself, so that
// nothing is left behind, and goes with the process. Where the file system has no locks there is none.
func lockFolder(dir string, stop func() error) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return func() {}, nil // the write says what is wrong with the folder
	}
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return func() { d.Close() }, nil
		}
		if stop != nil {
			if err := stop(); err != nil {
				d.Close()
				return nil, err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}
