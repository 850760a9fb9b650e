//go:build !linux

package process

// LimitMemory is an error: there is no way to bound another process here.
func LimitMemory(int, int64) error { return ErrNoLimit }
