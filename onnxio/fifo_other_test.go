//go:build !unix

package onnxio

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
