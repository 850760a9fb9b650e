//go:build !linux

package cli

import "errors"

func limitMemory(int, int64) error {
	return errors.New("--max-memory bounds a command on Linux only")
}
