package onnxio

import "io"

// stoppable asks o.Stop before each write to w.
func (o WriteOptions) stoppable(w io.Writer) io.Writer {
	if o.Stop == nil {
		return w
	}
	return stopper{w, o.Stop}
}

type stopper struct {
	w    io.Writer
	stop func() error
}

func (s stopper) Write(b []byte) (int, error) {
	if err := s.stop(); err != nil {
		return 0, err
	}
	return s.w.Write(b)
}
