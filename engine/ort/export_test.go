package ort

// SetInMemory lowers the number of bytes from which on models go through files.
func SetInMemory(e *Engine, n int64) { e.inMemory = n }
