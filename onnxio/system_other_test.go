//go:build !linux && !darwin

package onnxio

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }

func freeSpace(string) int64 { return 0 }
