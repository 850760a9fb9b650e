package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnxopt/onnxopt/onnxio"
)

func start(t *testing.T, s *service) func(query string, body []byte) (*http.Response, []byte) {
	srv := httptest.NewServer(s.handler())
	t.Cleanup(srv.Close)
	return func(query string, body []byte) (*http.Response, []byte) {
		r, err := http.Post(srv.URL+"/optimize"+query, "application/octet-stream", bytes.NewReader(body))
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return r, b
	}
}

func limits() *service { return &service{bytes: 1 << 20, time: 20 * time.Second, atOnce: 2} }

func digits(t *testing.T) []byte {
	b, err := os.ReadFile("../../testdata/digits/digits.onnx")
	require.NoError(t, err)
	return b
}

func TestOptimize(t *testing.T) {
	post := start(t, limits())
	r, b := post("", digits(t))
	require.Equal(t, http.StatusOK, r.StatusCode, string(b))
	require.Contains(t, r.Header.Get("Onnxopt-Verified"), "verified on")
	f, err := onnxio.Read(b, onnxio.Options{})
	require.NoError(t, err)
	require.Equal(t, 8, f.Model.Main.NumNodes())

	r, b = post("?passes=cse", digits(t))
	require.Equal(t, http.StatusOK, r.StatusCode, string(b))
}

func TestRefused(t *testing.T) {
	post := start(t, limits())
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	var w []byte // an initializer "w" of four floats in the file "secret"
	w = protowire.AppendVarint(protowire.AppendTag(w, 1, protowire.VarintType), 4)
	w = protowire.AppendVarint(protowire.AppendTag(w, 2, protowire.VarintType), 1)
	w = field(field(w, 8, []byte("w")), 13, field(field(nil, 1, []byte("location")), 2, []byte("secret")))
	w = protowire.AppendVarint(protowire.AppendTag(w, 14, protowire.VarintType), 1)
	external := field(digits(t), 7, field(nil, 5, w))
	for name, c := range map[string]struct {
		query  string
		body   []byte
		status int
		text   string
	}{
		"no model":      {"", []byte("junk"), http.StatusUnprocessableEntity, ""},
		"empty":         {"", nil, http.StatusUnprocessableEntity, ""},
		"too large":     {"", make([]byte, 1<<20+1), http.StatusRequestEntityTooLarge, "too large"},
		"pipeline":      {"?passes=nothing", digits(t), http.StatusBadRequest, "nothing"},
		"external data": {"", external, http.StatusUnprocessableEntity, "secret"},
	} {
		r, b := post(c.query, c.body)
		require.Equal(t, c.status, r.StatusCode, "%s: %s", name, b)
		require.Contains(t, string(b), c.text, name)
		require.Equal(t, 1, strings.Count(string(b), "\n"), "%s: one line", name)
	}
}

// TestLimits: one that takes too long ends, and more at once than allowed are sent away.
func TestLimits(t *testing.T) {
	s := limits()
	s.time = time.Nanosecond
	r, b := start(t, s)("", digits(t))
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode, string(b))

	s = limits()
	post := start(t, s)
	s.slots <- struct{}{}
	s.slots <- struct{}{}
	r, _ = post("", digits(t))
	require.Equal(t, http.StatusTooManyRequests, r.StatusCode)
	<-s.slots
	<-s.slots
	r, _ = post("", digits(t))
	require.Equal(t, http.StatusOK, r.StatusCode)
}
