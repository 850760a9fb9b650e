package onnxio

import "io"

// stoppable asks o.Stop before each piece that is written to w.
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

// stopPiece is how much is written between two questions: untouched weights come as one piece of gigabytes.
const stopPiece = 4 << 20

func (s stopper) Write(b []byte) (n int, err error) {
	for {
		if err := s.stop(); err != nil {
			return n, err
		}
		k, err := s.w.Write(b[:min(len(b), stopPiece)])
		n, b = n+k, b[k:]
		if err != nil || len(b) == 0 {
			return n, err
		}
	}
}
