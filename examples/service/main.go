// Command service optimizes models that clients upload, within limits on their size, on time and on how many run at once.
//
//	go run ./examples/service -addr localhost:8080
//	curl --data-binary @model.onnx 'localhost:8080/optimize?passes=O2' -o small.onnx
//
// The answer is the optimized model; the header Onnxopt-Verified says how it was compared with the original. Models with external data are
// refused, for there is nothing beside them. A bad model is 422, a pipeline that does not parse 400, a model that is too large 413, too
// many at once 429, and one that takes too long 503.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "address to listen on")
	s := &service{}
	flag.Int64Var(&s.bytes, "max-bytes", 64<<20, "largest model in bytes")
	flag.DurationVar(&s.time, "timeout", 30*time.Second, "longest optimization")
	flag.IntVar(&s.atOnce, "at-once", 2, "optimizations at the same time")
	flag.Parse()
	server := &http.Server{Addr: *addr, Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}
