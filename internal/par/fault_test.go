//go:build linux

package par

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"
)

// mapped is a page of a file that is no longer there: reading it faults.
func mapped(t *testing.T) []byte {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	return b
}

// A fault on another goroutine is a panic of For where the caller has asked for panics, as it is on the caller's own.
func TestForFaults(t *testing.T) {
	b := mapped(t)
	for _, workers := range []int{1, 4} {
		func() {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() {
				if v := recover(); !IsFault(v) {
					t.Errorf("%d workers: recovered %v", workers, v)
				}
			}()
			var sum [64]byte
			New(workers).For(64, 1, func(_, lo, _ int) { sum[lo] = b[lo] })
			t.Errorf("%d workers: no fault", workers)
		}()
	}
}
