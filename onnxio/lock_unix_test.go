//go:build unix

package onnxio

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLock: a writer waits for another one in its folder, and gives up waiting when it is stopped.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockFolder(dir, nil)
	require.NoError(t, err)
	stopped := errors.New("stopped")
	_, err = WriteFile(filepath.Join(dir, "m.onnx"), weighted(), WriteOptions{Stop: func() error { return stopped }})
	require.ErrorIs(t, err, stopped)
	done := make(chan error, 1)
	go func() {
		_, err := WriteFile(filepath.Join(dir, "m.onnx"), weighted(), WriteOptions{Data: DataExternal})
		done <- err
	}()
	select {
	case <-done:
		t.Fatal("it did not wait")
	case <-time.After(150 * time.Millisecond):
	}
	unlock()
	require.NoError(t, <-done)
}
