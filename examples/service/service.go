package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt"
	"github.com/onnxopt/onnxopt/onnxio"
)

// service holds the limits.
type service struct {
	bytes  int64
	time   time.Duration
	atOnce int
	slots  chan struct{}
}

func (s *service) handler() http.Handler {
	s.slots = make(chan struct{}, max(1, s.atOnce))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /optimize", s.optimize)
	return mux
}

// statusError is an error with the status that a client gets for it.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }

func (s *service) optimize(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many models at once", http.StatusTooManyRequests)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.bytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, "the model is too large", http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "the model did not arrive", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.time)
	defer cancel()
	out, verified, err := s.run(ctx, body, cmp.Or(r.URL.Query().Get("passes"), "O2"))
	if err != nil {
		status := http.StatusInternalServerError
		var known *statusError
		switch {
		case ctx.Err() != nil:
			status, err = http.StatusServiceUnavailable, errors.New("it took too long")
		case errors.As(err, &known):
			status = known.status
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Onnxopt-Verified", strings.ReplaceAll(verified, "\n", " "))
	_, _ = w.Write(out) // the client is gone if that fails
}

// run optimizes a model.
func (s *service) run(ctx context.Context, body []byte, pipeline string) (out []byte, verified string, err error) {
	f, err := onnxio.Read(body, onnxio.Options{})
	if err != nil {
		return nil, "", &statusError{http.StatusUnprocessableEntity, err}
	}
	defer f.Close()
	res, err := onnxopt.Optimize(ctx, f.Model, onnxopt.Options{Pipeline: pipeline, Time: s.time / 3, Memory: 256 << 20})
	var input *onnxopt.InputError
	var failed *onnxopt.FailedError
	switch {
	case errors.As(err, &input):
		return nil, "", &statusError{http.StatusUnprocessableEntity, err}
	case errors.As(err, &failed), ctx.Err() != nil:
		return nil, "", err
	case err != nil: // the pipeline, or what its options ask for
		return nil, "", &statusError{http.StatusBadRequest, err}
	}
	var b bytes.Buffer
	if _, err := onnxio.Write(&b, f.Model, onnxio.WriteOptions{Stop: ctx.Err}); err != nil {
		return nil, "", err
	}
	return b.Bytes(), res.Verification.String(), nil
}
